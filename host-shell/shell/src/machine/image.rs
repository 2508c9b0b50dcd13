//! From what a person names to an image file.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use crate::text::near_matches;

/// How long cargo may take before the person is told what it does.
const ANNOUNCE_AFTER: Duration = Duration::from_secs(1);

/// Why there is no image to start.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Neither a file nor a known name.
    #[error("no image `{name}`: not a file, and not one that the workspace can build")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Names of images like it.
        near: Vec<String>,
    },
    /// A name, but nothing to build it from.
    #[error("`{name}` is not a file, and there is no uio workspace here to build it from")]
    NoWorkspace {
        /// What was asked for.
        name: String,
    },
    /// `cargo` cannot be started.
    #[error("cannot run cargo: {0}")]
    Cargo(std::io::Error),
    /// The build failed; cargo has said why.
    #[error("building image `{name}` failed")]
    Build {
        /// The image.
        name: String,
    },
}

impl ImageError {
    /// The next step.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown { near, .. } if !near.is_empty() => Some(format!("did you mean `{}`?", near[0])),
            Self::Unknown { .. } => Some("images that can be built are in guest/images".into()),
            Self::NoWorkspace { .. } => {
                Some("give the path of an image file, or go to the folder of the uio sources".into())
            }
            Self::Cargo(_) => {
                Some("install Rust (https://rustup.rs), or give the path of a built image".into())
            }
            Self::Build { .. } => None,
        }
    }
}

/// The uio workspace: around the current folder, else around this program.
#[must_use]
pub fn workspace() -> Option<PathBuf> {
    let here = std::env::current_dir().ok();
    let program = std::env::current_exe().ok();
    here.into_iter().chain(program).find_map(|start| {
        start.ancestors().find(|folder| folder.join("guest/images").is_dir()).map(Path::to_path_buf)
    })
}

/// The image file for `name`, built first if it is a name; and its short name.
///
/// # Errors
///
/// [`ImageError`].
pub fn resolve(name: &str) -> Result<(PathBuf, String), ImageError> {
    let path = Path::new(name);
    if name.contains('/') || path.is_file() {
        let Ok(full) = path.canonicalize() else {
            return Err(ImageError::Unknown { name: name.to_owned(), near: Vec::new() });
        };
        let stem = path.file_stem().map_or_else(|| "image".into(), |stem| stem.to_string_lossy());
        let short = stem.strip_prefix("uio-image-").unwrap_or(&stem).to_owned();
        return Ok((full, short));
    }
    let Some(workspace) = workspace() else {
        return Err(ImageError::NoWorkspace { name: name.to_owned() });
    };
    let images = workspace.join("guest/images");
    if !images.join(name).join("Cargo.toml").is_file() {
        let known: Vec<String> = std::fs::read_dir(images)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        let near = near_matches(name, known.iter().map(String::as_str));
        return Err(ImageError::Unknown { name: name.to_owned(), near });
    }
    build(&workspace, name, &[]).map(|path| (path, name.to_owned()))
}

/// Builds an image of the workspace; `extra` goes to cargo (`--no-default-features`, …).
///
/// # Errors
///
/// [`ImageError::Cargo`], [`ImageError::Build`].
pub fn build(workspace: &Path, name: &str, extra: &[&str]) -> Result<PathBuf, ImageError> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut child = Command::new(cargo)
        .current_dir(workspace)
        .args(["build", "--quiet", "--profile", "guest", "-p", &format!("uio-image-{name}")])
        .arg("--message-format=json-render-diagnostics")
        .args(extra)
        // Cargo sets these for what it runs; they would make the inner build differ from a plain one.
        .env_remove("CARGO_MANIFEST_DIR")
        .env_remove("CARGO_PKG_NAME")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(ImageError::Cargo)?;
    let done = announce(name);
    let mut built = None;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            built = executable(&line, name).or(built);
        }
    }
    let status = child.wait().map_err(ImageError::Cargo)?;
    drop(done);
    match built {
        Some(path) if status.success() => Ok(path),
        _ => Err(ImageError::Build { name: name.to_owned() }),
    }
}

/// Says that a build is under way, if it is not over soon: an image that is up to date needs no words.
fn announce(name: &str) -> Sender<()> {
    let (done, waiting) = channel::<()>();
    let name = name.to_owned();
    std::thread::spawn(move || {
        if waiting.recv_timeout(ANNOUNCE_AFTER) == Err(RecvTimeoutError::Timeout) {
            eprintln!("building image `{name}` (the first time this takes about a minute) ...");
        }
    });
    done
}

/// The executable that one of cargo's JSON messages announces, if it is the image's.
fn executable(line: &str, name: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let package = message["package_id"].as_str()?;
    let path = message["executable"].as_str()?;
    // `path+file:///w/guest/images/count#uio-image-count@0.1.0`
    let ours = package.contains(&format!("#uio-image-{name}@"))
        || package.contains(&format!("/guest/images/{name}#"));
    ours.then(|| PathBuf::from(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_image_among_cargos_messages() {
        let line = r#"{"reason":"compiler-artifact","package_id":"path+file:///w/guest/images/count#uio-image-count@0.1.0","executable":"/w/target/guest/count"}"#;
        assert_eq!(executable(line, "count"), Some("/w/target/guest/count".into()));
        assert_eq!(executable(line, "vnf"), None);
        assert_eq!(executable(r#"{"reason":"build-finished","success":true}"#, "count"), None);
    }

    #[test]
    fn a_path_that_is_not_there_is_unknown() {
        assert!(matches!(resolve("./no/such/image"), Err(ImageError::Unknown { .. })));
    }
}
