//! The guest's file tree: a file system in memory, filled from the initrd, with the host's share at `/host`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use lock_api::Mutex;
use uio_files::cpio::{self, Archive};
use uio_files::mounts::MountTable;
use uio_files::ramfs::{Limits, RamFs};
use uio_protocol::error::FileError;
use uio_protocol::inspect::FileInfo;

use crate::thread::mutex::RawMutex;

/// What the file system in memory may hold: files there are for configuration and output, large ones belong on the host.
const ROOT_LIMITS: Limits = Limits { bytes: 64 << 20, entries: 16_384 };

type Table = MountTable<RawMutex>;

static TABLE: Mutex<RawMutex, Option<Arc<Table>>> = Mutex::new(None);

/// The mount table, made at first use.
fn table() -> Arc<Table> {
    let mut slot = TABLE.lock();
    slot.get_or_insert_with(|| {
        let root = Arc::new(RamFs::<RawMutex>::new(ROOT_LIMITS));
        if let Some(initrd) = crate::start::initrd()
            && let Err(error) = cpio::populate(&*root, Archive::new(initrd))
        {
            crate::warn!("initrd: {error:?}");
        }
        Arc::new(Table::new(root))
    })
    .clone()
}

/// Entries of a directory from number `skip` on, at most `max`, and whether there are more.
///
/// # Errors
///
/// As the file system says.
pub fn list(path: &str, skip: u32, max: u32) -> Result<(Vec<FileInfo>, bool), FileError> {
    let mut entries = table().list(path, skip as usize, max as usize + 1)?;
    let more = entries.len() > max as usize;
    entries.truncate(max as usize);
    Ok((entries, more))
}

/// Kind and size.
///
/// # Errors
///
/// As the file system says.
pub fn status(path: &str) -> Result<FileInfo, FileError> {
    table().status(path)
}

/// Reads from `offset`; how many bytes, 0 at the end.
///
/// # Errors
///
/// As the file system says.
pub fn read(path: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
    table().read_at(path, offset, buffer)
}

/// Writes all of `bytes` at `offset`, creating the file, cutting it at `offset` first if `truncate`.
///
/// # Errors
///
/// As the file system says.
pub fn write(path: &str, offset: u64, truncate: bool, bytes: &[u8]) -> Result<(), FileError> {
    let table = table();
    match table.create(path) {
        Ok(()) | Err(FileError::Exists) => {}
        Err(error) => return Err(error),
    }
    if truncate {
        table.truncate(path, offset)?;
    }
    table.write_at(path, offset, bytes)
}

/// Removes a file or an empty directory.
///
/// # Errors
///
/// As the file system says.
pub fn remove(path: &str) -> Result<(), FileError> {
    table().remove(path)
}

/// Makes a directory.
///
/// # Errors
///
/// As the file system says.
pub fn make_directory(path: &str) -> Result<(), FileError> {
    table().make_directory(path)
}
