//! One program tried: verified, watched, run by every engine, and its proof made wrong.

use std::ops::AddAssign;

use uio_bpf::invocation::Stopped;
use uio_bpf::jit::Options as JitOptions;
use uio_protocol::bpf::ObjectImage;
use uio_verifier::analysis::{Options, analyse};
use uio_verifier::{Claims, Proof, distort};

use super::inputs::input;
use super::snapshot::{Contents, contents};
use super::source::Source;
use super::watch::{Counter, Witness};
use crate::peer::{Peer, unsupported};
use crate::run::{Bound, Contained, Input, Memory, Output, PrepareError, Replayed, Verified};

/// Instructions of one watched run. Accepted programs of the generator's size end earlier, by themselves or by fuel.
const STEPS: u64 = 5_000_000;
/// Steps of the analysis: a generated program that needs more is not worth it.
const ANALYSIS_STEPS: u64 = 20_000;

/// How much to do with each program.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Inputs for each accepted program.
    pub inputs: usize,
    /// Wrong proofs for each accepted program.
    pub proofs: usize,
    /// How many of the inputs go to the other engines, too.
    pub engine_inputs: usize,
}

impl Default for Effort {
    fn default() -> Self {
        Self { inputs: 4, proofs: 4, engine_inputs: 1 }
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Programs given to the verifier.
    pub programs: u64,
    /// Those that it accepted.
    pub accepted: u64,
    /// Those of them in which a loop needs fuel.
    pub fuelled: u64,
    /// Watched runs.
    pub runs: u64,
    /// Instructions at which a run was compared with the claims.
    pub instructions: u64,
    /// Runs in the plain interpreter and both forms of the JIT that were compared with the watched one.
    pub engine_runs: u64,
    /// Programs that the JIT gave up on.
    pub uncompiled: u64,
    /// Runs in rbpf, interpreter and JIT, that were compared with the watched one.
    pub peer_runs: u64,
    /// Proofs made wrong.
    pub proofs: u64,
    /// Those that the check still accepts, because what is left is a proof.
    pub proofs_accepted: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.programs += other.programs;
        self.accepted += other.accepted;
        self.fuelled += other.fuelled;
        self.runs += other.runs;
        self.instructions += other.instructions;
        self.engine_runs += other.engine_runs;
        self.uncompiled += other.uncompiled;
        self.peer_runs += other.peer_runs;
        self.proofs += other.proofs;
        self.proofs_accepted += other.proofs_accepted;
    }
}

/// A disagreement: a mistake in verifier or engines.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{what}\ninput {input:02x?}\nslots {}", slots(object))]
pub struct Finding {
    /// What disagrees.
    pub what: String,
    /// The program.
    pub object: Box<ObjectImage>,
    /// What it was called with, if it was, and the seed of the world that it ran in.
    pub input: Option<(Input, u64)>,
}

fn slots(object: &ObjectImage) -> String {
    let program = object.programs.first();
    let slots = program.map_or(&[][..], |program| &program.slots).iter();
    slots.map(|slot| format!("{slot:#018x}")).collect::<Vec<_>>().join(", ")
}

/// What a run ended in, for comparison.
#[derive(Debug, PartialEq, Eq)]
struct Ending {
    result: Result<u64, Stopped>,
    output: Output,
    maps: Vec<Contents>,
}

/// Tries program 0 of `object`. What it did is added to `counts`.
///
/// # Errors
///
/// [`Finding`]: the verifier or an engine is wrong.
pub fn trial(
    object: ObjectImage,
    source: &mut impl Source,
    effort: &Effort,
    counts: &mut Counts,
) -> Result<(), Box<Finding>> {
    counts.programs += 1;
    let options = Options { max_steps: ANALYSIS_STEPS, ..Options::default() };
    let Ok(analysis) = analyse(&object, 0, &options) else { return Ok(()) };
    let mut object = object;
    object.programs[0] = analysis.program;
    if matches!(Bound::new(&object, 0, &[]), Err(PrepareError::Bind(_) | PrepareError::Map { .. })) {
        // What cannot be reached was not analysed; loading looks at all of it.
        return Ok(());
    }
    counts.accepted += 1;
    let mut trial = Trial { object, counts };
    trial.accepted(&analysis.proof, source, effort)
}

/// As [`trial`], of a program that the analysis accepted already.
///
/// # Errors
///
/// As [`trial`].
pub fn trial_accepted(
    object: ObjectImage,
    proof: &Proof,
    source: &mut impl Source,
    effort: &Effort,
    counts: &mut Counts,
) -> Result<(), Box<Finding>> {
    counts.programs += 1;
    counts.accepted += 1;
    Trial { object, counts }.accepted(proof, source, effort)
}

/// Runs program 0 of `object` with one input in all engines, beside the claims.
///
/// # Errors
///
/// As [`trial`].
pub fn replay(object: &ObjectImage, input: &Input, seed: u64) -> Result<(), Box<Finding>> {
    let options = Options { max_steps: ANALYSIS_STEPS, ..Options::default() };
    let Ok(analysis) = analyse(object, 0, &options) else { return Ok(()) };
    let mut object = object.clone();
    object.programs[0] = analysis.program;
    if Bound::new(&object, 0, &[]).is_err() {
        return Ok(());
    }
    let mut trial = Trial { object, counts: &mut Counts::default() };
    let Ok(claims) = Claims::new(&trial.object, 0, &analysis.proof) else { return Ok(()) };
    let watched = trial.watched(&claims, input, seed)?;
    trial.engines(&analysis.proof, input, seed, &watched)
}

/// The finding with as many instructions as possible replaced by jumps to the next one, as long as anything is found.
/// A finding of a wrong proof may not be found again; then it stays as it is.
#[must_use]
pub fn shrink(finding: Box<Finding>) -> Box<Finding> {
    const NOTHING: u64 = 0x05;
    let Some((input, seed)) = finding.input.clone() else { return finding };
    let mut smallest = finding;
    let mut before = usize::MAX;
    loop {
        let slots = &smallest.object.programs[0].slots;
        let left = slots.iter().filter(|slot| **slot != NOTHING).count();
        if left >= before {
            return smallest;
        }
        before = left;
        for place in 0..slots.len() {
            for width in [2, 1] {
                let mut object = smallest.object.clone();
                let slots = &mut object.programs[0].slots;
                let Some(part) = slots.get_mut(place..place + width) else { continue };
                if part.iter().all(|slot| *slot == NOTHING) {
                    continue;
                }
                part.fill(NOTHING);
                if let Err(found) = replay(&object, &input, seed) {
                    smallest = found;
                }
            }
        }
    }
}

struct Trial<'a> {
    object: ObjectImage,
    counts: &'a mut Counts,
}

impl Trial<'_> {
    fn finding(&self, input: Option<(&Input, u64)>, what: String) -> Box<Finding> {
        let input = input.map(|(input, seed)| (input.clone(), seed));
        Box::new(Finding { what, object: Box::new(self.object.clone()), input })
    }

    fn accepted(
        &mut self,
        proof: &Proof,
        source: &mut impl Source,
        effort: &Effort,
    ) -> Result<(), Box<Finding>> {
        // What the guest gets. Equal sets of numbers may have other bounds after their way.
        let proof = &Proof::decode(&proof.encode())
            .map_err(|error| self.finding(None, format!("the proof does not survive encoding: {error}")))?;
        let claims = Claims::new(&self.object, 0, proof)
            .map_err(|error| self.finding(None, format!("the check refuses the analysis: {error}")))?;
        self.counts.fuelled += u64::from(!claims.checked().fuel.is_empty());
        let kind = self.object.programs[0].kind;
        let mut inputs = Vec::new();
        for number in 0..effort.inputs {
            let (input, seed) = (input(kind, source), source.next());
            let watched = self.watched(&claims, &input, seed)?;
            if number < effort.engine_inputs {
                self.engines(proof, &input, seed, &watched)?;
            }
            inputs.push((input, seed));
        }
        let bytes = proof.encode();
        for _ in 0..effort.proofs {
            self.counts.proofs += 1;
            let Some(wrong) = wrong(proof, &bytes, source) else { continue };
            let Ok(claims) = Claims::new(&self.object, 0, &wrong) else { continue };
            self.counts.proofs_accepted += 1;
            for (input, seed) in &inputs {
                self.watched(&claims, input, *seed)?;
            }
        }
        Ok(())
    }

    fn prepared<T>(&self, result: Result<T, PrepareError>) -> Result<T, Box<Finding>> {
        result.map_err(|error| self.finding(None, format!("an accepted program does not load: {error}")))
    }

    /// A run beside the claims.
    fn watched(&mut self, claims: &Claims, input: &Input, seed: u64) -> Result<Ending, Box<Finding>> {
        let bound = self.prepared(Bound::new(&self.object, 0, &claims.checked().fuel))?;
        let mut memory = Memory::new(self.object.programs[0].kind, input);
        let mut witness = Witness { claims, compared: 0 };
        let contained = bound.contain(&mut memory, &Replayed::new(seed), STEPS, &mut witness);
        self.counts.runs += 1;
        self.counts.instructions += witness.compared;
        let result = match contained {
            Contained::Ended(value) => Ok(value),
            Contained::Stopped(Stopped::Fuel) => Err(Stopped::Fuel),
            other => return Err(self.finding(Some((input, seed)), format!("an accepted program: {other:?}"))),
        };
        Ok(Ending { result, output: memory.output(), maps: contents(bound.maps()) })
    }

    /// The same run in all engines.
    fn engines(
        &mut self,
        proof: &Proof,
        input: &Input,
        seed: u64,
        watched: &Ending,
    ) -> Result<(), Box<Finding>> {
        let kind = self.object.programs[0].kind;
        let verified = || Verified::new(&self.object, 0, proof);
        let mut endings = Vec::new();
        let mut interpreted = self.prepared(verified())?;
        let mut memory = Memory::new(kind, input);
        let result = interpreted.interpret(&mut memory, &Replayed::new(seed));
        let maps = contents(interpreted.bound().maps());
        endings.push(("interpreter", Ending { result, output: memory.output(), maps }));
        let forms = [("JIT", JitOptions::plain()), ("JIT, blinded", JitOptions::blinded(seed))];
        for (name, options) in forms {
            let compiled = match verified().and_then(|verified| verified.compile(&options)) {
                Err(PrepareError::Emit(_)) => {
                    self.counts.uncompiled += 1;
                    continue;
                }
                compiled => compiled,
            };
            let mut compiled = self.prepared(compiled)?;
            let mut memory = Memory::new(kind, input);
            let result = compiled.run(&mut memory, &Replayed::new(seed));
            let maps = contents(compiled.bound().maps());
            endings.push((name, Ending { result, output: memory.output(), maps }));
        }
        self.counts.engine_runs += endings.len() as u64;
        for (name, compile) in [("rbpf's interpreter", false), ("rbpf's JIT", true)] {
            if unsupported(interpreted.bound(), compile).is_some() {
                continue;
            }
            let mut peer = self.prepared(verified().and_then(|verified| Peer::new(verified, compile)))?;
            let mut memory = Memory::new(kind, input);
            let result = peer.run(&mut memory, &Replayed::new(seed)).ok_or(Stopped::Refused);
            let maps = contents(peer.bound().maps());
            endings.push((name, Ending { result, output: memory.output(), maps }));
            self.counts.peer_runs += 1;
        }
        for (name, ending) in &endings {
            if ending != watched {
                return Err(self.finding(Some((input, seed)), differ(name, ending, watched)));
            }
        }
        Ok(())
    }
}

/// In what an ending differs from that of the watched run.
fn differ(name: &str, ending: &Ending, watched: &Ending) -> String {
    if ending.result != watched.result {
        return format!("{name} gives {:x?}, the watched run {:x?}", ending.result, watched.result);
    }
    if ending.output != watched.output {
        return format!("{name} leaves {:x?}, the watched run {:x?}", ending.output, watched.output);
    }
    let maps = ending.maps.iter().zip(&watched.maps).enumerate().find(|(_, (one, other))| one != other);
    match maps {
        Some((index, (one, other))) => {
            format!("{name} leaves in map {index} {one:x?}, the watched run {other:x?}")
        }
        None => format!("{name} leaves other maps"),
    }
}

/// A wrong proof: facts changed, or bits of its bytes; `None` if those do not decode.
fn wrong(proof: &Proof, bytes: &[u8], source: &mut impl Source) -> Option<Proof> {
    if bytes.is_empty() || source.chance(65) {
        let mut wrong = proof.clone();
        for _ in 0..source.pick(&[1, 1, 1, 2, 4]) {
            wrong = distort(&wrong, &mut |limit| source.below(limit.max(1)));
        }
        return Some(wrong);
    }
    let mut bytes = bytes.to_vec();
    match source.below(4) {
        0 => bytes.truncate(source.below(bytes.len())),
        1 => {
            let (one, other) = (source.below(bytes.len()), source.below(bytes.len()));
            bytes.swap(one, other);
        }
        2 => {
            let index = source.below(bytes.len());
            bytes[index] = source.next() as u8;
        }
        _ => {
            let index = source.below(bytes.len());
            bytes[index] ^= 1 << source.below(8);
        }
    }
    Proof::decode(&bytes).ok()
}

/// Runs an object's program 0, whatever it is, contained: for programs that nobody accepts.
#[must_use]
pub fn contain(object: &ObjectImage, input: &Input, seed: u64) -> Option<Contained> {
    let bound = Bound::new(object, 0, &[]).ok()?;
    let mut memory = Memory::new(object.programs[0].kind, input);
    Some(bound.contain(&mut memory, &Replayed::new(seed), STEPS, &mut Counter(0)))
}
