//! `transcript`

use std::path::PathBuf;

use serde_json::json;

use super::{Arguments, Command, CommandError, Completion, Output, Shell};

pub(super) struct Transcript;

impl Command for Transcript {
    fn name(&self) -> &'static str {
        "transcript"
    }

    fn summary(&self) -> &'static str {
        "Write what is typed and shown to a host file as well"
    }

    fn usage(&self) -> &'static str {
        "transcript [FILE|off]"
    }

    fn details(&self) -> &'static str {
        "Appends to FILE. Without an argument, says whether one is being written."
    }

    fn example(&self) -> &'static str {
        "> transcript session.txt\nwriting to session.txt"
    }

    fn arity(&self) -> (usize, usize) {
        (0, 1)
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::HostPath, Completion::Nothing]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let wanted = arguments.get(0);
        let ended = match wanted {
            Some("off") => shell.set_transcript(None)?,
            Some(path) => shell.set_transcript(Some(PathBuf::from(path)))?,
            None => None,
        };
        let current = shell.transcript_path();
        if out.is_json() {
            let file = current.map(|path| path.display().to_string());
            return out.object(&json!({ "transcript": file }));
        }
        out.line(match (current, ended) {
            (Some(path), _) => format!("writing to {}", path.display()),
            (None, Some(path)) => format!("ended; {} has it", path.display()),
            (None, None) => "no transcript is being written".to_owned(),
        })
    }
}
