//! Verification engines: independent programs that each say whether a program is safe, and why not.

mod prevail;
mod uio;

use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use uio_protocol::bpf::ProgramImage;
pub use uio_verifier::analysis::{ContextLayout, SourceLine};

pub use self::prevail::Prevail;
pub use self::uio::Uio;
use crate::report::{Judgement, Rejected};
use crate::subject::Subject;

/// An engine by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineName {
    /// PREVAIL: abstract interpretation over zones, by others and of other design.
    Prevail,
    /// Ours, which also finds the proof that the guest checks.
    Uio,
}

/// Which engines have to accept. Ascending, none twice, at least one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Engines(Vec<EngineName>);

/// Why a text names no engines.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no engine: there are uio and prevail, separated by a comma")]
pub struct BadEngines(String);

/// What engines may spend and accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Instructions that uio's analysis may visit.
    pub max_steps: u64,
    /// Whether loops without a proven bound are accepted, and ended by fuel when they run.
    pub fuel: bool,
    /// Whether to keep the state before every instruction, for `-v`.
    pub keep_states: bool,
}

/// What an engine found out about a program that is safe.
#[derive(Clone, Debug, Default)]
pub struct Acceptance {
    /// The program as it is to be loaded, if it differs in anything from the one given.
    pub program: Option<ProgramImage>,
    /// The proof for it.
    pub proof: Option<Vec<u8>>,
    /// Most bytes of stack.
    pub stack_bytes: Option<u32>,
    /// Backward jumps that need fuel.
    pub fuel_jumps: Vec<u32>,
    /// States before instructions, with [`Options::keep_states`].
    pub states: Vec<(u32, String)>,
}

/// One that judges programs.
pub trait Engine {
    /// Which it is.
    fn name(&self) -> EngineName;

    /// Its version, as certificates name it.
    fn version(&self) -> &'static str;

    /// Judges program number `program` of `subject`.
    ///
    /// # Errors
    ///
    /// Where and why it is not safe, or cannot be shown to be.
    fn judge(
        &self,
        subject: &Subject,
        program: usize,
        options: &Options,
    ) -> Result<Acceptance, Box<Rejected>>;
}

impl Default for Options {
    /// As [`uio_verifier::analysis::Options`].
    fn default() -> Self {
        let analysis = uio_verifier::analysis::Options::default();
        Self { max_steps: analysis.max_steps, fuel: analysis.fuel, keep_states: false }
    }
}

impl EngineName {
    const ALL: [Self; 2] = [Self::Prevail, Self::Uio];

    /// Name in certificates and on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Prevail => "prevail",
            Self::Uio => "uio",
        }
    }

    /// The engine.
    #[must_use]
    pub fn engine(self) -> &'static dyn Engine {
        match self {
            Self::Prevail => &Prevail,
            Self::Uio => &Uio,
        }
    }
}

impl Engines {
    /// The engines.
    #[must_use]
    pub fn names(&self) -> &[EngineName] {
        &self.0
    }

    /// Whether `engine` is one of them.
    #[must_use]
    pub fn contains(&self, engine: EngineName) -> bool {
        self.0.contains(&engine)
    }
}

impl Default for Engines {
    /// All.
    fn default() -> Self {
        Self(EngineName::ALL.to_vec())
    }
}

impl FromStr for Engines {
    type Err = BadEngines;

    fn from_str(text: &str) -> Result<Self, BadEngines> {
        let find = |word: &str| EngineName::ALL.into_iter().find(|engine| engine.name() == word);
        let mut names = text
            .split(',')
            .map(|word| find(word.trim()).ok_or_else(|| BadEngines(word.trim().to_owned())))
            .collect::<Result<Vec<_>, _>>()?;
        names.sort_unstable();
        names.dedup();
        Ok(Self(names))
    }
}

impl fmt::Display for EngineName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}

impl fmt::Display for Engines {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|engine| engine.name()).collect();
        out.write_str(&names.join(","))
    }
}

/// Lets `engine` judge, and notes how long it took.
pub(crate) fn judge(
    engine: EngineName,
    subject: &Subject,
    program: usize,
    options: &Options,
) -> (Judgement, Option<Acceptance>) {
    let engine = engine.engine();
    let start = Instant::now();
    let result = engine.judge(subject, program, options);
    let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    let mut judgement = Judgement {
        engine: engine.name(),
        version: engine.version().to_owned(),
        accepted: result.is_ok(),
        micros,
        proof_bytes: None,
        stack_bytes: None,
        fuel_jumps: Vec::new(),
        rejected: None,
        states: Vec::new(),
    };
    match result {
        Ok(mut acceptance) => {
            judgement.proof_bytes = acceptance.proof.as_ref().map(|proof| proof.len() as u64);
            judgement.stack_bytes = acceptance.stack_bytes;
            judgement.fuel_jumps.clone_from(&acceptance.fuel_jumps);
            judgement.states = std::mem::take(&mut acceptance.states);
            (judgement, Some(acceptance))
        }
        Err(rejected) => {
            judgement.rejected = Some(*rejected);
            (judgement, None)
        }
    }
}
