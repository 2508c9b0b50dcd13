//! One line on the terminal that says what is being measured; nothing elsewhere.

use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::io::{IsTerminal, Write};

/// The line.
#[derive(Debug)]
pub(super) struct Progress {
    shown: bool,
    parts: usize,
    number: Cell<usize>,
    title: RefCell<String>,
}

impl Progress {
    pub(super) fn new(parts: usize) -> Self {
        let shown = std::io::stderr().is_terminal();
        Self { shown, parts, number: Cell::new(0), title: RefCell::default() }
    }

    /// The next part begins.
    pub(super) fn part(&self, title: &str) {
        self.number.set(self.number.get() + 1);
        title.clone_into(&mut self.title.borrow_mut());
        self.step("");
    }

    /// What is under way.
    pub(super) fn step(&self, what: impl Display) {
        if self.shown {
            let (number, parts, title) = (self.number.get(), self.parts, self.title.borrow());
            let mut out = std::io::stderr().lock();
            // A terminal that is gone is no reason to stop measuring.
            let _ = write!(out, "\r\x1b[K[{number}/{parts}] {title}  {what}");
            let _ = out.flush();
        }
    }

    /// Leaves an empty line.
    pub(super) fn clear(&self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
