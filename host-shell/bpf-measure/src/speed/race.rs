//! Rounds over rings of inputs.

use std::hint::black_box;
use std::time::Instant;

use uio_bpf::invocation::Invocation;
use uio_bpf::program::{TAIL_CALL, call};
use uio_protocol::bpf::ProgramKind;

use crate::peer::Peer;
use crate::run::{Bound, Clock, Compiled, Input, Memory, Verified};

/// Times over the ring in one round.
const PASSES: usize = 64;

/// An engine with a program in it.
enum Engine {
    Compiled(Compiled),
    Interpreted(Verified),
    Peer(Peer),
}

/// A program in one engine, with its own maps and inputs.
pub struct Contestant {
    name: &'static str,
    engine: Engine,
    ring: Vec<Memory>,
    /// Whether runs change their invocation, so that it is made ready again each time.
    resets: bool,
}

/// What rounds took, in nanoseconds a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Times {
    /// The fastest round.
    pub minimum_ns: f64,
    /// The round in the middle.
    pub median_ns: f64,
}

impl Contestant {
    fn new(name: &'static str, engine: Engine, kind: ProgramKind, inputs: &[Input]) -> Self {
        let ring = inputs.iter().map(|input| Memory::new(kind, input)).collect();
        let mut this = Self { name, engine, ring, resets: false };
        let executable = this.bound().executable();
        this.resets = executable.has_fuelled() || calls_tail(this.bound());
        this
    }

    /// Our JIT.
    #[must_use]
    pub fn compiled(program: Compiled, inputs: &[Input]) -> Self {
        let kind = program.bound().executable().kind();
        Self::new("JIT", Engine::Compiled(program), kind, inputs)
    }

    /// Our interpreter.
    #[must_use]
    pub fn interpreted(program: Verified, inputs: &[Input]) -> Self {
        let kind = program.bound().executable().kind();
        Self::new("interpreter", Engine::Interpreted(program), kind, inputs)
    }

    /// rbpf, either way.
    #[must_use]
    pub fn peer(program: Peer, inputs: &[Input]) -> Self {
        let kind = program.bound().executable().kind();
        Self::new("rbpf", Engine::Peer(program), kind, inputs)
    }

    /// What it is.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The program with its maps, to fill them.
    #[must_use]
    pub const fn bound(&self) -> &Bound {
        match &self.engine {
            Engine::Compiled(program) => program.bound(),
            Engine::Interpreted(program) => program.bound(),
            Engine::Peer(program) => program.bound(),
        }
    }

    /// Runs every input once; results, for comparison between contestants. `None` where the engine gave up.
    pub fn results(&mut self) -> Vec<Option<u64>> {
        let mut results = Vec::with_capacity(self.ring.len());
        self.pass(|result| results.push(result));
        results
    }

    /// One round; nanoseconds a run.
    fn round(&mut self) -> f64 {
        let runs = self.ring.len() * PASSES;
        let invocations = self.invocations();
        let start = Instant::now();
        let mut sum = 0u64;
        for _ in 0..PASSES {
            self.pass_with(&invocations, |result| sum = sum.wrapping_add(result.unwrap_or(0)));
        }
        let time = start.elapsed();
        black_box(sum);
        time.as_nanos() as f64 / runs.max(1) as f64
    }

    fn invocations(&self) -> Vec<(Invocation<'static>, u64)> {
        let prepare = |memory: &Memory| {
            let (first, second) = memory.arguments();
            let context = memory.context();
            (Invocation::new(memory.kind(), first, second, &Clock), context.end - context.start)
        };
        self.ring.iter().map(prepare).collect()
    }

    fn pass(&mut self, each: impl FnMut(Option<u64>)) {
        let invocations = self.invocations();
        self.pass_with(&invocations, each);
    }

    #[inline]
    fn pass_with(&mut self, invocations: &[(Invocation<'static>, u64)], mut each: impl FnMut(Option<u64>)) {
        let resets = self.resets;
        let ready = |invocation: &Invocation<'_>| {
            if resets {
                invocation.again();
            }
        };
        match &mut self.engine {
            Engine::Compiled(program) => {
                let entry = program.entry();
                for (invocation, _) in invocations {
                    ready(invocation);
                    // SAFETY: the program passed the check for contexts of the ring's kind; the invocation was made for an
                    // input of this ring, which is this contestant's alone.
                    each(unsafe { call(entry, invocation) }.ok());
                }
            }
            Engine::Interpreted(program) => {
                for (invocation, _) in invocations {
                    ready(invocation);
                    // SAFETY: as above.
                    each(unsafe { program.interpret_with(invocation) }.ok());
                }
            }
            Engine::Peer(program) => {
                for (invocation, length) in invocations {
                    ready(invocation);
                    // SAFETY: as above; the length is that of the context.
                    each(unsafe { program.run_with(invocation, *length) });
                }
            }
        }
    }
}

fn calls_tail(bound: &Bound) -> bool {
    use uio_bpf::instruction::{Callee, Operation};
    let mut operations = bound.executable().operations().iter();
    operations.any(|(_, operation)| operation == Operation::Call(Callee::Helper(TAIL_CALL)))
}

/// Lets the contestants run in turns, `rounds` rounds each.
pub fn race(contestants: &mut [Contestant], rounds: usize) -> Vec<Times> {
    let mut times = vec![Vec::with_capacity(rounds); contestants.len()];
    for contestant in contestants.iter_mut() {
        contestant.round();
    }
    for _ in 0..rounds.max(1) {
        for (contestant, times) in contestants.iter_mut().zip(&mut times) {
            times.push(contestant.round());
        }
    }
    times.into_iter().map(of).collect()
}

fn of(mut rounds: Vec<f64>) -> Times {
    rounds.sort_by(f64::total_cmp);
    Times { minimum_ns: rounds[0], median_ns: rounds[rounds.len() / 2] }
}

/// What the loop and a call cost that does nothing: as [`race`], of a function that returns a number.
#[must_use]
pub fn floor(rounds: usize, runs: usize) -> Times {
    type Function = extern "sysv64" fn(u64, u64, *const Invocation<'_>) -> u64;
    extern "sysv64" fn nothing(_: u64, _: u64, _: *const Invocation<'_>) -> u64 {
        2
    }
    let function: Function = black_box(nothing);
    let ring: Vec<Invocation<'static>> =
        (0..runs).map(|context| Invocation::new(ProgramKind::Packet, context as u64, 0, &Clock)).collect();
    let round = |_| {
        let start = Instant::now();
        let mut sum = 0u64;
        for _ in 0..PASSES {
            for invocation in &ring {
                sum = sum.wrapping_add(black_box(function)(invocation.context, 0, invocation));
            }
        }
        black_box(sum);
        start.elapsed().as_nanos() as f64 / (runs * PASSES).max(1) as f64
    };
    of((0..rounds.max(1)).map(round).collect())
}
