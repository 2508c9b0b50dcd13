//! The sample programs: every good one is accepted and its proof checks, every bad one is refused, and tampered
//! proofs are survived.

mod support;

use support::{analyse_all, render};
use uio_bpf_objects::parse;
use uio_bpf_samples::{Cpu, PREBUILT, firewall, object, rejected, rejected_object, samples};
use uio_protocol::bpf::ObjectImage;
use uio_verifier::{Proof, check};

fn good() -> Vec<(String, Vec<u8>)> {
    samples()
        .into_iter()
        .flat_map(|name| Cpu::COMMON.map(|cpu| (format!("{name} {}", cpu.name()), object(&name, cpu))))
        .chain(PREBUILT.iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())))
        .collect()
}

#[test]
fn samples_are_accepted() {
    let mut refused = Vec::new();
    for (name, bytes) in good() {
        let parsed = parse(&bytes, &name).expect("an object");
        for (index, result) in analyse_all(&parsed, true).into_iter().enumerate() {
            match result {
                Ok(analysis) => {
                    assert_eq!(analysis.checked.fuel, [], "{name}: every loop of the samples has a bound");
                    let encoded = analysis.proof.encode();
                    assert_eq!(Proof::decode(&encoded).as_ref(), Ok(&analysis.proof), "{name}");
                }
                Err(rejection) => refused.push(format!("{name}: {}", render(&parsed, index, &rejection))),
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn bad_programs_are_refused() {
    let mut accepted = Vec::new();
    for name in rejected() {
        for cpu in Cpu::COMMON {
            let parsed = parse(&rejected_object(&name, cpu), &name).expect("an object");
            if analyse_all(&parsed, false).iter().all(Result::is_ok) {
                accepted.push(format!("{name} {}", cpu.name()));
            }
        }
    }
    assert!(accepted.is_empty(), "accepted: {accepted:?}");
}

#[test]
fn loops_without_a_bound_get_fuel_if_wanted() {
    for name in ["loop_forever", "loop_unbounded"] {
        let parsed = parse(&rejected_object(name, Cpu::V3), name).expect("an object");
        let analysis = analyse_all(&parsed, true).remove(0).expect("accepted with fuel");
        assert!(!analysis.checked.fuel.is_empty(), "{name}");
    }
}

/// A proof is for its program: that of another one, or of the same one before a change, is refused or as good.
#[test]
fn tampered_proofs_are_survived() {
    let mut objects: Vec<(ObjectImage, Proof)> = Vec::new();
    for (name, bytes) in good() {
        let parsed = parse(&bytes, &name).expect("an object");
        for analysis in analyse_all(&parsed, true).into_iter().flatten() {
            let object = ObjectImage { programs: vec![analysis.program], ..parsed.image.clone() };
            objects.push((object, analysis.proof));
        }
    }
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    };
    let mut refused = 0;
    for (object, proof) in &objects {
        let encoded = proof.encode();
        for end in 0..encoded.len() {
            assert!(Proof::decode(&encoded[..end]).is_err(), "a proof cut at {end}");
        }
        for _ in 0..300 {
            let mut wrong = encoded.clone();
            for _ in 0..1 + random(3) {
                let place = random(wrong.len());
                wrong[place] =
                    [wrong[place] ^ (1 << random(8)), 0, 255, wrong[place].wrapping_add(1)][random(4)];
            }
            let accepted = Proof::decode(&wrong).is_ok_and(|wrong| check(object, 0, &wrong).is_ok());
            refused += usize::from(!accepted);
        }
        // Of other programs: a state must never be taken for one of another program's without being covered by it.
        for (_, other) in &objects {
            let _ = check(object, 0, other);
        }
    }
    assert!(refused > 1000, "{refused} tampered proofs refused");
}

/// Cost grows with the program, not faster.
#[test]
fn firewalls_cost_what_their_size_says() {
    for rules in [100, 1000, 10_000] {
        let parsed = parse(&firewall(rules, Cpu::V3), "firewall").expect("an object");
        let analysis = analyse_all(&parsed, true).remove(0).expect("accepted");
        let slots = analysis.program.slots.len() as u64;
        assert!(analysis.statistics.instructions <= 3 * slots, "{rules}: {:?}", analysis.statistics);
        assert!(analysis.checked.statistics.instructions <= 3 * slots, "{rules}: {:?}", analysis.checked);
        assert!(analysis.checked.statistics.waiting <= 64, "{rules}: {:?}", analysis.checked);
        assert!((analysis.proof.encode().len() as u64) < slots, "{rules}");
    }
}
