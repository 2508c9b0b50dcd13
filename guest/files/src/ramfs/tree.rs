//! Nodes of a file system in memory and the names that lead to them.
//!
//! Nodes lie in one table and directories hold their numbers, so that nothing here recurses,
//! however deep renames may nest directories.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use uio_protocol::error::FileError;
use uio_protocol::inspect::{FileInfo, FileKind};

use super::content::Content;
use super::{Limits, Usage};
use crate::errno::EINVAL;
use crate::path::RelativePath;

/// Number of a node; never used again.
type NodeId = u64;

/// The root directory's number.
const ROOT: NodeId = 0;

enum Node {
    Directory(BTreeMap<String, NodeId>),
    Regular(Content),
}

/// All nodes of a file system. The methods are those of
/// [`FileSystem`](crate::filesystem::FileSystem).
pub(super) struct Tree {
    nodes: BTreeMap<NodeId, Node>,
    next: NodeId,
    held_bytes: u64,
    limits: Limits,
}

impl Tree {
    pub(super) fn new(limits: Limits) -> Self {
        let nodes = BTreeMap::from([(ROOT, Node::Directory(BTreeMap::new()))]);
        Self { nodes, next: ROOT + 1, held_bytes: 0, limits }
    }

    pub(super) fn usage(&self) -> Usage {
        Usage { bytes: self.held_bytes, entries: self.nodes.len() - 1 }
    }

    pub(super) fn status(&self, path: RelativePath<'_>) -> Result<FileInfo, FileError> {
        Ok(self.info(path.name(), self.find(path)?))
    }

    pub(super) fn list(
        &self,
        path: RelativePath<'_>,
        skip: usize,
        max: usize,
    ) -> Result<Vec<FileInfo>, FileError> {
        let entries = self.directory(self.find(path)?)?;
        Ok(entries.iter().skip(skip).take(max).map(|(name, id)| self.info(name, *id)).collect())
    }

    pub(super) fn read_at(
        &self,
        path: RelativePath<'_>,
        offset: u64,
        buffer: &mut [u8],
    ) -> Result<usize, FileError> {
        match self.nodes.get(&self.find(path)?) {
            Some(Node::Regular(content)) => Ok(content.read_at(offset, buffer)),
            Some(Node::Directory(_)) => Err(FileError::IsDirectory),
            None => Err(FileError::NotFound),
        }
    }

    pub(super) fn write_at(
        &mut self,
        path: RelativePath<'_>,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), FileError> {
        let (id, created) = match self.find(path) {
            Ok(id) => (id, false),
            Err(FileError::NotFound) => (self.insert(path, Node::Regular(Content::default()))?, true),
            Err(error) => return Err(error),
        };
        let budget = self.limits.bytes.saturating_sub(self.held_bytes);
        let written = self.change(id, |content| content.write_at(offset, bytes, budget));
        if written.is_err() && created {
            self.remove(path)?;
        }
        written
    }

    pub(super) fn truncate(&mut self, path: RelativePath<'_>, size: u64) -> Result<(), FileError> {
        let id = self.find(path)?;
        self.change(id, |content| content.truncate(size))
    }

    pub(super) fn create(&mut self, path: RelativePath<'_>) -> Result<(), FileError> {
        self.insert(path, Node::Regular(Content::default())).map(drop)
    }

    pub(super) fn make_directory(&mut self, path: RelativePath<'_>) -> Result<(), FileError> {
        self.insert(path, Node::Directory(BTreeMap::new())).map(drop)
    }

    pub(super) fn remove(&mut self, path: RelativePath<'_>) -> Result<(), FileError> {
        let (parent, name) = path.split_last().ok_or(FileError::Permission)?;
        let parent = self.find(parent)?;
        let id = *self.directory(parent)?.get(name).ok_or(FileError::NotFound)?;
        match self.nodes.get(&id) {
            Some(Node::Directory(entries)) if !entries.is_empty() => return Err(FileError::NotEmpty),
            Some(Node::Directory(_)) | None => {}
            Some(Node::Regular(content)) => self.held_bytes -= content.held_bytes(),
        }
        self.nodes.remove(&id);
        self.directory_mut(parent)?.remove(name);
        Ok(())
    }

    pub(super) fn rename(&mut self, from: RelativePath<'_>, to: RelativePath<'_>) -> Result<(), FileError> {
        let (from_parent, from_name) = from.split_last().ok_or(FileError::Permission)?;
        let (to_parent, to_name) = to.split_last().ok_or(FileError::Permission)?;
        let id = self.find(from)?;
        let (from_parent, to_parent) = (self.find(from_parent)?, self.find(to_parent)?);
        self.directory(to_parent)?;
        if from == to {
            return Ok(());
        }
        if to.below(from).is_some() {
            return Err(FileError::Errno(EINVAL));
        }
        if let Some(target) = self.directory(to_parent)?.get(to_name) {
            match (self.is_directory(id), self.is_directory(*target)) {
                (true, false) => return Err(FileError::NotDirectory),
                (false, true) => return Err(FileError::IsDirectory),
                _ => self.remove(to)?,
            }
        }
        self.directory_mut(from_parent)?.remove(from_name);
        self.directory_mut(to_parent)?.insert(to_name.to_string(), id);
        Ok(())
    }

    fn find(&self, path: RelativePath<'_>) -> Result<NodeId, FileError> {
        path.components()
            .try_fold(ROOT, |at, name| self.directory(at)?.get(name).copied().ok_or(FileError::NotFound))
    }

    fn directory(&self, id: NodeId) -> Result<&BTreeMap<String, NodeId>, FileError> {
        match self.nodes.get(&id) {
            Some(Node::Directory(entries)) => Ok(entries),
            Some(Node::Regular(_)) => Err(FileError::NotDirectory),
            None => Err(FileError::NotFound),
        }
    }

    fn directory_mut(&mut self, id: NodeId) -> Result<&mut BTreeMap<String, NodeId>, FileError> {
        match self.nodes.get_mut(&id) {
            Some(Node::Directory(entries)) => Ok(entries),
            Some(Node::Regular(_)) => Err(FileError::NotDirectory),
            None => Err(FileError::NotFound),
        }
    }

    fn is_directory(&self, id: NodeId) -> bool {
        matches!(self.nodes.get(&id), Some(Node::Directory(_)))
    }

    fn info(&self, name: &str, id: NodeId) -> FileInfo {
        let (kind, size) = match self.nodes.get(&id) {
            Some(Node::Regular(content)) => (FileKind::Regular, content.size()),
            Some(Node::Directory(_)) | None => (FileKind::Directory, 0),
        };
        FileInfo { name: name.to_string(), kind, size }
    }

    /// Adds a node under a name that must be free.
    fn insert(&mut self, path: RelativePath<'_>, node: Node) -> Result<NodeId, FileError> {
        let (parent, name) = path.split_last().ok_or(FileError::Exists)?;
        let parent = self.find(parent)?;
        if self.directory(parent)?.contains_key(name) {
            return Err(FileError::Exists);
        }
        if self.nodes.len() > self.limits.entries {
            return Err(FileError::NoSpace);
        }
        let id = self.next;
        self.next += 1;
        self.nodes.insert(id, node);
        self.directory_mut(parent)?.insert(name.to_string(), id);
        Ok(id)
    }

    /// Changes the contents of a file and keeps the count of bytes held.
    fn change(
        &mut self,
        id: NodeId,
        change: impl FnOnce(&mut Content) -> Result<(), FileError>,
    ) -> Result<(), FileError> {
        match self.nodes.get_mut(&id) {
            Some(Node::Regular(content)) => {
                let before = content.held_bytes();
                let outcome = change(content);
                self.held_bytes = self.held_bytes - before + content.held_bytes();
                outcome
            }
            Some(Node::Directory(_)) => Err(FileError::IsDirectory),
            None => Err(FileError::NotFound),
        }
    }
}
