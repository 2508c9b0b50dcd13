//! The test vectors of `docs/certificate.md`: the page and this implementation say the same.

use std::fmt::Write as _;

use uio_verifier::certificate::{
    GenerationStore, KeyId, Policy, Rollback, admit, map_schema_digest, object_digest, sign,
};

use crate::support::{TEST_ONLY_SEED, bytes, claims, key, object, package, policy_text};

const PAGE: &str = include_str!("../../../../docs/certificate.md");

/// The hexadecimal block that follows the line `<!-- vector: NAME -->`.
fn vector(name: &str) -> Vec<u8> {
    let marker = format!("<!-- vector: {name} -->\n```\n");
    let start = PAGE.find(&marker).unwrap_or_else(|| panic!("no vector `{name}`")) + marker.len();
    let block = &PAGE[start..];
    let digits: String = block[..block.find("```").expect("ends")].split_whitespace().collect();
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

fn same(name: &str, bytes: &[u8]) {
    let mut text = String::new();
    for line in bytes.chunks(32) {
        line.iter().for_each(|byte| write!(text, "{byte:02x}").expect("text"));
        text.push('\n');
    }
    assert_eq!(vector(name), bytes, "vector `{name}` should be\n{text}");
}

#[test]
fn the_page_has_the_bytes_that_we_make() {
    let object = object();
    let claims = claims(&object);
    let certificate = sign(&claims, &key()).expect("claims");
    same("seed", &TEST_ONLY_SEED);
    same("public key", key().verifying_key().as_bytes());
    same("key id", &KeyId::of(key().verifying_key().as_bytes()).0);
    same("object", &bytes(&object));
    same("object digest", &object_digest(&bytes(&object)).0);
    same("map schema digest", &map_schema_digest(&object.maps).0);
    same("body", &claims.encode().expect("claims"));
    same("certificate", &certificate);
    same("package", &package(Some(&certificate), &object));
}

/// The page's bytes, taken as a guest takes them.
#[test]
fn the_page_is_admitted() {
    let policy = Policy::parse(policy_text().as_bytes()).expect("a policy");
    let package = vector("package");
    let admitted =
        admit(&package, &policy, &GenerationStore::new(&policy), Some(1_800_000_000), Rollback::Refuse)
            .expect("admitted");
    assert_eq!(admitted.object, object());
}
