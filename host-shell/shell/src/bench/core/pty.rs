//! A terminal to run the shell in.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Size of the terminal, in characters: wide enough that nothing wraps.
const ROWS: u16 = 50;
const COLUMNS: u16 = 200;

/// The terminal's end that a person would see and type at.
pub(super) struct Pty {
    master: File,
    pieces: Receiver<(Instant, Vec<u8>)>,
    seen: Vec<u8>,
}

/// Opens a terminal; the second part is for the program in it.
pub(super) fn open_pty() -> io::Result<(Pty, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    let slave = open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    tcsetwinsize(&slave, Winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 })?;
    let master = File::from(master);
    let mut reader = master.try_clone()?;
    let (sender, pieces) = channel();
    std::thread::Builder::new().name("uio-bench-pty".into()).spawn(move || {
        let mut buffer = [0; 4096];
        // Ends with an error once the last program in the terminal has.
        while let Ok(count @ 1..) = reader.read(&mut buffer) {
            if sender.send((Instant::now(), buffer[..count].to_vec())).is_err() {
                return;
            }
        }
    })?;
    Ok((Pty { master, pieces, seen: Vec::new() }, slave))
}

impl Pty {
    /// Waits until `text` is on the screen; gives when its end came, or `None` after `timeout`.
    pub(super) fn wait_for(&mut self, text: &[u8], timeout: Duration) -> Option<Instant> {
        let deadline = Instant::now() + timeout;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let (when, piece) = self.pieces.recv_timeout(left).ok()?;
            self.seen.extend(piece);
            if let Some(at) = self.seen.windows(text.len()).position(|window| window == text) {
                // What follows may be the next thing that is waited for.
                self.seen.drain(..at + text.len());
                return Some(when);
            }
        }
    }

    /// Types.
    pub(super) fn type_in(&mut self, text: &[u8]) -> io::Result<()> {
        self.master.write_all(text)
    }

    /// What was printed and not waited for.
    pub(super) fn unread(&self) -> String {
        String::from_utf8_lossy(&self.seen).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn shows_what_a_program_prints_and_takes_what_is_typed() {
        let (mut pty, terminal) = open_pty().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", "test -t 0 && read line && echo got-$line"])
            .stdin(terminal.try_clone().unwrap())
            .stdout(terminal)
            .spawn()
            .unwrap();
        pty.type_in(b"seven\n").unwrap();
        assert!(pty.wait_for(b"got-seven", Duration::from_secs(10)).is_some(), "{}", pty.unread());
        assert!(child.wait().unwrap().success());
        assert!(pty.wait_for(b"more", Duration::from_millis(10)).is_none());
    }
}
