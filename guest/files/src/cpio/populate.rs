//! Copies an archive into a file system.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use uio_protocol::error::FileError;
use uio_protocol::inspect::FileKind;

use super::{Archive, CpioError, Entry, EntryKind, Identity};
use crate::filesystem::FileSystem;
use crate::path::{AbsolutePath, RelativePath};

/// What [`populate`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Populated {
    /// Files written. A file with several names counts once for each.
    pub files: usize,
    /// Directories that the archive lists.
    pub directories: usize,
    /// Entries left out: links, devices, pipes, sockets.
    pub skipped: usize,
}

/// Why [`populate`] stopped. Entries before that one are in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PopulateError {
    /// The entry's name; empty if it could not be read.
    pub name: String,
    /// What went wrong with it.
    pub reason: PopulateReason,
}

/// What went wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PopulateReason {
    /// The archive is damaged.
    Archive(CpioError),
    /// The file system refused.
    File(FileError),
}

impl fmt::Display for PopulateError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            PopulateReason::Archive(error) => write!(formatter, "initrd: {error}"),
            PopulateReason::File(error) => write!(formatter, "initrd: {}: {error:?}", self.name),
        }
    }
}

impl core::error::Error for PopulateError {}

/// Copies all files and directories of `archive` into `target`, and makes directories that the
/// archive uses but does not list. A later entry replaces an earlier one of the same name.
///
/// # Errors
///
/// [`PopulateError`] for the first entry that is damaged or does not fit.
pub fn populate(target: &dyn FileSystem, archive: Archive<'_>) -> Result<Populated, PopulateError> {
    let mut done = Populated::default();
    let mut links = BTreeMap::new();
    for entry in archive {
        let entry = entry
            .map_err(|error| PopulateError { name: String::new(), reason: PopulateReason::Archive(error) })?;
        place(target, &entry, &mut done, &mut links).map_err(|error| PopulateError {
            name: entry.name.into(),
            reason: PopulateReason::File(error),
        })?;
    }
    Ok(done)
}

fn place(
    target: &dyn FileSystem,
    entry: &Entry<'_>,
    done: &mut Populated,
    links: &mut BTreeMap<Identity, Vec<AbsolutePath>>,
) -> Result<(), FileError> {
    let path = AbsolutePath::normalise(&format!("/{}", entry.name))?;
    match entry.kind {
        EntryKind::Directory => {
            make_directories(target, path.relative())?;
            done.directories += 1;
        }
        EntryKind::Regular => {
            if let Some((parent, _)) = path.relative().split_last() {
                make_directories(target, parent)?;
            }
            write(target, path.relative(), entry.data)?;
            done.files += 1;
            if entry.links > 1 {
                let names = links.entry(entry.identity).or_default();
                if !entry.data.is_empty() {
                    for name in names.iter() {
                        write(target, name.relative(), entry.data)?;
                    }
                }
                names.push(path);
            }
        }
        EntryKind::Link | EntryKind::Other(_) => done.skipped += 1,
    }
    Ok(())
}

fn write(target: &dyn FileSystem, path: RelativePath<'_>, data: &[u8]) -> Result<(), FileError> {
    match target.create(path) {
        Ok(()) => {}
        Err(FileError::Exists) => target.truncate(path, 0)?,
        Err(error) => return Err(error),
    }
    target.write_at(path, 0, data)
}

/// Makes `path` and the directories above it where they are missing.
fn make_directories(target: &dyn FileSystem, path: RelativePath<'_>) -> Result<(), FileError> {
    let mut prefix = String::with_capacity(path.as_str().len() + 1);
    for name in path.components() {
        prefix.push('/');
        prefix.push_str(name);
        let directory = AbsolutePath::normalise(&prefix)?;
        match target.make_directory(directory.relative()) {
            Ok(()) => {}
            Err(FileError::Exists) => {
                if target.status(directory.relative())?.kind != FileKind::Directory {
                    return Err(FileError::NotDirectory);
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::vec;

    use super::super::tests::Builder;
    use super::*;
    use crate::ramfs::{Limits, RamFs};

    type Ram = RamFs<parking_lot::RawMutex>;

    fn ram(bytes: u64, entries: usize) -> Ram {
        Ram::new(Limits { bytes, entries })
    }

    fn contents(ram: &Ram, path: &str) -> Vec<u8> {
        let path = AbsolutePath::normalise(path).unwrap();
        let mut buffer = vec![0; 10_000];
        let count = ram.read_at(path.relative(), 0, &mut buffer).unwrap();
        buffer.truncate(count);
        buffer
    }

    #[test]
    fn fills_a_file_system() {
        let big = [7; 9000];
        let bytes = Builder::default()
            .directory(".")
            .file("./etc/deep/motd", b"hello")
            .directory("etc")
            .file("/bin/big", &big)
            .entry("bin/sh", 0o120_777, b"big")
            .file("../../escape", b"stays inside")
            .file("etc/deep/motd", b"bye")
            .finish();
        let ram = ram(1 << 20, 100);
        let done = populate(&ram, Archive::new(&bytes)).unwrap();
        assert_eq!(done, Populated { files: 4, directories: 2, skipped: 1 });
        assert_eq!(contents(&ram, "/etc/deep/motd"), b"bye");
        assert_eq!(contents(&ram, "/bin/big"), big);
        assert_eq!(contents(&ram, "/escape"), b"stays inside");
    }

    #[test]
    fn hard_links_share_the_data_of_the_last() {
        let bytes = Builder::default()
            .linked("a", 0o100_644, 9, 2, b"")
            .linked("b", 0o100_644, 9, 2, b"shared")
            .finish();
        let ram = ram(1 << 20, 100);
        populate(&ram, Archive::new(&bytes)).unwrap();
        assert_eq!(contents(&ram, "/a"), b"shared");
        assert_eq!(contents(&ram, "/b"), b"shared");
    }

    #[test]
    fn says_which_entry_failed() {
        let bytes = Builder::default().file("small", b"x").file("large", &[0; 8192]).finish();
        let error = populate(&ram(8192, 10), Archive::new(&bytes)).unwrap_err();
        assert_eq!(
            error,
            PopulateError { name: "large".into(), reason: PopulateReason::File(FileError::NoSpace) }
        );
        let error = populate(&ram(1 << 20, 1), Archive::new(&bytes)).unwrap_err();
        assert_eq!(error.name, "large");
        let error = populate(&ram(8192, 10), Archive::new(&bytes[..50])).unwrap_err();
        assert!(matches!(error.reason, PopulateReason::Archive(CpioError::Truncated { offset: 0, .. })));
        let bytes = Builder::default().file("a", b"").file("a/b", b"").finish();
        let error = populate(&ram(8192, 10), Archive::new(&bytes)).unwrap_err();
        assert_eq!(
            error,
            PopulateError { name: "a/b".into(), reason: PopulateReason::File(FileError::NotDirectory) }
        );
    }
}
