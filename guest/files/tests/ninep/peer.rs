//! The 9P file system against servers of other people, on a directory of this host: crosvm's, and
//! QEMU's through its virtio device.
//!
//! crosvm's follows `..` out of its directory; this client never sends it.

use std::io::Cursor;
use std::path::Path;
use std::sync::{Arc, Mutex};

use uio_files::filesystem::FileSystem;
use uio_files::mounts::MountTable;
use uio_files::ninep::client::AttachOptions;
use uio_files::ninep::fs::NinePFileSystem;
use uio_files::ninep::transport::{Exchange, Transport, TransportError};
use uio_files::path::RelativePath;
use uio_files::ramfs::{Limits, RamFs};
use uio_protocol::error::FileError;
use uio_protocol::inspect::FileKind;

use crate::qemu::Qemu;
use crate::{Raw, at};

struct Crosvm {
    server: Mutex<p9::Server>,
}

impl Crosvm {
    fn new(root: &Path) -> Self {
        let server = p9::Server::new(root, Default::default(), Default::default()).unwrap();
        Self { server: Mutex::new(server) }
    }
}

impl Transport for Crosvm {
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

type Remote = NinePFileSystem<Arc<dyn Transport>, Raw>;

fn connected(transport: Arc<dyn Transport>) -> Remote {
    Remote::connect(transport, &AttachOptions::default()).unwrap()
}

/// Runs `check` with each server that there is, on the directory `shared` in a new directory.
fn with_each_server(check: impl Fn(&Path, Remote)) {
    let shared = |parent: &tempfile::TempDir| {
        let shared = parent.path().join("shared");
        std::fs::create_dir(&shared).unwrap();
        shared
    };
    let parent = tempfile::tempdir().unwrap();
    let host = shared(&parent);
    check(&host, connected(Arc::new(Crosvm::new(&host))));
    let parent = tempfile::tempdir().unwrap();
    let host = shared(&parent);
    let qemu = Qemu::start(&host).expect("QEMU starts");
    check(&host, connected(Arc::new(qemu)));
}

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 253) as u8).collect()
}

#[test]
fn contents_cross_both_ways() {
    with_each_server(|host, files| {
        let bytes = pattern(700_000);
        files.write_at(at("/from-guest").relative(), 0, &bytes).unwrap();
        assert_eq!(std::fs::read(host.join("from-guest")).unwrap(), bytes);
        std::fs::write(host.join("from-host"), &bytes).unwrap();
        let mut buffer = vec![0; 1_000_000];
        assert_eq!(files.read_at(at("/from-host").relative(), 0, &mut buffer), Ok(bytes.len()));
        assert_eq!(buffer[..bytes.len()], bytes);
        for (index, piece) in bytes.chunks(4096).enumerate() {
            let count = files.read_at(at("/from-host").relative(), index as u64 * 4096, &mut buffer[..4096]);
            assert_eq!(count, Ok(piece.len()));
            assert_eq!(&buffer[..piece.len()], piece);
        }
        files.truncate(at("/from-guest").relative(), 10).unwrap();
        files.write_at(at("/from-guest").relative(), 10, b"!").unwrap();
        assert_eq!(std::fs::read(host.join("from-guest")).unwrap(), [&bytes[..10], b"!"].concat());
        files.sync(at("/from-guest").relative()).unwrap();
    });
}

#[test]
fn names_cross_both_ways() {
    with_each_server(|host, files| {
        files.make_directory(at("/d").relative()).unwrap();
        files.create(at("/d/a").relative()).unwrap();
        assert_eq!(files.create(at("/d/a").relative()), Err(FileError::Exists));
        assert_eq!(files.make_directory(at("/d").relative()), Err(FileError::Exists));
        std::fs::write(host.join("d/b"), b"four").unwrap();
        std::fs::create_dir(host.join("d/c")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", host.join("d/link")).unwrap();
        let mut entries = files.list(at("/d").relative(), 0, 100).unwrap();
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        let seen: Vec<_> =
            entries.iter().map(|entry| (entry.name.as_str(), entry.kind, entry.size)).collect();
        assert_eq!(
            seen[..3],
            [("a", FileKind::Regular, 0), ("b", FileKind::Regular, 4), ("c", FileKind::Directory, 0)]
        );
        assert_eq!((seen[3].0, seen[3].1), ("link", FileKind::Other));
        files.rename(at("/d/b").relative(), at("/d/c/b").relative()).unwrap();
        assert!(host.join("d/c/b").exists());
        assert_eq!(files.remove(at("/d/c").relative()), Err(FileError::NotEmpty));
        files.remove(at("/d/c/b").relative()).unwrap();
        files.remove(at("/d/c").relative()).unwrap();
        assert!(!host.join("d/c").exists());
        assert_eq!(files.status(at("/d/a/x").relative()), Err(FileError::NotDirectory));
        assert_eq!(files.status(at("/no/x").relative()), Err(FileError::NotFound));
        assert!(files.client().file_system_status().unwrap().blocks > 0);
        assert_eq!(files.status(RelativePath::ROOT).unwrap().kind, FileKind::Directory);
    });
}

/// These servers keep an open file, so that a stale fid of the cache would show its old contents.
#[test]
fn names_lead_to_the_files_they_name() {
    with_each_server(|_, files| {
        let second_byte = |path: &str| {
            let mut byte = [0];
            files.read_at(at(path).relative(), 1, &mut byte).map(|_| byte[0])
        };
        for name in ["a", "b"] {
            files.write_at(at(&format!("/{name}")).relative(), 1, name.as_bytes()).unwrap();
            assert_eq!(second_byte(&format!("/{name}")), Ok(name.as_bytes()[0]));
        }
        files.rename(at("/a").relative(), at("/b").relative()).unwrap();
        assert_eq!(second_byte("/b"), Ok(b'a'));
        assert_eq!(second_byte("/a"), Err(FileError::NotFound));
        files.remove(at("/b").relative()).unwrap();
        files.write_at(at("/b").relative(), 1, b"n").unwrap();
        assert_eq!(second_byte("/b"), Ok(b'n'));
        files.make_directory(at("/d").relative()).unwrap();
        files.write_at(at("/d/f").relative(), 1, b"d").unwrap();
        assert_eq!(second_byte("/d/f"), Ok(b'd'));
        files.rename(at("/d").relative(), at("/e").relative()).unwrap();
        files.make_directory(at("/d").relative()).unwrap();
        files.write_at(at("/d/f").relative(), 1, b"new").unwrap();
        assert_eq!((second_byte("/d/f"), second_byte("/e/f")), (Ok(b'n'), Ok(b'd')));
    });
}

#[test]
fn a_file_replaced_on_the_host_is_noticed() {
    with_each_server(|host, files| {
        let conf = host.join("conf");
        std::fs::write(&conf, b"before").unwrap();
        let mut buffer = [0; 20];
        assert_eq!(files.read_at(at("/conf").relative(), 0, &mut buffer), Ok(6));
        std::fs::write(host.join("new"), b"after").unwrap();
        std::fs::rename(host.join("new"), &conf).unwrap();
        assert_eq!(files.read_at(at("/conf").relative(), 0, &mut buffer), Ok(5));
        assert_eq!(buffer[..5], *b"after");
        std::fs::write(&conf, b"in place").unwrap();
        assert_eq!(files.read_at(at("/conf").relative(), 0, &mut buffer), Ok(8));
        assert_eq!(buffer[..8], *b"in place");
        std::fs::remove_file(&conf).unwrap();
        assert_eq!(files.read_at(at("/conf").relative(), 0, &mut buffer), Err(FileError::NotFound));
        files.write_at(at("/conf").relative(), 0, b"again").unwrap();
        assert_eq!(std::fs::read(&conf).unwrap(), b"again");
    });
}

#[test]
fn long_directories_page() {
    with_each_server(|host, files| {
        for index in 0..700 {
            std::fs::write(host.join(format!("a-name-of-some-length-{index}")), [0; 3]).unwrap();
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
        assert_eq!((skip, names.len()), (700, 700));
        assert_eq!(files.client().fids_in_use(), 1);
    });
}

#[test]
fn long_paths_walk_in_steps() {
    with_each_server(|host, files| {
        let mut path = String::new();
        for index in 0..40 {
            path.push_str(&format!("/directory-{index}"));
            files.make_directory(at(&path).relative()).unwrap();
        }
        let file = at(&format!("{path}/f"));
        files.write_at(file.relative(), 0, b"deep").unwrap();
        assert_eq!(std::fs::read(host.join(file.relative().as_str())).unwrap(), b"deep");
        assert_eq!(files.status(at(&format!("{path}/no")).relative()), Err(FileError::NotFound));
        assert_eq!(files.client().fids_in_use(), 2);
    });
}

#[test]
fn a_mount_stays_inside_its_share() {
    with_each_server(|host, files| {
        std::fs::write(host.parent().unwrap().join("secret"), b"secret").unwrap();
        let root = RamFs::<Raw>::new(Limits { bytes: 1 << 20, entries: 100 });
        let table = MountTable::<Raw>::new(Arc::new(root));
        table.mount("/host", Arc::new(files)).unwrap();
        table.write_at("/host/inside", 0, b"x").unwrap();
        assert!(host.join("inside").exists());
        assert_eq!(table.status("/host/../secret").map(drop), Err(FileError::NotFound));
        assert_eq!(table.status("/host/x/../../../secret").map(drop), Err(FileError::NotFound));
        assert_eq!(table.list("/", 0, 9).unwrap()[0].name, "host");
        assert_eq!(table.list("/host", 0, 9).unwrap()[0].name, "inside");
    });
}
