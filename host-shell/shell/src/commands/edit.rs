//! `edit`

use std::path::PathBuf;
use std::process::Command as Process;

use serde_json::json;
use uio_protocol::error::{FileError, RpcError};

use super::ls::guest_path;
use super::{Arguments, Command, CommandError, Completion, Output, Shell};
use crate::client::ClientError;
use crate::render::units::size;

pub(super) struct Edit;

impl Command for Edit {
    fn name(&self) -> &'static str {
        "edit"
    }

    fn summary(&self) -> &'static str {
        "Edit a file of the guest with $EDITOR"
    }

    fn usage(&self) -> &'static str {
        "edit PATH"
    }

    fn details(&self) -> &'static str {
        "The editor works on a copy, which is written back if it changed. A file that is not there is created.\n\
         $VISUAL, else $EDITOR, else `editor`, names the program. If writing back fails, the copy stays."
    }

    fn example(&self) -> &'static str {
        "> edit /etc/motd\n/etc/motd: 24 B written"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 1)
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::GuestPath, Completion::Nothing]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let path = guest_path(arguments.at(0));
        let before = read(shell, &path)?;
        let copy = copy_path(&path);
        let on_host = |source| CommandError::HostFile { path: copy.clone(), source };
        std::fs::write(&copy, before.as_deref().unwrap_or_default()).map_err(on_host)?;
        out.flush()?;
        let edited = run_editor(&copy);
        // The editor had the terminal; a Ctrl-C there was for it.
        shell.interrupts.clear();
        let after = std::fs::read(&copy).map_err(on_host)?;
        edited?;
        let changed = before.as_deref().is_none_or(|before| before != after);
        if changed && let Err(error) = shell.client.write_file(&path, &after) {
            return Err(CommandError::with_hint(
                error.to_string(),
                format!("your text is kept in {}", copy.display()),
            ));
        }
        let _ = std::fs::remove_file(&copy);
        if out.is_json() {
            return out.object(&json!({ "path": path, "written": changed, "bytes": after.len() }));
        }
        out.line(if changed {
            format!("{path}: {} written", size(after.len() as u64))
        } else {
            format!("{path}: not changed")
        })
    }
}

fn read(shell: &Shell, path: &str) -> Result<Option<Vec<u8>>, CommandError> {
    let mut contents = Vec::new();
    let result = shell.client.read_file(path, |bytes| {
        contents.extend_from_slice(bytes);
        true
    });
    match result {
        Ok(()) => Ok(Some(contents)),
        Err(ClientError::Rpc(RpcError::File { reason: FileError::NotFound, .. })) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A name that keeps the file's own, so that the editor knows its kind.
fn copy_path(path: &str) -> PathBuf {
    let name = path.rsplit('/').next().unwrap_or_default();
    std::env::temp_dir().join(format!("uio-edit-{}-{name}", std::process::id()))
}

fn run_editor(copy: &std::path::Path) -> Result<(), CommandError> {
    let editor = ["VISUAL", "EDITOR"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
        .unwrap_or_else(|| "editor".to_owned());
    // The variable may hold arguments (`code --wait`), as git and others allow.
    let status = Process::new("sh").arg("-c").arg(format!("{editor} \"$1\"")).arg("sh").arg(copy).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(CommandError::with_hint(
            format!("the editor `{editor}` ended with {status}; nothing was written"),
            "set EDITOR to a program that is installed",
        )),
        Err(error) => Err(CommandError::message(format!("cannot run the editor `{editor}`: {error}"))),
    }
}
