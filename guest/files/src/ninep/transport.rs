//! What carries messages to a server.

use alloc::sync::Arc;
use core::fmt;

/// Why a message or its reply did not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransportError {
    /// The transport did not get to this exchange.
    NotStarted,
    /// There is no other side, or not any more.
    Closed,
    /// The exchange does not fit the transport.
    TooLarge {
        /// Bytes of the exchange, requests and room for replies together.
        bytes: usize,
    },
    /// The other side did not answer in the time that the transport allows. It will not touch the
    /// buffers any more.
    TimedOut,
    /// The device reports an error of its own.
    Device(u32),
}

impl fmt::Display for TransportError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotStarted => formatter.write_str("not sent"),
            Self::Closed => formatter.write_str("no server"),
            Self::TooLarge { bytes } => {
                write!(formatter, "exchange of {bytes} bytes does not fit the transport")
            }
            Self::TimedOut => formatter.write_str("no answer in time"),
            Self::Device(code) => write!(formatter, "device error {code}"),
        }
    }
}

impl core::error::Error for TransportError {}

/// One T-message and the room for its R-message, both in two parts, so that file contents travel
/// without being copied: what virtio calls a descriptor chain.
///
/// The T-message is `request` followed by `payload`. The R-message fills `reply` and goes on in
/// `destination`. Either second part may be empty. For a `Tread`, `reply` has exactly the bytes in
/// front of the data, which an `Rlerror` fills just as exactly.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// The T-message, or its beginning. Possibly on the caller's stack.
    pub request: &'a [u8],
    /// The rest of the T-message: data of a `Twrite`.
    pub payload: &'a [u8],
    /// Where the R-message begins. Possibly on the caller's stack.
    pub reply: &'a mut [u8],
    /// Where it goes on once `reply` is full: data of an `Rread`.
    pub destination: &'a mut [u8],
    /// Set by the transport: bytes of the R-message, over both parts.
    pub outcome: Result<usize, TransportError>,
}

impl<'a> Exchange<'a> {
    /// An exchange without second parts.
    #[must_use]
    pub fn new(request: &'a [u8], reply: &'a mut [u8]) -> Self {
        Self { request, reply, ..Self::default() }
    }
}

impl Default for Exchange<'_> {
    fn default() -> Self {
        Self {
            request: &[],
            payload: &[],
            reply: &mut [],
            destination: &mut [],
            outcome: Err(TransportError::NotStarted),
        }
    }
}

/// Sends T-messages and delivers R-messages. The kernel implements it over virtio-9p, where a
/// request is a chain of device-readable, then device-writable buffers that an interrupt completes;
/// elsewhere it is a byte channel.
///
/// Several threads may be in these methods at once; their exchanges have different tags. A server
/// may answer in any order. When a method returns, the other side is done with the buffers of
/// every exchange passed in, also of those that failed: otherwise a reply could arrive in memory
/// that belongs to someone else by then.
pub trait Transport: Send + Sync {
    /// Largest message in bytes, in either direction. The client offers it as msize.
    fn message_bytes_max(&self) -> u32;

    /// Exchanges that may usefully be under way at a time, at least 1. The client hands no more than
    /// that to one [`Self::exchange_many`]; what other threads have under way is for the transport
    /// to queue.
    fn in_flight_max(&self) -> usize {
        1
    }

    /// Sends the request and waits for its reply. Sets `outcome`.
    fn exchange(&self, exchange: &mut Exchange<'_>);

    /// Sends all requests, then waits until all are answered. Sets every `outcome`.
    fn exchange_many(&self, exchanges: &mut [Exchange<'_>]) {
        for exchange in exchanges {
            self.exchange(exchange);
        }
    }

    /// Lets other threads run until an exchange of theirs may have ended: the client calls it while
    /// all tags are taken. A kernel yields or sleeps here; returning early is harmless.
    fn wait_for_progress(&self) {
        core::hint::spin_loop();
    }
}

/// A transport may be shared, with an interrupt handler for example.
impl<T: Transport + ?Sized> Transport for Arc<T> {
    fn message_bytes_max(&self) -> u32 {
        (**self).message_bytes_max()
    }

    fn in_flight_max(&self) -> usize {
        (**self).in_flight_max()
    }

    fn exchange(&self, exchange: &mut Exchange<'_>) {
        (**self).exchange(exchange);
    }

    fn exchange_many(&self, exchanges: &mut [Exchange<'_>]) {
        (**self).exchange_many(exchanges);
    }

    fn wait_for_progress(&self) {
        (**self).wait_for_progress();
    }
}
