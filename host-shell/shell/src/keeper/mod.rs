//! The process that owns a guest: QEMU is its child, the console its connection, and shells attach
//! through its socket.

mod detach;
mod relay;
#[cfg(test)]
mod relay_tests;
mod serial;
mod shells;

use std::io;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use uio_protocol::error::RpcError;

pub use detach::{StartError, end_with_owner, start_detached, start_owned, stop};

use crate::instance::{InstanceError, InstanceLock, RunDirectory, RunDirectoryError, State, Status, list};
use crate::machine::accelerator::{KvmVerdict, kvm};
use crate::machine::arguments::{Paths, arguments};
use crate::machine::image::ImageError;
use crate::machine::process::{QEMU, spawn_guarded};
use crate::machine::qmp::{Monitor, QmpError};
use crate::machine::{Accel, RunOptions, image};
use crate::render::units::hex;
use crate::text::os_reason;
use relay::Relay;

/// How long QEMU may take until its sockets are there.
const QEMU_START_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the keeper looks after its child, the watchdog and its signals.
const TICK: Duration = Duration::from_millis(20);
/// What a guest gets to power itself off, before QEMU is told to quit; and QEMU, before it is killed.
const POWER_OFF_GRACE: Duration = Duration::from_secs(3);
const QUIT_GRACE: Duration = Duration::from_secs(2);
/// Silence after which the guest's watchdog interrupt (NMI) is sent: loaded code that runs with
/// interrupts off can be ended by nothing else.
const WATCHDOG_SILENCE: Duration = Duration::from_secs(2);

/// Why a guest could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// No run directory.
    #[error(transparent)]
    RunDirectory(#[from] RunDirectoryError),
    /// The name is taken or wrong.
    #[error(transparent)]
    Instance(#[from] InstanceError),
    /// No image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A file or folder that was named is not there.
    #[error("{what} {}: {}", path.display(), os_reason(source))]
    Path {
        /// Which option.
        what: &'static str,
        /// Its value.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// KVM was demanded and does not work.
    #[error("--accel kvm: {0}")]
    NoKvm(String),
    /// QEMU is not installed, or cannot be started.
    #[error("cannot start {QEMU}: {0}")]
    Spawn(io::Error),
    /// QEMU ended before the guest ran.
    #[error("QEMU ended at once ({status}):\n{log}")]
    Qemu {
        /// How.
        status: ExitStatus,
        /// Its words.
        log: String,
    },
    /// QEMU's sockets do not answer.
    #[error("QEMU does not answer: {0}")]
    Monitor(QmpError),
    /// Sockets, threads, signals.
    #[error("keeping the guest: {0}")]
    Io(#[from] io::Error),
}

impl KeeperError {
    /// The next step.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Instance(error) => error.hint(),
            Self::Image(error) => error.hint(),
            Self::NoKvm(_) => Some("use `--accel auto` or `--accel tcg`".into()),
            Self::Spawn(_) => Some("`uio-shell doctor` says what is missing and how to install it".into()),
            _ => None,
        }
    }
}

/// How a guest ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GuestEnd {
    /// It powered off with this exit code.
    Exited(u8),
    /// It was told to go, or QEMU ended without a word from it.
    Stopped,
}

/// Fills in what `options` leaves open: an absolute image path, a free name, a real accelerator.
///
/// # Errors
///
/// [`KeeperError`] for what is wrong with the options.
pub fn prepare(options: &RunOptions, run: &RunDirectory) -> Result<RunOptions, KeeperError> {
    let (image, short) = image::resolve(&options.image)?;
    let mut ready = options.clone();
    ready.image = image.display().to_string();
    ready.name = Some(match &options.name {
        Some(name) => name.clone(),
        None => free_name(run, &short),
    });
    for (what, path) in [("--share", &mut ready.share), ("--initrd", &mut ready.initrd)] {
        if let Some(path) = path {
            *path = path.canonicalize().map_err(|source| KeeperError::Path {
                what,
                path: path.clone(),
                source,
            })?;
        }
    }
    ready.accel = match options.accel {
        _ if options.icount => Accel::Tcg,
        Accel::Auto if kvm(run) == KvmVerdict::Usable => Accel::Kvm,
        Accel::Auto => Accel::Tcg,
        Accel::Kvm => match kvm(run) {
            KvmVerdict::Unusable(reason) => return Err(KeeperError::NoKvm(reason)),
            KvmVerdict::Usable | KvmVerdict::NoPku => Accel::Kvm,
        },
        Accel::Tcg => Accel::Tcg,
    };
    Ok(ready)
}

/// The image's name, with a number if that is taken.
fn free_name(run: &RunDirectory, short: &str) -> String {
    let taken: Vec<String> = list(run).into_iter().map(|instance| instance.state.name).collect();
    let base = if crate::instance::valid_name(short) { short } else { "guest" };
    (1_u32..)
        .map(|number| if number == 1 { base.to_owned() } else { format!("{base}-{number}") })
        .find(|name| !taken.contains(name))
        .unwrap_or_else(|| base.to_owned())
}

/// Starts the guest and keeps it until it ends. `options` come from [`prepare`]; `shell` is the
/// `uio-shell` executable; `foreground` shows the serial log and says what happens.
///
/// # Errors
///
/// [`KeeperError`].
pub fn keep(
    options: &RunOptions,
    run: &RunDirectory,
    shell: &Path,
    foreground: bool,
) -> Result<GuestEnd, KeeperError> {
    let stops = stop_signals()?;
    let name = options.name.clone().unwrap_or_default();
    let lock = InstanceLock::take(run, &name)?;
    let paths = Paths { directory: lock.directory().to_path_buf() };
    let image = Path::new(&options.image);
    let mut state = first_state(options, &name);
    lock.write(&state)?;
    // Symbols are read from a copy: the original may be rebuilt while the guest runs.
    std::fs::copy(image, paths.directory.join("image"))?;
    let line = arguments(options, image, options.accel, &paths);
    let mut child = spawn_guarded(shell, QEMU, &line, &paths.qemu_log()).map_err(KeeperError::Spawn)?;
    let mut monitor = connect_monitor(&mut child, &paths)?;
    let relay = Relay::start(UnixStream::connect(paths.console())?)?;
    if foreground {
        serial::show(paths.serial());
        eprintln!("{}", banner(&state));
    }
    let mut keeper = Keeper { relay, lock: &lock, socket: paths.directory.join("shell.sock"), foreground };
    let end = keeper.watch(&mut child, &mut monitor, &mut state, &stops);
    if foreground {
        serial::finish();
    }
    if matches!(end, Ok(GuestEnd::Stopped | GuestEnd::Exited(0))) {
        // Only the addresses in the log of one that failed want names.
        let _ = std::fs::remove_file(paths.directory.join("image"));
    }
    end
}

fn banner(state: &State) -> String {
    format!(
        "{} starts on {} ({}); `uio-shell attach {}` in another terminal, Ctrl-C here stops it",
        state.name, state.machine, state.accel, state.name
    )
}

fn first_state(options: &RunOptions, name: &str) -> State {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    State {
        name: name.to_owned(),
        status: Status::Starting,
        image: PathBuf::from(&options.image),
        build_id: None,
        pid: std::process::id(),
        started_unix_s: now.as_secs(),
        machine: options.machine.name().to_owned(),
        accel: options.accel.name().to_owned(),
        memory: options.mem.clone(),
        share: options.share.clone(),
        ports: options.publish.iter().map(ToString::to_string).collect(),
        attached: 0,
    }
}

/// Counts requests to stop: Ctrl-C, `stop`, a closed terminal.
fn stop_signals() -> io::Result<Arc<AtomicUsize>> {
    let stops = Arc::new(AtomicUsize::new(0));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        let stops = Arc::clone(&stops);
        let mut signals = signal_hook::iterator::Signals::new([signal])?;
        std::thread::Builder::new().name("uio-signals".into()).spawn(move || {
            for _ in signals.forever() {
                stops.fetch_add(1, Ordering::SeqCst);
            }
        })?;
    }
    Ok(stops)
}

fn connect_monitor(child: &mut Child, paths: &Paths) -> Result<Monitor, KeeperError> {
    let deadline = Instant::now() + QEMU_START_TIMEOUT;
    loop {
        if let Some(status) = child.try_wait()? {
            let log = std::fs::read_to_string(paths.qemu_log()).unwrap_or_default();
            if status.code() == Some(127) || log.contains("No such file or directory") && log.contains(QEMU) {
                return Err(KeeperError::Spawn(io::Error::from(io::ErrorKind::NotFound)));
            }
            return Err(KeeperError::Qemu { status, log: log.trim_end().to_owned() });
        }
        // The console's socket is made before the monitor answers.
        match Monitor::connect(&paths.monitor()) {
            Ok(monitor) => return Ok(monitor),
            Err(error) if Instant::now() > deadline => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(KeeperError::Monitor(error));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

struct Keeper<'lock> {
    relay: Arc<Relay>,
    lock: &'lock InstanceLock,
    socket: PathBuf,
    foreground: bool,
}

impl Keeper<'_> {
    fn watch(
        &mut self,
        child: &mut Child,
        monitor: &mut Monitor,
        state: &mut State,
        stops: &AtomicUsize,
    ) -> Result<GuestEnd, KeeperError> {
        let mut stop: Option<Instant> = None;
        let mut quit_sent = false;
        loop {
            if let Some(status) = child.try_wait()? {
                self.relay.guest_ended();
                return Ok(match status.code() {
                    // QEMU's debug-exit device ends it with `2n + 1`.
                    Some(code) if code & 1 == 1 => GuestEnd::Exited((code >> 1) as u8),
                    _ => GuestEnd::Stopped,
                });
            }
            let wanted = stops.load(Ordering::SeqCst);
            match stop {
                None if wanted > 0 => {
                    stop = Some(Instant::now());
                    self.relay.ask_power_off();
                }
                Some(since) => {
                    let waited = since.elapsed();
                    let deaf = state.status == Status::Starting || wanted > 1;
                    if !quit_sent && (deaf || waited > POWER_OFF_GRACE) {
                        quit_sent = true;
                        let _ = monitor.execute("quit");
                    }
                    if wanted > 2 || waited > POWER_OFF_GRACE + QUIT_GRACE {
                        child.kill()?;
                    }
                }
                None => {}
            }
            self.publish(state)?;
            if self.relay.silence().is_some_and(|silence| silence > WATCHDOG_SILENCE) {
                self.relay.forgive_silence();
                self.say("the guest does not answer; sending its watchdog interrupt");
                if let Err(error) = monitor.execute("inject-nmi") {
                    self.say(&format!("cannot send it: {error}"));
                }
            }
            self.relay.wait_for_end(TICK);
        }
    }

    /// Brings `instance.json` and the socket up to date with what the relay knows.
    fn publish(&self, state: &mut State) -> Result<(), KeeperError> {
        let mut fresh = state.clone();
        fresh.attached = self.relay.attached();
        if state.status == Status::Starting {
            match self.relay.welcome() {
                None => {}
                Some(welcome) => {
                    match welcome {
                        Ok(welcome) => fresh.build_id = Some(hex(&welcome.build_id.0)),
                        Err(RpcError::ProtocolMismatch { .. }) => {
                            self.say("the guest speaks another protocol version; shells will be refused");
                        }
                        Err(_) => self.say("the guest refused the keeper's session"),
                    }
                    fresh.status = Status::Running;
                    // Shells find the socket only once somebody answers behind it.
                    let listener = UnixListener::bind(&self.socket)?;
                    self.relay.accept(listener)?;
                }
            }
        }
        if fresh != *state {
            self.lock.write(&fresh)?;
            *state = fresh;
        }
        Ok(())
    }

    fn say(&self, message: &str) {
        // In the background, stderr is the keeper's log.
        if self.foreground {
            eprintln!("uio-shell: {message}");
        } else {
            eprintln!("{message}");
        }
    }
}
