//! Claims that no certificate may hold.

use uio_verifier::certificate::{
    BadClaims, BadHook, Claims, EngineVersion, Hook, HookKind, map_schema_digest,
};

use crate::support::{claims, hook, object};

fn broken(change: impl FnOnce(&mut Claims)) -> BadClaims {
    let mut claims = claims(&object());
    change(&mut claims);
    claims.encode().expect_err("breaks a rule")
}

#[test]
fn what_may_not_be_signed() {
    assert_eq!(broken(|claims| claims.hooks.clear()), BadClaims::HookCount(0));
    assert_eq!(broken(|claims| claims.hooks.reverse()), BadClaims::HookOrder);
    assert_eq!(
        broken(|claims| claims.hooks = vec![hook("packet:a"), hook("packet:a")]),
        BadClaims::HookOrder
    );
    let many = (10..27).map(|index| hook(&format!("packet:h{index}"))).collect();
    assert_eq!(broken(|claims| claims.hooks = many), BadClaims::HookCount(17));
    let star = Hook { kind: HookKind::Packet, name: "*".into() };
    assert_eq!(broken(|claims| claims.hooks = vec![star]), BadClaims::HookName("*".into()));
    for name in ["", "two words", "a:b", "a,b", "*", "ü", "#", &"x".repeat(65)] {
        assert_eq!(broken(|claims| claims.tenant = name.into()), BadClaims::Tenant(name.into()));
    }
    assert_eq!(broken(|claims| claims.engines.clear()), BadClaims::EngineCount(0));
    assert_eq!(broken(|claims| claims.engines.reverse()), BadClaims::EngineOrder);
    let twice = |version: &str| EngineVersion { name: "uio".into(), version: version.into() };
    assert_eq!(broken(|claims| claims.engines = vec![twice("1"), twice("2")]), BadClaims::EngineOrder);
    assert_eq!(broken(|claims| claims.engines[0].version.clear()), BadClaims::EngineText(String::new()));
    assert_eq!(
        broken(|claims| (claims.not_before, claims.not_after) = (2, 1)),
        BadClaims::Validity { not_before: 2, not_after: 1 }
    );
}

#[test]
fn hooks_in_words() {
    assert_eq!(hook("packet:filter"), Hook { kind: HookKind::Packet, name: "filter".into() });
    assert_eq!(hook("raw:x").to_string(), "raw:x");
    assert_eq!(Hook::parse("filter"), Err(BadHook::NoKind("filter".into())));
    assert_eq!(Hook::parse("xdp:filter"), Err(BadHook::Kind("xdp".into())));
    assert_eq!(Hook::parse("packet:"), Err(BadHook::Name(String::new())));
    assert_eq!(Hook::parse("packet:*"), Err(BadHook::Name("*".into())));
}

/// Each part of a schema counts; what a map starts with does not.
#[test]
fn schema_digests_differ_with_schemas() {
    let maps = object().maps;
    let digest = map_schema_digest(&maps);
    let mut same = maps.clone();
    same[0].initial = vec![1; 8];
    assert_eq!(map_schema_digest(&same), digest);
    type Change = fn(&mut uio_protocol::bpf::MapSpec);
    let changes: [Change; 10] = [
        |map| map.name.push('s'),
        |map| map.kind = uio_protocol::bpf::MapKind::Hash,
        |map| map.key_bytes = 8,
        |map| map.value_bytes = 4,
        |map| map.max_entries = 1,
        |map| map.flags = 1,
        |map| map.read_only = true,
        |map| map.pinned = false,
        |map| map.key_type = vec![1],
        |map| map.value_type = vec![1],
    ];
    let mut seen = vec![digest];
    for change in changes {
        let mut other = maps.clone();
        change(&mut other[0]);
        seen.push(map_schema_digest(&other));
    }
    seen.push(map_schema_digest(&[maps[0].clone(), maps[0].clone()]));
    seen.push(map_schema_digest(&[]));
    let count = seen.len();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count);
}
