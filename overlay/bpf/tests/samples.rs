//! The sample network functions behave alike in the interpreter and compiled, over packets that change and maps that keep
//! state.

mod support;

use std::sync::Arc;

use support::{Quiet, all_options};
use uio_bpf::context::PacketContext;
use uio_bpf::helper::FUNCTIONS;
use uio_bpf::instruction::decode;
use uio_bpf::interpreter::{Machine, Unwatched};
use uio_bpf::invocation::{Invocation, Stopped};
use uio_bpf::map::Map;
use uio_bpf::program::{Executable, Parts};
use uio_bpf_objects::linux_context;
use uio_bpf_samples::Cpu;
use uio_protocol::bpf::{ObjectImage, ProgramKind};

/// Room in front of each packet, and behind.
const ROOM_BYTES: usize = 64;
const PACKET_BYTES: usize = 96;
const PACKETS: usize = 64;

type Buffer = [u8; PACKET_BYTES + 2 * ROOM_BYTES];

/// Packets of several kinds, some to a port that samples look for, some with text in them.
fn packet(index: usize) -> Buffer {
    let mut buffer = [0; PACKET_BYTES + 2 * ROOM_BYTES];
    let packet = &mut buffer[ROOM_BYTES..][..PACKET_BYTES];
    for (place, byte) in packet.iter_mut().enumerate() {
        *byte = (place * 7 + index * 13) as u8;
    }
    packet[12..14].copy_from_slice(if index % 9 == 8 { &[0x81, 0] } else { &[8, 0] });
    packet[14] = 0x45;
    packet[20..22].fill(0);
    packet[23] = [17, 6, 1][index % 3];
    packet[26..30].copy_from_slice(&[10, 0, 0, (index % 5) as u8]);
    packet[30..34].copy_from_slice(&[192, 0, 2, 1]);
    let port: u16 = [12345, 53, 80, 1002][index % 4];
    packet[36..38].copy_from_slice(&port.to_be_bytes());
    if index % 7 == 3 {
        packet[50..58].copy_from_slice(b"leetcode");
    }
    buffer
}

/// Result, memory, start and end of the packet in it.
type Outcome = (Result<u64, Stopped>, Buffer, u64, u64);

/// What a program made of the packets, one after the other, with maps of its own.
fn outcome(
    image: &ObjectImage,
    program: usize,
    mut run: impl FnMut(&Executable, &Invocation<'_>) -> Result<u64, Stopped>,
) -> Option<Vec<Outcome>> {
    let maps: Option<Vec<Arc<Map>>> = image
        .maps
        .iter()
        .map(|spec| {
            let inner = spec.inner.and_then(|inner| image.maps.get(inner as usize));
            Map::new(spec, inner, 1).ok()
        })
        .collect();
    let program = &image.programs[program];
    let parts = Parts {
        kind: program.kind,
        operations: decode(&program.slots).expect("decodes"),
        functions: program.functions.clone(),
        maps: maps?.iter().map(Map::binding).collect(),
        helpers: FUNCTIONS,
        fuelled: Vec::new(),
    };
    let executable = Executable::new(parts).expect("binds");
    let outcomes = (0..PACKETS).map(|index| {
        let mut buffer = packet(index);
        let head = buffer.as_mut_ptr().expose_provenance() as u64;
        let data = head + ROOM_BYTES as u64;
        let data_end = data + PACKET_BYTES as u64;
        let tail = data_end + ROOM_BYTES as u64;
        let mut context = PacketContext { data, data_end, port: 1, queue: 0, data_meta: data, head, tail };
        let address = (&raw mut context).expose_provenance() as u64;
        let result = run(&executable, &Invocation::new(program.kind, address, 0, &Quiet));
        (result, buffer, context.data - head, context.data_end - head)
    });
    Some(outcomes.collect())
}

#[test]
fn samples_behave_alike_in_all_engines() {
    let mut programs = 0;
    for name in uio_bpf_samples::samples() {
        for cpu in Cpu::COMMON {
            let mut parsed =
                uio_bpf_objects::parse(&uio_bpf_samples::object(&name, cpu), &name).expect("an object");
            linux_context::convert(&mut parsed).expect("contexts");
            for (index, program) in parsed.image.programs.iter().enumerate() {
                if program.kind != ProgramKind::Packet {
                    continue;
                }
                let expected = outcome(&parsed.image, index, |executable, run| {
                    // SAFETY: the samples are right.
                    unsafe { Machine::new().run(executable, run, &mut Unwatched) }
                });
                let Some(expected) = expected else { panic!("{name} has maps that cannot be made") };
                for options in all_options() {
                    let compiled = outcome(&parsed.image, index, |executable, run| {
                        // SAFETY: as above.
                        unsafe { support::compile(executable, &options).run(run) }
                    });
                    assert!(
                        compiled.as_ref() == Some(&expected),
                        "{name} {} {cpu:?} {options:?}",
                        program.name
                    );
                }
                programs += 1;
            }
        }
    }
    assert!(programs >= 3 * 10, "{programs}");
}
