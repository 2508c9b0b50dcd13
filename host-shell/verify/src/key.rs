//! Signing keys in files: PKCS#8 in PEM, for their owner's eyes only.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::{DecodePrivateKey, EncodePrivateKey, KeypairBytes, spki::der::pem::LineEnding};
use rustix::rand::{GetRandomFlags, getrandom};
use uio_verifier::certificate::KeyId;
use zeroize::Zeroizing;

/// Bytes of a key file; a PKCS#8 key has some 120.
const KEY_BYTES_MAX: u64 = 4096;

/// Bits of a mode that let others in.
const OTHERS: u32 = 0o077;

/// Why a key cannot be made or read. `Display` says what, [`KeyError::hint`] what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file is there already.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// The file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Others than the owner may read or write the file.
    #[error("{} may be read or written by others than its owner (mode {mode:03o})", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Not an ed25519 key in PKCS#8 PEM.
    #[error("{} is no ed25519 key in PKCS#8 PEM: {reason}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers: {0}")]
    Random(#[source] io::Error),
}

impl KeyError {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Exists(path) => Some(format!(
                "a lost key cannot be had back: move {} away, or name another file",
                path.display()
            )),
            Self::Exposed { path, .. } => Some(format!(
                "`chmod 600 {}`; if others may have read it, make a new key and take this one out of the policies",
                path.display()
            )),
            Self::Malformed { .. } => Some("`uio-shell key new FILE` makes a key".into()),
            Self::Io { .. } | Self::Random(_) => None,
        }
    }
}

/// Makes a key and writes it to a new file of mode 0600.
///
/// # Errors
///
/// [`KeyError::Exists`] rather than overwriting anything.
pub fn create(path: &Path) -> Result<SigningKey, KeyError> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    let mut filled = 0;
    while filled < seed.len() {
        filled += getrandom(&mut seed[filled..], GetRandomFlags::empty())
            .map_err(|error| KeyError::Random(error.into()))?;
    }
    // Without the public half: older readers know only this form.
    let pem = KeypairBytes { secret_key: *seed, public_key: None }
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(|error| KeyError::Malformed { path: path.to_owned(), reason: error.to_string() })?;
    let io = |error: io::Error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
        _ => KeyError::Io { path: path.to_owned(), error },
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(io)?;
    let written = file.write_all(pem.as_bytes()).and_then(|()| file.sync_all());
    if let Err(error) = written {
        // Half a key is of no use to anyone.
        let _ = std::fs::remove_file(path);
        return Err(io(error));
    }
    Ok(SigningKey::from_bytes(&seed))
}

/// Reads a key. Refuses files that others may read.
///
/// # Errors
///
/// What is wrong with the file.
pub fn load(path: &Path) -> Result<SigningKey, KeyError> {
    let io = |error| KeyError::Io { path: path.to_owned(), error };
    let file = File::open(path).map_err(io)?;
    // Of the open file, so that nothing can be put in its place between look and read.
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(KeyError::Exposed { path: path.to_owned(), mode });
    }
    let mut pem = Zeroizing::new(String::new());
    let malformed = |reason: String| KeyError::Malformed { path: path.to_owned(), reason };
    file.take(KEY_BYTES_MAX).read_to_string(&mut pem).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => malformed("it is no text".to_owned()),
        _ => io(error),
    })?;
    SigningKey::from_pkcs8_pem(&pem).map_err(|error| malformed(error.to_string()))
}

/// Id of a key, as certificates and policies have it.
#[must_use]
pub fn id(key: &SigningKey) -> KeyId {
    KeyId::of(key.verifying_key().as_bytes())
}

/// Public key in hexadecimal, as policies have it.
#[must_use]
pub fn public_hex(key: &SigningKey) -> String {
    key.verifying_key().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
