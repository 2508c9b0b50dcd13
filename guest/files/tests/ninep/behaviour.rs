//! The 9P file system against a server in memory that behaves.

use std::sync::Arc;
use std::time::Duration;

use crate::link::Link;
use crate::{Files, at, client, connected};
use proptest::prelude::*;
use uio_files::filesystem::FileSystem;
use uio_files::ninep::client::{AttachOptions, TAGS_MAX, WINDOW_MAX};
use uio_files::ninep::error::ClientError;
use uio_files::ninep::wire::{IO_OVERHEAD_BYTES, MESSAGE_BYTES_MAX, MESSAGE_BYTES_MIN, kind, open};
use uio_files::path::RelativePath;
use uio_protocol::error::FileError;
use uio_protocol::inspect::{FileInfo, FileKind};

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|index| (index % 253) as u8).collect()
}

fn read(files: &Files, path: &str, offset: u64, length: usize) -> Result<Vec<u8>, FileError> {
    let mut buffer = vec![0; length];
    let count = files.read_at(at(path).relative(), offset, &mut buffer)?;
    buffer.truncate(count);
    Ok(buffer)
}

fn write(files: &Files, path: &str, offset: u64, bytes: &[u8]) -> Result<(), FileError> {
    files.write_at(at(path).relative(), offset, bytes)
}

#[test]
fn every_operation() {
    let (link, files) = connected();
    files.make_directory(at("/d").relative()).unwrap();
    files.create(at("/d/empty").relative()).unwrap();
    assert_eq!(files.create(at("/d/empty").relative()), Err(FileError::Exists));
    write(&files, "/d/f", 0, b"hello").unwrap();
    write(&files, "/d/f", 8, b"you").unwrap();
    assert_eq!(read(&files, "/d/f", 0, 100).unwrap(), b"hello\0\0\0you");
    assert_eq!(read(&files, "/d/f", 8, 2).unwrap(), b"yo");
    assert_eq!(read(&files, "/d/f", 11, 2).unwrap(), b"");
    let info = |name: &str, kind, size| FileInfo { name: name.into(), kind, size };
    assert_eq!(files.status(at("/d/f").relative()).unwrap(), info("f", FileKind::Regular, 11));
    assert_eq!(files.status(RelativePath::ROOT).unwrap(), info("/", FileKind::Directory, 0));
    assert_eq!(
        files.list(at("/d").relative(), 0, 10).unwrap(),
        [info("empty", FileKind::Regular, 0), info("f", FileKind::Regular, 11)]
    );
    files.truncate(at("/d/f").relative(), 4).unwrap();
    assert_eq!(read(&files, "/d/f", 0, 100).unwrap(), b"hell");
    files.rename(at("/d/f").relative(), at("/g").relative()).unwrap();
    assert_eq!(read(&files, "/d/f", 0, 1), Err(FileError::NotFound));
    assert_eq!(read(&files, "/g", 0, 9).unwrap(), b"hell");
    files.sync(at("/g").relative()).unwrap();
    assert_eq!(files.remove(at("/d").relative()), Err(FileError::NotEmpty));
    files.remove(at("/d/empty").relative()).unwrap();
    files.remove(at("/d").relative()).unwrap();
    assert_eq!(files.status(at("/d").relative()), Err(FileError::NotFound));
    assert_eq!(files.client().file_system_status().unwrap().blocks, 1000);
    drop(files);
    assert_eq!(link.server.lock().unwrap().fids(), 0, "the session gave all fids back");
}

#[test]
fn errors_are_those_of_the_trait() {
    let (_, files) = connected();
    files.make_directory(at("/d").relative()).unwrap();
    write(&files, "/f", 0, b"x").unwrap();
    assert_eq!(read(&files, "/d", 0, 1), Err(FileError::IsDirectory));
    assert_eq!(read(&files, "/", 0, 1), Err(FileError::IsDirectory));
    assert_eq!(write(&files, "/d", 0, b"x"), Err(FileError::IsDirectory));
    assert_eq!(write(&files, "/", 0, b"x"), Err(FileError::IsDirectory));
    assert_eq!(read(&files, "/f/x", 0, 1), Err(FileError::NotDirectory));
    assert_eq!(read(&files, "/no/x", 0, 1), Err(FileError::NotFound));
    assert_eq!(write(&files, "/no/x", 0, b"x"), Err(FileError::NotFound));
    assert_eq!(write(&files, "/f/x", 0, b"x"), Err(FileError::NotDirectory));
    assert_eq!(files.list(at("/f").relative(), 0, 1), Err(FileError::NotDirectory));
    assert_eq!(files.truncate(at("/d").relative(), 0), Err(FileError::IsDirectory));
    assert_eq!(files.truncate(RelativePath::ROOT, 0), Err(FileError::IsDirectory));
    assert_eq!(files.remove(RelativePath::ROOT), Err(FileError::Permission));
    assert_eq!(files.make_directory(at("/d").relative()), Err(FileError::Exists));
    assert_eq!(files.make_directory(RelativePath::ROOT), Err(FileError::Exists));
    assert_eq!(files.rename(at("/d").relative(), at("/d/e").relative()), Err(FileError::Errno(22)));
    assert_eq!(read(&files, "/f", u64::MAX, 1), Err(FileError::Errno(27)));
    assert_eq!(write(&files, "/f", i64::MAX as u64, b"x"), Err(FileError::Errno(27)));
}

#[test]
fn large_transfers_are_split_and_overlap() {
    let (link, files) = connected();
    let bytes = pattern(1_000_000);
    write(&files, "/big", 3, &bytes).unwrap();
    assert_eq!(link.server.lock().unwrap().contents(at("/big").relative())[3..], bytes);
    assert_eq!(link.most_under_way(), WINDOW_MAX);
    assert_eq!(read(&files, "/big", 3, 1_000_000).unwrap(), bytes);
    let piece = MESSAGE_BYTES_MIN as usize - IO_OVERHEAD_BYTES;
    assert_eq!(link.take_count(kind::TWRITE), 1_000_000usize.div_ceil(piece));
    assert_eq!(link.take_count(kind::TREAD), 1_000_000usize.div_ceil(piece));
    // A buffer beyond the end gets what there is.
    assert_eq!(read(&files, "/big", 0, 2_000_000).unwrap().len(), 1_000_003);
}

#[test]
fn large_messages_are_used_where_the_transport_allows() {
    let link = Arc::new(Link { message_bytes_max: 1 << 20, ..Link::default() });
    let files = Files::connect(Arc::clone(&link), &AttachOptions::default()).unwrap();
    assert_eq!(files.client().message_bytes_max(), MESSAGE_BYTES_MAX);
    link.server.lock().unwrap().put("/f", &pattern(256 * 1024));
    assert_eq!(read(&files, "/f", 0, 256 * 1024).unwrap(), pattern(256 * 1024));
    assert_eq!(link.take_count(kind::TREAD), 1);
}

#[test]
fn a_servers_transfer_size_is_heeded() {
    let (link, files) = connected();
    link.server.lock().unwrap().io_bytes = 1000;
    link.server.lock().unwrap().put("/f", &pattern(5000));
    assert_eq!(read(&files, "/f", 0, 5000).unwrap(), pattern(5000));
    assert_eq!(link.take_count(kind::TREAD), 5);
}

#[test]
fn short_transfers_are_continued() {
    let (link, files) = connected();
    link.server.lock().unwrap().transfer_bytes_max = 1000;
    write(&files, "/f", 0, &pattern(12_000)).unwrap();
    assert_eq!(read(&files, "/f", 0, 12_000).unwrap(), pattern(12_000));
}

#[test]
fn repeated_access_does_not_open_again() {
    let (link, files) = connected();
    link.server.lock().unwrap().put("/f", &pattern(100_000));
    read(&files, "/f", 5, 10).unwrap();
    link.take_total();
    for index in 0..50u64 {
        // Backwards, so that nothing is read ahead.
        assert_eq!(read(&files, "/f", 50_000 - index * 1000, 10).unwrap().len(), 10);
    }
    assert_eq!((link.take_count(kind::TREAD), link.take_total()), (50, 0));
    for index in 1..50u64 {
        write(&files, "/f", index * 100, b"x").unwrap();
    }
    assert_eq!(link.take_count(kind::TWRITE), 49);
    assert_eq!(link.take_count(kind::TWALK) + link.take_count(kind::TLOPEN), 2, "opened once to write");
}

#[test]
fn small_sequential_reads_are_read_ahead() {
    let (link, files) = connected();
    let bytes = pattern(1 << 20);
    link.server.lock().unwrap().put("/f", &bytes);
    let link_messages = |files: &Files| {
        link.take_total();
        let mut seen = Vec::new();
        while let piece @ [_, ..] = &read(files, "/f", seen.len() as u64, 4096).unwrap()[..] {
            seen.extend_from_slice(piece);
        }
        assert_eq!(seen, bytes);
        link.take_count(kind::TREAD)
    };
    // Messages are small here, so count bytes per message: as few messages as large reads need.
    let piece = MESSAGE_BYTES_MIN as usize - IO_OVERHEAD_BYTES;
    let messages = link_messages(&files);
    assert!(messages < (1usize << 20).div_ceil(piece) + 20, "{messages} messages");
}

#[test]
fn reading_ahead_never_hides_own_changes() {
    let (link, files) = connected();
    link.server.lock().unwrap().put("/f", &[1; 100_000]);
    read(&files, "/f", 0, 1000).unwrap();
    read(&files, "/f", 1000, 1000).unwrap();
    write(&files, "/f", 2000, &[2; 1000]).unwrap();
    assert_eq!(read(&files, "/f", 2000, 1000).unwrap(), [2; 1000]);
    read(&files, "/f", 3000, 1000).unwrap();
    files.truncate(at("/f").relative(), 4500).unwrap();
    assert_eq!(read(&files, "/f", 4000, 1000).unwrap(), [1; 500]);
}

#[test]
fn removed_and_renamed_files_are_not_served_from_the_cache() {
    let (link, files) = connected();
    let path = |path| at(path);
    write(&files, "/f", 0, b"old").unwrap();
    assert_eq!(read(&files, "/f", 1, 9).unwrap(), b"ld");
    files.remove(path("/f").relative()).unwrap();
    assert_eq!(link.server.lock().unwrap().open_fids(), 0);
    assert_eq!(read(&files, "/f", 1, 9), Err(FileError::NotFound));
    write(&files, "/f", 1, b"new").unwrap();
    assert_eq!(read(&files, "/f", 1, 9).unwrap(), b"new");
    // A renamed directory takes along what is open below; another that begins alike stays.
    for name in ["/dir", "/directory"] {
        files.make_directory(path(name).relative()).unwrap();
        write(&files, &format!("{name}/f"), 1, name.as_bytes()).unwrap();
    }
    read(&files, "/dir/f", 1, 9).unwrap();
    files.rename(path("/dir").relative(), path("/else").relative()).unwrap();
    assert_eq!(read(&files, "/dir/f", 1, 9), Err(FileError::NotFound));
    assert_eq!(read(&files, "/else/f", 1, 4).unwrap(), b"/dir");
    link.take_total();
    write(&files, "/directory/f", 1, b"x").unwrap();
    assert_eq!(link.take_count(kind::TLOPEN), 0, "still open");
    // A file renamed over another is what reads see then.
    write(&files, "/a", 1, b"a").unwrap();
    write(&files, "/b", 1, b"b").unwrap();
    read(&files, "/b", 1, 1).unwrap();
    files.rename(path("/a").relative(), path("/b").relative()).unwrap();
    assert_eq!(read(&files, "/b", 1, 1).unwrap(), b"a");
}

#[test]
fn a_file_removed_while_it_is_opened_is_not_kept() {
    let (link, files) = connected();
    let files = Arc::new(files);
    write(&files, "/f", 0, b"old").unwrap();
    let other = Arc::clone(&files);
    link.tamper_with(move |request, honest| {
        if request[4] == kind::TLOPEN {
            other.remove(at("/f").relative()).unwrap();
            other.create(at("/f").relative()).unwrap();
        }
        Ok(honest)
    });
    read(&files, "/f", 1, 9).unwrap();
    link.stop_tampering();
    link.take_total();
    read(&files, "/f", 1, 9).unwrap();
    assert_eq!(link.take_count(kind::TLOPEN), 1, "what was opened before is not used again");
    read(&files, "/f", 1, 9).unwrap();
    assert_eq!(link.take_count(kind::TLOPEN), 0);
}

#[test]
fn a_file_replaced_on_the_host_is_noticed() {
    let (link, files) = connected();
    link.server.lock().unwrap().put("/conf", b"before");
    assert_eq!(read(&files, "/conf", 0, 9).unwrap(), b"before");
    link.server.lock().unwrap().replace("/conf", b"after");
    link.take_total();
    assert_eq!(read(&files, "/conf", 0, 9).unwrap(), b"after");
    assert_eq!(link.take_count(kind::TLOPEN), 1);
    link.server.lock().unwrap().replace("/conf", b"again");
    files.status(at("/conf").relative()).unwrap();
    read(&files, "/conf", 1, 9).unwrap();
    assert_eq!(link.take_count(kind::TLOPEN), 1, "status noticed it");
}

#[test]
fn many_files_do_not_exhaust_fids() {
    let (link, files) = connected();
    for index in 0..400 {
        write(&files, &format!("/f{index}"), 0, b"x").unwrap();
        assert_eq!(read(&files, &format!("/f{index}"), 0, 9).unwrap(), b"x");
        assert_eq!(files.client().fids_in_use() as usize, link.server.lock().unwrap().fids());
    }
    assert!(link.server.lock().unwrap().fids() <= 17);
}

#[test]
fn long_paths_walk_in_steps() {
    let (_, files) = connected();
    let mut path = String::new();
    for index in 0..40 {
        path.push_str(&format!("/directory-with-a-long-name-{index}"));
        files.make_directory(at(&path).relative()).unwrap();
    }
    write(&files, &format!("{path}/f"), 0, b"deep").unwrap();
    assert_eq!(read(&files, &format!("{path}/f"), 0, 9).unwrap(), b"deep");
    assert_eq!(read(&files, &format!("{path}/no"), 0, 9), Err(FileError::NotFound));
    assert_eq!(files.client().fids_in_use(), 3, "root, file to write, file to read");
    // Names as long as they may be, as many as a path holds.
    let name = "n".repeat(255);
    let mut path = String::new();
    for _ in 0..15 {
        path = format!("{path}/{name}");
        files.make_directory(at(&path).relative()).unwrap();
    }
    assert_eq!(files.status(at(&path).relative()).unwrap().name, name);
}

#[test]
fn long_directories_page() {
    let (link, files) = connected();
    link.server.lock().unwrap().make("/d");
    let names: Vec<String> = (0..1500).map(|index| format!("entry-{index:05}")).collect();
    for (index, name) in names.iter().enumerate() {
        link.server.lock().unwrap().put(&format!("/d/{name}"), &vec![0; index % 7]);
    }
    let path = at("/d");
    let mut seen = Vec::new();
    loop {
        let page = files.list(path.relative(), seen.len(), 64).unwrap();
        let complete = page.len() < 64;
        seen.extend(page);
        if complete {
            break;
        }
    }
    assert_eq!(seen.iter().map(|info| &info.name).collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
    assert!(seen.iter().enumerate().all(|(index, info)| info.size == index as u64 % 7));
    assert_eq!(files.list(path.relative(), 1500, 10).unwrap(), []);
    assert_eq!(files.list(path.relative(), 0, 0).unwrap(), []);
    assert_eq!(files.client().fids_in_use(), 1);
}

#[test]
fn threads_share_a_session() {
    let link = Arc::new(Link { delay: Duration::from_micros(200), ..Link::default() });
    let files = Arc::new(Files::connect(Arc::clone(&link), &AttachOptions::default()).unwrap());
    let threads: Vec<_> = (0..8u8)
        .map(|thread| {
            let files = Arc::clone(&files);
            std::thread::spawn(move || {
                let own = format!("/own-{thread}");
                for round in 0..10u8 {
                    let bytes = vec![thread * 16 + round; 50_000];
                    write(&files, &own, 0, &bytes).unwrap();
                    assert_eq!(read(&files, &own, 0, 60_000).unwrap(), bytes);
                    write(&files, "/shared", u64::from(thread) * 100, &[thread; 100]).unwrap();
                    assert_eq!(read(&files, "/shared", u64::from(thread) * 100, 100).unwrap(), [thread; 100]);
                    assert!(files.list(RelativePath::ROOT, 0, 100).unwrap().len() >= 2);
                    if round % 3 == thread % 3 {
                        files.remove(at(&own).relative()).unwrap();
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(link.most_under_way() > WINDOW_MAX, "requests of several threads were under way at once");
    assert!(link.most_under_way() <= TAGS_MAX);
    drop(files);
    assert_eq!(link.server.lock().unwrap().fids(), 0);
}

#[test]
fn more_threads_than_tags_wait() {
    let link = Arc::new(Link { delay: Duration::from_millis(2), ..Link::default() });
    let files = Arc::new(Files::connect(Arc::clone(&link), &AttachOptions::default()).unwrap());
    link.server.lock().unwrap().put("/f", &pattern(100));
    let threads: Vec<_> = (0..TAGS_MAX + 30)
        .map(|_| {
            let files = Arc::clone(&files);
            std::thread::spawn(move || {
                for _ in 0..5 {
                    assert_eq!(read(&files, "/f", 1, 100).unwrap(), pattern(100)[1..]);
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert!(link.most_under_way() <= TAGS_MAX);
}

#[test]
fn fids_run_out_with_an_error() {
    let (_, client) = client();
    let mut held = Vec::new();
    let error = loop {
        match client.walk(core::iter::empty()) {
            Ok((fid, _)) => held.push(fid),
            Err(error) => break error,
        }
    };
    assert_eq!((error, held.len()), (ClientError::NoFid, 255));
    drop(held);
    let (directory, _) = client.walk(core::iter::empty()).unwrap();
    directory.create("f", open::WRITE_ONLY | open::CREATE, 0o644).unwrap().write_at(0, b"x").unwrap();
    assert_eq!(client.fids_in_use(), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Write(usize, u64, Vec<u8>),
    Read(usize, u64, usize),
    Continue(usize, usize),
    Truncate(usize, u64),
    Remove(usize),
    Rename(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let file = || 0usize..4;
    let offset = || 0u64..60_000;
    prop_oneof![
        1 => (file(), offset(), proptest::collection::vec(any::<u8>(), 0..30_000)).prop_map(|(f, o, b)| Step::Write(f, o, b)),
        1 => (file(), offset(), 0usize..40_000).prop_map(|(f, o, l)| Step::Read(f, o, l)),
        4 => (file(), 1usize..9000).prop_map(|(f, l)| Step::Continue(f, l)),
        1 => (file(), offset()).prop_map(|(f, s)| Step::Truncate(f, s)),
        1 => file().prop_map(Step::Remove),
        1 => (file(), file()).prop_map(|(from, to)| Step::Rename(from, to)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is cached and read ahead, results are those of files in memory.
    #[test]
    fn behaves_like_files(steps in proptest::collection::vec(step(), 1..40)) {
        let (link, files) = connected();
        let path = |file: usize| at(&format!("/f{file}"));
        let mut model: [Option<Vec<u8>>; 4] = Default::default();
        let mut position = [0u64; 4];
        for step in steps {
            match step {
                Step::Write(file, offset, bytes) => {
                    files.write_at(path(file).relative(), offset, &bytes).unwrap();
                    let contents = model[file].get_or_insert_default();
                    let end = offset as usize + bytes.len();
                    if !bytes.is_empty() {
                        contents.resize(contents.len().max(end), 0);
                        contents[offset as usize..end].copy_from_slice(&bytes);
                    }
                }
                Step::Truncate(file, size) => {
                    let outcome = files.truncate(path(file).relative(), size);
                    prop_assert_eq!(outcome.is_ok(), model[file].is_some());
                    if let Some(contents) = &mut model[file] {
                        contents.resize(size as usize, 0);
                    }
                }
                Step::Remove(file) => {
                    prop_assert_eq!(files.remove(path(file).relative()).is_ok(), model[file].take().is_some());
                }
                Step::Rename(from, to) => {
                    let outcome = files.rename(path(from).relative(), path(to).relative());
                    prop_assert!(outcome.is_ok() == model[from].is_some() || from == to);
                    if let Some(contents) = model[from].take() {
                        model[to] = Some(contents);
                    }
                }
                Step::Read(file, offset, length) => {
                    check(&files, &path(file), offset, length, model[file].as_deref())?;
                    position[file] = offset + length as u64;
                }
                Step::Continue(file, length) => {
                    check(&files, &path(file), position[file], length, model[file].as_deref())?;
                    position[file] += length as u64;
                }
            }
        }
        drop(files);
        prop_assert_eq!(link.server.lock().unwrap().fids(), 0);
    }
}

fn check(
    files: &Files,
    path: &uio_files::path::AbsolutePath,
    offset: u64,
    length: usize,
    model: Option<&[u8]>,
) -> Result<(), TestCaseError> {
    let seen = read(files, path.as_str(), offset, length);
    let expected = model.map(|contents| {
        let from = contents.get(offset as usize..).unwrap_or(&[]);
        from[..from.len().min(length)].to_vec()
    });
    prop_assert_eq!(seen, expected.ok_or(FileError::NotFound));
    Ok(())
}
