//! Any bytes, any claims.

use proptest::collection::vec;
use proptest::prelude::*;
use uio_verifier::certificate::{
    Bounds, Certificate, Claims, Digest, EngineVersion, GenerationStore, Hook, HookKind, Package, Policy,
    Rollback, admit, encode_package, sign,
};

use crate::support::{NOW, good, key, policy, try_now};

fn any_hook() -> impl Strategy<Value = Hook> {
    let kind = prop_oneof![
        Just(HookKind::Packet),
        Just(HookKind::Tracing),
        Just(HookKind::Timer),
        Just(HookKind::Raw)
    ];
    (kind, "[a-zA-Z0-9_./-]{1,64}").prop_map(|(kind, name)| Hook { kind, name })
}

prop_compose! {
    fn any_bounds()(
        stack_bytes: u32,
        instructions: u32,
        map_bytes: u64,
        fuel: Option<u64>,
        run_ns: Option<u64>,
    ) -> Bounds {
        Bounds { stack_bytes, instructions, map_bytes, fuel, run_ns }
    }
}

prop_compose! {
    fn any_claims()(
        object: [u8; 32],
        map_schema: [u8; 32],
        hooks in proptest::collection::btree_set(any_hook(), 1..=16),
        bounds in any_bounds(),
        tenant in "[a-z0-9._-]{1,64}",
        generation: u64,
        one: u64,
        other: u64,
        engines in proptest::collection::btree_map("[a-z]{1,32}", "[0-9.]{1,32}", 1..=8),
    ) -> Claims {
        Claims {
            object: Digest(object),
            map_schema: Digest(map_schema),
            hooks: hooks.into_iter().collect(),
            bounds,
            tenant,
            generation,
            not_before: one.min(other),
            not_after: one.max(other),
            engines: engines.into_iter().map(|(name, version)| EngineVersion { name, version }).collect(),
        }
    }
}

proptest! {
    #[test]
    fn claims_survive_the_journey(claims in any_claims()) {
        let body = claims.encode().expect("keeps the rules");
        prop_assert_eq!(Claims::decode(&body).expect("its own bytes"), claims.clone());
        let bytes = sign(&claims, &key()).expect("fits");
        let certificate = Certificate::parse(&bytes).expect("whole");
        prop_assert_eq!(certificate.verify(&key().verifying_key()), Ok(claims));
    }

    /// There is one sequence of bytes for each set of claims.
    #[test]
    fn what_decodes_is_canonical(bytes in vec(any::<u8>(), 0..200)) {
        if let Ok(claims) = Claims::decode(&bytes) {
            prop_assert_eq!(claims.encode().expect("decoded"), bytes);
        }
    }

    #[test]
    fn changed_claims_bytes_never_decode_to_the_same(claims in any_claims(), at: prop::sample::Index, bit in 0..8u8) {
        let mut body = claims.encode().expect("keeps the rules");
        let at = at.index(body.len());
        body[at] ^= 1 << bit;
        prop_assert_ne!(Claims::decode(&body), Ok(claims));
    }

    #[test]
    fn packages_survive_the_journey(
        certificate in proptest::option::of(vec(any::<u8>(), 1..200)),
        object in vec(any::<u8>(), 0..200),
        proofs in vec(vec(any::<u8>(), 0..50), 0..10),
    ) {
        let bytes = encode_package(certificate.as_deref(), &object, &proofs).expect("fits");
        let package = Package::parse(&bytes).expect("whole");
        prop_assert_eq!(package.certificate(), certificate.as_deref());
        prop_assert_eq!(package.object(), object.as_slice());
        prop_assert!(package.proofs().eq(proofs.iter().map(Vec::as_slice)));
    }

    #[test]
    fn any_bytes_are_refused_quietly(bytes in vec(any::<u8>(), 0..400)) {
        let mut framed = b"uioPROG\x01".to_vec();
        framed.extend_from_slice(&bytes);
        for bytes in [&bytes, &framed] {
            let _ = admit(bytes, &Policy::open(), &GenerationStore::default(), Some(NOW), Rollback::Refuse);
            prop_assert!(admit(bytes, &policy(), &GenerationStore::default(), Some(NOW), Rollback::Allow).is_err());
        }
        let _ = Certificate::parse(&bytes);
    }

    /// Nothing outside the proofs of a signed package can be changed.
    #[test]
    fn a_changed_package_is_refused(at: prop::sample::Index, with: u8) {
        let mut package = good();
        let proof = package.len() - 3;
        let at = at.index(proof);
        prop_assume!(package[at] != with);
        package[at] = with;
        prop_assert!(try_now(&package).is_err());
    }

    #[test]
    fn any_text_is_read_quietly(text in "([a-z0-9:*,# -]{0,30}\n){0,5}") {
        let _ = Policy::parse(text.as_bytes());
    }

    #[test]
    fn rules_of_any_words_are_read_quietly(
        rule in "require-signature|without-clock|require-engine|key|allow|floor",
        words in vec("[a-f0-9:*,]{0,70}|packet:x|yes|ed25519", 0..5),
    ) {
        let _ = Policy::parse(format!("{rule} {}", words.join(" ")).as_bytes());
    }
}
