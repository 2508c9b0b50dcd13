//! The byte stream from a shell: any bytes, in any pieces. What decodes must encode to the same message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use uio_protocol::event::Event;
use uio_protocol::frame::{Channel, Decoder, Frame, Header, Kind, encode};
use uio_protocol::rpc::{Request, Response};

/// Whatever is a message is the same message after another journey.
fn interpret(frame: &Frame) {
    if let Ok(request) = frame.message::<Request>() {
        let again = encode(frame.header, &request).expect("what fitted a frame fits again");
        let mut bytes = again.as_slice();
        let copy = Decoder::new().next_frame(&mut bytes).expect("whole").expect("sound");
        assert_eq!(copy.message::<Request>().as_ref(), Ok(&request));
    }
    let _ = frame.message::<Response>();
    let _ = frame.message::<Event>();
}

fuzz_target!(|data: &[u8]| {
    let mut decoder = Decoder::new();
    let piece = usize::from(data.first().copied().unwrap_or(1)).max(1);
    for chunk in data.chunks(piece) {
        let mut input = chunk;
        while let Some(frame) = decoder.next_frame(&mut input) {
            if let Ok(frame) = frame {
                interpret(&frame);
            }
        }
    }
    // Behind the checksum, which random bytes do not pass.
    let header = Header { channel: Channel::Rpc, kind: Kind::Request, session: 1, id: 1 };
    interpret(&Frame { header, body: data.to_vec() });
});
