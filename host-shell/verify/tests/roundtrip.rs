//! From clang's object to what a guest admits and checks.

use std::time::Duration;

use ed25519_dalek::SigningKey;
use uio_bpf_samples::{Cpu, object};
use uio_verifier::certificate::{
    AdmissionError, Bound, Claims, GenerationStore, Hook, Policy, Rollback, UnprovenReason, admit,
    encode_package, sign,
};
use uio_verify::{IssueError, Issued, Request, Terms, Verification, issue, key, read_object, verify};

/// A second in 2027.
const NOW: u64 = 1_800_000_000;

/// TEST ONLY. Everybody knows this key.
fn test_only_key() -> SigningKey {
    SigningKey::from_bytes(b"uio TEST ONLY key, never trust!!")
}

fn verification(name: &str) -> Verification {
    verify(read_object(&object(name, Cpu::V3), name).expect("an object"), &Request::default())
}

fn terms() -> Terms {
    Terms {
        hooks: vec![Hook::parse("packet:filter").expect("a hook")],
        tenant: "acme".into(),
        valid: Duration::from_secs(1000),
        generation: None,
        fuel: None,
        run_time: None,
    }
}

fn issued(verification: &Verification) -> Issued {
    issue(verification, &terms(), &test_only_key(), NOW).expect("accepted")
}

fn policy() -> Policy {
    let public = key::public_hex(&test_only_key());
    let text = format!(
        "key test ed25519 {public}\nallow acme packet:filter\nrequire-engine uio\nrequire-engine prevail\n"
    );
    Policy::parse(text.as_bytes()).expect("a policy")
}

/// What a guest says, up to and including the proofs.
fn load(package: &[u8], now: u64) -> Result<u32, String> {
    let none = GenerationStore::default();
    let admitted =
        admit(package, &policy(), &none, Some(now), Rollback::Refuse).map_err(|error| error.to_string())?;
    let checked = admitted.check().map_err(|error| error.to_string())?;
    Ok(checked.iter().map(|checked| checked.stack_bytes).max().unwrap_or_default())
}

#[test]
fn every_kind_of_program_goes_through() {
    for name in ["pass", "port_filter", "nat", "rate_limiter", "ringbuf_events", "lpm_router", "tail_call"] {
        let verification = verification(name);
        let issued = issued(&verification);
        let stack = load(&issued.package, NOW).expect(name);
        assert_eq!(stack, issued.claims.bounds.stack_bytes, "{name}: what was signed is what is needed");
        assert_eq!(issued.claims.generation, NOW);
        assert_eq!(
            load(&issued.package, NOW + 1001),
            Err(format!("the certificate was valid until second {}; it is {}", NOW + 1000, NOW + 1001))
        );
    }
}

/// The same file gives the same bytes, wherever it is verified: the certificate of one fits the object of another.
#[test]
fn objects_are_made_alike_every_time() {
    let (one, other) = (verification("nat"), verification("nat"));
    assert_eq!(one.loadable, other.loadable);
    assert_eq!(one.report.digest, other.report.digest);
}

/// The signature does not cover the proof; the check does not need it to.
#[test]
fn a_changed_proof_is_admitted_but_not_believed() {
    let verification = verification("nat");
    let issued = issued(&verification);
    let loadable = verification.loadable.expect("accepted");
    let mut refused = 0;
    for bit in (0..loadable.proofs[0].len() * 8).step_by(97) {
        let mut proofs = loadable.proofs.clone();
        proofs[0][bit / 8] ^= 1 << (bit % 8);
        let package = encode_package(Some(&issued.certificate), &loadable.object, &proofs).expect("fits");
        let none = GenerationStore::default();
        let admitted = admit(&package, &policy(), &none, Some(NOW), Rollback::Refuse).expect("signed");
        refused += usize::from(admitted.check().is_err());
    }
    // A change that only weakens an unused fact can still be a proof.
    assert!(refused > 10, "{refused}");
    for proof in [Vec::new(), vec![0xff; 100]] {
        let package = encode_package(Some(&issued.certificate), &loadable.object, &[proof]).expect("fits");
        assert!(load(&package, NOW).expect_err("no proof").starts_with("program 0: "));
    }
}

#[test]
fn more_stack_than_granted_is_refused() {
    let verification = verification("nat");
    let issued = issued(&verification);
    let needed = issued.claims.bounds.stack_bytes;
    assert!(needed > 0);
    let mut claims: Claims = issued.claims;
    claims.bounds.stack_bytes = needed - 1;
    let certificate = sign(&claims, &test_only_key()).expect("claims");
    let loadable = verification.loadable.expect("accepted");
    let package = encode_package(Some(&certificate), &loadable.object, &loadable.proofs).expect("fits");
    let none = GenerationStore::default();
    let admitted = admit(&package, &policy(), &none, Some(NOW), Rollback::Refuse).expect("signed");
    let unproven = admitted.check().expect_err("too much stack");
    assert_eq!(
        unproven.reason,
        UnprovenReason::Stack(AdmissionError::Bounds {
            bound: Bound::StackBytes,
            limit: u64::from(needed) - 1,
            needed: u64::from(needed)
        })
    );
}

#[test]
fn what_only_one_engine_accepted_is_not_signed() {
    let mut verification = verification("string_matcher");
    assert!(!verification.report.accepted);
    assert_eq!(issue(&verification, &terms(), &test_only_key(), NOW).map(|_| ()), Err(IssueError::Rejected));
    // Without a proof there is nothing to load, whoever accepts.
    let request = Request { engines: "prevail".parse().expect("an engine"), ..Request::default() };
    verification = verify(read_object(&object("pass", Cpu::V3), "pass").expect("an object"), &request);
    assert!(verification.report.accepted);
    assert_eq!(issue(&verification, &terms(), &test_only_key(), NOW).map(|_| ()), Err(IssueError::Unproven));
}

/// A certificate names the engines that accepted, and a guest can require both.
#[test]
fn a_guest_can_require_both_engines() {
    let request = Request { engines: "uio".parse().expect("an engine"), ..Request::default() };
    let by_one = verify(read_object(&object("pass", Cpu::V3), "pass").expect("an object"), &request);
    let refused = load(&issued(&by_one).package, NOW).expect_err("only one");
    assert!(refused.contains("engine `prevail` has not accepted the object"), "{refused}");
}
