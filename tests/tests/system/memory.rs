//! Limits of what may be loaded.

use uio_tests::counter::Counter;
use uio_tests::guest::Guest;

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
    assert!(shown.starts_with("error: no room for 200 MiB of loaded code"), "{shown}");
    let large = uio_tests::artifacts::compile(
        "large",
        "const char much[6u << 20] = {1, 2, 3};\nint main(int argc, char **argv) { (void)argv; return much[argc]; }\n",
    );
    let shown = guest.execute(&[&format!("load {large}")]).bad();
    assert!(shown.starts_with("error:"), "{shown}");
    assert_eq!(guest.json("info")[0]["memory_free_bytes"], free);
    Counter::of(&guest).must_grow("loads that do not fit");
}
