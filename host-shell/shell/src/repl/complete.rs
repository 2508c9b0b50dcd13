//! TAB: commands first, then whatever may stand at the place.

use std::cell::RefCell;
use std::rc::Rc;

use rustyline::completion::{Completer as Complete, FilenameCompleter, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};
use uio_protocol::inspect::FileKind;

use crate::commands::{Command, Completion, Shell, all, find, last_word, subcommand};

/// Candidates of one TAB: more would scroll the prompt away.
const CANDIDATES_MAX: usize = 200;

pub(super) struct Completer {
    shell: Rc<RefCell<Shell>>,
    files: FilenameCompleter,
}

impl Completer {
    pub(super) fn new(shell: Rc<RefCell<Shell>>) -> Self {
        Self { shell, files: FilenameCompleter::new() }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.shell.borrow().client.is_connected()
    }
}

impl Complete for Completer {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        at: usize,
        context: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let before = &line[..at];
        let start = before.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
        let word = &before[start..];
        let kind = match place(before) {
            Place::Kind(kind) => kind,
            Place::Subcommand(command) => {
                let names = command.subcommands().iter().map(|sub| last_word(sub.name()).to_owned());
                return Ok((start, pairs(names.collect(), word)));
            }
        };
        let mut candidates = match kind {
            Completion::HostPath => return self.files.complete(line, at, context),
            Completion::ExtensionOrFile => {
                let (from, files) = self.files.complete(line, at, context)?;
                if from == start {
                    let mut all = self.candidates(Completion::Extension, word);
                    all.extend(files);
                    all
                } else {
                    return Ok((from, files));
                }
            }
            Completion::EitherPath if word.starts_with("host:") => {
                let path = &word["host:".len()..];
                let (from, files) = self.files.complete(path, path.len(), context)?;
                return Ok((start + "host:".len() + from, files));
            }
            Completion::Expression => {
                // The expression may hold blanks; it starts after the command.
                let from = before.len() - before.trim_start().len();
                let from = before[from..].find(char::is_whitespace).map_or(start, |blank| from + blank + 1);
                let Ok(shell) = self.shell.try_borrow() else { return Ok((start, Vec::new())) };
                let (at, names) = shell.complete_expression(&before[from..]);
                let pairs = names.into_iter().take(CANDIDATES_MAX);
                return Ok((
                    from + at,
                    pairs.map(|name| Pair { display: name.clone(), replacement: name }).collect(),
                ));
            }
            kind => self.candidates(kind, word),
        };
        candidates.truncate(CANDIDATES_MAX);
        Ok((start, candidates))
    }
}

impl Completer {
    fn candidates(&self, kind: Completion, word: &str) -> Vec<Pair> {
        // While a command runs nobody presses TAB; if the shell is busy all the same, there is no help.
        let Ok(shell) = self.shell.try_borrow() else { return Vec::new() };
        let names: Vec<String> = match kind {
            Completion::Nothing | Completion::HostPath | Completion::Expression => Vec::new(),
            Completion::Command => all().map(|command| command.name().to_owned()).collect(),
            Completion::Symbol => shell.complete_symbol(word, CANDIDATES_MAX),
            Completion::GuestPath | Completion::EitherPath => guest_paths(&shell, word),
            Completion::Thread => {
                let threads = shell.client.threads().unwrap_or_default();
                threads.iter().map(|thread| thread.id.0.to_string()).collect()
            }
            Completion::Extension | Completion::ExtensionOrFile => {
                let extensions = shell.client.extensions().unwrap_or_default();
                extensions.into_iter().map(|extension| extension.name).collect()
            }
            Completion::Program => {
                let programs = shell.client.programs().unwrap_or_default();
                programs.into_iter().flat_map(|one| [one.id.0.to_string(), one.name]).collect()
            }
            Completion::Map => {
                let maps = shell.client.maps().unwrap_or_default();
                maps.into_iter().flat_map(|one| [one.id.0.to_string(), one.name]).collect()
            }
            Completion::Words(words) => words.iter().map(|&word| word.to_owned()).collect(),
        };
        pairs(names, word)
    }
}

/// Candidates that begin as `word` does. What is complete is followed by a blank.
fn pairs(names: Vec<String>, word: &str) -> Vec<Pair> {
    names
        .into_iter()
        .filter(|name| name.starts_with(word))
        .map(|name| {
            let complete = !name.ends_with('/');
            let replacement = if complete { format!("{name} ") } else { name.clone() };
            Pair { display: name, replacement }
        })
        .collect()
}

/// What may stand somewhere.
#[derive(Clone, Copy)]
enum Place {
    Kind(Completion),
    Subcommand(&'static dyn Command),
}

/// What may stand at the end of `before`.
fn place(before: &str) -> Place {
    // After `|` and `>` it is the host's business.
    if before.contains('|') || before.contains(" > ") || before.contains(" >> ") {
        return Place::Kind(Completion::HostPath);
    }
    let mut words: Vec<&str> = before.split_whitespace().collect();
    if !before.ends_with(char::is_whitespace) {
        words.pop();
    }
    let Some((name, mut arguments)) = words.split_first() else { return Place::Kind(Completion::Command) };
    let Ok(mut command) = find(name) else { return Place::Kind(Completion::Nothing) };
    if name == &"help"
        && let [first] = arguments
        && let Ok(command) = find(first)
    {
        return Place::Subcommand(command);
    }
    if !command.subcommands().is_empty() {
        let Some((first, rest)) = arguments.split_first() else { return Place::Subcommand(command) };
        let Ok(sub) = subcommand(command, first) else { return Place::Kind(Completion::Nothing) };
        command = sub;
        arguments = rest;
    }
    let index = arguments.iter().filter(|word| !word.starts_with("--")).count();
    let kinds = command.completions();
    Place::Kind(kinds.get(index).or(kinds.last()).copied().unwrap_or(Completion::Nothing))
}

fn guest_paths(shell: &Shell, word: &str) -> Vec<String> {
    let folder = &word[..word.rfind('/').map_or(0, |slash| slash + 1)];
    let path = if folder.starts_with('/') { folder.to_owned() } else { format!("/{folder}") };
    let entries = shell.client.list_directory(&path).unwrap_or_default();
    entries
        .into_iter()
        .map(|entry| {
            let end = if entry.kind == FileKind::Directory { "/" } else { "" };
            format!("{folder}{}{end}", entry.name)
        })
        .collect()
}

impl Helper for Completer {}
impl Hinter for Completer {
    type Hint = String;
}
impl Highlighter for Completer {}
impl Validator for Completer {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        for (before, kind) in [
            ("", Completion::Command),
            ("thr", Completion::Command),
            ("cat ", Completion::GuestPath),
            ("cat /a /b", Completion::GuestPath),
            ("peek --json co", Completion::Symbol),
            ("peek count ", Completion::Nothing),
            ("nonsense x", Completion::Nothing),
            ("threads | gr", Completion::HostPath),
            ("prog load ", Completion::HostPath),
            ("prog dump ", Completion::Program),
            ("prog dump 1 ", Completion::Words(&["xlated", "jited", "proof"])),
            ("map lookup ", Completion::Map),
            ("prog nonsense ", Completion::Nothing),
        ] {
            let Place::Kind(found) = place(before) else { panic!("{before:?}") };
            assert_eq!(found, kind, "{before:?}");
        }
        for before in ["prog ", "prog lo", "help prog "] {
            assert!(matches!(place(before), Place::Subcommand(command) if command.name() == "prog"));
        }
    }
}
