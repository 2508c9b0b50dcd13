//! The other end of a guest's Ethernet cable: QEMU's datagram card on a pair of Unix sockets, which needs no privileges.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::ethernet::{Host, Ip, arp_reply, read_arp_request};

/// Longer than any frame.
const BUFFER_BYTES: usize = 4096;
/// How long QEMU may take nothing before the card counts as stuck. A loaded machine stops it for seconds.
const SEND_LIMIT: Duration = Duration::from_secs(20);

/// The cable's end that is not the guest's.
pub struct Wire {
    socket: UnixDatagram,
    qemu: PathBuf,
    local: PathBuf,
    host: Host,
}

impl Wire {
    /// A cable with sockets in `folder`, with `host` at its end.
    ///
    /// # Panics
    ///
    /// If the socket cannot be made.
    #[must_use]
    pub fn new(folder: &Path, host: Host) -> Self {
        let (qemu, local) = (folder.join("card.sock"), folder.join("wire.sock"));
        let socket = UnixDatagram::bind(&local).expect("a socket");
        socket.set_write_timeout(Some(SEND_LIMIT)).expect("a time limit");
        Self { socket, qemu, local, host }
    }

    /// The value of QEMU's `-netdev` for the guest's end.
    #[must_use]
    pub fn netdev(&self, id: &str) -> String {
        format!(
            "dgram,id={id},local.type=unix,local.path={},remote.type=unix,remote.path={}",
            self.qemu.display(),
            self.local.display()
        )
    }

    /// Sends a frame, which must not be empty: QEMU takes that for the end.
    ///
    /// # Panics
    ///
    /// If QEMU does not take it in time.
    pub fn send(&self, frame: &[u8]) {
        assert!(!frame.is_empty(), "an empty frame would unplug the cable");
        self.socket.send_to(frame, &self.qemu).expect("a card that takes frames");
    }

    /// The next frame that comes before `deadline`. Questions for our own address are answered on the way, as any host
    /// does, and not given.
    ///
    /// # Panics
    ///
    /// If the socket fails.
    #[must_use]
    pub fn receive(&self, deadline: Instant) -> Option<Vec<u8>> {
        loop {
            let frame = self.receive_any(deadline)?;
            match read_arp_request(&frame) {
                Some((asker, ip)) if self.is_ours(ip) => self.send(&arp_reply(self.host, asker)),
                _ => return Some(frame),
            }
        }
    }

    fn is_ours(&self, ip: Ip) -> bool {
        ip == self.host.ip
    }

    fn receive_any(&self, deadline: Instant) -> Option<Vec<u8>> {
        let left = deadline.saturating_duration_since(Instant::now());
        // Zero would mean no limit.
        self.socket.set_read_timeout(Some(left.max(Duration::from_millis(1)))).expect("a time limit");
        let mut buffer = vec![0; BUFFER_BYTES];
        match self.socket.recv(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                Some(buffer)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("the cable: {error}"),
        }
    }
}
