//! Lists directories of the server.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use lock_api::RawMutex;
use uio_protocol::inspect::{FileInfo, FileKind};

use super::client::{Fid, OpenFile};
use super::error::ClientError;
use super::fid::attributes_of;
use super::session::Session;
use super::transport::Transport;
use super::wire::{Attributes, Dirents, Names, Reply, Request, mode, open, valid};

/// Bytes of entries asked for at a time. Some 600 entries of usual length.
const READ_BYTES: usize = 32 * 1024;

/// Entries that are read of one directory, before the server is considered endless.
pub(super) const ENTRIES_MAX: usize = 65_536;

/// Kind numbers of entries (`DT_DIR` and `DT_REG` in Linux).
const DT_DIRECTORY: u8 = 4;
const DT_REGULAR: u8 = 8;

/// An entry without its size.
struct Found {
    name: String,
    kind: FileKind,
    /// Whether `name` is what the server has, and not a readable form of bytes that are no UTF-8.
    exact: bool,
}

/// At most `max` entries after the first `skip`, `.` and `..` not counted, with their sizes.
pub(super) fn list<T: Transport, R: RawMutex>(
    directory: &Fid<T, R>,
    skip: usize,
    max: usize,
) -> Result<Vec<FileInfo>, ClientError> {
    let (clone, _) = directory.walk(core::iter::empty())?;
    let opened = clone.open(open::READ_ONLY | open::DIRECTORY)?;
    let found = entries(&opened, skip, max)?;
    drop(opened);
    with_sizes(directory, &found)
}

fn entries<T: Transport, R: RawMutex>(
    directory: &OpenFile<T, R>,
    skip: usize,
    max: usize,
) -> Result<Vec<Found>, ClientError> {
    let mut page = Vec::new();
    let mut buffer = vec![0; READ_BYTES.min(directory.io_bytes())];
    let mut offset = 0;
    let mut seen = 0;
    let mut passed = 0;
    while page.len() < max {
        let request =
            Request::ReadDirectory { fid: directory.fid.number, offset, count: buffer.len() as u32 };
        let length = read_once(&directory.fid.session, request, &mut buffer)?;
        if length == 0 {
            break;
        }
        let before = offset;
        for entry in Dirents::new(&buffer[..length]) {
            let entry = entry?;
            offset = entry.offset;
            seen += 1;
            if matches!(entry.name, b"." | b"..") {
                continue;
            }
            passed += 1;
            if passed > skip && page.len() < max {
                let kind = match entry.kind {
                    DT_DIRECTORY => FileKind::Directory,
                    DT_REGULAR => FileKind::Regular,
                    _ => FileKind::Other,
                };
                let name = String::from_utf8_lossy(entry.name);
                page.push(Found { exact: name.as_bytes() == entry.name, name: name.into_owned(), kind });
            }
        }
        if offset == before {
            return Err(ClientError::NoProgress { offset });
        }
        if seen > ENTRIES_MAX {
            return Err(ClientError::DirectoryTooLong { entries: ENTRIES_MAX });
        }
    }
    Ok(page)
}

fn read_once<T: Transport, R: RawMutex>(
    session: &Session<T, R>,
    request: Request<'_>,
    buffer: &mut [u8],
) -> Result<usize, ClientError> {
    let mut outcome = Ok(0);
    let mut destination = Some(buffer);
    session.transfer(
        1,
        |_| (request, destination.take().unwrap_or_default()),
        |_, replied| outcome = replied,
    );
    outcome
}

/// Asks for the size of every entry, several at a time.
fn with_sizes<T: Transport, R: RawMutex>(
    directory: &Fid<T, R>,
    mut found: &[Found],
) -> Result<Vec<FileInfo>, ClientError> {
    let session = &directory.session;
    let mut infos: Vec<FileInfo> = Vec::with_capacity(found.len());
    while !found.is_empty() {
        let mut walks = Walks::take(session, found.len().min(session.window()))?;
        let (batch, rest) = found.split_at(walks.fids.len());
        found = rest;
        walks.walk(directory.number, batch)?;
        let attributes = walks.attributes()?;
        infos.extend(batch.iter().zip(attributes).map(|(entry, attributes)| {
            // What has vanished since, or cannot be named, stays as the directory describes it.
            let (kind, size) = attributes.filter(|_| entry.exact).map_or((entry.kind, 0), |attributes| {
                (kind_of(attributes.mode), size_of(attributes.mode, attributes.size))
            });
            FileInfo { name: entry.name.clone(), kind, size }
        }));
    }
    Ok(infos)
}

/// What the server knows of a fid.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing.
    Free,
    /// It stands for a file.
    Known,
    /// The reply made no sense, so it may.
    Unsure,
}

/// Several fids that walk at the same time. All are forgotten at the end.
struct Walks<'s, T: Transport, R: RawMutex> {
    session: &'s Session<T, R>,
    fids: Vec<(u32, State)>,
}

impl<'s, T: Transport, R: RawMutex> Walks<'s, T, R> {
    /// At least one fid and at most `want`.
    fn take(session: &'s Session<T, R>, want: usize) -> Result<Self, ClientError> {
        let mut fids = vec![(session.take_fid()?, State::Free)];
        while fids.len() < want
            && let Ok(fid) = session.take_fid()
        {
            fids.push((fid, State::Free));
        }
        Ok(Self { session, fids })
    }

    /// Walks one fid to each entry. Entries that the server does not find are no error.
    fn walk(&mut self, directory: u32, entries: &[Found]) -> Result<(), ClientError> {
        let requests: Vec<Request<'_>> = entries
            .iter()
            .zip(&self.fids)
            .map(|(entry, (fid, _))| {
                let names = Names::take_from(&mut core::iter::once(entry.name.as_str()));
                Request::Walk { fid: directory, new_fid: *fid, names }
            })
            .collect();
        let mut fatal = Ok(());
        self.session.call_many(&requests, |index, reply| {
            let (state, outcome) = match reply {
                Ok(Reply::Walk { qids }) => match qids.as_slice().len() {
                    0 => (State::Free, Ok(())),
                    1 => (State::Known, Ok(())),
                    received => (State::Unsure, Err(ClientError::CountTooLarge { asked: 1, received })),
                },
                Err(ClientError::Server { .. }) => (State::Free, Ok(())),
                Ok(_) => (State::Unsure, Ok(())),
                Err(error) => (State::Unsure, Err(error)),
            };
            self.fids[index].1 = state;
            fatal = fatal.and(outcome);
        });
        fatal
    }

    /// The attributes of each file, none where there are none to have.
    fn attributes(&self) -> Result<Vec<Option<Attributes>>, ClientError> {
        let requests: Vec<Request<'_>> = self
            .fids
            .iter()
            .filter(|(_, state)| *state == State::Known)
            .map(|(fid, _)| Request::GetAttributes { fid: *fid, mask: valid::BASIC })
            .collect();
        let mut answers = Vec::with_capacity(requests.len());
        let mut fatal = Ok(());
        self.session.call_many(&requests, |index, reply| {
            match reply.and_then(|reply| attributes_of(&requests[index], &reply)) {
                Ok(attributes) => answers.push(Some(attributes)),
                Err(error) => {
                    answers.push(None);
                    if !matches!(error, ClientError::Server { .. }) {
                        fatal = fatal.and(Err(error));
                    }
                }
            }
        });
        fatal?;
        let mut answers = answers.into_iter();
        Ok(self
            .fids
            .iter()
            .map(|(_, state)| if *state == State::Known { answers.next().flatten() } else { None })
            .collect())
    }
}

impl<T: Transport, R: RawMutex> Drop for Walks<'_, T, R> {
    fn drop(&mut self) {
        let (free, known): (Vec<_>, Vec<_>) = self.fids.iter().partition(|(_, state)| *state == State::Free);
        free.iter().for_each(|(fid, _)| self.session.give_fid(*fid));
        let requests: Vec<Request<'_>> = known.iter().map(|(fid, _)| Request::Clunk { fid: *fid }).collect();
        self.session.call_many(&requests, |index, reply| {
            if matches!(reply, Ok(_) | Err(ClientError::Server { .. })) {
                self.session.give_fid(known[index].0);
            }
        });
    }
}

/// Kind of file from its mode.
pub(super) fn kind_of(file_mode: u32) -> FileKind {
    match file_mode & mode::KIND {
        mode::DIRECTORY => FileKind::Directory,
        mode::REGULAR => FileKind::Regular,
        _ => FileKind::Other,
    }
}

/// Size as shown: 0 for a directory, where servers report what their disk uses for it.
pub(super) fn size_of(file_mode: u32, size: u64) -> u64 {
    if kind_of(file_mode) == FileKind::Directory { 0 } else { size }
}
