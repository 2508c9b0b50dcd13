//! What commands work on: a session, its guest's image, and the person's Ctrl-C.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use uio_protocol::event::Event;
use uio_protocol::inspect::{ExtensionInfo, LogLevel, LogLine};

use super::CommandError;
use super::symbols::{ImageFile, Objects};
use crate::client::{Client, ClientError};
use crate::instance::Instance;
use crate::lock;
use crate::text::near_matches;

/// Ctrl-C, as far as commands see it.
#[derive(Clone, Debug, Default)]
pub struct Interrupts(Arc<AtomicBool>);

impl Interrupts {
    /// Takes over SIGINT for this process.
    ///
    /// # Errors
    ///
    /// As the operating system says.
    pub fn install() -> std::io::Result<Self> {
        let interrupts = Self::default();
        signal_hook::flag::register(signal_hook::consts::SIGINT, Arc::clone(&interrupts.0))?;
        Ok(interrupts)
    }

    /// Whether Ctrl-C was pressed since the last [`Self::take`] or [`Self::clear`].
    #[must_use]
    pub fn pending(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// As [`Self::pending`], and forgets it.
    #[must_use]
    pub fn take(&self) -> bool {
        self.0.swap(false, Ordering::SeqCst)
    }

    /// Forgets earlier presses; done before each command.
    pub fn clear(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// Presses Ctrl-C from within.
    pub fn raise(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// An error if Ctrl-C was pressed.
    ///
    /// # Errors
    ///
    /// [`CommandError::Interrupted`].
    pub fn check(&self) -> Result<(), CommandError> {
        if self.pending() { Err(CommandError::Interrupted) } else { Ok(()) }
    }
}

/// Lines of a dead guest's log that are shown.
const LAST_LINES: usize = 8;

/// A line each for the code addresses in `line`.
fn name_addresses(image: &uio_debuginfo::Image, line: &str) -> Vec<String> {
    let numbers =
        line.split_whitespace().filter_map(|word| crate::render::units::number(word.trim_matches(',')));
    numbers
        .filter(|address| image.contains_code(*address))
        .map(|address| {
            // Addresses in a log are return addresses, mostly; the call is before them.
            let name = image.describe(address).unwrap_or_default();
            let place = image.source_location(address.wrapping_sub(1));
            let place = place.map(|place| format!("  {}", crate::render::frames::place(&place)));
            format!("    {address:#x}  {name}{}", place.unwrap_or_default())
        })
        .collect()
}

/// Which guest this is.
#[derive(Clone, Debug)]
pub struct Target {
    /// Name of the instance, or the image's name on a raw socket.
    pub name: String,
    /// The image file, where known.
    pub image: Option<PathBuf>,
    /// The instance's folder, where it is an instance.
    pub directory: Option<PathBuf>,
    /// Host folder that the guest sees at `/host`.
    pub share: Option<PathBuf>,
}

impl Target {
    /// The guest of an instance; `image` replaces the instance's own copy of its image file.
    #[must_use]
    pub fn of(instance: Instance, image: Option<PathBuf>) -> Self {
        let image = image.or_else(|| Some(instance.image_copy()));
        let state = instance.state;
        Self { name: state.name, image, directory: Some(instance.directory), share: state.share }
    }
}

/// Where log events go.
enum LogRoute {
    Nowhere,
    /// Above the prompt: warnings and errors.
    Prompt(Box<dyn FnMut(String) + Send>),
    /// To the command that follows the log.
    Follower(std::sync::mpsc::Sender<Event>, Box<LogRoute>),
}

/// The state of an attached shell.
pub struct Shell {
    /// The session.
    pub client: Client,
    /// Which guest.
    pub target: Target,
    /// Ctrl-C.
    pub interrupts: Interrupts,
    /// Whether a person types.
    pub interactive: bool,
    /// Depth of `batch` files, to stop one that runs itself.
    pub batch_depth: usize,
    pub(super) image_file: ImageFile,
    pub(super) objects: Objects,
    transcript: Arc<Mutex<Option<(PathBuf, File)>>>,
    log_route: Arc<Mutex<LogRoute>>,
}

impl Shell {
    /// A shell over an open session.
    #[must_use]
    pub fn new(client: Client, target: Target, interrupts: Interrupts) -> Self {
        let log_route = Arc::new(Mutex::new(LogRoute::Nowhere));
        let routed = Arc::clone(&log_route);
        client.on_log(move |event| match &mut *lock(&routed) {
            LogRoute::Nowhere => {}
            LogRoute::Prompt(print) => {
                if let Some(text) = for_prompt(&event) {
                    print(text);
                }
            }
            LogRoute::Follower(sender, _) => {
                // A follower that has just left needs no events.
                let _ = sender.send(event);
            }
        });
        let image_file = ImageFile::new(target.image.clone());
        Self {
            client,
            target,
            image_file,
            objects: Objects::default(),
            interrupts,
            interactive: false,
            batch_depth: 0,
            transcript: Arc::default(),
            log_route,
        }
    }

    /// Reads symbols in the background, for a person who is about to ask.
    pub fn warm_symbols(&self) {
        self.image_file.warm();
    }

    /// Shows warnings and errors of the guest's log through `print`, above the prompt.
    ///
    /// # Errors
    ///
    /// [`ClientError`] if the guest does not turn log events on.
    pub fn show_log(&self, print: impl FnMut(String) + Send + 'static) -> Result<(), ClientError> {
        *lock(&self.log_route) = LogRoute::Prompt(Box::new(print));
        self.client.follow_log(true)
    }

    /// Calls `body` with the stream of log events, then restores what was before.
    pub(super) fn follow<T>(
        &self,
        body: impl FnOnce(&Receiver<Event>) -> Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        let (sender, receiver) = channel();
        let previous = std::mem::replace(&mut *lock(&self.log_route), LogRoute::Nowhere);
        let shown = matches!(previous, LogRoute::Prompt(_));
        *lock(&self.log_route) = LogRoute::Follower(sender, Box::new(previous));
        let result = self.client.follow_log(true).map_err(Into::into).and_then(|()| body(&receiver));
        let mut route = lock(&self.log_route);
        if let LogRoute::Follower(_, previous) = std::mem::replace(&mut *route, LogRoute::Nowhere) {
            *route = *previous;
        }
        drop(route);
        if !shown {
            self.client.follow_log(false)?;
        }
        result
    }

    /// The loaded extension that `word` names: its number or its name.
    ///
    /// # Errors
    ///
    /// [`CommandError`] with near matches.
    pub fn extension(&self, word: &str) -> Result<ExtensionInfo, CommandError> {
        let mut all = self.client.extensions()?;
        let number = word.parse().ok();
        match all.iter().position(|one| Some(one.id.0) == number || one.name == word) {
            Some(index) => Ok(all.swap_remove(index)),
            None => {
                let near = near_matches(word, all.iter().map(|one| one.name.as_str()));
                let hint = match near.first() {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if all.is_empty() => "nothing is loaded; `load FILE` loads an extension".into(),
                    None => "`ext` lists what is loaded".into(),
                };
                Err(CommandError::with_hint(format!("no extension `{word}`"), hint))
            }
        }
    }

    /// What the guest last wrote to its serial log, with names for the addresses in it: for when it is gone.
    #[must_use]
    pub fn last_words(&self) -> Vec<String> {
        let Some(directory) = &self.target.directory else { return Vec::new() };
        let text = std::fs::read(directory.join("serial.log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
        let start = lines
            .iter()
            .rposition(|line| line.contains("panic"))
            .unwrap_or(lines.len().saturating_sub(LAST_LINES))
            .max(lines.len().saturating_sub(2 * LAST_LINES));
        let image = self.image().ok();
        lines[start..]
            .iter()
            .flat_map(|line| {
                let named = image.iter().flat_map(|image| name_addresses(image, line));
                std::iter::once((*line).to_owned()).chain(named).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Starts or ends the transcript.
    ///
    /// # Errors
    ///
    /// [`CommandError::HostFile`].
    pub(super) fn set_transcript(&self, path: Option<PathBuf>) -> Result<Option<PathBuf>, CommandError> {
        let fresh = match path {
            Some(path) => {
                let file = File::options().create(true).append(true).open(&path);
                Some((path.clone(), file.map_err(|source| CommandError::HostFile { path, source })?))
            }
            None => None,
        };
        let old = std::mem::replace(&mut *lock(&self.transcript), fresh);
        Ok(old.map(|(path, _)| path))
    }

    /// The file of the transcript, if one is being written.
    #[must_use]
    pub fn transcript_path(&self) -> Option<PathBuf> {
        lock(&self.transcript).as_ref().map(|(path, _)| path.clone())
    }

    /// Adds to the transcript, if there is one.
    pub fn record(&self, bytes: &[u8]) {
        if let Some((_, file)) = lock(&self.transcript).as_mut() {
            // A full disk must not stop the session; `transcript` shows the file.
            let _ = file.write_all(bytes);
        }
    }

    /// A writer that passes bytes on to `sink` and to the transcript.
    pub fn recorded<'sink>(&self, sink: &'sink mut dyn Write) -> impl Write + use<'sink> {
        Tee { sink, transcript: Arc::clone(&self.transcript) }
    }
}

struct Tee<'sink> {
    sink: &'sink mut dyn Write,
    transcript: Arc<Mutex<Option<(PathBuf, File)>>>,
}

impl Write for Tee<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.sink.write(bytes)?;
        if let Some((_, file)) = lock(&self.transcript).as_mut() {
            let _ = file.write_all(&bytes[..count]);
        }
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.sink.flush()
    }
}

/// What of an event is shown above the prompt.
fn for_prompt(event: &Event) -> Option<String> {
    match event {
        Event::Log(lines) => {
            let grave = |line: &&LogLine| matches!(line.level, LogLevel::Error | LogLevel::Warn);
            let lines: Vec<String> = lines.iter().filter(grave).map(super::log::plain_line).collect();
            (!lines.is_empty()).then(|| lines.join("\n"))
        }
        Event::LogDropped { lines } => Some(format!("({lines} log lines were lost)")),
        Event::Output { .. } | Event::Exited { .. } | Event::Tested { .. } => None,
    }
}
