//! `cp`

use std::path::{Path, PathBuf};

use serde_json::json;
use uio_protocol::inspect::FileKind;

use super::ls::guest_path;
use super::{Arguments, Command, CommandError, Completion, Output, Shell};
use crate::render::units::size;

/// Marks a path of the host.
const HOST: &str = "host:";

pub(super) struct Cp;

impl Command for Cp {
    fn name(&self) -> &'static str {
        "cp"
    }

    fn summary(&self) -> &'static str {
        "Copy a file within the guest, or from and to the host"
    }

    fn usage(&self) -> &'static str {
        "cp [host:]FROM [host:]TO"
    }

    fn details(&self) -> &'static str {
        "`host:` marks a file of the host, relative to where the shell was started. If TO is a folder, the\n\
         file goes into it under its own name."
    }

    fn example(&self) -> &'static str {
        "> cp host:nginx.conf /tmp\nhost:nginx.conf -> /tmp/nginx.conf (1.2 KiB)"
    }

    fn arity(&self) -> (usize, usize) {
        (2, 2)
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::EitherPath]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let from = Place::parse(arguments.at(0));
        let contents = from.read(shell)?;
        let to = Place::parse(arguments.at(1)).within(shell, &from);
        to.write(shell, &contents)?;
        if out.is_json() {
            let (from, to) = (from.to_string(), to.to_string());
            return out.object(&json!({ "from": from, "to": to, "bytes": contents.len() }));
        }
        out.line(format!("{from} -> {to} ({})", size(contents.len() as u64)))
    }
}

enum Place {
    Host(PathBuf),
    Guest(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(path) => write!(formatter, "{HOST}{}", path.display()),
            Self::Guest(path) => formatter.write_str(path),
        }
    }
}

impl Place {
    fn parse(word: &str) -> Self {
        match word.strip_prefix(HOST) {
            Some(path) => Self::Host(PathBuf::from(path)),
            None => Self::Guest(guest_path(word)),
        }
    }

    fn file_name(&self) -> Option<String> {
        let path = match self {
            Self::Host(path) => path.as_path(),
            Self::Guest(path) => Path::new(path),
        };
        path.file_name().map(|name| name.to_string_lossy().into_owned())
    }

    /// The file below this place if it is a folder.
    fn within(self, shell: &Shell, from: &Self) -> Self {
        let Some(name) = from.file_name() else { return self };
        match self {
            Self::Host(path) if path.is_dir() => Self::Host(path.join(name)),
            Self::Guest(path)
                if path.ends_with('/')
                    || shell
                        .client
                        .file_status(&path)
                        .is_ok_and(|status| status.kind == FileKind::Directory) =>
            {
                Self::Guest(format!("{}/{name}", path.trim_end_matches('/')))
            }
            place => place,
        }
    }

    fn read(&self, shell: &Shell) -> Result<Vec<u8>, CommandError> {
        match self {
            Self::Host(path) => {
                std::fs::read(path).map_err(|source| CommandError::HostFile { path: path.clone(), source })
            }
            Self::Guest(path) => {
                let mut contents = Vec::new();
                shell.client.read_file(path, |bytes| {
                    contents.extend_from_slice(bytes);
                    !shell.interrupts.pending()
                })?;
                shell.interrupts.check()?;
                Ok(contents)
            }
        }
    }

    fn write(&self, shell: &Shell, contents: &[u8]) -> Result<(), CommandError> {
        match self {
            Self::Host(path) => std::fs::write(path, contents)
                .map_err(|source| CommandError::HostFile { path: path.clone(), source }),
            Self::Guest(path) => Ok(shell.client.write_file(path, contents)?),
        }
    }
}
