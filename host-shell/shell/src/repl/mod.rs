//! The prompt.

mod complete;
pub mod line;

use std::cell::RefCell;
use std::fs;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::rc::Rc;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor, ExternalPrinter};

use crate::commands::{CommandError, Shell};
use crate::render::style::Style;
use crate::render::units::time;
use complete::Completer;

/// Lines of history that are kept.
const HISTORY_LINES: usize = 2000;

/// Runs command lines until one fails.
///
/// # Errors
///
/// The first failure, which has been shown.
pub fn run_lines<'a>(
    shell: &mut Shell,
    lines: impl Iterator<Item = &'a str>,
    json: bool,
) -> Result<(), CommandError> {
    for text in lines {
        let text = text.trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        shell.interrupts.clear();
        line::execute(shell, text, json)?;
    }
    Ok(())
}

/// What stands before a command, plain and as a terminal shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Without colours, as the transcript has it.
    pub plain: String,
    /// With the terminal's colours.
    pub styled: String,
}

impl Prompt {
    /// The prompt of `shell`.
    #[must_use]
    pub fn of(shell: &Shell, style: Style) -> Self {
        let plain = format!("{}> ", shell.target.name);
        Self { styled: style.good(&plain), plain }
    }
}

/// Runs a line as if it had been typed after `prompt`: it goes to the transcript as well, and an earlier
/// Ctrl-C is forgotten. Failures are shown.
///
/// # Errors
///
/// As the command.
pub fn submit(
    shell: &mut Shell,
    prompt: &Prompt,
    text: &str,
    json: bool,
    sink: &mut dyn Write,
    style: Style,
) -> Result<(), CommandError> {
    shell.record(format!("{}{text}\n", prompt.plain).as_bytes());
    shell.interrupts.clear();
    if text.is_empty() || text.starts_with('#') {
        return Ok(());
    }
    line::execute_to(shell, text, json, sink, style)
}

/// Reads and runs commands until Ctrl-D. A failed command is shown, and the prompt comes again; `parting` is
/// said at the end. Gives `false` if commands came from a pipe and one of them failed.
///
/// # Errors
///
/// When the terminal fails.
pub fn interact(shell: Shell, json: bool, parting: &str) -> rustyline::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Ok(read_plain(shell, json));
    }
    let config = Config::builder()
        .completion_type(CompletionType::List)
        .max_history_size(HISTORY_LINES)?
        .history_ignore_dups(true)?
        .history_ignore_space(true)
        .auto_add_history(true)
        .build();
    let shell = Rc::new(RefCell::new(shell));
    let mut editor: Editor<Completer, FileHistory> = Editor::with_config(config)?;
    editor.set_helper(Some(Completer::new(Rc::clone(&shell))));
    let history = history_file();
    if let Some(path) = &history {
        // The first session has none.
        let _ = editor.load_history(path);
    }
    shell.borrow().warm_symbols();
    {
        let mut printer = editor.create_external_printer()?;
        let style = Style::of(&std::io::stdout());
        let shown = shell.borrow().show_log(move |text| {
            // A terminal that fails ends the prompt; nothing to do here.
            let _ = printer.print(format!("{}\n", style.warning(&text)));
        });
        shell.borrow_mut().interactive = true;
        if let Err(error) = shown {
            eprintln!("no log messages at the prompt: {error}");
        }
    }
    let mut stdout = std::io::stdout();
    let style = Style::of(&stdout);
    let prompt = Prompt::of(&shell.borrow(), style);
    loop {
        match editor.readline(&(prompt.plain.clone(), prompt.styled.clone())) {
            Ok(text) => {
                let text = text.trim();
                if text == "exit" || text == "quit" {
                    break;
                }
                // Shown already; the prompt goes on.
                let _ = submit(&mut shell.borrow_mut(), &prompt, text, json, &mut stdout, style);
                if let Some(path) = &history {
                    let _ = editor.append_history(path);
                }
                if !shell_connected(&editor) {
                    eprintln!("{} the guest is gone", style.error("error:"));
                    return Ok(true);
                }
            }
            // Ctrl-C at the prompt drops the line that was being typed.
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(error),
        }
    }
    eprintln!("{parting}");
    Ok(true)
}

fn shell_connected(editor: &Editor<Completer, FileHistory>) -> bool {
    editor.helper().is_none_or(Completer::is_connected)
}

/// Commands from a pipe: no prompt, no history, all of them run. Gives whether all succeeded.
fn read_plain(mut shell: Shell, json: bool) -> bool {
    let mut good = true;
    for text in std::io::stdin().lines().map_while(Result::ok) {
        let text = text.trim();
        shell.interrupts.clear();
        if !text.is_empty() && !text.starts_with('#') {
            good &= line::execute(&mut shell, text, json).is_ok();
        }
    }
    good
}

/// Says which guest this is.
pub fn greet(shell: &Shell) {
    let style = Style::of(&std::io::stdout());
    let build = &shell.client.welcome().build_id.0[..4];
    let build = crate::render::units::hex(build);
    let up = shell.client.info().map(|info| format!(", up {}", time(info.uptime_ns))).unwrap_or_default();
    println!(
        "{} (image {}, build {build}{up}). The guest runs on while you look. `help` lists the commands.",
        style.bold(&shell.target.name),
        shell.client.welcome().image
    );
    let _ = std::io::stdout().flush();
}

/// `$XDG_STATE_HOME/uio/history`, else below `~/.local/state`.
fn history_file() -> Option<PathBuf> {
    let base = std::env::var_os("XDG_STATE_HOME")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    let folder = base.join("uio");
    fs::create_dir_all(&folder).ok()?;
    Some(folder.join("history"))
}
