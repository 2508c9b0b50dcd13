//! A provider, a tenant and an object to sign.

use ed25519_dalek::SigningKey;
use uio_protocol::bpf::{MapKind, MapSpec, ObjectImage, ProgramImage, ProgramKind};
use uio_verifier::certificate::{
    AdmissionError, Admitted, Bounds, Claims, EngineVersion, GenerationStore, Hook, Policy, Rollback, admit,
    encode_package, instructions, map_bytes, map_schema_digest, object_digest, sign,
};

/// TEST ONLY. Everybody knows this key; nothing that it signs may count anywhere.
pub(crate) const TEST_ONLY_SEED: [u8; 32] = *b"uio TEST ONLY key, never trust!!";

/// TEST ONLY. Of another provider.
pub(crate) const TEST_ONLY_OTHER_SEED: [u8; 32] = [0x42; 32];

/// A second within the claims' validity.
pub(crate) const NOW: u64 = 1_800_000_000;

pub(crate) fn key() -> SigningKey {
    SigningKey::from_bytes(&TEST_ONLY_SEED)
}

pub(crate) fn other_key() -> SigningKey {
    SigningKey::from_bytes(&TEST_ONLY_OTHER_SEED)
}

pub(crate) fn hook(text: &str) -> Hook {
    Hook::parse(text).expect("a hook")
}

/// `r0 = 2; exit`, with one map.
pub(crate) fn object() -> ObjectImage {
    ObjectImage {
        name: "pass".into(),
        maps: vec![MapSpec {
            name: "counts".into(),
            kind: MapKind::Array,
            key_bytes: 4,
            value_bytes: 8,
            max_entries: 256,
            flags: 0,
            read_only: false,
            pinned: true,
            inner: None,
            initial: Vec::new(),
            key_type: Vec::new(),
            value_type: Vec::new(),
        }],
        programs: vec![ProgramImage {
            name: "pass".into(),
            kind: ProgramKind::Packet,
            target: "filter".into(),
            slots: vec![0x0000_0002_0000_00b7, 0x95],
            functions: vec![0],
        }],
    }
}

pub(crate) fn bytes(object: &ObjectImage) -> Vec<u8> {
    postcard::to_allocvec(object).expect("an object encodes")
}

pub(crate) fn claims(object: &ObjectImage) -> Claims {
    Claims {
        object: object_digest(&bytes(object)),
        map_schema: map_schema_digest(&object.maps),
        hooks: vec![hook("packet:classify"), hook("packet:filter")],
        bounds: Bounds {
            stack_bytes: 512,
            instructions: instructions(object) as u32,
            map_bytes: map_bytes(object),
            fuel: Some(1_000_000),
            run_ns: None,
        },
        tenant: "acme".into(),
        generation: 7,
        not_before: NOW - 1000,
        not_after: NOW + 1000,
        engines: vec![
            EngineVersion { name: "prevail".into(), version: "0.2.6".into() },
            EngineVersion { name: "uio".into(), version: "0.1.0".into() },
        ],
    }
}

/// A policy that takes what [`claims`] say.
pub(crate) fn policy_text() -> String {
    let public: String = key().verifying_key().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("key test ed25519 {public}\nallow acme packet:*\nrequire-engine uio\n")
}

pub(crate) fn policy() -> Policy {
    Policy::parse(policy_text().as_bytes()).expect("a policy")
}

pub(crate) fn package(certificate: Option<&[u8]>, object: &ObjectImage) -> Vec<u8> {
    encode_package(certificate, &bytes(object), &[vec![1, 2, 3]]).expect("a package")
}

/// What is signed and packed as it should be.
pub(crate) fn good() -> Vec<u8> {
    let object = object();
    package(Some(&sign(&claims(&object), &key()).expect("claims")), &object)
}

pub(crate) fn try_now(package: &[u8]) -> Result<Admitted<'_>, AdmissionError> {
    admit(package, &policy(), &GenerationStore::default(), Some(NOW), Rollback::Refuse)
}
