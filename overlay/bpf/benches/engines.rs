//! Nanoseconds a run on 64-byte packets in a ring of 256, and microseconds to compile, against rbpf. Minima of
//! interleaved rounds: `cargo bench -p uio-bpf --bench engines`.

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use uio_bpf::instruction::decode;
use uio_bpf::interpreter::{Machine, Unwatched};
use uio_bpf::invocation::Invocation;
use uio_bpf::jit::native::Compiled;
use uio_bpf::jit::{Options, Plan};
use uio_bpf::program::{Executable, Parts, functions_of};
use uio_protocol::bpf::ProgramKind;

const RING: usize = 256;
const PACKET_BYTES: usize = 64;
const ROUNDS: usize = 300;

#[derive(Clone, Copy)]
#[repr(C)]
struct Context {
    data: u64,
    data_end: u64,
    port: u32,
    queue: u32,
}

struct Ring {
    _packets: Vec<[u8; PACKET_BYTES]>,
    contexts: Vec<Context>,
}

/// UDP packets to ports from 1,000 on.
fn ring() -> Ring {
    let mut packets = vec![[0_u8; PACKET_BYTES]; RING];
    for (index, packet) in packets.iter_mut().enumerate() {
        packet[12..14].copy_from_slice(&[8, 0]);
        packet[14] = 0x45;
        packet[23] = 17;
        packet[36..38].copy_from_slice(&(1000 + index as u16 * 37).to_be_bytes());
    }
    let contexts = packets
        .iter_mut()
        .map(|packet| {
            let data = packet.as_mut_ptr().expose_provenance() as u64;
            Context { data, data_end: data + PACKET_BYTES as u64, port: 0, queue: 0 }
        })
        .collect();
    Ring { _packets: packets, contexts }
}

fn slots_of(hex: &str) -> Vec<u64> {
    hex.split_whitespace()
        .map(|slot| u64::from_str_radix(slot, 16).expect("hexadecimal").swap_bytes())
        .collect()
}

/// What clang makes of a switch over `rules` ports, of which every other passes: a binary search.
fn firewall(rules: u32) -> Vec<u64> {
    let head = "
        ldxdw %r2, [%r1+8]
        ldxdw %r1, [%r1]
        mov %r3, %r1
        add %r3, 38
        mov32 %r0, 1
        jgt %r3, %r2, exit
        ldxh %r2, [%r1+12]
        jne32 %r2, 8, exit
        ldxb %r2, [%r1+14]
        jne32 %r2, 0x45, exit
        ldxb %r2, [%r1+23]
        jeq32 %r2, 17, search
        jne32 %r2, 6, exit
        search:
        ldxh %r1, [%r1+36]
        be16 %r1
        mov32 %r0, 2
        ";
    let mut text = String::from(head);
    let mut pending = vec![(0, rules, String::from("root"))];
    while let Some((from, to, label)) = pending.pop() {
        text.push_str(&format!("{label}:\n"));
        if to - from > 3 {
            let middle = (from + to) / 2;
            let (left, right) = (format!("s{from}_{middle}"), format!("s{middle}_{to}"));
            text.push_str(&format!("jsgt32 %r1, {}, {right}\n", 1000 + middle - 1));
            pending.push((middle, to, right));
            pending.push((from, middle, left));
        } else {
            for rule in from..to {
                let out = if rule % 2 == 0 { "exit" } else { "drop" };
                text.push_str(&format!("jeq32 %r1, {}, {out}{}\n", 1000 + rule, rule / 10_000));
            }
            text.push_str(if rules > 1000 { "ja32 drop\n" } else { "ja drop\n" });
        }
    }
    // Ends in reach of 16-bit jumps.
    let text = text.replace("exit0", "exit").replace("drop0", "drop");
    support::assemble(&format!("{text}drop:\nmov32 %r0, 1\nexit:\nexit\n"))
}

fn bind(slots: &[u64]) -> Executable {
    let operations = decode(slots).expect("decodes");
    let functions = functions_of(&operations);
    Executable::new(Parts {
        kind: ProgramKind::Packet,
        operations,
        functions,
        maps: Vec::new(),
        helpers: support::HELPERS,
        fuelled: Vec::new(),
    })
    .expect("binds")
}

/// The shortest time of one call among rounds over the ring.
fn per_run(best: &mut Duration, ring: &Ring, mut run: impl FnMut(&Context) -> u64) {
    let start = Instant::now();
    let mut sum = 0;
    for context in &ring.contexts {
        sum += run(context);
    }
    black_box(sum);
    *best = (*best).min(start.elapsed());
}

fn nanoseconds(best: Duration) -> f64 {
    best.as_nanos() as f64 / RING as f64
}

fn microseconds(mut run: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..50 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed());
    }
    best.as_nanos() as f64 / 1000.0
}

fn measure(name: &str, slots: &[u64], ring: &Ring) {
    let executable = bind(slots);
    let blinded = Compiled::new(executable.clone(), &Options::blinded(7)).expect("compiles");
    let plain = Compiled::new(executable.clone(), &Options::plain()).expect("compiles");
    let code: Vec<u8> = slots.iter().flat_map(|slot| slot.to_le_bytes()).collect();
    let trivial = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];
    // rbpf reserves one page for its code.
    let fits = code.len() < 400 * 8;
    let mut theirs = rbpf::EbpfVmRaw::new(Some(if fits { &code } else { &trivial })).expect("rbpf takes it");
    let has_jit = fits && theirs.jit_compile().is_ok();
    let mut machine = Machine::new();
    let mut best = [Duration::MAX; 5];
    let mut invocation = Invocation::new(ProgramKind::Packet, 0, 0, &support::Quiet);
    for _ in 0..ROUNDS {
        per_run(&mut best[0], ring, |context| {
            invocation.context = (&raw const *context).expose_provenance() as u64;
            // SAFETY: the programs stay inside packets.
            unsafe { blinded.run(&invocation) }.unwrap_or(0)
        });
        per_run(&mut best[1], ring, |context| {
            invocation.context = (&raw const *context).expose_provenance() as u64;
            // SAFETY: as above.
            unsafe { plain.run(&invocation) }.unwrap_or(0)
        });
        per_run(&mut best[2], ring, |context| {
            invocation.context = (&raw const *context).expose_provenance() as u64;
            // SAFETY: as above.
            unsafe { machine.run(&executable, &invocation, &mut Unwatched) }.unwrap_or(0)
        });
        if fits {
            per_run(&mut best[4], ring, |context| {
                // SAFETY: rbpf wants bytes to write to; the programs only read.
                let bytes = unsafe {
                    std::slice::from_raw_parts_mut((&raw const *context).cast_mut().cast::<u8>(), 24)
                };
                theirs.execute_program(bytes).unwrap_or(0)
            });
        }
        if has_jit {
            per_run(&mut best[3], ring, |context| {
                // SAFETY: rbpf wants bytes to write to; the programs only read.
                let bytes = unsafe {
                    std::slice::from_raw_parts_mut((&raw const *context).cast_mut().cast::<u8>(), 24)
                };
                // SAFETY: as above.
                unsafe { theirs.execute_program_jit(bytes) }.unwrap_or(0)
            });
        }
    }
    let size = blinded.bytes().len();
    // Asking the processor for its features can trap in a virtual machine.
    let options = Options::blinded(7);
    let mut buffer = vec![0; Plan::new(&executable, &options).bytes_bound()];
    let compile = microseconds(|| {
        let plan = Plan::new(&executable, &options);
        black_box(plan.emit(&mut buffer, blinded.address())).expect("fits");
    });
    let plan_only = microseconds(|| {
        black_box(Plan::new(&executable, &options));
    });
    let load = microseconds(|| {
        black_box(bind(slots));
    });
    let rbpf_compile = if has_jit {
        microseconds(|| {
            theirs.jit_compile().expect("again");
        })
    } else {
        f64::NAN
    };
    let [blinded, plain, interpreter, rbpf, rbpf_interpreter] =
        best.map(|best| if best == Duration::MAX { f64::NAN } else { nanoseconds(best) });
    println!(
        "{name:18} {:6} slots {size:7} bytes | run {blinded:7.2} plain {plain:7.2} interpreter {interpreter:8.1} \
         rbpf {rbpf:7.2} its interpreter {rbpf_interpreter:8.1} ns | compile {compile:8.2} (plan {plan_only:7.2}) bind {load:8.2} rbpf {rbpf_compile:8.2} us",
        slots.len()
    );
}

extern "sysv64" fn floor(_: u64, _: u64, _: u64) -> u64 {
    2
}

fn main() {
    let ring = ring();
    let call: extern "sysv64" fn(u64, u64, u64) -> u64 = black_box(floor);
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        per_run(&mut best, &ring, |context| call(context.data, 0, 0));
    }
    println!("call through a pointer: {:.2} ns", nanoseconds(best));
    measure("pass", &support::assemble("mov32 %r0, 2\nexit"), &ring);
    measure("port filter", &slots_of(include_str!("programs/port_filter.hex")), &ring);
    measure("string matcher", &slots_of(include_str!("programs/string_matcher.hex")), &ring);
    for rules in [10, 1000, 10_000] {
        measure(&format!("firewall {rules}"), &firewall(rules), &ring);
    }
}
