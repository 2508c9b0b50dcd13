//! What is verified.

use uio_bpf_objects::SourceInfo;
use uio_protocol::bpf::ObjectImage;

use crate::engine::{ContextLayout, SourceLine};

/// An object as it came from the compiler, with what people want to read of its source.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The typed image.
    pub object: ObjectImage,
    /// For which context each program's accesses are, in their order; missing ones are native.
    pub layouts: Vec<ContextLayout>,
    /// Where instructions come from.
    pub source: SourceInfo,
}

impl Subject {
    /// For which context the accesses of program number `program` are.
    #[must_use]
    pub fn layout(&self, program: usize) -> ContextLayout {
        self.layouts.get(program).copied().unwrap_or_default()
    }

    /// The line that an instruction came from.
    #[must_use]
    pub fn source(&self, program: usize, slot: u32) -> Option<SourceLine> {
        self.source.line(program, slot).map(|line| SourceLine {
            file: line.file.to_owned(),
            line: line.line,
            column: u32::from(line.column),
            text: line.text.to_owned(),
        })
    }

    /// Notes that program number `program` has been rewritten to native context accesses.
    pub(crate) fn set_native(&mut self, program: usize) {
        if let Some(layout) = self.layouts.get_mut(program) {
            *layout = ContextLayout::Native;
        }
    }
}
