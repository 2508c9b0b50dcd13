//! Both boards, both kinds of protection keys.

use uio_tests::artifacts::extension;
use uio_tests::counter::Counter;
use uio_tests::guest::Guest;

/// Boots, looks around, runs an extension, and sees one contained.
fn works(machine: &str, keys: &str, backend: &str) {
    let what = format!("{machine} with {keys}");
    let guest = Guest::start(&["--machine", machine, "--isolation-backend", keys]);
    let counter = Counter::of(&guest);
    counter.must_grow(&what);
    let info = &guest.json("info")[0];
    assert_eq!(info["machine"].as_str(), Some(machine), "{what}");
    assert_eq!(info["isolation"].as_str(), Some(backend), "{what}");
    for device in ["console", "rng", "net"] {
        let devices = info["devices"].as_array().expect("devices");
        assert!(devices.iter().any(|one| one == device), "{what}: no {device} in {info}");
    }
    let (hello, wild) = (extension("hello"), extension("wild"));
    for isolation in ["mpk", "ring3"] {
        let said = guest.say(&[&format!("run --isolation {isolation} {hello} a b")]);
        assert!(said.starts_with("hello from thread") && said.contains("argv[2] = \"b\""), "{what}: {said}");
        let said = guest.execute(&[&format!("run --isolation {isolation} {wild} app-write")]).bad();
        assert!(said.contains("memory that is not its own: application data"), "{what}, {isolation}: {said}");
        let _ = guest.say(&["unload hello", "unload wild"]);
        counter.must_grow(&what);
    }
}

#[test]
fn q35_with_keys_for_user_pages() {
    works("q35", "pku", "pku");
}

#[test]
fn q35_with_keys_for_supervisor_pages() {
    works("q35", "pks", "pks");
}

#[test]
fn microvm_with_keys_for_user_pages() {
    works("microvm", "auto", "pku");
}

#[test]
fn microvm_with_keys_for_supervisor_pages() {
    works("microvm", "pks", "pks");
}

#[test]
fn a_small_machine_is_enough() {
    let guest = Guest::start(&["--mem", "32M", "--net", "none"]);
    Counter::of(&guest).must_grow("booting with 32 MiB");
    let said = guest.say(&[&format!("run {} 2 3", extension("add"))]);
    assert!(said.contains("2 + 3 = 5"), "{said}");
}

#[test]
fn without_isolation_an_extension_may_do_what_the_kernel_may() {
    let guest = Guest::start(&["--net", "none"]);
    let counter = Counter::of(&guest);
    let said = guest.say(&[&format!("run --isolation none {} 123456789", extension("set_count"))]);
    assert!(!said.contains("fault"), "{said}");
    counter.must_grow("set_count");
    let written = guest.say(&[&format!("run --isolation none {} app-write", extension("wild"))]);
    assert!(written.contains("came back"), "{written}");
    // The case adds a million millions.
    assert!(counter.now() > 1_000_000_000_000, "the write did not arrive: {}", counter.now());
}
