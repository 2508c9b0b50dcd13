//! Everything that has code in a guest: its image and the extensions loaded at the moment.

use std::sync::Arc;

use crate::dwarf::DebugInfo;
use crate::dwarf::functions::Signature;
use crate::dwarf::index::VariableEntry;
use crate::dwarf::lines::SourceFrame;
use crate::error::DebugError;
use crate::image::Image;
use crate::symbols::Symbol;
use crate::types::{Kind, ModuleId, Type, TypeRef};
use crate::unwind::{Frame, Stack};

/// The image and the extensions of one guest.
#[derive(Clone, Debug)]
pub struct Space {
    image: Arc<Image>,
    extensions: Vec<(String, Arc<Image>)>,
}

/// A variable with static storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    /// Qualified name.
    pub name: String,
    /// Its type.
    pub type_ref: TypeRef,
    /// Its address; `None` if the optimizer removed it or took it apart.
    pub address: Option<u64>,
    /// The optimizer gave its fields places of their own; expressions find them.
    pub split: bool,
    /// Offset of its entry in `.debug_info`.
    pub(crate) entry: usize,
    /// The module that defines it.
    pub module: ModuleId,
}

/// A frame with names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFrame {
    /// The frame.
    pub frame: Frame,
    /// Name of the extension whose code it is; `None` for the image.
    pub extension: Option<String>,
    /// Symbol and offset, as in `count::main+0x1c`.
    pub symbol: Option<String>,
    /// Functions active there, innermost first: inlined ones, then the real one.
    pub functions: Vec<SourceFrame>,
}

impl Space {
    /// A guest with nothing loaded.
    #[must_use]
    pub fn new(image: Arc<Image>) -> Self {
        Self { image, extensions: Vec::new() }
    }

    /// The guest's own image.
    #[must_use]
    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// Adds an extension under the name that reports show.
    pub fn add(&mut self, name: impl Into<String>, extension: Arc<Image>) -> ModuleId {
        let id = extension.id();
        self.extensions.push((name.into(), extension));
        id
    }

    /// Forgets an extension; `false` if there is none of that id.
    pub fn remove(&mut self, id: ModuleId) -> bool {
        let before = self.extensions.len();
        self.extensions.retain(|(_, extension)| extension.id() != id);
        self.extensions.len() != before
    }

    /// All modules, the image first.
    pub fn modules(&self) -> impl Iterator<Item = &Image> {
        std::iter::once(&*self.image).chain(self.extensions.iter().map(|(_, extension)| &**extension))
    }

    pub(crate) fn module(&self, id: ModuleId) -> Result<&Image, DebugError> {
        self.modules()
            .find(|module| module.id() == id)
            .ok_or_else(|| DebugError::Dwarf("the extension that this belongs to was unloaded".to_owned()))
    }

    /// The module whose code or data holds `address`.
    #[must_use]
    pub fn module_at(&self, address: u64) -> Option<&Image> {
        self.modules().find(|module| module.contains(address))
    }

    /// The module whose code holds `address`.
    pub(crate) fn module_with_code(&self, address: u64) -> Option<&Image> {
        self.modules().find(|module| module.contains_code(address))
    }

    /// `name+0x12` for an address in any module.
    #[must_use]
    pub fn describe(&self, address: u64) -> Option<String> {
        self.module_at(address)?.describe(address)
    }

    /// Symbols that `name` can mean. Whole names count before ends of paths (`add` of an extension before
    /// `list::add` of the image), then those of the image hide those of extensions.
    #[must_use]
    pub fn find_symbols(&self, name: &str) -> Vec<Symbol<'_>> {
        let found = self.modules().map(|module| module.find_symbols(name)).filter(|found| !found.is_empty());
        let is_whole = |symbol: &Symbol<'_>| symbol.name == name || symbol.demangled() == name;
        best(found, |found| found.iter().any(is_whole)).unwrap_or_default()
    }

    /// Symbols of all modules that match `pattern`, as [`Image::search`] does.
    #[must_use]
    pub fn search(&self, pattern: &str) -> Vec<Symbol<'_>> {
        self.modules().flat_map(|module| module.search(pattern)).collect()
    }

    /// Variables of all modules that match `pattern`, sorted by name: `*` and `?` are wildcards; a
    /// pattern without one matches wherever it occurs. Those without a place in memory are left out.
    ///
    /// # Errors
    /// The image has no debug information, or it is damaged.
    pub fn search_variables(&self, pattern: &str) -> Result<Vec<Variable>, DebugError> {
        let wild = pattern.contains(['*', '?']);
        let matches = |name: &str| {
            if wild { crate::names::glob_matches(pattern, name) } else { name.contains(pattern) }
        };
        let mut found = Vec::new();
        for module in self.modules() {
            let debug = match module.debug() {
                Ok(debug) => debug,
                Err(_) if module.id() != self.image.id() => continue,
                Err(error) => return Err(error),
            };
            let index = debug.index()?;
            for id in index.variable_names.filter(matches) {
                let Some(entry) = index.variables.get(id as usize) else { continue };
                let variable = Self::variable(module, debug, entry)?;
                if variable.address.is_some() || variable.split {
                    found.push(variable);
                }
            }
        }
        found.sort_by(|a, b| (&a.name, a.address).cmp(&(&b.name, b.address)));
        found.dedup_by(|a, b| a.name == b.name && a.address == b.address);
        Ok(found)
    }

    /// Names and source positions for an unwound stack.
    #[must_use]
    pub fn symbolize(&self, stack: &Stack) -> Vec<NamedFrame> {
        stack.frames.iter().map(|frame| self.symbolize_frame(frame)).collect()
    }

    fn symbolize_frame(&self, frame: &Frame) -> NamedFrame {
        let address = frame.lookup_address();
        let module = self.module_at(address);
        let extension = self
            .extensions
            .iter()
            .find(|(_, extension)| module.is_some_and(|module| module.id() == extension.id()))
            .map(|(name, _)| name.clone());
        // The offset shown is that of the address itself, the name that of the call before it.
        let symbol = module.and_then(|module| module.symbol_at(address)).map(|found| {
            let offset = frame.address.wrapping_sub(found.symbol.address);
            let name = found.symbol.demangled();
            if offset == 0 { name } else { format!("{name}+{offset:#x}") }
        });
        let functions = module.map(|module| module.source_frames(address)).unwrap_or_default();
        NamedFrame { frame: *frame, extension, symbol, functions }
    }

    /// What a type reference stands for.
    ///
    /// # Errors
    /// The debug information is damaged, or its module was removed.
    pub fn resolve(&self, type_ref: &TypeRef) -> Result<Arc<Type>, DebugError> {
        if let TypeRef::Dwarf { module, offset } = type_ref {
            return self.module(*module)?.debug()?.type_at(*offset);
        }
        let made = |name: String, size: u64, kind: Kind| Type { name, size, kind };
        Ok(Arc::new(match type_ref {
            TypeRef::Dwarf { .. } | TypeRef::Void => made("()".to_owned(), 0, Kind::Void),
            TypeRef::Int { signed, bytes } => {
                let letter = if *signed { 'i' } else { 'u' };
                made(
                    format!("{letter}{}", u32::from(*bytes) * 8),
                    u64::from(*bytes),
                    Kind::Int { signed: *signed },
                )
            }
            TypeRef::Bool => made("bool".to_owned(), 1, Kind::Bool),
            TypeRef::Char => made("char".to_owned(), 4, Kind::Char { signed: false }),
            TypeRef::Float { bytes } => {
                made(format!("f{}", u32::from(*bytes) * 8), u64::from(*bytes), Kind::Float)
            }
            TypeRef::Pointer(target) => made(
                format!("*{}", self.type_name(target)),
                8,
                Kind::Pointer { target: (**target).clone(), reference: false },
            ),
            TypeRef::Sequence { element, count } => {
                let size = self.resolve(element)?.size.checked_mul(*count).ok_or_else(|| {
                    DebugError::Dwarf(format!("{count} elements do not fit the address space"))
                })?;
                made(
                    format!("[{}; {count}]", self.type_name(element)),
                    size,
                    Kind::Array { element: (**element).clone(), count: Some(*count) },
                )
            }
            TypeRef::Code => made("fn".to_owned(), 0, Kind::Code),
            TypeRef::Unknown { size } => made("(unknown type)".to_owned(), *size, Kind::Opaque),
        }))
    }

    /// The name of a type, `?` if it does not resolve.
    #[must_use]
    pub fn type_name(&self, type_ref: &TypeRef) -> String {
        self.resolve(type_ref).map_or_else(|_| "?".to_owned(), |resolved| resolved.name.clone())
    }

    fn variable(module: &Image, debug: &DebugInfo, entry: &VariableEntry) -> Result<Variable, DebugError> {
        let by_symbol = || Some(module.symbol_by_linkage_name(entry.linkage_name.as_deref()?)?.address);
        Ok(Variable {
            name: entry.name.clone(),
            type_ref: debug.variable_type(entry.offset)?,
            address: entry.address.or_else(by_symbol),
            split: entry.split,
            entry: entry.offset,
            module: module.id(),
        })
    }

    /// Variables that `name` can mean, of one module, chosen as by [`Self::find_symbols`].
    ///
    /// # Errors
    /// The image has no debug information, or it is damaged.
    pub fn find_variables(&self, name: &str) -> Result<Vec<Variable>, DebugError> {
        let mut failure = None;
        let mut all = Vec::new();
        for module in self.modules() {
            let found = module.debug().and_then(|debug| {
                let index = debug.index()?;
                let ids = index.variable_names.lookup(name);
                let entries = ids.iter().filter_map(|&id| index.variables.get(id as usize));
                entries
                    .map(|entry| Self::variable(module, debug, entry))
                    .collect::<Result<Vec<_>, DebugError>>()
            });
            match found {
                Ok(found) if !found.is_empty() => {
                    // The same C variable is declared in many units, and has an address in one.
                    let has_place = |variable: &&Variable| variable.address.is_some() || variable.split;
                    let mut placed: Vec<Variable> = found.iter().filter(has_place).cloned().collect();
                    placed.sort_by_key(|variable| variable.address);
                    placed.dedup_by(|a, b| a.address.is_some() && a.address == b.address);
                    all.push(if placed.is_empty() { found } else { placed });
                }
                Ok(_) => {}
                // An extension without debug information is no reason to fail.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        if let Some(found) = best(all.into_iter(), |found| found.iter().any(|one| one.name == name)) {
            return Ok(found);
        }
        match failure {
            Some(error) if self.modules().all(|module| module.debug().is_err()) => Err(error),
            _ => Ok(Vec::new()),
        }
    }

    /// The concrete type that the table of a trait object at `address` is for. The compiler describes
    /// each table as a variable named `<Type as Trait>::{vtable}`.
    pub(crate) fn vtable_name(&self, address: u64) -> Option<String> {
        let module = self.module_at(address)?;
        let index = module.debug().ok()?.index().ok()?;
        let table = index.variables.iter().find(|variable| variable.address == Some(address))?;
        let name = table.name.strip_suffix("::{vtable}")?;
        let inside = name.strip_prefix('<').and_then(|name| name.strip_suffix('>')).unwrap_or(name);
        Some(inside.rsplit_once(" as ").map_or(inside, |(concrete, _)| concrete).to_owned())
    }

    /// The type of that name.
    #[must_use]
    pub fn find_type(&self, name: &str) -> Option<TypeRef> {
        self.modules().find_map(|module| {
            let index = module.debug().ok()?.index().ok()?;
            let id = *index.type_names().lookup(name).first()?;
            let (offset, _) = index.types.get(id as usize)?;
            Some(TypeRef::Dwarf { module: module.id(), offset: *offset })
        })
    }

    /// Whether only its own callers can call the function at `address`.
    pub(crate) fn has_private_convention(&self, address: u64) -> bool {
        let check = || {
            let debug = self.module_with_code(address)?.debug().ok()?;
            debug.has_private_convention(debug.index().ok()?.function_at(address)?.offset).ok()
        };
        check().unwrap_or(false)
    }

    /// The signature of the function at `address`.
    ///
    /// # Errors
    /// There is no debug information for it.
    pub fn signature_at(&self, address: u64) -> Result<Signature, DebugError> {
        let module = self.module_with_code(address).ok_or(DebugError::Missing)?;
        let debug = module.debug()?;
        let entry = debug.index()?.function_at(address).ok_or(DebugError::Missing)?;
        debug.signature(entry.offset, address)
    }
}

/// The first of `candidates` that `is_best` accepts, else the first of all.
fn best<T>(candidates: impl Iterator<Item = T>, is_best: impl Fn(&T) -> bool) -> Option<T> {
    let mut first = None;
    for candidate in candidates {
        if is_best(&candidate) {
            return Some(candidate);
        }
        first = first.or(Some(candidate));
    }
    first
}
