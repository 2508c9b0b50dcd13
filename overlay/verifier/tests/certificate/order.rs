//! Everything that can be wrong, one by one and in the order in which a guest looks.

use uio_protocol::bpf::ProgramKind;
use uio_verifier::certificate::{
    AdmissionError, BadCertificate, BadClaims, BadPackage, Bound, Claims, GenerationStore, HookKind, KeyId,
    Policy, Rollback, TooMany, admit, encode_package, map_schema_digest, object_digest, sign,
};

use crate::support::{
    NOW, bytes, claims, good, hook, key, object, other_key, package, policy, policy_text, try_now,
};

#[test]
fn what_is_right_is_admitted() {
    let package = good();
    let admitted = try_now(&package).expect("admitted");
    assert_eq!(admitted.object, object());
    assert_eq!(admitted.digest, object_digest(&bytes(&object())));
    assert_eq!(admitted.proofs, [&[1, 2, 3][..]]);
    let signed = admitted.signed.as_ref().expect("signed");
    assert_eq!(signed.claims, claims(&object()));
    assert_eq!(signed.key, KeyId::of(key().verifying_key().as_bytes()));
    assert!(admitted.permits(HookKind::Packet, "filter"));
    assert!(!admitted.permits(HookKind::Packet, "rewrite"));
    assert!(!admitted.permits(HookKind::Tracing, "filter"));
    assert!(admitted.grant_stack(512).is_ok());
    assert_eq!(
        admitted.grant_stack(513),
        Err(AdmissionError::Bounds { bound: Bound::StackBytes, limit: 512, needed: 513 })
    );
}

#[test]
fn unsigned_only_where_the_policy_lets_it() {
    let package = package(None, &object());
    assert_eq!(try_now(&package).map(|_| ()), Err(AdmissionError::Unsigned));
    let admitted = admit(&package, &Policy::open(), &GenerationStore::default(), None, Rollback::Refuse)
        .expect("nothing is required");
    assert_eq!(admitted.signed, None);
    assert!(admitted.permits(HookKind::Timer, "any"));
}

/// A certificate that is there has to be right, required or not.
#[test]
fn an_open_policy_ignores_no_certificate() {
    let package = good();
    let result = admit(&package, &Policy::open(), &GenerationStore::default(), Some(NOW), Rollback::Refuse);
    let key = KeyId::of(key().verifying_key().as_bytes());
    assert_eq!(result.map(|_| ()), Err(AdmissionError::UnknownKey { key, known: Vec::new() }));
}

#[test]
fn a_closed_policy_admits_nothing() {
    for package in [good(), package(None, &object())] {
        let result =
            admit(&package, &Policy::closed(), &GenerationStore::default(), Some(NOW), Rollback::Allow);
        assert!(matches!(result, Err(AdmissionError::Unsigned | AdmissionError::UnknownKey { .. })));
    }
}

/// All that can be wrong at once; each error shows only after those before it are mended.
#[test]
fn the_order_of_checks() {
    let object = object();
    let mut wrong = object.clone();
    wrong.programs[0].kind = ProgramKind::Timer;
    wrong.maps[0].max_entries = 1 << 20;
    wrong.programs[0].slots = vec![0x95; 100];
    let mut policy_text =
        policy_text().replace("packet:*", "packet:other").replace("engine uio", "engine extra");
    let mut generations = GenerationStore::default();
    generations.record(&Claims { generation: 9, ..claims(&object) }).expect("room");
    let mut signed = Claims { object: object_digest(b"another"), ..claims(&object) };
    let mut signer = other_key();
    let mut now = None;
    let mut tampered = true;
    let mut junk = true;
    let mut proofs = 0;

    let mut seen = Vec::new();
    for _ in 0..30 {
        let mut certificate = sign(&signed, &signer).expect("claims");
        if tampered {
            let last = certificate.len() - 1;
            certificate[last] ^= 1;
        }
        let mut object_bytes = bytes(&wrong);
        if junk {
            object_bytes.insert(0, 0xff);
        }
        let package =
            encode_package(Some(&certificate), &object_bytes, &vec![Vec::new(); proofs]).expect("fits");
        let policy = Policy::parse(policy_text.as_bytes()).expect("a policy");
        let Err(error) = admit(&package, &policy, &generations, now, Rollback::Refuse) else { break };
        seen.push(match error {
            AdmissionError::UnknownKey { .. } => {
                signer = key();
                "unknown key"
            }
            AdmissionError::Signature { .. } => {
                tampered = false;
                "signature"
            }
            AdmissionError::Object { signed: digest, actual } => {
                assert_eq!(digest, object_digest(b"another"));
                signed.object = actual;
                "object"
            }
            AdmissionError::Engine { .. } => {
                policy_text = policy_text.replace("engine extra", "engine uio");
                "engine"
            }
            AdmissionError::Tenant { tenant, hook: refused } => {
                assert_eq!((tenant.as_str(), refused), ("acme", hook("packet:classify")));
                policy_text = policy_text.replace("packet:other", "packet:*");
                "tenant"
            }
            AdmissionError::Rollback { generation, floor, .. } => {
                assert_eq!((generation, floor), (7, 9));
                signed.generation = 9;
                "rollback"
            }
            AdmissionError::NoClock => {
                now = Some(0);
                "no clock"
            }
            AdmissionError::NotYetValid { not_before, now: at } => {
                assert_eq!((not_before, at), (NOW - 1000, 0));
                now = Some(u64::MAX);
                "not yet valid"
            }
            AdmissionError::Expired { not_after, now: at } => {
                assert_eq!((not_after, at), (NOW + 1000, u64::MAX));
                now = Some(NOW);
                "expired"
            }
            AdmissionError::Malformed => {
                junk = false;
                signed.object = object_digest(&bytes(&wrong));
                "malformed"
            }
            AdmissionError::Proofs { programs: 1, proofs: 0 } => {
                proofs = 1;
                "proofs"
            }
            AdmissionError::HookKind { kind: HookKind::Timer, .. } => {
                wrong.programs[0].kind = ProgramKind::Packet;
                signed.object = object_digest(&bytes(&wrong));
                "hook kind"
            }
            AdmissionError::MapSchema { .. } => {
                signed.map_schema = map_schema_digest(&wrong.maps);
                "map schema"
            }
            AdmissionError::Bounds { bound: Bound::Instructions, limit: 2, needed: 100 } => {
                signed.bounds.instructions = 100;
                "instructions"
            }
            AdmissionError::Bounds { bound: Bound::MapBytes, limit, needed } => {
                assert_eq!((limit, needed), (256 * 16, 16 << 20));
                signed.bounds.map_bytes = needed;
                "map bytes"
            }
            other => panic!("{other}"),
        });
    }
    assert_eq!(
        seen,
        [
            "unknown key",
            "signature",
            "object",
            "engine",
            "tenant",
            "rollback",
            "no clock",
            "not yet valid",
            "expired",
            "malformed",
            "proofs",
            "hook kind",
            "map schema",
            "instructions",
            "map bytes",
        ]
    );
}

#[test]
fn the_certificate_of_another_object_does_not_fit() {
    let mut swapped = object();
    swapped.programs[0].slots[0] = 0x0000_0001_0000_00b7;
    let certificate = sign(&claims(&object()), &key()).expect("claims");
    let result = try_now(&package(Some(&certificate), &swapped)).map(|_| ());
    assert_eq!(
        result,
        Err(AdmissionError::Object {
            signed: object_digest(&bytes(&object())),
            actual: object_digest(&bytes(&swapped)),
        })
    );
}

#[test]
fn every_changed_bit_of_a_certificate_is_noticed() {
    let certificate = sign(&claims(&object()), &key()).expect("claims");
    for bit in 0..certificate.len() * 8 {
        let mut changed = certificate.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let error = try_now(&package(Some(&changed), &object())).map(|_| ()).expect_err("noticed");
        let expected = match bit / 8 {
            0..7 => matches!(error, AdmissionError::Certificate(BadCertificate::Magic)),
            7 => matches!(error, AdmissionError::Certificate(BadCertificate::Version(_))),
            8..16 => matches!(error, AdmissionError::UnknownKey { .. }),
            _ => matches!(error, AdmissionError::Signature { .. }),
        };
        assert!(expected, "bit {bit}: {error}");
    }
}

#[test]
fn every_changed_bit_of_an_object_is_noticed() {
    let package = good();
    let certificate = sign(&claims(&object()), &key()).expect("claims").len();
    let start = 20 + 4 + certificate;
    for bit in start * 8..(start + bytes(&object()).len()) * 8 {
        let mut changed = package.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let result = try_now(&changed).map(|_| ());
        assert!(matches!(result, Err(AdmissionError::Object { .. })), "bit {bit}");
    }
}

#[test]
fn truncated_anywhere() {
    let package = good();
    for length in 0..package.len() {
        let result = try_now(&package[..length]).map(|_| ());
        assert_eq!(result, Err(AdmissionError::Package(BadPackage::Length { bytes: length as u64 })));
    }
    let mut longer = package;
    longer.push(0);
    assert!(matches!(try_now(&longer).map(|_| ()), Err(AdmissionError::Package(BadPackage::Length { .. }))));

    let certificate = sign(&claims(&object()), &key()).expect("claims");
    for length in 1..certificate.len() {
        let result = try_now(&self::package(Some(&certificate[..length]), &object())).map(|_| ());
        if length <= 80 {
            let problem = BadCertificate::Truncated { bytes: length as u64 };
            assert_eq!(result, Err(AdmissionError::Certificate(problem)));
        } else {
            assert!(matches!(result, Err(AdmissionError::Signature { .. })), "{length}");
        }
    }
}

#[test]
fn another_tenants_certificate_is_refused() {
    let claims = Claims { tenant: "evil".into(), ..claims(&object()) };
    let certificate = sign(&claims, &key()).expect("claims");
    assert_eq!(
        try_now(&package(Some(&certificate), &object())).map(|_| ()),
        Err(AdmissionError::Tenant { tenant: "evil".into(), hook: hook("packet:classify") })
    );
}

#[test]
fn validity_includes_both_ends() {
    let package = good();
    let at = |now| {
        admit(&package, &policy(), &GenerationStore::default(), Some(now), Rollback::Refuse).map(|_| ())
    };
    assert_eq!(at(NOW - 1001), Err(AdmissionError::NotYetValid { not_before: NOW - 1000, now: NOW - 1001 }));
    assert_eq!(at(NOW - 1000), Ok(()));
    assert_eq!(at(NOW + 1000), Ok(()));
    assert_eq!(at(NOW + 1001), Err(AdmissionError::Expired { not_after: NOW + 1000, now: NOW + 1001 }));
}

#[test]
fn without_a_clock_the_policy_decides() {
    let package = good();
    let text = policy_text() + "without-clock accept\n";
    let lenient = Policy::parse(text.as_bytes()).expect("a policy");
    let none = GenerationStore::default();
    assert_eq!(
        admit(&package, &policy(), &none, None, Rollback::Refuse).map(|_| ()),
        Err(AdmissionError::NoClock)
    );
    assert!(admit(&package, &lenient, &none, None, Rollback::Refuse).is_ok());
    // With a clock, leniency changes nothing.
    assert!(admit(&package, &lenient, &none, Some(0), Rollback::Refuse).is_err());
}

#[test]
fn no_way_back_but_by_an_operator() {
    let package = good();
    let mut generations = GenerationStore::default();
    let admitted = try_now(&package).expect("admitted");
    generations.record(&admitted.signed.expect("signed").claims).expect("room");
    let with = |generation, rollback| {
        let claims = Claims { generation, ..claims(&object()) };
        let certificate = sign(&claims, &key()).expect("claims");
        let package = self::package(Some(&certificate), &object());
        admit(&package, &policy(), &generations, Some(NOW), rollback).map(|_| ())
    };
    assert_eq!(with(7, Rollback::Refuse), Ok(()));
    assert_eq!(with(8, Rollback::Refuse), Ok(()));
    assert!(matches!(
        with(6, Rollback::Refuse),
        Err(AdmissionError::Rollback { generation: 6, floor: 7, .. })
    ));
    assert_eq!(with(6, Rollback::Allow), Ok(()));
}

/// Who went back may not go back further unnoticed, and the old floor stands.
#[test]
fn a_floor_never_falls() {
    let mut generations = GenerationStore::default();
    let at = |generation| Claims { generation, ..claims(&object()) };
    generations.record(&at(9)).expect("room");
    generations.record(&at(3)).expect("room");
    assert_eq!(generations.floor("acme", &hook("packet:filter")), 9);
    assert_eq!(generations.floor("acme", &hook("packet:other")), 0);
    assert_eq!(generations.floor("else", &hook("packet:filter")), 0);
}

#[test]
fn a_full_store_remembers_all_or_nothing_of_a_load() {
    let mut generations = GenerationStore::default();
    let one = |index: usize| Claims { hooks: vec![hook(&format!("packet:h{index}"))], ..claims(&object()) };
    for index in 0..4095 {
        generations.record(&one(index)).expect("room");
    }
    assert!(generations.record(&claims(&object())).is_err(), "two hooks, one place");
    assert_eq!(generations.floor("acme", &hook("packet:classify")), 0);
    generations.record(&one(0)).expect("known already");
    generations.record(&one(4095)).expect("the last place");
    assert!(generations.record(&one(4096)).is_err());
}

/// A signer's claims in a form that postcard reads, but not the one that counts.
#[test]
fn signed_claims_in_another_form_are_refused() {
    use ed25519_dalek::Signer;
    let body = claims(&object()).encode().expect("claims");
    // The number of hooks, 2, as a padded varint; behind two digests.
    assert_eq!(body[64], 2);
    let mut padded = body.clone();
    padded.splice(64..65, [0x82, 0x00]);
    let mut longer = body.clone();
    longer.push(0);
    let id = KeyId::of(key().verifying_key().as_bytes());
    for (body, problem) in [
        (padded, BadClaims::NotCanonical),
        (longer, BadClaims::NotCanonical),
        (body[..body.len() - 1].to_vec(), BadClaims::Malformed),
    ] {
        let message = [&b"uio certificate v1\0"[..], &id.0, &body].concat();
        let signature = key().sign(&message);
        let certificate = [&b"uioCERT\x01"[..], &id.0, &signature.to_bytes(), &body].concat();
        let result = try_now(&package(Some(&certificate), &object())).map(|_| ());
        assert_eq!(result, Err(AdmissionError::Claims(problem)));
    }
}

/// A signature over the body alone, or for another purpose, is none.
#[test]
fn the_domain_is_signed() {
    use ed25519_dalek::Signer;
    let body = claims(&object()).encode().expect("claims");
    let id = KeyId::of(key().verifying_key().as_bytes());
    for message in [body.clone(), [&b"uio certificate v2\0"[..], &id.0, &body].concat()] {
        let signature = key().sign(&message);
        let certificate = [&b"uioCERT\x01"[..], &id.0, &signature.to_bytes(), &body].concat();
        let result = try_now(&package(Some(&certificate), &object())).map(|_| ());
        assert_eq!(result, Err(AdmissionError::Signature { key: id }));
    }
}

#[test]
fn limits_of_objects() {
    let mut many = object();
    many.maps = vec![many.maps[0].clone(); 257];
    let certificate = sign(&claims(&many), &key()).expect("claims");
    assert_eq!(
        try_now(&package(Some(&certificate), &many)).map(|_| ()),
        Err(AdmissionError::TooMany { what: TooMany::Maps, count: 257, limit: 256 })
    );
}

#[test]
fn proofs_keep_their_order_and_lengths() {
    let proofs = [vec![1; 3], Vec::new(), vec![2; 500], vec![3]];
    let bytes = encode_package(None, b"object", &proofs).expect("fits");
    let package = uio_verifier::certificate::Package::parse(&bytes).expect("whole");
    assert_eq!(package.certificate(), None);
    assert_eq!(package.object(), b"object");
    assert!(package.proofs().eq(proofs.iter().map(Vec::as_slice)));
}
