//! The server: fids are paths into a memory file system.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use uio_files::errno::{
    EACCES, EBUSY, EEXIST, EINVAL, EIO, EISDIR, ENOENT, ENOSPC, ENOTDIR, ENOTEMPTY, EOPNOTSUPP,
};
use uio_files::filesystem::FileSystem;
use uio_files::ninep::wire::{
    Attributes, Dirent, FileSystemStatus, IO_OVERHEAD_BYTES, NO_TAG, Qid, Qids, Reply, Request, VERSION,
    encode_dirent, mode, open, valid,
};
use uio_files::path::{AbsolutePath, RelativePath};
use uio_files::ramfs::{Limits, RamFs};
use uio_protocol::error::FileError;
use uio_protocol::inspect::FileKind;

use crate::Raw;

/// What a fid stands for.
#[derive(Clone)]
struct Fid {
    path: AbsolutePath,
    /// Flags of its `Tlopen`.
    open: Option<u32>,
    qid: Qid,
}

pub(crate) struct Server {
    pub(crate) files: RamFs<Raw>,
    fids: BTreeMap<u32, Fid>,
    message_bytes_max: u32,
    /// What `Rlopen` states.
    pub(crate) io_bytes: u32,
    /// Most bytes that one `Rread` or `Rwrite` moves, to force short ones.
    pub(crate) transfer_bytes_max: usize,
    /// Identities given out: a name that is removed and made again is another file.
    births: BTreeMap<String, u64>,
    next_birth: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            files: RamFs::new(Limits { bytes: 64 << 20, entries: 100_000 }),
            fids: BTreeMap::new(),
            message_bytes_max: 0,
            io_bytes: 0,
            transfer_bytes_max: usize::MAX,
            births: BTreeMap::new(),
            next_birth: 1,
        }
    }
}

fn errno(error: FileError) -> u32 {
    match error {
        FileError::NotFound => ENOENT,
        FileError::Exists => EEXIST,
        FileError::NotDirectory => ENOTDIR,
        FileError::IsDirectory => EISDIR,
        FileError::NotEmpty => ENOTEMPTY,
        FileError::InvalidPath => EINVAL,
        FileError::Permission => EACCES,
        FileError::NoSpace => ENOSPC,
        FileError::Unsupported => EOPNOTSUPP,
        FileError::Io => EIO,
        FileError::Errno(number) => number,
    }
}

fn join(directory: &AbsolutePath, name: &str) -> Result<AbsolutePath, u32> {
    if name.contains('/') || name.is_empty() || name == ".." {
        return Err(EINVAL);
    }
    AbsolutePath::normalise(&format!("{directory}/{name}")).map_err(errno)
}

impl Server {
    /// Fids that clients hold.
    pub(crate) fn fids(&self) -> usize {
        self.fids.len()
    }

    /// Fids that are open.
    pub(crate) fn open_fids(&self) -> usize {
        self.fids.values().filter(|fid| fid.open.is_some()).count()
    }

    /// Replaces a file behind the client's back, as an editor on the host does: by renaming another
    /// over it.
    pub(crate) fn replace(&mut self, path: &str, contents: &[u8]) {
        let path = AbsolutePath::normalise(path).unwrap();
        self.files.truncate(path.relative(), 0).unwrap();
        self.files.write_at(path.relative(), 0, contents).unwrap();
        self.births.remove(path.as_str());
    }

    /// Answers one message.
    pub(crate) fn handle(&mut self, message: &[u8]) -> Vec<u8> {
        let mut buffer = vec![0; self.message_bytes_max.max(8192) as usize];
        let (tag, request) = Request::decode(message).expect("the client sends sound messages");
        if !matches!(request, Request::Version { .. }) {
            assert!(message.len() <= self.message_bytes_max as usize, "message larger than agreed");
            assert_ne!(tag, NO_TAG);
        }
        let mut data = Vec::new();
        let reply = self.answer(&request, &mut data).unwrap_or_else(|errno| Reply::Error { errno });
        let length = reply.encode(tag, &mut buffer).unwrap();
        buffer.truncate(length);
        buffer
    }

    fn fid(&self, fid: u32) -> Result<&Fid, u32> {
        self.fids.get(&fid).ok_or(9)
    }

    fn qid(&mut self, path: &AbsolutePath) -> Result<Qid, u32> {
        let info = self.files.status(path.relative()).map_err(errno)?;
        let next = &mut self.next_birth;
        let birth = *self.births.entry(path.as_str().into()).or_insert_with(|| {
            *next += 1;
            *next
        });
        let mut hasher = DefaultHasher::new();
        (path, birth).hash(&mut hasher);
        let kind = if info.kind == FileKind::Directory { Qid::DIRECTORY } else { 0 };
        Ok(Qid { kind, version: 0, path: hasher.finish() })
    }

    fn opened(&self, fid: u32, flags: &[u32]) -> Result<AbsolutePath, u32> {
        let fid = self.fid(fid)?;
        let access = fid.open.ok_or(9u32)? & 3;
        if flags.contains(&access) { Ok(fid.path.clone()) } else { Err(9) }
    }

    fn answer<'d>(&mut self, request: &Request<'d>, data: &'d mut Vec<u8>) -> Result<Reply<'d>, u32> {
        let most =
            self.message_bytes_max as usize - if self.message_bytes_max == 0 { 0 } else { IO_OVERHEAD_BYTES };
        Ok(match *request {
            Request::Version { message_bytes_max, .. } => {
                self.fids.clear();
                self.message_bytes_max = message_bytes_max;
                Reply::Version { message_bytes_max, version: VERSION }
            }
            Request::Attach { fid, .. } => {
                let path = AbsolutePath::root();
                let qid = self.qid(&path)?;
                self.fids.insert(fid, Fid { path, open: None, qid });
                Reply::Attach { qid }
            }
            Request::Flush { .. } => Reply::Flush,
            Request::Walk { fid, new_fid, names } => {
                let start = self.fid(fid)?.clone();
                if start.open.is_some() || (fid != new_fid && self.fids.contains_key(&new_fid)) {
                    return Err(EINVAL);
                }
                let (mut path, mut qid) = (start.path, start.qid);
                let mut qids = Qids::default();
                for name in names.as_slice() {
                    path = join(&path, name)?;
                    match self.qid(&path) {
                        Ok(found) => qid = found,
                        Err(errno) if qids.as_slice().is_empty() => return Err(errno),
                        Err(_) => return Ok(Reply::Walk { qids }),
                    }
                    qids.push(qid).unwrap();
                }
                self.fids.insert(new_fid, Fid { path, open: None, qid });
                Reply::Walk { qids }
            }
            Request::Open { fid, flags } => {
                let io_bytes = self.io_bytes;
                let entry = self.fids.get_mut(&fid).ok_or(9u32)?;
                if entry.open.is_some() {
                    return Err(EINVAL);
                }
                if entry.qid.is_directory() && flags & 3 != open::READ_ONLY {
                    return Err(EISDIR);
                }
                entry.open = Some(flags);
                Reply::Open { qid: entry.qid, io_bytes }
            }
            Request::Create { fid, name, flags, .. } => {
                assert_ne!(flags & open::CREATE, 0, "QEMU creates nothing without this flag");
                let path = join(&self.fid(fid)?.path, name)?;
                self.files.create(path.relative()).map_err(errno)?;
                let qid = self.qid(&path)?;
                self.fids.insert(fid, Fid { path, open: Some(flags), qid });
                Reply::Create { qid, io_bytes: self.io_bytes }
            }
            Request::Read { fid, offset, count } => {
                assert!(count as usize <= most, "read larger than a message");
                let path = self.opened(fid, &[open::READ_ONLY])?;
                data.resize((count as usize).min(self.transfer_bytes_max), 0);
                let length = self.files.read_at(path.relative(), offset, data).map_err(errno)?;
                Reply::Read { data: &data[..length] }
            }
            Request::Write { fid, offset, data } => {
                let path = self.opened(fid, &[open::WRITE_ONLY])?;
                let data = &data[..data.len().min(self.transfer_bytes_max)];
                self.files.write_at(path.relative(), offset, data).map_err(errno)?;
                Reply::Write { count: data.len() as u32 }
            }
            Request::GetAttributes { fid, .. } => {
                let Fid { path, qid, .. } = self.fid(fid)?.clone();
                let info = self.files.status(path.relative()).map_err(errno)?;
                let (kind, size) = match info.kind {
                    FileKind::Directory => (mode::DIRECTORY, 4096),
                    _ => (mode::REGULAR, info.size),
                };
                Reply::GetAttributes(Attributes {
                    valid: valid::BASIC,
                    qid,
                    mode: kind | 0o644,
                    size,
                    ..Attributes::default()
                })
            }
            Request::SetAttributes { fid, attributes } => {
                let path = self.fid(fid)?.path.clone();
                self.files.truncate(path.relative(), attributes.size).map_err(errno)?;
                Reply::SetAttributes
            }
            Request::ReadDirectory { fid, offset, count } => {
                let path = self.opened(fid, &[open::READ_ONLY])?;
                data.resize((count as usize).min(most), 0);
                let length = self.read_directory(&path, offset, data)?;
                Reply::ReadDirectory { data: &data[..length] }
            }
            Request::Clunk { fid } => self.fids.remove(&fid).map(|_| Reply::Clunk).ok_or(9u32)?,
            Request::MakeDirectory { fid, name, .. } => {
                let path = join(&self.fid(fid)?.path, name)?;
                self.files.make_directory(path.relative()).map_err(errno)?;
                Reply::MakeDirectory { qid: self.qid(&path)? }
            }
            Request::Unlink { fid, name, flags } => {
                let path = join(&self.fid(fid)?.path, name)?;
                let directory = self.qid(&path)?.is_directory();
                if directory != (flags != 0) {
                    return Err(if directory { EISDIR } else { ENOTDIR });
                }
                self.files.remove(path.relative()).map_err(errno)?;
                self.births.remove(path.as_str());
                Reply::Unlink
            }
            Request::Rename { old_fid, old_name, new_fid, new_name } => {
                let from = join(&self.fid(old_fid)?.path, old_name)?;
                let to = join(&self.fid(new_fid)?.path, new_name)?;
                if self.fids.values().any(|fid| fid.open.is_some() && fid.path == to && from == to) {
                    return Err(EBUSY);
                }
                self.files.rename(from.relative(), to.relative()).map_err(errno)?;
                self.births.remove(from.as_str());
                self.births.remove(to.as_str());
                Reply::Rename
            }
            Request::Sync { fid, .. } => {
                self.opened(fid, &[open::READ_ONLY, open::WRITE_ONLY])?;
                Reply::Sync
            }
            Request::FileSystemStatus { .. } => Reply::FileSystemStatus(FileSystemStatus {
                block_bytes: 4096,
                blocks: 1000,
                ..FileSystemStatus::default()
            }),
        })
    }

    fn read_directory(&mut self, path: &AbsolutePath, offset: u64, data: &mut [u8]) -> Result<usize, u32> {
        let mut names: Vec<String> = vec![".".into(), "..".into()];
        let listed = self.files.list(path.relative(), 0, usize::MAX).map_err(errno)?;
        names.extend(listed.into_iter().map(|info| info.name));
        let mut length = 0;
        for (index, name) in names.iter().enumerate().skip(offset as usize) {
            let qid = match name.as_str() {
                "." | ".." => Qid { kind: Qid::DIRECTORY, ..Qid::default() },
                name => self.qid(&join(path, name)?)?,
            };
            let kind = if qid.is_directory() { 4 } else { 8 };
            let entry = Dirent { qid, offset: index as u64 + 1, kind, name: name.as_bytes() };
            match encode_dirent(&entry, &mut data[length..]) {
                Ok(bytes) => length += bytes,
                Err(_) => break,
            }
        }
        Ok(length)
    }

    /// Fills the server's tree directly.
    pub(crate) fn put(&mut self, path: &str, contents: &[u8]) {
        let path = AbsolutePath::normalise(path).unwrap();
        self.files.write_at(path.relative(), 0, contents).unwrap();
    }

    pub(crate) fn make(&mut self, path: &str) {
        self.files.make_directory(AbsolutePath::normalise(path).unwrap().relative()).unwrap();
    }

    pub(crate) fn contents(&self, path: RelativePath<'_>) -> Vec<u8> {
        let size = self.files.status(path).unwrap().size as usize;
        let mut buffer = vec![0; size];
        assert_eq!(self.files.read_at(path, 0, &mut buffer).unwrap(), size);
        buffer
    }
}
