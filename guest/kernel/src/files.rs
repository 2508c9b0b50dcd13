//! The guest's files: a tree in memory, filled from the initrd, with the host's shares mounted in it.
//!
//! The tree is made when somebody first asks for a file, by a thread of its own: boot does not wait for the host, and
//! a supervised thread that is ended while it waits leaves nothing half done. A share with tag `host` appears as
//! `/host`.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use uio_files::cpio::{Archive, populate};
use uio_files::mounts::MountTable;
use uio_files::ninep::client::AttachOptions;
use uio_files::ninep::fs::NinePFileSystem;
use uio_files::ramfs::{Limits, RamFs};
use uio_protocol::error::FileError;
use uio_protocol::inspect::FileInfo;

use crate::mm::frames;
use crate::sync::InterruptLock;
use crate::thread::mutex::RawMutex;
use crate::thread::wait::WaitQueue;
use crate::thread::{self, Priority};
use crate::time::timer::NEVER;
use crate::virtio::ninep;

/// Linux error number: the thread was interrupted.
const EINTR: u32 = 4;
/// Files and directories in memory; their names and nodes take 8 MiB at most.
const ENTRIES_MAX: usize = 16 * 1024;

type Tree = MountTable<RawMutex>;

#[derive(Clone, Copy)]
enum State {
    /// Nobody has asked yet.
    Unused,
    /// A thread is making it.
    Starting,
    Ready(&'static Tree),
}

static STATE: InterruptLock<State> = InterruptLock::new(State::Unused);
static READY: WaitQueue = WaitQueue::new("files");

/// The tree; made now if this is the first use.
///
/// # Errors
///
/// [`FileError::NoSpace`] if there is no memory, [`FileError::Errno`] with `EINTR` if the running thread is to be ended.
pub fn tree() -> Result<&'static Tree, FileError> {
    let unused = STATE.with(|state| {
        let unused = matches!(state, State::Unused);
        if unused {
            *state = State::Starting;
        }
        unused
    });
    if unused && thread::spawn("files", Priority::Overlay, make).is_err() {
        STATE.with(|state| *state = State::Unused);
        READY.wake_all();
        return Err(FileError::NoSpace);
    }
    let look = || {
        STATE.with(|state| match *state {
            State::Ready(tree) => Some(Ok(tree)),
            State::Starting => None,
            State::Unused => Some(Err(FileError::NoSpace)),
        })
    };
    READY.wait_until(NEVER, look).unwrap_or(Err(FileError::Errno(EINTR)))
}

fn make() {
    // Half of the memory, so that a copy to the wrong place does not end the application.
    let limits = Limits { bytes: frames::totals().1 / 2, entries: ENTRIES_MAX };
    let root = RamFs::<RawMutex>::new(limits);
    if let Some(archive) = initrd() {
        match populate(&root, Archive::new(archive)) {
            Ok(done) => crate::debug!(
                "initrd: {} files, {} directories, {} left out",
                done.files,
                done.directories,
                done.skipped
            ),
            Err(error) => crate::warn!("{error}"),
        }
    }
    let tree: &'static Tree = Box::leak(Box::new(MountTable::new(Arc::new(root))));
    for share in ninep::shares() {
        let point = format!("/{}", share.tag());
        match NinePFileSystem::<_, RawMutex>::connect(share, &AttachOptions::default()) {
            Ok(files) => match tree.mount(&point, Arc::new(files)) {
                Ok(()) => crate::debug!("{point} is mounted"),
                Err(error) => crate::warn!("{point}: {error:?}"),
            },
            Err(error) => crate::warn!("{point}: {error}"),
        }
    }
    STATE.with(|state| *state = State::Ready(tree));
    READY.wake_all();
}

#[cfg(not(test))]
fn initrd() -> Option<&'static [u8]> {
    crate::start::initrd()
}

/// A test process has none.
#[cfg(test)]
fn initrd() -> Option<&'static [u8]> {
    None
}

/// A regular file of the initrd as the loader brought it, whatever the tree has at its path; `None` if there is none. Waits
/// for no share.
///
/// # Errors
///
/// [`FileError::Io`] if the archive is damaged before its end.
#[cfg(feature = "overlay")]
pub fn boot_file(path: &str) -> Result<Option<&'static [u8]>, FileError> {
    let Some(archive) = initrd() else { return Ok(None) };
    let mut found = None;
    for entry in Archive::new(archive) {
        let entry = entry.map_err(|_| FileError::Io)?;
        let name = uio_files::path::AbsolutePath::normalise(&format!("/{}", entry.name));
        // A later entry replaces an earlier one.
        if entry.kind == uio_files::cpio::EntryKind::Regular && name.is_ok_and(|name| name.as_str() == path) {
            found = Some(entry.data);
        }
    }
    Ok(found)
}

/// Entries of a directory from number `skip` on, at most `max`; and whether there are more.
///
/// # Errors
///
/// As the file system says.
pub fn list(path: &str, skip: u32, max: u32) -> Result<(Vec<FileInfo>, bool), FileError> {
    list_in(tree()?, path, skip as usize, max as usize)
}

/// Name, kind and size.
///
/// # Errors
///
/// As the file system says.
pub fn status(path: &str) -> Result<FileInfo, FileError> {
    tree()?.status(path)
}

/// Reads from `offset` into `buffer`; how many bytes, 0 at the end.
///
/// # Errors
///
/// As the file system says.
pub fn read(path: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
    tree()?.read_at(path, offset, buffer)
}

/// Writes all of `bytes` at `offset`, creating the file, cutting it at `offset` first if `truncate`.
///
/// # Errors
///
/// As the file system says.
pub fn write(path: &str, offset: u64, truncate: bool, bytes: &[u8]) -> Result<(), FileError> {
    write_in(tree()?, path, offset, truncate, bytes)
}

/// Removes a file or an empty directory.
///
/// # Errors
///
/// As the file system says.
pub fn remove(path: &str) -> Result<(), FileError> {
    tree()?.remove(path)
}

/// Makes a directory.
///
/// # Errors
///
/// As the file system says.
pub fn make_directory(path: &str) -> Result<(), FileError> {
    tree()?.make_directory(path)
}

fn list_in<R: lock_api::RawMutex>(
    tree: &MountTable<R>,
    path: &str,
    skip: usize,
    max: usize,
) -> Result<(Vec<FileInfo>, bool), FileError> {
    // One more than asked for tells whether there are more.
    let mut entries = tree.list(path, skip, max.saturating_add(1))?;
    let more = entries.len() > max;
    entries.truncate(max);
    Ok((entries, more))
}

fn write_in<R: lock_api::RawMutex>(
    tree: &MountTable<R>,
    path: &str,
    offset: u64,
    truncate: bool,
    bytes: &[u8],
) -> Result<(), FileError> {
    if truncate {
        match tree.truncate(path, offset) {
            // Then the write creates it.
            Ok(()) | Err(FileError::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
    tree.write_at(path, offset, bytes)
}

#[cfg(test)]
mod tests {
    use alloc::string::String;
    use core::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    /// Enough of a mutex for one thread.
    struct TestMutex(AtomicBool);

    // SAFETY: `swap` lets one in at a time.
    unsafe impl lock_api::RawMutex for TestMutex {
        const INIT: Self = Self(AtomicBool::new(false));
        type GuardMarker = lock_api::GuardNoSend;

        fn lock(&self) {
            assert!(self.try_lock(), "taken twice by one thread");
        }

        fn try_lock(&self) -> bool {
            !self.0.swap(true, Ordering::Acquire)
        }

        unsafe fn unlock(&self) {
            self.0.store(false, Ordering::Release);
        }
    }

    fn tree() -> MountTable<TestMutex> {
        MountTable::new(Arc::new(RamFs::<TestMutex>::new(Limits { bytes: 1 << 20, entries: 100 })))
    }

    fn contents(tree: &MountTable<TestMutex>, path: &str) -> Vec<u8> {
        let mut buffer = [0; 64];
        let bytes = tree.read_at(path, 0, &mut buffer).unwrap();
        buffer[..bytes].to_vec()
    }

    #[test]
    fn a_write_creates_and_cuts() {
        let tree = tree();
        write_in(&tree, "/a", 0, true, b"0123456789").unwrap();
        write_in(&tree, "/a", 2, false, b"xx").unwrap();
        assert_eq!(contents(&tree, "/a"), b"01xx456789");
        write_in(&tree, "/a", 4, true, b"y").unwrap();
        assert_eq!(contents(&tree, "/a"), b"01xxy");
        write_in(&tree, "/a", 0, true, b"").unwrap();
        assert_eq!(contents(&tree, "/a"), b"");
        write_in(&tree, "/empty", 0, true, b"").unwrap();
        assert_eq!(tree.status("/empty").unwrap().size, 0);
        tree.make_directory("/d").unwrap();
        assert_eq!(write_in(&tree, "/d", 0, true, b"x"), Err(FileError::IsDirectory));
        assert_eq!(write_in(&tree, "/no/a", 0, true, b"x"), Err(FileError::NotFound));
    }

    #[test]
    fn a_listing_says_whether_there_is_more() {
        let tree = tree();
        for name in ["/a", "/b", "/c"] {
            tree.create(name).unwrap();
        }
        let names = |skip, max| {
            let (entries, more) = list_in(&tree, "/", skip, max).unwrap();
            (entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>().concat(), more)
        };
        assert_eq!(names(0, 2), ("ab".into(), true));
        assert_eq!(names(2, 2), ("c".into(), false));
        assert_eq!(names(0, 3), ("abc".into(), false));
        assert_eq!(names(0, 0), (String::new(), true));
        assert_eq!(names(3, 5), (String::new(), false));
        assert_eq!(names(0, usize::MAX), ("abc".into(), false));
    }
}
