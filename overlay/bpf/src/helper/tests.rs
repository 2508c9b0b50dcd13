//! Helpers called as programs call them.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::sync::Mutex;

use proptest::prelude::*;
use uio_protocol::bpf::{MapKind, MapSpec, ProgramKind};

use super::{FUNCTIONS, Implementation, PROTOTYPES, function, prototype};
use crate::context::{PacketContext, TracingContext};
use crate::invocation::Invocation;
use crate::map::Map;
use crate::map::tests::{map, spec, value};
use crate::services::{ReadFault, Services, Task};

const EINVAL: i64 = -22;

/// A machine with some memory at an address of its own.
#[derive(Default)]
struct Machine {
    memory: Vec<u8>,
    trace: Mutex<Vec<String>>,
    output: Mutex<Vec<u8>>,
}

/// Where [`Machine::memory`] lies: not where this process has it.
const MEMORY_AT: u64 = 0x10_0005;

impl Services for Machine {
    fn now_ns(&self) -> u64 {
        5_123_456_789
    }

    fn random_u32(&self) -> u32 {
        0xdead_beef
    }

    fn task(&self) -> Task {
        Task { process: 1, thread: 42, name: *b"worker-0\0\0\0\0\0\0\0\0" }
    }

    fn trace(&self, text: &[u8]) {
        // One character a byte, as formats may hold any.
        self.trace.lock().unwrap().push(text.iter().copied().map(char::from).collect());
    }

    fn output(&self, text: &[u8]) {
        self.output.lock().unwrap().extend_from_slice(text);
    }

    fn read_memory(&self, address: u64, destination: &mut [u8]) -> Result<(), ReadFault> {
        let start = address.checked_sub(MEMORY_AT).ok_or(ReadFault)? as usize;
        let end = start.checked_add(destination.len()).ok_or(ReadFault)?;
        destination.copy_from_slice(self.memory.get(start..end).ok_or(ReadFault)?);
        Ok(())
    }

    fn stack(&self, registers: &TracingContext, frames: &mut [u64]) -> usize {
        let all = [registers.rip, 0x200, 0x300];
        let count = all.len().min(frames.len());
        frames[..count].copy_from_slice(&all[..count]);
        count
    }

    fn symbol(&self, name: &[u8]) -> Option<u64> {
        (name == b"counter").then_some(0x1234)
    }
}

/// Address of memory of this process.
fn at<T: ?Sized>(memory: &T) -> u64 {
    std::ptr::from_ref(memory).cast::<u8>().expose_provenance() as u64
}

fn at_mut<T: ?Sized>(memory: &mut T) -> u64 {
    std::ptr::from_mut(memory).cast::<u8>().expose_provenance() as u64
}

/// A run that calls helpers.
struct Caller<'a> {
    run: Invocation<'a>,
}

impl<'a> Caller<'a> {
    fn new(machine: &'a Machine, kind: ProgramKind, context: u64) -> Self {
        Self { run: Invocation::new(kind, context, 0, machine) }
    }

    fn call<const COUNT: usize>(&self, number: u32, arguments: [u64; COUNT]) -> i64 {
        // What a program leaves in the other registers.
        let mut registers = [0x5a5a_5a5a_5a5a_5a5a; 5];
        registers[..COUNT].copy_from_slice(&arguments);
        let [a, b, c, d, e] = registers;
        // SAFETY: the tests give what the prototypes ask for.
        unsafe { function(number).expect("a function")(a, b, c, d, e, &raw const self.run) }.cast_signed()
    }
}

fn raw(machine: &Machine) -> Caller<'_> {
    Caller::new(machine, ProgramKind::Raw { memory_bytes: 0 }, 0)
}

#[test]
fn the_tables_agree() {
    assert!(PROTOTYPES.is_sorted_by_key(|prototype| prototype.number));
    assert!(FUNCTIONS.is_sorted_by_key(|entry| entry.0));
    for entry in PROTOTYPES {
        let has_function = function(entry.number).is_some();
        assert_eq!(has_function, entry.body != Implementation::Engine, "{}", entry.name);
        let takes_map = entry.arguments.contains(&super::Argument::Map);
        assert_eq!(takes_map, !entry.maps.is_empty(), "{}", entry.name);
    }
    for (number, _) in FUNCTIONS {
        assert!(prototype(*number).is_some(), "{number}");
    }
}

#[test]
fn sizes_follow_their_memory() {
    use super::Argument::{Memory, MemoryOrNull, MemoryOut, Size, SizeOrZero};
    for entry in PROTOTYPES {
        for (index, argument) in entry.arguments.iter().enumerate() {
            let next = entry.arguments.get(index + 1);
            let is_size = matches!(next, Some(Size | SizeOrZero));
            match argument {
                Memory | MemoryOut => assert!(is_size, "{}", entry.name),
                MemoryOrNull => assert_eq!(next, Some(&SizeOrZero), "{}", entry.name),
                _ => assert!(!is_size, "{}", entry.name),
            }
        }
        assert!(entry.arguments.len() <= 5);
    }
}

#[test]
fn maps_by_key() {
    let machine = Machine::default();
    let run = raw(&machine);
    let hash = map(MapKind::Hash, 4, 8, 1);
    let (key, first, second) = (7u32, 11u64, 22u64);
    let arguments = [hash.address(), at(&key)];
    assert_eq!(run.call(1, arguments), 0);
    assert_eq!(run.call(2, [hash.address(), at(&key), at(&first), 2]), -2);
    assert_eq!(run.call(2, [hash.address(), at(&key), at(&first), 0]), 0);
    assert_eq!(run.call(2, [hash.address(), at(&key), at(&second), 1]), -17);
    assert_eq!(run.call(2, [hash.address(), at(&key), at(&second), 4]), EINVAL);
    assert_eq!(run.call(2, [hash.address(), at(&8u32), at(&second), 0]), -7);
    let found = run.call(1, arguments);
    // SAFETY: a value of eight bytes.
    assert_eq!(unsafe { std::ptr::with_exposed_provenance::<u64>(found as usize).read() }, first);
    assert_eq!(run.call(3, arguments), 0);
    assert_eq!(run.call(3, arguments), -2);
    let trie = map(MapKind::LpmTrie, 5, 8, 1);
    assert_eq!(run.call(2, [trie.address(), at(&[0u8; 5]), at(&first), 0]), 0);
    assert_eq!(run.call(2, [trie.address(), at(&[8u8, 0, 0, 0, 0]), at(&first), 0]), -28);
    let array = map(MapKind::PerCpuArray, 4, 8, 2);
    assert_eq!(run.call(3, [array.address(), at(&1u32)]), EINVAL);
    assert_eq!(run.call(195, [array.address(), at(&1u32), 0]), run.call(1, [array.address(), at(&1u32)]));
    assert_eq!(run.call(195, [array.address(), at(&1u32), 1]), 0);
}

#[test]
fn queues() {
    let machine = Machine::default();
    let run = raw(&machine);
    let queue = map(MapKind::Queue, 0, 4, 2);
    let mut taken = 9u32;
    assert_eq!(run.call(88, [queue.address(), at_mut(&mut taken)]), -2);
    assert_eq!(taken, 0, "initialised in any case");
    for number in [1u32, 2] {
        assert_eq!(run.call(87, [queue.address(), at(&number), 0]), 0);
    }
    assert_eq!(run.call(87, [queue.address(), at(&3u32), 0]), -7);
    assert_eq!(run.call(87, [queue.address(), at(&3u32), 1]), EINVAL);
    assert_eq!(run.call(87, [queue.address(), at(&3u32), 2]), 0);
    assert_eq!(run.call(89, [queue.address(), at_mut(&mut taken)]), 0);
    assert_eq!(taken, 2);
    assert_eq!(run.call(88, [queue.address(), at_mut(&mut taken)]), 0);
    assert_eq!(run.call(88, [queue.address(), at_mut(&mut taken)]), 0);
    assert_eq!(taken, 3);
}

#[test]
fn rings() {
    let machine = Machine::default();
    let run = raw(&machine);
    let ring = map(MapKind::RingBuffer, 0, 0, 4096);
    assert_eq!(run.call(131, [ring.address(), 8, 1]), 0, "no flags are known");
    let record = run.call(131, [ring.address(), 8, 0]) as u64;
    let dropped = run.call(131, [ring.address(), 8, 0]) as u64;
    // SAFETY: a reserved record of eight bytes.
    unsafe { std::ptr::with_exposed_provenance_mut::<u64>(record as usize).write(77) };
    assert_eq!(run.call(130, [ring.address(), at(b"abc"), 3, 0]), 0);
    assert_eq!(run.call(25, [0, ring.address(), 0xffff_ffff, at(b"de"), 2]), 0);
    assert_eq!(run.call(25, [0, ring.address(), 1 << 32, at(b"de"), 2]), EINVAL);
    assert_eq!(run.call(132, [record, 0]), 0);
    assert_eq!(run.call(133, [dropped, 0]), 0);
    assert_eq!(run.call(134, [ring.address(), 0]), 16 + 16 + 16 + 16);
    assert_eq!(run.call(134, [ring.address(), 1]), 4096);
    let mut records = Vec::new();
    ring.drain(usize::MAX, |record| {
        records.push(record.to_vec());
        core::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(records, [77u64.to_le_bytes().to_vec(), b"abc".to_vec(), b"de".to_vec()]);
    assert_eq!(run.call(134, [ring.address(), 2]), 64);
    assert_eq!(run.call(130, [ring.address(), at(&[0u8; 4096]), 4096, 0]), -11);
    assert_eq!(ring.ring_state().unwrap().lost, 1);
}

#[test]
fn tail_calls_stay_in_their_kind() {
    let machine = Machine::default();
    let programs = map(MapKind::ProgArray, 4, 4, 2);
    let program = crate::map::tests::references::program(ProgramKind::Timer);
    drop(programs.set_program(1, Some(program.clone())).unwrap());
    let timer = Caller::new(&machine, ProgramKind::Timer, 0);
    assert_eq!(timer.call(12, [0, programs.address(), 1]) as u64, at(&*program));
    assert_eq!(timer.call(12, [0, programs.address(), 0]), 0, "an empty slot");
    assert_eq!(timer.call(12, [0, programs.address(), 2]), 0, "past the end");
    let packet = Caller::new(&machine, ProgramKind::Packet, 0);
    assert_eq!(packet.call(12, [0, programs.address(), 1]), 0, "its context is another");
}

#[test]
fn time_and_identity() {
    let machine = Machine::default();
    let run = raw(&machine);
    for number in [5, 125, 160] {
        assert_eq!(run.call(number, []), 5_123_456_789);
    }
    assert_eq!(run.call(118, []), 5123);
    assert_eq!(run.call(7, []), 0xdead_beef);
    assert_eq!(run.call(8, []), 0);
    assert_eq!(run.call(14, []), 1 << 32 | 42);
    for (bytes, expected) in [(1, &b"\0"[..]), (5, b"work\0"), (16, b"worker-0\0\0\0\0\0\0\0\0")] {
        let mut name = [9u8; 20];
        assert_eq!(run.call(16, [at_mut(&mut name), bytes as u64]), 0);
        assert_eq!(&name[..bytes], expected);
        assert_eq!(name[bytes], 9, "nothing behind the buffer is written");
    }
    let mut name = [9u8; 20];
    assert_eq!(run.call(16, [at_mut(&mut name), 20]), 0);
    assert_eq!(&name, b"worker-0\0\0\0\0\0\0\0\0\0\0\0\0");
}

#[test]
fn probe_reads() {
    let memory: Vec<u8> = (0..700u32).map(|index| (index % 255) as u8 + 1).collect();
    let machine = Machine { memory, ..Machine::default() };
    let run = raw(&machine);
    for number in [4, 112, 113] {
        let mut copy = [0u8; 700];
        assert_eq!(run.call(number, [at_mut(&mut copy), 600, MEMORY_AT + 50]), 0);
        assert_eq!(copy[..600], machine.memory[50..650]);
        assert_eq!(copy[600..], [0; 100]);
        assert_eq!(run.call(number, [at_mut(&mut copy), 600, MEMORY_AT + 150]), -14);
        assert_eq!(copy[..600], [0; 600], "all of it initialised, with nothing");
        assert_eq!(run.call(number, [at_mut(&mut copy), 8, 0]), -14);
        assert_eq!(run.call(number, [at_mut(&mut copy), 8, u64::MAX - 3]), -14);
        assert_eq!(run.call(number, [0, 0, 0]), 0);
    }
}

proptest! {
    #[test]
    fn probe_reads_strings(length in 0..60usize, start in 0..20usize, size in 0..70usize) {
        let mut memory = std::vec![b'x'; start + length];
        memory.push(0);
        let machine = Machine { memory, ..Machine::default() };
        for number in [45, 114, 115] {
            let mut copy = [9u8; 80];
            let address = MEMORY_AT + start as u64;
            let result = raw(&machine).call(number, [at_mut(&mut copy), size as u64, address]);
            let copied = length.min(size.saturating_sub(1));
            // Pieces may reach behind the zero, where nothing is readable in this machine.
            if result == -14 {
                prop_assert_eq!(&copy[..size], &std::vec![0; size][..]);
                prop_assert!(size > length, "only the last piece can fail");
            } else {
                prop_assert_eq!(result, if size == 0 { 0 } else { copied as i64 + 1 });
                prop_assert_eq!(&copy[..copied], &std::vec![b'x'; copied][..]);
                prop_assert!(copy[copied..size].iter().all(|&byte| byte == 0));
            }
            prop_assert!(copy[size..].iter().all(|&byte| byte == 9));
        }
    }

    /// Checksums of what was changed follow from the changes.
    #[test]
    fn checksum_differences(
        before in prop::collection::vec(any::<u32>(), 1..16),
        after in prop::collection::vec(any::<u32>(), 1..16),
    ) {
        let machine = Machine::default();
        let run = raw(&machine);
        let sum = |words: &[u32]| run.call(28, [0, 0, at(words), words.len() as u64 * 4, 0]) as u64;
        // Sums of halves modulo 2^16 - 1, where 0 and 0xffff are the same.
        let plain = |words: &[u32]| {
            words.iter().map(|word| u64::from(word & 0xffff) + u64::from(word >> 16)).sum::<u64>() % 0xffff
        };
        prop_assert_eq!(sum(&before) % 0xffff, plain(&before));
        let seed = sum(&before);
        let arguments =
            [at(&before[..]), before.len() as u64 * 4, at(&after[..]), after.len() as u64 * 4, seed];
        prop_assert_eq!(run.call(28, arguments) as u64 % 0xffff, plain(&after));
        prop_assert_eq!(run.call(28, [at(&before[..]), 3, 0, 0, 0]), EINVAL);
    }

    #[test]
    fn compares_strings_as_c_does(left in "[ab\0]{1,6}", right in "[ab]{0,6}", size in 1..6usize) {
        let machine = Machine::default();
        let size = size.min(left.len());
        let ended: Vec<u8> = right.bytes().chain([0]).collect();
        let result = raw(&machine).call(182, [at(left.as_bytes()), size as u64, at(&ended[..])]);
        let cut = |text: &[u8]| text.split(|&byte| byte == 0).next().unwrap().iter().take(size).copied().collect::<Vec<_>>();
        let expected = cut(&left.as_bytes()[..size]).cmp(&cut(&ended));
        prop_assert_eq!(result.cmp(&0), expected);
    }

    /// No format, however wrong, does more than fail.
    #[test]
    fn survives_any_format(mut format in prop::collection::vec(any::<u8>(), 0..300), end in any::<bool>()) {
        if end {
            format.push(0);
        }
        format.insert(0, b'%');
        let machine = Machine::default();
        let result = raw(&machine).call(6, [at(&format[..]), format.len() as u64, 1, 2, 3]);
        let lines = machine.trace.lock().unwrap();
        prop_assert_eq!(lines.is_empty(), result == EINVAL);
        prop_assert!(lines.iter().all(|line| line.chars().count() <= 512));
    }
}

/// A packet of `length` bytes with `room` on both sides, and its context.
fn packet(length: u64, room: u64) -> (Vec<u8>, PacketContext) {
    let mut memory: Vec<u8> = std::vec![0xee; (room * 2 + length) as usize];
    let start = at_mut(&mut memory[..]);
    let context = PacketContext {
        data: start + room,
        data_end: start + room + length,
        port: 1,
        queue: 0,
        data_meta: start + room,
        head: start,
        tail: start + 2 * room + length,
    };
    (memory, context)
}

#[test]
fn packets_grow_and_shrink() {
    let machine = Machine::default();
    let (memory, mut context) = packet(64, 32);
    let before = context;
    let address = at_mut(&mut context);
    let run = Caller::new(&machine, ProgramKind::Packet, address);
    let now = || {
        // SAFETY: the context lives, and helpers are done with it.
        unsafe { std::ptr::with_exposed_provenance::<PacketContext>(address as usize).read() }
    };
    for (number, delta) in [(44, -33i64), (44, 51), (65, 33), (65, -51), (54, -36), (54, -3), (54, 4)] {
        assert_eq!(run.call(number, [address, delta as u64]), EINVAL, "{number} {delta}");
        assert_eq!(now(), before);
    }
    assert_eq!(run.call(44, [address, -16i64 as u64]), 0);
    assert_eq!((now().data, now().data_meta), (before.data - 16, before.data - 16));
    assert_eq!(run.call(65, [address, 8]), 0);
    assert_eq!(now().data_end, before.data_end + 8);
    assert_eq!(memory[96..104], [0; 8], "new bytes are zero");
    assert_eq!(memory[104], 0xee);
    // Metadata moves along with the start.
    assert_eq!(run.call(54, [address, -4i64 as u64]), 0);
    let meta = now().data_meta;
    assert_eq!(meta, now().data - 4);
    // SAFETY: four bytes inside the packet's room.
    unsafe { std::ptr::with_exposed_provenance_mut::<u32>(meta as usize).write_unaligned(0x0403_0201) };
    assert_eq!(run.call(44, [address, 6]), 0);
    assert_eq!(now().data_meta, now().data - 4);
    // SAFETY: as above.
    let moved =
        unsafe { std::ptr::with_exposed_provenance::<u32>(now().data_meta as usize).read_unaligned() };
    assert_eq!(moved, 0x0403_0201);
    assert_eq!(run.call(44, [address, (-(16 + 6i64)) as u64]), EINVAL, "metadata needs room too");
}

#[test]
fn morphos_packets_grow() {
    let machine = Machine::default();
    let (_memory, mut context) = packet(64, 32);
    let before = context;
    let run = Caller::new(&machine, ProgramKind::Packet, at_mut(&mut context));
    assert_eq!(run.call(60, [8, 4]) as u64, before.data - 8);
    assert_eq!((context.data, context.data_end), (before.data - 8, before.data_end + 4));
    assert_eq!(run.call(60, [-18i64 as u64, -10i64 as u64]) as u64, before.data + 10);
    assert_eq!(run.call(60, [100, 0]), 0);
    assert_eq!(run.call(60, [i32::MIN as u64, i32::MIN as u64]), 0);
    assert_eq!((context.data, context.data_end), (before.data + 10, before.data_end - 6));
    assert_eq!(raw(&machine).call(60, [0, 0]), 0, "not for programs without a packet");
}

#[test]
fn stacks() {
    let machine = Machine::default();
    let context = TracingContext { rip: 0x100, ..TracingContext::default() };
    let run = Caller::new(&machine, ProgramKind::Tracing, at(&context));
    let mut frames = [9u64; 5];
    let mut call = |bytes: u64, flags: u64| {
        frames = [9; 5];
        let result = run.call(67, [at(&context), at_mut(&mut frames), bytes, flags]);
        (result, frames)
    };
    assert_eq!(call(32, 0), (24, [0x100, 0x200, 0x300, 0, 9]));
    assert_eq!(call(16, 0), (16, [0x100, 0x200, 9, 9, 9]));
    assert_eq!(call(32, 2), (8, [0x300, 0, 0, 0, 9]));
    assert_eq!(call(32, 200), (0, [0, 0, 0, 0, 9]));
    assert_eq!(call(32, 1 << 11), (EINVAL, [0, 0, 0, 0, 9]));
    assert_eq!(call(12, 0).0, EINVAL);
}

fn printed(format: &str, arguments: [u64; 3]) -> Result<String, i64> {
    let machine = Machine { memory: b"name\0and no end".to_vec(), ..Machine::default() };
    let text: Vec<u8> = format.bytes().chain([0]).collect();
    let [a, b, c] = arguments;
    let result = raw(&machine).call(6, [at(&text[..]), text.len() as u64, a, b, c]);
    let line = machine.trace.lock().unwrap().pop();
    match line {
        Some(line) => {
            assert_eq!(result, line.len() as i64);
            Ok(line)
        }
        None => Err(result),
    }
}

#[test]
fn prints_as_c_does() {
    let minus = -5i64 as u64;
    for (format, arguments, expected) in [
        ("plain\n", [0, 0, 0], "plain"),
        ("%d %u %x", [minus, minus, minus], "-5 4294967291 fffffffb"),
        ("%ld %llu %lx", [minus, minus, 255], "-5 18446744073709551611 ff"),
        ("%hd %hhu %zu", [0x1_8000, 0x1ff, 1 << 40], "-32768 255 1099511627776"),
        ("%i%%|%c|%o", [3, 65, 8], "3%|A|10"),
        ("%5d|%-5d|%05d", [42, 42, minus], "   42|42   |-0005"),
        ("%#x %#o %+d", [255, 8, 1], "0xff 010 +1"),
        ("%08llx %.3d %6.2u", [0xabc, 7, 7], "00000abc 007     07"),
        ("%p %X", [0x1234, 0xab, 0], "0x1234 AB"),
        ("%s|%10s|%-6s|", [MEMORY_AT, MEMORY_AT, MEMORY_AT], "name|      name|name  |"),
        ("%.2s", [MEMORY_AT, 0, 0], "na"),
        ("%s", [8, 0, 0], "(unreadable)"),
        ("%d", [i64::from(i32::MIN) as u64, 0, 0], "-2147483648"),
        ("%lld", [i64::MIN as u64, 0, 0], "-9223372036854775808"),
    ] {
        assert_eq!(printed(format, arguments).as_deref(), Ok(expected), "{format}");
    }
    for format in ["%", "%d %d %d %d", "%q", "%n", "%lls%", "%5", "%-"] {
        assert_eq!(printed(format, [MEMORY_AT; 3]), Err(EINVAL), "{format}");
    }
    let long = printed("%64d%64d%64d", [1, 2, 3]).unwrap();
    assert_eq!(long.len(), 192);
    assert_eq!(printed("%99999999999999999999d", [1, 0, 0]).unwrap().len(), 64, "widths are bounded");
}

#[test]
fn prints_only_ended_formats() {
    let machine = Machine::default();
    assert_eq!(raw(&machine).call(6, [at(b"no end"), 6]), EINVAL);
    assert_eq!(raw(&machine).call(6, [at(&[b'a'; 300]), 300]), EINVAL);
    assert!(machine.trace.lock().unwrap().is_empty());
}

#[test]
fn prints_arrays_of_arguments() {
    let machine = Machine::default();
    let run = raw(&machine);
    let numbers: Vec<u64> = (1..=12).collect();
    let format = b"%d %d %d %d %d %d %d %d %d %d %d %d\0";
    let call =
        |format: &[u8], bytes: u64| run.call(177, [at(format), format.len() as u64, at(&numbers[..]), bytes]);
    assert_eq!(call(format, 96), 26);
    assert_eq!(machine.trace.lock().unwrap().pop().unwrap(), "1 2 3 4 5 6 7 8 9 10 11 12");
    assert_eq!(call(format, 88), EINVAL, "one too few");
    assert_eq!(call(b"%d\0", 7), EINVAL);
    assert_eq!(run.call(177, [at(b"none\0"), 5, 0, 0]), 4);
}

#[test]
fn output_and_symbols() {
    let machine = Machine::default();
    let run = raw(&machine);
    let text: Vec<u8> = (0..600u32).map(|index| index as u8).collect();
    assert_eq!(run.call(0x1_0000, [at(&text[..]), 600]), 0);
    assert_eq!(*machine.output.lock().unwrap(), text);
    assert_eq!(run.call(0x1_0001, [at(b"counter\0")]), 0x1234);
    assert_eq!(run.call(0x1_0001, [at(b"count\0")]), 0);
}

/// A program that is bound to a constant map cannot change it.
#[test]
fn constants_refuse_programs() {
    let machine = Machine::default();
    let rodata = MapSpec { read_only: true, initial: std::vec![1; 4], ..spec(MapKind::Array, 4, 4, 1) };
    let map: Arc<Map> = Map::new(&rodata, None, 0).unwrap();
    assert_eq!(raw(&machine).call(2, [map.address(), at(&0u32), at(&9u32), 0]), -1);
    assert_eq!(value(&map, &[0; 4]), Some(std::vec![1; 4]));
}
