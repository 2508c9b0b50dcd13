//! Frames between the guest's console and the attached shells.
//!
//! The keeper has a session of its own (number 1), to learn when the guest is up and whether it still answers.
//! Shells get the numbers after it; their frames carry the assigned number on the console and
//! their own number on their socket.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use uio_protocol::PROTOCOL_HASH;
use uio_protocol::error::RpcError;
use uio_protocol::event::Event;
use uio_protocol::frame::{Channel, DELIMITER, Frame, Header, Kind, encode, encode_body};
use uio_protocol::limits::EVENT_CREDIT_BYTES;
use uio_protocol::rpc::{Reply, Request, Response};

use super::shells::{Queued, Shell};
use crate::client::Welcome;
use crate::client::link::read_frames;
use crate::lock;

/// The keeper's own session.
const OWN_SESSION: u32 = 1;
/// Id of requests that the keeper sends in a shell's session; no shell uses it, so the answers are
/// dropped.
const UNANSWERED_ID: u32 = u32::MAX;
/// How often `Hello` is repeated until the guest is up.
const HELLO_INTERVAL: Duration = Duration::from_millis(100);
/// How often the guest is asked whether it lives, while shells are attached. An idle guest with nobody
/// attached is left in peace.
const PING_INTERVAL: Duration = Duration::from_millis(500);
/// How long after the last shell left the guest is still watched: what that shell had started is
/// ended by then, or needs the watchdog.
const WATCH_AFTER_LEAVE: Duration = Duration::from_secs(5);

pub(super) struct Relay {
    console: Mutex<UnixStream>,
    shells: Mutex<HashMap<u32, Arc<Shell>>>,
    next_session: AtomicU32,
    welcome: Mutex<Option<Result<Welcome, RpcError>>>,
    /// Credit for events that were dropped here, by session.
    owed_credit: Mutex<HashMap<u32, u32>>,
    /// When the ping that is not answered yet was sent.
    unanswered_since: Mutex<Option<Instant>>,
    watch_until: Mutex<Option<Instant>>,
    ended: AtomicBool,
    end: (Mutex<bool>, Condvar),
}

impl Relay {
    /// Takes over the console.
    pub(super) fn start(console: UnixStream) -> io::Result<Arc<Self>> {
        let reader = console.try_clone()?;
        let relay = Arc::new(Self {
            console: Mutex::new(console),
            shells: Mutex::default(),
            next_session: AtomicU32::new(OWN_SESSION + 1),
            welcome: Mutex::new(None),
            owed_credit: Mutex::default(),
            unanswered_since: Mutex::new(None),
            watch_until: Mutex::new(None),
            ended: AtomicBool::new(false),
            end: (Mutex::new(false), Condvar::new()),
        });
        relay.write(&[DELIMITER])?;
        let from_guest = Arc::clone(&relay);
        thread::Builder::new().name("uio-console".into()).spawn(move || {
            read_frames(reader, |frame| from_guest.route(&frame));
            from_guest.guest_ended();
        })?;
        let pinger = Arc::clone(&relay);
        thread::Builder::new().name("uio-ping".into()).spawn(move || pinger.keep_asking())?;
        Ok(relay)
    }

    fn write(&self, bytes: &[u8]) -> io::Result<()> {
        lock(&self.console).write_all(bytes)
    }

    fn request(&self, session: u32, id: u32, request: &Request) {
        let header = Header { channel: Channel::Rpc, kind: Kind::Request, session, id };
        if let Ok(bytes) = encode(header, request) {
            // A console that fails ends the reader too, and with it the relay.
            let _ = self.write(&bytes);
        }
    }

    /// Says `Hello` until it is answered, then pings while somebody is attached.
    fn keep_asking(&self) {
        while !self.ended.load(Ordering::Relaxed) && lock(&self.welcome).is_none() {
            self.request(OWN_SESSION, 1, &Request::Hello { protocol_hash: PROTOCOL_HASH });
            self.wait_for_end(HELLO_INTERVAL);
        }
        while !self.ended.load(Ordering::Relaxed) {
            let owed = std::mem::take(&mut *lock(&self.owed_credit));
            for (session, bytes) in owed {
                self.request(session, UNANSWERED_ID, &Request::Credit { bytes });
            }
            if self.is_watched() {
                let mut unanswered = lock(&self.unanswered_since);
                let ask = unanswered.is_none();
                unanswered.get_or_insert_with(Instant::now);
                drop(unanswered);
                if ask {
                    self.request(OWN_SESSION, 2, &Request::Ping { marker: 0 });
                }
            }
            self.wait_for_end(PING_INTERVAL);
        }
    }

    fn is_watched(&self) -> bool {
        matches!(*lock(&self.welcome), Some(Ok(_)))
            && (!lock(&self.shells).is_empty()
                || lock(&self.watch_until).is_some_and(|until| Instant::now() < until))
    }

    /// A frame from the guest.
    fn route(&self, frame: &Frame) {
        let header = frame.header;
        if header.session == OWN_SESSION {
            self.take_own(frame);
            return;
        }
        let Some(shell) = lock(&self.shells).get(&header.session).cloned() else { return };
        if header.id == UNANSWERED_ID && header.kind == Kind::Response {
            return;
        }
        let patched = Header { session: shell.own_session(), ..header };
        let Ok(bytes) = encode_body(patched, &frame.body) else { return };
        let droppable = header.channel == Channel::Events
            && !matches!(frame.message::<Event>(), Ok(Event::Exited { .. }));
        if shell.send(bytes, droppable) == Queued::Dropped && droppable {
            // The shell will not give credit for what it never saw. Sent by another thread: this one has to go
            // on reading, or a guest that waits for us to read would wait for ever.
            let bytes = u32::try_from(frame.body.len()).unwrap_or(u32::MAX);
            let mut owed = lock(&self.owed_credit);
            let session = owed.entry(header.session).or_default();
            *session = session.saturating_add(bytes).min(EVENT_CREDIT_BYTES);
        }
    }

    fn take_own(&self, frame: &Frame) {
        match frame.message::<Response>() {
            Ok(Ok(Reply::Welcome { build_id, image })) => {
                *lock(&self.welcome) = Some(Ok(Welcome { build_id, image }));
                self.wake();
            }
            Ok(Ok(Reply::Pong { .. })) => *lock(&self.unanswered_since) = None,
            Ok(Err(error @ RpcError::ProtocolMismatch { .. })) => {
                *lock(&self.welcome) = Some(Err(error));
                self.wake();
            }
            // A mismatch of messages shows as a body that does not decode, too.
            Err(_) if frame.header.kind == Kind::Response && frame.header.id == 1 => {
                lock(&self.welcome).get_or_insert(Err(RpcError::ProtocolMismatch { guest: 0 }));
                self.wake();
            }
            _ => {}
        }
    }

    /// Lets shells attach.
    pub(super) fn accept(self: &Arc<Self>, listener: UnixListener) -> io::Result<()> {
        let relay = Arc::clone(self);
        thread::Builder::new().name("uio-accept".into()).spawn(move || {
            for stream in listener.incoming() {
                if relay.ended.load(Ordering::Relaxed) {
                    return;
                }
                // Out of descriptors or threads: this shell has to try again, the others go on.
                if let Ok(stream) = stream
                    && relay.attach(stream).is_err()
                {
                    thread::sleep(Duration::from_millis(10));
                }
            }
        })?;
        Ok(())
    }

    fn attach(self: &Arc<Self>, stream: UnixStream) -> io::Result<()> {
        let reader = stream.try_clone()?;
        let shell = Arc::new(Shell::new(stream));
        let session = self.next_session();
        lock(&self.shells).insert(session, Arc::clone(&shell));
        let to_shell = Arc::clone(&shell);
        let relay = Arc::clone(self);
        let writer = thread::Builder::new().name("uio-to-shell".into()).spawn(move || to_shell.write_all());
        let reading = writer.and_then(|_| {
            thread::Builder::new().name("uio-from-shell".into()).spawn(move || {
                read_frames(reader, |frame| relay.forward(session, &shell, &frame));
                relay.leave(session);
            })
        });
        if let Err(error) = reading {
            self.leave(session);
            return Err(error);
        }
        Ok(())
    }

    fn next_session(&self) -> u32 {
        loop {
            let session = self.next_session.fetch_add(1, Ordering::Relaxed);
            // After four thousand million shells the numbers start again.
            if session > OWN_SESSION && !lock(&self.shells).contains_key(&session) {
                return session;
            }
        }
    }

    /// A frame from a shell.
    fn forward(&self, session: u32, shell: &Shell, frame: &Frame) {
        shell.own_session.store(frame.header.session, Ordering::Relaxed);
        if let Ok(bytes) = encode_body(Header { session, ..frame.header }, &frame.body) {
            let _ = self.write(&bytes);
        }
    }

    fn leave(&self, session: u32) {
        let gone = lock(&self.shells).remove(&session);
        if let Some(shell) = gone {
            shell.close();
            *lock(&self.watch_until) = Some(Instant::now() + WATCH_AFTER_LEAVE);
            // It may have been killed in mid-command: the guest ends what it had started.
            self.request(session, UNANSWERED_ID, &Request::Bye);
        }
    }

    /// What the guest said to the keeper's `Hello`, once it has.
    pub(super) fn welcome(&self) -> Option<Result<Welcome, RpcError>> {
        lock(&self.welcome).clone()
    }

    /// Shells attached.
    pub(super) fn attached(&self) -> u32 {
        lock(&self.shells).len() as u32
    }

    /// How long a ping has been waiting for its answer.
    pub(super) fn silence(&self) -> Option<Duration> {
        lock(&self.unanswered_since).map(|since| since.elapsed())
    }

    /// Starts the silence anew, after something was done about it.
    pub(super) fn forgive_silence(&self) {
        if let Some(since) = lock(&self.unanswered_since).as_mut() {
            *since = Instant::now();
        }
    }

    /// Asks the guest to power off, without waiting: the console may be stuck.
    pub(super) fn ask_power_off(self: &Arc<Self>) {
        let relay = Arc::clone(self);
        let asking = thread::Builder::new().name("uio-power-off".into());
        // If no thread can be had, the monitor's `quit` follows.
        let _ = asking.spawn(move || relay.request(OWN_SESSION, 3, &Request::PowerOff { exit_code: 0 }));
    }

    /// The guest is gone: shells get what is queued, then the end.
    pub(super) fn guest_ended(&self) {
        self.ended.store(true, Ordering::Relaxed);
        for shell in lock(&self.shells).values() {
            shell.close_after_queue();
        }
        self.wake();
    }

    fn wake(&self) {
        *lock(&self.end.0) = true;
        self.end.1.notify_all();
    }

    /// Sleeps, but not longer than until something changes.
    pub(super) fn wait_for_end(&self, timeout: Duration) {
        let changed = lock(&self.end.0);
        let (mut changed, _) = self
            .end
            .1
            .wait_timeout_while(changed, timeout, |changed| !*changed)
            .unwrap_or_else(PoisonError::into_inner);
        *changed = false;
    }
}
