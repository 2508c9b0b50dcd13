//! What cannot be linked is refused as a whole, with everything that is wrong with it.

use std::process::Command;

use uio_tests::artifacts::{compile, extension};
use uio_tests::golden::assert_golden;
use uio_tests::guest::Guest;
use uio_tests::process::{self, LIMIT};

#[test]
fn all_missing_symbols_are_named_at_once() {
    let guest = Guest::start(&["--net", "none"]);
    let object = compile(
        "missing",
        "void uio_pront(const char *, unsigned long);\nunsigned long set_cuont(unsigned long);\n\
         int quite_unlike_anything(void);\nextern int weak_one(void) __attribute__((weak));\n\
         int main(void) {\n    uio_pront(\"x\", 1);\n    if (weak_one) weak_one();\n\
         return (int)set_cuont(1) + quite_unlike_anything();\n}\n",
    );
    let free = guest.json("info")[0]["memory_free_bytes"].clone();
    let shown = guest.execute(&[&format!("load {object}")]).bad();
    assert_golden("link_missing", &shown, &[]);
    for name in ["uio_pront", "set_cuont", "quite_unlike_anything"] {
        assert!(shown.contains(&format!("`{name}`")), "{shown}");
    }
    assert!(shown.contains("`uio_print`") && shown.contains("`set_count`"), "near matches: {shown}");
    assert!(!shown.contains("weak_one"), "a weak symbol may be missing: {shown}");
    assert!(guest.say(&["ext"]).contains("nothing is loaded"));
    assert_eq!(guest.json("info")[0]["memory_free_bytes"], free, "a refused load keeps memory");
}

#[test]
fn refused_loads_leave_nothing() {
    let guest = Guest::start(&["--net", "none"]);
    let hello = extension("hello");
    let _ = guest.say(&[&format!("load {hello}")]);
    let mut all = guest.execute(&[&format!("load {hello}")]).bad();

    // Not an object; an object of another kind; one cut short.
    let home = guest.home().path();
    let image = uio_tests::artifacts::image().display().to_string();
    let bytes = std::fs::read(&hello).expect("an object");
    for (name, bytes) in
        [("text.o", &b"not an object"[..]), ("cut.o", &bytes[..bytes.len() / 2]), ("empty.o", b"")]
    {
        let path = home.join(name);
        std::fs::write(&path, bytes).expect("a file");
        all.push_str(&guest.execute(&[&format!("load {}", path.display())]).bad());
    }
    all.push_str(&guest.execute(&[&format!("load {image}")]).bad());

    // Thread-local storage has relocations that no extension can have.
    let local = compile("thread_local", "static __thread int mine;\nint main(void) { return mine++; }\n");
    all.push_str(&guest.execute(&[&format!("load {local}")]).bad());

    // Addresses above 4 GiB do not fit 32 bits.
    let narrow = compile(
        "narrow",
        "extern int main(void);\n__asm__(\".data\\n.long main\");\nint main(void) { return 0; }\n",
    );
    all.push_str(&guest.execute(&[&format!("load {narrow}")]).bad());

    // A relocation that only shared libraries have.
    let source = home.join("low.c");
    std::fs::write(&source, "extern int there;\nint main(void) { return there; }\n").expect("a source");
    let low = home.join("low.o");
    let mut compiler = Command::new("clang");
    compiler
        .args(["-O2", "-ffreestanding", "-fPIC", "-mcmodel=large", "-c"])
        .arg(&source)
        .arg("-o")
        .arg(&low);
    let _ = process::run(&mut compiler, "", LIMIT).good();
    all.push_str(&guest.execute(&[&format!("load {}", low.display())]).bad());

    // The constructor faults: nothing stays.
    let faulty = compile("faulty", "int init(void) { return *(volatile int *)8; }\nvoid exit(void) {}\n");
    let shown = guest.execute(&[&format!("load {faulty}")]).bad();
    assert!(shown.contains("so it was not loaded") && shown.contains("read from"), "{shown}");
    let failing = compile("failing", "int init(void) { return 7; }\nvoid exit(void) {}\n");
    all.push_str(&guest.execute(&[&format!("load {failing}")]).bad());

    assert_golden("link_errors", &all, &[(r"/\S+/", ""), (r"\d+ bytes", "N bytes")]);
    let loaded: Vec<String> = guest.json("ext").iter().map(|one| one["name"].to_string()).collect();
    assert_eq!(loaded, ["\"hello\""]);
}

#[test]
fn a_build_id_that_does_not_match_is_refused() {
    let guest = Guest::start(&["--net", "none"]);
    let client = guest.client();
    let object = std::fs::read(extension("hello")).expect("an object");
    let upload = client.upload(&object).expect("an upload");
    let other = uio_protocol::inspect::BuildId([0; 20]);
    let refused = client.load(upload, uio_protocol::inspect::Isolation::Mpk, other);
    assert!(refused.is_err(), "{refused:?}");
    assert!(client.extensions().expect("a list").is_empty());
}
