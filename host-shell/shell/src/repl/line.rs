//! A command line: words, and where its output goes.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::commands::{CommandError, Output, Shell, dispatch};
use crate::render::style::Style;

/// Where the output of a line goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To whoever typed it.
    Here,
    /// `> FILE`, or `>> FILE` to append.
    File {
        /// The host file.
        path: PathBuf,
        /// Whether to keep what is in it.
        append: bool,
    },
    /// `| PROGRAM…`, run by the host's `sh`.
    Program(String),
}

/// A parsed line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Command and arguments.
    pub words: Vec<String>,
    /// Where the output goes.
    pub destination: Destination,
}

/// Cuts a line into words, as a shell does: blanks separate, quotes and backslashes keep together.
/// `|` outside quotes starts a host program. `>` redirects where it starts a word, so that `p->next`
/// stays an expression.
///
/// # Errors
///
/// [`CommandError::Other`] for an open quote or a redirection to nowhere.
pub fn parse(text: &str) -> Result<Line, CommandError> {
    let mut words = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        if let Some(program) = rest.strip_prefix('|') {
            let program = program.trim();
            if program.is_empty() {
                return Err(CommandError::with_hint(
                    "no program after `|`",
                    "for example `threads | grep app`",
                ));
            }
            return Ok(Line { words, destination: Destination::Program(program.to_owned()) });
        }
        if let Some(target) = rest.strip_prefix('>') {
            return redirect(words, target);
        }
        let (word, after) = next_word(rest)?;
        words.push(word);
        rest = after.trim_start();
    }
    Ok(Line { words, destination: Destination::Here })
}

fn redirect(words: Vec<String>, target: &str) -> Result<Line, CommandError> {
    let (append, target) = match target.strip_prefix('>') {
        Some(target) => (true, target),
        None => (false, target),
    };
    let (path, after) =
        if target.trim().is_empty() { (String::new(), "") } else { next_word(target.trim())? };
    if path.is_empty() || !after.trim().is_empty() {
        let hint = "write it last: `cat /etc/motd > FILE`";
        return Err(CommandError::with_hint("`>` needs one file name after it", hint));
    }
    Ok(Line { words, destination: Destination::File { path: path.into(), append } })
}

/// The first word of `text`, and what follows it.
fn next_word(text: &str) -> Result<(String, &str), CommandError> {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"') | None, '\\') => match chars.next() {
                Some((_, escaped)) => word.push(escaped),
                None => return Err(CommandError::message("the line ends with a backslash")),
            },
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (None, '|') => return Ok((word, &text[at..])),
            (None, c) if c.is_whitespace() => return Ok((word, &text[at..])),
            (None, c) => word.push(c),
        }
    }
    match quote {
        None => Ok((word, "")),
        Some(open) => Err(CommandError::with_hint(
            format!("the quote {open} is not closed"),
            "put a backslash before a quote that is meant as such",
        )),
    }
}

/// Runs a line; output goes to standard output unless the line says otherwise. Failures are shown.
///
/// # Errors
///
/// As the command, after showing it.
pub fn execute(shell: &mut Shell, text: &str, json: bool) -> Result<(), CommandError> {
    let mut stdout = std::io::stdout();
    let style = Style::of(&stdout);
    execute_to(shell, text, json, &mut stdout, style)
}

/// As [`execute`], with standard output's place taken by `sink`.
///
/// # Errors
///
/// As [`execute`].
pub fn execute_to(
    shell: &mut Shell,
    text: &str,
    json: bool,
    sink: &mut dyn Write,
    style: Style,
) -> Result<(), CommandError> {
    let mut recorded = shell.recorded(sink);
    let mut out = Output::new(&mut recorded, style, json);
    let result = execute_into(shell, text, &mut out);
    let flushed = out.flush();
    result.and(flushed)
}

/// As [`execute`], into an output that is open already.
///
/// # Errors
///
/// As [`execute`].
pub fn execute_into(shell: &mut Shell, text: &str, out: &mut Output<'_>) -> Result<(), CommandError> {
    let line = match parse(text) {
        Ok(line) => line,
        Err(error) => {
            out.failure(&error);
            return Err(error);
        }
    };
    if line.words.is_empty() && line.destination == Destination::Here {
        return Ok(());
    }
    let json = out.is_json();
    let elsewhere = match line.destination {
        Destination::Here => return report(dispatch(shell, &line.words, out), out),
        Destination::File { path, append } => to_file(shell, &line.words, path, append, json),
        Destination::Program(program) => to_program(shell, &line.words, &program, json, out),
    };
    if let Err(error) = &elsewhere {
        // What the command wrote went elsewhere; the failure is for whoever typed the line.
        out.failure(error);
    }
    match elsewhere {
        Err(CommandError::OutputClosed) => Ok(()),
        other => other,
    }
}

/// Shows failures that happened before a command ran; later ones it has shown itself.
fn report(result: Result<(), CommandError>, out: &mut Output<'_>) -> Result<(), CommandError> {
    if let Err(error @ (CommandError::Unknown { .. } | CommandError::Usage { .. })) = &result {
        out.failure(error);
    }
    result
}

fn to_file(
    shell: &mut Shell,
    words: &[String],
    path: PathBuf,
    append: bool,
    json: bool,
) -> Result<(), CommandError> {
    let mut options = File::options();
    let options = options.create(true).write(true).append(append).truncate(!append);
    let mut file = match options.open(&path) {
        Ok(file) => file,
        Err(source) => return Err(CommandError::HostFile { path, source }),
    };
    let mut out = Output::new(&mut file, Style::PLAIN, json);
    dispatch(shell, words, &mut out)
}

fn to_program(
    shell: &mut Shell,
    words: &[String],
    program: &str,
    json: bool,
    outer: &mut Output<'_>,
) -> Result<(), CommandError> {
    outer.flush()?;
    let mut child = Command::new("sh")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|error| CommandError::message(format!("cannot run `{program}`: {error}")))?;
    let result = match child.stdin.take() {
        Some(mut stdin) => {
            let mut out = Output::new(&mut stdin, Style::PLAIN, json);
            dispatch(shell, words, &mut out)
        }
        None => Ok(()),
    };
    let status = wait(&mut child)?;
    match result {
        // `head` leaves early; that is no failure.
        Err(CommandError::OutputClosed) | Ok(()) if status.success() => Ok(()),
        Err(CommandError::OutputClosed) | Ok(()) => {
            Err(CommandError::message(format!("`{program}` ended with {status}")))
        }
        Err(error) => Err(error),
    }
}

fn wait(child: &mut Child) -> Result<std::process::ExitStatus, CommandError> {
    child.wait().map_err(CommandError::Output)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        parse(text).unwrap().words
    }

    #[test]
    fn words_and_quotes() {
        assert_eq!(words("  peek  0x10 4 "), ["peek", "0x10", "4"]);
        assert_eq!(words(r#"run "a b" 'c "d"' e\ f """#), ["run", "a b", "c \"d\"", "e f", ""]);
        assert_eq!(words("print p->next"), ["print", "p->next"]);
        assert_eq!(words("run echo 'a|b' \"> c\""), ["run", "echo", "a|b", "> c"]);
    }

    #[test]
    fn destinations() {
        let line = parse("threads | grep 'a > b' | wc -l").unwrap();
        assert_eq!(line.destination, Destination::Program("grep 'a > b' | wc -l".into()));
        assert_eq!(parse("threads|wc").unwrap().words, ["threads"]);
        let file = |append| Destination::File { path: "out file".into(), append };
        assert_eq!(parse("mem > 'out file'").unwrap().destination, file(false));
        assert_eq!(parse("mem >> out\\ file").unwrap().destination, file(true));
    }

    #[test]
    fn mistakes() {
        for text in ["a 'b", "a \"b", "a \\", "a >", "a > b c", "a |", "a | "] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_parses_or_says_why(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn quoted_words_come_back(original in proptest::collection::vec("[^']{0,8}", 1..5)) {
            let text: Vec<String> = original.iter().map(|word| format!("'{word}'")).collect();
            prop_assert_eq!(words(&text.join(" ")), original);
        }
    }
}
