//! The application's counter, read through a session of its own: the sign that the guest's work goes on.

use std::time::{Duration, Instant};

use uio_protocol::GuestAddress;
use uio_shell::client::Client;

use crate::guest::Guest;
use crate::process::within;

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

    /// Counts a second, measured over `time`.
    #[must_use]
    pub fn rate(&self, time: Duration) -> f64 {
        let (start, before) = (Instant::now(), self.now());
        std::thread::sleep(time);
        let grown = self.now().wrapping_sub(before);
        grown as f64 / start.elapsed().as_secs_f64()
    }
}
