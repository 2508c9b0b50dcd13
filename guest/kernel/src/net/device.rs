//! The network card as smoltcp sees it.

use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use crate::virtio::net::{Card, FRAME_BYTES_MAX, Receiver, Transmitter};

/// Frames that smoltcp may queue in one go.
const BURST_FRAMES: usize = 64;

impl Device for Card {
    type RxToken<'a> = Incoming<'a>;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Incoming<'_>, Outgoing<'_>)> {
        // A frame may have to be answered, so it waits until there is room for the answer.
        (self.receiver.is_ready() && self.transmitter.is_ready())
            .then_some((Incoming(&mut self.receiver), Outgoing(&mut self.transmitter)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Outgoing<'_>> {
        self.transmitter.is_ready().then_some(Outgoing(&mut self.transmitter))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES_MAX;
        capabilities.max_burst_size = Some(BURST_FRAMES);
        capabilities
    }
}

/// A frame that has come. It stays in the queue until it is consumed.
pub struct Incoming<'a>(&'a mut Receiver);

/// Room for a frame to send.
pub struct Outgoing<'a>(&'a mut Transmitter);

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, body: F) -> R {
        self.0.receive(body)
    }
}

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, body: F) -> R {
        self.0.send(length, body)
    }
}
