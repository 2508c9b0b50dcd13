//! The mount table: which file system answers for which part of the tree.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use lock_api::{Mutex, RawMutex};
use uio_protocol::error::FileError;
use uio_protocol::inspect::{FileInfo, FileKind};

use crate::errno::{EBUSY, EXDEV};
use crate::filesystem::FileSystem;
use crate::path::{AbsolutePath, RelativePath};

/// Most mounts at a time. A guest has its root and a share or two; the table is searched in order.
pub const MOUNTS_MAX: usize = 16;

/// Entries asked of a file system at a time while a listing hides some of them.
const LIST_PAGE: usize = 128;

struct Mount {
    point: AbsolutePath,
    files: Arc<dyn FileSystem>,
}

/// The whole file tree. Methods take absolute paths as a person writes them and normalise them;
/// the mount with the longest point above the path answers. Otherwise they do what the methods of
/// [`FileSystem`] of the same name do, with the same errors.
///
/// The lock is held only to find the file system, never while that works.
pub struct MountTable<R: RawMutex> {
    /// The root first.
    mounts: Mutex<R, Vec<Mount>>,
}

/// A file system and the path in it.
struct Resolved {
    path: AbsolutePath,
    /// Where that file system is mounted.
    point: AbsolutePath,
    files: Arc<dyn FileSystem>,
}

impl Resolved {
    fn inside(&self) -> RelativePath<'_> {
        self.path.relative().below(self.point.relative()).unwrap_or(RelativePath::ROOT)
    }
}

impl<R: RawMutex> MountTable<R> {
    /// A tree with `root` at `/`.
    #[must_use]
    pub fn new(root: Arc<dyn FileSystem>) -> Self {
        let root = Mount { point: AbsolutePath::root(), files: root };
        Self { mounts: Mutex::new(Vec::from([root])) }
    }

    /// Puts `files` at `point`, hiding what lies there.
    ///
    /// # Errors
    ///
    /// [`FileError::Exists`] if something is mounted there, [`FileError::NoSpace`] at
    /// [`MOUNTS_MAX`] mounts, and what the directory above says if it is none.
    pub fn mount(&self, point: &str, files: Arc<dyn FileSystem>) -> Result<(), FileError> {
        let point = AbsolutePath::normalise(point)?;
        let (parent, _) = point.relative().split_last().ok_or(FileError::Exists)?;
        let parent = self.resolve_normal(AbsolutePath::normalise(&parent.to_string())?)?;
        if parent.files.status(parent.inside())?.kind != FileKind::Directory {
            return Err(FileError::NotDirectory);
        }
        let mut mounts = self.mounts.lock();
        if mounts.iter().any(|mount| mount.point == point) {
            return Err(FileError::Exists);
        }
        if mounts.len() >= MOUNTS_MAX {
            return Err(FileError::NoSpace);
        }
        mounts.push(Mount { point, files });
        Ok(())
    }

    /// Takes away what is mounted at `point` and returns it.
    ///
    /// # Errors
    ///
    /// [`FileError::NotFound`] if nothing is, [`FileError::Permission`] for the root,
    /// [`FileError::Errno`] with `EBUSY` while something is mounted below.
    pub fn unmount(&self, point: &str) -> Result<Arc<dyn FileSystem>, FileError> {
        let point = AbsolutePath::normalise(point)?;
        if point.relative().is_root() {
            return Err(FileError::Permission);
        }
        let mut mounts = self.mounts.lock();
        let index = mounts.iter().position(|mount| mount.point == point).ok_or(FileError::NotFound)?;
        if mounts.iter().filter(|mount| mount.point.relative().below(point.relative()).is_some()).count() > 1
        {
            return Err(FileError::Errno(EBUSY));
        }
        Ok(mounts.remove(index).files)
    }

    /// The mount points in the order they were made, the root first.
    pub fn points(&self) -> Vec<AbsolutePath> {
        self.mounts.lock().iter().map(|mount| mount.point.clone()).collect()
    }

    /// See [`FileSystem::status`].
    pub fn status(&self, path: &str) -> Result<FileInfo, FileError> {
        let at = self.resolve(path)?;
        let mut info = at.files.status(at.inside())?;
        info.name = at.path.relative().name().into();
        Ok(info)
    }

    /// See [`FileSystem::list`]. Mount points come first, by name, then the directory's own
    /// entries that they do not hide.
    pub fn list(&self, path: &str, skip: usize, max: usize) -> Result<Vec<FileInfo>, FileError> {
        let at = self.resolve(path)?;
        let points = self.points_in(&at.path);
        if points.is_empty() {
            return at.files.list(at.inside(), skip, max);
        }
        // The directory has to exist even if only mount points are asked for.
        at.files.list(at.inside(), 0, 0)?;
        let mut entries: Vec<FileInfo> = points
            .iter()
            .skip(skip)
            .take(max)
            .map(|name| FileInfo { name: name.clone(), kind: FileKind::Directory, size: 0 })
            .collect();
        // Which entries are hidden is known only by looking at all that come before.
        let mut to_skip = skip.saturating_sub(points.len());
        let mut seen = 0;
        while entries.len() < max {
            let page = at.files.list(at.inside(), seen, LIST_PAGE)?;
            let complete = page.len() < LIST_PAGE;
            seen += page.len();
            for entry in page {
                if points.contains(&entry.name) {
                    continue;
                }
                if to_skip > 0 {
                    to_skip -= 1;
                } else if entries.len() < max {
                    entries.push(entry);
                }
            }
            if complete {
                break;
            }
        }
        Ok(entries)
    }

    /// See [`FileSystem::read_at`].
    pub fn read_at(&self, path: &str, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
        let at = self.resolve(path)?;
        at.files.read_at(at.inside(), offset, buffer)
    }

    /// See [`FileSystem::write_at`].
    pub fn write_at(&self, path: &str, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        let at = self.resolve(path)?;
        at.files.write_at(at.inside(), offset, bytes)
    }

    /// See [`FileSystem::truncate`].
    pub fn truncate(&self, path: &str, size: u64) -> Result<(), FileError> {
        let at = self.resolve(path)?;
        at.files.truncate(at.inside(), size)
    }

    /// See [`FileSystem::create`].
    pub fn create(&self, path: &str) -> Result<(), FileError> {
        let at = self.resolve(path)?;
        at.files.create(at.inside())
    }

    /// See [`FileSystem::remove`]; a mount point, or a directory that holds one, is busy.
    pub fn remove(&self, path: &str) -> Result<(), FileError> {
        let at = self.resolve(path)?;
        self.refuse_busy(&at.path)?;
        at.files.remove(at.inside())
    }

    /// See [`FileSystem::make_directory`].
    pub fn make_directory(&self, path: &str) -> Result<(), FileError> {
        let at = self.resolve(path)?;
        at.files.make_directory(at.inside())
    }

    /// See [`FileSystem::rename`]; both paths have to lie in one file system, and neither may be a
    /// mount point or hold one.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        let from = self.resolve(from)?;
        let to = self.resolve(to)?;
        self.refuse_busy(&from.path)?;
        self.refuse_busy(&to.path)?;
        if from.point != to.point {
            return Err(FileError::Errno(EXDEV));
        }
        from.files.rename(from.inside(), to.inside())
    }

    fn resolve(&self, path: &str) -> Result<Resolved, FileError> {
        self.resolve_normal(AbsolutePath::normalise(path)?)
    }

    fn resolve_normal(&self, path: AbsolutePath) -> Result<Resolved, FileError> {
        let mounts = self.mounts.lock();
        let mount = mounts
            .iter()
            .filter(|mount| path.relative().below(mount.point.relative()).is_some())
            .max_by_key(|mount| mount.point.as_str().len())
            .ok_or(FileError::NotFound)?;
        let (point, files) = (mount.point.clone(), Arc::clone(&mount.files));
        drop(mounts);
        Ok(Resolved { path, point, files })
    }

    /// Names of the mount points that lie directly in `directory`, sorted.
    fn points_in(&self, directory: &AbsolutePath) -> Vec<String> {
        let mounts = self.mounts.lock();
        let mut names: Vec<String> = mounts
            .iter()
            .filter_map(|mount| mount.point.relative().split_last())
            .filter(|(parent, _)| *parent == directory.relative())
            .map(|(_, name)| name.to_string())
            .collect();
        names.sort_unstable();
        names
    }

    fn refuse_busy(&self, path: &AbsolutePath) -> Result<(), FileError> {
        let mounts = self.mounts.lock();
        let busy = mounts.iter().any(|mount| mount.point.relative().below(path.relative()).is_some());
        if busy { Err(FileError::Errno(EBUSY)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
