//! `ls`

use serde_json::json;
use uio_protocol::inspect::{FileInfo, FileKind};

use super::{Arguments, Command, CommandError, Completion, Output, Shell};
use crate::render::table::{Align, Table};
use crate::render::units::size;

pub(super) struct Ls;

impl Command for Ls {
    fn name(&self) -> &'static str {
        "ls"
    }

    fn summary(&self) -> &'static str {
        "List a folder of the guest"
    }

    fn usage(&self) -> &'static str {
        "ls [PATH]"
    }

    fn details(&self) -> &'static str {
        "Without a path, the root. `/host` is the folder given to `uio-shell run --share`."
    }

    fn example(&self) -> &'static str {
        "> ls /\nTYPE     SIZE  NAME\ndir         -  host\ndir         -  tmp\nfile  1.2 KiB  motd"
    }

    fn arity(&self) -> (usize, usize) {
        (0, 1)
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
        let path = guest_path(arguments.get(0).unwrap_or("/"));
        let status = shell.client.file_status(&path)?;
        let mut entries = if status.kind == FileKind::Directory {
            shell.client.list_directory(&path)?
        } else {
            vec![status]
        };
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        if out.is_json() {
            for entry in &entries {
                out.object(&json!({ "name": entry.name, "kind": kind_name(entry), "size": entry.size }))?;
            }
            return Ok(());
        }
        if entries.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(&[("TYPE", Align::Left), ("SIZE", Align::Right), ("NAME", Align::Left)]);
        for entry in &entries {
            let size = if entry.kind == FileKind::Regular { size(entry.size) } else { "-".into() };
            table.row([kind_name(entry).to_owned(), size, printable(&entry.name)]);
        }
        out.table(&table)
    }
}

fn kind_name(file: &FileInfo) -> &'static str {
    match file.kind {
        FileKind::Directory => "dir",
        FileKind::Regular => "file",
        FileKind::Other => "other",
    }
}

/// Paths of the guest are absolute; a person may leave the first slash out.
pub(super) fn guest_path(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// A name without control characters, which could play with the terminal.
pub(super) fn printable(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
