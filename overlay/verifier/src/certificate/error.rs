//! What can be wrong with certificates, packages and policies.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Serialize};

use super::UnixSeconds;
use super::bounds::Bound;
use super::digest::{Digest, KeyId};
use super::hook::{BadHook, Hook, HookKind};

/// Why a package is not admitted. In the order in which a guest looks; the first that applies is given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AdmissionError {
    /// The package's layout.
    Package(BadPackage),
    /// No certificate, and the policy requires one.
    Unsigned,
    /// The certificate's outer layout.
    Certificate(BadCertificate),
    /// Signed by a key that the policy does not know.
    UnknownKey {
        /// Id of that key.
        key: KeyId,
        /// Ids of those that count.
        known: Vec<KeyId>,
    },
    /// Not signed by the key that it names, or changed since.
    Signature {
        /// Id of the key.
        key: KeyId,
    },
    /// Signed, but not in a form that this guest reads.
    Claims(BadClaims),
    /// The certificate is for another object.
    Object {
        /// What was signed.
        signed: Digest,
        /// What is in the package.
        actual: Digest,
    },
    /// An engine that the policy requires has not accepted the object.
    Engine {
        /// Its name.
        name: String,
    },
    /// The policy does not give the tenant this hook.
    Tenant {
        /// Who.
        tenant: String,
        /// Where.
        hook: Hook,
    },
    /// A later generation was loaded before.
    Rollback {
        /// Whose.
        tenant: String,
        /// Where.
        hook: Hook,
        /// Generation of the certificate.
        generation: u64,
        /// Lowest that is admitted.
        floor: u64,
    },
    /// The guest does not know the time, and the policy refuses certificates then.
    NoClock,
    /// The certificate's time has not come.
    NotYetValid {
        /// First second.
        not_before: UnixSeconds,
        /// The guest's time.
        now: UnixSeconds,
    },
    /// The certificate's time is over.
    Expired {
        /// Last second.
        not_after: UnixSeconds,
        /// The guest's time.
        now: UnixSeconds,
    },
    /// The object's bytes are no object.
    Malformed,
    /// More of something than an object may have.
    TooMany {
        /// Of what.
        what: TooMany,
        /// How many there are.
        count: u64,
        /// How many there may be.
        limit: u64,
    },
    /// Not one proof a program.
    Proofs {
        /// Programs of the object.
        programs: u32,
        /// Proofs of the package.
        proofs: u32,
    },
    /// A program of a kind for which the certificate names no hook.
    HookKind {
        /// Name of the program.
        program: String,
        /// Its kind.
        kind: HookKind,
    },
    /// The maps do not look as the certificate says.
    MapSchema {
        /// What was signed.
        signed: Digest,
        /// What is in the object.
        actual: Digest,
    },
    /// The object needs more than the certificate grants.
    Bounds {
        /// Of what.
        bound: Bound,
        /// How much is granted.
        limit: u64,
        /// How much is needed.
        needed: u64,
    },
}

/// What an object may have only so many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "things by name")]
pub enum TooMany {
    Programs,
    Maps,
}

/// What is wrong with a package's layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BadPackage {
    /// It does not begin as packages do.
    Magic,
    /// A version of the layout that this guest does not know.
    Version(u8),
    /// Longer than an upload may be.
    TooLong {
        /// Bytes.
        bytes: u64,
    },
    /// Shorter or longer than its parts.
    Length {
        /// Bytes.
        bytes: u64,
    },
    /// A certificate that is too long.
    CertificateTooLong {
        /// Its bytes.
        bytes: u64,
    },
    /// More proofs than an object may have programs.
    TooManyProofs {
        /// How many.
        proofs: u64,
    },
}

/// What is wrong with a certificate's outer layout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BadCertificate {
    /// It does not begin as certificates do.
    Magic,
    /// A version of the layout that this guest does not know.
    Version(u8),
    /// It ends before its body begins.
    Truncated {
        /// Its bytes.
        bytes: u64,
    },
    /// Longer than a certificate may be.
    TooLong {
        /// Its bytes.
        bytes: u64,
    },
}

/// What is wrong with claims.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BadClaims {
    /// The bytes are no claims.
    Malformed,
    /// The bytes say it in another way than the one that counts.
    NotCanonical,
    /// Longer than a certificate may be.
    TooLong {
        /// Bytes.
        bytes: u64,
    },
    /// Not a name for a tenant.
    Tenant(String),
    /// No hook, or too many.
    HookCount(u64),
    /// Not a name for a hook.
    HookName(String),
    /// Hooks out of order or named twice.
    HookOrder,
    /// No engine, or too many.
    EngineCount(u64),
    /// Not a name or version of an engine.
    EngineText(String),
    /// Engines out of order or named twice.
    EngineOrder,
    /// Ends before it begins.
    Validity {
        /// First second.
        not_before: UnixSeconds,
        /// Last second.
        not_after: UnixSeconds,
    },
}

/// Where a policy file is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    /// Line, from 1; 0 for the file as a whole.
    pub line: u32,
    /// Why.
    pub problem: PolicyProblem,
}

/// What is wrong with a line of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyProblem {
    /// Longer than a policy may be.
    TooLong {
        /// Bytes.
        bytes: u64,
    },
    /// Not UTF-8.
    NotText,
    /// Not a rule.
    Rule(String),
    /// The line ends early.
    Missing(&'static str),
    /// The line goes on.
    Superfluous(String),
    /// A setting said twice.
    Twice(&'static str),
    /// Neither of two words.
    Choice {
        /// The words.
        expected: [&'static str; 2],
        /// What stands there.
        found: String,
    },
    /// Not a name.
    Name(String),
    /// Not a number.
    Number(String),
    /// Not a hook.
    Hook(BadHook),
    /// Not `ed25519`.
    Algorithm(String),
    /// Not a public key.
    PublicKey(String),
    /// A key for which anybody can sign.
    WeakKey(String),
    /// A key or its name that is there already, under this name.
    KeyTwice(String),
    /// More of these than a policy may have.
    TooMany {
        /// How many it may have.
        limit: u32,
    },
}

impl fmt::Display for AdmissionError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Package(problem) => write!(out, "the package is damaged: {problem}"),
            Self::Unsigned => write!(out, "there is no certificate, and this guest requires one"),
            Self::Certificate(problem) => write!(out, "the certificate is damaged: {problem}"),
            Self::UnknownKey { key, known } => {
                write!(out, "signed by key {key}, which this guest does not know")?;
                for (index, known) in known.iter().enumerate() {
                    write!(out, "{}{known}", if index == 0 { "; it knows " } else { ", " })?;
                }
                Ok(())
            }
            Self::Signature { key } => {
                write!(out, "the signature is not one of key {key} for this certificate")
            }
            Self::Claims(problem) => write!(out, "the certificate is signed, but not readable: {problem}"),
            Self::Object { signed, actual } => {
                write!(out, "the certificate is for object {signed}, this one is {actual}")
            }
            Self::Engine { name } => {
                write!(out, "engine `{name}` has not accepted the object, and this guest requires it")
            }
            Self::Tenant { tenant, hook } => write!(out, "tenant `{tenant}` is not allowed at hook {hook}"),
            Self::Rollback { tenant, hook, generation, floor } => write!(
                out,
                "generation {generation} of `{tenant}` at {hook} is older than {floor}, which was loaded before"
            ),
            Self::NoClock => write!(out, "this guest does not know the time and so cannot tell validity"),
            Self::NotYetValid { not_before, now } => {
                write!(out, "the certificate is valid from second {not_before} on; it is {now}")
            }
            Self::Expired { not_after, now } => {
                write!(out, "the certificate was valid until second {not_after}; it is {now}")
            }
            Self::Malformed => write!(out, "the object's bytes are no object"),
            Self::TooMany { what, count, limit } => {
                let what = match what {
                    TooMany::Programs => "programs",
                    TooMany::Maps => "maps",
                };
                write!(out, "the object has {count} {what}, the limit is {limit}")
            }
            Self::Proofs { programs, proofs } => {
                write!(out, "the object has {programs} programs, the package {proofs} proofs")
            }
            Self::HookKind { program, kind } => {
                write!(out, "program `{program}` is for {kind} hooks, and the certificate names none")
            }
            Self::MapSchema { signed, actual } => {
                write!(out, "the certificate is for maps of schema {signed}, these have {actual}")
            }
            Self::Bounds { bound, limit, needed } => {
                write!(out, "the object needs {needed} {}, the certificate grants {limit}", bound.name())
            }
        }
    }
}

impl fmt::Display for BadPackage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => write!(out, "it does not begin as a package does"),
            Self::Version(version) => write!(out, "version {version} of the format is not known"),
            Self::TooLong { bytes } => write!(out, "{bytes} bytes are too many"),
            Self::Length { bytes } => write!(out, "its parts do not add up to its {bytes} bytes"),
            Self::CertificateTooLong { bytes } => write!(out, "a certificate of {bytes} bytes is too long"),
            Self::TooManyProofs { proofs } => write!(out, "{proofs} proofs are too many"),
        }
    }
}

impl fmt::Display for BadCertificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Magic => write!(out, "it does not begin as a certificate does"),
            Self::Version(version) => write!(out, "version {version} of the format is not known"),
            Self::Truncated { bytes } => write!(out, "it ends after {bytes} bytes"),
            Self::TooLong { bytes } => write!(out, "{bytes} bytes are too many"),
        }
    }
}

impl fmt::Display for BadClaims {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => write!(out, "the body is malformed"),
            Self::NotCanonical => write!(out, "the body is not in its canonical form"),
            Self::TooLong { bytes } => write!(out, "{bytes} bytes are too many"),
            Self::Tenant(name) => write!(out, "`{name}` cannot name a tenant"),
            Self::HookCount(0) => write!(out, "it names no hook"),
            Self::HookCount(count) => write!(out, "it names {count} hooks, which are too many"),
            Self::HookName(name) => write!(out, "`{name}` cannot name a hook"),
            Self::HookOrder => write!(out, "its hooks are not in order"),
            Self::EngineCount(0) => write!(out, "it names no engine"),
            Self::EngineCount(count) => write!(out, "it names {count} engines, which are too many"),
            Self::EngineText(text) => write!(out, "`{text}` cannot be an engine's name or version"),
            Self::EngineOrder => write!(out, "its engines are not in order"),
            Self::Validity { not_before, not_after } => {
                write!(out, "its validity ends at second {not_after}, before it begins at {not_before}")
            }
        }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(out, "policy: {}", self.problem),
            line => write!(out, "policy, line {line}: {}", self.problem),
        }
    }
}

impl fmt::Display for PolicyProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { bytes } => write!(out, "{bytes} bytes are too many"),
            Self::NotText => write!(out, "not UTF-8"),
            Self::Rule(rule) => write!(
                out,
                "`{rule}` is no rule: there are require-signature, without-clock, require-engine, key, allow and \
                 floor"
            ),
            Self::Missing(what) => write!(out, "{what} is missing"),
            Self::Superfluous(word) => write!(out, "`{word}` is too much"),
            Self::Twice(what) => write!(out, "{what} stands twice"),
            Self::Choice { expected: [one, other], found } => {
                write!(out, "`{found}` is neither {one} nor {other}")
            }
            Self::Name(word) => write!(out, "`{word}` cannot be a name"),
            Self::Number(word) => write!(out, "`{word}` is no number"),
            Self::Hook(problem) => problem.fmt(out),
            Self::Algorithm(word) => write!(out, "`{word}` keys are not known; ed25519 is"),
            Self::PublicKey(word) => {
                write!(out, "`{word}` is no ed25519 public key of 64 hexadecimal digits")
            }
            Self::WeakKey(word) => write!(out, "anybody can sign for the key {word}"),
            Self::KeyTwice(name) => write!(out, "this key or its name is already there as `{name}`"),
            Self::TooMany { limit } => write!(out, "more than {limit} of these"),
        }
    }
}

impl core::error::Error for AdmissionError {}
impl core::error::Error for BadPackage {}
impl core::error::Error for BadCertificate {}
impl core::error::Error for BadClaims {}
impl core::error::Error for PolicyError {}
impl core::error::Error for PolicyProblem {}
