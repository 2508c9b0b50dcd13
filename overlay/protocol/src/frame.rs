//! Frames: how messages are cut out of a byte stream.
//!
//! A frame is `COBS(header ‖ body ‖ CRC-32) ‖ 0x00`. COBS leaves no zero byte inside, so a reader
//! that joined late, or whose peer died in the middle, is in step again after the next zero. The header
//! has a fixed layout, little-endian: version `u8`, channel `u8`, kind `u8`, reserved `u8` (zero), session
//! `u32`, id `u32`. The checksum (IEEE 802.3) covers header and body.

use alloc::vec::Vec;
use core::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::checksum::crc32;
use crate::limits::FRAME_BYTES_MAX;
use crate::message;

/// Version of the frame layout itself. What the bodies mean is compared by
/// [`crate::PROTOCOL_HASH`].
pub const FRAME_VERSION: u8 = 1;

/// Byte that ends a frame, and occurs nowhere in one.
pub const DELIMITER: u8 = 0;

const HEADER_BYTES: usize = 12;
const CHECKSUM_BYTES: usize = 4;

/// What a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Channel {
    /// [`crate::rpc`].
    Rpc = 1,
    /// [`crate::event`].
    Events = 2,
    /// 9P2000.L served by the shell.
    Files = 3,
    /// GDB remote protocol.
    Gdb = 4,
}

/// What a frame is within its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Asks; the answer carries the same id.
    Request = 1,
    /// Answers.
    Response = 2,
    /// Neither.
    Notice = 3,
}

/// Says whose frame it is and where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What the body belongs to.
    pub channel: Channel,
    /// What it is there.
    pub kind: Kind,
    /// The attached shell. Whoever owns the link assigns it; the guest keeps sessions apart by it.
    pub session: u32,
    /// Matches responses with requests.
    pub id: u32,
}

/// A frame taken from the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its header.
    pub header: Header,
    /// Its body, a postcard message.
    pub body: Vec<u8>,
}

/// Why bytes between two delimiters are not a frame, or a message does not fit one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Longer than [`FRAME_BYTES_MAX`].
    TooLong {
        /// Its length in bytes, as far as it was read.
        bytes: usize,
    },
    /// Shorter than a header and a checksum.
    TooShort {
        /// Its length in bytes.
        bytes: usize,
    },
    /// Not COBS.
    BadStuffing,
    /// The checksum does not match.
    BadChecksum,
    /// Unknown frame version.
    BadVersion(u8),
    /// Unknown channel or kind, or the reserved byte is set.
    BadHeader,
    /// The body is not the message it should be.
    BadBody,
}

impl fmt::Display for FrameError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => {
                write!(formatter, "frame of {bytes} bytes, at most {FRAME_BYTES_MAX} allowed")
            }
            Self::TooShort { bytes } => write!(formatter, "frame of {bytes} bytes is cut short"),
            Self::BadStuffing => formatter.write_str("frame is not COBS"),
            Self::BadChecksum => formatter.write_str("frame checksum does not match"),
            Self::BadVersion(version) => {
                write!(formatter, "frame version {version}, this side speaks {FRAME_VERSION}")
            }
            Self::BadHeader => formatter.write_str("frame header names no known channel or kind"),
            Self::BadBody => formatter.write_str("frame body is not the expected message"),
        }
    }
}

impl core::error::Error for FrameError {}

/// Encodes a message into a frame, delimiter included.
///
/// # Errors
///
/// [`FrameError::TooLong`] if the frame would pass [`FRAME_BYTES_MAX`]; the sender splits or refuses.
pub fn encode<T: Serialize>(header: Header, message: &T) -> Result<Vec<u8>, FrameError> {
    let plain = message::append(message, header_bytes(header)).map_err(|_| FrameError::BadBody)?;
    seal(plain)
}

/// Encodes a body that is already serialized, as a relay does.
///
/// # Errors
///
/// As [`encode`].
pub fn encode_body(header: Header, body: &[u8]) -> Result<Vec<u8>, FrameError> {
    let mut plain = header_bytes(header);
    plain.extend_from_slice(body);
    seal(plain)
}

fn header_bytes(header: Header) -> Vec<u8> {
    let mut plain = Vec::with_capacity(64);
    plain.extend_from_slice(&[FRAME_VERSION, header.channel as u8, header.kind as u8, 0]);
    plain.extend_from_slice(&header.session.to_le_bytes());
    plain.extend_from_slice(&header.id.to_le_bytes());
    plain
}

fn seal(mut plain: Vec<u8>) -> Result<Vec<u8>, FrameError> {
    let checksum = crc32(&plain);
    plain.extend_from_slice(&checksum.to_le_bytes());
    let mut encoded = cobs::encode_vec(&plain);
    if encoded.len() > FRAME_BYTES_MAX {
        return Err(FrameError::TooLong { bytes: encoded.len() });
    }
    encoded.push(DELIMITER);
    Ok(encoded)
}

impl Frame {
    /// Reads the body as a message.
    ///
    /// # Errors
    ///
    /// [`FrameError::BadBody`] if it is another message, or has bytes left over.
    pub fn message<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        match message::take(&self.body) {
            Ok((message, [])) => Ok(message),
            _ => Err(FrameError::BadBody),
        }
    }

    fn open(encoded: &[u8]) -> Result<Self, FrameError> {
        let plain = cobs::decode_vec(encoded).map_err(|_| FrameError::BadStuffing)?;
        let Some((covered, checksum)) = plain.split_last_chunk::<CHECKSUM_BYTES>() else {
            return Err(FrameError::TooShort { bytes: plain.len() });
        };
        let Some((head, body)) = covered.split_first_chunk::<HEADER_BYTES>() else {
            return Err(FrameError::TooShort { bytes: plain.len() });
        };
        if crc32(covered) != u32::from_le_bytes(*checksum) {
            return Err(FrameError::BadChecksum);
        }
        let [version, channel, kind, reserved, session @ .., i0, i1, i2, i3] = *head;
        if version != FRAME_VERSION {
            return Err(FrameError::BadVersion(version));
        }
        let channel = match channel {
            1 => Channel::Rpc,
            2 => Channel::Events,
            3 => Channel::Files,
            4 => Channel::Gdb,
            _ => return Err(FrameError::BadHeader),
        };
        let kind = match kind {
            1 => Kind::Request,
            2 => Kind::Response,
            3 => Kind::Notice,
            _ => return Err(FrameError::BadHeader),
        };
        if reserved != 0 {
            return Err(FrameError::BadHeader);
        }
        let header = Header {
            channel,
            kind,
            session: u32::from_le_bytes(session),
            id: u32::from_le_bytes([i0, i1, i2, i3]),
        };
        Ok(Self { header, body: body.to_vec() })
    }
}

/// Cuts a byte stream into frames. Holds at most [`FRAME_BYTES_MAX`] bytes whatever arrives.
#[derive(Debug, Default)]
pub struct Decoder {
    pending: Vec<u8>,
    /// Bytes of an overlong frame that were thrown away; non-zero while skipping to its end.
    skipped: usize,
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the front of `input` until a frame is complete or `input` is empty.
    ///
    /// Returns `None` when it needs more. An error costs the bytes up to the next delimiter and
    /// nothing else; go on calling.
    pub fn next_frame(&mut self, input: &mut &[u8]) -> Option<Result<Frame, FrameError>> {
        loop {
            let end = input.iter().position(|&byte| byte == DELIMITER);
            let (piece, rest) = input.split_at(end.unwrap_or(input.len()));
            let complete = end.is_some();
            *input = if complete { &rest[1..] } else { rest };
            if self.skipped > 0 || self.pending.len() + piece.len() > FRAME_BYTES_MAX {
                self.skipped += self.pending.len() + piece.len();
                self.pending = Vec::new();
            } else {
                self.pending.extend_from_slice(piece);
            }
            if !complete {
                return None;
            }
            if self.skipped > 0 {
                let bytes = core::mem::take(&mut self.skipped);
                return Some(Err(FrameError::TooLong { bytes }));
            }
            // Two delimiters in a row: what a shell sends first to end a frame that its predecessor cut.
            if self.pending.is_empty() {
                continue;
            }
            let frame = Frame::open(&self.pending);
            self.pending.clear();
            return Some(frame);
        }
    }
}
