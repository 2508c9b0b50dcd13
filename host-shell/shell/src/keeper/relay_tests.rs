//! The relay between a scripted guest and several shells.

use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use uio_protocol::frame::{Channel, Header, Kind, encode};
use uio_protocol::inspect::ExtensionId;
use uio_protocol::rpc::Request;
use uio_protocol::{PROTOCOL_HASH, limits};

use super::relay::Relay;
use crate::client::{Client, ClientError, RunEvent};
use crate::scripted_guest::{self, Report};

const PATIENCE: Duration = Duration::from_secs(5);

struct Machine {
    relay: Arc<Relay>,
    guest: JoinHandle<Report>,
    socket: PathBuf,
}

impl Machine {
    fn start(name: &str) -> Self {
        let (console, theirs) = UnixStream::pair().unwrap();
        let guest = scripted_guest::serve(theirs);
        let relay = Relay::start(console).unwrap();
        until(|| relay.welcome().is_some());
        let socket = std::env::temp_dir().join(format!("uio-relay-{name}-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&socket);
        relay.accept(UnixListener::bind(&socket).unwrap()).unwrap();
        Self { relay, guest, socket }
    }

    fn attach(&self) -> Client {
        Client::connect(&self.socket, PATIENCE).unwrap()
    }

    /// Powers the guest off and gives its report.
    fn end(self) -> Report {
        self.relay.ask_power_off();
        let report = self.guest.join().unwrap();
        std::fs::remove_file(&self.socket).unwrap();
        report
    }
}

#[track_caller]
fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "does not come about");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn marked(client: &Client, marker: u64) {
    assert_eq!(client.ping(marker).unwrap(), marker);
}

#[test]
fn shells_are_kept_apart() {
    let machine = Machine::start("apart");
    let shells: Vec<Client> = (0..5).map(|_| machine.attach()).collect();
    until(|| machine.relay.attached() == 5);
    std::thread::scope(|scope| {
        for (index, shell) in shells.iter().enumerate() {
            scope.spawn(move || {
                for round in 0..200 {
                    marked(shell, (index as u64) << 32 | round);
                }
                let run = shell.run(ExtensionId(1), vec!["hello".into(), index.to_string()], 0).unwrap();
                let mut events = shell.run_events(run);
                let first = events.next(PATIENCE).unwrap();
                assert_eq!(first, Some(RunEvent::Output(format!("Hello, {index}!\n").into_bytes())));
                assert!(matches!(events.next(PATIENCE).unwrap(), Some(RunEvent::Ended(_))));
            });
        }
    });
    drop(shells);
    until(|| machine.relay.attached() == 0);
    let report = machine.end();
    assert_eq!(report.opened, [1, 2, 3, 4, 5, 6], "the keeper's own session and one a shell");
    assert_eq!(report.bad_frames, 0);
}

#[test]
fn a_shell_that_dies_in_a_frame_costs_nobody_else_anything() {
    let machine = Machine::start("dies");
    let witness = machine.attach();
    let header = Header { channel: Channel::Rpc, kind: Kind::Request, session: 7, id: 1 };
    let hello = encode(header, &Request::Hello { protocol_hash: PROTOCOL_HASH }).unwrap();
    for cut in 1..hello.len() {
        let mut stream = UnixStream::connect(&machine.socket).unwrap();
        stream.write_all(&hello).unwrap();
        stream.write_all(&hello[..cut]).unwrap();
        drop(stream);
        marked(&witness, cut as u64);
    }
    until(|| machine.relay.attached() == 1);
    marked(&witness, 1);
    let report = machine.end();
    assert_eq!(report.bad_frames, 0, "cut frames do not reach the guest");
    assert!(report.closed.len() >= report.opened.len() - 2, "every dead shell's session was closed");
}

#[test]
fn garbage_from_a_shell_stays_with_it() {
    let machine = Machine::start("garbage");
    let witness = machine.attach();
    let mut stream = UnixStream::connect(&machine.socket).unwrap();
    let mut state = 1_u32;
    for _ in 0..200 {
        let noise: Vec<u8> = (0..4096)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        stream.write_all(&noise).unwrap();
    }
    marked(&witness, 1);
    drop(stream);
    assert_eq!(machine.end().bad_frames, 0);
}

#[test]
fn a_shell_that_does_not_read_blocks_nobody() {
    let machine = Machine::start("deaf");
    let witness = machine.attach();
    let deaf = UnixStream::connect(&machine.socket).unwrap();
    let header = |id| Header { channel: Channel::Rpc, kind: Kind::Request, session: 7, id };
    let mut frames = encode(header(1), &Request::Hello { protocol_hash: PROTOCOL_HASH }).unwrap();
    for id in 0..20 {
        let run = Request::Run { extension: ExtensionId(4), arguments: vec![], budget_ms: 0 };
        frames.extend(encode(header(2 + 2 * id), &run).unwrap());
        // It claims to have read everything, which it has not.
        let credit = Request::Credit { bytes: limits::EVENT_CREDIT_BYTES };
        frames.extend(encode(header(3 + 2 * id), &credit).unwrap());
    }
    (&deaf).write_all(&frames).unwrap();
    for marker in 0..50 {
        marked(&witness, marker);
    }
    drop(deaf);
    until(|| machine.relay.attached() == 1);
    machine.end();
}

#[test]
fn many_shells_come_and_go() {
    let machine = Machine::start("many");
    for marker in 0..300 {
        marked(&machine.attach(), marker);
    }
    until(|| machine.relay.attached() == 0);
    let report = machine.end();
    assert_eq!(report.opened.len(), 301);
    assert_eq!(report.closed.len(), 300, "the keeper's session stays open");
}

#[test]
fn silence_is_noticed_while_somebody_is_attached() {
    let machine = Machine::start("silent");
    assert_eq!(machine.relay.silence(), None);
    let shell = machine.attach();
    shell.run(ExtensionId(5), vec![], 0).unwrap();
    until(|| machine.relay.silence().is_some_and(|silence| silence > Duration::from_millis(100)));
    machine.relay.forgive_silence();
    assert!(machine.relay.silence().is_none_or(|silence| silence < Duration::from_millis(100)));
    machine.relay.guest_ended();
    std::fs::remove_file(&machine.socket).unwrap();
}

#[test]
fn shells_learn_that_the_guest_has_ended() {
    let machine = Machine::start("ended");
    let shell = machine.attach();
    machine.end();
    until(|| !shell.is_connected());
    assert!(matches!(shell.info(), Err(ClientError::Closed)));
    assert!(Client::connect(Path::new("/nonexistent/socket"), PATIENCE).is_err());
}
