//! What can go wrong between a shell and a guest.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use uio_protocol::error::RpcError;
use uio_protocol::frame::FrameError;
use uio_protocol::rpc::Reply;

use crate::text::os_reason;

/// Why a request brought no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("cannot connect to {}: {}", path.display(), os_reason(source))]
    Connect {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The connection failed.
    #[error("the connection to the guest failed: {0}")]
    Io(io::Error),
    /// The guest or its keeper went away.
    #[error("the guest is gone")]
    Closed,
    /// No answer in time.
    #[error("the guest did not answer within {:.1} s", after.as_secs_f64())]
    Timeout {
        /// How long was waited.
        after: Duration,
    },
    /// The request does not fit a frame.
    #[error("cannot send: {0}")]
    Frame(FrameError),
    /// The guest answered something else than what was asked.
    #[error("the guest answered {got} to {asked}")]
    Unexpected {
        /// The request.
        asked: &'static str,
        /// Name of the reply.
        got: String,
    },
    /// The guest refused. [`crate::render::error`] words it.
    #[error("{}", crate::render::error::headline(.0))]
    Rpc(RpcError),
}

impl ClientError {
    pub(crate) fn unexpected(asked: &'static str, reply: &Reply) -> Self {
        // The variant's name is enough; the contents may be 32 KiB.
        let text = format!("{reply:?}");
        let got = text.split(['(', ' ', '{']).next().unwrap_or_default().to_owned();
        Self::Unexpected { asked, got }
    }
}
