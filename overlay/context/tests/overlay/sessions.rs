//! Sessions, garbage, floods, inspection and files, driven through real frames.

use crate::support::{Shell, build_id, with_machine};
use proptest::prelude::*;
use uio_overlay::platform::{Clock, Log};
use uio_protocol::error::{FileError, RpcError};
use uio_protocol::event::Event;
use uio_protocol::frame::{self, Channel, Header, Kind};
use uio_protocol::inspect::{LogLevel, ThreadId};
use uio_protocol::limits::{
    CHUNK_BYTES_MAX, EVENT_CREDIT_BYTES, FILE_REQUESTS_MAX, FILE_TIME_MAX_MS, FILE_WORKERS_MAX,
    FRAME_BYTES_MAX, SESSION_UPLOADS_MAX, SESSIONS_MAX, STACK_SNAPSHOT_BYTES_MAX, UPLOADS_MAX,
};
use uio_protocol::rpc::{Reply, Request};
use uio_protocol::{GuestAddress, PROTOCOL_HASH};

fn bad_frames(shell: &mut Shell) -> u64 {
    match shell.ask(1, &Request::Info) {
        Ok(Reply::Info(info)) => info.bad_frames,
        other => panic!("{other:?}"),
    }
}

#[test]
fn hello_comes_first_and_compares_the_protocol() {
    with_machine(&[], |shell| {
        assert_eq!(shell.ask(1, &Request::Info), Err(RpcError::NoSession));
        let other = Request::Hello { protocol_hash: PROTOCOL_HASH ^ 1 };
        assert_eq!(shell.ask(1, &other), Err(RpcError::ProtocolMismatch { guest: PROTOCOL_HASH }));
        assert_eq!(shell.ask(1, &Request::Ping { marker: 5 }), Err(RpcError::NoSession));
        let welcome = shell.ask(1, &Request::Hello { protocol_hash: PROTOCOL_HASH });
        let image = crate::support::IMAGE_NAME.to_string();
        assert_eq!(welcome, Ok(Reply::Welcome { build_id: build_id(), image }));
        assert_eq!(shell.ask(1, &Request::Ping { marker: 5 }), Ok(Reply::Pong { marker: 5 }));
        assert_eq!(shell.ask(2, &Request::Ping { marker: 5 }), Err(RpcError::NoSession));
        assert_eq!(shell.ask(1, &Request::Bye), Ok(Reply::Done));
        assert_eq!(shell.ask(1, &Request::Info), Err(RpcError::NoSession));
    });
}

#[test]
fn garbage_costs_one_frame_each_and_is_counted() {
    with_machine(&[], |shell| {
        shell.hello(1);
        shell.write(b"\x05abc\0");
        shell.write(&[0, 0, 0]);
        shell.write(&vec![0x55; FRAME_BYTES_MAX + 10]);
        shell.write(&[0]);
        assert_eq!(bad_frames(shell), 2);
        // A frame cut by a shell that died, ended by the zero that the next one sends first.
        let header = Header { channel: Channel::Rpc, kind: Kind::Request, session: 1, id: 9 };
        let cut = frame::encode(header, &Request::Info).unwrap();
        shell.write(&cut[..cut.len() / 2]);
        shell.write(&[0]);
        assert_eq!(bad_frames(shell), 3);
        // Frames that are none of the guest's business.
        for (channel, kind) in [(Channel::Gdb, Kind::Request), (Channel::Rpc, Kind::Response)] {
            let header = Header { channel, kind, session: 1, id: 9 };
            shell.write(&frame::encode(header, &Request::Info).unwrap());
        }
        assert_eq!(bad_frames(shell), 5);
        // A sound frame with another body gets an answer.
        let id = 77;
        let header = Header { channel: Channel::Rpc, kind: Kind::Request, session: 1, id };
        shell.write(&frame::encode_body(header, &[200, 200, 1]).unwrap());
        assert_eq!(shell.response(1, id), Err(RpcError::Malformed));
    });
}

#[test]
fn a_flood_of_random_bytes_leaves_it_serving() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let mut random = 0x1234_5678_9abc_def0_u64;
        for _ in 0..200 {
            let noise: Vec<u8> = std::iter::repeat_with(|| {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                random as u8
            })
            .take(4096)
            .collect();
            shell.write(&noise);
            shell.step(0);
        }
        shell.write(&[0]);
        assert!(bad_frames(shell) > 1000);
    });
}

#[test]
fn ten_thousand_shells_come_and_go() {
    with_machine(&[], |shell| {
        for session in 0..10_000 {
            let hello = shell.send(session, &Request::Hello { protocol_hash: PROTOCOL_HASH });
            let bye = shell.send(session, &Request::Bye);
            assert!(shell.response(session, hello).is_ok());
            assert_eq!(shell.response(session, bye), Ok(Reply::Done));
        }
        shell.hello(1);
        let Ok(Reply::Info(info)) = shell.ask(1, &Request::Info) else { panic!("no info") };
        assert_eq!((info.sessions, info.extensions, info.bad_frames), (1, 0, 0));
    });
}

#[test]
fn sessions_are_bounded_and_a_second_hello_resets() {
    with_machine(&[], |shell| {
        for session in 0..SESSIONS_MAX as u32 {
            shell.hello(session);
        }
        let one_more = Request::Hello { protocol_hash: PROTOCOL_HASH };
        assert_eq!(shell.ask(99, &one_more), Err(RpcError::TooManySessions));
        let Ok(Reply::Upload(upload)) = shell.ask(3, &Request::UploadBegin { bytes: 10 }) else { panic!() };
        shell.hello(3);
        let put = Request::UploadPut { upload, offset: 0, bytes: vec![1] };
        assert_eq!(shell.ask(3, &put), Err(RpcError::NoUpload(upload)));
        assert_eq!(shell.ask(3, &Request::Bye), Ok(Reply::Done));
        shell.hello(99);
    });
}

#[test]
fn uploads_are_bounded_over_all_sessions_and_dropped_with_them() {
    with_machine(&[], |shell| {
        let begin = Request::UploadBegin { bytes: 4 };
        for session in 0..(UPLOADS_MAX / SESSION_UPLOADS_MAX) as u32 {
            shell.hello(session);
            for _ in 0..SESSION_UPLOADS_MAX {
                assert!(shell.ask(session, &begin).is_ok());
            }
        }
        shell.hello(50);
        assert!(matches!(shell.ask(50, &begin), Err(RpcError::Limit { .. })));
        shell.ask(0, &Request::Bye).unwrap();
        assert!(shell.ask(50, &begin).is_ok());
        let too_large = Request::UploadBegin { bytes: u32::MAX };
        assert!(matches!(shell.ask(50, &too_large), Err(RpcError::Limit { .. })));
    });
}

#[test]
fn memory_is_read_and_written_without_faulting() {
    with_machine(&[], |shell| {
        shell.hello(1);
        static TEXT: [u8; 8] = *b"constant";
        let mut data = Box::new(*b"variable");
        let address = GuestAddress(data.as_mut_ptr() as u64);
        let constant = GuestAddress(TEXT.as_ptr() as u64);
        assert_eq!(
            shell.ask(1, &Request::Peek { address, length: 8 }),
            Ok(Reply::Bytes(b"variable".to_vec()))
        );
        let poke = |address, bytes: &[u8]| Request::Poke { address, bytes: bytes.to_vec() };
        assert_eq!(shell.ask(1, &poke(address, b"changed!")), Ok(Reply::Done));
        let read_back = shell.ask(1, &Request::Peek { address, length: 8 });
        assert_eq!(read_back, Ok(Reply::Bytes(b"changed!".to_vec())));
        let refused = shell.ask(1, &poke(constant, b"x"));
        assert_eq!(refused, Err(RpcError::BadAddress { address: constant, write: true }));
        for bad in [GuestAddress(16), GuestAddress(u64::MAX - 3), GuestAddress(0x8000_0000_0000_0000)] {
            let peeked = shell.ask(1, &Request::Peek { address: bad, length: 8 });
            assert_eq!(peeked, Err(RpcError::BadAddress { address: bad, write: false }));
            assert!(matches!(shell.ask(1, &poke(bad, b"12345678")), Err(RpcError::BadAddress { .. })));
        }
        let large = Request::Peek { address, length: CHUNK_BYTES_MAX as u32 + 1 };
        assert!(matches!(shell.ask(1, &large), Err(RpcError::Limit { .. })));
        drop(data);
    });
}

#[test]
fn threads_are_listed_and_snapshots_bounded() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let Ok(Reply::Threads { threads, more }) = shell.ask(1, &Request::Threads { skip: 0 }) else {
            panic!()
        };
        assert_eq!((threads.len(), more), (1, false));
        let past = shell.ask(1, &Request::Threads { skip: 5 });
        assert_eq!(past, Ok(Reply::Threads { threads: vec![], more: false }));
        let Ok(Reply::ThreadSnapshot(snapshot)) = shell.ask(1, &Request::ThreadSnapshot(threads[0].id))
        else {
            panic!()
        };
        assert_eq!(snapshot.stack.len(), STACK_SNAPSHOT_BYTES_MAX);
        let missing = ThreadId(4000);
        assert_eq!(shell.ask(1, &Request::ThreadSnapshot(missing)), Err(RpcError::NoThread(missing)));
    });
}

#[test]
fn exports_are_listed_with_the_image_s() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let Ok(Reply::Exports { exports, more }) = shell.ask(1, &Request::Exports { skip: 0 }) else {
            panic!()
        };
        assert!(!more);
        let print = exports.iter().find(|export| export.name == "uio_print").unwrap();
        assert_eq!(print.prototype, "void uio_print(const char *text, size_t bytes)");
    });
}

#[test]
fn files_are_read_written_listed_and_removed() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let path = || "/a/b".to_string();
        let write = |offset, truncate, bytes: &[u8]| Request::WriteFile {
            path: path(),
            offset,
            truncate,
            bytes: bytes.to_vec(),
        };
        assert_eq!(shell.ask(1, &write(0, false, b"hello world")), Ok(Reply::Done));
        assert_eq!(shell.ask(1, &write(5, true, b"!")), Ok(Reply::Done));
        let read = Request::ReadFile { path: path(), offset: 1, length: 100 };
        assert_eq!(shell.ask(1, &read), Ok(Reply::Bytes(b"ello!".to_vec())));
        let Ok(Reply::FileStatus(status)) = shell.ask(1, &Request::FileStatus { path: path() }) else {
            panic!()
        };
        assert_eq!((status.name.as_str(), status.size), ("b", 6));
        assert_eq!(shell.ask(1, &Request::RemoveFile { path: path() }), Ok(Reply::Done));
        let error = RpcError::File { path: path(), reason: FileError::NotFound };
        assert_eq!(shell.ask(1, &read), Err(error));
        for bad in [String::new(), "a\0b".to_string(), "/".repeat(5000)] {
            let result = shell.ask(1, &Request::FileStatus { path: bad });
            assert!(matches!(result, Err(RpcError::File { reason: FileError::InvalidPath, .. })));
        }
    });
}

#[test]
fn a_host_that_hangs_delays_only_who_asks_it() {
    with_machine(&[], |shell| {
        let sessions = 1..=FILE_WORKERS_MAX as u32 + 1;
        sessions.clone().for_each(|session| shell.hello(session));
        let (first, last) = (1, *sessions.end());
        let status = |path: &str| Request::FileStatus { path: path.to_string() };
        for path in ["/hung/x", "/a"] {
            shell.machine.state().files.insert(path.to_string(), vec![7]);
        }
        shell.machine.set_host_hangs(true);
        // One worker less than there are waits for the host; other sessions have their files.
        let asked = shell.machine.now_ns();
        let waiting: Vec<_> =
            (first..last - 1).map(|session| (session, shell.send(session, &status("/hung/x")))).collect();
        let behind = (first, shell.send(first, &status("/a")));
        assert!(matches!(shell.ask(last, &status("/a")), Ok(Reply::FileStatus(_))));
        // All of them: other requests go on.
        let all = (last - 1, shell.send(last - 1, &status("/hung/x")));
        let left = (last, shell.send(last, &status("/a")));
        assert_eq!(shell.ask(last, &Request::Ping { marker: 5 }), Ok(Reply::Pong { marker: 5 }));
        let time_max_ns = u64::from(FILE_TIME_MAX_MS) * 1_000_000;
        assert!(shell.machine.now_ns() - asked < time_max_ns, "nobody has waited for the host");
        for (session, id) in waiting.iter().copied().chain([behind, all, left]) {
            let Err(RpcError::File { path, reason }) = shell.response(session, id) else {
                panic!("{session}")
            };
            assert_eq!(reason, FileError::Errno(110), "{path}");
        }
        assert!(shell.machine.now_ns() - asked >= time_max_ns);
        // It comes back: everything goes on, and nothing is answered twice.
        shell.machine.set_host_hangs(false);
        for session in sessions {
            assert!(matches!(shell.ask(session, &status("/hung/x")), Ok(Reply::FileStatus(_))));
        }
        for (session, id) in waiting {
            assert!(shell.try_response(session, id).is_none());
        }
    });
}

/// One request after the other, however many workers there are.
#[test]
fn file_requests_of_a_session_stay_in_order() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let write = |byte: u8| Request::WriteFile {
            path: "/order".to_string(),
            offset: 0,
            truncate: true,
            bytes: vec![byte; usize::from(byte) * 100],
        };
        for _ in 0..5 {
            let ids: Vec<u32> = (1..=50).map(|byte| shell.send(1, &write(byte))).collect();
            for id in ids {
                assert_eq!(shell.response(1, id), Ok(Reply::Done));
            }
            assert_eq!(shell.machine.state().files["/order"], vec![50; 5000]);
        }
        let ids: Vec<u32> = (0..=FILE_REQUESTS_MAX).map(|_| shell.send(1, &write(1))).collect();
        let refused = ids
            .into_iter()
            .filter(|id| matches!(shell.response(1, *id), Err(RpcError::Limit { .. })))
            .count();
        assert!(refused <= 1, "{refused} refused");
    });
}

#[test]
fn a_session_that_leaves_takes_its_file_requests_along() {
    with_machine(&[], |shell| {
        shell.hello(1);
        shell.machine.state().files.insert("/hung/x".to_string(), vec![]);
        shell.machine.set_host_hangs(true);
        let request = Request::FileStatus { path: "/hung/x".to_string() };
        let ids = [shell.send(1, &request), shell.send(1, &request)];
        assert_eq!(shell.ask(1, &Request::Bye), Ok(Reply::Done));
        shell.machine.set_host_hangs(false);
        shell.hello(2);
        assert!(matches!(shell.ask(2, &request), Ok(Reply::FileStatus(_))));
        shell.step(50);
        assert!(ids.iter().all(|id| shell.try_response(1, *id).is_none()), "nobody is there to be answered");
    });
}

#[test]
fn a_long_directory_comes_in_pages() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let names: Vec<String> = (0..3000).map(|n| format!("{n:05}{}", "x".repeat(n % 200))).collect();
        for name in &names {
            shell.machine.state().files.insert(format!("/d/{name}"), vec![]);
        }
        let mut seen = Vec::new();
        loop {
            let request = Request::ListDirectory { path: "/d".to_string(), skip: seen.len() as u32 };
            let Ok(Reply::Directory { entries, more }) = shell.ask(1, &request) else { panic!() };
            assert!(!entries.is_empty());
            seen.extend(entries.into_iter().map(|entry| entry.name));
            if !more {
                break;
            }
        }
        assert_eq!(seen, names);
    });
}

#[test]
fn the_log_is_followed_against_credit_and_gaps_are_told() {
    with_machine(&[], |shell| {
        shell.hello(1);
        shell.machine.log_line(LogLevel::Info, "before");
        assert!(!shell.machine.state().log_watched);
        shell.ask(1, &Request::FollowLog(true)).unwrap();
        assert!(shell.machine.state().log_watched);
        let texts = |shell: &Shell| -> Vec<String> {
            let lines = shell.events.iter().filter_map(|(_, event)| match event {
                Event::Log(lines) => Some(lines.clone()),
                _ => None,
            });
            lines.flatten().map(|line| line.text).collect()
        };
        shell.machine.log_line(LogLevel::Info, "one");
        shell.machine.log_line(LogLevel::Warn, "two");
        shell.wait(|shell| (texts(shell).len() == 2).then_some(()));
        assert_eq!(texts(shell), ["one", "two"]);

        // Without credit nothing comes, and what the log forgets meanwhile is counted.
        shell.pays = false;
        let line = "x".repeat(4000);
        for _ in 0..100 {
            shell.machine.log_line(LogLevel::Debug, &line);
            shell.step(0);
        }
        let sent = texts(shell).len();
        assert!(sent < 2 + 100 && sent > 2 + 50, "{sent}");
        let deadline = shell.machine.now_ns() + 10_000_000;
        while shell.machine.now_ns() < deadline {
            shell.step(1);
        }
        assert_eq!(texts(shell).len(), sent);
        for _ in 0..100 {
            shell.machine.log_line(LogLevel::Debug, "late");
        }
        shell.send(1, &Request::Credit { bytes: EVENT_CREDIT_BYTES });
        shell.wait(|shell| (texts(shell).last().unwrap() == "late").then_some(()));
        let dropped: u64 = shell
            .events
            .iter()
            .map(|(_, event)| if let Event::LogDropped { lines } = event { *lines } else { 0 })
            .sum();
        shell.wait(|shell| (texts(shell).len() as u64 + dropped == 202).then_some(()));
        // A line that fits no frame comes cut.
        shell.machine.log_line(LogLevel::Info, &"é".repeat(FRAME_BYTES_MAX));
        shell.wait(|shell| texts(shell).last().unwrap().starts_with("éé").then_some(()));
        shell.ask(1, &Request::FollowLog(false)).unwrap();
        assert!(!shell.machine.state().log_watched);
    });
}

/// Requests that change this very process, or end it.
fn is_harmless(body: &[u8]) -> bool {
    !matches!(
        postcard::from_bytes(body),
        Ok(Request::Poke { .. } | Request::Call { .. } | Request::PowerOff { .. })
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a sound frame carries, it gets exactly one answer.
    #[test]
    fn every_request_is_answered_once(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..40)) {
        with_machine(&[], |shell| {
            shell.hello(1);
            for body in bodies.into_iter().map(|mut body| {
                // Half of them with the number of an existing request.
                if let Some(first) = body.first_mut() {
                    *first %= 64;
                }
                body
            }) {
                if !is_harmless(&body) {
                    continue;
                }
                let id = 1_000_000;
                let header = Header { channel: Channel::Rpc, kind: Kind::Request, session: 1, id };
                shell.write(&frame::encode_body(header, &body).unwrap());
                shell.response(1, id).ok();
                assert_eq!(shell.try_response(1, id), None);
                if shell.ask(1, &Request::Ping { marker: 1 }) == Err(RpcError::NoSession) {
                    shell.hello(1);
                }
            }
        });
    }
}
