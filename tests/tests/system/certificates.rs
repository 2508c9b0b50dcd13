//! Certificates: a guest whose policy asks for them, and every way in which one does not count.

use std::fs;
use std::path::Path;
use std::process::Command;

use uio_tests::artifacts::workspace;
use uio_tests::golden::assert_golden;
use uio_tests::guest::{Guest, Home};
use uio_tests::process::{self, LIMIT};

use crate::files::archive;

/// Compiles a sample.
fn object(home: &Home, name: &str) -> String {
    let mut build = Command::new(workspace().join("extensions/build-bpf.sh"));
    build.arg(home.path()).arg(workspace().join(format!("extensions/bpf/{name}.c")));
    let _ = process::run(&mut build, "", LIMIT).good();
    home.path().join(format!("{name}.o")).display().to_string()
}

/// A new key; its file, and its line for a policy.
fn key(home: &Home, name: &str) -> (String, String) {
    let path = home.path().join(name).display().to_string();
    let _ = home.run(&["key", "new", &path]).good();
    let shown = home.run(&["key", "show", &path]).good();
    let line = shown.lines().find_map(|line| line.strip_prefix("policy ")).expect("a line for policies");
    (path, line.trim().to_owned())
}

fn sign(home: &Home, object: &str, key: &str, tenant: &str, generation: &str) -> String {
    let certificate = format!("{object}.{tenant}.{generation}.cert");
    let signed = home.run(&[
        "sign",
        object,
        "--key",
        key,
        "--hook",
        "packet:filter",
        "--tenant",
        tenant,
        "--valid",
        "1d",
        "--generation",
        generation,
        "--engines",
        "uio",
        "--output",
        &certificate,
    ]);
    let _ = signed.good();
    certificate
}

#[test]
fn the_policy_of_the_image_decides_who_loads() {
    const FOLDER: u32 = 0o040_755;
    const FILE: u32 = 0o100_644;
    let home = Home::new();
    let (provider, line) = key(&home, "provider.pem");
    let (stranger, _) = key(&home, "stranger.pem");
    let policy = format!("require-signature yes\nwithout-clock refuse\n{line}\nallow acme packet:*\n");
    let entries =
        [("etc", FOLDER, &b""[..]), ("etc/uio", FOLDER, b""), ("etc/uio/policy", FILE, policy.as_bytes())];
    let initrd = home.path().join("initrd");
    fs::write(&initrd, archive(&entries)).expect("an archive");
    let (pass, drop) = (object(&home, "pass"), object(&home, "drop"));
    let guest = Guest::start(&["--net", "none", "--initrd", &initrd.display().to_string()]);
    assert!(guest.say(&["feature"]).contains("required, of "), "the policy shows");

    let certificate = sign(&home, &pass, &provider, "acme", "7");
    let older = sign(&home, &pass, &provider, "acme", "6");
    let other_tenant = sign(&home, &pass, &provider, "evil", "8");
    let other_key = sign(&home, &pass, &stranger, "acme", "8");
    let other_object = sign(&home, &drop, &provider, "acme", "8");
    let mut changed = fs::read(&certificate).expect("a certificate");
    let last = changed.len() - 1;
    changed[last] ^= 1;
    let damaged = home.path().join("damaged.cert").display().to_string();
    fs::write(&damaged, changed).expect("a file");

    let loaded = guest.json(&format!("prog load {pass} --cert {certificate}"));
    assert_eq!((&loaded[0]["tenant"], &loaded[0]["generation"]), (&"acme".into(), &7.into()));
    let mut text = guest.say(&["prog list", "prog show pass"]);
    for command in [
        format!("prog load {pass}"),
        format!("prog load {pass} --cert {older}"),
        format!("prog load {pass} --cert {other_tenant}"),
        format!("prog load {pass} --cert {other_key}"),
        format!("prog load {pass} --cert {other_object}"),
        format!("prog load {pass} --cert {damaged}"),
        // The shell's own file changes nothing.
        format!("cp host:{} /etc/uio/policy", Path::new(&pass).display()),
        format!("bpf run {pass}"),
    ] {
        let said = guest.execute(&[&command]);
        if command.starts_with("cp ") {
            assert_eq!(said.code, Some(0), "{said:#?}");
            continue;
        }
        text.push_str(&format!("> {command}\n{}", said.bad()));
    }
    let text = text.replace(&home.path().display().to_string(), "FOLDER");
    let volatile =
        [(r"\b[0-9a-f]{64}\b", "DIGEST"), (r"\b[0-9a-f]{16}\b", "KEY"), (r"\b20\d\d-\d\d-\d\d\b", "DATE")];
    assert_golden("certificates", &text, &volatile);
    let again = guest.json(&format!("prog load {pass} --cert {older} --rollback"));
    assert_eq!(again[0]["generation"], 6);
    let said = guest.say(&[&format!("bpf run {pass} --cert {certificate}")]);
    assert_eq!(said, "returned 2 (0x2)\n");
}
