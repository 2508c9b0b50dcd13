//! As much of HTTP/1.1 as the service and its client need, over `httparse`: messages with a length, kept alive.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Longest head of a message, and most headers.
pub(crate) const HEAD_BYTES_MAX: usize = 16 * 1024;
pub(crate) const HEADERS_MAX: usize = 64;

/// Bytes read at a time.
const PIECE_BYTES: usize = 64 * 1024;

/// What a connection still has to offer.
#[derive(Debug)]
pub(crate) struct Reader {
    stream: TcpStream,
    /// Read, but not consumed: the next message may begin here.
    buffer: Vec<u8>,
}

/// Why no message came.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// The other side closed between messages.
    Closed,
    /// The other side closed within a message, or the connection broke.
    Broken(io::Error),
    /// It took too long.
    Slow,
    /// The head is too long or has too many headers.
    HeadTooLong,
    /// Not HTTP.
    Malformed(&'static str),
    /// A body without a length, or with more than one.
    NoLength,
    /// A longer body than is taken.
    BodyTooLong {
        /// What it says to have.
        bytes: u64,
    },
}

/// A head: what the lines say, and how many bytes of body follow.
pub(crate) struct Head<T> {
    pub(crate) line: T,
    pub(crate) length: u64,
    /// Whether the other side waits for a go-ahead.
    pub(crate) expects: bool,
    pub(crate) keep_alive: bool,
}

/// What [`Reader::head`] makes of a parsed head; `None` if it is not whole yet.
pub(crate) type ParseHead<T> = fn(&[u8]) -> Result<Option<(usize, Head<T>)>, ReadError>;

impl Reader {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// The next head. `idle` until its first byte, `patience` from then on.
    pub(crate) fn head<T>(
        &mut self,
        parse: ParseHead<T>,
        idle: Duration,
        patience: Duration,
    ) -> Result<Head<T>, ReadError> {
        let mut deadline = Instant::now() + if self.buffer.is_empty() { idle } else { patience };
        loop {
            if let Some((length, head)) = parse(&self.buffer)? {
                self.buffer.drain(..length);
                return Ok(head);
            }
            if self.buffer.len() >= HEAD_BYTES_MAX {
                return Err(ReadError::HeadTooLong);
            }
            let first = self.buffer.is_empty();
            match self.fill(HEAD_BYTES_MAX - self.buffer.len(), deadline) {
                Ok(0) if first => return Err(ReadError::Closed),
                Ok(0) => return Err(ReadError::Broken(io::ErrorKind::UnexpectedEof.into())),
                Err(ReadError::Slow) if first => return Err(ReadError::Closed),
                Err(error) => return Err(error),
                Ok(_) if first => deadline = Instant::now() + patience,
                Ok(_) => {}
            }
        }
    }

    /// A body of `length` bytes, which the caller has found acceptable.
    pub(crate) fn body(&mut self, length: usize, patience: Duration) -> Result<Vec<u8>, ReadError> {
        let deadline = Instant::now() + patience;
        while self.buffer.len() < length {
            if self.fill(length - self.buffer.len(), deadline)? == 0 {
                return Err(ReadError::Broken(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        let rest = self.buffer.split_off(length);
        Ok(std::mem::replace(&mut self.buffer, rest))
    }

    fn fill(&mut self, most: usize, deadline: Instant) -> Result<usize, ReadError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ReadError::Slow);
        }
        self.stream.set_read_timeout(Some(left)).map_err(ReadError::Broken)?;
        let before = self.buffer.len();
        self.buffer.resize(before + most.min(PIECE_BYTES), 0);
        let result = self.stream.read(&mut self.buffer[before..]);
        self.buffer.truncate(before + result.as_ref().map_or(0, |count| *count));
        result.map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ReadError::Slow,
            _ => ReadError::Broken(error),
        })
    }

    /// Closes so that what was written last arrives: says that nothing follows, and reads what was under way.
    pub(crate) fn linger(mut self, patience: Duration) {
        const DRAINED_BYTES_MAX: usize = 1 << 20;
        let deadline = Instant::now() + patience;
        if self.stream.shutdown(std::net::Shutdown::Write).is_err() {
            return;
        }
        let mut drained = 0;
        while drained < DRAINED_BYTES_MAX {
            self.buffer.clear();
            match self.fill(PIECE_BYTES, deadline) {
                Ok(count) if count > 0 => drained += count,
                _ => return,
            }
        }
    }
}

/// What the headers say of the body and of the connection's future. `persistent`: of this version by default.
pub(crate) fn judge_headers<T>(
    line: T,
    headers: &[httparse::Header<'_>],
    persistent: bool,
) -> Result<Head<T>, ReadError> {
    let mut length = None;
    let mut head = Head { line, length: 0, expects: false, keep_alive: persistent };
    for header in headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let value = || std::str::from_utf8(header.value).unwrap_or_default().trim();
        if is("content-length") {
            // Two of them, or a sign, are the start of a smuggled request.
            let digits = value();
            if length.is_some() || digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(ReadError::NoLength);
            }
            length = Some(digits.parse().map_err(|_| ReadError::BodyTooLong { bytes: u64::MAX })?);
        } else if is("transfer-encoding") {
            return Err(ReadError::NoLength);
        } else if is("expect") {
            head.expects = value().eq_ignore_ascii_case("100-continue");
        } else if is("connection") {
            for word in value().split(',').map(str::trim) {
                if word.eq_ignore_ascii_case("close") {
                    head.keep_alive = false;
                } else if word.eq_ignore_ascii_case("keep-alive") {
                    head.keep_alive = true;
                }
            }
        }
    }
    head.length = length.unwrap_or(0);
    Ok(head)
}

/// Writes a message: its first line and headers, then its body.
pub(crate) fn write(stream: &mut TcpStream, head: &str, body: &[u8]) -> io::Result<()> {
    let mut message = Vec::with_capacity(head.len() + body.len());
    message.extend_from_slice(head.as_bytes());
    message.extend_from_slice(body);
    stream.write_all(&message)
}

impl From<httparse::Error> for ReadError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::TooManyHeaders => Self::HeadTooLong,
            httparse::Error::HeaderName => Self::Malformed("a header's name"),
            httparse::Error::HeaderValue => Self::Malformed("a header's value"),
            httparse::Error::NewLine => Self::Malformed("an end of line"),
            httparse::Error::Status => Self::Malformed("the status"),
            httparse::Error::Token => Self::Malformed("the first line"),
            httparse::Error::Version => Self::Malformed("the version of HTTP"),
        }
    }
}
