//! The guest's policy: whose signatures count, and which tenants may use which hooks.
//!
//! It is part of the image's configuration, the file [`POLICY_PATH`] of the initrd. One rule a line:
//!
//! ```text
//! # Whatever follows a # is for people.
//! require-signature yes
//! without-clock refuse
//! require-engine uio
//! key provider-1 ed25519 d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a
//! allow acme packet:filter,packet:classify
//! allow lab *
//! floor acme packet:filter 7
//! ```

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use ed25519_dalek::VerifyingKey;

use super::digest::KeyId;
use super::error::{PolicyError, PolicyProblem};
use super::hook::{BadHook, Hook, HookKind, is_name, split};
use super::limits::{
    ENGINE_TEXT_BYTES_MAX, ENGINES_MAX, HOOK_NAME_BYTES_MAX, POLICY_BYTES_MAX, POLICY_KEYS_MAX,
    POLICY_RULES_MAX, TENANT_BYTES_MAX,
};

/// Where a guest looks for its policy.
pub const POLICY_PATH: &str = "/etc/uio/policy";

/// What a guest requires of what is loaded. [`Policy::open`] without a policy file; [`Policy::closed`] with
/// one that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether a package without certificate is refused. A certificate that is there is always checked.
    pub require_signature: bool,
    /// What to do with a certificate's validity when the guest does not know the time.
    pub without_clock: WithoutClock,
    keys: Vec<ProviderKey>,
    engines: Vec<String>,
    allowances: Vec<Allowance>,
    floors: Vec<Floor>,
}

/// What to do with a certificate's validity when the guest does not know the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutClock {
    /// Refuse every certificate.
    Refuse,
    /// Treat every certificate as valid now.
    Accept,
}

/// A key whose signatures count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderKey {
    /// Name, for people.
    pub name: String,
    /// Id, as in certificates.
    pub id: KeyId,
    pub(super) key: VerifyingKey,
}

/// A line `allow`: what a tenant may be given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The tenant; `None` for every one.
    pub tenant: Option<String>,
    /// Its hooks.
    pub hooks: Vec<HookPattern>,
}

/// Hooks of a line `allow`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookPattern {
    /// `*`
    All,
    /// `KIND:*`
    Kind(HookKind),
    /// `KIND:NAME`
    One(Hook),
}

/// A line `floor`: the lowest generation of a tenant at a hook from boot on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Floor {
    pub(super) tenant: String,
    pub(super) hook: Hook,
    pub(super) generation: u64,
}

impl HookPattern {
    /// Whether `hook` is one of them.
    #[must_use]
    pub fn contains(&self, hook: &Hook) -> bool {
        match self {
            Self::All => true,
            Self::Kind(kind) => hook.kind == *kind,
            Self::One(one) => hook == one,
        }
    }

    /// Reads `*`, `KIND:*` or `KIND:NAME`.
    ///
    /// # Errors
    ///
    /// What is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, BadHook> {
        if text == "*" {
            return Ok(Self::All);
        }
        match split(text) {
            Ok((kind, "*")) => Ok(Self::Kind(kind)),
            _ => Hook::parse(text).map(Self::One),
        }
    }
}

impl Policy {
    /// No signature required: an image without a policy file trusts whoever reaches its shell.
    #[must_use]
    pub const fn open() -> Self {
        let mut policy = Self::closed();
        policy.require_signature = false;
        policy
    }

    /// A signature required, and no key whose signature would count: admits nothing. What a guest uses when its
    /// policy file cannot be read, so that a damaged file never opens it.
    #[must_use]
    pub const fn closed() -> Self {
        Self {
            require_signature: true,
            without_clock: WithoutClock::Refuse,
            keys: Vec::new(),
            engines: Vec::new(),
            allowances: Vec::new(),
            floors: Vec::new(),
        }
    }

    /// Reads a policy file. What it does not say: a signature is required, no certificate counts without a clock,
    /// no tenant is allowed anything.
    ///
    /// # Errors
    ///
    /// The first line that is wrong, and why.
    pub fn parse(bytes: &[u8]) -> Result<Self, PolicyError> {
        let at = |line: usize, problem| PolicyError { line: line as u32, problem };
        if bytes.len() > POLICY_BYTES_MAX {
            return Err(at(0, PolicyProblem::TooLong { bytes: bytes.len() as u64 }));
        }
        let text = core::str::from_utf8(bytes).map_err(|_| at(0, PolicyProblem::NotText))?;
        let mut policy = Self::closed();
        let mut said = Said::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_ascii_whitespace();
            if let Some(rule) = words.next() {
                policy.apply(rule, &mut words, &mut said).map_err(|problem| at(index + 1, problem))?;
                if let Some(word) = words.next() {
                    return Err(at(index + 1, PolicyProblem::Superfluous(word.to_owned())));
                }
            }
        }
        Ok(policy)
    }

    /// Keys whose signatures count.
    #[must_use]
    pub fn keys(&self) -> &[ProviderKey] {
        &self.keys
    }

    /// The key of this id.
    #[must_use]
    pub fn key(&self, id: KeyId) -> Option<&ProviderKey> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// Names of the engines that have to have accepted an object.
    #[must_use]
    pub fn engines(&self) -> &[String] {
        &self.engines
    }

    /// What tenants may be given.
    #[must_use]
    pub fn allowances(&self) -> &[Allowance] {
        &self.allowances
    }

    pub(super) fn floors(&self) -> &[Floor] {
        &self.floors
    }

    /// Whether `tenant` may be given `hook`.
    #[must_use]
    pub fn allows(&self, tenant: &str, hook: &Hook) -> bool {
        let applies = |allowance: &&Allowance| allowance.tenant.as_deref().is_none_or(|name| name == tenant);
        self.allowances
            .iter()
            .filter(applies)
            .any(|allowance| allowance.hooks.iter().any(|pattern| pattern.contains(hook)))
    }

    fn apply<'text>(
        &mut self,
        rule: &str,
        words: &mut impl Iterator<Item = &'text str>,
        said: &mut Said,
    ) -> Result<(), PolicyProblem> {
        let mut word = |what| words.next().ok_or(PolicyProblem::Missing(what));
        match rule {
            "require-signature" => {
                once(&mut said.require_signature, "require-signature")?;
                self.require_signature = choose(word(Missing::YES_NO)?, [("yes", true), ("no", false)])?;
            }
            "without-clock" => {
                once(&mut said.without_clock, "without-clock")?;
                let choices = [("refuse", WithoutClock::Refuse), ("accept", WithoutClock::Accept)];
                self.without_clock = choose(word(Missing::REFUSE_ACCEPT)?, choices)?;
            }
            "require-engine" => {
                let engine = name(word(Missing::ENGINE)?, ENGINE_TEXT_BYTES_MAX)?;
                push(&mut self.engines, engine, ENGINES_MAX)?;
            }
            "key" => {
                let key = ProviderKey::parse(
                    name(word(Missing::NAME)?, TENANT_BYTES_MAX)?,
                    word(Missing::ED25519)?,
                    word(Missing::PUBLIC_KEY)?,
                )?;
                if let Some(other) =
                    self.keys.iter().find(|other| other.id == key.id || other.name == key.name)
                {
                    return Err(PolicyProblem::KeyTwice(other.name.clone()));
                }
                push(&mut self.keys, key, POLICY_KEYS_MAX)?;
            }
            "allow" => {
                let tenant = word(Missing::TENANT)?;
                let tenant = if tenant == "*" { None } else { Some(name(tenant, TENANT_BYTES_MAX)?) };
                let hooks =
                    word(Missing::HOOKS)?.split(',').map(HookPattern::parse).collect::<Result<_, _>>();
                let hooks = hooks.map_err(PolicyProblem::Hook)?;
                push(&mut self.allowances, Allowance { tenant, hooks }, POLICY_RULES_MAX)?;
            }
            "floor" => {
                let floor = Floor {
                    tenant: name(word(Missing::TENANT)?, TENANT_BYTES_MAX)?,
                    hook: Hook::parse(word(Missing::HOOKS)?).map_err(PolicyProblem::Hook)?,
                    generation: number(word(Missing::GENERATION)?)?,
                };
                push(&mut self.floors, floor, POLICY_RULES_MAX)?;
            }
            _ => return Err(PolicyProblem::Rule(cut(rule))),
        }
        Ok(())
    }
}

impl Default for Policy {
    /// [`Policy::closed`].
    fn default() -> Self {
        Self::closed()
    }
}

/// Names of words that lines lack.
struct Missing;

impl Missing {
    const ED25519: &'static str = "the word ed25519";
    const ENGINE: &'static str = "the name of an engine";
    const GENERATION: &'static str = "a generation";
    const HOOKS: &'static str = "a hook";
    const NAME: &'static str = "a name";
    const PUBLIC_KEY: &'static str = "a public key of 64 hexadecimal digits";
    const REFUSE_ACCEPT: &'static str = "refuse or accept";
    const TENANT: &'static str = "a tenant";
    const YES_NO: &'static str = "yes or no";
}

/// Settings that stand once.
#[derive(Default)]
struct Said {
    require_signature: bool,
    without_clock: bool,
}

impl ProviderKey {
    fn parse(name: String, algorithm: &str, public_key: &str) -> Result<Self, PolicyProblem> {
        if algorithm != "ed25519" {
            return Err(PolicyProblem::Algorithm(cut(algorithm)));
        }
        let bad = || PolicyProblem::PublicKey(cut(public_key));
        let bytes = unhex(public_key).ok_or_else(bad)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| bad())?;
        // Anybody can sign for such a key.
        if key.is_weak() {
            return Err(PolicyProblem::WeakKey(cut(public_key)));
        }
        Ok(Self { name, id: KeyId::of(&bytes), key })
    }

    /// The 32 public bytes.
    #[must_use]
    pub fn public_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }
}

fn once(said: &mut bool, what: &'static str) -> Result<(), PolicyProblem> {
    if core::mem::replace(said, true) { Err(PolicyProblem::Twice(what)) } else { Ok(()) }
}

fn choose<T>(word: &str, choices: [(&'static str, T); 2]) -> Result<T, PolicyProblem> {
    let expected = [choices[0].0, choices[1].0];
    choices
        .into_iter()
        .find_map(|(name, value)| (name == word).then_some(value))
        .ok_or_else(|| PolicyProblem::Choice { expected, found: cut(word) })
}

fn push<T>(list: &mut Vec<T>, item: T, limit: usize) -> Result<(), PolicyProblem> {
    if list.len() >= limit {
        return Err(PolicyProblem::TooMany { limit: limit as u32 });
    }
    list.push(item);
    Ok(())
}

fn name(word: &str, bytes_max: usize) -> Result<String, PolicyProblem> {
    if is_name(word, bytes_max) { Ok(word.to_owned()) } else { Err(PolicyProblem::Name(cut(word))) }
}

fn number(word: &str) -> Result<u64, PolicyProblem> {
    word.parse().map_err(|_| PolicyProblem::Number(cut(word)))
}

/// As much of a word as an error repeats.
fn cut(word: &str) -> String {
    word.chars().take(HOOK_NAME_BYTES_MAX).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = (high << 4 | low) as u8;
    }
    Some(bytes)
}
