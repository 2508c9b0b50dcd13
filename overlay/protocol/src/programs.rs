//! eBPF programs in a guest: what is loaded, how it is run for a test, why it was refused.
//!
//! A load carries a package: a certificate if there is one, the object's bytes and a proof for each program.
//! `uio-verifier` lays it out and checks it; here are the requests about what came of it.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::GuestAddress;
use crate::bpf::{MapKind, ProgramKind};
use crate::maps::{MapId, SchemaField};

/// Names a loaded program. Not used again while the guest lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ProgramId(pub u32);

/// What executes a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Engine {
    /// Machine code, made when the program was loaded.
    Jit,
    /// Instruction by instruction.
    Interpreter,
}

/// A loaded program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProgramInfo {
    /// Its number.
    pub id: ProgramId,
    /// Its name: of its entry function, or as given at the load.
    pub name: String,
    /// Name of the object that it came in.
    pub object: String,
    /// SHA-256 of the object's bytes: what a certificate names.
    pub digest: [u8; 32],
    /// What it is called with.
    pub kind: ProgramKind,
    /// What its section says to attach it to; may be empty.
    pub target: String,
    /// What executes it.
    pub engine: Engine,
    /// Who signed for it; `None` without a certificate.
    pub signed: Option<SignedInfo>,
    /// Instruction slots.
    pub slots: u32,
    /// Bytes of its proof.
    pub proof_bytes: u32,
    /// Machine code: where, and how many bytes; zeros for the interpreter.
    pub code: GuestAddress,
    /// See [`Self::code`].
    pub code_bytes: u32,
    /// Whether it has a loop without an argument that it ends, so that its runs are bounded by fuel.
    pub fuel: bool,
    /// Memory that it holds, in bytes: instructions, proof, code; maps not counted.
    pub memory_bytes: u64,
    /// Maps that it uses, in the order of the object.
    pub maps: Vec<MapId>,
    /// When it was loaded, nanoseconds since boot.
    pub loaded_ns: u64,
    /// Runs under way.
    pub running: u32,
    /// Runs that have ended. Those of tests are always counted.
    pub run_count: u64,
    /// Time that they took, in nanoseconds.
    pub run_time_ns: u64,
    /// Runs that the guest ended: faults, budget, fuel.
    pub faults: u32,
}

/// What a certificate said of a program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedInfo {
    /// Whose program it is.
    pub tenant: String,
    /// Its version; lower ones are refused from now on.
    pub generation: u64,
    /// Number of the key that signed, as the guest's policy knows it.
    pub key_id: Vec<u8>,
    /// Until when it may be loaded, seconds since 1970.
    pub expires_s: u64,
}

/// What `ProgramDump` shows of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProgramPart {
    /// Its instruction slots as the guest checked them, little-endian.
    Instructions,
    /// Its machine code.
    Code,
    /// Where in it the code of each slot starts: a number of 4 bytes a slot, little-endian.
    CodeOffsets,
    /// Its proof.
    Proof,
}

/// How a test run went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestRun {
    /// What the last run returned.
    pub value: u64,
    /// The packet or memory after the last run, or the context of other kinds.
    pub data: Vec<u8>,
    /// Runs.
    pub runs: u32,
    /// Time that all of them took, in nanoseconds.
    pub duration_ns: u64,
    /// Why the last one was stopped before it returned; then there is no value.
    pub stopped: Option<StopReason>,
}

/// Why a run was stopped by what executes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StopReason {
    /// It ran out of fuel in a loop without a proven bound.
    Fuel,
    /// It called through a register that holds no function.
    Callee,
    /// It called too deeply.
    Depth,
    /// It ran past the end of a function.
    End,
    /// An access was refused.
    Refused,
}

/// What this guest offers to eBPF programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BpfFeatures {
    /// What executes programs, the default first.
    pub engines: Vec<Engine>,
    /// Helpers by number.
    pub helpers: Vec<u32>,
    /// Kinds of maps.
    pub maps: Vec<MapKind>,
    /// Whether a program needs a certificate.
    pub signature_required: bool,
    /// Keys whose certificates are accepted, by number.
    pub keys: Vec<Vec<u8>>,
    /// Programs loaded.
    pub programs: u32,
}

/// Why programs were not loaded, or not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProgramError {
    /// The package or the object does not decode, or is not consistent.
    BadObject {
        /// What is wrong.
        reason: String,
    },
    /// The policy refuses it: no certificate, a wrong one, one for something else.
    NotAdmitted {
        /// Which rule.
        reason: String,
        /// Whether it is only its generation, which an operator may overrule.
        rollback: bool,
    },
    /// A program is not proven safe.
    Unproven {
        /// The program.
        program: String,
        /// Slot of the instruction, where it is about one.
        slot: Option<u32>,
        /// What is not shown.
        reason: String,
    },
    /// Machine code cannot be made from a program.
    Untranslatable {
        /// The program.
        program: String,
        /// Why.
        reason: String,
    },
    /// A map cannot be made.
    BadMap {
        /// The map.
        map: String,
        /// Why.
        reason: String,
    },
    /// A pinned map of that name has another schema.
    MapMismatch {
        /// The map's name.
        map: String,
        /// The pinned map.
        id: MapId,
        /// What differs.
        field: SchemaField,
        /// The pinned map's, as a number; 0 for types.
        pinned: u64,
        /// The object's.
        declared: u64,
    },
    /// The object has no such program.
    NoSuchProgram {
        /// What was asked for; empty for the only one.
        name: String,
        /// What there is.
        programs: Vec<String>,
    },
    /// The data of a test does not suit the kind of program.
    BadTestData {
        /// Bytes given.
        bytes: u32,
        /// Least bytes.
        least: u32,
        /// Most bytes.
        most: u32,
    },
}
