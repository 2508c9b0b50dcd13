//! Programs to measure: samples, compiled and analysed, and one that is as long as one likes.

use uio_bpf_measure::run::Verified;
use uio_bpf_objects::{ContextLayout as CompiledFor, parse};
use uio_protocol::bpf::{ObjectImage, ProgramImage, ProgramKind};
use uio_verifier::Proof;
use uio_verifier::analysis::{ContextLayout, Options, analyse};

use crate::bench::error::BenchError;

/// A program that was accepted: the object holds it alone.
pub(super) struct Accepted {
    pub(super) object: ObjectImage,
    pub(super) proof: Proof,
}

/// A program as it was compiled.
pub(super) struct Compiled {
    pub(super) name: String,
    pub(super) object: ObjectImage,
    pub(super) options: Options,
}

fn malformed(what: &'static str, found: &impl ToString) -> BenchError {
    BenchError::Malformed { what, found: found.to_string() }
}

/// All programs of the object `bytes`, each in an object of its own.
pub(super) fn programs(bytes: &[u8], name: &str) -> Result<Vec<Compiled>, BenchError> {
    let parsed = parse(bytes, name).map_err(|error| malformed("an object", &error))?;
    let alone = |(index, program): (usize, &ProgramImage)| {
        let mut object = parsed.image.clone();
        object.programs = vec![program.clone()];
        let layout = parsed.source.programs.get(index).map(|program| program.layout);
        let context = match layout {
            Some(CompiledFor::LinuxXdp) => ContextLayout::LinuxXdp,
            Some(CompiledFor::Native) | None => ContextLayout::Native,
        };
        Compiled { name: program.name.clone(), object, options: Options { context, ..Options::default() } }
    };
    Ok(parsed.image.programs.iter().enumerate().map(alone).collect())
}

/// The first program of the object `bytes`.
pub(super) fn first(bytes: &[u8], name: &str) -> Result<Compiled, BenchError> {
    programs(bytes, name)?.into_iter().next().ok_or_else(|| malformed("an object", &"no program"))
}

impl Compiled {
    /// Analyses it.
    pub(super) fn accept(&self) -> Result<Accepted, BenchError> {
        let analysis = analyse(&self.object, 0, &self.options)
            .map_err(|rejection| malformed("a sample program", &format!("{}: {rejection}", self.name)))?;
        let mut object = self.object.clone();
        object.programs = vec![analysis.program];
        Ok(Accepted { object, proof: analysis.proof })
    }

    /// Its length.
    pub(super) fn slots(&self) -> usize {
        self.object.programs.first().map_or(0, |program| program.slots.len())
    }
}

impl Accepted {
    /// Checked and bound to fresh maps.
    pub(super) fn verified(&self) -> Result<Verified, BenchError> {
        Verified::new(&self.object, 0, &self.proof).map_err(|error| malformed("an accepted program", &error))
    }
}

/// A packet program of `slots` instructions or a few less: it checks the packet's length, then does small pieces of work
/// again and again, each with an index, two ways that meet, and a spilled number.
pub(super) fn generated(slots: usize) -> Compiled {
    let start: [u64; 8] = [
        0x0000_0000_0000_1779, // r7 = packet
        0x0000_0000_0008_1879, // r8 = its end
        0x0000_0000_0000_71bf, // r1 = r7
        0x0000_0010_0000_0107, // r1 += 16
        0x0000_0000_0000_00b7, // r0 = 0
        0x0000_0000_0001_81bd, // within the packet: go on
        0x0000_0000_0000_0095, // exit
        0x0000_0000_fff8_0a7b, // [r10 - 8] = r0
    ];
    let piece: [u64; 10] = [
        0x0000_0000_0003_7271, // r2 = byte 3
        0x0000_0007_0000_0257, // r2 &= 7
        0x0000_0000_0000_73bf, // r3 = r7
        0x0000_0000_0000_230f, // r3 += r2
        0x0000_0000_0004_3471, // r4 = byte r2 + 4
        0x0000_0011_0002_0425, // r4 > 17: the other way
        0x0000_0000_0000_400f, // r0 += r4
        0x0000_0000_0001_0005, // meet
        0x0000_0000_0000_40af, // r0 ^= r4
        0x0000_0000_fff8_0a7b, // [r10 - 8] = r0
    ];
    let end: [u64; 2] = [0x0000_0000_0000_00b7, 0x0000_0000_0000_0095];
    let mut all = start.to_vec();
    while all.len() + piece.len() + end.len() <= slots {
        all.extend(piece);
    }
    all.extend(end);
    let program = ProgramImage {
        name: format!("generated_{slots}"),
        kind: ProgramKind::Packet,
        target: String::new(),
        slots: all,
        functions: vec![0],
    };
    let object = ObjectImage { name: "generated".into(), maps: Vec::new(), programs: vec![program] };
    Compiled { name: format!("generated_{slots}"), object, options: Options::default() }
}
