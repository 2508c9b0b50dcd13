//! Call frames from registers and a copy of the stack, by `.eh_frame`.
//!
//! The rules are evaluated with gimli rather than walked by frame pointers, because the precompiled
//! `core` and `alloc` keep none. All general registers are recovered, not only `rsp` and `rip`.

use gimli::{BaseAddresses, CfaRule, CieOrFde, EhFrame, EhFrameOffset, RegisterRule, UnwindSection};
use uio_protocol::inspect::Registers;

use crate::dwarf::Shared;
use crate::space::Space;

/// Frames reported of one stack. Deeper ones are recursion, of which the top tells enough.
pub const FRAMES_MAX: usize = 256;

/// Entries read from one `.eh_frame`; some hundred times what a kernel has.
const ENTRIES_MAX: usize = 1 << 20;

/// Steps that one DWARF expression of a rule may ask of us.
const EXPRESSION_ROUNDS_MAX: usize = 64;

/// DWARF numbers of the x86-64 registers (System V ABI, figure 3.36).
const RBP: usize = 6;
const RSP: usize = 7;
const RETURN_ADDRESS: usize = 16;
const REGISTERS: usize = 17;

/// How a frame's address was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoundBy {
    /// It is `rip` itself.
    Registers,
    /// By the unwind rules of the frame below.
    UnwindRules,
    /// By following `rbp`; the frame below has no rules.
    FramePointer,
    /// The word at `rsp`, after a jump or call to where there is no code.
    StackTop,
}

/// One call frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Address of the instruction, or the return address after the call.
    pub address: u64,
    /// Whether `address` is that after a call: look up `address - 1` then.
    pub is_return_address: bool,
    /// `rsp` in this frame.
    pub stack_pointer: u64,
    /// How it was found.
    pub found_by: FoundBy,
}

impl Frame {
    /// The address to look up: inside of the call instruction for a return address, so that a call
    /// at the very end of a function is not taken for what follows it.
    #[must_use]
    pub fn lookup_address(&self) -> u64 {
        if self.is_return_address { self.address.wrapping_sub(1) } else { self.address }
    }
}

/// Why unwinding stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackEnd {
    /// At the first function of the thread: its rules or a zero return address say so.
    Entry,
    /// At a return address that is in no module, as where a thread changed stacks.
    OutsideModules {
        /// That address.
        address: u64,
    },
    /// The copy of the stack ends before this address.
    SnapshotEnds {
        /// What was to be read.
        address: u64,
    },
    /// No rules for this address.
    NoRules {
        /// The address.
        address: u64,
    },
    /// The rules led nowhere: not further up the stack.
    Damaged {
        /// Where.
        address: u64,
    },
    /// [`FRAMES_MAX`] reached.
    Limit,
}

/// A stack, innermost frame first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// At least the one of `rip`.
    pub frames: Vec<Frame>,
    /// Why there are no more.
    pub end: StackEnd,
}

#[derive(Clone, Copy, Debug)]
struct Rule {
    start: u64,
    end: u64,
    offset: usize,
}

/// The unwind rules of one module, sorted by address.
#[derive(Debug, Default)]
pub(crate) struct UnwindTable {
    section: Option<(EhFrame<Shared>, BaseAddresses)>,
    rules: Vec<Rule>,
}

impl UnwindTable {
    /// Reads all entries of a section that lies, or is taken to lie, at `address`. An entry that does
    /// not parse ends the table.
    pub(crate) fn build(section: Shared, address: u64) -> Self {
        let mut eh_frame = EhFrame::from(section);
        eh_frame.set_address_size(8);
        let bases = BaseAddresses::default().set_eh_frame(address);
        let mut rules = Vec::new();
        let mut entries = eh_frame.entries(&bases);
        while let Ok(Some(entry)) = entries.next() {
            let CieOrFde::Fde(partial) = entry else { continue };
            if let Ok(entry) = partial.parse(EhFrame::cie_from_offset)
                && !entry.is_empty_range()
                && rules.len() < ENTRIES_MAX
            {
                rules.push(Rule {
                    start: entry.initial_address(),
                    end: entry.end_address(),
                    offset: entry.offset(),
                });
            }
        }
        rules.sort_by_key(|rule| rule.start);
        Self { section: Some((eh_frame, bases)), rules }
    }

    fn rule(&self, address: u64) -> Option<&Rule> {
        let after = self.rules.partition_point(|rule| rule.start <= address);
        self.rules.get(after.checked_sub(1)?).filter(|rule| address < rule.end)
    }
}

/// Whether an entry covers anything.
trait EmptyRange {
    fn is_empty_range(&self) -> bool;
}

impl EmptyRange for gimli::FrameDescriptionEntry<Shared> {
    fn is_empty_range(&self) -> bool {
        self.len() == 0
    }
}

type RegisterFile = [Option<u64>; REGISTERS];

/// The copy of the stack.
struct Snapshot<'a> {
    base: u64,
    bytes: &'a [u8],
}

impl Snapshot<'_> {
    fn word(&self, address: u64) -> Result<u64, StackEnd> {
        let ends = StackEnd::SnapshotEnds { address };
        let offset = usize::try_from(address.wrapping_sub(self.base)).map_err(|_| ends)?;
        let word = offset.checked_add(8).and_then(|end| self.bytes.get(offset..end)).ok_or(ends)?;
        Ok(u64::from_le_bytes(word.try_into().map_err(|_| ends)?))
    }
}

fn register_file(registers: &Registers) -> RegisterFile {
    let r = registers;
    [
        r.rax, r.rdx, r.rcx, r.rbx, r.rsi, r.rdi, r.rbp, r.rsp, r.r8, r.r9, r.r10, r.r11, r.r12, r.r13,
        r.r14, r.r15, r.rip,
    ]
    .map(Some)
}

impl Space {
    /// Unwinds a stopped thread. `stack` holds the bytes from `registers.rsp` upward.
    #[must_use]
    pub fn unwind(&self, registers: &Registers, stack: &[u8]) -> Stack {
        self.unwind_from(registers, stack, false)
    }

    /// As [`Self::unwind`], where `registers.rip` is where a call will return to.
    #[must_use]
    pub fn unwind_in_call(&self, registers: &Registers, stack: &[u8]) -> Stack {
        self.unwind_from(registers, stack, true)
    }

    fn unwind_from(&self, registers: &Registers, stack: &[u8], is_return_address: bool) -> Stack {
        let snapshot = Snapshot { base: registers.rsp, bytes: stack };
        let mut file = register_file(registers);
        let mut frames = vec![Frame {
            address: registers.rip,
            is_return_address,
            stack_pointer: registers.rsp,
            found_by: FoundBy::Registers,
        }];
        let end = loop {
            if frames.len() >= FRAMES_MAX {
                break StackEnd::Limit;
            }
            let Some(frame) = frames.last().copied() else { break StackEnd::Entry };
            match self.caller(&frame, &mut file, &snapshot) {
                Ok(caller) => frames.push(caller),
                Err(end) => break end,
            }
        };
        Stack { frames, end }
    }

    fn caller(
        &self,
        frame: &Frame,
        file: &mut RegisterFile,
        snapshot: &Snapshot<'_>,
    ) -> Result<Frame, StackEnd> {
        let address = frame.lookup_address();
        let rule = self.module_with_code(address).and_then(|module| {
            let table = module.unwind_table();
            Some((table.section.as_ref()?, *table.rule(address)?))
        });
        let innermost = frame.found_by == FoundBy::Registers;
        let (caller, interrupted, found_by) = match rule {
            Some(((section, bases), rule)) => {
                let (caller, interrupted) = apply_rules(section, bases, rule, address, file, snapshot)?;
                (caller, interrupted, FoundBy::UnwindRules)
            }
            None => {
                let (caller, found_by) = self.guess(innermost, frame, file, snapshot)?;
                (caller, false, found_by)
            }
        };
        let return_address = match caller[RETURN_ADDRESS] {
            None | Some(0) => return Err(StackEnd::Entry),
            Some(address) => address,
        };
        let stack_pointer = caller[RSP].unwrap_or(0);
        let advanced =
            stack_pointer > frame.stack_pointer || (innermost && stack_pointer == frame.stack_pointer);
        if !advanced {
            return Err(StackEnd::Damaged { address: frame.address });
        }
        let next =
            Frame { address: return_address, is_return_address: !interrupted, stack_pointer, found_by };
        if self.module_with_code(next.lookup_address()).is_none() {
            return Err(StackEnd::OutsideModules { address: return_address });
        }
        *file = caller;
        Ok(next)
    }

    /// The caller of a frame without rules: the word on top of the stack right after a call to
    /// nowhere, or the saved `rbp` chain of hand-written code.
    fn guess(
        &self,
        innermost: bool,
        frame: &Frame,
        file: &RegisterFile,
        snapshot: &Snapshot<'_>,
    ) -> Result<(RegisterFile, FoundBy), StackEnd> {
        let mut caller = *file;
        let is_code = |address: u64| self.module_with_code(address.wrapping_sub(1)).is_some();
        if innermost
            && let Ok(word) = snapshot.word(frame.stack_pointer)
            && is_code(word)
        {
            caller[RETURN_ADDRESS] = Some(word);
            caller[RSP] = Some(frame.stack_pointer.wrapping_add(8));
            return Ok((caller, FoundBy::StackTop));
        }
        if let Some(rbp) = file[RBP]
            && rbp >= frame.stack_pointer
            && let (Ok(saved), Ok(word)) = (snapshot.word(rbp), snapshot.word(rbp.wrapping_add(8)))
            && is_code(word)
        {
            caller[RBP] = Some(saved);
            caller[RETURN_ADDRESS] = Some(word);
            caller[RSP] = Some(rbp.wrapping_add(16));
            return Ok((caller, FoundBy::FramePointer));
        }
        Err(StackEnd::NoRules { address: frame.address })
    }
}

/// Registers of the caller by the rules at `address`, and whether the frame is that of an interrupt
/// (so that the address it was entered from is not after a call).
fn apply_rules(
    section: &EhFrame<Shared>,
    bases: &BaseAddresses,
    rule: Rule,
    address: u64,
    file: &RegisterFile,
    snapshot: &Snapshot<'_>,
) -> Result<(RegisterFile, bool), StackEnd> {
    let damaged = StackEnd::Damaged { address };
    let entry = section
        .fde_from_offset(bases, EhFrameOffset(rule.offset), EhFrame::cie_from_offset)
        .map_err(|_| damaged)?;
    let encoding = entry.cie().encoding();
    let mut context = gimli::UnwindContext::new();
    let row = entry
        .unwind_info_for_address(section, bases, &mut context, address)
        .map_err(|_| StackEnd::NoRules { address })?;
    let evaluate = |expression: &gimli::UnwindExpression<usize>, initial: Option<u64>| {
        let expression = expression.get(section).map_err(|_| damaged)?;
        evaluate(expression, encoding, initial, file, snapshot, damaged)
    };
    let register = |number: gimli::Register| file.get(usize::from(number.0)).copied().flatten();
    let cfa = match row.cfa() {
        CfaRule::RegisterAndOffset { register: base, offset } => {
            register(*base).ok_or(damaged)?.wrapping_add_signed(*offset)
        }
        CfaRule::Expression(expression) => evaluate(expression, None)?,
    };
    let mut caller = *file;
    // By the ABI these survive a call only by rules that say so; the others are not known any more.
    for scratch in [0, 1, 2, 4, 5, 8, 9, 10, 11, RETURN_ADDRESS] {
        caller[scratch] = None;
    }
    caller[RSP] = Some(cfa);
    for (number, rule) in row.registers() {
        let Some(slot) = caller.get_mut(usize::from(number.0)) else { continue };
        *slot = match rule {
            RegisterRule::SameValue => register(*number),
            RegisterRule::Offset(offset) => Some(snapshot.word(cfa.wrapping_add_signed(*offset))?),
            RegisterRule::ValOffset(offset) => Some(cfa.wrapping_add_signed(*offset)),
            RegisterRule::Register(other) => register(*other),
            RegisterRule::Expression(expression) => Some(snapshot.word(evaluate(expression, Some(cfa))?)?),
            RegisterRule::ValExpression(expression) => Some(evaluate(expression, Some(cfa))?),
            RegisterRule::Constant(value) => Some(*value),
            _ => None,
        };
    }
    Ok((caller, entry.is_signal_trampoline()))
}

fn evaluate(
    expression: gimli::Expression<Shared>,
    encoding: gimli::Encoding,
    initial: Option<u64>,
    file: &RegisterFile,
    snapshot: &Snapshot<'_>,
    damaged: StackEnd,
) -> Result<u64, StackEnd> {
    let mut evaluation = expression.evaluation(encoding);
    if let Some(initial) = initial {
        evaluation.set_initial_value(initial);
    }
    let mut state = evaluation.evaluate().map_err(|_| damaged)?;
    for _ in 0..EXPRESSION_ROUNDS_MAX {
        let value = match state {
            gimli::EvaluationResult::Complete => {
                return match evaluation.as_result().first().map(|piece| &piece.location) {
                    Some(gimli::Location::Address { address }) => Ok(*address),
                    Some(gimli::Location::Value { value }) => value.to_u64(u64::MAX).map_err(|_| damaged),
                    _ => Err(damaged),
                };
            }
            gimli::EvaluationResult::RequiresRegister { register, .. } => {
                let value = file.get(usize::from(register.0)).copied().flatten().ok_or(damaged)?;
                state = evaluation.resume_with_register(gimli::Value::Generic(value)).map_err(|_| damaged)?;
                continue;
            }
            gimli::EvaluationResult::RequiresMemory { address, size, .. } => {
                let word = snapshot.word(address)?;
                if size >= 8 { word } else { word & ((1u64 << (8 * u32::from(size))) - 1) }
            }
            _ => return Err(damaged),
        };
        state = evaluation.resume_with_memory(gimli::Value::Generic(value)).map_err(|_| damaged)?;
    }
    Err(damaged)
}
