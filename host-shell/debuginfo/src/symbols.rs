//! The symbol table: sorted by address, names left in the file.

use std::sync::Arc;

use goblin::elf::section_header::SHT_SYMTAB;
use goblin::elf::sym::{STB_LOCAL, STB_WEAK, STT_FUNC, STT_NOTYPE, STT_OBJECT, Sym};
use scroll_read::symbol_at;

use crate::elf::{ElfFile, string_at};

/// What a symbol names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SymbolKind {
    /// Code.
    Function,
    /// A variable or constant.
    Data,
    /// Neither, by what the symbol table says: labels of assembly and linker scripts.
    Label,
}

/// A defined symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Linkage (mangled) name.
    pub name: &'a str,
    /// Address in the guest.
    pub address: u64,
    /// Size in bytes; zero where the symbol table does not say.
    pub size: u64,
    /// What it names.
    pub kind: SymbolKind,
    /// Visible to other objects.
    pub global: bool,
}

impl Symbol<'_> {
    /// The name as a person writes it: demangled, without the hash.
    #[must_use]
    pub fn demangled(&self) -> String {
        crate::names::demangle(self.name)
    }
}

/// An address as symbol plus offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SymbolOffset<'a> {
    /// The symbol that contains it.
    pub symbol: Symbol<'a>,
    /// Bytes from the symbol's address.
    pub offset: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    address: u64,
    size: u64,
    name: u64,
    /// No address at or past this one belongs to the symbol: the end of its section.
    limit: u64,
    kind: SymbolKind,
    global: bool,
    weak: bool,
}

/// Symbols of one module, sorted by address.
#[derive(Clone, Debug)]
pub(crate) struct SymbolTable {
    bytes: Arc<[u8]>,
    entries: Vec<Entry>,
}

/// How many entries before an address are looked at for one that contains it. Nested symbols
/// (labels inside of functions) are few; the bound keeps a file of overlapping symbols cheap.
const LOOK_BACK_MAX: usize = 64;

impl SymbolTable {
    /// Reads the table. `address_of` turns a section index and value into a guest address; `None`
    /// leaves the symbol out.
    pub(crate) fn parse(elf: &ElfFile, address_of: impl Fn(&ElfFile, &str, &Sym) -> Option<u64>) -> Self {
        let mut entries = Vec::new();
        for table in elf.sections.iter().filter(|section| section.kind == SHT_SYMTAB) {
            let Some(names) = elf.sections.get(table.link as usize) else { continue };
            let contents = elf.contents(table);
            entries.reserve(contents.len() / scroll_read::SYMBOL_BYTES);
            for index in 0..contents.len() / scroll_read::SYMBOL_BYTES {
                let Some(symbol) = symbol_at(contents, index) else { break };
                let kind = match symbol.st_type() {
                    STT_FUNC => SymbolKind::Function,
                    STT_OBJECT => SymbolKind::Data,
                    STT_NOTYPE => SymbolKind::Label,
                    _ => continue,
                };
                if symbol.st_shndx == 0 || symbol.st_name == 0 {
                    continue;
                }
                let name = names.file.start as u64 + symbol.st_name as u64;
                if name >= names.file.end as u64 {
                    continue;
                }
                let Some(address) = address_of(elf, string_at(&elf.bytes, name), &symbol) else { continue };
                let limit = match elf.sections.get(symbol.st_shndx) {
                    Some(section) if elf.relocatable => {
                        address.saturating_add(section.size.saturating_sub(symbol.st_value))
                    }
                    Some(section) => section.address.saturating_add(section.size),
                    None => address,
                };
                entries.push(Entry {
                    address,
                    size: symbol.st_size,
                    name,
                    limit,
                    kind,
                    global: symbol.st_bind() != STB_LOCAL,
                    weak: symbol.st_bind() == STB_WEAK,
                });
            }
        }
        entries.sort_by_key(|entry| entry.address);
        Self { bytes: Arc::clone(&elf.bytes), entries }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn get(&self, index: usize) -> Option<Symbol<'_>> {
        self.entries.get(index).map(|entry| self.view(entry))
    }

    fn view(&self, entry: &Entry) -> Symbol<'_> {
        Symbol {
            name: string_at(&self.bytes, entry.name),
            address: entry.address,
            size: entry.size,
            kind: entry.kind,
            global: entry.global,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Symbol<'_>> {
        self.entries.iter().map(|entry| self.view(entry))
    }

    /// The symbol of that linkage name; a global one before a local one, a strong before a weak one.
    pub(crate) fn by_name(&self, name: &str) -> Option<Symbol<'_>> {
        let wanted = name.as_bytes();
        self.entries
            .iter()
            .filter(|entry| {
                let start = usize::try_from(entry.name).unwrap_or(usize::MAX);
                self.bytes
                    .get(start..)
                    .is_some_and(|rest| rest.starts_with(wanted) && rest.get(wanted.len()) == Some(&0))
            })
            .max_by_key(|entry| (entry.global, !entry.weak))
            .map(|entry| self.view(entry))
    }

    /// The symbol that contains `address`: the innermost sized one, or else the nearest label before
    /// it in the same section.
    pub(crate) fn containing(&self, address: u64) -> Option<SymbolOffset<'_>> {
        let end = self.entries.partition_point(|entry| entry.address <= address);
        let start = end.saturating_sub(LOOK_BACK_MAX);
        let candidates = &self.entries[start..end];
        let offset = |entry: &Entry| address - entry.address;
        let sized = candidates
            .iter()
            .rev()
            .filter(|entry| offset(entry) < entry.size)
            .min_by_key(|entry| (offset(entry), entry.kind == SymbolKind::Label, !entry.global));
        let unsized_ = || {
            candidates
                .iter()
                .rev()
                .filter(|entry| entry.size == 0 && address < entry.limit)
                .min_by_key(|entry| (offset(entry), entry.kind == SymbolKind::Label, !entry.global))
        };
        sized.or_else(unsized_).map(|entry| SymbolOffset { symbol: self.view(entry), offset: offset(entry) })
    }
}

/// Reading single records without building goblin's tables.
pub(crate) mod scroll_read {
    use goblin::elf::sym::{Sym, Symtab};

    use crate::elf::CONTEXT;

    /// `sizeof(Elf64_Sym)`.
    pub(crate) const SYMBOL_BYTES: usize = 24;

    /// The symbol at `index` of a symbol table's contents.
    pub(crate) fn symbol_at(contents: &[u8], index: usize) -> Option<Sym> {
        let record = contents.get(index.checked_mul(SYMBOL_BYTES)?..)?.get(..SYMBOL_BYTES)?;
        Symtab::parse(record, 0, 1, CONTEXT).ok()?.get(0)
    }
}
