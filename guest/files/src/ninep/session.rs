//! One session with a server: tags, fids, and the exchange of single and several messages.

use alloc::vec;
use alloc::vec::Vec;

use lock_api::{Mutex, RawMutex};

use super::error::ClientError;
use super::numbers::Numbers;
use super::transport::{Exchange, Transport, TransportError};
use super::wire::{DATA_REPLY_BYTES, IO_REQUEST_BYTES, NO_TAG, REPLY_BYTES, Reply, Request, WireError, kind};

/// Requests of one session under way at a time, over all threads. Half of what QEMU's device
/// queues, so that two sessions fit; a power of two for the bit set.
pub const TAGS_MAX: usize = 64;

/// Fids of one session. Bounds what a client can hold open on the server; the cache of open files
/// takes some, each call under way two or three.
pub const FIDS_MAX: usize = 256;

/// Messages that one call has under way at a time. With large messages two would keep server and
/// link busy; eight hide the latency of small ones.
pub const WINDOW_MAX: usize = 8;

/// The fid of the root, held for the whole session.
pub(super) const ROOT_FID: u32 = 0;

/// Requests up to this size are encoded on the stack: all but walks with long names.
const SMALL_REQUEST_BYTES: usize = 320;

/// Bytes of the largest request without payload: a walk with 16 names of 255 bytes, or an attach
/// with two names.
const LARGE_REQUEST_BYTES: usize = 8192;

/// State of a session. The locks are held for a few instructions each, never across an exchange.
pub(super) struct Session<T: Transport, R: RawMutex> {
    transport: T,
    tags: Mutex<R, Numbers<{ TAGS_MAX / 64 }>>,
    fids: Mutex<R, Numbers<{ FIDS_MAX / 64 }>>,
    /// What was agreed on, in bytes.
    pub(super) message_bytes_max: u32,
}

/// Tags that a call holds; they come back when it ends.
struct Tags<'s, T: Transport, R: RawMutex> {
    session: &'s Session<T, R>,
    tags: [u16; WINDOW_MAX],
    count: usize,
}

impl<T: Transport, R: RawMutex> Tags<'_, T, R> {
    fn as_slice(&self) -> &[u16] {
        &self.tags[..self.count]
    }
}

impl<T: Transport, R: RawMutex> Drop for Tags<'_, T, R> {
    fn drop(&mut self) {
        let mut tags = self.session.tags.lock();
        for tag in self.as_slice() {
            tags.give(u32::from(*tag));
        }
    }
}

impl<T: Transport, R: RawMutex> Session<T, R> {
    /// A session without root: the caller does version and attach.
    pub(super) fn new(transport: T, message_bytes_max: u32) -> Self {
        let mut fids = Numbers::new();
        let root = fids.take();
        debug_assert_eq!(root, Some(ROOT_FID));
        Self { transport, tags: Mutex::new(Numbers::new()), fids: Mutex::new(fids), message_bytes_max }
    }

    pub(super) fn transport(&self) -> &T {
        &self.transport
    }

    /// Takes a fid that the server does not know.
    pub(super) fn take_fid(&self) -> Result<u32, ClientError> {
        self.fids.lock().take().ok_or(ClientError::NoFid)
    }

    /// Gives back a fid that the server does not know, or not any more.
    pub(super) fn give_fid(&self, fid: u32) {
        self.fids.lock().give(fid);
    }

    /// Fids in use, the root's included.
    pub(super) fn fids_in_use(&self) -> u32 {
        self.fids.lock().count()
    }

    /// Lets the server forget a fid, and gives it back. If the reply makes no sense, nobody knows
    /// whether the server still has it, and it is not used again.
    pub(super) fn clunk(&self, fid: u32) {
        match self.call(&Request::Clunk { fid }, &mut [0; REPLY_BYTES]) {
            // A server forgets the fid even when it reports an error (Plan 9 manual, clunk(5)).
            Ok(_) | Err(ClientError::Server { .. }) => self.give_fid(fid),
            Err(_) => {}
        }
    }

    /// Messages that one call may have under way.
    pub(super) fn window(&self) -> usize {
        self.transport.in_flight_max().clamp(1, WINDOW_MAX)
    }

    /// At least one tag and at most `want`; waits while there is none.
    fn take_tags(&self, want: usize) -> Tags<'_, T, R> {
        let want = want.clamp(1, WINDOW_MAX);
        let mut taken = Tags { session: self, tags: [0; WINDOW_MAX], count: 0 };
        loop {
            let mut tags = self.tags.lock();
            while taken.count < want
                && let Some(tag) = tags.take()
            {
                taken.tags[taken.count] = tag as u16;
                taken.count += 1;
            }
            drop(tags);
            if taken.count > 0 {
                return taken;
            }
            self.transport.wait_for_progress();
        }
    }

    /// Sends `request` and returns the reply, decoded from `buffer`.
    pub(super) fn call<'b>(
        &self,
        request: &Request<'_>,
        buffer: &'b mut [u8],
    ) -> Result<Reply<'b>, ClientError> {
        let tags = self.take_tags(1);
        // Tversion has a tag of its own; the one taken only bounds what is under way.
        let tag = if matches!(request, Request::Version { .. }) { NO_TAG } else { tags.tags[0] };
        let mut small = [0; SMALL_REQUEST_BYTES];
        let mut large = Vec::new();
        let header = match request.encode_header(tag, &mut small) {
            Ok(length) => &small[..length],
            Err(WireError::NoRoom { .. }) => {
                large.resize(LARGE_REQUEST_BYTES, 0);
                let length = request.encode_header(tag, &mut large)?;
                &large[..length]
            }
            Err(error) => return Err(error.into()),
        };
        let mut exchange = Exchange { payload: request.payload(), ..Exchange::new(header, buffer) };
        self.transport.exchange(&mut exchange);
        let outcome = exchange.outcome;
        check(request, tag, buffer, outcome)
    }

    /// Sends all `requests`, several at a time, and hands each reply with the request's index to
    /// `each`. The requests must be small: at most one name.
    pub(super) fn call_many(
        &self,
        requests: &[Request<'_>],
        mut each: impl FnMut(usize, Result<Reply<'_>, ClientError>),
    ) {
        struct Slot {
            request: [u8; SMALL_REQUEST_BYTES],
            length: Result<usize, WireError>,
            reply: [u8; REPLY_BYTES],
        }
        let mut first = 0;
        while first < requests.len() {
            let tags = self.take_tags((requests.len() - first).min(self.window()));
            let batch = &requests[first..first + tags.count];
            let mut slots: Vec<Slot> = batch
                .iter()
                .zip(tags.as_slice())
                .map(|(request, tag)| {
                    let mut bytes = [0; SMALL_REQUEST_BYTES];
                    let length = request.encode(*tag, &mut bytes);
                    Slot { request: bytes, length, reply: [0; REPLY_BYTES] }
                })
                .collect();
            let mut exchanges: Vec<Exchange<'_>> = slots
                .iter_mut()
                .filter_map(|slot| Some(Exchange::new(&slot.request[..slot.length.ok()?], &mut slot.reply)))
                .collect();
            self.transport.exchange_many(&mut exchanges);
            let outcomes: Vec<_> = exchanges.into_iter().map(|exchange| exchange.outcome).collect();
            let mut outcomes = outcomes.into_iter();
            for (index, (request, (slot, tag))) in
                batch.iter().zip(slots.iter().zip(tags.as_slice())).enumerate()
            {
                let reply = match slot.length {
                    Ok(_) => {
                        let outcome = outcomes.next().unwrap_or(Err(TransportError::NotStarted));
                        check(request, *tag, &slot.reply, outcome)
                    }
                    Err(error) => Err(error.into()),
                };
                each(first + index, reply);
            }
            first += batch.len();
        }
    }

    /// Sends at most `pieces` requests that move data, all at once and as many as the window allows.
    /// `prepare` makes them, with the destination for what is read; data goes straight from and to the
    /// caller's buffers. `each` gets, in order, the bytes that a request asked for and those that its
    /// reply states.
    pub(super) fn transfer<'d>(
        &self,
        pieces: usize,
        mut prepare: impl FnMut(usize) -> (Request<'d>, &'d mut [u8]),
        mut each: impl FnMut(usize, Result<usize, ClientError>),
    ) {
        let tags = self.take_tags(pieces.min(self.window()));
        let count = tags.count;
        let mut requests = [[0; IO_REQUEST_BYTES]; WINDOW_MAX];
        let mut replies = [[0; DATA_REPLY_BYTES]; WINDOW_MAX];
        let mut asked = [(0, 0); WINDOW_MAX];
        let mut outcomes = [Err(TransportError::NotStarted); WINDOW_MAX];
        {
            let mut exchanges: [Exchange<'_>; WINDOW_MAX] = core::array::from_fn(|_| Exchange::default());
            let buffers = requests.iter_mut().zip(&mut replies).zip(&mut asked);
            for (index, ((exchange, tag), ((header, reply), asked))) in
                exchanges.iter_mut().zip(tags.as_slice()).zip(buffers).enumerate()
            {
                let (request, destination) = prepare(index);
                *asked = (request.kind(), request.payload().len().max(destination.len()));
                // Both requests have exactly the size of the buffer.
                if request.encode_header(*tag, header).is_ok() {
                    *exchange =
                        Exchange { payload: request.payload(), destination, ..Exchange::new(header, reply) };
                }
            }
            match &mut exchanges[..count] {
                [one] => self.transport.exchange(one),
                several => self.transport.exchange_many(several),
            }
            for (outcome, exchange) in outcomes.iter_mut().zip(&exchanges) {
                *outcome = exchange.outcome;
            }
        }
        for (index, tag) in tags.as_slice().iter().enumerate() {
            let (kind, bytes) = asked[index];
            each(bytes, check_data(kind, *tag, &replies[index], bytes, outcomes[index]));
        }
    }
}

/// Checks a reply that lies in one buffer.
fn check<'b>(
    request: &Request<'_>,
    tag: u16,
    buffer: &'b [u8],
    outcome: Result<usize, TransportError>,
) -> Result<Reply<'b>, ClientError> {
    let delivered = outcome?;
    let message = buffer
        .get(..delivered)
        .ok_or(ClientError::CountTooLarge { asked: buffer.len(), received: delivered })?;
    let (received, reply) = Reply::decode(message)?;
    if received != tag {
        return Err(ClientError::TagMismatch { sent: tag, received });
    }
    match reply {
        Reply::Error { errno } => Err(ClientError::Server { errno }),
        reply if reply.kind() != request.kind() + 1 => {
            Err(ClientError::UnexpectedReply { expected: request.kind() + 1, received: reply.kind() })
        }
        reply => Ok(reply),
    }
}

/// Checks the beginning of an `Rread`, `Rreaddir` or `Rwrite`, and returns its count. The data of the first
/// two lies elsewhere already; `asked` bytes have room there.
fn check_data(
    request: u8,
    tag: u16,
    header: &[u8; DATA_REPLY_BYTES],
    asked: usize,
    outcome: Result<usize, TransportError>,
) -> Result<usize, ClientError> {
    let delivered = outcome?;
    if delivered < DATA_REPLY_BYTES {
        return Err(WireError::Short { needed: DATA_REPLY_BYTES, left: delivered }.into());
    }
    let [s0, s1, s2, s3, received_kind, t0, t1, c0, c1, c2, c3] = *header;
    let stated = u32::from_le_bytes([s0, s1, s2, s3]) as usize;
    let received = u16::from_le_bytes([t0, t1]);
    let number = u32::from_le_bytes([c0, c1, c2, c3]);
    if stated != delivered {
        return Err(WireError::Size { stated, delivered }.into());
    }
    if received != tag {
        return Err(ClientError::TagMismatch { sent: tag, received });
    }
    if received_kind == kind::RLERROR {
        return Err(match delivered {
            DATA_REPLY_BYTES => ClientError::Server { errno: number },
            more => WireError::Trailing { bytes: more - DATA_REPLY_BYTES }.into(),
        });
    }
    if received_kind != request + 1 {
        return Err(ClientError::UnexpectedReply { expected: request + 1, received: received_kind });
    }
    let count = number as usize;
    if count > asked {
        return Err(ClientError::CountTooLarge { asked, received: count });
    }
    let data = if request == kind::TWRITE { 0 } else { count };
    if delivered != DATA_REPLY_BYTES + data {
        return Err(WireError::Size { stated: DATA_REPLY_BYTES + data, delivered }.into());
    }
    Ok(count)
}

impl<T: Transport, R: RawMutex> Drop for Session<T, R> {
    fn drop(&mut self) {
        // The last client is gone; the server may close the root. Its answer changes nothing.
        let _ = self.call(&Request::Clunk { fid: ROOT_FID }, &mut vec![0; REPLY_BYTES]);
    }
}
