//! Why something could not be measured.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use uio_prerequisites::InstallError;

use crate::client::ClientError;
use crate::instance::RunDirectoryError;
use crate::machine::image::ImageError;
use crate::machine::qmp::QmpError;

/// Why something could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A file, a process, a terminal.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The workspace with the sources is needed, to build the images.
    #[error("there is no uio workspace here to build the images from")]
    NoWorkspace,
    /// No image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A program is missing.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// The folder for sockets cannot be used.
    #[error(transparent)]
    RunDirectory(#[from] RunDirectoryError),
    /// The guest did not answer as it should.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// QEMU's monitor did not.
    #[error(transparent)]
    Monitor(#[from] QmpError),
    /// A program is not installed.
    #[error("{0} is not installed")]
    Missing(&'static str),
    /// A compiler refused what the suite gave it.
    #[error("{program} failed on {}:\n{said}", source_file.display())]
    Compile {
        /// The compiler.
        program: String,
        /// The source.
        source_file: PathBuf,
        /// Its words.
        said: String,
    },
    /// Something did not happen in time.
    #[error("no {what} within {:.0} s{}", after.as_secs_f64(), said(log))]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// What the guest or QEMU said last.
        log: String,
    },
    /// A guest ended too early.
    #[error("the guest ended before {what}{}", said(log))]
    Ended {
        /// What was waited for.
        what: String,
        /// What it or QEMU said last.
        log: String,
    },
    /// An image lacks what the measurement looks for.
    #[error("{} has no {what}", image.display())]
    NotInImage {
        /// The image.
        image: PathBuf,
        /// A symbol, a section.
        what: String,
    },
    /// A file or an answer is not what it should be.
    #[error("{what} is malformed: {found}")]
    Malformed {
        /// Which.
        what: &'static str,
        /// What is there.
        found: String,
    },
}

impl BenchError {
    /// The next step.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Install(error) => Some(error.hint()),
            Self::Image(error) => error.hint(),
            Self::NoWorkspace => Some("go to the folder of the uio sources".into()),
            _ => None,
        }
    }

    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    pub(crate) fn output(source: io::Error) -> Self {
        Self::Io { what: "standard output".into(), source }
    }
}

fn said(log: &str) -> String {
    if log.trim().is_empty() { String::new() } else { format!("; it said: {}", log.trim()) }
}
