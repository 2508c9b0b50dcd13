//! `argv`.

use core::ffi::{CStr, c_char, c_int};

/// The arguments of `main`, the program's name first. One that is not UTF-8 is cut where it stops being so.
#[derive(Clone, Debug)]
pub struct Arguments {
    next: *const *const c_char,
    left: usize,
}

impl Arguments {
    /// The arguments that `main` got.
    ///
    /// # Safety
    ///
    /// `argv` points to `argc` pointers to strings with a NUL, all of which stay for ever.
    #[must_use]
    pub unsafe fn new(argc: c_int, argv: *const *const c_char) -> Self {
        Self { next: argv, left: usize::try_from(argc).unwrap_or(0) }
    }
}

impl Iterator for Arguments {
    type Item = &'static str;

    fn next(&mut self) -> Option<&'static str> {
        self.left = self.left.checked_sub(1)?;
        // SAFETY: `new` was promised that so many pointers to strings are there.
        let argument = unsafe {
            let argument = CStr::from_ptr(*self.next);
            self.next = self.next.add(1);
            argument
        };
        Some(argument.to_str().unwrap_or_else(|error| {
            let valid = &argument.to_bytes()[..error.valid_up_to()];
            core::str::from_utf8(valid).unwrap_or_default()
        }))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Arguments {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_argument_comes_once() {
        static STRINGS: [&CStr; 4] = [c"name", c"", c"two", c"bad\xff"];
        let pointers = STRINGS.map(CStr::as_ptr);
        // SAFETY: four pointers to strings of this program.
        let arguments = unsafe { Arguments::new(4, pointers.as_ptr()) };
        assert_eq!(arguments.len(), 4);
        assert_eq!(arguments.collect::<Vec<_>>(), ["name", "", "two", "bad"]);
        // SAFETY: none are looked at.
        assert_eq!(unsafe { Arguments::new(-1, pointers.as_ptr()) }.next(), None);
    }
}
