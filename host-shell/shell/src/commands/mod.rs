//! What a person types at the prompt: one command a file, behind one trait.

mod arguments;
mod error;
mod output;
mod shell;
mod symbols;

mod batch;
mod bpf;
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
mod map;
mod mem;
mod peek;
mod poke;
mod print;
mod prog;
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
    /// A loaded eBPF program.
    Program,
    /// An eBPF map.
    Map,
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
    /// The commands that its first argument chooses from. Their names are two words, `prog load`.
    fn subcommands(&self) -> &'static [&'static dyn Command] {
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
    ("eBPF", &[&bpf::Bpf, &prog::Prog, &map::Map]),
    ("Shell", &[&help::Help, &batch::Batch, &transcript::Transcript]),
];

/// All commands without their groups.
pub fn all() -> impl Iterator<Item = &'static dyn Command> {
    ALL.iter().flat_map(|(_, commands)| commands.iter().copied())
}

/// The command of that name; `prog load` for a subcommand.
///
/// # Errors
///
/// [`CommandError::Unknown`] with near matches.
pub fn find(name: &str) -> Result<&'static dyn Command, CommandError> {
    let named = |name: &str| all().find(|command| command.name() == name);
    if let Some(command) = named(name) {
        return Ok(command);
    }
    if let Some((first, second)) = name.split_once(' ')
        && let Some(command) = named(first)
        && !command.subcommands().is_empty()
    {
        return subcommand(command, second);
    }
    let near = near_matches(name, all().map(Command::name));
    Err(CommandError::Unknown { name: name.to_owned(), near })
}

/// The subcommand of `command` that `word` names.
///
/// # Errors
///
/// [`CommandError::Unknown`] with near matches.
pub fn subcommand(command: &'static dyn Command, word: &str) -> Result<&'static dyn Command, CommandError> {
    let commands = command.subcommands();
    if let Some(found) = commands.iter().find(|sub| last_word(sub.name()) == word) {
        return Ok(*found);
    }
    let name = format!("{} {word}", command.name());
    let near = near_matches(word, commands.iter().map(|sub| last_word(sub.name())));
    let near = near.iter().map(|near| format!("{} {near}", command.name())).collect();
    Err(CommandError::Unknown { name, near })
}

/// What chooses a subcommand.
#[must_use]
pub fn last_word(name: &str) -> &str {
    name.rsplit(' ').next().unwrap_or(name)
}

/// Runs a command line that is already cut into words. A failure is returned, not shown; `out` then speaks
/// JSON if the command was told to, so that the failure can do the same.
///
/// # Errors
///
/// The command's, or [`CommandError::Unknown`], or [`CommandError::Usage`].
pub fn dispatch(shell: &mut Shell, words: &[String], out: &mut Output<'_>) -> Result<(), CommandError> {
    let Some((name, mut rest)) = words.split_first() else { return Ok(()) };
    let mut command = find(name)?;
    if let Some((first, others)) = rest.split_first()
        && !command.subcommands().is_empty()
        && !first.starts_with('-')
    {
        command = subcommand(command, first)?;
        rest = others;
    }
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
        let subcommands = all().flat_map(|command| command.subcommands().iter().copied());
        for command in all().chain(subcommands) {
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
        let Err(CommandError::Unknown { name, near }) = find("prog laod") else { panic!() };
        assert_eq!((name.as_str(), near), ("prog laod", vec!["prog load".to_owned()]));
    }

    #[test]
    fn subcommands_are_named_after_their_command() {
        for command in all() {
            for sub in command.subcommands() {
                assert_eq!(sub.name().split_once(' ').map(|(first, _)| first), Some(command.name()));
                assert_eq!(find(sub.name()).unwrap().name(), sub.name());
            }
        }
    }
}
