//! Names of the guest: its image's symbols and types, and those of the extensions in it.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use uio_debuginfo::{Image, InputSection, MemoryError, ModuleId, Placement, ReadMemory, Space};
use uio_objects::ParsedObject;
use uio_protocol::GuestAddress;
use uio_protocol::image::{Definition, SectionKind};
use uio_protocol::inspect::{ExtensionId, ExtensionInfo, Placed};

use super::{CommandError, Shell};
use crate::client::Client;
use crate::render::units::{hex, number};

/// The guest's image file, read once, in the background where somebody waits at a prompt.
#[derive(Clone, Default)]
pub(super) struct ImageFile {
    path: Option<PathBuf>,
    image: Arc<OnceLock<Result<Arc<Image>, String>>>,
}

impl ImageFile {
    pub(super) fn new(path: Option<PathBuf>) -> Self {
        Self { path, image: Arc::default() }
    }

    /// Reads the file now, so that the first TAB does not wait for it.
    pub(super) fn warm(&self) {
        let file = self.clone();
        // Without a thread the first use reads it.
        let _ = std::thread::Builder::new().name("uio-symbols".into()).spawn(move || {
            if let Ok(image) = file.get() {
                image.warm();
            }
        });
    }

    fn get(&self) -> Result<&Arc<Image>, CommandError> {
        let Some(path) = &self.path else {
            return Err(CommandError::with_hint(
                "no image file is known, so there are no symbols",
                "attach with `--image FILE`, the file that the guest was started from",
            ));
        };
        let image =
            self.image.get_or_init(|| Image::open(path).map(Arc::new).map_err(|error| error.to_string()));
        image.as_ref().map_err(|error| CommandError::message(error.clone()))
    }
}

/// Objects of the extensions that are loaded, placed where the guest put them.
#[derive(Default)]
pub(super) struct Objects {
    placed: HashMap<ExtensionId, Arc<Image>>,
}

impl Shell {
    /// The image, if it is the one that runs.
    ///
    /// # Errors
    ///
    /// [`CommandError`] if there is no file, or it is another build.
    pub fn image(&self) -> Result<Arc<Image>, CommandError> {
        let image = self.image_file.get()?;
        let running = self.client.welcome().build_id.0;
        if image.build_id() != Some(&running) {
            let file = image.build_id().map_or_else(|| "none".into(), hex);
            return Err(CommandError::with_hint(
                format!("the image file is another build ({file}) than the guest ({})", hex(&running)),
                "attach with `--image FILE`, the file that the guest was started from, or restart the guest",
            ));
        }
        Ok(Arc::clone(image))
    }

    /// The image together with all loaded extensions whose objects are known.
    ///
    /// # Errors
    ///
    /// As [`Self::image`].
    pub fn space(&mut self) -> Result<Space, CommandError> {
        let image = self.image()?;
        let loaded = self.client.extensions()?;
        self.objects.placed.retain(|id, _| loaded.iter().any(|extension| extension.id == *id));
        let mut space = Space::new(image);
        for extension in &loaded {
            if !self.objects.placed.contains_key(&extension.id)
                && let Some(path) = self.object_path(extension.id)
                && let Ok(bytes) = fs::read(path)
                && let Some(placed) = place(&bytes, &extension.name, &extension.sections)
            {
                self.objects.placed.insert(extension.id, Arc::new(placed));
            }
            if let Some(placed) = self.objects.placed.get(&extension.id) {
                let _: ModuleId = space.add(extension.name.clone(), Arc::clone(placed));
            }
        }
        Ok(space)
    }

    /// As [`Self::space`], with an object that is not loaded (any more) and lay at `sections`.
    ///
    /// # Errors
    ///
    /// As [`Self::image`].
    pub(super) fn space_with(
        &mut self,
        name: &str,
        object: &[u8],
        sections: &[Placed],
    ) -> Result<Space, CommandError> {
        let mut space = self.space()?;
        if let Some(placed) = place(object, name, sections) {
            space.add(name, Arc::new(placed));
        }
        Ok(space)
    }

    /// Keeps the object of a loaded extension, here and for the other shells of this instance.
    pub(super) fn remember_object(&mut self, extension: &ExtensionInfo, bytes: &[u8]) {
        if let Some(placed) = place(bytes, &extension.name, &extension.sections) {
            self.objects.placed.insert(extension.id, Arc::new(placed));
        }
        // Without the copy other shells show addresses instead of names.
        if let Some(path) = self.object_path(extension.id) {
            let _ = path.parent().map(fs::create_dir_all);
            let _ = fs::write(path, bytes);
        }
    }

    /// The object that extension `id` was loaded from, if this host has it.
    pub(super) fn known_object(&self, id: ExtensionId) -> Option<Vec<u8>> {
        fs::read(self.object_path(id)?).ok()
    }

    fn object_path(&self, id: ExtensionId) -> Option<PathBuf> {
        Some(self.target.directory.as_deref()?.join("objects").join(format!("{}.o", id.0)))
    }

    /// An address: a number, `SYMBOL`, `SYMBOL+OFFSET`, `SYMBOL-OFFSET`, or an expression that is in memory.
    ///
    /// # Errors
    ///
    /// [`CommandError`] with near matches, or all candidates of an ambiguous name.
    pub fn address(&mut self, word: &str) -> Result<GuestAddress, CommandError> {
        if let Some(address) = number(word) {
            return Ok(GuestAddress(address));
        }
        let space = self.space()?;
        let (name, offset) = split_offset(word);
        let by_name = find_symbol(&space, name).map(|address| GuestAddress(address.wrapping_add(offset)));
        if by_name.is_ok() || word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(&byte)) {
            return by_name;
        }
        // `*p`, `table[3]`: where that is.
        let mut memory = GuestMemory(&self.client);
        Ok(GuestAddress(space.locate(word, &mut memory, None)?))
    }

    /// Symbols that start with `prefix`.
    #[must_use]
    pub fn complete_symbol(&self, prefix: &str, limit: usize) -> Vec<String> {
        self.image().map(|image| image.complete_symbol(prefix, limit)).unwrap_or_default()
    }
}

impl Shell {
    /// What may end an unfinished expression: where the ending starts in `text`, and the endings.
    #[must_use]
    pub fn complete_expression(&self, text: &str) -> (usize, Vec<String>) {
        let Ok(image) = self.image() else { return (text.len(), Vec::new()) };
        let mut space = Space::new(image);
        for placed in self.objects.placed.values() {
            space.add(String::new(), Arc::clone(placed));
        }
        let completion = space.complete(text);
        (completion.start, completion.candidates)
    }
}

/// The only symbol of that name.
pub(super) fn find_symbol(space: &Space, name: &str) -> Result<u64, CommandError> {
    let found = space.find_symbols(name);
    match found.as_slice() {
        [one] => Ok(one.address),
        [] => {
            let near = space.image().near(name, 3);
            let hint = match near.first() {
                Some(first) if near.len() == 1 => format!("did you mean `{first}`?"),
                Some(_) => format!("did you mean one of: {}?", near.join(", ")),
                None => "`sym PATTERN` searches the symbols".into(),
            };
            Err(CommandError::with_hint(format!("no symbol `{name}`"), hint))
        }
        several => {
            let shown: Vec<String> = several
                .iter()
                .take(5)
                .map(|symbol| format!("{} at {:#x}", symbol.demangled(), symbol.address))
                .collect();
            let more = several.len().saturating_sub(shown.len());
            let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
            Err(CommandError::with_hint(
                format!("`{name}` is ambiguous: {}{rest}", shown.join(", ")),
                "write more of the path, or the address",
            ))
        }
    }
}

/// `name+0x10` as name and offset. Names may contain `-` and `+` themselves, so only a number counts.
fn split_offset(word: &str) -> (&str, u64) {
    for (operator, sign) in [('+', 1_u64), ('-', u64::MAX)] {
        if let Some((name, offset)) = word.rsplit_once(operator)
            && let Some(offset) = number(offset)
            && !name.is_empty()
        {
            return (name, offset.wrapping_mul(sign));
        }
    }
    (word, 0)
}

/// An object whose sections have the addresses that the guest gave them.
fn place(bytes: &[u8], name: &str, placed: &[Placed]) -> Option<Image> {
    let ParsedObject { image, layout } = uio_objects::parse(bytes, name).ok()?;
    let starts: Vec<GuestAddress> = placed.iter().map(|section| section.start).collect();
    let sections = (0..layout.sections.len()).filter_map(|index| {
        let address = layout.section_address(index, &starts)?;
        Some(Placement { section: InputSection::Index(index), address: address.0 })
    });
    // Which zeroed variables were COMMON is not kept; the others are found by their section anyway.
    let commons = image.symbols.iter().filter_map(|symbol| {
        let Definition::Section { section, offset } = symbol.definition else { return None };
        let zeroed = image.sections.get(usize::from(section))?.kind == SectionKind::Zeroed;
        let start = starts.get(usize::from(section))?;
        let name = InputSection::Common(symbol.name.clone());
        zeroed.then(|| Placement { section: name, address: start.0.wrapping_add(u64::from(offset)) })
    });
    Image::place(bytes, &sections.chain(commons).collect::<Vec<_>>()).ok()
}

/// Memory of the running guest.
pub(super) struct GuestMemory<'client>(pub(super) &'client Client);

impl ReadMemory for GuestMemory<'_> {
    fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), MemoryError> {
        match self.0.peek(GuestAddress(address), buffer.len()) {
            Ok(bytes) => {
                buffer.copy_from_slice(&bytes);
                Ok(())
            }
            Err(error) => Err(MemoryError { address, size: buffer.len(), reason: error.to_string() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets() {
        assert_eq!(split_offset("count+0x10"), ("count", 16));
        assert_eq!(split_offset("count-8"), ("count", 8_u64.wrapping_neg()));
        assert_eq!(split_offset("a::operator+"), ("a::operator+", 0));
        assert_eq!(split_offset("count"), ("count", 0));
    }
}
