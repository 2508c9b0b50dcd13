//! Limits of what may be loaded.

use uio_tests::artifacts::extension;
use uio_tests::counter::Counter;
use uio_tests::guest::Guest;
use uio_tests::session::Session;

/// Keys for domains: 16, less those of the kernel, the application and the exchange pages.
const DOMAINS: usize = 13;

/// When keys run out, a load says so; nothing is shared silently.
#[test]
fn keys_run_out_with_a_word() {
    let guest = Guest::start(&["--net", "none"]);
    let mut session = Session::open(&guest);
    let home = guest.home().path();
    let object = std::fs::read(extension("add")).expect("an object");
    let load = |session: &mut Session, number: usize| {
        let path = home.join(format!("copy{number}.o"));
        std::fs::write(&path, &object).expect("a copy");
        session.ask(&format!("load {}", path.display())).pop().expect("an answer")
    };
    for number in 0..DOMAINS {
        let loaded = load(&mut session, number);
        assert!(loaded["id"].is_number(), "{number}: {loaded}");
    }
    let refused = load(&mut session, DOMAINS);
    assert!(refused["error"].as_str().is_some_and(|error| error.contains("keys are taken")), "{refused}");
    let trusted = session.ask(&format!("load --isolation none {}", home.join("copy13.o").display()));
    assert!(trusted[0]["id"].is_number(), "{trusted:?}");
    // A key comes back with its extension.
    let _ = session.ask("unload copy3");
    let _ = session.ask("unload copy13");
    let again = load(&mut session, DOMAINS);
    assert!(again["id"].is_number(), "{again}");
    Counter::of(&guest).must_grow("thirteen domains");
}

/// An extension that is larger than the guest's memory, or than what one may have, is refused.
#[test]
fn what_does_not_fit_is_refused() {
    let guest = Guest::start(&["--net", "none", "--mem", "64M"]);
    let huge = uio_tests::artifacts::compile(
        "huge",
        "char much[200u << 20];\nint main(int argc, char **argv) { (void)argv; return much[argc * 4096]; }\n",
    );
    // The first try leaves page tables of the window behind, for the next.
    let _ = guest.execute(&[&format!("load {huge}")]).bad();
    let free = guest.json("info")[0]["memory_free_bytes"].clone();
    let shown = guest.execute(&[&format!("load {huge}")]).bad();
    assert!(shown.starts_with("error:") && shown.matches("error:").count() == 1, "{shown}");
    let large = uio_tests::artifacts::compile(
        "large",
        "const char much[6u << 20] = {1, 2, 3};\nint main(int argc, char **argv) { (void)argv; return much[argc]; }\n",
    );
    let shown = guest.execute(&[&format!("load {large}")]).bad();
    assert!(shown.starts_with("error:"), "{shown}");
    assert_eq!(guest.json("info")[0]["memory_free_bytes"], free);
    Counter::of(&guest).must_grow("loads that do not fit");
}
