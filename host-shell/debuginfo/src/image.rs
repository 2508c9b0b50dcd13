//! One file that the guest executes code from: its image, or an extension that was loaded into it.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::{fs, io};

use gimli::{EndianReader, LittleEndian};
use goblin::elf::section_header::SHT_NOBITS;

use crate::dwarf::lines::{SourceFrame, SourceLocation};
use crate::dwarf::{DebugInfo, Shared};
use crate::elf::ElfFile;
use crate::error::{DebugError, ImageError, contained};
use crate::names::{NameIndex, glob_matches};
use crate::relocate::{Layout, Placement, relocated};
use crate::symbols::{Symbol, SymbolOffset, SymbolTable};
use crate::types::ModuleId;
use crate::unwind::UnwindTable;

/// What is known of an image or extension from its ELF file.
///
/// Opening parses headers and symbols. Demangled names, DWARF and unwind tables are read when first
/// asked for; [`Image::warm`] does that ahead of time, on a thread of the caller's choice.
pub struct Image {
    id: ModuleId,
    elf: ElfFile,
    /// `None` if the file says itself where it lies.
    layout: Option<Layout>,
    symbols: SymbolTable,
    names: OnceLock<NameIndex>,
    debug: OnceLock<Result<DebugInfo, DebugError>>,
    unwind: OnceLock<UnwindTable>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image").field("id", &self.id).field("symbols", &self.symbols.len()).finish()
    }
}

/// Largest file that is read, in bytes. Images are tens of megabytes with all debug information.
const FILE_BYTES_MAX: u64 = 2 << 30;

static NEXT_ID: AtomicU32 = AtomicU32::new(0);

impl Image {
    /// Reads and parses a linked executable. The file is read once, so a later rebuild does not
    /// change what a running shell sees.
    ///
    /// # Errors
    /// The file is unreadable, not ELF, or for another machine.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ImageError> {
        let path = path.as_ref();
        let bytes = read_shared(path).map_err(|source| ImageError::Io { path: path.to_owned(), source })?;
        Self::from_shared(bytes)
    }

    /// Parses a linked executable.
    ///
    /// # Errors
    /// The bytes are not ELF, or for another machine.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        Self::from_shared(Arc::from(bytes))
    }

    fn from_shared(bytes: Arc<[u8]>) -> Result<Self, ImageError> {
        contained(|| {
            let elf = ElfFile::parse(bytes)?;
            let symbols = SymbolTable::parse(&elf, |_, _, symbol| Some(symbol.st_value));
            Ok(Self::assemble(elf, None, symbols))
        })
    }

    /// Parses a relocatable object of which the guest placed some sections.
    ///
    /// Sections that were not placed have no addresses; what refers to them is left out.
    ///
    /// # Errors
    /// The bytes are not an ELF object for x86-64.
    pub fn place(object: &[u8], placements: &[Placement]) -> Result<Self, ImageError> {
        contained(|| {
            let elf = ElfFile::parse(Arc::from(object))?;
            if !elf.relocatable {
                return Err(ImageError::NotRelocatable(elf.kind));
            }
            let layout = Layout::new(&elf, placements);
            let symbols = SymbolTable::parse(&elf, |elf, name, symbol| layout.symbol(elf, name, symbol));
            Ok(Self::assemble(elf, Some(layout), symbols))
        })
    }

    fn assemble(elf: ElfFile, layout: Option<Layout>, symbols: SymbolTable) -> Self {
        Self {
            id: ModuleId(NEXT_ID.fetch_add(1, Ordering::Relaxed)),
            elf,
            layout,
            symbols,
            names: OnceLock::new(),
            debug: OnceLock::new(),
            unwind: OnceLock::new(),
        }
    }

    /// Identifies this file among all that the process has opened.
    #[must_use]
    pub fn id(&self) -> ModuleId {
        self.id
    }

    /// The GNU build-id; 20 bytes with the usual linker settings.
    #[must_use]
    pub fn build_id(&self) -> Option<&[u8]> {
        self.elf.build_id()
    }

    /// Address of the entry point.
    #[must_use]
    pub fn entry(&self) -> u64 {
        self.elf.entry
    }

    /// All symbols, by address.
    pub fn symbols(&self) -> impl Iterator<Item = Symbol<'_>> {
        self.symbols.iter()
    }

    /// The symbol of exactly this linkage name.
    #[must_use]
    pub fn symbol_by_linkage_name(&self, name: &str) -> Option<Symbol<'_>> {
        self.symbols.by_name(name)
    }

    /// The symbols that `name` can mean: by linkage name, or else by demangled name, or else by the
    /// end of the demangled path (`main` for `count::main`). More than one if it is ambiguous.
    #[must_use]
    pub fn find_symbols(&self, name: &str) -> Vec<Symbol<'_>> {
        if let Some(symbol) = self.symbols.by_name(name) {
            return vec![symbol];
        }
        let mut found = self.by_ids(&self.names().lookup(name));
        found.dedup_by_key(|symbol| symbol.address);
        found
    }

    /// Symbols that match `pattern` by linkage, demangled or last name. `*` and `?` are wildcards; a
    /// pattern without one matches wherever it occurs.
    #[must_use]
    pub fn search(&self, pattern: &str) -> Vec<Symbol<'_>> {
        let wild = pattern.contains(['*', '?']);
        let matches = |name: &str| if wild { glob_matches(pattern, name) } else { name.contains(pattern) };
        let mut found = self.by_ids(&self.names().filter(matches));
        if pattern.starts_with("_Z") || pattern.starts_with("_R") {
            found.extend(self.symbols.iter().filter(|symbol| matches(symbol.name)));
        }
        found.sort_by_key(|symbol| symbol.address);
        found.dedup();
        found
    }

    /// Names that look like `name`, best first.
    #[must_use]
    pub fn near(&self, name: &str, limit: usize) -> Vec<String> {
        self.names().near(name, limit)
    }

    /// Symbol names that start with `prefix`, or whose last path component does.
    #[must_use]
    pub fn complete_symbol(&self, prefix: &str, limit: usize) -> Vec<String> {
        self.names().complete(prefix, limit)
    }

    /// The symbol that contains `address`.
    #[must_use]
    pub fn symbol_at(&self, address: u64) -> Option<SymbolOffset<'_>> {
        self.symbols.containing(address)
    }

    /// `name+0x12`, for people.
    #[must_use]
    pub fn describe(&self, address: u64) -> Option<String> {
        let found = self.symbol_at(address)?;
        let name = found.symbol.demangled();
        Some(if found.offset == 0 { name } else { format!("{name}+{:#x}", found.offset) })
    }

    /// The functions active at `address`, innermost first: inlined ones, then the one that has the
    /// code. Falls back to the symbol table where there is no debug information.
    #[must_use]
    pub fn source_frames(&self, address: u64) -> Vec<SourceFrame> {
        let frames = self.debug().and_then(|debug| debug.frames(address)).unwrap_or_default();
        let by_symbol = || self.symbol_at(address).map(|found| found.symbol.demangled());
        if frames.is_empty() {
            let function = by_symbol();
            return function
                .map(|name| SourceFrame { function: Some(name), location: None, inlined: false })
                .into_iter()
                .collect();
        }
        let mut frames = frames;
        if let Some(last) = frames.last_mut()
            && last.function.is_none()
        {
            last.function = by_symbol();
        }
        frames
    }

    /// The source position of `address`.
    #[must_use]
    pub fn source_location(&self, address: u64) -> Option<SourceLocation> {
        self.debug().ok()?.location(address).ok()?
    }

    /// Whether `address` is in memory that this file fills.
    #[must_use]
    pub fn contains(&self, address: u64) -> bool {
        self.ranges().any(|(start, size, _)| address.wrapping_sub(start) < size)
    }

    /// Whether `address` is in this file's code.
    #[must_use]
    pub fn contains_code(&self, address: u64) -> bool {
        self.ranges().any(|(start, size, code)| code && address.wrapping_sub(start) < size)
    }

    /// Start, size and executability of everything that has an address.
    fn ranges(&self) -> impl Iterator<Item = (u64, u64, bool)> {
        self.elf.sections.iter().enumerate().filter(|(_, section)| section.is_allocated()).filter_map(
            |(index, section)| {
                let start = match &self.layout {
                    Some(layout) => layout.section(index)?,
                    None => section.address,
                };
                Some((start, section.size, section.is_executable()))
            },
        )
    }

    /// Reads everything now that is otherwise read on first use.
    pub fn warm(&self) {
        self.names();
        self.unwind_table();
        if let Ok(debug) = self.debug() {
            // A failure shows again, as an error, where the index is used.
            drop(debug.index());
            drop(debug.frames(self.elf.entry));
        }
    }

    pub(crate) fn names(&self) -> &NameIndex {
        self.names
            .get_or_init(|| NameIndex::build(self.symbols.iter().map(|symbol| symbol.demangled()).zip(0..)))
    }

    fn by_ids(&self, ids: &[u32]) -> Vec<Symbol<'_>> {
        let mut found: Vec<Symbol<'_>> = ids.iter().filter_map(|&id| self.symbols.get(id as usize)).collect();
        found.sort_by_key(|symbol| symbol.address);
        found
    }

    /// The debug information.
    pub(crate) fn debug(&self) -> Result<&DebugInfo, DebugError> {
        self.debug
            .get_or_init(|| {
                let load = || DebugInfo::new(self.id, |name| self.debug_section(name));
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(load))
                    .unwrap_or_else(|_| Err(DebugError::Dwarf("the DWARF reader panicked".to_owned())))
            })
            .as_ref()
            .map_err(Clone::clone)
    }

    fn debug_section(&self, name: &str) -> Result<Shared, DebugError> {
        let Some(index) = self.elf.sections.iter().position(|section| section.name == name) else {
            return Ok(EndianReader::new(Arc::from([]), LittleEndian));
        };
        let section = &self.elf.sections[index];
        if section.is_compressed() {
            return Err(DebugError::Compressed(name.to_owned()));
        }
        Ok(self.contents(index, 0))
    }

    /// Contents of section `index`, relocated as if it lay at `address` if the file is an object.
    fn contents(&self, index: usize, address: u64) -> Shared {
        match &self.layout {
            Some(layout) => {
                EndianReader::new(Arc::from(relocated(&self.elf, layout, index, address)), LittleEndian)
            }
            None => EndianReader::new(Arc::clone(&self.elf.bytes), LittleEndian)
                .range(self.elf.sections[index].file.clone()),
        }
    }

    /// Where functions save registers, from `.eh_frame`.
    pub(crate) fn unwind_table(&self) -> &UnwindTable {
        self.unwind.get_or_init(|| {
            let Some(index) = self.elf.sections.iter().position(|section| section.name == ".eh_frame") else {
                return UnwindTable::default();
            };
            // The addresses in it are relative to itself. An object's table stays on the host, so it is
            // put beside the code, where 32-bit distances reach.
            let address = match &self.layout {
                Some(layout) => layout.section(index).unwrap_or_else(|| layout.lowest()),
                None => self.elf.sections[index].address,
            };
            UnwindTable::build(self.contents(index, address), address)
        })
    }

    /// Fills `buffer` with what the file puts at `address`; `false` if it puts nothing there.
    pub(crate) fn read_initial(&self, address: u64, buffer: &mut [u8]) -> bool {
        if self.layout.is_none() {
            for segment in &self.elf.segments {
                let offset = address.wrapping_sub(segment.address);
                if offset < segment.size && buffer.len() as u64 <= segment.size - offset {
                    copy_or_zero(self.elf.bytes.get(segment.file.clone()).unwrap_or(&[]), offset, buffer);
                    return true;
                }
            }
            return false;
        }
        for (index, section) in self.elf.sections.iter().enumerate() {
            let Some(start) = self.layout.as_ref().and_then(|layout| layout.section(index)) else { continue };
            let offset = address.wrapping_sub(start);
            if offset < section.size && buffer.len() as u64 <= section.size - offset {
                if section.kind == SHT_NOBITS {
                    buffer.fill(0);
                } else {
                    copy_or_zero(self.contents(index, start).bytes(), offset, buffer);
                }
                return true;
            }
        }
        false
    }
}

/// Copies from `offset` of `source` on; zeros where the source ends.
fn copy_or_zero(source: &[u8], offset: u64, buffer: &mut [u8]) {
    let rest = usize::try_from(offset).ok().and_then(|offset| source.get(offset..)).unwrap_or(&[]);
    let count = rest.len().min(buffer.len());
    buffer[..count].copy_from_slice(&rest[..count]);
    buffer[count..].fill(0);
}

/// Reads a whole file into shared memory, without a second copy of it.
fn read_shared(path: &Path) -> io::Result<Arc<[u8]>> {
    use io::Read as _;
    let mut file = fs::File::open(path)?;
    let size = file.metadata()?.len();
    if size > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("{size} bytes are too many for an image")));
    }
    let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, usize::try_from(size).unwrap_or(0)).collect();
    match Arc::get_mut(&mut bytes) {
        Some(buffer) => file.read_exact(buffer)?,
        None => return Err(io::Error::other("buffer is shared")),
    }
    Ok(bytes)
}
