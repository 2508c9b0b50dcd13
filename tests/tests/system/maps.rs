//! eBPF maps: typed, shared by name, kept over programs' replacement.

use std::fs;

use uio_tests::golden::assert_golden;
use uio_tests::guest::Guest;

use crate::programs::udp_packet;

fn guest() -> Guest {
    Guest::start(&["--net", "none"])
}

#[test]
fn values_are_shown_and_read_by_their_types() {
    let guest = guest();
    let _ = guest.say(&["prog load extensions/bpf/rate_limiter.c", "prog load extensions/bpf/lpm_router.c"]);
    let packet = udp_packet([10, 0, 0, 7], [10, 1, 2, 3], 53);
    let _ = guest.say(&[&format!("prog test rate_limiter --repeat 40 --data-in {packet}")]);
    // What the program made of it: one bucket, of the source address.
    let buckets = guest.json("map dump buckets");
    assert_eq!(buckets.len(), 1);
    assert_eq!(buckets[0]["key_hex"], "0a000007");
    let text = guest.say(&[
        "map list",
        "map show buckets",
        "map update buckets 10.0.0.9 '{ filled_ns = 5, tokens = 7 }'",
        "map lookup buckets 10.0.0.9",
        "map lookup buckets hex 0a 00 00 09",
        "map update routes '{ bits = 8, address = 10.0.0.0 }' 4",
        "map update routes '{ bits = 24, address = 10.1.2.0 }' 5 --new",
        "map dump routes",
    ]);
    assert_golden("map", &text, &[]);
    // The program goes by what the shell wrote.
    let routed = guest.say(&[&format!("prog test lpm_router --data-in {packet}")]);
    assert!(routed.starts_with("returned 5,"), "{routed}");
    let _ = guest.say(&["map delete routes '{ bits = 24, address = 10.1.2.0 }'"]);
    let routed = guest.say(&[&format!("prog test lpm_router --data-in {packet}")]);
    assert!(routed.starts_with("returned 4,"), "{routed}");
}

#[test]
fn mistakes_have_a_next_step() {
    let guest = guest();
    let _ = guest.say(&["prog load extensions/bpf/rate_limiter.c", "prog load extensions/bpf/round_robin.c"]);
    let _ = guest.say(&["map update buckets 10.0.0.1 '{ tokens = 1 }'"]);
    let mut text = String::new();
    for command in [
        "map lookup buckets 10.0.0.2",
        "map lookup buckets",
        "map lookup buckets ten",
        "map update buckets 10.0.0.1 '{ tokens = 1 }' --new",
        "map update buckets 10.0.0.2 '{ tokens = 1 }' --existing",
        "map update buckets 10.0.0.2 '{ nonsense = 1 }'",
        "map update buckets 10.0.0.2",
        "map update buckets 10.0.0.2 0 --new --existing",
        "map delete buckets 10.0.0.2",
        "map take buckets",
        "map unpin buckets",
        "map dump bucketz",
    ] {
        text.push_str(&format!("> {command}\n{}", guest.execute(&[command]).bad()));
    }
    assert_golden("map_errors", &text, &[]);
}

/// A pinned map outlives its programs, and a newer version goes on with its values.
#[test]
fn values_survive_a_program_s_replacement() {
    let guest = guest();
    let first = guest.json("prog load extensions/bpf/state_migration_v1.c --name first")[0]["id"].clone();
    let _ = guest.say(&["prog test first --repeat 41"]);
    assert_eq!(guest.json("map dump packets")[0]["value"], "41");
    let second = guest.json("prog load extensions/bpf/state_migration_v1.c --name second")[0].clone();
    let _ = guest.say(&[&format!("prog unload {first}"), "prog test second"]);
    assert_eq!(guest.json("map dump packets")[0]["value"], "42");
    let _ = guest.say(&["prog unload second"]);
    let kept = &guest.json("map show packets")[0];
    assert_eq!(kept["pinned"], "packets", "{second}");
    assert_eq!(kept["programs"].as_array().map(Vec::len), Some(0));

    // Declared otherwise, it is refused, and nothing has changed.
    let other = guest.home().path().join("other.c");
    let text = "#include \"uio_bpf.h\"\nstruct {\n    __uint(type, BPF_MAP_TYPE_ARRAY);\n    __uint(max_entries, 2);\n\
                \x20   __type(key, __u32);\n    __type(value, __u32);\n    __uint(pinning, LIBBPF_PIN_BY_NAME);\n\
                } packets SEC(\".maps\");\nSEC(\"xdp\") int other(struct xdp_md *context)\n{\n    __u32 key = 1;\n\
                \x20   return bpf_map_lookup_elem(&packets, &key) ? XDP_PASS : XDP_DROP;\n}\n";
    fs::write(&other, text).expect("a source");
    let refused = guest.execute(&[&format!("prog load {}", other.display())]).bad();
    assert!(
        refused.contains("map `packets` is pinned with another number of entries: map 1 has 1, the object 2"),
        "{refused}"
    );
    assert!(refused.contains("hint: `map dump`"), "{refused}");
    assert_eq!(guest.json("prog list").len(), 0);
    assert_eq!(guest.json("map dump packets")[0]["value"], "42");
    let said = guest.say(&["map unpin packets"]);
    assert_eq!(said, "unpinned packets; no program used it, so it is gone\n");
    let _ = guest.say(&[&format!("prog load {}", other.display())]);
}

#[test]
fn pins_are_set_by_hand() {
    let guest = guest();
    let _ = guest.say(&["prog load extensions/bpf/rate_limiter.c"]);
    let said = guest.say(&["map pin buckets limits", "prog unload rate_limiter", "map list"]);
    assert!(said.contains("pinned map 1 as limits") && said.contains("limits"), "{said}");
    let refused = guest.execute(&["map pin limits limits", "map pin nothing x"]).bad();
    assert!(refused.contains("no map `nothing`"), "{refused}");
    let _ = guest.say(&["map unpin limits"]);
    assert!(guest.say(&["map list"]).starts_with("there are no maps"));
}
