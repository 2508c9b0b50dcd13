//! The guest's console without a keeper.

use std::io::Write;

use uio_protocol::PROTOCOL_HASH;
use uio_protocol::frame::{Channel, Header, Kind, encode};
use uio_protocol::rpc::Request;
use uio_tests::artifacts::image;
use uio_tests::console::BareGuest;

/// A session that no shell picks.
const SESSION: u32 = 0x9000_0001;

/// A shell that dies in the middle of its first frame, wherever, costs that frame.
#[test]
fn half_a_frame_costs_that_frame() {
    let guest = BareGuest::start();
    let header = Header { channel: Channel::Rpc, kind: Kind::Request, session: SESSION, id: 1 };
    let frame = encode(header, &Request::Hello { protocol_hash: PROTOCOL_HASH }).expect("a frame");
    for length in 1..frame.len() - 1 {
        let mut stream = guest.connect();
        stream.write_all(&frame[..length]).expect("the console takes it");
        drop(stream);
        // The next shell's first delimiter ends it.
        let client = guest.session();
        assert_eq!(client.ping(length as u64).expect("an answer"), length as u64);
    }
    let info = guest.session().info().expect("an answer");
    assert!(info.bad_frames >= frame.len() as u64 - 2, "{info:?}");
    assert_eq!(info.sessions, 1, "{info:?}");
}

/// A QEMU that somebody else started: `attach` takes its socket.
#[test]
fn attach_takes_a_raw_socket() {
    let guest = BareGuest::start();
    let console = guest.console().display().to_string();
    let image = image().display().to_string();
    let shown = guest.home().run(&["attach", &console, "-e", "info"]).good();
    assert!(shown.contains("image       count"), "{shown}");
    let shown = guest.home().run(&["attach", &console, "--image", &image, "-e", "print count"]).good();
    assert!(shown.trim().parse::<u64>().is_ok(), "{shown}");
    // Another build's symbols would be lies.
    let other = guest.home().run(&["attach", &console, "--image", "/bin/true", "-e", "print count"]);
    assert_eq!(other.code, Some(1), "{other:#?}");
}
