use std::collections::BTreeMap;
use std::string::String;
use std::vec;
use std::vec::Vec;

use proptest::prelude::*;
use uio_protocol::inspect::FileKind;

use super::*;
use crate::errno::EINVAL;
use crate::path::AbsolutePath;

type Ram = RamFs<parking_lot::RawMutex>;

fn at(path: &str) -> AbsolutePath {
    AbsolutePath::normalise(path).unwrap()
}

fn ram(bytes: u64, entries: usize) -> Ram {
    Ram::new(Limits { bytes, entries })
}

fn write(ram: &Ram, path: &str, bytes: &[u8]) -> Result<(), FileError> {
    ram.write_at(at(path).relative(), 0, bytes)
}

fn make(ram: &Ram, path: &str) -> Result<(), FileError> {
    ram.make_directory(at(path).relative())
}

fn rename(ram: &Ram, from: &str, to: &str) -> Result<(), FileError> {
    ram.rename(at(from).relative(), at(to).relative())
}

fn remove(ram: &Ram, path: &str) -> Result<(), FileError> {
    ram.remove(at(path).relative())
}

fn size(ram: &Ram, path: &str) -> Result<u64, FileError> {
    ram.status(at(path).relative()).map(|info| info.size)
}

#[test]
fn errors_say_what_is_wrong() {
    let ram = ram(1 << 20, 100);
    make(&ram, "/d").unwrap();
    write(&ram, "/d/f", b"x").unwrap();
    assert_eq!(size(&ram, "/no"), Err(FileError::NotFound));
    assert_eq!(size(&ram, "/d/f/x"), Err(FileError::NotDirectory));
    assert_eq!(write(&ram, "/no/f", b"x"), Err(FileError::NotFound));
    assert_eq!(write(&ram, "/d", b"x"), Err(FileError::IsDirectory));
    assert_eq!(write(&ram, "/", b"x"), Err(FileError::IsDirectory));
    assert_eq!(ram.read_at(at("/d").relative(), 0, &mut [0]), Err(FileError::IsDirectory));
    assert_eq!(ram.list(at("/d/f").relative(), 0, 1), Err(FileError::NotDirectory));
    assert_eq!(make(&ram, "/d"), Err(FileError::Exists));
    assert_eq!(make(&ram, "/"), Err(FileError::Exists));
    assert_eq!(ram.create(at("/d/f").relative()), Err(FileError::Exists));
    assert_eq!(remove(&ram, "/d"), Err(FileError::NotEmpty));
    assert_eq!(remove(&ram, "/"), Err(FileError::Permission));
    assert_eq!(remove(&ram, "/d/g"), Err(FileError::NotFound));
}

#[test]
fn limits_hold_and_memory_comes_back() {
    let block = BLOCK_BYTES as u64;
    let ram = ram(2 * block, 2);
    write(&ram, "/a", &[1; BLOCK_BYTES + 1]).unwrap();
    assert_eq!(write(&ram, "/b", b"x"), Err(FileError::NoSpace));
    assert_eq!(size(&ram, "/b"), Err(FileError::NotFound), "a failed write leaves no file behind");
    assert_eq!(ram.usage(), Usage { bytes: 2 * block, entries: 1 });
    ram.truncate(at("/a").relative(), 5).unwrap();
    write(&ram, "/b", b"x").unwrap();
    assert_eq!(make(&ram, "/c"), Err(FileError::NoSpace));
    remove(&ram, "/a").unwrap();
    assert_eq!(ram.usage(), Usage { bytes: block, entries: 1 });
    make(&ram, "/c").unwrap();
    rename(&ram, "/b", "/c/b").unwrap();
    ram.create(at("/c/x").relative()).unwrap_err();
    remove(&ram, "/c/b").unwrap();
    assert_eq!(ram.usage(), Usage { bytes: 0, entries: 1 });
}

#[test]
fn rename_follows_the_rules() {
    let ram = ram(1 << 20, 100);
    for path in ["/d", "/d/e", "/full", "/full/x"] {
        make(&ram, path).unwrap();
    }
    write(&ram, "/f", b"file").unwrap();
    assert_eq!(rename(&ram, "/d", "/d/e/f"), Err(FileError::Errno(EINVAL)));
    assert_eq!(rename(&ram, "/d", "/f"), Err(FileError::NotDirectory));
    assert_eq!(rename(&ram, "/f", "/d"), Err(FileError::IsDirectory));
    assert_eq!(rename(&ram, "/d", "/full"), Err(FileError::NotEmpty));
    assert_eq!(rename(&ram, "/no", "/full"), Err(FileError::NotFound));
    assert_eq!(rename(&ram, "/f", "/f/x"), Err(FileError::NotDirectory));
    rename(&ram, "/f", "/f").unwrap();
    rename(&ram, "/d", "/full/x").unwrap();
    assert_eq!(size(&ram, "/full/x/e"), Ok(0));
    write(&ram, "/g", b"longer").unwrap();
    rename(&ram, "/g", "/f").unwrap();
    assert_eq!((size(&ram, "/f"), size(&ram, "/g")), (Ok(6), Err(FileError::NotFound)));
    assert_eq!(ram.usage().bytes, BLOCK_BYTES as u64);
}

#[test]
fn deep_nesting_by_rename_is_dropped_without_recursion() {
    let ram = ram(0, 40_000);
    let mut path = String::new();
    for _ in 0..400 {
        path.push_str("/d");
        make(&ram, &path).unwrap();
    }
    for _ in 0..24 {
        // What is at /d moves below a fresh chain, which then takes its name.
        let mut chain = String::new();
        for _ in 0..400 {
            chain.push_str("/c");
            make(&ram, &chain).unwrap();
        }
        rename(&ram, "/d", &(chain + "/d")).unwrap();
        rename(&ram, "/c", "/d").unwrap();
    }
    assert_eq!(ram.usage().entries, 10_000);
    drop(ram);
}

#[derive(Clone, Debug)]
enum Step {
    Write(String),
    Make(String),
    Remove(String),
    Rename(String, String),
}

fn step() -> impl Strategy<Value = Step> {
    let path = || "(/[ab]){1,3}";
    prop_oneof![
        path().prop_map(Step::Write),
        path().prop_map(Step::Make),
        path().prop_map(Step::Remove),
        (path(), path()).prop_map(|(from, to)| Step::Rename(from, to)),
    ]
}

/// All paths of the file system, by listing.
fn walk(ram: &Ram) -> BTreeMap<String, FileKind> {
    let mut found = BTreeMap::new();
    let mut left = vec![String::new()];
    while let Some(directory) = left.pop() {
        for entry in ram.list(at(&(directory.clone() + "/")).relative(), 0, 100).unwrap() {
            let path = directory.clone() + "/" + &entry.name;
            if entry.kind == FileKind::Directory {
                left.push(path.clone());
            }
            found.insert(path, entry.kind);
        }
    }
    found
}

/// All paths of a directory of the host.
fn walk_host(root: &std::path::Path) -> BTreeMap<String, FileKind> {
    let mut found = BTreeMap::new();
    let mut left: Vec<std::path::PathBuf> = vec![root.into()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let kind = if path.is_dir() { FileKind::Directory } else { FileKind::Regular };
            if path.is_dir() {
                left.push(path.clone());
            }
            found.insert(std::format!("/{}", path.strip_prefix(root).unwrap().display()), kind);
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The host's file system says what is right.
    #[test]
    fn behaves_like_the_host(steps in proptest::collection::vec(step(), 1..40)) {
        let host = tempfile::tempdir().unwrap();
        let on_host = |path: &str| host.path().join(&path[1..]);
        let ram = ram(1 << 20, 1000);
        for step in steps {
            let (ours, hosts) = match &step {
                Step::Write(path) => (write(&ram, path, b"x"), std::fs::write(on_host(path), b"x")),
                Step::Make(path) => (make(&ram, path), std::fs::create_dir(on_host(path))),
                Step::Remove(path) if on_host(path).is_dir() => (remove(&ram, path), std::fs::remove_dir(on_host(path))),
                Step::Remove(path) => (remove(&ram, path), std::fs::remove_file(on_host(path))),
                Step::Rename(from, to) => (rename(&ram, from, to), std::fs::rename(on_host(from), on_host(to))),
            };
            prop_assert_eq!(ours.is_ok(), hosts.is_ok(), "{:?}: {:?}, host {:?}", step, ours, hosts);
        }
        prop_assert_eq!(walk(&ram), walk_host(host.path()));
        prop_assert_eq!(ram.usage().entries, walk(&ram).len());
    }
}
