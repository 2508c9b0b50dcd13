//! QEMU's virtio-9p device, driven from outside: its `-qtest` protocol reads and writes the
//! machine's memory and device registers, so the transport here is a small virtio driver in a
//! process of the host, and the guest's processor never runs.
//!
//! What a kernel has to do is the same: one descriptor chain for each exchange, parts that the
//! device reads first. Virtual I/O Device (VIRTIO) 1.2: 2.7 split virtqueues, 4.2 MMIO.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use uio_files::ninep::transport::{Exchange, Transport, TransportError};
use uio_files::ninep::wire::MESSAGE_BYTES_MAX;

/// Transports of a microvm: the first one, the distance, their number.
const MMIO_FIRST: u64 = 0xfeb0_0000;
const MMIO_STEP: u64 = 0x200;
const MMIO_COUNT: u64 = 24;

/// Registers of a transport.
const DEVICE_ID: u64 = 0x008;
const DRIVER_FEATURES: u64 = 0x020;
const DRIVER_FEATURES_WORD: u64 = 0x024;
const QUEUE_SIZE: u64 = 0x038;
const QUEUE_READY: u64 = 0x044;
const QUEUE_NOTIFY: u64 = 0x050;
const STATUS: u64 = 0x070;
const QUEUE_DESCRIPTORS: u64 = 0x080;
const QUEUE_AVAILABLE: u64 = 0x090;
const QUEUE_USED: u64 = 0x0a0;

const DEVICE_9P: u64 = 9;
/// `VIRTIO_F_VERSION_1` in the second word of features.
const VERSION_1: u64 = 1;

/// Where things lie in the machine's memory.
const DESCRIPTORS: u64 = 0x10_0000;
const AVAILABLE: u64 = 0x10_1000;
const USED: u64 = 0x10_2000;
const BUFFERS: u64 = 0x20_0000;
const SLOTS: u64 = 128;

/// Flags of a descriptor.
const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// Longest wait for the device.
const PATIENCE: Duration = Duration::from_secs(20);

struct Machine {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    device: u64,
    /// Entries of the ring used so far, modulo 2^16.
    used: u16,
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The process may have ended by itself; there is nothing to do about other errors.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Machine {
    fn command(&mut self, command: &str) -> io::Result<String> {
        self.input.write_all(command.as_bytes())?;
        self.input.write_all(b"\n")?;
        self.input.flush()?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        match answer.trim_end().strip_prefix("OK") {
            Some(rest) => Ok(rest.trim().trim_start_matches("0x").to_owned()),
            None => Err(io::Error::other(format!("{command:.40}: {answer}"))),
        }
    }

    fn register(&mut self, offset: u64, value: u64) -> io::Result<()> {
        let address = self.device + offset;
        self.command(&format!("writel {address:#x} {value:#x}")).map(drop)
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> io::Result<()> {
        let mut command = format!("write {address:#x} {:#x} 0x", bytes.len());
        for byte in bytes {
            write!(command, "{byte:02x}").map_err(io::Error::other)?;
        }
        self.command(&command).map(drop)
    }

    fn read(&mut self, address: u64, out: &mut [u8]) -> io::Result<()> {
        let answer = self.command(&format!("read {address:#x} {:#x}", out.len()))?;
        for (byte, digits) in out.iter_mut().zip(answer.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).map_err(io::Error::other)?;
            *byte = u8::from_str_radix(digits, 16).map_err(io::Error::other)?;
        }
        Ok(())
    }

    fn set_up(&mut self) -> io::Result<()> {
        for index in 0..MMIO_COUNT {
            self.device = MMIO_FIRST + index * MMIO_STEP;
            let address = self.device + DEVICE_ID;
            let id = self.command(&format!("readl {address:#x}"))?;
            if u64::from_str_radix(&id, 16) == Ok(DEVICE_9P) {
                // Acknowledge, driver, features, features accepted, queue 0, ready.
                for (offset, value) in [
                    (STATUS, 0),
                    (STATUS, 3),
                    (DRIVER_FEATURES_WORD, 1),
                    (DRIVER_FEATURES, VERSION_1),
                    (STATUS, 11),
                    (QUEUE_SIZE, SLOTS),
                    (QUEUE_DESCRIPTORS, DESCRIPTORS),
                    (QUEUE_AVAILABLE, AVAILABLE),
                    (QUEUE_USED, USED),
                    (QUEUE_READY, 1),
                    (STATUS, 15),
                ] {
                    self.register(offset, value)?;
                }
                return Ok(());
            }
        }
        Err(io::Error::other("no virtio-9p device"))
    }

    /// Queues all exchanges as one chain each, then waits for all.
    fn exchange(&mut self, exchanges: &mut [Exchange<'_>]) -> io::Result<()> {
        let mut slot = 0u16;
        let mut buffer = BUFFERS;
        let mut placed = Vec::new();
        for (index, exchange) in exchanges.iter().enumerate() {
            let head = slot;
            let start = buffer;
            let read: [&[u8]; 2] = [exchange.request, exchange.payload];
            let parts = [
                (read[0].len(), 0),
                (read[1].len(), 0),
                (exchange.reply.len(), WRITE),
                (exchange.destination.len(), WRITE),
            ];
            let parts: Vec<_> = parts.into_iter().filter(|(length, _)| *length > 0).collect();
            for (number, (length, flags)) in parts.iter().enumerate() {
                let last = number + 1 == parts.len();
                let mut descriptor = buffer.to_le_bytes().to_vec();
                descriptor.extend((*length as u32).to_le_bytes());
                descriptor.extend((flags | if last { 0 } else { NEXT }).to_le_bytes());
                descriptor.extend((slot + 1).to_le_bytes());
                self.write(DESCRIPTORS + u64::from(slot) * 16, &descriptor)?;
                slot += 1;
                buffer += *length as u64;
            }
            self.write(start, &read.concat())?;
            placed.push((head, start + read.concat().len() as u64));
            let entry = self.used.wrapping_add(index as u16) % SLOTS as u16;
            self.write(AVAILABLE + 4 + u64::from(entry) * 2, &head.to_le_bytes())?;
        }
        let target = self.used.wrapping_add(exchanges.len() as u16);
        self.write(AVAILABLE + 2, &target.to_le_bytes())?;
        self.register(QUEUE_NOTIFY, 0)?;
        let deadline = Instant::now() + PATIENCE;
        let mut index = [0; 2];
        while u16::from_le_bytes(index) != target {
            if Instant::now() > deadline {
                return Err(io::Error::other("the device does not answer"));
            }
            self.read(USED + 2, &mut index)?;
        }
        while self.used != target {
            let mut element = [0; 8];
            self.read(USED + 4 + u64::from(self.used % SLOTS as u16) * 8, &mut element)?;
            self.used = self.used.wrapping_add(1);
            let [i0, i1, _, _, l0, l1, l2, l3] = element;
            let head = u16::from_le_bytes([i0, i1]);
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            let which = placed.iter().position(|(other, _)| *other == head);
            let which = which.ok_or_else(|| io::Error::other("a chain that was not queued"))?;
            let exchange = &mut exchanges[which];
            let mut written = vec![0; length];
            self.read(placed[which].1, &mut written)?;
            let places = exchange.reply.iter_mut().chain(exchange.destination.iter_mut());
            places.zip(written).for_each(|(place, byte)| *place = byte);
            exchange.outcome = Ok(length);
        }
        Ok(())
    }
}

/// A machine that shares a directory, and the transport to it.
pub(crate) struct Qemu {
    machine: Mutex<Machine>,
}

impl Qemu {
    /// Starts QEMU, or says why not.
    pub(crate) fn start(directory: &Path) -> io::Result<Self> {
        uio_prerequisites::require(&[uio_prerequisites::QEMU]);
        let share = format!("local,id=share,path={},security_model=none", directory.display());
        let mut process = Command::new("qemu-system-x86_64")
            .args(["-M", "microvm", "-accel", "tcg", "-S", "-m", "64M", "-nodefaults", "-display", "none"])
            .args(["-global", "virtio-mmio.force-legacy=false", "-fsdev", &share])
            .args(["-device", "virtio-9p-device,fsdev=share,mount_tag=share"])
            .args(["-qtest", "stdio", "-qtest-log", "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (input, output) = (process.stdin.take().unwrap(), process.stdout.take().unwrap());
        let output = BufReader::new(output);
        let mut machine = Machine { process, input, output, device: 0, used: 0 };
        machine.set_up()?;
        Ok(Self { machine: Mutex::new(machine) })
    }
}

impl Transport for Qemu {
    fn message_bytes_max(&self) -> u32 {
        MESSAGE_BYTES_MAX
    }

    fn in_flight_max(&self) -> usize {
        8
    }

    fn exchange(&self, exchange: &mut Exchange<'_>) {
        self.exchange_many(core::slice::from_mut(exchange));
    }

    fn exchange_many(&self, exchanges: &mut [Exchange<'_>]) {
        if let Err(error) = self.machine.lock().unwrap().exchange(exchanges) {
            eprintln!("{error}");
            exchanges.iter_mut().for_each(|exchange| exchange.outcome = Err(TransportError::Closed));
        }
    }
}
