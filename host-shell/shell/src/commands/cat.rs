//! `cat`

use super::ls::guest_path;
use super::{Arguments, Command, CommandError, Completion, Output, Shell};

pub(super) struct Cat;

impl Command for Cat {
    fn name(&self) -> &'static str {
        "cat"
    }

    fn summary(&self) -> &'static str {
        "Print files of the guest"
    }

    fn usage(&self) -> &'static str {
        "cat PATH..."
    }

    fn details(&self) -> &'static str {
        "Bytes come as they are, so `cat /host/dump > dump` copies. With --json, one object a file, its text\n\
         with bytes that are not UTF-8 replaced."
    }

    fn example(&self) -> &'static str {
        "> cat /etc/motd\nWelcome to count."
    }

    fn arity(&self) -> (usize, usize) {
        (1, usize::MAX)
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::GuestPath]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        for path in arguments.all() {
            let path = guest_path(path);
            let mut collected = Vec::new();
            let mut result = Ok(());
            shell.client.read_file(&path, |bytes| {
                if out.is_json() {
                    collected.extend_from_slice(bytes);
                } else {
                    result = out.bytes(bytes);
                }
                if result.is_ok() {
                    result = shell.interrupts.check();
                }
                result.is_ok()
            })?;
            result?;
            if out.is_json() {
                let text = String::from_utf8_lossy(&collected);
                out.object(&serde_json::json!({ "path": path, "size": collected.len(), "text": text }))?;
            }
        }
        Ok(())
    }
}
