//! Hooks as certificates and policies name them: a kind and a name, `packet:filter`.

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;

use serde::{Deserialize, Serialize};
use uio_protocol::bpf::ProgramKind;

use super::limits::HOOK_NAME_BYTES_MAX;

/// What a hook calls its programs with. [`ProgramKind`] without its numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the kinds by name")]
pub enum HookKind {
    Packet,
    Tracing,
    Timer,
    Raw,
}

impl HookKind {
    const ALL: [Self; 4] = [Self::Packet, Self::Tracing, Self::Timer, Self::Raw];

    /// Name as in `packet:filter`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Packet => "packet",
            Self::Tracing => "tracing",
            Self::Timer => "timer",
            Self::Raw => "raw",
        }
    }
}

impl From<ProgramKind> for HookKind {
    fn from(kind: ProgramKind) -> Self {
        match kind {
            ProgramKind::Packet => Self::Packet,
            ProgramKind::Tracing => Self::Tracing,
            ProgramKind::Timer => Self::Timer,
            ProgramKind::Raw { .. } => Self::Raw,
        }
    }
}

/// A hook: where programs of one kind are attached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Hook {
    /// What it calls its programs with.
    pub kind: HookKind,
    /// Its name: 1 to 64 printable ASCII characters other than space, `,`, `:` and `*`.
    pub name: String,
}

/// Why a text is no hook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BadHook {
    /// No `:`.
    NoKind(String),
    /// A kind that does not exist.
    Kind(String),
    /// A name that is empty, too long, or has a character that names do not have.
    Name(String),
}

impl Hook {
    /// Reads `KIND:NAME`.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, BadHook> {
        let (kind, name) = split(text)?;
        if !is_name(name, HOOK_NAME_BYTES_MAX) {
            return Err(BadHook::Name(name.to_owned()));
        }
        Ok(Self { kind, name: name.to_owned() })
    }
}

/// Splits `KIND:REST`.
pub(super) fn split(text: &str) -> Result<(HookKind, &str), BadHook> {
    let (kind, rest) = text.split_once(':').ok_or_else(|| BadHook::NoKind(text.to_owned()))?;
    let kind = HookKind::ALL
        .into_iter()
        .find(|candidate| candidate.name() == kind)
        .ok_or_else(|| BadHook::Kind(kind.to_owned()))?;
    Ok((kind, rest))
}

/// Whether `text` can name a hook, a tenant or a key: what a policy's line can hold as one word.
pub(super) fn is_name(text: &str, bytes_max: usize) -> bool {
    let allowed = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b',' | b':' | b'*' | b'#');
    (1..=bytes_max).contains(&text.len()) && text.bytes().all(allowed)
}

impl fmt::Display for HookKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.kind, self.name)
    }
}

impl fmt::Display for BadHook {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoKind(text) => {
                write!(formatter, "`{text}` is no hook: write KIND:NAME, as in packet:filter")
            }
            Self::Kind(kind) => {
                write!(formatter, "`{kind}` is no kind of hook: there are packet, tracing, timer and raw")
            }
            Self::Name(name) => write!(
                formatter,
                "`{name}` cannot name a hook: 1 to {HOOK_NAME_BYTES_MAX} printable ASCII characters without \
                 space, comma, colon, star and #"
            ),
        }
    }
}

impl core::error::Error for BadHook {}
