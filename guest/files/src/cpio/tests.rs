use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// Writes archives for tests.
#[derive(Default)]
pub(crate) struct Builder {
    bytes: Vec<u8>,
    inode: u32,
}

impl Builder {
    pub(crate) fn raw(&mut self, magic: &[u8], numbers: [u32; 13], name: &[u8], data: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(magic);
        for number in numbers {
            self.bytes.extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name);
        self.pad();
        self.bytes.extend_from_slice(data);
        self.pad();
        self
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    pub(crate) fn linked(&mut self, name: &str, mode: u32, inode: u32, links: u32, data: &[u8]) -> &mut Self {
        let name = format!("{name}\0");
        let sizes = (data.len() as u32, name.len() as u32);
        let numbers = [inode, mode, 0, 0, links, 0, sizes.0, 8, 1, 0, 0, sizes.1, 0];
        self.raw(MAGIC, numbers, name.as_bytes(), data)
    }

    pub(crate) fn entry(&mut self, name: &str, mode: u32, data: &[u8]) -> &mut Self {
        self.inode += 1;
        self.linked(name, mode, self.inode, 1, data)
    }

    pub(crate) fn file(&mut self, name: &str, data: &[u8]) -> &mut Self {
        self.entry(name, 0o100_644, data)
    }

    pub(crate) fn directory(&mut self, name: &str) -> &mut Self {
        self.entry(name, 0o040_755, b"")
    }

    pub(crate) fn finish(&mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, b"");
        core::mem::take(&mut self.bytes)
    }
}

fn first_error(bytes: &[u8]) -> CpioError {
    Archive::new(bytes).find_map(Result::err).unwrap()
}

#[test]
fn reads_what_was_written() {
    let bytes = Builder::default()
        .directory("etc")
        .file("etc/motd", b"hello")
        .entry("sh", 0o120_777, b"busybox")
        .entry("null", 0o020_666, b"")
        .finish();
    let entries: Vec<_> = Archive::new(&bytes).map(Result::unwrap).collect();
    let seen: Vec<_> = entries.iter().map(|entry| (entry.name, entry.kind, entry.data)).collect();
    assert_eq!(
        seen,
        [
            ("etc", EntryKind::Directory, &b""[..]),
            ("etc/motd", EntryKind::Regular, b"hello"),
            ("sh", EntryKind::Link, b"busybox"),
            ("null", EntryKind::Other(0o020_666), b""),
        ]
    );
    assert_eq!(entries[1].permissions, 0o644);
}

#[test]
fn names_what_is_wrong() {
    let good = Builder::default().file("a", b"12345").finish();
    let left = good.len();
    assert_eq!(first_error(b""), CpioError::Truncated { offset: 0, needed: HEADER_BYTES, left: 0 });
    // The trailer is missing: the second entry would begin at byte 120.
    assert_eq!(
        first_error(&good[..120]),
        CpioError::Truncated { offset: 120, needed: HEADER_BYTES, left: 0 }
    );
    let mut bad = good.clone();
    bad[5] = b'7';
    assert_eq!(first_error(&bad), CpioError::BadMagic { offset: 0 });
    bad.clone_from(&good);
    bad[6 + 8] = b'+';
    assert_eq!(first_error(&bad), CpioError::BadNumber { offset: 14 });
    bad.clone_from(&good);
    bad[HEADER_BYTES + 1] = b'x';
    assert_eq!(first_error(&bad), CpioError::BadName { offset: 0 });
    bad.clone_from(&good);
    bad[HEADER_BYTES] = 0xff;
    assert_eq!(first_error(&bad), CpioError::BadName { offset: 0 });
    bad.clone_from(&good);
    bad[6 + 6 * 8..6 + 7 * 8].copy_from_slice(b"ffffffff");
    assert_eq!(first_error(&bad), CpioError::Truncated { offset: 0, needed: 112 + 0xffff_ffff, left });
}

#[test]
fn checks_checksums() {
    let numbers = |sum| [1, 0o100_644, 0, 0, 1, 0, 3, 0, 0, 0, 0, 2, sum];
    let good = Builder::default().raw(MAGIC_CHECKSUM, numbers(6), b"a\0", &[1, 2, 3]).finish();
    assert_eq!(exercise(&good), 1);
    let bad = Builder::default().raw(MAGIC_CHECKSUM, numbers(7), b"a\0", &[1, 2, 3]).finish();
    assert_eq!(first_error(&bad), CpioError::BadChecksum { offset: 0, stated: 7, computed: 6 });
}

proptest! {
    #[test]
    fn round_trip(files in proptest::collection::vec(("[a-z/.]{1,30}", any::<Vec<u8>>()), 0..8)) {
        let mut builder = Builder::default();
        for (name, data) in &files {
            builder.file(name, data);
        }
        let bytes = builder.finish();
        let read: Result<Vec<(String, Vec<u8>)>, _> = Archive::new(&bytes)
            .map(|entry| entry.map(|entry| (entry.name.into(), entry.data.to_vec())))
            .collect();
        prop_assert_eq!(read.unwrap(), files);
    }

    #[test]
    fn survives_anything(mut bytes in any::<Vec<u8>>(), magic in any::<bool>()) {
        if magic && bytes.len() >= 6 {
            bytes[..6].copy_from_slice(MAGIC);
        }
        prop_assert!(exercise(&bytes) <= bytes.len() / HEADER_BYTES);
    }

    #[test]
    fn survives_damage(at in 0usize..300, byte in any::<u8>(), cut in 0usize..300) {
        let mut bytes = Builder::default().file("one", &[1; 40]).directory("two").finish();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(cut);
        let walked: Vec<_> = Archive::new(&bytes).collect();
        prop_assert!(walked.len() <= 3);
        // An error is the last thing that an iteration yields.
        let errors = walked.iter().rev().skip(1).filter(|entry| entry.is_err()).count();
        prop_assert_eq!(errors, 0);
    }
}

#[test]
fn an_empty_archive_is_no_error() {
    assert_eq!(Archive::new(&Builder::default().finish()).collect::<Vec<_>>(), vec![]);
}
