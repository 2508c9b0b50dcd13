//! Words for what the guest says in types.

use std::path::PathBuf;

use uio_protocol::bpf::ProgramKind;

use super::super::Shell;

/// The word for a kind of program.
pub(in super::super) fn kind_name(kind: ProgramKind) -> &'static str {
    match kind {
        ProgramKind::Packet => "packet",
        ProgramKind::Tracing => "tracing",
        ProgramKind::Timer => "timer",
        ProgramKind::Raw { .. } => "raw",
    }
}

/// Where copies of loaded objects are kept for all shells of this host.
pub(in super::super) fn objects_folder(shell: &Shell) -> Option<PathBuf> {
    Some(shell.target.directory.as_deref()?.join("objects"))
}
