//! Policy files.

use uio_verifier::certificate::{BadHook, GenerationStore, KeyId, Policy, PolicyProblem, WithoutClock};

use crate::support::{hook, key, policy_text};

const RFC_8032_KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

fn problem(text: &str) -> (u32, PolicyProblem) {
    let error = Policy::parse(text.as_bytes()).expect_err("wrong");
    (error.line, error.problem)
}

#[test]
fn a_whole_policy() {
    let text = format!(
        "# of the provider\n\nrequire-signature yes # really\nwithout-clock accept\nrequire-engine uio\n\
         key old ed25519 {RFC_8032_KEY}\n{}\nallow lab *\nallow * timer:tick\nfloor acme packet:filter 7\n",
        policy_text()
    );
    let policy = Policy::parse(text.as_bytes()).expect("a policy");
    assert!(policy.require_signature);
    assert_eq!(policy.without_clock, WithoutClock::Accept);
    assert_eq!(policy.engines(), ["uio", "uio"]);
    assert_eq!(policy.keys().len(), 2);
    let id = KeyId::of(key().verifying_key().as_bytes());
    assert_eq!(policy.key(id).expect("known").name, "test");
    assert_eq!(policy.key(KeyId([0; 8])), None);
    for (tenant, at, expected) in [
        ("acme", "packet:any", true),
        ("acme", "tracing:any", false),
        ("acme", "timer:tick", true),
        ("lab", "tracing:any", true),
        ("else", "packet:any", false),
        ("else", "timer:tick", true),
        ("else", "timer:tock", false),
    ] {
        assert_eq!(policy.allows(tenant, &hook(at)), expected, "{tenant} {at}");
    }
    let store = GenerationStore::new(&policy);
    assert_eq!(store.floor("acme", &hook("packet:filter")), 7);
    assert_eq!(store.floor("acme", &hook("packet:other")), 0);
}

#[test]
fn an_empty_policy_is_a_closed_one() {
    assert_eq!(Policy::parse(b"").expect("empty"), Policy::closed());
    assert_eq!(Policy::parse(b"# only words\n\r\n\t\n").expect("empty"), Policy::closed());
    assert!(!Policy::open().require_signature);
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    use PolicyProblem as P;
    assert_eq!(problem("\nfoo"), (2, P::Rule("foo".into())));
    assert_eq!(problem("require-signature"), (1, P::Missing("yes or no")));
    assert_eq!(
        problem("require-signature maybe"),
        (1, P::Choice { expected: ["yes", "no"], found: "maybe".into() })
    );
    assert_eq!(problem("require-signature yes no"), (1, P::Superfluous("no".into())));
    assert_eq!(problem("require-signature yes\nrequire-signature yes"), (2, P::Twice("require-signature")));
    assert_eq!(problem("without-clock refuse\nwithout-clock accept"), (2, P::Twice("without-clock")));
    assert_eq!(problem("key a rsa 00"), (1, P::Algorithm("rsa".into())));
    assert_eq!(problem("key a ed25519 00"), (1, P::PublicKey("00".into())));
    let digits = "g".repeat(64);
    assert_eq!(problem(&format!("key a ed25519 {digits}")), (1, P::PublicKey(digits)));
    let neutral = format!("01{}", "00".repeat(31));
    assert_eq!(problem(&format!("key a ed25519 {neutral}")), (1, P::WeakKey(neutral)));
    assert_eq!(
        problem(&format!("key a ed25519 {RFC_8032_KEY}\nkey b ed25519 {RFC_8032_KEY}")),
        (2, P::KeyTwice("a".into()))
    );
    assert_eq!(problem("allow acme"), (1, P::Missing("a hook")));
    assert_eq!(problem("allow acme filter"), (1, P::Hook(BadHook::NoKind("filter".into()))));
    assert_eq!(problem("allow acme packet:a,"), (1, P::Hook(BadHook::NoKind(String::new()))));
    assert_eq!(problem("allow a,b *"), (1, P::Name("a,b".into())));
    assert_eq!(problem("floor acme packet:* 1"), (1, P::Hook(BadHook::Name("*".into()))));
    assert_eq!(problem("floor acme packet:a -1"), (1, P::Number("-1".into())));
    assert_eq!(problem(&"#".repeat(65_537)), (0, P::TooLong { bytes: 65_537 }));
    assert_eq!(problem(&"allow a *\n".repeat(1025)), (1025, P::TooMany { limit: 1024 }));
    assert_eq!(Policy::parse(b"\xff").expect_err("wrong").problem, P::NotText);
}
