//! What is uploaded to a guest: certificate, object, proofs.
//!
//! The layout is fixed fields and lengths, read without allocation: it is all that a guest interprets before a
//! signature has been checked.

use alloc::vec::Vec;

use super::error::BadPackage;
use super::limits::{CERTIFICATE_BYTES_MAX, PACKAGE_BYTES_MAX, PROGRAMS_MAX};

/// First bytes of a package, with the version of this layout.
pub(super) const MAGIC: [u8; 8] = *b"uioPROG\x01";

/// Magic, certificate bytes, object bytes, number of proofs.
const HEADER: usize = MAGIC.len() + 3 * 4;

/// A package, taken apart but not judged.
#[derive(Clone, Copy, Debug)]
pub struct Package<'bytes> {
    certificate: Option<&'bytes [u8]>,
    object: &'bytes [u8],
    proof_lengths: &'bytes [u8],
    proofs: &'bytes [u8],
}

impl<'bytes> Package<'bytes> {
    /// Splits `bytes`. The lengths have to add up to exactly all of them.
    ///
    /// # Errors
    ///
    /// What is wrong with the layout.
    pub fn parse(bytes: &'bytes [u8]) -> Result<Self, BadPackage> {
        if bytes.len() > PACKAGE_BYTES_MAX {
            return Err(BadPackage::TooLong { bytes: bytes.len() as u64 });
        }
        let start = &bytes[..bytes.len().min(MAGIC.len())];
        if start != &MAGIC[..start.len()] {
            return Err(match start.split_last() {
                Some((version, name)) if start.len() == MAGIC.len() && name == &MAGIC[..name.len()] => {
                    BadPackage::Version(*version)
                }
                _ => BadPackage::Magic,
            });
        }
        let truncated = BadPackage::Length { bytes: bytes.len() as u64 };
        let (header, rest) = bytes.split_at_checked(HEADER).ok_or(truncated.clone())?;
        let [certificate, object, proofs] =
            [MAGIC.len(), MAGIC.len() + 4, MAGIC.len() + 8].map(|offset| length(header, offset));
        if certificate > CERTIFICATE_BYTES_MAX {
            return Err(BadPackage::CertificateTooLong { bytes: certificate as u64 });
        }
        if proofs > PROGRAMS_MAX {
            return Err(BadPackage::TooManyProofs { proofs: proofs as u64 });
        }
        let (proof_lengths, rest) = rest.split_at_checked(proofs * 4).ok_or(truncated.clone())?;
        let (certificate, rest) = rest.split_at_checked(certificate).ok_or(truncated.clone())?;
        let (object, rest) = rest.split_at_checked(object).ok_or(truncated.clone())?;
        let sum: u64 = lengths(proof_lengths).map(|length| length as u64).sum();
        if sum != rest.len() as u64 {
            return Err(truncated);
        }
        let certificate = (!certificate.is_empty()).then_some(certificate);
        Ok(Self { certificate, object, proof_lengths, proofs: rest })
    }

    /// The certificate's bytes, if there is one.
    #[must_use]
    pub const fn certificate(&self) -> Option<&'bytes [u8]> {
        self.certificate
    }

    /// The object's bytes: postcard of an `ObjectImage`.
    #[must_use]
    pub const fn object(&self) -> &'bytes [u8] {
        self.object
    }

    /// Bytes of the proofs, in the order of the object's programs.
    pub fn proofs(&self) -> impl ExactSizeIterator<Item = &'bytes [u8]> + use<'bytes> {
        let mut rest = self.proofs;
        // The parse has seen that the lengths add up.
        let lengths: Vec<usize> = lengths(self.proof_lengths).collect();
        lengths.into_iter().map(move |length| {
            let (proof, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = after;
            proof
        })
    }
}

fn lengths(bytes: &[u8]) -> impl ExactSizeIterator<Item = usize> {
    bytes.chunks_exact(4).map(|chunk| length(chunk, 0))
}

/// The little-endian number at `offset`, which the caller knows to be inside.
fn length(bytes: &[u8], offset: usize) -> usize {
    bytes[offset..].first_chunk::<4>().map_or(0, |chunk| u32::from_le_bytes(*chunk) as usize)
}

/// Makes a package. An absent certificate is an empty one.
///
/// # Errors
///
/// The limit that it would exceed.
pub fn encode_package(
    certificate: Option<&[u8]>,
    object: &[u8],
    proofs: &[Vec<u8>],
) -> Result<Vec<u8>, BadPackage> {
    let certificate = certificate.unwrap_or_default();
    if proofs.len() > PROGRAMS_MAX {
        return Err(BadPackage::TooManyProofs { proofs: proofs.len() as u64 });
    }
    if certificate.len() > CERTIFICATE_BYTES_MAX {
        return Err(BadPackage::CertificateTooLong { bytes: certificate.len() as u64 });
    }
    let payload =
        proofs.iter().map(|proof| 4 + proof.len()).sum::<usize>() + certificate.len() + object.len();
    if HEADER + payload > PACKAGE_BYTES_MAX {
        return Err(BadPackage::TooLong { bytes: (HEADER + payload) as u64 });
    }
    let mut bytes = Vec::with_capacity(HEADER + payload);
    bytes.extend_from_slice(&MAGIC);
    // Each is below the limit of a whole package, which fits.
    for length in
        [certificate.len(), object.len(), proofs.len()].into_iter().chain(proofs.iter().map(Vec::len))
    {
        bytes.extend_from_slice(&(length as u32).to_le_bytes());
    }
    bytes.extend_from_slice(certificate);
    bytes.extend_from_slice(object);
    for proof in proofs {
        bytes.extend_from_slice(proof);
    }
    Ok(bytes)
}
