//! Nanoseconds a run on 64-byte packets in a ring of 256, and microseconds to compile, for the sample network functions; with
//! rbpf's compiler, which gets the same maps and helpers, where it takes the program. Minima of interleaved rounds.
//!
//! `cargo bench -p uio-bpf --bench engines`

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use uio_bpf::context::{PacketContext, TracingContext};
use uio_bpf::helper::FUNCTIONS;
use uio_bpf::instruction::decode;
use uio_bpf::interpreter::{Machine, Unwatched};
use uio_bpf::invocation::Invocation;
use uio_bpf::jit::native::Compiled;
use uio_bpf::jit::{Options, Plan};
use uio_bpf::map::Map;
use uio_bpf::program::{Executable, Parts};
use uio_bpf::services::{ReadFault, Services, Task};
use uio_bpf_objects::linux_context;
use uio_bpf_samples::Cpu;
use uio_protocol::bpf::{ObjectImage, ProgramKind};

const RING: usize = 256;
const PACKET_BYTES: usize = 64;
const ROUNDS: usize = 400;
const KIND: ProgramKind = ProgramKind::Packet;
/// What rbpf gives a program's code.
const RBPF_CODE_BYTES: usize = 4096;

struct Clock;

impl Services for Clock {
    fn now_ns(&self) -> u64 {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: it may be written.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
        time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
    }
    fn random_u32(&self) -> u32 {
        4
    }
    fn task(&self) -> Task {
        Task::default()
    }
    fn trace(&self, _: &[u8]) {}
    fn output(&self, _: &[u8]) {}
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

struct Ring {
    packets: Vec<[u8; PACKET_BYTES]>,
    fresh: Vec<[u8; PACKET_BYTES]>,
    contexts: Vec<PacketContext>,
}

/// UDP packets from 256 sources inside to ports from 1,000 on.
fn ring() -> Ring {
    let mut packets = vec![[0_u8; PACKET_BYTES]; RING];
    for (index, packet) in packets.iter_mut().enumerate() {
        packet[12..14].copy_from_slice(&[8, 0]);
        packet[14] = 0x45;
        packet[23] = 17;
        packet[26..30].copy_from_slice(&[10, 0, 0, index as u8]);
        packet[30..34].copy_from_slice(&[198, 51, 100, 7]);
        packet[34..36].copy_from_slice(&(3000 + index as u16).to_be_bytes());
        packet[36..38].copy_from_slice(&(1000 + index as u16 * 37).to_be_bytes());
    }
    let contexts = packets
        .iter_mut()
        .map(|packet| {
            let data = packet.as_mut_ptr().expose_provenance() as u64;
            let end = data + PACKET_BYTES as u64;
            PacketContext { data, data_end: end, port: 0, queue: 0, data_meta: data, head: data, tail: end }
        })
        .collect();
    Ring { fresh: packets.clone(), packets, contexts }
}

/// One program with maps of its own.
struct Subject {
    executable: Executable,
    maps: Vec<Arc<Map>>,
    image: ObjectImage,
}

fn bind(image: &ObjectImage, maps: &[Arc<Map>]) -> Executable {
    let program = &image.programs[0];
    Executable::new(Parts {
        kind: program.kind,
        operations: decode(&program.slots).expect("decodes"),
        functions: program.functions.clone(),
        maps: maps.iter().map(Map::binding).collect(),
        helpers: FUNCTIONS,
        fuelled: Vec::new(),
    })
    .expect("binds")
}

fn subject(object: &[u8], name: &str) -> Subject {
    let mut parsed = uio_bpf_objects::parse(object, name).expect("an object");
    linux_context::convert(&mut parsed).expect("contexts");
    let image = parsed.image;
    let maps: Vec<_> = image.maps.iter().map(|spec| Map::new(spec, None, 1).expect("a map")).collect();
    Subject { executable: bind(&image, &maps), maps, image }
}

/// rbpf's helpers have no argument for the run, and its compiled code calls them with the stack off by eight bytes.
macro_rules! rbpf_helper {
    ($name:ident, $inner:ident, $number:literal) => {
        extern "sysv64" fn $inner(r1: u64, r2: u64, r3: u64, r4: u64, r5: u64) -> u64 {
            let function = uio_bpf::helper::function($number).expect("there");
            let run = Invocation::new(KIND, 0, 0, &Clock);
            // SAFETY: the program is one that was made for this helper.
            unsafe { function(r1, r2, r3, r4, r5, &raw const run) }
        }

        #[unsafe(naked)]
        extern "sysv64" fn $name() {
            std::arch::naked_asm!(
                "push rbp", "mov rbp, rsp", "and rsp, -16", "call {inner}", "mov rsp, rbp", "pop rbp", "ret",
                inner = sym $inner
            )
        }
    };
}
rbpf_helper!(aligned_lookup, rbpf_lookup, 1);
rbpf_helper!(aligned_update, rbpf_update, 2);
rbpf_helper!(aligned_clock, rbpf_clock, 5);

fn rbpf_helper(function: extern "sysv64" fn()) -> rbpf::ebpf::Helper {
    // SAFETY: rbpf's code passes five numbers in the registers of this convention and takes one back.
    unsafe { std::mem::transmute::<extern "sysv64" fn(), rbpf::ebpf::Helper>(function) }
}

/// The program with addresses in place of maps.
fn code_for_rbpf(subject: &Subject) -> Vec<u8> {
    let mut slots = subject.image.programs[0].slots.clone();
    let mut index = 0;
    while index < slots.len() {
        if slots[index] as u8 == 0x18 {
            if slots[index] >> 12 & 15 == 5 {
                let address = subject.maps[(slots[index] >> 32) as usize].address();
                slots[index] = slots[index] & 0xfff | address << 32;
                slots[index + 1] = address >> 32 << 32;
            }
            index += 1;
        }
        index += 1;
    }
    slots.iter().flat_map(|slot| slot.to_le_bytes()).collect()
}

fn for_rbpf(code: &[u8]) -> Option<rbpf::EbpfVmRaw<'_>> {
    // It writes past its page without looking.
    if code.len() > RBPF_CODE_BYTES * 2 / 3 {
        return None;
    }
    let mut vm = rbpf::EbpfVmRaw::new(Some(code)).ok()?;
    vm.register_helper(1, rbpf_helper(aligned_lookup)).ok()?;
    vm.register_helper(2, rbpf_helper(aligned_update)).ok()?;
    vm.register_helper(5, rbpf_helper(aligned_clock)).ok()?;
    vm.jit_compile().ok()?;
    Some(vm)
}

fn nanoseconds(best: Duration) -> f64 {
    if best == Duration::MAX { f64::NAN } else { best.as_nanos() as f64 / RING as f64 }
}

impl Ring {
    /// Shortens `best` to the time of one round over the ring.
    fn round(&mut self, best: &mut Duration, rewrites: bool, mut run: impl FnMut(&PacketContext) -> u64) {
        let start = Instant::now();
        let mut sum = 0;
        for index in 0..RING {
            if rewrites {
                self.packets[index] = self.fresh[index];
            }
            sum += run(&self.contexts[index]);
        }
        black_box(sum);
        *best = (*best).min(start.elapsed());
    }
}

fn microseconds(mut run: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..100 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed());
    }
    best.as_nanos() as f64 / 1000.0
}

fn address(context: &PacketContext) -> u64 {
    (&raw const *context).expose_provenance() as u64
}

fn measure(name: &str, object: &[u8], ring: &mut Ring) {
    let subject = subject(object, name);
    let rewrites = name == "nat";
    let executable = &subject.executable;
    let blinded = Compiled::new(executable.clone(), &Options::blinded(7)).expect("compiles");
    let plain = Compiled::new(executable.clone(), &Options::plain()).expect("compiles");
    let code = code_for_rbpf(&subject);
    let mut theirs = for_rbpf(&code);
    let mut machine = Machine::new();
    let mut best = [Duration::MAX; 4];
    let mut run = Invocation::new(KIND, 0, 0, &Clock);
    for _ in 0..ROUNDS {
        ring.round(&mut best[0], rewrites, |context| {
            run.context = address(context);
            // SAFETY: the samples are right.
            unsafe { blinded.run(&run) }.unwrap_or(0)
        });
        ring.round(&mut best[1], rewrites, |context| {
            run.context = address(context);
            // SAFETY: as above.
            unsafe { plain.run(&run) }.unwrap_or(0)
        });
        ring.round(&mut best[2], rewrites, |context| {
            run.context = address(context);
            // SAFETY: as above.
            unsafe { machine.run(executable, &run, &mut Unwatched) }.unwrap_or(0)
        });
        if let Some(vm) = &theirs {
            ring.round(&mut best[3], rewrites, |context| {
                let start = (&raw const *context).cast_mut().cast::<u8>();
                // SAFETY: rbpf wants bytes to write to; the programs only read them.
                let bytes = unsafe { std::slice::from_raw_parts_mut(start, size_of::<PacketContext>()) };
                // SAFETY: as above.
                unsafe { vm.execute_program_jit(bytes) }.unwrap_or(0)
            });
        }
    }
    // Asking the processor for its features can trap in a virtual machine.
    let options = Options::blinded(7);
    let mut buffer = vec![0; Plan::new(executable, &options).bytes_bound()];
    let compile = microseconds(|| {
        let plan = Plan::new(executable, &options);
        black_box(plan.emit(&mut buffer, blinded.address())).expect("fits");
    });
    let bind = microseconds(|| {
        black_box(bind(&subject.image, &subject.maps));
    });
    let their_compile = theirs.as_mut().map_or(f64::NAN, |vm| {
        microseconds(|| {
            black_box(vm.jit_compile()).expect("again");
        })
    });
    let [blinded_ns, plain_ns, interpreter, rbpf] = best.map(nanoseconds);
    println!(
        "{name:15} {:6} slots {:7} bytes | run {blinded_ns:7.2} plain {plain_ns:7.2} interpreter {interpreter:8.1} \
         rbpf {rbpf:7.2} ns | compile {compile:7.2} + decode and bind {bind:7.2}, rbpf {their_compile:7.2} us",
        subject.image.programs[0].slots.len(),
        blinded.bytes().len(),
    );
}

extern "sysv64" fn floor(_: u64, _: u64, _: u64) -> u64 {
    2
}

fn main() {
    let mut ring = ring();
    let call: extern "sysv64" fn(u64, u64, u64) -> u64 = black_box(floor);
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        ring.round(&mut best, false, |context| call(context.data, 0, 0));
    }
    println!("call through a pointer: {:.2} ns", nanoseconds(best));
    for name in ["pass", "port_filter", "nat", "round_robin", "rate_limiter", "string_matcher"] {
        measure(name, &uio_bpf_samples::object(name, Cpu::V3), &mut ring);
    }
    for rules in [10, 1000, 10_000] {
        measure(&format!("firewall {rules}"), &uio_bpf_samples::firewall(rules, Cpu::V3), &mut ring);
    }
}
