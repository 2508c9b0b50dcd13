//! Reading objects: from a compiler's ELF file to what engines judge.

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
/// # Errors
///
/// Why it is no object of ours.
pub fn read_object(bytes: &[u8], name: &str) -> Result<Subject, Unreadable> {
    let object = postcard::from_bytes(bytes)
        .map_err(|_| Unreadable { message: format!("{name}: not readable"), suggestion: String::new() })?;
    Ok(Subject { object, layouts: Vec::new(), lines: Vec::new() })
}
