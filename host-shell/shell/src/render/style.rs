//! Colours, on a terminal only.

use std::io::IsTerminal;

/// Whether to colour, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    colors: bool,
}

impl Style {
    /// Never colours.
    pub const PLAIN: Self = Self { colors: false };

    /// Colours if `stream` is a terminal, unless `NO_COLOR` is set (<https://no-color.org>) or the
    /// terminal is `dumb`.
    pub fn of(stream: &impl IsTerminal) -> Self {
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        Self { colors: stream.is_terminal() && !unwanted }
    }

    /// Whether anything will be coloured.
    #[must_use]
    pub fn is_colored(self) -> bool {
        self.colors
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.colors && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Headings and names.
    #[must_use]
    pub fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// What matters less.
    #[must_use]
    pub fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// Errors.
    #[must_use]
    pub fn error(self, text: &str) -> String {
        self.paint("1;31", text)
    }

    /// Warnings.
    #[must_use]
    pub fn warning(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// Success, and the prompt.
    #[must_use]
    pub fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// Hints, and what refers elsewhere.
    #[must_use]
    pub fn hint(self, text: &str) -> String {
        self.paint("36", text)
    }
}
