//! Asking a service.

use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::engine::Engines;
use crate::http::{HEADERS_MAX, Head, ReadError, Reader, judge_headers, write};
use crate::issue::Terms;
use crate::report::Report;
use crate::service::ApiError;

/// Time to connect, for each address of a name.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Time for a whole answer: longer than a service lets a request wait.
const ANSWER_TIME: Duration = Duration::from_secs(90);

/// Longest answer: a package of 4 MiB in base64, twice, and a report with states.
const ANSWER_BYTES_MAX: u64 = 80 << 20;

/// A service by its URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceUrl {
    /// `HOST:PORT`, for the header and to connect to.
    authority: String,
    /// What stands before `/v1`.
    prefix: String,
}

/// Why a service gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Not a URL that this client can use.
    #[error("`{0}` is no URL of a service: write http://HOST:PORT")]
    Url(String),
    /// No connection.
    #[error("{authority}: {error}")]
    Connect {
        /// Where.
        authority: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The connection broke.
    #[error("the service's answer did not arrive: {0}")]
    Broken(String),
    /// It answered something else than a service does.
    #[error("this is no verification service: {0}")]
    Strange(String),
    /// It refused.
    #[error("{}", .0.message)]
    Refused(ApiError),
}

impl ClientError {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Url(url) if url.starts_with("https:") => {
                Some("there is no TLS here; let a tunnel or proxy speak it, as in `ssh -L`".into())
            }
            Self::Connect { .. } => Some("is `uio-shell serve` running there?".into()),
            Self::Refused(error) => error.details.get("suggestion")?.as_str().map(str::to_owned),
            Self::Url(_) | Self::Broken(_) | Self::Strange(_) => None,
        }
    }
}

/// A certificate from a service.
#[derive(Clone, Debug, Deserialize)]
pub struct SignedAnswer {
    /// Its bytes.
    #[serde(with = "crate::base64")]
    pub certificate: Vec<u8>,
    /// Certificate, object and proofs.
    #[serde(with = "crate::base64")]
    pub package: Vec<u8>,
    /// What was signed.
    pub claims: Value,
    /// What the engines said.
    pub report: Report,
}

#[derive(Deserialize)]
struct VerifyAnswer {
    job: String,
    report: Option<Report>,
}

impl ServiceUrl {
    /// Reads `http://HOST[:PORT][/PREFIX]`.
    ///
    /// # Errors
    ///
    /// [`ClientError::Url`].
    pub fn parse(text: &str) -> Result<Self, ClientError> {
        let bad = || ClientError::Url(text.to_owned());
        let rest = text.strip_prefix("http://").ok_or_else(bad)?;
        let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@".contains(&byte));
        if authority.is_empty() || !plain(authority) || !plain(prefix) {
            return Err(bad());
        }
        // An IPv6 address has colons inside its brackets.
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        let prefix = prefix.trim_end_matches('/');
        let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        Ok(Self { authority, prefix })
    }

    /// Has an object verified; waits for the result.
    ///
    /// # Errors
    ///
    /// Why there is none.
    pub fn verify(
        &self,
        name: &str,
        file: &[u8],
        engines: Option<&Engines>,
        states: bool,
    ) -> Result<Report, ClientError> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("name", name);
        if let Some(engines) = engines {
            query.append_pair("engines", &engines.to_string());
        }
        if states {
            query.append_pair("states", "yes");
        }
        let path = format!("/v1/verify?{}", query.finish());
        let mut answer: VerifyAnswer = self.ask("POST", &path, None, file)?;
        // Each look waits on our side, as long as a service may let a job wait in all.
        const LOOKS: usize = 600;
        for _ in 0..LOOKS {
            if let Some(report) = answer.report {
                return Ok(report);
            }
            std::thread::sleep(Duration::from_millis(500));
            answer = self.ask("GET", &format!("/v1/jobs/{}", answer.job), None, &[])?;
        }
        Err(ClientError::Broken("the job does not end".to_owned()))
    }

    /// Has an object verified and signed.
    ///
    /// # Errors
    ///
    /// Why it was not.
    pub fn sign(
        &self,
        name: &str,
        file: &[u8],
        terms: &Terms,
        token: Option<&str>,
    ) -> Result<SignedAnswer, ClientError> {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("name", name).append_pair("tenant", &terms.tenant);
        for hook in &terms.hooks {
            query.append_pair("hook", &hook.to_string());
        }
        query.append_pair("valid", &format!("{}s", terms.valid.as_secs()));
        if let Some(generation) = terms.generation {
            query.append_pair("generation", &generation.to_string());
        }
        if let Some(fuel) = terms.fuel {
            query.append_pair("fuel", &fuel.to_string());
        }
        if let Some(time) = terms.run_time {
            query.append_pair("run_time", &format!("{}ns", time.as_nanos()));
        }
        self.ask("POST", &format!("/v1/sign?{}", query.finish()), token, file)
    }

    fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &[u8],
    ) -> Result<T, ClientError> {
        let (status, bytes) = self.exchange(method, path, token, body)?;
        let strange = |error: serde_json::Error| ClientError::Strange(error.to_string());
        if (200..300).contains(&status) {
            return serde_json::from_slice(&bytes).map_err(strange);
        }
        #[derive(Deserialize)]
        struct Wrapper {
            error: ApiError,
        }
        let Wrapper { mut error } = serde_json::from_slice(&bytes).map_err(strange)?;
        error.status = status;
        Err(ClientError::Refused(error))
    }

    /// One request and its answer, on a connection of its own.
    fn exchange(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: &[u8],
    ) -> Result<(u16, Vec<u8>), ClientError> {
        let mut stream = self.connect()?;
        let mut head = format!(
            "{method} {}{path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.prefix,
            self.authority,
            body.len()
        );
        if let Some(token) = token {
            if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
                return Err(ClientError::Strange("a token has printable ASCII characters only".to_owned()));
            }
            head.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        head.push_str("\r\n");
        let broken = |error: io::Error| ClientError::Broken(error.to_string());
        stream.set_write_timeout(Some(ANSWER_TIME)).map_err(broken)?;
        // A refusal can come before all is sent; then the answer says why.
        let sent = write(&mut stream, &head, body);
        let mut reader = Reader::new(stream);
        let read_error = |error: ReadError| match (&sent, error) {
            (Err(error), _) => ClientError::Broken(error.to_string()),
            (_, ReadError::Malformed(what)) => ClientError::Strange(format!("{what} is malformed")),
            (_, ReadError::Slow) => ClientError::Broken("it takes too long".to_owned()),
            (_, ReadError::Broken(error)) => ClientError::Broken(error.to_string()),
            (_, ReadError::Closed) => ClientError::Broken("the connection was closed".to_owned()),
            (_, ReadError::HeadTooLong | ReadError::NoLength) => {
                ClientError::Strange("its headers cannot be read".to_owned())
            }
            (_, ReadError::BodyTooLong { bytes }) => ClientError::Strange(format!("{bytes} bytes of answer")),
        };
        let head = reader.head(parse_head, ANSWER_TIME, ANSWER_TIME).map_err(read_error)?;
        if head.length > ANSWER_BYTES_MAX {
            return Err(ClientError::Strange(format!("{} bytes of answer", head.length)));
        }
        let bytes = reader.body(head.length as usize, ANSWER_TIME).map_err(read_error)?;
        Ok((head.line, bytes))
    }

    fn connect(&self) -> Result<TcpStream, ClientError> {
        let failed = |error| ClientError::Connect { authority: self.authority.clone(), error };
        let addresses: Vec<SocketAddr> = self.authority.to_socket_addrs().map_err(failed)?.collect();
        let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
        for address in addresses {
            match TcpStream::connect_timeout(&address, CONNECT_TIME) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(failed(last))
    }
}

/// Status of an answer.
fn parse_head(bytes: &[u8]) -> Result<Option<(usize, Head<u16>)>, ReadError> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(length) = response.parse(bytes)? else { return Ok(None) };
    let status = response.code.unwrap_or_default();
    judge_headers(status, response.headers, false).map(|head| Some((length, head)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let url = |text| ServiceUrl::parse(text).map(|url| (url.authority, url.prefix)).ok();
        let is = |authority: &str, prefix: &str| Some((authority.to_owned(), prefix.to_owned()));
        assert_eq!(url("http://127.0.0.1:7000"), is("127.0.0.1:7000", ""));
        assert_eq!(url("http://host/"), is("host:80", ""));
        assert_eq!(url("http://[::1]:7000/verify/"), is("[::1]:7000", "/verify"));
        assert_eq!(url("http://[::1]"), is("[::1]:80", ""));
        for text in ["", "host:7000", "https://host", "http://", "http://a b", "http://h/?x", "http://u@h"] {
            assert_eq!(url(text), None, "{text}");
        }
    }
}
