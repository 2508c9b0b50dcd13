//! What is verified.

use uio_protocol::bpf::ObjectImage;

use crate::engine::{ContextLayout, SourceLine};

/// An object as it came from the compiler, with what people want to read of its source.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The typed image, context accesses as compiled.
    pub object: ObjectImage,
    /// For which context each program was compiled, in their order; missing ones are native.
    pub layouts: Vec<ContextLayout>,
    /// Source lines of each program by slot, ascending; a line holds until the next.
    pub lines: Vec<Vec<(u32, SourceLine)>>,
}

impl Subject {
    /// For which context program number `program` was compiled.
    #[must_use]
    pub fn layout(&self, program: usize) -> ContextLayout {
        self.layouts.get(program).copied().unwrap_or_default()
    }

    /// The line that an instruction came from.
    #[must_use]
    pub fn source(&self, program: usize, slot: u32) -> Option<SourceLine> {
        let lines = self.lines.get(program)?;
        let after = lines.partition_point(|(start, _)| *start <= slot);
        lines[..after].last().map(|(_, line)| line.clone())
    }
}

impl Subject {
    /// Notes that program number `program` has been rewritten to native context accesses.
    pub(crate) fn set_native(&mut self, program: usize) {
        if let Some(layout) = self.layouts.get_mut(program) {
            *layout = ContextLayout::Native;
        }
    }
}
