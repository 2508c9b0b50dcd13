//! Sessions: one per attached shell, kept apart by the number in each frame's header.

use uio_protocol::error::RpcError;
use uio_protocol::limits::{EVENT_CREDIT_BYTES, SESSIONS_MAX};

use crate::table::Table;

/// A full table forgets the session that has been silent longest, if it has been so for this long: its shell
/// died without a word. One that is alive and idle gets `NoSession` at its next request and says
/// `Hello` again.
const SILENCE_NS: u64 = 10_000_000_000;

/// One attached shell.
#[derive(Debug)]
pub(crate) struct Session {
    /// Bytes of events that may be sent now.
    pub(crate) credit: u32,
    /// Next log line to send, if it follows the log.
    pub(crate) log_from: Option<u64>,
    /// When its last request came, time since boot.
    heard_ns: u64,
}

/// All sessions by number.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    sessions: Table<u32, Session>,
}

impl Sessions {
    /// Adds a session that is not there. Returns the one that was forgotten for it, if any; `busy`
    /// says which must not be.
    pub(crate) fn open(
        &mut self,
        id: u32,
        now_ns: u64,
        busy: impl Fn(u32) -> bool,
    ) -> Result<Option<u32>, RpcError> {
        let mut forgotten = None;
        if self.sessions.len() >= SESSIONS_MAX {
            let silent = self
                .sessions
                .iter()
                .filter(|(id, session)| now_ns.saturating_sub(session.heard_ns) >= SILENCE_NS && !busy(*id))
                .min_by_key(|(_, session)| session.heard_ns)
                .map(|(id, _)| id)
                .ok_or(RpcError::TooManySessions)?;
            self.sessions.remove(&silent);
            forgotten = Some(silent);
        }
        let session = Session { credit: EVENT_CREDIT_BYTES, log_from: None, heard_ns: now_ns };
        self.sessions.insert(id, session);
        Ok(forgotten)
    }

    /// Removes a session; whether it was there.
    pub(crate) fn close(&mut self, id: u32) -> bool {
        self.sessions.remove(&id).is_some()
    }

    /// A session that is heard right now.
    pub(crate) fn hear(&mut self, id: u32, now_ns: u64) -> Option<&mut Session> {
        let session = self.sessions.get_mut(&id)?;
        session.heard_ns = now_ns;
        Some(session)
    }

    pub(crate) fn get_mut(&mut self, id: u32) -> Option<&mut Session> {
        self.sessions.get_mut(&id)
    }

    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Session)> {
        self.sessions.iter_mut()
    }

    /// Whether any session follows the log.
    pub(crate) fn log_followed(&self) -> bool {
        self.sessions.iter().any(|(_, session)| session.log_from.is_some())
    }
}

impl Session {
    /// Takes credit back from the shell.
    pub(crate) fn add_credit(&mut self, bytes: u32) {
        self.credit = self.credit.saturating_add(bytes).min(EVENT_CREDIT_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_table_forgets_only_the_silent() {
        let mut sessions = Sessions::default();
        for id in 0..SESSIONS_MAX as u32 {
            assert_eq!(sessions.open(id, u64::from(id), |_| false), Ok(None));
        }
        assert_eq!(sessions.open(99, 100, |_| false), Err(RpcError::TooManySessions));
        let late = SILENCE_NS + 100;
        assert_eq!(sessions.open(99, late, |_| true), Err(RpcError::TooManySessions));
        sessions.hear(0, late).unwrap();
        assert_eq!(sessions.open(99, late, |_| false), Ok(Some(1)));
        assert_eq!(sessions.open(98, late, |id| id == 2), Ok(Some(3)));
        assert_eq!(sessions.len(), SESSIONS_MAX);
    }

    #[test]
    fn credit_never_passes_its_limit() {
        let mut sessions = Sessions::default();
        sessions.open(1, 0, |_| false).unwrap();
        let session = sessions.get_mut(1).unwrap();
        session.credit -= 1000;
        session.add_credit(10);
        assert_eq!(session.credit, EVENT_CREDIT_BYTES - 990);
        session.add_credit(u32::MAX);
        assert_eq!(session.credit, EVENT_CREDIT_BYTES);
    }
}
