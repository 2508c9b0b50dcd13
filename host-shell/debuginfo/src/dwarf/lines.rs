//! Addresses to source positions, with the functions that were inlined there.

use std::sync::PoisonError;

use addr2line::LookupResult;

use super::DebugInfo;
use crate::error::DebugError;
use crate::names::demangle;

/// A position in source code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLocation {
    /// Path as the compiler recorded it.
    pub file: String,
    /// From 1; 0 if the compiler recorded none.
    pub line: u32,
    /// From 1; 0 if the compiler recorded none.
    pub column: u32,
}

impl std::fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        if self.column != 0 {
            write!(f, ":{}", self.column)?;
        }
        Ok(())
    }
}

/// One function active at an address: the real one, or one that was inlined into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFrame {
    /// Demangled name, if known.
    pub function: Option<String>,
    /// Where in that function.
    pub location: Option<SourceLocation>,
    /// Inlined into the frame that follows.
    pub inlined: bool,
}

/// Inlined frames taken from one address. Compilers nest a few dozen at most.
const INLINE_DEPTH_MAX: usize = 256;

impl DebugInfo {
    fn with_lines<T>(
        &self,
        body: impl FnOnce(&addr2line::Context<super::Shared>) -> Result<T, gimli::Error>,
    ) -> Result<T, DebugError> {
        let mut guard = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let context = match guard.take() {
            Some(context) => context,
            None => addr2line::Context::from_arc_dwarf(self.dwarf.clone())?,
        };
        let result = body(&context);
        *guard = Some(context);
        Ok(result?)
    }

    /// The functions active at `address`, innermost first.
    pub(crate) fn frames(&self, address: u64) -> Result<Vec<SourceFrame>, DebugError> {
        let mut found = self.with_lines(|context| {
            let mut lookup = context.find_frames(address);
            // Split DWARF is not used here, so there is never anything to load.
            let mut frames = loop {
                match lookup {
                    LookupResult::Output(frames) => break frames?,
                    LookupResult::Load { continuation, .. } => {
                        lookup = addr2line::LookupContinuation::resume(continuation, None);
                    }
                }
            };
            let mut found = Vec::new();
            while let Some(frame) = frames.next()? {
                let function = frame
                    .function
                    .as_ref()
                    .and_then(|function| function.raw_name().ok().map(|name| demangle(&name)));
                let location = frame.location.and_then(|location| {
                    Some(SourceLocation {
                        file: location.file?.to_owned(),
                        line: location.line.unwrap_or(0),
                        column: location.column.unwrap_or(0),
                    })
                });
                found.push(SourceFrame { function, location, inlined: true });
                if found.len() >= INLINE_DEPTH_MAX {
                    break;
                }
            }
            Ok(found)
        })?;
        if let Some(last) = found.last_mut() {
            last.inlined = false;
        }
        Ok(found)
    }

    /// The source position of `address`.
    pub(crate) fn location(&self, address: u64) -> Result<Option<SourceLocation>, DebugError> {
        self.with_lines(|context| {
            Ok(context.find_location(address)?.and_then(|location| {
                Some(SourceLocation {
                    file: location.file?.to_owned(),
                    line: location.line.unwrap_or(0),
                    column: location.column.unwrap_or(0),
                })
            }))
        })
    }
}
