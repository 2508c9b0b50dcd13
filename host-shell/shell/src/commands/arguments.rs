//! Words after a command's name: flags and what they apply to.

use super::{Command, CommandError};
use crate::text::near_matches;

/// A flag of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// `-f` or `--width`.
    pub name: &'static str,
    /// Whether a value follows, as `--width 4` or `--width=4`.
    pub takes_value: bool,
}

/// Flags that every command takes.
const COMMON: [Flag; 2] =
    [Flag { name: "--json", takes_value: false }, Flag { name: "--help", takes_value: false }];

/// The words after a command's name, checked against what the command takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    positional: Vec<String>,
    flags: Vec<(&'static str, String)>,
}

impl Arguments {
    /// Sorts `words` for `command`.
    ///
    /// # Errors
    ///
    /// [`CommandError::Usage`] for unknown flags, missing values and wrong counts.
    pub fn parse(command: &dyn Command, words: &[String]) -> Result<Self, CommandError> {
        let usage = |message: String| CommandError::Usage { command: command.name(), message };
        let mut parsed = Self::default();
        let mut words = words.iter();
        let mut flags_end = false;
        while let Some(word) = words.next() {
            let rest_is_foreign = command.passes_rest() && !parsed.positional.is_empty();
            if flags_end || rest_is_foreign || !is_flag(word) {
                parsed.positional.push(word.clone());
                continue;
            }
            if word == "--" {
                flags_end = true;
                continue;
            }
            let (name, attached) = match word.split_once('=') {
                Some((name, value)) if word.starts_with("--") => (name, Some(value.to_owned())),
                _ => (word.as_str(), None),
            };
            let known = || command.flags().iter().chain(&COMMON);
            let Some(flag) = known().find(|flag| flag.name == name) else {
                let near = near_matches(name, known().map(|flag| flag.name));
                let meant = near.first().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                return Err(usage(format!("unknown flag `{name}`{meant}")));
            };
            let value = match (flag.takes_value, attached) {
                (false, None) => String::new(),
                (false, Some(_)) => return Err(usage(format!("`{name}` takes no value"))),
                (true, Some(value)) => value,
                (true, None) => {
                    words.next().cloned().ok_or_else(|| usage(format!("`{name}` needs a value")))?
                }
            };
            parsed.flags.push((flag.name, value));
        }
        let (least, most) = command.arity();
        let count = parsed.positional.len();
        if count < least && !parsed.has("--help") {
            return Err(usage(
                if count == 0 { "arguments are missing" } else { "an argument is missing" }.into(),
            ));
        }
        if count > most {
            return Err(usage(format!("unexpected argument `{}`", parsed.positional[most])));
        }
        Ok(parsed)
    }

    /// Whether a flag was given.
    #[must_use]
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|(name, _)| *name == flag)
    }

    /// The value of a flag, the last one if it was repeated.
    #[must_use]
    pub fn value(&self, flag: &str) -> Option<&str> {
        self.flags.iter().rev().find(|(name, _)| *name == flag).map(|(_, value)| value.as_str())
    }

    /// The argument at `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&str> {
        self.positional.get(index).map(String::as_str)
    }

    /// The argument at `index`, which the command's arity promises.
    #[must_use]
    pub fn at(&self, index: usize) -> &str {
        self.get(index).unwrap_or_default()
    }

    /// All arguments.
    #[must_use]
    pub fn all(&self) -> &[String] {
        &self.positional
    }
}

/// `-f`, `--width`, `--`; not `-1`, which is a number, nor `-`.
fn is_flag(word: &str) -> bool {
    word.strip_prefix('-').is_some_and(|rest| {
        rest.starts_with(|first: char| first == '-' || first.is_ascii_alphabetic()) && !word.contains(' ')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::{Output, Shell};

    struct Sample {
        passes_rest: bool,
    }

    impl Command for Sample {
        fn name(&self) -> &'static str {
            "sample"
        }
        fn summary(&self) -> &'static str {
            "s"
        }
        fn usage(&self) -> &'static str {
            "sample"
        }
        fn example(&self) -> &'static str {
            ""
        }
        fn flags(&self) -> &'static [Flag] {
            &[Flag { name: "-f", takes_value: false }, Flag { name: "--width", takes_value: true }]
        }
        fn arity(&self) -> (usize, usize) {
            (1, 3)
        }
        fn passes_rest(&self) -> bool {
            self.passes_rest
        }
        fn run(&self, _: &mut Shell, _: &Arguments, _: &mut Output<'_>) -> Result<(), CommandError> {
            Ok(())
        }
    }

    fn parse(line: &str, passes_rest: bool) -> Result<Arguments, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Arguments::parse(&Sample { passes_rest }, &words).map_err(|error| match error {
            CommandError::Usage { message, .. } => message,
            other => other.to_string(),
        })
    }

    #[test]
    fn flags_go_anywhere() {
        for line in ["a -f --width 4", "--width=4 a -f", "-f --width 8 --width 4 a"] {
            let parsed = parse(line, false).unwrap();
            assert!(parsed.has("-f"), "{line}");
            assert_eq!(parsed.value("--width"), Some("4"), "{line}");
            assert_eq!(parsed.all(), ["a"], "{line}");
        }
    }

    #[test]
    fn numbers_and_what_follows_two_dashes_are_no_flags() {
        assert_eq!(parse("a -1 -0x10", false).unwrap().all(), ["a", "-1", "-0x10"]);
        assert_eq!(parse("-- -f", false).unwrap().all(), ["-f"]);
    }

    #[test]
    fn foreign_flags_pass() {
        let parsed = parse("--json a --width -x", true).unwrap();
        assert!(parsed.has("--json"));
        assert_eq!(parsed.all(), ["a", "--width", "-x"]);
    }

    #[test]
    fn mistakes_are_named() {
        for (line, message) in [
            ("", "arguments are missing"),
            ("a b c d", "unexpected argument `d`"),
            ("a --widht 4", "unknown flag `--widht`; did you mean `--width`?"),
            ("a --width", "`--width` needs a value"),
            ("a --json=1", "`--json` takes no value"),
        ] {
            assert_eq!(parse(line, false).unwrap_err(), message, "{line}");
        }
    }
}
