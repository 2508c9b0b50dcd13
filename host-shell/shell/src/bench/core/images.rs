//! The `count` image with and without the overlay.

use std::path::{Path, PathBuf};

use uio_debuginfo::Image;

use crate::bench::error::BenchError;
use crate::machine::image;

/// The image's name in `guest/images`.
pub(super) const NAME: &str = "count";
/// Where the image without the overlay is built, below the workspace's target folder: a folder of its own, so that the
/// two do not rebuild each other.
const BARE_TARGET: &str = "target/bare";

/// The two images.
#[derive(Debug)]
pub(super) struct Images {
    pub(super) with: PathBuf,
    pub(super) without: PathBuf,
}

impl Images {
    /// Builds what is out of date.
    pub(super) fn build(workspace: &Path) -> Result<Self, BenchError> {
        let target = workspace.join(BARE_TARGET).display().to_string();
        Ok(Self {
            with: image::build(workspace, NAME, &[])?,
            without: image::build(workspace, NAME, &["--no-default-features", "--target-dir", &target])?,
        })
    }
}

/// Reads an image's symbols.
pub(super) fn open(path: &Path) -> Result<Image, BenchError> {
    Image::open(path).map_err(|error| BenchError::Malformed {
        what: "the image",
        found: format!("{}: {error}", path.display()),
    })
}

/// Start and end of the function or variable `name`.
pub(super) fn symbol(image: &Image, path: &Path, name: &str) -> Result<(u64, u64), BenchError> {
    let found = image.find_symbols(name);
    let symbol = found.first().ok_or_else(|| BenchError::NotInImage {
        image: path.to_path_buf(),
        what: format!("symbol `{name}`"),
    })?;
    Ok((symbol.address, symbol.address + symbol.size))
}
