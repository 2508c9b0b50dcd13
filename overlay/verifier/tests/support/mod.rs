//! What the tests share.
#![expect(clippy::result_large_err, reason = "a rejection ends the analysis: its size costs nothing")]

use uio_bpf_objects::ParsedObject;
use uio_verifier::analysis::{Analysis, ContextLayout, Options, Rejection, SourceLine, analyse};

/// Analyses all programs of an object as the shell does.
pub(crate) fn analyse_all(parsed: &ParsedObject, fuel: bool) -> Vec<Result<Analysis, Rejection>> {
    parsed
        .source
        .programs
        .iter()
        .enumerate()
        .map(|(index, source)| {
            let context = match source.layout {
                uio_bpf_objects::ContextLayout::Native => ContextLayout::Native,
                uio_bpf_objects::ContextLayout::LinuxXdp => ContextLayout::LinuxXdp,
            };
            analyse(&parsed.image, index, &Options { context, fuel, ..Options::default() })
        })
        .collect()
}

/// A rejection with lines of source.
pub(crate) fn render(parsed: &ParsedObject, index: usize, rejection: &Rejection) -> String {
    rejection.render(&parsed.image.programs[index].name, &|slot| {
        let line = parsed.source.line(index, slot)?;
        Some(SourceLine {
            file: line.file.to_string(),
            line: line.line,
            column: line.column.into(),
            text: line.text.to_string(),
        })
    })
}
