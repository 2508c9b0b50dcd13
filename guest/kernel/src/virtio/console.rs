//! The byte stream to the shells: one port of a virtio console (virtio 1.2, section 5.3).
//!
//! A serial port (`virtserialport`) is preferred, because QEMU throttles it when the host reads slowly; on a console
//! port (`virtconsole`, always port 0) it throws bytes away.

use virtio_drivers::transport::Transport;

use super::queue::BufferQueue;
use super::{Device, DeviceError};
use crate::sync::{InterruptLock, InterruptsOff};
use crate::thread::wait::WaitQueue;
use crate::time;

const FEATURE_MULTIPORT: u64 = 1 << 1;
/// Offset of `max_nr_ports` in the configuration.
const CONFIG_PORTS_MAX: usize = 4;

/// Receive buffers: together larger than the largest frame.
const RECEIVE_BUFFERS: usize = 32;
const RECEIVE_BYTES: usize = 2048;
/// Transmit buffers: a frame of the largest size fits in them at once.
const TRANSMIT_BUFFERS: usize = 16;
const TRANSMIT_BYTES: usize = 4096;
const CONTROL_BUFFERS: usize = 16;

/// How long a send waits for a host that takes nothing before it gives up.
const SEND_PATIENCE_NS: u64 = 1_000_000_000;

/// A control message (section 5.3.6.2): port, event, value.
const CONTROL_BYTES: usize = 8;
const DEVICE_READY: u16 = 0;
const PORT_ADD: u16 = 1;
const PORT_READY: u16 = 3;
const PORT_OPEN: u16 = 6;

struct Control {
    receive: BufferQueue<CONTROL_BUFFERS>,
    transmit: BufferQueue<CONTROL_BUFFERS>,
}

struct Console {
    device: Device,
    receive: BufferQueue<RECEIVE_BUFFERS>,
    transmit: BufferQueue<TRANSMIT_BUFFERS>,
    control: Option<Control>,
    /// The port that the queues above belong to.
    port: u32,
    /// A buffer that was received but not yet read to its end: number, position, length.
    reading: Option<(usize, usize, usize)>,
    /// Somebody wants [`receive`] to return.
    woken: bool,
    dropped_bytes: u64,
}

static CONSOLE: InterruptLock<Option<Console>> = InterruptLock::new(None);
static INPUT: WaitQueue = WaitQueue::new("console input");
static OUTPUT: WaitQueue = WaitQueue::new("console output");

/// Starts the driver. Only the first console serves shells.
pub(super) fn init(mut device: Device) -> Result<(), DeviceError> {
    if CONSOLE.with(|console| console.is_some()) {
        return Ok(());
    }
    let features = device.negotiate(FEATURE_MULTIPORT)?;
    let several = features & FEATURE_MULTIPORT != 0
        && device
            .transport
            .read_config_space::<u32>(CONFIG_PORTS_MAX)
            .map_err(|_| DeviceError::Configuration)?
            > 1;
    // Queues of port 0 are 0 and 1, of the control channel 2 and 3, of port n from 1 on 2n+2 and 2n+3.
    let (port, first_queue, queues) = if several { (1, 4, 6) } else { (0, 0, 2) };
    let control = if several {
        Some(Control {
            receive: BufferQueue::new(&mut device, 2, CONTROL_BYTES + 64)?,
            transmit: BufferQueue::new(&mut device, 3, CONTROL_BYTES)?,
        })
    } else {
        None
    };
    let receive = BufferQueue::new(&mut device, first_queue, RECEIVE_BYTES)?;
    let transmit = BufferQueue::new(&mut device, first_queue + 1, TRANSMIT_BYTES)?;
    // A line stays raised until the handler finds the console in its place.
    let _off = InterruptsOff::new();
    device.route(queues, interrupt)?;
    device.start();
    let mut console =
        Console { device, receive, transmit, control, port, reading: None, woken: false, dropped_bytes: 0 };
    console.receive.offer_all(&mut console.device);
    if let Some(control) = &mut console.control {
        control.receive.offer_all(&mut console.device);
    }
    console.tell(0, DEVICE_READY, 1);
    CONSOLE.with(|slot| *slot = Some(console));
    // What came before the console was in its place has raised its interrupt already.
    interrupt(0);
    Ok(())
}

impl Console {
    fn tell(&mut self, port: u32, event: u16, value: u16) {
        if let Some(control) = &mut self.control {
            let mut message = [0; CONTROL_BYTES];
            message[..4].copy_from_slice(&port.to_le_bytes());
            message[4..6].copy_from_slice(&event.to_le_bytes());
            message[6..].copy_from_slice(&value.to_le_bytes());
            control.transmit.send(&mut self.device, &message);
        }
    }

    /// Answers the control messages that have come.
    fn serve_control(&mut self) {
        let mut announced = false;
        if let Some(control) = &mut self.control {
            while let Some((buffer, bytes)) = control.receive.take_filled() {
                if let Some([p0, p1, p2, p3, e0, e1, ..]) =
                    control.receive.buffer(buffer)[..bytes].first_chunk::<CONTROL_BYTES>()
                {
                    let port = u32::from_le_bytes([*p0, *p1, *p2, *p3]);
                    announced |= port == self.port && u16::from_le_bytes([*e0, *e1]) == PORT_ADD;
                }
                control.receive.release(buffer);
            }
            control.receive.offer_all(&mut self.device);
        }
        if announced {
            self.tell(self.port, PORT_READY, 1);
            self.tell(self.port, PORT_OPEN, 1);
        }
    }

    /// Moves received bytes into `buffer`.
    fn take(&mut self, buffer: &mut [u8]) -> usize {
        let mut taken = 0;
        while taken < buffer.len() {
            let Some((number, position, length)) = self
                .reading
                .take()
                .or_else(|| self.receive.take_filled().map(|(number, length)| (number, 0, length)))
            else {
                break;
            };
            let count = (length - position).min(buffer.len() - taken);
            buffer[taken..taken + count]
                .copy_from_slice(&self.receive.buffer(number)[position..position + count]);
            taken += count;
            if position + count < length {
                self.reading = Some((number, position + count, length));
            } else {
                self.receive.release(number);
            }
        }
        if taken > 0 {
            self.receive.offer_all(&mut self.device);
        }
        taken
    }
}

/// The device's interrupt.
fn interrupt(_argument: usize) {
    CONSOLE.with(|console| {
        if let Some(console) = console {
            console.device.acknowledge();
            console.serve_control();
        }
    });
    INPUT.wake_all();
    OUTPUT.wake_all();
}

/// Waits for bytes, for [`wake`] or for `deadline_ns` (time since boot); how many bytes were put into `buffer`.
pub fn receive(buffer: &mut [u8], deadline_ns: u64) -> usize {
    INPUT
        .wait_until(deadline_ns, || {
            CONSOLE.with(|console| {
                let console = console.as_mut()?;
                let taken = console.take(buffer);
                let woken = core::mem::take(&mut console.woken);
                (taken > 0 || woken).then_some(taken)
            })
        })
        .unwrap_or(0)
}

/// Makes [`receive`] return. Callable from anywhere.
pub fn wake() {
    CONSOLE.with(|console| {
        if let Some(console) = console {
            console.woken = true;
        }
    });
    INPUT.wake_all();
}

/// Sends bytes. Waits for the device; what a host does not take for a second is dropped and counted.
pub fn send(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let sent = OUTPUT.wait_until(time::now_ns() + SEND_PATIENCE_NS, || {
            CONSOLE.with(|console| {
                let Some(console) = console else {
                    return Some(bytes.len());
                };
                let sent = console.transmit.send(&mut console.device, bytes);
                (sent > 0).then_some(sent)
            })
        });
        match sent {
            Some(sent) => bytes = &bytes[sent..],
            None => {
                CONSOLE.with(|console| {
                    if let Some(console) = console {
                        console.dropped_bytes += bytes.len() as u64;
                    }
                });
                return;
            }
        }
    }
}

/// Bytes that no host took.
#[must_use]
pub fn dropped_bytes() -> u64 {
    CONSOLE.with(|console| console.as_ref().map_or(0, |console| console.dropped_bytes))
}
