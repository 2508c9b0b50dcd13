//! Runs the steps of the tour: shows what is typed and what comes, and has each step checked.

use std::io::{self, Stdout, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::tour::{Chapter, Step};
use crate::commands::{Output, Shell};
use crate::render::style::Style;
use crate::repl::{Prompt, line, submit};

/// Between two commands of a step; whoever types takes longer.
const PAUSE: Duration = Duration::from_millis(30);

/// How the tour went.
pub(super) struct TourOutcome {
    /// Steps that were begun.
    pub(super) steps: usize,
    /// Those that did what they should.
    pub(super) worked: usize,
    /// The others, with the reason.
    pub(super) failed: Vec<(&'static str, String)>,
    /// Whether Ctrl-C ended it.
    pub(super) ended_early: bool,
    /// Wall-clock time.
    pub(super) took: Duration,
}

/// A command of a step, and what came of it.
pub(super) struct Shown {
    /// What it printed, without colours. What went into a pipe is not here.
    pub(super) text: String,
    /// Whether it succeeded.
    pub(super) good: bool,
}

/// What a step's check may look at.
pub(super) struct Scene<'stage> {
    /// The commands that were shown.
    pub(super) shown: Vec<Shown>,
    /// The application's count before the first of them.
    pub(super) count_before: u64,
    /// The demo's folder on the host.
    pub(super) folder: &'stage Path,
    /// Free memory of the guest before anything was loaded, in bytes.
    pub(super) free_before_loading: u64,
    pub(super) shell: &'stage mut Shell,
}

impl Scene<'_> {
    /// Runs a command that nobody sees; its output as JSON objects.
    pub(super) fn ask(&mut self, text: &str) -> Result<Vec<Value>, String> {
        ask(self.shell, text)
    }

    /// The application's count now.
    pub(super) fn count(&mut self) -> Result<u64, String> {
        count(self.shell)
    }
}

/// Runs steps on a guest.
pub(super) struct Stage {
    shell: Shell,
    style: Style,
    prompt: Prompt,
    extensions: String,
    folder: PathBuf,
    stop: Arc<AtomicBool>,
    free_before_loading: Option<u64>,
}

impl Stage {
    pub(super) fn new(shell: Shell, style: Style, workspace: &Path, folder: &Path) -> io::Result<Self> {
        let prompt = Prompt::of(&shell, style);
        let stop = Arc::new(AtomicBool::new(false));
        // Commands take Ctrl-C for themselves; this one remembers that the person wants to leave.
        signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&stop))?;
        let extensions = relative(&workspace.join("extensions"));
        Ok(Self { shell, style, prompt, extensions, folder: folder.into(), stop, free_before_loading: None })
    }

    pub(super) fn into_shell(self) -> Shell {
        self.shell
    }

    /// Plays all chapters. A step that fails does not end the tour; Ctrl-C and a lost guest do.
    pub(super) fn play(&mut self, chapters: &'static [Chapter]) -> TourOutcome {
        let start = Instant::now();
        let mut outcome =
            TourOutcome { steps: 0, worked: 0, failed: Vec::new(), ended_early: false, took: Duration::ZERO };
        for chapter in chapters {
            println!("\n{}", self.style.bold(&format!("== {}", chapter.title)));
            for step in chapter.steps {
                outcome.steps += 1;
                println!("\n{}", self.style.hint(&format!("# {}", step.title)));
                let result = self.perform(step);
                outcome.ended_early = self.stop.load(Ordering::SeqCst);
                match result {
                    _ if outcome.ended_early => {}
                    Ok(note) => {
                        outcome.worked += 1;
                        println!("{}", self.style.good(&format!("  -- {note}")));
                    }
                    Err(reason) => {
                        println!("{} {reason}", self.style.error("  -- this did not work:"));
                        outcome.failed.push((step.title, reason));
                    }
                }
                if outcome.ended_early || !self.shell.client.is_connected() {
                    outcome.took = start.elapsed();
                    return outcome;
                }
            }
        }
        outcome.took = start.elapsed();
        outcome
    }

    fn perform(&mut self, step: &Step) -> Result<String, String> {
        if self.free_before_loading.is_none() && step.loads {
            self.free_before_loading = Some(free_memory(&mut self.shell)?);
        }
        let count_before = count(&mut self.shell)?;
        let mut shown = Vec::new();
        for (index, text) in step.lines.iter().enumerate() {
            if index > 0 {
                std::thread::sleep(PAUSE);
            }
            let text = text
                .replace("{extensions}", &self.extensions)
                .replace("{folder}", &self.folder.display().to_string());
            shown.push(self.type_line(&text, step.ctrl_c_after));
            if self.stop.load(Ordering::SeqCst) {
                return Err("interrupted".into());
            }
        }
        let mut scene = Scene {
            shown,
            count_before,
            folder: &self.folder,
            free_before_loading: self.free_before_loading.unwrap_or_default(),
            shell: &mut self.shell,
        };
        (step.check)(&mut scene)
    }

    /// Shows the prompt with `text` behind it, and runs it as if it had been typed there.
    fn type_line(&mut self, text: &str, ctrl_c_after: Option<Duration>) -> Shown {
        println!("{}{text}", self.prompt.styled);
        if let Some(delay) = ctrl_c_after {
            let interrupts = self.shell.interrupts.clone();
            std::thread::spawn(move || {
                std::thread::sleep(delay);
                println!("^C");
                interrupts.raise();
            });
        }
        let mut capture = Capture { terminal: io::stdout(), text: Vec::new() };
        let result = submit(&mut self.shell, &self.prompt, text, false, &mut capture, self.style);
        let text = String::from_utf8_lossy(&capture.text);
        Shown { text: without_colors(&text), good: result.is_ok() }
    }
}

/// Runs a command that nobody sees; its output as JSON objects.
fn ask(shell: &mut Shell, text: &str) -> Result<Vec<Value>, String> {
    let mut bytes = Vec::new();
    let mut out = Output::new(&mut bytes, Style::PLAIN, true);
    let result = line::execute_into(shell, text, &mut out);
    let text_out = String::from_utf8_lossy(&bytes);
    if result.is_err() {
        return Err(format!("`{text}` failed: {}", text_out.trim()));
    }
    text_out
        .lines()
        .map(|line| serde_json::from_str(line).map_err(|error| format!("`{text}`: {error}: {line}")))
        .collect()
}

fn count(shell: &mut Shell) -> Result<u64, String> {
    let answer = ask(shell, "print count")?;
    let value = answer.first().and_then(|answer| answer["value"].as_u64());
    value.ok_or_else(|| format!("`print count` gave {answer:?}"))
}

/// Free memory of the guest, in bytes.
pub(super) fn free_memory(shell: &mut Shell) -> Result<u64, String> {
    shell.client.info().map(|info| info.memory_free_bytes).map_err(|error| error.to_string())
}

/// `path` as the person would write it from here.
fn relative(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

/// Standard output, and a copy.
struct Capture {
    terminal: Stdout,
    text: Vec<u8>,
}

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.terminal.write(bytes)?;
        self.text.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.terminal.flush()
    }
}

/// Text without the sequences that [`Style`] puts around it.
fn without_colors(text: &str) -> String {
    let mut pieces = text.split("\x1b[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        plain.push_str(piece.split_once('m').map_or(piece, |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(without_colors("\x1b[1;31merror:\x1b[0m no m\x1b[2mm\x1b[0m"), "error: no mm");
        assert_eq!(without_colors("plain"), "plain");
    }

    #[test]
    fn paths_below_the_current_folder_are_short() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(relative(&here.join("extensions")), "extensions");
        assert_eq!(relative(Path::new("/elsewhere/extensions")), "/elsewhere/extensions");
    }
}
