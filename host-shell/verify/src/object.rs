//! Reading objects: from a compiler's ELF file to what engines judge.

use uio_bpf_objects::{ContextLayout as Layout, parse};

use crate::engine::ContextLayout;
use crate::subject::Subject;

/// Why a file is no object of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreadable {
    /// Why.
    pub message: String,
    /// What to do.
    pub suggestion: String,
}

/// Reads the ELF file `bytes`; `name` is the object's, the file's stem.
///
/// Context accesses stay as compiled; the analysis of uio rewrites those of Linux's layout.
///
/// # Errors
///
/// Why it is no object of ours.
pub fn read_object(bytes: &[u8], name: &str) -> Result<Subject, Unreadable> {
    let parsed = parse(bytes, name).map_err(|error| Unreadable {
        message: format!("{name}: {error}"),
        suggestion: error.suggestion().to_owned(),
    })?;
    let layouts = parsed
        .source
        .programs
        .iter()
        .map(|program| match program.layout {
            Layout::Native => ContextLayout::Native,
            Layout::LinuxXdp => ContextLayout::LinuxXdp,
        })
        .collect();
    Ok(Subject { object: parsed.image, layouts, source: parsed.source })
}
