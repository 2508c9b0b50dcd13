//! The application's counter, read through a session of its own: the sign that the guest's work goes on.

use std::process::Command;
use std::time::{Duration, Instant};

use uio_protocol::GuestAddress;
use uio_shell::client::Client;

use crate::artifacts;
use crate::guest::Guest;
use crate::process::{self, LIMIT, within};

/// How long the counter may stand still before the application counts as stuck. It moves each millisecond; a loaded
/// machine stops QEMU for longer than that.
const PATIENCE: Duration = Duration::from_secs(10);

/// The counter of a guest.
pub struct Counter {
    client: Client,
    address: GuestAddress,
}

impl Counter {
    /// Finds it.
    ///
    /// # Panics
    ///
    /// If the image has none.
    #[must_use]
    pub fn of(guest: &Guest) -> Self {
        let symbols = guest.json("sym count");
        let symbol = symbols.iter().find(|symbol| symbol["name"] == "count").expect("the image has `count`");
        let address = symbol["address"].as_str().expect("an address");
        let address = u64::from_str_radix(address.trim_start_matches("0x"), 16).expect("an address");
        Self { client: guest.client(), address: GuestAddress(address) }
    }

    /// Finds it by the image's symbols, and reads it through `client`: for a guest without a keeper.
    ///
    /// # Panics
    ///
    /// If the image has none.
    #[must_use]
    pub fn over(client: Client) -> Self {
        Self { client, address: Self::address() }
    }

    /// Where it lies, by the image's symbols.
    ///
    /// # Panics
    ///
    /// If the image has none.
    #[must_use]
    pub fn address() -> GuestAddress {
        let listed = process::run(Command::new("nm").arg(artifacts::image()), "", LIMIT).good();
        let line = listed.lines().find(|line| line.ends_with(" count")).expect("the image has `count`");
        let address = line.split(' ').next().expect("an address");
        GuestAddress(u64::from_str_radix(address, 16).expect("an address"))
    }

    /// The session that reads it.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// As it is now.
    ///
    /// # Panics
    ///
    /// If the guest does not answer.
    #[must_use]
    pub fn now(&self) -> u64 {
        let bytes = self.client.peek(self.address, 8).expect("the counter");
        u64::from_le_bytes(bytes.try_into().expect("8 bytes"))
    }

    /// Waits until it has grown.
    ///
    /// # Panics
    ///
    /// If it does not, saying after what.
    pub fn must_grow(&self, after: &str) {
        let before = self.now();
        assert!(within(PATIENCE, || self.now() > before), "the application stands still after {after}");
    }

    /// Counts a second by the guest's clock while `body` runs.
    ///
    /// # Panics
    ///
    /// If the guest does not answer.
    pub fn pace(&self, body: impl FnOnce()) -> f64 {
        let sample = || (self.now(), self.client.info().expect("an answer").uptime_ns);
        let (count, time_ns) = sample();
        body();
        let (count_after, time_after_ns) = sample();
        (count_after - count) as f64 * 1e9 / (time_after_ns - time_ns) as f64
    }

    /// Counts a second, measured over `time`.
    #[must_use]
    pub fn rate(&self, time: Duration) -> f64 {
        let (start, before) = (Instant::now(), self.now());
        std::thread::sleep(time);
        let grown = self.now().wrapping_sub(before);
        grown as f64 / start.elapsed().as_secs_f64()
    }
}

/// How often a pace is measured again: a machine that is busy with other things slows a guest down now and then, a
/// guest that neglects its application always does.
const TRIES: usize = 3;

/// Checks that the application keeps at least `share` of its pace under `stress`, both in counts a second.
///
/// # Panics
///
/// With what was measured, if it does not.
pub fn assert_pace(name: &str, share: f64, mut peace: impl FnMut() -> f64, mut stress: impl FnMut() -> f64) {
    let mut measured = Vec::new();
    for _ in 0..TRIES {
        let (in_peace, under_stress) = (peace(), stress());
        println!("{name}: {under_stress:.0} counts a second, {in_peace:.0} in peace");
        if in_peace > 0.0 && under_stress > in_peace * share {
            return;
        }
        measured.push((in_peace, under_stress));
    }
    panic!("{name}: counts a second in peace and under stress: {measured:.0?}");
}
