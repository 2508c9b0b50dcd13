//! What a verification found, for people and for programs.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use uio_verifier::analysis::SourceLine;

use crate::engine::EngineName;

/// What engines say of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The object's name.
    pub name: String,
    /// Whether every engine that was asked accepts every program.
    pub accepted: bool,
    /// SHA-256 of the object that a certificate binds, in hexadecimal; absent unless uio accepted all of it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub digest: Option<String>,
    /// Digest of what the maps look like, in hexadecimal.
    pub map_schema: String,
    /// Instruction slots of all programs.
    pub instructions: u64,
    /// Bytes of all maps.
    pub map_bytes: u64,
    /// The programs, in the order of the object.
    pub programs: Vec<ProgramReport>,
}

/// What engines say of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramReport {
    /// Its name.
    pub name: String,
    /// Its kind: `packet`, `tracing`, `timer`, `raw`.
    pub kind: String,
    /// What the object says to attach it to.
    pub target: String,
    /// Its instruction slots.
    pub instructions: u64,
    /// Whether every engine that was asked accepts it.
    pub accepted: bool,
    /// Whether some accept it and some do not.
    pub disagreement: bool,
    /// What each says.
    pub judgements: Vec<Judgement>,
}

/// What one engine says of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The engine.
    pub engine: EngineName,
    /// Its version.
    pub version: String,
    /// Whether it accepts.
    pub accepted: bool,
    /// How long it took, in microseconds.
    pub micros: u64,
    /// Bytes of the proof that it found.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub proof_bytes: Option<u64>,
    /// Most stack of the program.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stack_bytes: Option<u32>,
    /// Backward jumps of loops without a proven bound, which fuel ends.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub fuel_jumps: Vec<u32>,
    /// Why it does not accept.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rejected: Option<Rejected>,
    /// The state before each instruction, where it was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub states: Vec<(u32, String)>,
}

/// Where and why a program is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Why, in one line.
    pub reason: String,
    /// The instruction, as an index of slots.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub slot: Option<u32>,
    /// The line that it came from.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub source: Option<Place>,
    /// The whole story: reason, line, values, path, suggestion.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rendered: Option<String>,
}

/// A line of source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// File.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1; 0 if unknown.
    pub column: u32,
    /// The line's text.
    pub text: String,
}

impl From<SourceLine> for Place {
    fn from(line: SourceLine) -> Self {
        let SourceLine { file, line, column, text } = line;
        Self { file, line, column, text }
    }
}

impl Rejected {
    pub(crate) fn of(reason: String) -> Self {
        Self { reason, slot: None, source: None, rendered: None }
    }

    /// As the best compilers put it: reason, line, and whatever else is known.
    #[must_use]
    pub fn render(&self, program: &str) -> String {
        if let Some(rendered) = &self.rendered {
            return rendered.clone();
        }
        let mut text = format!("error: {program}: {}\n", self.reason);
        // Writing to a string cannot fail.
        let _ = match (&self.source, self.slot) {
            (Some(Place { file, line, text: source, .. }), Some(slot)) => {
                writeln!(text, "  --> {file}:{line} (instruction {slot})\n   | {}", source.trim_end())
            }
            (None, Some(slot)) => writeln!(text, "  --> instruction {slot}"),
            (_, None) => Ok(()),
        };
        text
    }
}

impl Report {
    /// The report for people.
    #[must_use]
    pub fn render(&self, states: bool) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text, states);
        text
    }

    fn write(&self, out: &mut String, states: bool) -> std::fmt::Result {
        for program in &self.programs {
            for judgement in &program.judgements {
                if states {
                    for (slot, state) in &judgement.states {
                        writeln!(out, "{slot:>6}  {state}")?;
                    }
                }
                if let Some(rejected) = &judgement.rejected {
                    writeln!(out, "{} rejects it:", judgement.engine)?;
                    out.push_str(&rejected.render(&program.name));
                    out.push('\n');
                }
            }
            let verdict = if program.accepted { "accepted" } else { "rejected" };
            write!(
                out,
                "{verdict}  {} {} ({} instructions)",
                program.kind, program.name, program.instructions
            )?;
            for judgement in &program.judgements {
                let verdict = if judgement.accepted { "accepts" } else { "rejects" };
                let millis = judgement.micros as f64 / 1000.0;
                write!(out, "; {} {} {verdict}, {millis:.1} ms", judgement.engine, judgement.version)?;
                if let Some(bytes) = judgement.proof_bytes {
                    write!(out, ", proof {bytes} B")?;
                }
                match judgement.fuel_jumps.len() {
                    0 => {}
                    1 => write!(out, ", 1 loop ended by fuel")?,
                    loops => write!(out, ", {loops} loops ended by fuel")?,
                }
            }
            writeln!(out)?;
            if program.disagreement {
                writeln!(out, "          the engines disagree; both have to accept")?;
            }
        }
        if let Some(digest) = &self.digest {
            writeln!(out, "object    {digest}")?;
        }
        Ok(())
    }
}
