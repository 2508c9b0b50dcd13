//! Key files.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use uio_verify::key::{KeyError, create, id, load, public_hex};

/// TEST ONLY. What `openssl genpkey -algorithm ed25519` writes, for the seed of RFC 8032, 7.1, test 1.
const TEST_ONLY_PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n\
    -----END PRIVATE KEY-----\n";

#[test]
fn a_new_key_is_read_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key.pem");
    let made = create(&path).expect("made");
    assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    let read = load(&path).expect("read");
    assert_eq!(made.to_bytes(), read.to_bytes());
    assert_eq!(public_hex(&read).len(), 64);
    let other = create(&folder.path().join("other.pem")).expect("made");
    assert_ne!(id(&made), id(&other));
}

#[test]
fn nothing_is_overwritten() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key.pem");
    fs::write(&path, "precious").expect("a file");
    let error = create(&path).expect_err("there is one");
    assert!(matches!(error, KeyError::Exists(_)), "{error}");
    assert_eq!(fs::read_to_string(&path).expect("a file"), "precious");
    // Neither what a link points to.
    let link = folder.path().join("link.pem");
    std::os::unix::fs::symlink(folder.path().join("target"), &link).expect("a link");
    assert!(matches!(create(&link), Err(KeyError::Exists(_))));
}

#[test]
fn keys_that_others_can_read_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key.pem");
    create(&path).expect("made");
    for mode in [0o640, 0o604, 0o620, 0o610] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("a mode");
        let error = load(&path).expect_err("exposed");
        let KeyError::Exposed { mode: found, .. } = &error else { panic!("{error}") };
        assert_eq!(*found, mode);
        assert!(error.hint().expect("a hint").contains("chmod 600"));
    }
    fs::set_permissions(&path, Permissions::from_mode(0o400)).expect("a mode");
    assert!(load(&path).is_ok());
}

#[test]
fn keys_of_others_tools_are_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("key.pem");
    let write = |text: &[u8]| {
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a mode");
    };
    write(TEST_ONLY_PEM.as_bytes());
    let key = load(&path).expect("read");
    assert_eq!(public_hex(&key), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
    for text in [&b""[..], b"\xff\xfe", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        write(text);
        assert!(matches!(load(&path), Err(KeyError::Malformed { .. })));
    }
    assert!(matches!(load(&folder.path().join("none")), Err(KeyError::Io { .. })));
}
