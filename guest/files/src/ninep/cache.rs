//! Files of the server that stay open between calls, found by path.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use lock_api::{Mutex, RawMutex};

use super::client::OpenFile;
use super::error::ClientError;
use super::readahead::Readahead;
use super::transport::Transport;
use crate::path::RelativePath;

/// Files kept open. Each holds a fid, a descriptor of the host, and up to 256 KiB while it is read
/// in order.
pub(super) const FILES_MAX: usize = 16;

/// What a file was opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    Read,
    Write,
}

/// An open file with what was read ahead of it.
pub(super) struct CachedFile<T: Transport, R: RawMutex> {
    pub(super) file: OpenFile<T, R>,
    readahead: Readahead<R>,
}

impl<T: Transport, R: RawMutex> CachedFile<T, R> {
    pub(super) fn new(file: OpenFile<T, R>) -> Self {
        Self { file, readahead: Readahead::new() }
    }

    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, ClientError> {
        self.readahead.read(self.file.io_bytes(), offset, buffer, |at, out| self.file.read_at(at, out))
    }

    pub(super) fn forget(&self) {
        self.readahead.forget();
    }
}

struct Entry<T: Transport, R: RawMutex> {
    path: String,
    access: Access,
    file: Arc<CachedFile<T, R>>,
    last_use: u64,
}

struct State<T: Transport, R: RawMutex> {
    entries: Vec<Entry<T, R>>,
    uses: u64,
    /// Counts invalidations.
    generation: u64,
}

/// Which invalidations had happened when a file was looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Generation(u64);

/// The open files. Those that leave the cache are closed outside its lock, because closing is a call.
pub(super) struct FileCache<T: Transport, R: RawMutex> {
    state: Mutex<R, State<T, R>>,
}

impl<T: Transport, R: RawMutex> FileCache<T, R> {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State { entries: Vec::new(), uses: 0, generation: 0 }) }
    }

    /// The open file at `path`, if there is one. The generation belongs into [`Self::insert`] if not.
    pub(super) fn get(
        &self,
        path: RelativePath<'_>,
        access: Access,
    ) -> Result<Arc<CachedFile<T, R>>, Generation> {
        let mut state = self.state.lock();
        let state = &mut *state;
        state.uses += 1;
        match state.entries.iter_mut().find(|entry| entry.path == path.as_str() && entry.access == access) {
            Some(entry) => {
                entry.last_use = state.uses;
                Ok(Arc::clone(&entry.file))
            }
            None => Err(Generation(state.generation)),
        }
    }

    /// Keeps an open file, unless a name was taken away since `generation`: it could be the old one.
    pub(super) fn insert(
        &self,
        path: RelativePath<'_>,
        access: Access,
        file: &Arc<CachedFile<T, R>>,
        generation: Generation,
    ) {
        let mut closed = Vec::new();
        let mut state = self.state.lock();
        if state.generation == generation.0 {
            closed.extend(take_where(&mut state.entries, |entry| {
                entry.path == path.as_str() && entry.access == access
            }));
            if state.entries.len() >= FILES_MAX
                && let Some(oldest) = state.entries.iter().map(|entry| entry.last_use).min()
            {
                closed.extend(take_where(&mut state.entries, |entry| entry.last_use == oldest));
            }
            state.uses += 1;
            let entry = Entry {
                path: path.as_str().to_string(),
                access,
                file: Arc::clone(file),
                last_use: state.uses,
            };
            state.entries.push(entry);
        }
        drop(state);
        drop(closed);
    }

    /// Closes what is at `path` or below, because that name does not lead there any more.
    pub(super) fn invalidate(&self, path: RelativePath<'_>) {
        let mut state = self.state.lock();
        state.generation += 1;
        let closed = take_where(&mut state.entries, |entry| {
            path.is_root()
                || entry
                    .path
                    .strip_prefix(path.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        drop(state);
        drop(closed);
    }

    /// Forgets what was read ahead of the file with the qid number `qid_path`, under all its names.
    pub(super) fn forget_data(&self, qid_path: u64) {
        let state = self.state.lock();
        let files: Vec<_> = state
            .entries
            .iter()
            .filter(|entry| entry.access == Access::Read && entry.file.file.qid().path == qid_path)
            .map(|entry| Arc::clone(&entry.file))
            .collect();
        drop(state);
        files.iter().for_each(|file| file.forget());
    }
}

fn take_where<E>(entries: &mut Vec<E>, which: impl Fn(&E) -> bool) -> Vec<E> {
    entries.extract_if(.., |entry| which(entry)).collect()
}
