//! What others have published, with where it is from. None of it is measured here.

use crate::bench::metric::Peer;

const fn peer(name: &'static str, value: f64) -> Peer {
    Peer { name, value }
}

// uIO (SoCC 2023): means over its artifact's `misc/tests/measurements/eurosys24`, Xeon Gold 5317, KVM, MPK off.
pub(super) const UIO_NGINX_LOSS: Peer = peer("uIO, nginx throughput lost", 0.92);
/// The artifact's `measure_memory.py`, application `count`, at the start of `main`.
pub(super) const UIO_MEMORY: Peer = peer("uIO, count", 220.0);
/// Step between the kernel files of nginx with link-time optimization, without uIO and with its MPK variant.
pub(super) const UIO_IMAGE: Peer = peer("uIO with MPK, no BPF", 64.0);
/// `prog-load` of a 4.1 KiB object. Its script takes the first prompt in the socket for the answer, which may
/// be an older one.
pub(super) const UIO_LOAD: Peer = peer("uIO on KVM, load only, prompt may be stale", 0.0799);
/// Newline to prompt under nginx load; the same doubt.
pub(super) const UIO_BUSY: Peer = peer("uIO on KVM, nginx load, prompt may be stale", 19.4);
/// FlexOS (ASPLOS 2022), cycles of a gate between two compartments under MPK.
pub(super) const FLEXOS_SHARED: Peer = peer("FlexOS, stack shared", 62.0);
/// As above, with a stack for each compartment and registers cleared.
pub(super) const FLEXOS_SEPARATE: Peer = peer("FlexOS, stack switched", 108.0);

// A Debian 12 guest (cloud kernel, 512 MB) on QEMU 7.2's TCG, this project's reference measurement of November 2026:
// `dd` with this block size on a 9p share. One figure for each size.
pub(super) const LINUX_9P_4K: Peer = peer("Debian guest, QEMU 7.2 TCG", 15.0);
pub(super) const LINUX_9P_64K: Peer = peer("Debian guest, QEMU 7.2 TCG", 200.0);
pub(super) const LINUX_9P_256K: Peer = peer("Debian guest, QEMU 7.2 TCG", 300.0);
/// The same guest: a character typed at its console comes back, median.
pub(super) const LINUX_CONSOLE: Peer = peer("Debian guest, console echo on TCG", 2_500.0);
/// The same guest: from QEMU's start to nginx's first answer.
pub(super) const LINUX_BOOT: Peer = peer("Debian guest + nginx, TCG", 4_500.0);

/// Unikraft (EuroSys 2021), figure 10: QEMU's start-up and the guest's boot to its `main`, medians, KVM.
pub(super) const UNIKRAFT_MICROVM: Peer = peer("Unikraft, QEMU microvm, KVM", 8.96 + 0.083);
