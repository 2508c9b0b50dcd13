//! Programs from functions: copies what an entry reaches behind it and turns symbols into numbers.

use std::collections::{BTreeSet, HashMap};

use goblin::elf::sym::STT_SECTION;

use crate::btf::Btf;
use crate::elf::{Object, Place, Relocation};
use crate::error::{BpfObjectError, limit};
use crate::functions::{self, Function, SLOT_BYTES};
use crate::limits::{FUNCTIONS_MAX, OBJECT_SLOTS_MAX, PROGRAM_SLOTS_MAX};
use crate::maps::Maps;
use crate::section;
use crate::slot::{
    CALL, CALL_FUNCTION, IMMEDIATE_LOAD, LOAD_FUNCTION, LOAD_MAP, LOAD_MAP_VALUE, immediate, jump_distance,
    opcode, source, with_immediate, with_source,
};

/// `R_BPF_64_64`: a 64-bit immediate load. GNU's `R_BPF_INSN_64` has the same number.
const RELOCATION_LOAD: u32 = 1;
/// `R_BPF_64_32`: a call. GNU's `R_BPF_INSN_DISP32` has the same number.
const RELOCATION_CALL: u32 = 10;

/// A program before its name and kind.
pub(crate) struct Linked {
    pub(crate) slots: Vec<u64>,
    /// Index in the table of functions, and first slot in the program.
    pub(crate) functions: Vec<(usize, u32)>,
}

/// What linking programs of an object needs.
pub(crate) struct Linker<'o, 'a> {
    pub(crate) object: &'o Object<'a>,
    pub(crate) btf: Option<&'o Btf<'a>>,
    pub(crate) functions: &'o [Function<'a>],
    pub(crate) maps: &'o mut Maps,
    /// Symbols that nobody defines.
    pub(crate) missing: BTreeSet<String>,
    /// Slots of all programs so far.
    pub(crate) total_slots: usize,
}

/// What an instruction refers to.
enum Target {
    Function(usize),
    Map(u32),
    Variable {
        map: u32,
        offset: u32,
    },
    /// A helper, called by its name.
    Helper(u32),
    /// Noted as missing.
    Nothing,
}

impl Linker<'_, '_> {
    /// The program that starts with function `entry`.
    pub(crate) fn link(&mut self, entry: usize) -> Result<Linked, BpfObjectError> {
        let mut linked = Linked { slots: Vec::new(), functions: Vec::new() };
        let mut order = vec![entry];
        let mut known = HashMap::from([(entry, 0)]);
        // Slot and the position of the function whose distance goes there.
        let mut distances: Vec<(usize, usize)> = Vec::new();
        let mut position = 0;
        while let Some(&index) = order.get(position) {
            position += 1;
            limit("functions in a program", order.len(), FUNCTIONS_MAX)?;
            let base = linked.slots.len();
            linked.functions.push((index, base as u32));
            let function = &self.functions[index];
            limit("instructions in a program", base + function.slots as usize, PROGRAM_SLOTS_MAX)?;
            self.total_slots += function.slots as usize;
            limit("instructions in an object", self.total_slots, OBJECT_SLOTS_MAX)?;
            self.copy(function, &mut linked.slots, |slot, callee| {
                let place = *known.entry(callee).or_insert_with(|| {
                    order.push(callee);
                    order.len() - 1
                });
                distances.push((base + slot, place));
            })?;
        }
        for (slot, place) in distances {
            let distance = i64::from(linked.functions[place].1) - (slot as i64 + 1);
            // Both are below the limit of slots.
            linked.slots[slot] = with_immediate(linked.slots[slot], distance as i32 as u32);
        }
        Ok(linked)
    }

    /// Appends the function's slots; `reach` is told of each function that slot N refers to.
    fn copy(
        &mut self,
        function: &Function<'_>,
        slots: &mut Vec<u64>,
        mut reach: impl FnMut(usize, usize),
    ) -> Result<(), BpfObjectError> {
        let (start, end) = function.bytes();
        // `find` made sure that functions lie inside their sections.
        let code: Vec<u64> = self.object.sections[function.section].bytes[start as usize..end as usize]
            .as_chunks()
            .0
            .iter()
            .map(|bytes| u64::from_le_bytes(*bytes))
            .collect();
        let relocations = self.object.relocations(function.section);
        let from = relocations.partition_point(|relocation| relocation.offset < start);
        let mut pending =
            relocations[from..].iter().take_while(|relocation| relocation.offset < end).peekable();

        let mut slot = 0;
        while slot < code.len() {
            let at = start + slot as u64 * SLOT_BYTES;
            let relocation = pending.next_if(|relocation| relocation.offset == at);
            let wrong = |reason: String| BpfObjectError::Function {
                function: function.name.to_string(),
                slot: slot as u32,
                reason,
            };
            let raw = code[slot];
            match (opcode(raw), relocation) {
                (IMMEDIATE_LOAD, _) => {
                    let second = *code
                        .get(slot + 1)
                        .ok_or_else(|| wrong("the function ends inside a 64-bit immediate load".into()))?;
                    let (first, second, callee) =
                        self.load(function, at, (raw, second), relocation, &wrong)?;
                    if let Some(callee) = callee {
                        reach(slot, callee);
                    }
                    slots.extend([first, second]);
                    slot += 2;
                    continue;
                }
                (CALL, relocation) if relocation.is_some() || source(raw) == CALL_FUNCTION => {
                    let (raw, callee) = self.call(function, slot, raw, relocation, &wrong)?;
                    if let Some(callee) = callee {
                        reach(slot, callee);
                    }
                    slots.push(raw);
                }
                (_, Some(relocation)) => return Err(self.unsupported(function, relocation)),
                (_, None) => {
                    if let Some(distance) = jump_distance(raw) {
                        let target = slot as i64 + 1 + distance;
                        if !(0..code.len() as i64).contains(&target) {
                            return Err(wrong(format!("jumps to {target}, out of the function")));
                        }
                    }
                    slots.push(raw);
                }
            }
            slot += 1;
        }
        match pending.next() {
            Some(relocation) => Err(self.unsupported(function, relocation)),
            None => Ok(()),
        }
    }

    /// Both halves of a 64-bit immediate load, and the function whose address it loads.
    fn load(
        &mut self,
        function: &Function<'_>,
        at: u64,
        (first, second): (u64, u64),
        relocation: Option<&Relocation>,
        wrong: &impl Fn(String) -> BpfObjectError,
    ) -> Result<(u64, u64, Option<usize>), BpfObjectError> {
        let Some(relocation) = relocation else {
            return match source(first) {
                0 => Ok((first, second, None)),
                kind => Err(wrong(format!("a 64-bit immediate load of kind {kind} without a symbol"))),
            };
        };
        if relocation.kind != RELOCATION_LOAD {
            return Err(self.unsupported(function, relocation));
        }
        let symbol = &self.object.symbols[relocation.symbol];
        let addend = relocation.addend.unwrap_or_else(|| {
            let addend = i64::from(immediate(first));
            match i64::try_from(symbol.value) {
                // GNU's assembler 2.40 adds the value of a symbol that has a name, which linkers add as well.
                Ok(value) if self.object.is_gnu && symbol.kind != STT_SECTION && addend >= value => {
                    addend - value
                }
                _ => addend,
            }
        });
        let load =
            |kind, low, high| (with_immediate(with_source(first, kind), low), with_immediate(second, high));
        let ((first, second), callee) = match self.target(function, at, relocation, addend, false)? {
            Target::Map(map) => (load(LOAD_MAP, map, 0), None),
            Target::Variable { map, offset } => (load(LOAD_MAP_VALUE, map, offset), None),
            Target::Function(callee) => (load(LOAD_FUNCTION, 0, 0), Some(callee)),
            Target::Helper(_) | Target::Nothing => (load(0, 0, 0), None),
        };
        Ok((first, second, callee))
    }

    /// A call of a function of the object, or of a helper by name.
    fn call(
        &mut self,
        function: &Function<'_>,
        slot: usize,
        raw: u64,
        relocation: Option<&Relocation>,
        wrong: &impl Fn(String) -> BpfObjectError,
    ) -> Result<(u64, Option<usize>), BpfObjectError> {
        let Some(relocation) = relocation else {
            let target = i64::from(function.start) + slot as i64 + 1 + i64::from(immediate(raw));
            return u32::try_from(target)
                .ok()
                .and_then(|target| functions::at(self.functions, function.section, target))
                .map(|callee| (raw, Some(callee)))
                .ok_or_else(|| {
                    wrong(format!("calls slot {target} of the section, where no function starts"))
                });
        };
        if relocation.kind != RELOCATION_CALL {
            return Err(self.unsupported(function, relocation));
        }
        let at = u64::from(function.start) * SLOT_BYTES + slot as u64 * SLOT_BYTES;
        let addend = match relocation.addend {
            // The distance is counted from the next slot.
            Some(addend) => addend.saturating_add(SLOT_BYTES as i64),
            None if self.object.symbols[relocation.symbol].kind == STT_SECTION => {
                (i64::from(immediate(raw)) + 1) * SLOT_BYTES as i64
            }
            // A named function is called at its start. Assemblers leave different numbers in the instruction.
            None => 0,
        };
        match self.target(function, at, relocation, addend, true)? {
            Target::Function(callee) => Ok((with_source(raw, CALL_FUNCTION), Some(callee))),
            Target::Helper(number) => Ok((with_immediate(with_source(raw, 0), number), None)),
            Target::Nothing => Ok((raw, None)),
            Target::Map(_) | Target::Variable { .. } => {
                Err(self.wrong_target(function, at, relocation, "which is no function".into()))
            }
        }
    }

    /// What `addend` bytes behind the relocation's symbol is.
    fn target(
        &mut self,
        function: &Function<'_>,
        at: u64,
        relocation: &Relocation,
        addend: i64,
        is_call: bool,
    ) -> Result<Target, BpfObjectError> {
        let symbol = &self.object.symbols[relocation.symbol];
        let index = match symbol.place {
            Place::Section(index) => index,
            Place::Undefined => {
                if let Some(number) = helper(symbol.name)
                    && is_call
                {
                    return Ok(Target::Helper(number));
                }
                self.missing.insert(symbol.name.to_string());
                return Ok(Target::Nothing);
            }
            Place::Reserved(place) => {
                let what = format!("which is in no section (index {place:#x}); compile with -fno-common");
                return Err(self.wrong_target(function, at, relocation, what));
            }
        };
        let offset = u64::try_from(i128::from(symbol.value) + i128::from(addend)).map_err(|_| {
            self.wrong_target(function, at, relocation, format!("{addend} bytes from it, before its section"))
        })?;
        let target = &self.object.sections[index];
        if target.is_code() {
            let callee = u32::try_from(offset / SLOT_BYTES)
                .ok()
                .filter(|_| offset.is_multiple_of(SLOT_BYTES))
                .and_then(|slot| functions::at(self.functions, index, slot));
            return callee.map(Target::Function).ok_or_else(|| {
                let what = format!("{} + {offset:#x}, where no function starts", target.name);
                self.wrong_target(function, at, relocation, what)
            });
        }
        if target.name == section::MAPS || section::is_legacy_maps(target.name) {
            return self.maps.declared(index, offset).map(Target::Map).ok_or_else(|| {
                let what = format!("{} + {offset:#x}, where no map is defined", target.name);
                self.wrong_target(function, at, relocation, what)
            });
        }
        match section::variables(target.name) {
            Some(read_only) if target.is_allocated() => {
                if offset > target.size {
                    let what = format!("{} + {offset:#x}, outside of it", target.name);
                    return Err(self.wrong_target(function, at, relocation, what));
                }
                let map = self.maps.of_section(self.object, self.btf, index, read_only)?;
                // A section that is a map has at most 4 MiB.
                Ok(Target::Variable { map, offset: offset as u32 })
            }
            _ => {
                let what =
                    format!("in section {}, which holds neither functions, maps nor variables", target.name);
                Err(self.wrong_target(function, at, relocation, what))
            }
        }
    }

    fn unsupported(&self, function: &Function<'_>, relocation: &Relocation) -> BpfObjectError {
        BpfObjectError::UnsupportedRelocation {
            section: self.object.sections[function.section].name.to_string(),
            offset: relocation.offset,
            symbol: self.object.display_name(&self.object.symbols[relocation.symbol]),
            relocation: relocation.kind,
        }
    }

    fn wrong_target(
        &self,
        function: &Function<'_>,
        at: u64,
        relocation: &Relocation,
        what: String,
    ) -> BpfObjectError {
        let symbol = &self.object.symbols[relocation.symbol];
        let what = if symbol.kind == STT_SECTION { what } else { format!("which is {what}") };
        BpfObjectError::UnsupportedTarget {
            section: self.object.sections[function.section].name.to_string(),
            offset: at,
            symbol: self.object.display_name(symbol),
            what,
        }
    }
}

/// Number of the helper that C calls `bpf_NAME`.
fn helper(name: &str) -> Option<u32> {
    let name = name.strip_prefix("bpf_")?;
    uio_bpf::helper::PROTOTYPES
        .iter()
        .find(|prototype| prototype.name == name)
        .map(|prototype| prototype.number)
}
