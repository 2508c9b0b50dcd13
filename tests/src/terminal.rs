//! The prompt, on a pseudo-terminal.

use rexpect::reader::Options;
use rexpect::session::{PtySession, spawn_with_options};

use crate::guest::{Guest, NAME};

/// What one step may take.
const LIMIT_MS: u64 = 60_000;

/// A person at the prompt.
pub struct Terminal {
    session: PtySession,
}

impl Terminal {
    /// Attaches, and waits for the prompt.
    ///
    /// # Panics
    ///
    /// If none comes.
    #[must_use]
    pub fn open(guest: &Guest) -> Self {
        let options = Options::new().timeout_ms(Some(LIMIT_MS)).strip_ansi_escape_codes(true);
        let session = spawn_with_options(guest.attach(&[]), options).expect("a shell on a terminal");
        let mut terminal = Self { session };
        terminal.wait_for("lists the commands.");
        terminal.prompt();
        terminal
    }

    /// Types `keys` as they are.
    ///
    /// # Panics
    ///
    /// If the terminal is gone.
    pub fn type_keys(&mut self, keys: &str) {
        self.session.send(keys).and_then(|_| self.session.flush()).expect("a terminal that takes keys");
    }

    /// Presses Ctrl and a letter.
    ///
    /// # Panics
    ///
    /// If the terminal is gone.
    pub fn press_control(&mut self, letter: char) {
        self.session.send_control(letter).expect("a terminal that takes keys");
    }

    /// Waits until `text` is shown; gives what was shown before it.
    ///
    /// # Panics
    ///
    /// If it is not shown in time.
    pub fn wait_for(&mut self, text: &str) -> String {
        match self.session.exp_string(text) {
            Ok(before) => before,
            Err(error) => panic!("waiting for {text:?}: {error}"),
        }
    }

    /// Waits for the next prompt; gives what was shown before it.
    ///
    /// # Panics
    ///
    /// If it does not come in time.
    pub fn prompt(&mut self) -> String {
        // While a line is typed the prompt is drawn again and again, but then not behind the end of a line.
        let pattern = format!(r"\n\r?{NAME}> ");
        match self.session.exp_regex(&pattern) {
            Ok((before, _)) => before.replace('\r', ""),
            Err(error) => panic!("waiting for the prompt: {error}"),
        }
    }

    /// Types a command; gives what it prints.
    ///
    /// # Panics
    ///
    /// If the prompt does not come back in time.
    pub fn command(&mut self, line: &str) -> String {
        self.type_keys(&format!("{line}\r"));
        let shown = self.prompt();
        // Up to here the line was drawn as it was typed.
        shown.split_once('\n').map_or(String::new(), |(_, output)| format!("{output}\n"))
    }

    /// Presses Ctrl-D, and gives what the shell says at the end.
    ///
    /// # Panics
    ///
    /// If it does not end in time.
    pub fn leave(mut self) -> String {
        self.press_control('d');
        self.leave_at_end()
    }

    /// Waits for the end of a shell that ends by itself, and gives what it says until then.
    ///
    /// # Panics
    ///
    /// If it does not end in time.
    pub fn leave_at_end(mut self) -> String {
        match self.session.exp_eof() {
            Ok(rest) => rest,
            Err(error) => panic!("leaving: {error}"),
        }
    }
}
