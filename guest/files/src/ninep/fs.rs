//! A directory of another machine as a file system.

use alloc::sync::Arc;
use alloc::vec::Vec;

use lock_api::RawMutex;
use uio_protocol::error::FileError;
use uio_protocol::inspect::FileInfo;

use super::cache::{Access, CachedFile, FileCache};
use super::client::{AttachOptions, Client, Fid, OpenFile};
use super::directory::{self, kind_of, size_of};
use super::error::ClientError;
use super::transport::Transport;
use super::wire::{Qid, UNLINK_DIRECTORY, open};
use crate::errno::{EEXIST, EINVAL, EISDIR, ENOENT};
use crate::filesystem::FileSystem;
use crate::path::RelativePath;

/// Permissions of new files: the owner writes, all read.
const FILE_MODE: u32 = 0o644;
/// Permissions of new directories.
const DIRECTORY_MODE: u32 = 0o755;

/// Files of a 9P server.
///
/// Files that are read or written stay open for a while, so that repeated access does not walk and
/// open each time. What this file system removes or renames is closed at once. What happens behind
/// its back, on the host, is noticed when a file is read or written from offset 0, or its status is
/// asked for: if the name leads to another file by then, that one is opened. Small sequential reads
/// are answered from data read ahead, which a host's change within the last 256 KiB does not reach.
pub struct NinePFileSystem<T: Transport, R: RawMutex> {
    client: Client<T, R>,
    files: FileCache<T, R>,
}

impl<T: Transport, R: RawMutex> NinePFileSystem<T, R> {
    /// Connects and attaches.
    ///
    /// # Errors
    ///
    /// As [`Client::connect`].
    pub fn connect(transport: T, options: &AttachOptions) -> Result<Self, ClientError> {
        Client::connect(transport, options).map(Self::new)
    }

    /// The tree that `client` is attached to.
    #[must_use]
    pub fn new(client: Client<T, R>) -> Self {
        Self { client, files: FileCache::new() }
    }

    /// The session beneath.
    #[must_use]
    pub fn client(&self) -> &Client<T, R> {
        &self.client
    }

    /// Has the server write a file to its disk.
    ///
    /// # Errors
    ///
    /// As [`FileSystem::read_at`].
    pub fn sync(&self, path: RelativePath<'_>) -> Result<(), FileError> {
        let (fid, _) = self.client.walk(path.components())?;
        Ok(fid.open(open::READ_ONLY)?.sync()?)
    }

    /// The file at `path`, from the cache or newly opened by `open`.
    fn file(
        &self,
        path: RelativePath<'_>,
        access: Access,
        fresh: bool,
        open: impl Fn(&Self) -> Result<OpenFile<T, R>, ClientError>,
    ) -> Result<Arc<CachedFile<T, R>>, ClientError> {
        let generation = match self.files.get(path, access) {
            Ok(file) if !fresh => return Ok(file),
            Ok(file) => {
                if self.leads_to(path, file.file.qid()) {
                    file.forget();
                    return Ok(file);
                }
                drop(file);
                self.files.invalidate(path);
                match self.files.get(path, access) {
                    Ok(file) => return Ok(file),
                    Err(generation) => generation,
                }
            }
            Err(generation) => generation,
        };
        let file = Arc::new(CachedFile::new(open(self)?));
        self.files.insert(path, access, &file, generation);
        Ok(file)
    }

    /// Whether `path` still leads to the file that `qid` is.
    fn leads_to(&self, path: RelativePath<'_>, qid: Qid) -> bool {
        matches!(self.client.walk(path.components()), Ok((_, Some(now))) if now.path == qid.path)
    }

    fn open_to_read(&self, path: RelativePath<'_>) -> Result<OpenFile<T, R>, ClientError> {
        let (fid, qid) = self.client.walk(path.components())?;
        if qid.is_none_or(Qid::is_directory) {
            return Err(ClientError::Server { errno: EISDIR });
        }
        fid.open(open::READ_ONLY)
    }

    fn open_to_write(&self, path: RelativePath<'_>) -> Result<OpenFile<T, R>, ClientError> {
        // A second round if someone creates the file after it was not found.
        let mut created_meanwhile = false;
        loop {
            match self.client.walk(path.components()) {
                Ok((fid, qid)) => {
                    if qid.is_none_or(Qid::is_directory) {
                        return Err(ClientError::Server { errno: EISDIR });
                    }
                    return fid.open(open::WRITE_ONLY);
                }
                Err(ClientError::WalkStopped { at_file: false } | ClientError::Server { errno: ENOENT }) => {}
                Err(error) => return Err(error),
            }
            match self.create_file(path) {
                Err(ClientError::Server { errno: EEXIST }) if !created_meanwhile => created_meanwhile = true,
                outcome => return outcome,
            }
        }
    }

    fn create_file(&self, path: RelativePath<'_>) -> Result<OpenFile<T, R>, ClientError> {
        let Some((parent, name)) = path.split_last() else {
            return Err(ClientError::Server { errno: EEXIST });
        };
        let (parent, _) = self.client.walk(parent.components())?;
        parent.create(name, open::WRITE_ONLY | open::CREATE | open::EXCLUSIVE, FILE_MODE)
    }

    /// The directory that holds `path`, and the name in it.
    fn parent<'a>(&self, path: RelativePath<'a>) -> Result<(Fid<T, R>, &'a str), FileError> {
        let (parent, name) = path.split_last().ok_or(FileError::Permission)?;
        let (fid, _) = self.client.walk(parent.components())?;
        Ok((fid, name))
    }
}

impl<T: Transport, R: RawMutex + Send + Sync> FileSystem for NinePFileSystem<T, R> {
    fn status(&self, path: RelativePath<'_>) -> Result<FileInfo, FileError> {
        let (fid, qid) = self.client.walk(path.components())?;
        let attributes = fid.attributes()?;
        for access in [Access::Read, Access::Write] {
            if let (Ok(file), Some(qid)) = (self.files.get(path, access), qid)
                && file.file.qid().path != qid.path
            {
                self.files.invalidate(path);
            }
        }
        Ok(FileInfo {
            name: path.name().into(),
            kind: kind_of(attributes.mode),
            size: size_of(attributes.mode, attributes.size),
        })
    }

    fn list(&self, path: RelativePath<'_>, skip: usize, max: usize) -> Result<Vec<FileInfo>, FileError> {
        let (fid, qid) = self.client.walk(path.components())?;
        if qid.is_some_and(|qid| !qid.is_directory()) {
            return Err(FileError::NotDirectory);
        }
        Ok(directory::list(&fid, skip, max)?)
    }

    fn read_at(&self, path: RelativePath<'_>, offset: u64, buffer: &mut [u8]) -> Result<usize, FileError> {
        let file = self.file(path, Access::Read, offset == 0, |this| this.open_to_read(path))?;
        Ok(file.read_at(offset, buffer)?)
    }

    fn write_at(&self, path: RelativePath<'_>, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
        let file = self.file(path, Access::Write, offset == 0, |this| this.open_to_write(path))?;
        let written = file.file.write_at(offset, bytes);
        self.files.forget_data(file.file.qid().path);
        Ok(written?)
    }

    fn truncate(&self, path: RelativePath<'_>, size: u64) -> Result<(), FileError> {
        let (fid, qid) = self.client.walk(path.components())?;
        let qid = qid.filter(|qid| !qid.is_directory()).ok_or(FileError::IsDirectory)?;
        let done = fid.set_size(size);
        self.files.forget_data(qid.path);
        Ok(done?)
    }

    fn create(&self, path: RelativePath<'_>) -> Result<(), FileError> {
        Ok(self.create_file(path).map(drop)?)
    }

    fn remove(&self, path: RelativePath<'_>) -> Result<(), FileError> {
        let (parent, name) = self.parent(path)?;
        let (fid, qid) = parent.walk(core::iter::once(name))?;
        drop(fid);
        let directory = qid.is_some_and(Qid::is_directory);
        let removed = parent.unlink(name, if directory { UNLINK_DIRECTORY } else { 0 });
        // Even after an error: the reply may be lost, and the file gone.
        self.files.invalidate(path);
        Ok(removed?)
    }

    fn make_directory(&self, path: RelativePath<'_>) -> Result<(), FileError> {
        let (parent, name) = path.split_last().ok_or(FileError::Exists)?;
        let (parent, _) = self.client.walk(parent.components())?;
        Ok(parent.make_directory(name, DIRECTORY_MODE)?)
    }

    fn rename(&self, from: RelativePath<'_>, to: RelativePath<'_>) -> Result<(), FileError> {
        let (old_parent, old_name) = self.parent(from)?;
        let (new_parent, new_name) = self.parent(to)?;
        if from != to && to.below(from).is_some() {
            return Err(FileError::Errno(EINVAL));
        }
        let renamed = old_parent.rename(old_name, &new_parent, new_name);
        self.files.invalidate(from);
        self.files.invalidate(to);
        Ok(renamed?)
    }
}
