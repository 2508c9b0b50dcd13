//! From a file to what a guest loads: parse, prove, put together.

use std::path::Path;

use uio_bpf_objects::{ContextLayout, ParsedObject, SourceInfo, is_elf, parse, parse_flat};
use uio_protocol::bpf::ObjectImage;
use uio_verifier::analysis::{self, Options, Rejection, SourceLine, analyse};
use uio_verifier::certificate::{Digest, encode_package, object_digest};

use super::super::{CommandError, Shell, compile};
use super::objects_folder;

/// Bytes at R1 of a flat program: what uIO's `bpf_exec` gave.
const FLAT_MEMORY_BYTES: u32 = 4096;

/// Branches that a rejection shows, the last ones: what leads to the instruction.
const STEPS_MAX: usize = 8;

/// What is uploaded, and what it was made from.
pub(in super::super) struct Package {
    /// Certificate, object and proofs.
    pub(in super::super) bytes: Vec<u8>,
    /// The file's contents.
    pub(in super::super) file: Vec<u8>,
    /// The object, with native accesses of contexts.
    pub(in super::super) image: ObjectImage,
    /// Its digest.
    pub(in super::super) digest: Digest,
}

/// Makes the package of an object file, or of a C source on the way.
pub(in super::super) fn build(path: &Path, certificate: Option<&Path>) -> Result<Package, CommandError> {
    let (file, name) = compile::bpf_object(path)?;
    let ParsedObject { mut image, source } = parse_object(&file, &name)?;
    let mut proofs = Vec::new();
    for index in 0..image.programs.len() {
        let options = Options { context: layout(&source, index), ..Options::default() };
        let analysed = analyse(&image, index, &options)
            .map_err(|rejection| rejected(&rejection, &image.programs[index].name, &source, index))?;
        image.programs[index] = analysed.program;
        proofs.push(analysed.proof.encode());
    }
    let object = postcard::to_allocvec(&image)
        .map_err(|error| CommandError::message(format!("cannot serialize the object: {error}")))?;
    let certificate = match certificate {
        Some(path) => Some(
            std::fs::read(path)
                .map_err(|source| CommandError::HostFile { path: path.to_path_buf(), source })?,
        ),
        None => None,
    };
    let bytes = encode_package(certificate.as_deref(), &object, &proofs)
        .map_err(|error| CommandError::message(format!("{}: {error}", path.display())))?;
    Ok(Package { bytes, file, image, digest: object_digest(&object) })
}

/// An object file, or a flat program.
fn parse_object(file: &[u8], name: &str) -> Result<ParsedObject, CommandError> {
    let parsed = if is_elf(file) {
        parse(file, name)
    } else {
        parse_flat(file, name, FLAT_MEMORY_BYTES)
            .map(|image| ParsedObject { image, source: SourceInfo::default() })
    };
    parsed.map_err(|error| CommandError::with_hint(format!("{name}: {error}"), error.suggestion()))
}

fn layout(source: &SourceInfo, program: usize) -> analysis::ContextLayout {
    match source.programs.get(program).map(|program| program.layout) {
        Some(ContextLayout::LinuxXdp) => analysis::ContextLayout::LinuxXdp,
        _ => analysis::ContextLayout::Native,
    }
}

/// A rejection as an error of the prompt.
fn rejected(rejection: &Rejection, program: &str, source: &SourceInfo, index: usize) -> CommandError {
    let line = |slot: u32| {
        source.line(index, slot).map(|line| SourceLine {
            file: shown_path(line.file),
            line: line.line,
            column: line.column.into(),
            text: line.text.to_owned(),
        })
    };
    let text = rejection.render(program, &line);
    let mut message = format!("{program} is not safe");
    let mut details = Vec::new();
    let mut hint = None;
    let steps = text.lines().filter(|line| is_step(line)).count();
    let mut left_out = steps.saturating_sub(STEPS_MAX);
    if left_out == 1 {
        left_out = 0;
    }
    let mut skipped = 0;
    for line in text.lines() {
        if is_step(line) && skipped < left_out {
            skipped += 1;
            if skipped == left_out {
                details.push(format!("   … {left_out} branches before"));
            }
            continue;
        }
        if let Some(headline) = line.strip_prefix("error: ") {
            message = headline.to_owned();
        } else if let Some(help) = line.trim_start().strip_prefix("= help: ") {
            hint = Some(help.to_owned());
        } else {
            details.push(line.strip_prefix("  ").unwrap_or(line).to_owned());
        }
    }
    CommandError::Rejected { message, details, hint }
}

/// A line of the path to the unsafe instruction: begins with the number of a jump.
fn is_step(line: &str) -> bool {
    line.starts_with("   ") && line.trim_start().starts_with(|first: char| first.is_ascii_digit())
}

/// A file as a person here would name it.
fn shown_path(path: &str) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let relative = Path::new(path).strip_prefix(here).ok();
    relative.map_or_else(|| path.to_owned(), |relative| relative.display().to_string())
}

/// The object that a program was loaded from, if this host has it, and the program's index in it.
pub(in super::super) fn remembered(shell: &Shell, digest: &[u8; 32]) -> Option<ParsedObject> {
    let path = objects_folder(shell)?.join(format!("{}.bpf.o", Digest(*digest)));
    let file = std::fs::read(path).ok()?;
    // The name is part of what is signed, not of what is shown.
    parse_object(&file, "object").ok()
}

/// Where each slot of a program comes from: a line of source, where a new one begins.
pub(in super::super) fn describe_slots(source: &SourceInfo, program: usize, slot: u32) -> Option<String> {
    if !source.begins_line(program, slot) {
        return None;
    }
    let line = source.line(program, slot)?;
    Some(format!("{}:{}  {}", shown_path(line.file), line.line, line.text.trim()))
}

impl Package {
    /// Keeps the object for `prog dump --source`, here and for the other shells of this instance.
    pub(in super::super) fn remember(&self, shell: &Shell) {
        let Some(folder) = objects_folder(shell) else { return };
        // Without the copy other shells show no source.
        let _ = std::fs::create_dir_all(&folder);
        let _ = std::fs::write(folder.join(format!("{}.bpf.o", self.digest)), &self.file);
    }
}
