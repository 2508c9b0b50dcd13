//! The 9P file system against a server of other people: crosvm's, on a directory of this host.
//!
//! The server follows `..` out of its directory; this client never sends it.

use std::io::Cursor;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::{Raw, at};
use uio_files::filesystem::FileSystem;
use uio_files::mounts::MountTable;
use uio_files::ninep::client::AttachOptions;
use uio_files::ninep::fs::NinePFileSystem;
use uio_files::ninep::transport::{Exchange, Transport, TransportError};
use uio_files::path::RelativePath;
use uio_files::ramfs::{Limits, RamFs};
use uio_protocol::error::FileError;
use uio_protocol::inspect::FileKind;

struct Peer {
    server: Mutex<p9::Server>,
}

impl Peer {
    fn new(root: &Path) -> Self {
        let server = p9::Server::new(root, Default::default(), Default::default()).unwrap();
        Self { server: Mutex::new(server) }
    }
}

impl Transport for Peer {
    fn message_bytes_max(&self) -> u32 {
        256 * 1024
    }

    fn in_flight_max(&self) -> usize {
        8
    }

    fn exchange(&self, exchange: &mut Exchange<'_>) {
        let request = [exchange.request, exchange.payload].concat();
        let mut reply = Vec::new();
        let mut server = self.server.lock().unwrap();
        exchange.outcome = match server.handle_message(&mut Cursor::new(request), &mut reply) {
            Ok(()) => {
                let places = exchange.reply.iter_mut().chain(exchange.destination.iter_mut());
                places.zip(&reply).for_each(|(place, byte)| *place = *byte);
                Ok(reply.len())
            }
            Err(_) => Err(TransportError::Closed),
        };
    }
}

fn share() -> (tempfile::TempDir, NinePFileSystem<Peer, Raw>) {
    let directory = tempfile::tempdir().unwrap();
    let files = NinePFileSystem::connect(Peer::new(directory.path()), &AttachOptions::default()).unwrap();
    (directory, files)
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 253) as u8).collect()
}

#[test]
fn contents_cross_both_ways() {
    let (host, files) = share();
    let bytes = pattern(1_500_000);
    files.write_at(at("/from-guest").relative(), 0, &bytes).unwrap();
    assert_eq!(std::fs::read(host.path().join("from-guest")).unwrap(), bytes);
    std::fs::write(host.path().join("from-host"), &bytes).unwrap();
    let mut buffer = vec![0; 2_000_000];
    assert_eq!(files.read_at(at("/from-host").relative(), 0, &mut buffer), Ok(bytes.len()));
    assert_eq!(buffer[..bytes.len()], bytes);
    for (index, piece) in bytes.chunks(4096).enumerate() {
        let count = files.read_at(at("/from-host").relative(), index as u64 * 4096, &mut buffer[..4096]);
        assert_eq!(count, Ok(piece.len()));
        assert_eq!(&buffer[..piece.len()], piece);
    }
    files.truncate(at("/from-guest").relative(), 10).unwrap();
    files.write_at(at("/from-guest").relative(), 10, b"!").unwrap();
    assert_eq!(std::fs::read(host.path().join("from-guest")).unwrap(), [&bytes[..10], b"!"].concat());
    files.sync(at("/from-guest").relative()).unwrap();
}

#[test]
fn names_cross_both_ways() {
    let (host, files) = share();
    files.make_directory(at("/d").relative()).unwrap();
    files.create(at("/d/a").relative()).unwrap();
    assert_eq!(files.create(at("/d/a").relative()), Err(FileError::Exists));
    assert_eq!(files.make_directory(at("/d").relative()), Err(FileError::Exists));
    std::fs::write(host.path().join("d/b"), b"four").unwrap();
    std::fs::create_dir(host.path().join("d/c")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", host.path().join("d/link")).unwrap();
    let mut entries = files.list(at("/d").relative(), 0, 100).unwrap();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let seen: Vec<_> = entries.iter().map(|entry| (entry.name.as_str(), entry.kind, entry.size)).collect();
    assert_eq!(
        seen[..3],
        [("a", FileKind::Regular, 0), ("b", FileKind::Regular, 4), ("c", FileKind::Directory, 0)]
    );
    assert_eq!((seen[3].0, seen[3].1), ("link", FileKind::Other));
    files.rename(at("/d/b").relative(), at("/d/c/b").relative()).unwrap();
    assert!(host.path().join("d/c/b").exists());
    assert_eq!(files.remove(at("/d/c").relative()), Err(FileError::NotEmpty));
    files.remove(at("/d/c/b").relative()).unwrap();
    files.remove(at("/d/c").relative()).unwrap();
    assert!(!host.path().join("d/c").exists());
    assert_eq!(files.status(at("/d/a/x").relative()), Err(FileError::NotDirectory));
    assert_eq!(files.status(at("/no/x").relative()), Err(FileError::NotFound));
    assert!(files.client().file_system_status().unwrap().blocks > 0);
}

#[test]
fn a_file_replaced_on_the_host_is_noticed() {
    let (host, files) = share();
    let conf = host.path().join("conf");
    std::fs::write(&conf, b"before").unwrap();
    let mut buffer = [0; 20];
    assert_eq!(files.read_at(at("/conf").relative(), 0, &mut buffer), Ok(6));
    std::fs::write(host.path().join("new"), b"after").unwrap();
    std::fs::rename(host.path().join("new"), &conf).unwrap();
    assert_eq!(files.read_at(at("/conf").relative(), 0, &mut buffer), Ok(5));
    assert_eq!(buffer[..5], *b"after");
    std::fs::write(&conf, b"in place").unwrap();
    assert_eq!(files.read_at(at("/conf").relative(), 0, &mut buffer), Ok(8));
    assert_eq!(buffer[..8], *b"in place");
}

#[test]
fn long_directories_page() {
    let (host, files) = share();
    for index in 0..2000 {
        std::fs::write(host.path().join(format!("a-name-of-some-length-{index}")), [0; 3]).unwrap();
    }
    let mut names = std::collections::BTreeSet::new();
    let mut skip = 0;
    loop {
        let page = files.list(RelativePath::ROOT, skip, 300).unwrap();
        skip += page.len();
        assert!(page.iter().all(|entry| entry.size == 3));
        names.extend(page.iter().map(|entry| entry.name.clone()));
        if page.len() < 300 {
            break;
        }
    }
    assert_eq!((skip, names.len()), (2000, 2000));
    assert_eq!(files.client().fids_in_use(), 1);
}

#[test]
fn a_mount_stays_inside_its_share() {
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), b"secret").unwrap();
    let shared = outside.path().join("shared");
    std::fs::create_dir(&shared).unwrap();
    let files = NinePFileSystem::<_, Raw>::connect(Peer::new(&shared), &AttachOptions::default()).unwrap();
    let table = MountTable::<Raw>::new(Arc::new(RamFs::<Raw>::new(Limits { bytes: 1 << 20, entries: 100 })));
    table.mount("/host", Arc::new(files)).unwrap();
    table.write_at("/host/inside", 0, b"x").unwrap();
    assert!(shared.join("inside").exists());
    assert_eq!(table.status("/host/../secret").map(drop), Err(FileError::NotFound));
    assert_eq!(table.status("/host/x/../../../secret").map(drop), Err(FileError::NotFound));
    assert_eq!(table.list("/", 0, 9).unwrap()[0].name, "host");
    assert_eq!(table.list("/host", 0, 9).unwrap()[0].name, "inside");
}
