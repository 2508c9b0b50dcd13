//! One file that the guest executes code from: its image, or an extension that was loaded into it.

use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::{fs, io};

use gimli::{EndianReader, LittleEndian};
use goblin::elf::section_header::SHT_NOBITS;
use goblin::elf::{Elf, SectionHeader};

use crate::dwarf::lines::{SourceFrame, SourceLocation};
use crate::dwarf::{DebugInfo, Shared};
use crate::elf::{CONTEXT, DeferredFile, ElfFile, string_at};
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

/// Debug sections that nothing here asks for: where locals are at each address, macros, and indexes
/// that only some compilers write.
const UNUSED_SECTIONS: [&str; 7] = [
    ".debug_loc",
    ".debug_loclists",
    ".debug_macinfo",
    ".debug_macro",
    ".debug_names",
    ".debug_pubnames",
    ".debug_pubtypes",
];

/// Largest file that is read, in bytes. Images are tens of megabytes with all debug information.
const FILE_BYTES_MAX: u64 = 2 << 30;

static NEXT_ID: AtomicU32 = AtomicU32::new(0);

impl Image {
    /// Reads and parses a linked executable. The debug sections stay in the file, which stays open,
    /// until something asks for them: symbols are needed at every attach, types are not.
    ///
    /// # Errors
    /// The file is unreadable, not ELF, or for another machine.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ImageError> {
        contained(|| Ok(Self::linked(read_file(path.as_ref())?)))
    }

    /// Parses a linked executable.
    ///
    /// # Errors
    /// The bytes are not ELF, or for another machine.
    pub fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        contained(|| Ok(Self::linked(ElfFile::parse(Arc::from(bytes))?)))
    }

    fn linked(elf: ElfFile) -> Self {
        let symbols = SymbolTable::parse(&elf, |_, _, symbol| Some(symbol.st_value));
        Self::assemble(elf, None, symbols)
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
        let index = self.elf.sections.iter().position(|section| section.name == name);
        let Some(index) = index.filter(|_| !UNUSED_SECTIONS.contains(&name)) else {
            return Ok(EndianReader::new(Arc::from([]), LittleEndian));
        };
        let section = &self.elf.sections[index];
        if section.is_compressed() {
            return Err(DebugError::Compressed(name.to_owned()));
        }
        if let (Some(range), Some(file)) = (&section.deferred, &self.elf.deferred) {
            return Ok(EndianReader::new(file.read(range.clone())?, LittleEndian));
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

/// Reads an executable, except for its debug sections if these lie in one piece.
fn read_file(path: &Path) -> Result<ElfFile, ImageError> {
    let failed = |source: io::Error| ImageError::Io { path: path.to_owned(), source };
    let file = fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let size = metadata.len();
    if size > FILE_BYTES_MAX {
        return Err(failed(io::Error::other(format!("{size} bytes are too many for an image"))));
    }
    let hole = debug_range(&file, size).unwrap_or(0..0);
    let kept = size - (hole.end - hole.start);
    // Allocated as what it will be shared as, so that nothing is copied.
    let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, usize::try_from(kept).unwrap_or(0)).collect();
    if let Some(buffer) = Arc::get_mut(&mut bytes) {
        let (before, behind) = buffer.split_at_mut(usize::try_from(hole.start).unwrap_or(0));
        file.read_exact_at(before, 0).map_err(failed)?;
        file.read_exact_at(behind, hole.end).map_err(failed)?;
    }
    let mut elf = ElfFile::parse_around(bytes, hole)?;
    elf.deferred = Some(DeferredFile { file, size, modified: metadata.modified().ok() });
    Ok(elf)
}

/// The range of a file that holds debug sections and nothing else. `None` if there is no such range, or
/// if anything is odd: then the whole file is read, and parsing it says what.
fn debug_range(file: &fs::File, size: u64) -> Option<Range<u64>> {
    const HEADER_BYTES: usize = 64;
    const SECTION_HEADER_BYTES: u64 = 64;
    let read = |offset: u64, count: u64| {
        let end = offset.checked_add(count).filter(|&end| end <= size)?;
        let mut bytes = vec![0; usize::try_from(end - offset).ok()?];
        file.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes)
    };
    let header = Elf::parse_header(&read(0, HEADER_BYTES as u64)?).ok()?;
    let table = read(header.e_shoff, u64::from(header.e_shnum) * SECTION_HEADER_BYTES)?;
    let sections = SectionHeader::parse_from(&table, 0, usize::from(header.e_shnum), CONTEXT).ok()?;
    let names = sections.get(usize::from(header.e_shstrndx))?;
    let names = read(names.sh_offset, names.sh_size)?;
    let is_debug = |section: &&SectionHeader| {
        string_at(&names, section.sh_name as u64).starts_with(".debug_") && section.sh_type != SHT_NOBITS
    };
    let end_of = |section: &SectionHeader| section.sh_offset.checked_add(section.sh_size);
    let start = sections.iter().filter(is_debug).map(|section| section.sh_offset).min()?;
    let end = sections.iter().filter(is_debug).map(end_of).max()??;
    let overlaps = |from: u64, to: Option<u64>| from < end && to.is_none_or(|to| to > start);
    let kept = sections.iter().filter(|section| !is_debug(section) && section.sh_type != SHT_NOBITS);
    let mut kept = kept.filter(|section| section.sh_size > 0 && !is_comment(section, &names));
    let headers_end = header.e_shoff.checked_add(table.len() as u64);
    let clear = end <= size
        && start >= HEADER_BYTES as u64
        && !kept.any(|section| overlaps(section.sh_offset, end_of(section)))
        && !overlaps(header.e_shoff, headers_end)
        && header.e_phoff + u64::from(header.e_phnum) * u64::from(header.e_phentsize) <= start;
    clear.then_some(start..end)
}

/// Linkers put the compiler's version string among the debug sections. Nothing reads it.
fn is_comment(section: &SectionHeader, names: &[u8]) -> bool {
    string_at(names, section.sh_name as u64) == ".comment"
}
