//! What the samples do with packets, on the interpreter.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use uio_bpf::context::{PacketContext, TimerContext, TracingContext};
use uio_bpf::helper::FUNCTIONS;
use uio_bpf::instruction::decode;
use uio_bpf::interpreter::{Access, Machine, Observer, Refusal, State};
use uio_bpf::invocation::Invocation;
use uio_bpf::map::{Map, UpdateFlags};
use uio_bpf::program::{Executable, Parts, Program};
use uio_bpf::services::{ReadFault, Services, Task};
use uio_bpf_objects::{ParsedObject, linux_context, parse, value_type};
use uio_bpf_samples::{Cpu, object, prebuilt};

const ABORTED: u64 = 0;
const DROP: u64 = 1;
const PASS: u64 = 2;
const TX: u64 = 3;

/// A clock that tests move.
#[derive(Default)]
struct World {
    now_ns: AtomicU64,
    lines: std::sync::Mutex<Vec<String>>,
}

impl Services for World {
    fn now_ns(&self) -> u64 {
        self.now_ns.load(Ordering::Relaxed)
    }

    fn random_u32(&self) -> u32 {
        4
    }

    fn task(&self) -> Task {
        Task::default()
    }

    fn trace(&self, text: &[u8]) {
        self.lines.lock().unwrap().push(String::from_utf8_lossy(text).trim_end().to_string());
    }

    fn output(&self, text: &[u8]) {
        self.trace(text);
    }

    fn read_memory(&self, _: u64, _: &mut [u8]) -> Result<(), ReadFault> {
        Err(ReadFault)
    }

    fn stack(&self, _: &TracingContext, _: &mut [u64]) -> usize {
        0
    }

    fn symbol(&self, _: &[u8]) -> Option<u64> {
        None
    }
}

/// An object with its maps, ready to run.
struct Loaded {
    object: ParsedObject,
    maps: Vec<Arc<Map>>,
    world: World,
}

/// Room around a packet.
const HEADROOM: usize = 256;

/// Refuses accesses around the packet that are not to the packet.
struct Fence {
    buffer: std::ops::Range<u64>,
    context: *const PacketContext,
}

impl Observer for Fence {
    fn instruction(&mut self, _: &State<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn access(&mut self, _: &State<'_>, access: Access) -> Result<(), Refusal> {
        let end = access.address + u64::from(access.bytes);
        if access.address >= self.buffer.end || end <= self.buffer.start || self.context.is_null() {
            return Ok(());
        }
        // SAFETY: the context outlives the run, and nothing holds a reference to it meanwhile.
        let packet = unsafe { self.context.read() };
        if packet.data <= access.address && end <= packet.data_end { Ok(()) } else { Err(Refusal) }
    }
}

impl Loaded {
    fn new(bytes: &[u8], name: &str) -> Self {
        let mut object = parse(bytes, name).unwrap_or_else(|error| panic!("{name}: {error}"));
        linux_context::convert(&mut object).unwrap_or_else(|error| panic!("{name}: {error}"));
        let specs = &object.image.maps;
        let maps = specs
            .iter()
            .map(|spec| {
                let inner = spec.inner.map(|inner| &specs[inner as usize]);
                Map::new(spec, inner, 1).unwrap_or_else(|error| panic!("{name}: {}: {error}", spec.name))
            })
            .collect();
        Self { object, maps, world: World::default() }
    }

    fn sample(name: &str) -> Self {
        Self::new(&object(name, Cpu::V3), name)
    }

    fn map(&self, name: &str) -> &Map {
        let index = self.object.image.maps.iter().position(|map| map.name == name);
        &self.maps[index.unwrap_or_else(|| panic!("no map {name}"))]
    }

    /// A value of a map, as the shell shows it.
    fn show(&self, name: &str, key: &[u8]) -> String {
        let index = self.object.image.maps.iter().position(|map| map.name == name).expect("a map");
        let spec = &self.object.image.maps[index];
        let mut value = vec![0; spec.value_bytes as usize];
        self.maps[index].lookup(key, &mut value).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        value_type(spec).render(&value)
    }

    fn executable(&self, program: &str) -> Executable {
        let image = self.object.image.programs.iter().find(|image| image.name == program);
        let image = image.unwrap_or_else(|| panic!("no program {program}"));
        Executable::new(Parts {
            kind: image.kind,
            operations: decode(&image.slots).expect("instructions"),
            functions: image.functions.clone(),
            maps: self.maps.iter().map(Map::binding).collect(),
            helpers: FUNCTIONS,
            fuelled: Vec::new(),
        })
        .unwrap_or_else(|error| panic!("{program}: {error}"))
    }

    /// Runs `program` on a packet, which it may change.
    fn packet_from(&self, program: &str, packet: &mut Vec<u8>, port: u32) -> u64 {
        let mut buffer = vec![0u8; HEADROOM];
        buffer.extend_from_slice(packet);
        buffer.resize(HEADROOM + packet.len() + HEADROOM, 0);
        let start = buffer.as_mut_ptr().expose_provenance() as u64;
        let end = start + buffer.len() as u64;
        let data = start + HEADROOM as u64;
        let mut context = PacketContext {
            data,
            data_end: data + packet.len() as u64,
            port,
            queue: 0,
            data_meta: data,
            head: start,
            tail: end,
        };
        let address = &raw mut context;
        let executable = self.executable(program);
        let invocation =
            Invocation::new(executable.kind(), address.expose_provenance() as u64, 0, &self.world);
        let mut fence = Fence { buffer: start..end, context: address };
        // SAFETY: these are our own samples; what they do with the packet is watched.
        let result = unsafe { Machine::new().run(&executable, &invocation, &mut fence) };
        // SAFETY: the run is over.
        let context = unsafe { address.read() };
        *packet = buffer[(context.data - start) as usize..(context.data_end - start) as usize].to_vec();
        result.unwrap_or_else(|stopped| panic!("{program} {stopped}"))
    }

    fn packet(&self, program: &str, packet: &mut Vec<u8>) -> u64 {
        self.packet_from(program, packet, 0)
    }

    /// The result for a packet that it does not keep.
    fn verdict(&self, program: &str, packet: &[u8]) -> u64 {
        self.packet(program, &mut packet.to_vec())
    }

    /// Runs a program of another kind on its context.
    fn run<Context>(&self, program: &str, context: &mut Context, bytes: u64) -> u64 {
        let executable = self.executable(program);
        let address = std::ptr::from_mut(context).expose_provenance() as u64;
        let invocation = Invocation::new(executable.kind(), address, bytes, &self.world);
        let mut fence = Fence { buffer: 0..0, context: std::ptr::null() };
        // SAFETY: these are our own samples.
        let result = unsafe { Machine::new().run(&executable, &invocation, &mut fence) };
        result.unwrap_or_else(|stopped| panic!("{program} {stopped}"))
    }
}

const CLIENT: [u8; 4] = [10, 0, 0, 5];
const SERVER: [u8; 4] = [198, 51, 100, 7];
const OUTER: [u8; 4] = [192, 0, 2, 1];
const UDP: u8 = 17;
const TCP: u8 = 6;
const IP_AT: usize = 14;
const PORTS_AT: usize = 34;

fn checksum(words: &[u8]) -> u16 {
    let mut sum = 0u32;
    for pair in words.chunks(2) {
        sum += u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Where the checksum of TCP or UDP is in the frame.
fn checksum_at(protocol: u8) -> usize {
    PORTS_AT + if protocol == TCP { 16 } else { 6 }
}

/// Pseudo header and the rest, whose checksum is 0 if it is right.
fn transport(frame: &[u8]) -> Vec<u8> {
    let mut words = frame[IP_AT + 12..PORTS_AT].to_vec();
    words.extend([0, frame[IP_AT + 9]]);
    words.extend(((frame.len() - PORTS_AT) as u16).to_be_bytes());
    words.extend(&frame[PORTS_AT..]);
    words
}

fn frame(protocol: u8, source: ([u8; 4], u16), target: ([u8; 4], u16), flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0];
    let transport_bytes = if protocol == TCP { 20 } else { 8 } + payload.len();
    frame.extend([0x45, 0]);
    frame.extend((20 + transport_bytes as u16).to_be_bytes());
    frame.extend([0, 1, 0, 0, 64, protocol, 0, 0]);
    frame.extend(source.0);
    frame.extend(target.0);
    let sum = checksum(&frame[IP_AT..PORTS_AT]);
    frame[IP_AT + 10..IP_AT + 12].copy_from_slice(&sum.to_be_bytes());
    frame.extend(source.1.to_be_bytes());
    frame.extend(target.1.to_be_bytes());
    if protocol == TCP {
        frame.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 1, 0, 0, 0, 0, 0]);
    } else {
        frame.extend((transport_bytes as u16).to_be_bytes());
        frame.extend([0, 0]);
    }
    frame.extend(payload);
    let sum = checksum(&transport(&frame));
    frame[checksum_at(protocol)..checksum_at(protocol) + 2].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn udp(target_port: u16, payload: &[u8]) -> Vec<u8> {
    frame(UDP, (CLIENT, 4000), (SERVER, target_port), 0, payload)
}

fn tcp(target_port: u16, flags: u8) -> Vec<u8> {
    frame(TCP, (CLIENT, 4000), (SERVER, target_port), flags, b"x")
}

fn is_right(frame: &[u8]) -> bool {
    checksum(&frame[IP_AT..PORTS_AT]) == 0 && checksum(&transport(frame)) == 0
}

#[test]
fn constant_verdicts() {
    assert_eq!(Loaded::sample("pass").verdict("pass", &udp(1, b"")), PASS);
    assert_eq!(Loaded::sample("drop").verdict("drop", &udp(1, b"")), DROP);
}

#[test]
fn ether_mirror_swaps_the_addresses() {
    let mirror = Loaded::sample("ether_mirror");
    let mut packet = udp(1, b"hello");
    let before = packet.clone();
    assert_eq!(mirror.packet("ether_mirror", &mut packet), TX);
    assert_eq!((&packet[..6], &packet[6..12], &packet[12..]), (&before[6..12], &before[..6], &before[12..]));
    assert_eq!(mirror.verdict("ether_mirror", &[1; 13]), ABORTED);
}

#[test]
fn strip_vlan_takes_the_tag_off() {
    let strip = Loaded::sample("strip_vlan");
    let plain = udp(1, b"hello");
    let mut tagged = plain.clone();
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    assert_eq!(strip.packet("strip_vlan", &mut tagged), PASS);
    assert_eq!(tagged, plain);
    assert_eq!(strip.packet("strip_vlan", &mut tagged), PASS, "no tag any more");
    assert_eq!(tagged, plain);
}

#[test]
fn port_filter_drops_one_port() {
    let filter = Loaded::sample("port_filter");
    let verdict = |packet: &[u8]| filter.verdict("port_filter", packet);
    assert_eq!(verdict(&udp(12345, b"")), DROP);
    assert_eq!(verdict(&tcp(12345, 0)), DROP);
    assert_eq!(verdict(&udp(12346, b"")), PASS);
    let mut other = udp(12345, b"");
    other[IP_AT + 9] = 1;
    assert_eq!(verdict(&other), PASS, "ICMP");
    let mut options = udp(12345, b"....");
    options.splice(PORTS_AT..PORTS_AT, [1, 1, 1, 1]);
    options[IP_AT] = 0x46;
    assert_eq!(verdict(&options), DROP, "behind options");
    let mut fragment = udp(12345, b"");
    fragment[IP_AT + 7] = 1;
    assert_eq!(verdict(&fragment), PASS, "a later fragment");
    assert_eq!(verdict(&udp(12345, b"")[..37]), ABORTED);
}

#[test]
fn the_classifier_tells_protocols() {
    let classifier = Loaded::sample("udp_tcp_classifier");
    assert_eq!(classifier.verdict("udp_tcp_classifier", &udp(1, b"")), 0);
    assert_eq!(classifier.verdict("udp_tcp_classifier", &tcp(1, 0)), 1);
    assert_eq!(classifier.verdict("udp_tcp_classifier", &[0; 60]), 2);
}

#[test]
fn the_string_matcher_finds_the_string_anywhere() {
    for bytes in [&object("string_matcher", Cpu::V1), prebuilt("string_matcher_v4")] {
        let matcher = Loaded::new(bytes, "string_matcher");
        let verdict = |packet: &[u8]| matcher.verdict("string_matcher", packet);
        assert_eq!(verdict(&udp(1, b"so leetcode it is")), DROP);
        assert_eq!(verdict(&udp(1, b"leetcod leetcod")), PASS);
        assert_eq!(verdict(b"leetcode"), DROP);
        assert_eq!(verdict(b"leetcod"), PASS);
        let mut long = vec![b'l'; 3000];
        long[1999..2007].copy_from_slice(b"leetcode");
        assert_eq!(verdict(&long), DROP, "the last position");
        long[1999..2008].copy_from_slice(b"lleetcode");
        assert_eq!(verdict(&long), PASS, "one behind it");
    }
}

#[test]
fn the_rate_limiter_counts_each_source() {
    let limiter = Loaded::sample("rate_limiter");
    let verdict = |packet: &[u8]| limiter.verdict("rate_limiter", packet);
    limiter.world.now_ns.store(5_000_000_000, Ordering::Relaxed);
    let other = frame(UDP, ([10, 0, 0, 6], 1), (SERVER, 1), 0, b"");
    for _ in 0..100 {
        assert_eq!(verdict(&udp(1, b"")), PASS);
    }
    assert_eq!(verdict(&udp(1, b"")), DROP);
    assert_eq!(verdict(&other), PASS);
    // 25 ms are two tokens and a half.
    limiter.world.now_ns.fetch_add(25_000_000, Ordering::Relaxed);
    assert_eq!([verdict(&udp(1, b"")), verdict(&udp(1, b"")), verdict(&udp(1, b""))], [PASS, PASS, DROP]);
    limiter.world.now_ns.fetch_add(5_000_000, Ordering::Relaxed);
    assert_eq!([verdict(&udp(1, b"")), verdict(&udp(1, b""))], [PASS, DROP]);
}

#[test]
fn round_robin_takes_turns() {
    let balancer = Loaded::sample("round_robin");
    let ports: Vec<u64> = (0..4).map(|_| balancer.verdict("round_robin", b"any")).collect();
    assert_eq!(ports, [1, 0, 1, 0]);
    assert_eq!(balancer.show("turn", &[0; 4]), "4");
}

#[test]
fn nat_translates_both_ways() {
    for bytes in [&object("nat", Cpu::V2), &object("nat", Cpu::V3), prebuilt("nat_v4")] {
        for protocol in [UDP, TCP] {
            let nat = Loaded::new(bytes, "nat");
            let mut out = frame(protocol, (CLIENT, 4000), (SERVER, 53), 0, b"question");
            assert_eq!(nat.packet("nat", &mut out), PASS);
            assert_eq!(out, frame(protocol, (OUTER, 1024), (SERVER, 53), 0, b"question"));
            assert!(is_right(&out));
            let mut back = frame(protocol, (SERVER, 53), (OUTER, 1024), 0, b"answer!");
            assert_eq!(nat.packet("nat", &mut back), PASS);
            assert_eq!(back, frame(protocol, (SERVER, 53), (CLIENT, 4000), 0, b"answer!"));
            assert!(is_right(&back));

            // The same connection keeps its port, another gets the next.
            let mut again = frame(protocol, (CLIENT, 4000), (SERVER, 53), 0, b"question");
            assert_eq!(nat.packet("nat", &mut again), PASS);
            assert_eq!(again, out);
            let mut second = frame(protocol, (CLIENT, 4001), (SERVER, 53), 0, b"question");
            assert_eq!(nat.packet("nat", &mut second), PASS);
            assert_eq!(second, frame(protocol, (OUTER, 1025), (SERVER, 53), 0, b"question"));
            // Nobody asked for this one.
            assert_eq!(nat.verdict("nat", &frame(protocol, (SERVER, 53), (OUTER, 1030), 0, b"")), DROP);
            let counts = [0u8, 1, 2].map(|key| nat.show("counts", &[key, 0, 0, 0]));
            assert_eq!(counts, ["3", "1", "1"]);
        }
    }
}

#[test]
fn nat_leaves_a_missing_checksum_missing() {
    let nat = Loaded::sample("nat");
    let mut packet = udp(53, b"question");
    let at = checksum_at(UDP);
    packet[at..at + 2].fill(0);
    assert_eq!(nat.packet("nat", &mut packet), PASS);
    assert_eq!(packet[at..at + 2], [0, 0]);
}

#[test]
fn firewalls_decide_by_port() {
    for rules in [10, 1000] {
        let firewall = Loaded::new(&uio_bpf_samples::firewall(rules, Cpu::V3), "firewall");
        for rule in 0..rules + 2 {
            let expected = if rule < rules && rule % 2 == 0 { PASS } else { DROP };
            let port = (1000 + rule) as u16;
            assert_eq!(firewall.verdict("firewall", &udp(port, b"")), expected, "port {port}");
        }
        assert_eq!(firewall.verdict("firewall", &tcp(1000, 0)), PASS);
        assert_eq!(firewall.verdict("firewall", &udp(999, b"")), DROP);
    }
}

#[test]
fn dns_filter_knows_names_below() {
    let filter = Loaded::sample("dns_filter");
    let question = |name: &str| {
        let mut payload = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        for label in name.split('.') {
            payload.push(label.len() as u8);
            payload.extend(label.as_bytes());
        }
        payload.extend([0, 0, 1, 0, 1]);
        filter.verdict("dns_filter", &udp(53, &payload))
    };
    for name in ["blocked.example", "www.blocked.example", "a.b.c.BLOCKED.Example"] {
        assert_eq!(question(name), DROP, "{name}");
    }
    for name in ["example", "blocked.example.org", "notblocked.example", "blocked.examples", "x"] {
        assert_eq!(question(name), PASS, "{name}");
    }
    let mut other_port = udp(54, &[0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    other_port.extend(b"\x07blocked\x07example\0");
    assert_eq!(filter.verdict("dns_filter", &other_port), PASS);
}

#[test]
fn state_moves_to_the_next_version() {
    let old = Loaded::sample("state_migration_v1");
    for _ in 0..3 {
        assert_eq!(old.verdict("state_migration", b""), PASS);
    }
    let mut new = Loaded::sample("state_migration_v2");
    // By name, as the guest shares them.
    let index = new.object.image.maps.iter().position(|map| map.name == "packets").unwrap();
    new.maps[index] = old.maps[0].clone();
    assert_eq!(new.verdict("state_migration", b""), PASS);
    assert_eq!(new.show("packets_wide", &[0; 4]), "4");
    assert_eq!(new.verdict("state_migration", b""), PASS);
    assert_eq!(new.show("packets_wide", &[0; 4]), "5");
    assert_eq!(new.show("packets", &[0; 4]), "3");
}

#[test]
fn connections_are_reported_by_ring() {
    let events = Loaded::sample("ringbuf_events");
    assert_eq!(events.verdict("ringbuf_events", &tcp(80, 0x02)), PASS);
    assert_eq!(events.verdict("ringbuf_events", &tcp(80, 0x12)), PASS);
    assert_eq!(events.verdict("ringbuf_events", &udp(80, b"")), PASS);
    let ring = events.map("events").ring_state().expect("a ring");
    assert!(format!("{ring:?}").contains("32"), "one record of 24 bytes and its header of 8: {ring:?}");
    assert_eq!(events.show(".bss", &[0; 4]), "{ lost = 0 }");
}

#[test]
fn the_longest_prefix_decides() {
    let router = Loaded::sample("lpm_router");
    for (bits, address, port) in [(8u8, [198, 0, 0, 0], 1u8), (24, [198, 51, 100, 0], 2), (0, [0; 4], 9)] {
        let mut key = vec![bits, 0, 0, 0];
        key.extend(address);
        router.map("routes").update(&key, &[port, 0, 0, 0], UpdateFlags::Any).unwrap();
    }
    let to = |target: [u8; 4]| {
        let mut packet = frame(UDP, (CLIENT, 1), (target, 1), 0, b"");
        let port = router.packet("lpm_router", &mut packet);
        assert_eq!(packet[IP_AT + 8], 63);
        assert_eq!(checksum(&packet[IP_AT..PORTS_AT]), 0);
        port
    };
    assert_eq!([to(SERVER), to([198, 1, 2, 3]), to([8, 8, 8, 8])], [2, 1, 9]);
    let mut last = udp(1, b"");
    last[IP_AT + 8] = 1;
    assert_eq!(router.verdict("lpm_router", &last), 255, "its time is over");
}

#[test]
fn tail_calls_go_to_the_handler() {
    let tail = Loaded::sample("tail_call");
    let mut ping = udp(1, b"");
    ping[IP_AT + 9] = 1;
    assert_eq!(tail.verdict("dispatch", &ping), PASS, "nobody is there yet");
    for (protocol, name) in [(1u8, "icmp"), (UDP, "udp")] {
        let program = Arc::new(Program::interpreted(tail.executable(name)));
        // There was none before, so nothing is retired.
        let _ = tail.map("handlers").set_program(u32::from(protocol), Some(program)).unwrap();
    }
    assert_eq!(tail.verdict("dispatch", &ping), DROP);
    assert_eq!(tail.verdict("dispatch", &udp(1, b"")), PASS);
    let mut short = udp(1, b"");
    short[PORTS_AT + 5] = 7;
    assert_eq!(tail.verdict("dispatch", &short), DROP);
    assert_eq!(tail.verdict("dispatch", &tcp(1, 0)), PASS);
}

#[test]
fn callbacks_count() {
    let scan = Loaded::sample("loop_helper");
    assert_eq!(scan.verdict("loop_helper", &[0, 1, 0, 2, 0]), PASS);
    assert!(scan.show("scans", &[0; 4]).ends_with("zeros = 3 }"));
    assert_eq!(scan.verdict("loop_helper", &[0; 300]), PASS);
    assert!(scan.show("scans", &[0; 4]).ends_with("zeros = 256 }"));
}

#[test]
fn loops_of_all_kinds() {
    let loops = Loaded::sample("bounded_loops");
    assert_eq!(loops.verdict("copy", b"hello"), PASS);
    assert_eq!(loops.verdict("copy", &[7; 200]), PASS);
    assert!(loops.show("samples", &[0; 4]).starts_with("{ length = 5, bytes = [104, 101, 108, 108, 111, 0,"));
    assert!(loops.show("samples", &[1, 0, 0, 0]).starts_with("{ length = 128, bytes = [7, 7,"));
    assert_eq!(loops.verdict("sum", &[1; 64]), PASS);
    assert_eq!(loops.verdict("sum", &udp(1, b"")[IP_AT..PORTS_AT]), DROP, "a header with its checksum");
    let mut bytes: Vec<u8> = (0..16).collect();
    assert_eq!(loops.verdict("repeats", &bytes), PASS);
    bytes[3..].fill(9);
    assert_eq!(loops.verdict("repeats", &bytes), DROP);
    bytes[3] = 1;
    assert_eq!(loops.verdict("repeats", &bytes), PASS);
}

#[test]
fn times_of_calls_by_powers_of_two() {
    let histogram = Loaded::sample("histogram");
    let mut registers = TracingContext { rsp: 0x8000, ..TracingContext::default() };
    for (nanoseconds, bucket) in [(1000u64, 9u8), (1024, 10), (1, 0)] {
        registers.rsp = 0x8000;
        histogram.run("entry", &mut registers, 0);
        histogram.world.now_ns.fetch_add(nanoseconds, Ordering::Relaxed);
        registers.rsp = 0x8008;
        histogram.run("leave", &mut registers, 0);
        assert_eq!(histogram.show("nanoseconds", &[bucket, 0, 0, 0]), "1", "{nanoseconds} ns");
        // A return without its call.
        histogram.run("leave", &mut registers, 0);
    }
    assert_eq!(histogram.show("nanoseconds", &[11, 0, 0, 0]), "0");
}

#[test]
fn the_timer_computes_a_rate() {
    let timer = Loaded::sample("timer");
    for _ in 0..6 {
        assert_eq!(timer.verdict("count", b""), PASS);
    }
    timer.run("tick", &mut TimerContext { due_ns: 1, missed: 0 }, 0);
    assert_eq!(
        timer.show("packet_rate", &[0; 4]),
        "{ packets = 6, per_second = 6, seconds = 1, missed = 0 }"
    );
    for _ in 0..4 {
        timer.verdict("count", b"");
    }
    timer.run("tick", &mut TimerContext { due_ns: 2, missed: 1 }, 0);
    assert_eq!(
        timer.show("packet_rate", &[0; 4]),
        "{ packets = 10, per_second = 2, seconds = 3, missed = 1 }"
    );
}

#[test]
fn functions_call_each_other() {
    let functions = Loaded::sample("functions");
    assert_eq!(functions.verdict("known", &tcp(1, 0)), PASS);
    assert_eq!(functions.verdict("known", &udp(1, b"")), PASS);
    let mut other = udp(1, b"");
    other[IP_AT + 9] = 99;
    assert_eq!(functions.verdict("known", &other), DROP);
    let spread: std::collections::BTreeSet<u64> =
        (0..64).map(|port| functions.verdict("spread", &udp(port, b""))).collect();
    assert_eq!(spread.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
}

#[test]
fn hello_prints() {
    let hello = Loaded::sample("hello");
    let mut memory = [0u8; 64];
    memory[..3].copy_from_slice(&[0x10, 2, 3]);
    assert_eq!(hello.run("hello", &mut memory, 64), 0x15);
    assert_eq!(*hello.world.lines.lock().unwrap(), ["hello: 3 bytes are set, the first is 10"]);
}

#[test]
fn version_4_computes_as_c_does() {
    let v4 = Loaded::new(prebuilt("v4"), "v4");
    let run = |program: &str, first: i64, second: i64| {
        let mut memory = [first, second];
        v4.run(program, &mut memory, 16) as i64
    };
    for (first, second) in [(-6, 2), (7, -3), (i64::from(i32::MIN), 5), (0x1234_5678_9abc_def0, -0x1_0001)] {
        let low = first as i32;
        assert_eq!(run("signed_division", first, second), first / second * 1000 + i64::from(low / 7));
        assert_eq!(run("signed_remainder", first, second), first % second * 1000 + i64::from(low % 7));
        let bytes = first.to_le_bytes();
        let word = i16::from_le_bytes([bytes[2], bytes[3]]);
        let loads = i64::from(bytes[0] as i8) + i64::from(word) + (first >> 32);
        let moves = i64::from(second as i8) * 3 + i64::from(second as i16) * 5 + i64::from(second as i32) * 7;
        assert_eq!(run("sign_extension", first, second), loads + moves, "{first} {second}");
        let (long, other) = (first as u64, second as u64);
        let swapped = long.swap_bytes()
            ^ u64::from((other as u32).swap_bytes())
            ^ u64::from((other as u16).swap_bytes());
        assert_eq!(run("byte_swap", first, second), swapped as i64);
        assert_eq!(run("long_jump", first, second), first.wrapping_add(1));
        let product = if second & 1 == 1 { first.wrapping_mul(first) } else { first.wrapping_mul(2) };
        assert_eq!(run("indirect_call", first, second), product);
    }
    let mut memory = [10u64, 0x3];
    let sum = v4.run("atomics", &mut memory, 16);
    // 10, 3, 15, 15 fetched; then 0x13 exchanged for their sum; then 15 ^ 0x55 replaced.
    assert_eq!(sum, 43 + 0x13 + (15 ^ 0x55));
    assert_eq!(memory, [7, 43]);
}

#[test]
fn the_tenants_program_counts_matches() {
    let tenant = Loaded::new(prebuilt("tenant"), "tenant");
    let verdict = |packet: &[u8]| tenant.packet_from("main", &mut packet.to_vec(), 3);
    assert_eq!(verdict(b"leetcode and more"), 1);
    assert_eq!(verdict(b"leetcodf"), 2);
    assert_eq!(verdict(b"leet"), 0);
    assert_ne!(tenant.show("PKTCOUNTER", &[0; 4]), "0");
}
