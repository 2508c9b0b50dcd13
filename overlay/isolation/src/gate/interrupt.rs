//! For the kernel's trap entry: what the interrupted code was, and where to resume it.

use core::sync::atomic::Ordering;

use super::context::GateContext;
use crate::backend::Backend;
use crate::pkru::Pkru;

/// What to do with the interrupted code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Resume it, at this address: the one interrupted, or the start of the sequence that was cut.
    Resume {
        /// Value for the saved instruction pointer.
        rip: u64,
    },
    /// It had more rights than it was entitled to: it jumped into the middle of a gate. End the run.
    Tampered,
}

/// Brings the context and the interrupted code into one of two states, in a domain or in the host.
///
/// A gate changes the register and the context one after the other; an interrupt between the two would
/// make [`GateContext::in_domain`] wrong, lose a kill that is requested then, and let the trap exit's check
/// see a contradiction. So a gate that was on its way in is counted as arrived, and one that was on its
/// way out is sent back to where it began to leave (nothing it did by then needs undoing).
///
/// Call it on every trap that interrupted a thread, after the register was saved and cleared, before
/// anything looks at the context; interrupts off. `rip` and `saved` are the interrupted code's. On the
/// way out, write the register by calling the symbol `uio_isolation_write_pku` or `…_pks` (value
/// in `edi`; clobbers rax, rcx, rdx, flags), which checks it against the context: the trap exit's own
/// `wrpkru` would be one that domains can jump to.
pub fn settle(backend: Backend, context: &GateContext, rip: u64, saved: Pkru) -> Settled {
    let routines = super::routines(backend);
    let entitled = Pkru::from_bits(context.entitled.load(Ordering::Relaxed) as u32);
    let leaves = (routines.leave..routines.left).contains(&rip);
    let enters = (routines.enter_leave..routines.enter_left).contains(&rip);
    if !saved.at_most(entitled) {
        // The register says host, the context says domain: only the host's own sequences do that.
        let arrives = (routines.entry..routines.entered).contains(&rip)
            || (routines.unwind..routines.unwound).contains(&rip)
            || (routines.tampered..routines.tampered_host).contains(&rip);
        if saved != Pkru::ALLOW_ALL || !(arrives || leaves || enters) {
            return Settled::Tampered;
        }
        context.entitled.store(0, Ordering::Relaxed);
    } else if saved != Pkru::ALLOW_ALL {
        // Domain code. If it stands in a leaving sequence it has jumped there and faults by itself.
        return Settled::Resume { rip };
    }
    let restart = match (leaves, enters) {
        (true, _) => routines.leave,
        (_, true) => routines.enter_leave,
        _ => return Settled::Resume { rip },
    };
    context.entitled.store(0, Ordering::Relaxed);
    Settled::Resume { rip: restart }
}

#[cfg(test)]
mod tests {
    use super::super::context::IN_DOMAIN;
    use super::super::routines;
    use super::*;

    const DOMAIN: u32 = 0xaaaa_aa8a;

    fn context(entitled: u64) -> GateContext {
        let context = GateContext::new();
        context.entitled.store(entitled, Ordering::Relaxed);
        context
    }

    fn in_domain() -> GateContext {
        context(IN_DOMAIN | u64::from(DOMAIN))
    }

    const ELSEWHERE: u64 = 0x1000;

    #[test]
    fn consistent_states_are_left_alone() {
        for backend in [Backend::Pku, Backend::Pks] {
            let host = context(0);
            let resumed = settle(backend, &host, ELSEWHERE, Pkru::ALLOW_ALL);
            assert_eq!(resumed, Settled::Resume { rip: ELSEWHERE });
            let routines = routines(backend);
            for rip in [ELSEWHERE, routines.entry, routines.leave, routines.left, routines.enter_leave] {
                let domain = in_domain();
                let resumed = settle(backend, &domain, rip, Pkru::from_bits(DOMAIN));
                assert_eq!(resumed, Settled::Resume { rip });
                assert!(domain.in_domain());
            }
        }
    }

    #[test]
    fn a_gate_on_its_way_in_has_arrived() {
        let routines = routines(Backend::Pku);
        for rip in [routines.entered - 1, routines.unwound - 1, routines.tampered_host - 1] {
            let context = in_domain();
            assert_eq!(settle(Backend::Pku, &context, rip, Pkru::ALLOW_ALL), Settled::Resume { rip });
            assert!(!context.in_domain());
        }
    }

    #[test]
    fn a_gate_on_its_way_out_begins_again() {
        let routines = routines(Backend::Pku);
        for (start, end) in [(routines.leave, routines.left), (routines.enter_leave, routines.enter_left)] {
            for context in [in_domain(), context(0)] {
                let resumed = settle(Backend::Pku, &context, end - 1, Pkru::ALLOW_ALL);
                assert_eq!(resumed, Settled::Resume { rip: start });
                assert!(!context.in_domain());
            }
        }
    }

    #[test]
    fn more_rights_than_entitled_to_is_tampering() {
        let routines = routines(Backend::Pku);
        for (rip, saved) in [
            (ELSEWHERE, 0),
            (routines.left, 0),
            (routines.enter_left, 0),
            (routines.write, 0),
            (ELSEWHERE, DOMAIN & !0xc000_0000),
            (routines.entered - 1, DOMAIN & !0xc000_0000),
        ] {
            let context = in_domain();
            let settled = settle(Backend::Pku, &context, rip, Pkru::from_bits(saved));
            assert_eq!(settled, Settled::Tampered, "{rip:#x} {saved:#x}");
            assert!(context.in_domain());
        }
    }

    #[test]
    fn fewer_rights_are_the_domains_own_affair() {
        let context = in_domain();
        let settled = settle(Backend::Pku, &context, ELSEWHERE, Pkru::DENY_ALL);
        assert_eq!(settled, Settled::Resume { rip: ELSEWHERE });
    }

    #[test]
    fn without_a_register_a_leaving_gate_still_begins_again() {
        let routines = routines(Backend::None);
        let context = context(IN_DOMAIN);
        let settled = settle(Backend::None, &context, routines.left - 1, Pkru::ALLOW_ALL);
        assert_eq!(settled, Settled::Resume { rip: routines.leave });
        assert!(!context.in_domain());
    }
}
