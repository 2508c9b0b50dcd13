use std::vec;

use super::*;
use crate::ramfs::{Limits, RamFs};

fn ram() -> Arc<RamFs<parking_lot::RawMutex>> {
    Arc::new(RamFs::new(Limits { bytes: 1 << 20, entries: 1000 }))
}

fn table() -> MountTable<parking_lot::RawMutex> {
    let table = MountTable::new(ram());
    table.make_directory("/etc").unwrap();
    table.mount("/host", ram()).unwrap();
    table
}

fn names(table: &MountTable<parking_lot::RawMutex>, path: &str, skip: usize, max: usize) -> Vec<String> {
    table.list(path, skip, max).unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn the_longest_point_answers() {
    let table = table();
    table.make_directory("/host/share").unwrap();
    table.mount("/host/share", ram()).unwrap();
    table.write_at("/a", 0, b"root").unwrap();
    table.write_at("/host/a", 0, b"host").unwrap();
    table.write_at("/host/share/a", 0, b"share").unwrap();
    table.write_at("/hostage", 0, b"not host").unwrap();
    let read = |path| {
        let mut buffer = [0; 20];
        let count = table.read_at(path, 0, &mut buffer).unwrap();
        buffer[..count].to_vec()
    };
    assert_eq!(read("/host/share/../../a"), b"root");
    assert_eq!(read("/host/./a"), b"host");
    assert_eq!(read("/host/share//a"), b"share");
    assert_eq!(read("/hostage"), b"not host");
}

#[test]
fn listings_show_mount_points_once() {
    let table = table();
    table.create("/zz").unwrap();
    assert_eq!(names(&table, "/", 0, 10), ["host", "etc", "zz"]);
    // A directory hidden by a mount is not listed a second time.
    let hidden = MountTable::<parking_lot::RawMutex>::new(ram());
    for name in ["/a", "/host", "/z"] {
        hidden.make_directory(name).unwrap();
    }
    hidden.mount("/host", ram()).unwrap();
    assert_eq!(names(&hidden, "/", 0, 10), ["host", "a", "z"]);
    for skip in 0..5 {
        let page = names(&hidden, "/", skip, 1);
        let expected = ["host", "a", "z"].get(skip).map_or(vec![], |name| vec![(*name).to_string()]);
        assert_eq!(page, expected, "page after {skip}");
    }
    assert_eq!(table.status("/host").unwrap().name, "host");
    assert_eq!(table.status("/").unwrap().name, "/");
}

#[test]
fn long_listings_page_across_hidden_entries() {
    let table = table();
    for index in 0..300 {
        table.create(&std::format!("/f{index:03}")).unwrap();
    }
    let all = names(&table, "/", 0, 1000);
    assert_eq!(all.len(), 302);
    let paged: Vec<String> = (0..302).step_by(7).flat_map(|skip| names(&table, "/", skip, 7)).collect();
    assert_eq!(paged, all);
}

#[test]
fn mount_points_cannot_be_pulled_away() {
    let table = table();
    assert_eq!(table.remove("/host"), Err(FileError::Errno(EBUSY)));
    assert_eq!(table.rename("/host", "/else"), Err(FileError::Errno(EBUSY)));
    table.write_at("/f", 0, b"1").unwrap();
    assert_eq!(table.rename("/f", "/host/f"), Err(FileError::Errno(EXDEV)));
    assert_eq!(table.rename("/f", "/host"), Err(FileError::Errno(EBUSY)));
    table.make_directory("/etc/deep").unwrap();
    table.mount("/etc/deep", ram()).unwrap();
    assert_eq!(table.rename("/etc", "/else"), Err(FileError::Errno(EBUSY)));
}

#[test]
fn mounting_is_checked() {
    let table = table();
    assert_eq!(table.mount("/", ram()), Err(FileError::Exists));
    assert_eq!(table.mount("/host", ram()), Err(FileError::Exists));
    assert_eq!(table.mount("/no/where", ram()), Err(FileError::NotFound));
    table.create("/file").unwrap();
    assert_eq!(table.mount("/file/x", ram()), Err(FileError::NotDirectory));
    for index in table.points().len()..MOUNTS_MAX {
        table.mount(&std::format!("/m{index}"), ram()).unwrap();
    }
    assert_eq!(table.mount("/one-more", ram()), Err(FileError::NoSpace));
    assert_eq!(table.unmount("/").map(drop), Err(FileError::Permission));
    assert_eq!(table.unmount("/etc").map(drop), Err(FileError::NotFound));
    table.create("/host/x").unwrap();
    table.unmount("/host").unwrap();
    assert_eq!(table.status("/host/x"), Err(FileError::NotFound));
}

#[test]
fn a_mount_below_keeps_its_parent() {
    let table = table();
    table.make_directory("/host/in").unwrap();
    table.mount("/host/in", ram()).unwrap();
    assert_eq!(table.unmount("/host").map(drop), Err(FileError::Errno(EBUSY)));
    table.unmount("/host/in").unwrap();
    table.unmount("/host").unwrap();
}
