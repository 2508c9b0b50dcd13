//! What an instance says about itself, and how to find one.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::RunDirectory;
use crate::text::{near_matches, os_reason};

/// Longest instance name: the socket paths below it have to fit `sockaddr_un` (108 bytes).
const NAME_BYTES_MAX: usize = 48;

/// How often and how far apart a lock that is held is tried again.
const LOCK_RETRIES: u32 = 200;
const LOCK_RETRY: Duration = Duration::from_millis(5);

/// How far an instance has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// QEMU runs; the guest's overlay has not answered yet.
    Starting,
    /// The overlay answers.
    Running,
}

/// Contents of `instance.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Name of the instance.
    pub name: String,
    /// How far it has come.
    pub status: Status,
    /// The image file.
    pub image: PathBuf,
    /// Identity of the running image in hex, once the guest has said it.
    pub build_id: Option<String>,
    /// Process id of the keeper.
    pub pid: u32,
    /// When it was started, in seconds since 1970.
    pub started_unix_s: u64,
    /// `q35` or `microvm`.
    pub machine: String,
    /// `tcg` or `kvm`.
    pub accel: String,
    /// Memory, as QEMU was told.
    pub memory: String,
    /// Shared host folder.
    pub share: Option<PathBuf>,
    /// Published ports, `HOST:GUEST`.
    pub ports: Vec<String>,
    /// Shells attached.
    pub attached: u32,
}

/// Why there is no such instance.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// None of that name.
    #[error("no instance `{name}` is running")]
    NotFound {
        /// The name asked for.
        name: String,
        /// Running ones with names like it.
        near: Vec<String>,
    },
    /// None at all.
    #[error("no instance is running")]
    None,
    /// More than one, and no name given.
    #[error("several instances are running: {}", names.join(", "))]
    Several {
        /// All of them.
        names: Vec<String>,
    },
    /// The name is in use.
    #[error("an instance `{0}` is running already")]
    Taken(String),
    /// The name cannot be a folder's.
    #[error("`{0}` is not a good name: use letters, digits, `-`, `_` and `.`, 48 at most")]
    BadName(String),
    /// The file system said no.
    #[error("{}: {}", path.display(), os_reason(source))]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl InstanceError {
    /// The next step.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { near, .. } if !near.is_empty() => Some(format!("did you mean `{}`?", near[0])),
            Self::NotFound { .. } => Some("`uio-shell ps` lists what runs".into()),
            Self::None => Some("`uio-shell run count --detach` starts one".into()),
            Self::Several { names } => Some(format!("say which: `uio-shell attach {}`", names[0])),
            Self::Taken(name) => {
                Some(format!("choose another with `--name`, or `uio-shell stop {name}` first"))
            }
            Self::BadName(_) | Self::Io { .. } => None,
        }
    }
}

/// Whether `name` may name an instance.
#[must_use]
pub fn valid_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A running instance.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its folder.
    pub directory: PathBuf,
    /// What it said last.
    pub state: State,
}

impl Instance {
    /// The socket where shells attach.
    #[must_use]
    pub fn shell_socket(&self) -> PathBuf {
        self.directory.join("shell.sock")
    }

    /// The guest's serial log.
    #[must_use]
    pub fn serial_log(&self) -> PathBuf {
        self.directory.join("serial.log")
    }

    /// The keeper's copy of the image, which a rebuild of the original does not touch.
    #[must_use]
    pub fn image_copy(&self) -> PathBuf {
        self.directory.join("image")
    }

    /// Clears what its killed keeper left, except for the logs; nothing if a successor is there already.
    pub(crate) fn bury(&self) {
        if let Ok(_claim) = Claim::of(self.directory.clone(), &self.state.name) {
            for file in LEFT_FILES.into_iter().filter(|file| !file.ends_with(".log")) {
                let _ = fs::remove_file(self.directory.join(file));
            }
        }
    }

    /// Whether its keeper still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        is_locked(&self.directory.join("lock"))
    }

    fn read(directory: PathBuf) -> Option<Self> {
        if !is_locked(&directory.join("lock")) {
            return None;
        }
        let text = fs::read(directory.join("instance.json")).ok()?;
        let state = serde_json::from_slice(&text).ok()?;
        Some(Self { directory, state })
    }
}

fn is_locked(path: &Path) -> bool {
    File::open(path).is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// All running instances, by name.
#[must_use]
pub fn list(run: &RunDirectory) -> Vec<Instance> {
    let Ok(entries) = fs::read_dir(run.path()) else { return Vec::new() };
    let mut all: Vec<Instance> = entries.flatten().filter_map(|entry| Instance::read(entry.path())).collect();
    all.sort_by(|a, b| a.state.name.cmp(&b.state.name));
    all
}

/// The instance `name`, or the only one.
///
/// # Errors
///
/// [`InstanceError`] if there is none, or no single one.
pub fn find(run: &RunDirectory, name: Option<&str>) -> Result<Instance, InstanceError> {
    let mut all = list(run);
    match name {
        Some(name) => match all.iter().position(|instance| instance.state.name == name) {
            Some(index) => Ok(all.swap_remove(index)),
            None => {
                let near = near_matches(name, all.iter().map(|instance| instance.state.name.as_str()));
                Err(InstanceError::NotFound { name: name.to_owned(), near })
            }
        },
        None if all.is_empty() => Err(InstanceError::None),
        None if all.len() == 1 => Ok(all.swap_remove(0)),
        None => Err(InstanceError::Several {
            names: all.into_iter().map(|instance| instance.state.name).collect(),
        }),
    }
}

/// What an instance leaves in its folder.
const LEFT_FILES: [&str; 7] =
    ["instance.json", "shell.sock", "console.sock", "qmp.sock", "serial.log", "qemu.log", "image"];

/// The sole right to make an instance of a name. While it is only this, nobody sees an instance: what a killed
/// predecessor left would be taken for the new one's.
#[derive(Debug)]
struct Claim {
    directory: PathBuf,
    file: File,
}

impl Claim {
    fn take(run: &RunDirectory, name: &str) -> Result<Self, InstanceError> {
        if !valid_name(name) {
            return Err(InstanceError::BadName(name.to_owned()));
        }
        Self::of(run.instance(name), name)
    }

    fn of(directory: PathBuf, name: &str) -> Result<Self, InstanceError> {
        let fail = |source| InstanceError::Io { path: directory.clone(), source };
        fs::create_dir_all(&directory).map_err(fail)?;
        let file = File::create(directory.join("claim")).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { directory, file }),
            Err(TryLockError::WouldBlock) => Err(InstanceError::Taken(name.to_owned())),
            Err(TryLockError::Error(error)) => Err(fail(error)),
        }
    }

    /// Clears what a predecessor left.
    fn clear(&self) -> Result<(), InstanceError> {
        let absent_is_good = |result: io::Result<()>| match result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(InstanceError::Io { path: self.directory.clone(), source: error })
            }
            _ => Ok(()),
        };
        absent_is_good(fs::remove_dir_all(self.directory.join("objects")))?;
        LEFT_FILES.into_iter().try_for_each(|left| absent_is_good(fs::remove_file(self.directory.join(left))))
    }

    /// From now on the instance is alive for everybody.
    fn announce(self) -> Result<InstanceLock, InstanceError> {
        let fail = |source| InstanceError::Io { path: self.directory.clone(), source };
        let lock = File::create(self.directory.join("lock")).map_err(fail)?;
        // `ps` holds the lock for a moment when it looks.
        let mut attempt = lock.try_lock();
        for _ in 0..LOCK_RETRIES {
            if !matches!(attempt, Err(TryLockError::WouldBlock)) {
                break;
            }
            std::thread::sleep(LOCK_RETRY);
            attempt = lock.try_lock();
        }
        attempt.map_err(|error| fail(error.into()))?;
        Ok(InstanceLock { directory: self.directory, _lock: lock, _claim: self.file })
    }
}

/// The right to be the instance of a name, held by its keeper until it ends.
#[derive(Debug)]
pub struct InstanceLock {
    directory: PathBuf,
    _lock: File,
    _claim: File,
}

impl InstanceLock {
    /// Takes the name and clears what a predecessor left.
    ///
    /// # Errors
    ///
    /// [`InstanceError::Taken`] while another keeper holds it.
    pub fn take(run: &RunDirectory, name: &str) -> Result<Self, InstanceError> {
        let claim = Claim::take(run, name)?;
        claim.clear()?;
        claim.announce()
    }

    /// The instance's folder.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Publishes the state; readers see the old or the new one, never half of it.
    ///
    /// # Errors
    ///
    /// [`InstanceError::Io`].
    pub fn write(&self, state: &State) -> Result<(), InstanceError> {
        let path = self.directory.join("instance.json");
        let fresh = self.directory.join("instance.json.new");
        let text = serde_json::to_vec_pretty(state)
            .map_err(|error| InstanceError::Io { path: path.clone(), source: error.into() })?;
        fs::write(&fresh, text)
            .and_then(|()| fs::rename(&fresh, &path))
            .map_err(|source| InstanceError::Io { path, source })
    }
}

impl Drop for InstanceLock {
    fn drop(&mut self) {
        // The logs stay for whoever wants to know why it ended; the next of that name clears them.
        for file in ["instance.json", "shell.sock", "console.sock", "qmp.sock"] {
            let _ = fs::remove_file(self.directory.join(file));
        }
        let _ = fs::remove_dir_all(self.directory.join("objects"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str) -> State {
        State {
            name: name.into(),
            status: Status::Running,
            image: "/image".into(),
            build_id: None,
            pid: 1,
            started_unix_s: 0,
            machine: "q35".into(),
            accel: "tcg".into(),
            memory: "256M".into(),
            share: None,
            ports: vec![],
            attached: 0,
        }
    }

    #[test]
    fn an_instance_lives_as_long_as_its_lock() {
        let path = std::env::temp_dir().join(format!("uio-state-{}", std::process::id()));
        let run = RunDirectory::at(path.clone()).unwrap();
        assert!(matches!(find(&run, None), Err(InstanceError::None)));
        let lock = InstanceLock::take(&run, "count").unwrap();
        lock.write(&sample("count")).unwrap();
        assert_eq!(find(&run, None).unwrap().state, sample("count"));
        assert!(matches!(InstanceLock::take(&run, "count"), Err(InstanceError::Taken(_))));
        let Err(InstanceError::NotFound { near, .. }) = find(&run, Some("coutn")) else { panic!() };
        assert_eq!(near, ["count"]);
        drop(lock);
        assert!(list(&run).is_empty());
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn what_a_killed_keeper_left_is_not_taken_for_its_successors() {
        let path = std::env::temp_dir().join(format!("uio-state-left-{}", std::process::id()));
        let run = RunDirectory::at(path.clone()).unwrap();
        let killed = InstanceLock::take(&run, "count").unwrap();
        killed.write(&sample("count")).unwrap();
        fs::write(killed.directory().join("shell.sock"), "").unwrap();
        // SIGKILL releases the locks and removes nothing.
        let InstanceLock { _lock, _claim, .. } = &killed;
        _lock.unlock().unwrap();
        _claim.unlock().unwrap();
        let claim = Claim::take(&run, "count").unwrap();
        assert!(matches!(InstanceLock::take(&run, "count"), Err(InstanceError::Taken(_))));
        assert!(claim.directory.join("instance.json").exists(), "the old state is still there");
        assert!(list(&run).is_empty(), "and belongs to nobody");
        claim.clear().unwrap();
        let successor = claim.announce().unwrap();
        fs::write(successor.directory().join("qmp.sock"), "").unwrap();
        Instance { directory: successor.directory().to_path_buf(), state: sample("count") }.bury();
        assert!(successor.directory().join("qmp.sock").exists(), "the successor's is not the dead one's");
        assert!(list(&run).is_empty(), "the new one has not said anything yet");
        assert!(!successor.directory().join("shell.sock").exists());
        successor.write(&sample("count")).unwrap();
        assert_eq!(list(&run).len(), 1);
        drop(successor);
        fs::remove_dir_all(path).unwrap();
    }

    #[test]
    fn names() {
        for good in ["count", "count-2", "a.b_c"] {
            assert!(valid_name(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", &"x".repeat(49)] {
            assert!(!valid_name(bad), "{bad}");
        }
    }
}
