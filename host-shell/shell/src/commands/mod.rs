//! What a person types at the prompt: one command a file, behind one trait.

mod arguments;
mod error;
mod output;
mod shell;
mod symbols;

mod batch;
mod call;
mod cat;
mod compile;
mod cp;
mod disasm;
mod edit;
mod ext;
mod feature;
mod help;
mod info;
mod kill;
mod load;
mod log;
mod ls;
mod mem;
mod peek;
mod poke;
mod print;
mod run;
mod runner;
mod set;
mod stack;
mod sym;
mod threads;
mod transcript;
mod unload;

pub use arguments::{Arguments, Flag};
pub use error::CommandError;
pub use output::{Output, error_text};
pub use shell::{Interrupts, Shell, Target};

use crate::client::ClientError;
use crate::text::near_matches;

/// What may stand at a place of a command line, for TAB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Completion {
    /// Nothing that could be guessed.
    Nothing,
    /// A command of this shell.
    Command,
    /// A function or variable of the guest.
    Symbol,
    /// An expression over variables.
    Expression,
    /// A file of the guest.
    GuestPath,
    /// A file of the host.
    HostPath,
    /// A file of the guest, or of the host after `host:`.
    EitherPath,
    /// A thread's number.
    Thread,
    /// A loaded extension.
    Extension,
    /// A loaded extension, or a file of the host to load.
    ExtensionOrFile,
    /// One of these words.
    Words(&'static [&'static str]),
}

/// A command of the prompt.
pub trait Command: Sync {
    /// What is typed.
    fn name(&self) -> &'static str;
    /// One line for the list of commands.
    fn summary(&self) -> &'static str;
    /// The form of its arguments.
    fn usage(&self) -> &'static str;
    /// What there is to know beyond the summary; may be empty.
    fn details(&self) -> &'static str {
        ""
    }
    /// A call and what it prints.
    fn example(&self) -> &'static str;
    /// Its flags, besides `--json`, which all commands take.
    fn flags(&self) -> &'static [Flag] {
        &[]
    }
    /// Least and most arguments.
    fn arity(&self) -> (usize, usize);
    /// Whether what follows the first argument is somebody else's, flags included.
    fn passes_rest(&self) -> bool {
        false
    }
    /// What stands at each place; the last entry goes for all that follow.
    fn completions(&self) -> &'static [Completion] {
        &[]
    }
    /// Does it.
    ///
    /// # Errors
    ///
    /// [`CommandError`], which the caller renders.
    fn run(&self, shell: &mut Shell, arguments: &Arguments, out: &mut Output<'_>)
    -> Result<(), CommandError>;
}

/// All commands, in the order in which `help` lists them.
pub static ALL: &[(&str, &[&dyn Command])] = &[
    ("Look", &[&info::Info, &threads::Threads, &stack::Stack, &mem::Mem, &log::Log, &feature::Feature]),
    ("Names and memory", &[&print::Print, &set::Set, &sym::Sym, &disasm::Disasm, &peek::Peek, &poke::Poke]),
    ("Files", &[&ls::Ls, &cat::Cat, &cp::Cp, &edit::Edit]),
    ("Extensions", &[&run::Run, &load::Load, &call::Call, &ext::Ext, &kill::Kill, &unload::Unload]),
    ("Shell", &[&help::Help, &batch::Batch, &transcript::Transcript]),
];

/// All commands without their groups.
pub fn all() -> impl Iterator<Item = &'static dyn Command> {
    ALL.iter().flat_map(|(_, commands)| commands.iter().copied())
}

/// The command of that name, or the only one that starts with it.
///
/// # Errors
///
/// [`CommandError::Unknown`] with near matches.
pub fn find(name: &str) -> Result<&'static dyn Command, CommandError> {
    if let Some(command) = all().find(|command| command.name() == name) {
        return Ok(command);
    }
    let near = near_matches(name, all().map(Command::name));
    Err(CommandError::Unknown { name: name.to_owned(), near })
}

/// Runs a command line that is already cut into words. A failure is returned, not shown; `out` then speaks
/// JSON if the command was told to, so that the failure can do the same.
///
/// # Errors
///
/// The command's, or [`CommandError::Unknown`], or [`CommandError::Usage`].
pub fn dispatch(shell: &mut Shell, words: &[String], out: &mut Output<'_>) -> Result<(), CommandError> {
    let Some((name, rest)) = words.split_first() else { return Ok(()) };
    let command = find(name)?;
    let arguments = Arguments::parse(command, rest)?;
    if arguments.has("--help") {
        return help::show(command, out);
    }
    let json = out.is_json();
    out.set_json(json || arguments.has("--json"));
    command.run(shell, &arguments, out)?;
    out.set_json(json);
    Ok(())
}

/// Shows why a command failed; for a guest that is gone, with its last words.
///
/// # Errors
///
/// As [`Output::line`].
pub fn show_failure(shell: &Shell, error: &CommandError, out: &mut Output<'_>) -> Result<(), CommandError> {
    out.failure(error);
    if matches!(error, CommandError::Client(ClientError::Closed)) && !out.is_json() {
        for line in shell.last_words() {
            out.line(out.style().dim(&format!("  | {line}")))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_help_that_fits_it() {
        for command in all() {
            let name = command.name();
            assert!(command.usage().starts_with(name), "{name}: usage");
            assert!(!command.summary().is_empty() && !command.summary().ends_with('.'), "{name}: summary");
            let example = command.example();
            assert!(example.starts_with(&format!("> {name}")), "{name}: the example shows its call");
            assert!(example.lines().count() >= 2, "{name}: the example shows its output");
            let (least, most) = command.arity();
            assert!(least <= most, "{name}: arity");
            for flag in command.flags() {
                assert!(command.usage().contains(flag.name), "{name}: usage names {}", flag.name);
            }
        }
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = all().map(Command::name).collect();
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn a_mistyped_command_has_a_near_match() {
        let Err(CommandError::Unknown { near, .. }) = find("thraeds") else { panic!() };
        assert_eq!(near, ["threads"]);
    }
}
