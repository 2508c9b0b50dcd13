//! What others reach, with where it is from. None of it is measured here.

use crate::bench::metric::Peer;

const fn peer(name: &'static str, value: f64) -> Peer {
    Peer { name, value }
}

// This project's reference measurement of November 2026, one machine: 64-byte packets in a ring of 256, medians, the call
// included (an empty function takes 3.3 ns). The better of uBPF's and rbpf's JIT on the same programs.
pub(super) const FLOOR: Peer = peer("reference machine", 3.3);
pub(super) const PASS: Peer = peer("uBPF JIT", 5.1);
pub(super) const PORT_FILTER: Peer = peer("uBPF JIT", 6.6);
pub(super) const NAT: Peer = peer("rbpf JIT", 36.0);
pub(super) const ROUND_ROBIN: Peer = peer("rbpf JIT, 10 to 16", 10.0);
pub(super) const RATE_LIMITER: Peer = peer("rbpf JIT", 53.0);
pub(super) const STRING_MATCHER: Peer = peer("uBPF JIT", 119.0);
pub(super) const FIREWALL_10: Peer = peer("uBPF JIT", 8.9);
pub(super) const FIREWALL_1000: Peer = peer("uBPF JIT", 12.4);
pub(super) const FIREWALL_10000: Peer = peer("uBPF JIT", 13.1);
/// The same in C.
pub(super) const C_PORT_FILTER: Peer = peer("C, -O2, 4.1 to 5.0", 4.1);
pub(super) const C_FIREWALL: Peer = peer("C, -O2, 5.0 to 8.2", 5.0);

// Time to compile, the same measurement.
pub(super) const COMPILE_NAT: Peer = peer("rbpf", 11.0);
pub(super) const COMPILE_FIREWALL: Peer = peer("rbpf, 700 to 1,100", 700.0);

// PREVAIL (C++ and crate), the same machine; the lower end of what was seen.
pub(super) const PREVAIL_PORT_FILTER: Peer = peer("PREVAIL, 5 to 8", 5.0);
pub(super) const PREVAIL_NAT: Peer = peer("PREVAIL, 102 to 140", 102.0);
pub(super) const PREVAIL_100: Peer = peer("PREVAIL, 36 to 58", 36.0);
pub(super) const PREVAIL_1000: Peer = peer("PREVAIL, 600 to 1,100", 600.0);
pub(super) const PREVAIL_10000: Peer = peer("PREVAIL", 6_000.0);

/// Public conformance suite, 313 cases.
pub(super) const UBPF_CONFORMANCE: Peer = peer("uBPF, of 313", 312.0);
