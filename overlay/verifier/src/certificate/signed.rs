//! Certificates as bytes: who signed, the signature, and the body that it covers.

use alloc::vec::Vec;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

use super::claims::Claims;
use super::digest::KeyId;
use super::error::{BadCertificate, BadClaims};
use super::limits::CERTIFICATE_BYTES_MAX;

/// First bytes of a certificate, with the version of this layout.
pub(super) const MAGIC: [u8; 8] = *b"uioCERT\x01";

/// What a signature covers begins with this, so that no signature made for anything else is one for a certificate.
const DOMAIN: &[u8] = b"uio certificate v1\0";

const KEY_ID: usize = MAGIC.len();
const SIGNATURE: usize = KEY_ID + 8;
const BODY: usize = SIGNATURE + 64;

/// A certificate whose signature nobody has looked at yet. The body is opaque until [`Self::verify`] gave it out.
#[derive(Clone, Copy, Debug)]
pub struct Certificate<'bytes> {
    key: KeyId,
    signature: [u8; 64],
    body: &'bytes [u8],
}

impl<'bytes> Certificate<'bytes> {
    /// Takes the fixed parts apart; reads nothing that is signed.
    ///
    /// # Errors
    ///
    /// What is wrong with the outer layout.
    pub fn parse(bytes: &'bytes [u8]) -> Result<Self, BadCertificate> {
        if bytes.len() > CERTIFICATE_BYTES_MAX {
            return Err(BadCertificate::TooLong { bytes: bytes.len() as u64 });
        }
        let start = &bytes[..bytes.len().min(MAGIC.len())];
        if start != &MAGIC[..start.len()] {
            let version = start.get(MAGIC.len() - 1).copied();
            return Err(match version {
                Some(version) if start[..MAGIC.len() - 1] == MAGIC[..MAGIC.len() - 1] => {
                    BadCertificate::Version(version)
                }
                _ => BadCertificate::Magic,
            });
        }
        let truncated = BadCertificate::Truncated { bytes: bytes.len() as u64 };
        let (Some((key, rest)), true) =
            (bytes.get(KEY_ID..).and_then(<[u8]>::split_first_chunk::<8>), bytes.len() > BODY)
        else {
            return Err(truncated);
        };
        let (signature, body) = rest.split_first_chunk::<64>().ok_or(truncated)?;
        Ok(Self { key: KeyId(*key), signature: *signature, body })
    }

    /// Who is said to have signed. Not to be believed before [`Self::verify`].
    #[must_use]
    pub const fn key(&self) -> KeyId {
        self.key
    }

    /// Checks the signature, then reads what it covers.
    ///
    /// `verify_strict` refuses keys and points of small order and signatures that are not in their one form, so
    /// nobody can make a second certificate from one that exists.
    ///
    /// # Errors
    ///
    /// `None` if the signature is not `key`'s; else what is wrong with the claims that it covers.
    pub fn verify(&self, key: &VerifyingKey) -> Result<Claims, Option<BadClaims>> {
        if KeyId::of(key.as_bytes()) != self.key {
            return Err(None);
        }
        let message = message(self.key, self.body);
        key.verify_strict(&message, &Signature::from_bytes(&self.signature)).map_err(|_| None)?;
        Claims::decode(self.body).map_err(Some)
    }
}

/// The bytes that a signature covers: domain, key id, body.
fn message(key: KeyId, body: &[u8]) -> Vec<u8> {
    let mut message = Vec::with_capacity(DOMAIN.len() + key.0.len() + body.len());
    message.extend_from_slice(DOMAIN);
    message.extend_from_slice(&key.0);
    message.extend_from_slice(body);
    message
}

/// Makes a certificate. For the host; a guest has no signing key, and the linker drops this there.
///
/// # Errors
///
/// The rule that the claims break.
pub fn sign(claims: &Claims, key: &SigningKey) -> Result<Vec<u8>, BadClaims> {
    let body = claims.encode()?;
    let bytes = BODY + body.len();
    if bytes > CERTIFICATE_BYTES_MAX {
        return Err(BadClaims::TooLong { bytes: bytes as u64 });
    }
    let id = KeyId::of(key.verifying_key().as_bytes());
    let signature = key.sign(&message(id, &body));
    let mut certificate = Vec::with_capacity(bytes);
    certificate.extend_from_slice(&MAGIC);
    certificate.extend_from_slice(&id.0);
    certificate.extend_from_slice(&signature.to_bytes());
    certificate.extend_from_slice(&body);
    Ok(certificate)
}
