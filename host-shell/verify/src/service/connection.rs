//! One connection: requests in, answers out, until one side has enough.

use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::Shared;
use super::api::Answer;
use super::error::ApiError;
use crate::http::{HEADERS_MAX, Head, ReadError, Reader, judge_headers, write};

/// Time for an answer to leave.
const WRITE_TIME: Duration = Duration::from_secs(15);

/// Time that a connection is read after a refusal, so that the refusal arrives.
const LINGER_TIME: Duration = Duration::from_millis(500);

/// A request without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestLine {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    /// Token of an `Authorization: Bearer`.
    pub(super) token: Option<String>,
}

/// Says that there are too many connections, and closes.
pub(super) fn turn_away(mut stream: TcpStream) {
    let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
    let answer =
        Answer::from(ApiError::new(503, "too_many_connections", "too many connections; try again later"));
    let _ = write(&mut stream, &head(&answer, false), &answer.body);
}

impl Shared {
    pub(super) fn serve(&self, stream: TcpStream) {
        // Answers are written in one piece.
        let _ = stream.set_nodelay(true);
        if stream.set_write_timeout(Some(WRITE_TIME)).is_err() {
            return;
        }
        let mut reader = Reader::new(stream);
        loop {
            let start = Instant::now();
            let (answer, keep, route) = match self.read(&mut reader) {
                Ok((line, body, keep_alive)) => {
                    let start = Instant::now();
                    let (route, answer) = self.answer(&line, body);
                    if self.config.log {
                        let millis = start.elapsed().as_millis();
                        eprintln!("{} {} {} {millis} ms", line.method, line.path, answer.status);
                    }
                    (answer, keep_alive && !self.is_stopping(), route)
                }
                Err(Some(error)) => {
                    if self.config.log {
                        eprintln!(
                            "- - {} {} ms: {}",
                            error.status,
                            start.elapsed().as_millis(),
                            error.message
                        );
                    }
                    (Answer::from(error), false, "unread")
                }
                Err(None) => return,
            };
            self.metrics.request(route, answer.status);
            if write(reader.stream(), &head(&answer, keep), &answer.body).is_err() {
                return;
            }
            if !keep {
                reader.linger(LINGER_TIME);
                return;
            }
        }
    }

    /// A request. `Err(None)`: the connection is over.
    fn read(&self, reader: &mut Reader) -> Result<(RequestLine, Vec<u8>, bool), Option<ApiError>> {
        let limits = &self.config.limits;
        let refuse = |error| refuse(&error, limits.body_bytes);
        let head = reader.head(parse_head, limits.idle_time, limits.request_time).map_err(refuse)?;
        if head.length > limits.body_bytes as u64 {
            return Err(refuse(ReadError::BodyTooLong { bytes: head.length }));
        }
        if head.expects && head.length > 0 {
            write(reader.stream(), "HTTP/1.1 100 Continue\r\n\r\n", &[]).map_err(|_| None)?;
        }
        // Not larger than the limit, which is a `usize`.
        let body = reader.body(head.length as usize, limits.request_time).map_err(refuse)?;
        Ok((head.line, body, head.keep_alive))
    }
}

fn parse_head(bytes: &[u8]) -> Result<Option<(usize, Head<RequestLine>)>, ReadError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(length) = request.parse(bytes)? else { return Ok(None) };
    let target = request.path.unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let token = request
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("authorization"))
        .find_map(|header| std::str::from_utf8(header.value).ok()?.strip_prefix("Bearer "));
    let line = RequestLine {
        method: request.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query: query.to_owned(),
        token: token.map(|token| token.trim().to_owned()),
    };
    let persistent = request.version == Some(1);
    judge_headers(line, request.headers, persistent).map(|head| Some((length, head)))
}

fn refuse(error: &ReadError, body_bytes_max: usize) -> Option<ApiError> {
    use serde_json::json;
    Some(match error {
        ReadError::Closed | ReadError::Broken(_) => return None,
        ReadError::Slow => ApiError::new(408, "too_slow", "the request took too long to arrive"),
        ReadError::HeadTooLong => ApiError::new(431, "head_too_long", "the request's headers are too long"),
        ReadError::Malformed(what) => {
            ApiError::new(400, "malformed", format!("{what} of the request is malformed"))
        }
        ReadError::NoLength => ApiError::new(411, "no_length", "a body needs one Content-Length"),
        ReadError::BodyTooLong { bytes } => ApiError::new(
            413,
            "body_too_long",
            format!("{bytes} bytes are too many; {body_bytes_max} are taken"),
        )
        .with(json!({ "limit_bytes": body_bytes_max })),
    })
}

/// First line and headers of an answer.
fn head(answer: &Answer, keep_alive: bool) -> String {
    let reason = match answer.status {
        200 => "OK",
        202 => "Accepted",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "",
    };
    let mut head = format!(
        "HTTP/1.1 {} {reason}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: {}\r\n",
        answer.status,
        answer.content_type,
        answer.body.len(),
        if keep_alive { "keep-alive" } else { "close" },
    );
    for (name, value) in &answer.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head
}
