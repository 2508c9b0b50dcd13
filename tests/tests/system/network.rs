//! The guest on an Ethernet cable whose other end is this test: ARP, ping, and what must not disturb them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use uio_shell::machine::Machine;
use uio_tests::console::BareGuest;
use uio_tests::counter::{Counter, assert_pace};
use uio_tests::ethernet::{
    ARP, BROADCAST, ECHO_BYTES, ETHERNET_BYTES, Echo, Host, IP_BYTES, IPV4, arp_request, checksum,
    echo_request, frame, ip_packet, read_arp_reply, read_echo_reply,
};
use uio_tests::random::Random;
use uio_tests::wire::Wire;

/// This end.
const HERE: Host = Host { mac: [0x52, 0x54, 0, 0x0a, 9, 1], ip: [10, 9, 0, 1] };
/// The guest.
const THERE: Host = Host { mac: [0x52, 0x54, 0, 0x0a, 9, 2], ip: [10, 9, 0, 2] };
const COMMAND_LINE: &str = "uio.ip=10.9.0.2/24 uio.gateway=10.9.0.1";
/// An answer takes a millisecond; a loaded machine stops QEMU for seconds.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// Id of pings that are right.
const GOOD: u16 = 0x600d;
/// Id of pings that have something wrong with them.
const BAD: u16 = 0x0bad;
/// Seed of what is thrown at the guest.
const SEED: u64 = 20;
/// Frames in the storm: many times what the card's queue holds.
const STORM_FRAMES: usize = 12_000;
/// How long the counter is watched in peace, to know its pace.
const PEACE: Duration = Duration::from_millis(500);
/// Pace in the storm against pace in peace: the driver comes before the application, but leaves it its turns.
const PACE_LEFT_MIN: f64 = 0.25;
/// Pings sent before the first answer is looked at.
const IN_FLIGHT: u16 = 48;

/// A guest on a cable.
struct Lab {
    wire: Wire,
    guest: BareGuest,
    next: u16,
}

impl Lab {
    fn start(machine: Machine) -> Self {
        let mut wire = None;
        let guest = BareGuest::start_with(|options, folder| {
            options.machine = machine;
            options.append = Some(COMMAND_LINE.to_owned());
            let wire = wire.insert(Wire::new(folder, HERE));
            let mac = THERE.mac.map(|byte| format!("{byte:02x}")).join(":");
            let kind = match machine {
                Machine::Q35 => "virtio-net-pci,disable-legacy=on",
                Machine::Microvm => "virtio-net-device",
            };
            ["-netdev", &wire.netdev("cable"), "-device", &format!("{kind},netdev=cable,mac={mac}")]
                .map(ToOwned::to_owned)
                .to_vec()
        });
        Self { wire: wire.expect("a cable"), guest, next: 0 }
    }

    /// Asks for the guest's address until it answers, and takes the answer apart.
    fn resolve(&self) {
        self.wire.send(&arp_request(HERE, THERE.ip));
        let deadline = Instant::now() + ANSWER_LIMIT;
        loop {
            let frame = self.wire.receive(deadline).expect("an ARP reply");
            if let Some((from, to)) = read_arp_reply(&frame) {
                assert_eq!((from, to), (THERE, HERE));
                assert_eq!(frame[..6], HERE.mac, "the reply goes to who asked");
                return;
            }
        }
    }

    /// Sends pings with these payloads all at once, and waits for all answers. No answer may be missing, come twice, or
    /// be for a ping that was not right.
    fn ping(&mut self, payloads: &[Vec<u8>]) {
        let mut expected = HashMap::new();
        for payload in payloads {
            self.wire.send(&echo_request(HERE, THERE, GOOD, self.next, payload));
            expected.insert(self.next, payload);
            self.next = self.next.wrapping_add(1);
        }
        let deadline = Instant::now() + ANSWER_LIMIT;
        while !expected.is_empty() {
            let Some(frame) = self.wire.receive(deadline) else {
                panic!("pings without an answer: {:?}", expected.keys());
            };
            let Some(Echo { id, sequence, payload }) = read_echo_reply(&frame, THERE, HERE) else { continue };
            assert_eq!(id, GOOD, "ping {sequence} of id {id:#x} was answered");
            let sent = expected.remove(&sequence).unwrap_or_else(|| panic!("ping {sequence} answered twice"));
            assert_eq!(&payload, sent, "payload of ping {sequence}");
        }
    }

    /// Frames that look like pings and are not, and frames of other protocols.
    fn wrong_frames() -> Vec<Vec<u8>> {
        let ping = |sequence| echo_request(HERE, THERE, BAD, sequence, b"abcdefghijklmnopqrstuvwxyz");
        let (ip, icmp) = (ETHERNET_BYTES, ETHERNET_BYTES + IP_BYTES);
        let mut frames = Vec::new();
        let whole = ping(1);
        frames.extend((1..whole.len()).map(|length| whole[..length].to_vec()));
        let question = arp_request(HERE, THERE.ip);
        frames.extend((1..question.len()).map(|length| question[..length].to_vec()));
        // One bit of each byte that a checksum covers. Behind byte 16 of the IP header it would be for somebody else.
        for at in (ip..ip + 16).chain(icmp..whole.len()) {
            let mut frame = whole.clone();
            frame[at] ^= 0x20;
            frames.push(frame);
        }
        // Right checksums over a wrong length, version or header length.
        for (at, value) in [(ip + 2, 0xff), (ip + 3, 21), (ip, 0x44), (ip, 0x4f), (ip, 0x65)] {
            let mut frame = whole.clone();
            frame[at] = value;
            frame[ip + 10..ip + 12].fill(0);
            let sum = checksum(&frame[ip..ip + IP_BYTES]);
            frame[ip + 10..ip + 12].copy_from_slice(&sum.to_be_bytes());
            frames.push(frame);
        }
        // For others: another Ethernet address, another IP address.
        frames.push(echo_request(
            HERE,
            Host { mac: [0x52, 0x54, 0, 0, 0, 77], ..THERE },
            BAD,
            2,
            b"not yours",
        ));
        frames.push(echo_request(HERE, Host { ip: [10, 9, 0, 77], ..THERE }, BAD, 3, b"not yours"));
        // Protocols that nobody speaks there: IPv6, VLAN, LLDP, one that does not exist; UDP, TCP, SCTP.
        for ether_type in [0x86dd, 0x8100, 0x88cc, 0x1234, 0x0001] {
            frames.push(frame(HERE.mac, THERE.mac, ether_type, &whole[ip..]));
        }
        for protocol in [6, 17, 132, 255] {
            frames.push(ip_packet(HERE, THERE, protocol, &whole[icmp..]));
        }
        frames
    }
}

/// A frame of one of several kinds with random contents.
fn noise(random: &mut Random) -> Vec<u8> {
    let to = [BROADCAST, THERE.mac, [0x33, 0x33, 0, 0, 0, 1]][random.below(3)];
    // Random bytes are seldom a sender that a neighbour would have, so nothing is learned from them.
    let from: [u8; 6] = random.bytes(6).try_into().expect("6 bytes");
    let from = [from[0] & !1, from[1], from[2], from[3], from[4], from[5]];
    let length = 1 + random.below(1500);
    let body = random.bytes(length);
    let stranger = Host { mac: from, ip: [10, 9, 0, 100 + random.below(100) as u8] };
    match random.below(4) {
        0 => frame(from, to, ARP, &body),
        1 => frame(from, to, IPV4, &body),
        2 => ip_packet(
            stranger,
            Host { mac: to, ..THERE },
            [1, 6, 17][random.below(3)],
            &body[..length.min(1400)],
        ),
        _ => frame(from, to, random.number() as u16, &body),
    }
}

fn answers_and_is_not_disturbed(machine: Machine) {
    let mut lab = Lab::start(machine);
    let counter = Counter::over(lab.guest.session());
    let devices = counter.client().info().expect("an answer").devices;
    assert!(devices.iter().any(|one| one == "net"), "{devices:?}");
    let mut random = Random::new(SEED);

    lab.resolve();
    for length in [0, 1, 56, 57, 1400, 1500 - IP_BYTES - ECHO_BYTES] {
        lab.ping(&[random.bytes(length)]);
    }
    let payloads: Vec<Vec<u8>> =
        (0..IN_FLIGHT).map(|ping| random.bytes(if ping % 2 == 0 { 56 } else { 1400 })).collect();
    lab.ping(&payloads);
    counter.must_grow("pings");

    for wrong in Lab::wrong_frames() {
        lab.wire.send(&wrong);
    }
    lab.ping(&[random.bytes(56)]);
    counter.must_grow("wrong frames");

    let peace = || counter.pace(|| std::thread::sleep(PEACE));
    let storm = || {
        let frames: Vec<Vec<u8>> = (0..STORM_FRAMES).map(|_| noise(&mut random)).collect();
        counter.pace(|| {
            frames.iter().for_each(|frame| lab.wire.send(frame));
            // Strangers may have pushed us out of the guest's table of neighbours; and now the last frame has arrived.
            lab.resolve();
        })
    };
    assert_pace(&format!("{machine:?} in a storm of frames"), PACE_LEFT_MIN, peace, storm);
    lab.ping(&payloads);
    counter.must_grow("the storm");
    let info = counter.client().info().expect("an answer");
    assert!(info.memory_free_bytes > info.memory_bytes / 2, "frames stay in memory: {info:?}");
}

#[test]
fn a_pc_answers_arp_and_ping_whatever_else_comes() {
    answers_and_is_not_disturbed(Machine::Q35);
}

#[test]
fn a_microvm_answers_arp_and_ping_whatever_else_comes() {
    answers_and_is_not_disturbed(Machine::Microvm);
}
