//! A request of a 9P device: its buffers, and whose turn it is.

use alloc::vec::Vec;

use uio_files::ninep::transport::TransportError;
use uio_protocol::inspect::ThreadId;

use super::{PARTS, SMALL_BYTES};
use crate::mm::layout::{DIRECT_MAP, STACKS};

/// One part of a request as the device sees it; empty parts are left out.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) address: *mut u8,
    pub(super) bytes: usize,
}

impl Part {
    pub(super) const NONE: Self = Self { address: core::ptr::null_mut(), bytes: 0 };

    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { address: bytes.as_ptr().cast_mut(), bytes: bytes.len() }
    }

    pub(super) fn of_mut(bytes: &mut [u8]) -> Self {
        Self { address: bytes.as_mut_ptr(), bytes: bytes.len() }
    }

    /// Whether a buffer is contiguous in physical memory because it lies in the direct map.
    pub(super) fn is_linear(self) -> bool {
        let start = self.address as u64;
        start >= DIRECT_MAP && start.checked_add(self.bytes as u64).is_some_and(|end| end <= STACKS)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Free,
    /// The device has it.
    Sent,
    /// The device has given it back; bytes of the reply.
    Done(Result<usize, TransportError>),
}

/// Buffers that a slot owns because the caller's could not be lent.
#[derive(Default)]
pub(super) struct Bounces {
    pub(super) request: Vec<u8>,
    pub(super) payload: Vec<u8>,
    pub(super) reply: Vec<u8>,
    pub(super) destination: Vec<u8>,
}

pub(super) struct Slot {
    pub(super) state: State,
    pub(super) owner: ThreadId,
    pub(super) request: [u8; SMALL_BYTES],
    pub(super) reply: [u8; SMALL_BYTES],
    pub(super) bounces: Bounces,
    /// Request, payload, reply, destination.
    pub(super) parts: [Part; PARTS],
}

impl Slot {
    pub(super) fn new() -> Self {
        Self {
            state: State::Free,
            owner: ThreadId(0),
            request: [0; SMALL_BYTES],
            reply: [0; SMALL_BYTES],
            bounces: Bounces::default(),
            parts: [Part::NONE; PARTS],
        }
    }

    /// If the device is done: frees the slot and returns the outcome and the slot's buffers. The slot's own part of the
    /// reply goes to `reply`.
    pub(super) fn take_done(&mut self, reply: &mut [u8]) -> Option<(Result<usize, TransportError>, Bounces)> {
        let State::Done(outcome) = self.state else {
            return None;
        };
        let bounces = core::mem::take(&mut self.bounces);
        if bounces.reply.is_empty() {
            let bytes = outcome.unwrap_or(0).min(reply.len());
            reply[..bytes].copy_from_slice(&self.reply[..bytes]);
        }
        self.state = State::Free;
        Some((outcome, bounces))
    }

    /// The device is done with it.
    pub(super) fn complete(&mut self, outcome: Result<usize, TransportError>) {
        if self.state == State::Sent {
            self.state = State::Done(outcome);
        }
    }

    /// Frees a slot that the device is done with and whose owner was ended before it took the reply.
    pub(super) fn reclaim(&mut self, owner_lives: impl FnOnce(ThreadId) -> bool) -> bool {
        let orphan = matches!(self.state, State::Done(_)) && !owner_lives(self.owner);
        if orphan {
            self.bounces = Bounces::default();
            self.state = State::Free;
        }
        orphan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lends_only_what_lies_in_the_direct_map() {
        let part = |address: u64, bytes| Part { address: address as *mut u8, bytes };
        assert!(part(DIRECT_MAP, 4096).is_linear());
        assert!(part(STACKS - 4096, 4096).is_linear());
        assert!(!part(STACKS - 4096, 4097).is_linear());
        assert!(!part(STACKS, 1).is_linear());
        assert!(!part(DIRECT_MAP - 1, 1).is_linear());
        assert!(!part(u64::MAX, 1).is_linear());
        assert!(!part(0x40_0000, 16).is_linear());
    }

    #[test]
    fn a_reply_is_taken_once() {
        let mut slot = Slot::new();
        let mut reply = [0; 8];
        assert!(slot.take_done(&mut reply).is_none());
        slot.state = State::Sent;
        slot.reply[..4].copy_from_slice(b"abcd");
        assert!(slot.take_done(&mut reply).is_none());
        slot.complete(Ok(4));
        let (outcome, _) = slot.take_done(&mut reply).unwrap();
        assert_eq!((outcome, &reply), (Ok(4), b"abcd\0\0\0\0"));
        assert_eq!(slot.state, State::Free);
        assert!(slot.take_done(&mut reply).is_none());
    }

    #[test]
    fn a_device_that_claims_too_much_writes_nothing_more() {
        let mut slot = Slot::new();
        slot.state = State::Sent;
        slot.reply[..8].copy_from_slice(b"abcdefgh");
        slot.complete(Ok(usize::MAX));
        let mut reply = [0; 4];
        assert!(slot.take_done(&mut reply).is_some());
        assert_eq!(&reply, b"abcd");
    }

    #[test]
    fn a_slot_whose_owner_has_ended_keeps_its_buffers_until_the_device_is_done() {
        let mut slot = Slot::new();
        slot.state = State::Sent;
        slot.owner = ThreadId(7);
        slot.bounces.destination = alloc::vec![0; 16];
        assert!(!slot.reclaim(|_| false));
        assert_eq!(slot.bounces.destination.len(), 16);
        slot.complete(Ok(4));
        assert!(!slot.reclaim(|owner| owner == ThreadId(7)), "it will take the reply");
        assert!(slot.reclaim(|owner| owner != ThreadId(7)));
        assert_eq!((slot.state, slot.bounces.destination.len()), (State::Free, 0));
    }
}
