//! What the host keeps of an object beside its image: where instructions come from.

use uio_protocol::bpf::ProgramImage;

use crate::maps::Variable;
use crate::section::ContextLayout;

/// Where everything of an image comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceInfo {
    /// By the program's index in the image.
    pub programs: Vec<ProgramSource>,
    /// Variables in maps that are sections of variables.
    pub variables: Vec<Variable>,
    /// Names of source files.
    pub(crate) files: Vec<String>,
    /// Texts of source lines.
    pub(crate) texts: Vec<String>,
}

/// Where the instructions of a program come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramSource {
    /// Name of its section.
    pub section: String,
    /// Which layout of the context its code expects.
    pub layout: ContextLayout,
    /// Names of its functions, in the order of [`ProgramImage::functions`].
    pub functions: Vec<String>,
    /// Lines of the source, ascending by slot.
    pub(crate) lines: Vec<LineRecord>,
}

/// From `slot` on, up to the next record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LineRecord {
    pub(crate) slot: u32,
    pub(crate) file: u32,
    pub(crate) text: u32,
    pub(crate) line: u32,
    pub(crate) column: u16,
}

/// A place in the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceLine<'a> {
    /// The file, as the compiler was given it.
    pub file: &'a str,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1; 0 if it is not known.
    pub column: u16,
    /// Its text; empty if the compiler did not keep it.
    pub text: &'a str,
}

impl SourceInfo {
    /// The source line of the instruction at `slot` of program `program`.
    #[must_use]
    pub fn line(&self, program: usize, slot: u32) -> Option<SourceLine<'_>> {
        let lines = &self.programs.get(program)?.lines;
        let after = lines.partition_point(|line| line.slot <= slot);
        let line = lines.get(after.checked_sub(1)?)?;
        Some(SourceLine {
            file: self.files.get(line.file as usize)?,
            line: line.line,
            column: line.column,
            text: self.texts.get(line.text as usize)?,
        })
    }

    /// Whether a new line of the source begins at `slot`.
    #[must_use]
    pub fn begins_line(&self, program: usize, slot: u32) -> bool {
        self.programs
            .get(program)
            .is_some_and(|source| source.lines.binary_search_by_key(&slot, |line| line.slot).is_ok())
    }

    /// Name of the function that `slot` of program `program` belongs to.
    #[must_use]
    pub fn function(&self, program: usize, image: &ProgramImage, slot: u32) -> Option<&str> {
        let index = image.functions.partition_point(|start| *start <= slot).checked_sub(1)?;
        self.programs.get(program)?.functions.get(index).map(String::as_str)
    }

    /// The variable at `offset` of the value of map `map`, and the offset inside it.
    #[must_use]
    pub fn variable(&self, map: u32, offset: u32) -> Option<(&Variable, u32)> {
        self.variables.iter().find_map(|variable| {
            let inside = offset.checked_sub(variable.offset)?;
            (variable.map == map && inside < variable.bytes).then_some((variable, inside))
        })
    }
}
