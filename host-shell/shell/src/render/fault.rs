//! Reports of code that the guest ended, in the form of a good compiler error: cause, place,
//! explanation, backtrace, registers, what to do.

use serde_json::{Value, json};
use uio_debuginfo::{NamedFrame, SourceLocation, Space, Stack, StackEnd};
use uio_protocol::fault::{Attempt, Cause, Denial, Exception, FaultReport};
use uio_protocol::inspect::Registers;

use super::frames;
use super::style::Style;

/// Start of the names of the guest's gates into loaded code.
const ENTRY_GATE_PREFIX: &str = "uio_gate_enter";

/// Where the guest's window for loaded code begins: the last GiB.
const WINDOW_START: u64 = 0xffff_ffff_c000_0000;
const PAGE_BYTES: u64 = 4096;

/// A report with names.
pub struct Fault<'report> {
    report: &'report FaultReport,
    extension: Option<String>,
    program: Option<String>,
    frames: Vec<NamedFrame>,
    end: Option<String>,
}

impl<'report> Fault<'report> {
    /// Names what can be named; without `space` addresses stay addresses.
    #[must_use]
    pub fn new(report: &'report FaultReport, extension: Option<String>, space: Option<&Space>) -> Self {
        let (frames, end) = match space {
            Some(space) => {
                let stack = stack(report, space);
                let mut frames = space.symbolize(&stack);
                let whole = frames.len();
                frames.truncate(whole.min(entry(&frames)));
                // Where the entry gate begins, the stack is meant to end.
                let complete = frames.len() < whole
                    || matches!(stack.end, StackEnd::SnapshotEnds { .. })
                    || is_ring3_return(stack.end);
                (frames, if complete { None } else { frames::end(stack.end) })
            }
            None => (Vec::new(), None),
        };
        Self { report, extension, program: None, frames, end }
    }

    /// As [`Self::new`], of a run of an eBPF program.
    #[must_use]
    pub fn of_program(report: &'report FaultReport, program: &str, space: Option<&Space>) -> Self {
        Self { program: Some(program.to_owned()), ..Self::new(report, None, space) }
    }

    /// One line: who was ended, and why.
    #[must_use]
    pub fn headline(&self) -> String {
        let who = match (&self.extension, &self.program) {
            (Some(name), _) => format!("extension `{name}`"),
            (None, Some(name)) => format!("program `{name}`"),
            (None, None) => "the called function".to_owned(),
        };
        format!("{who} {}", cause(&self.report.cause))
    }

    /// What to point at: the innermost frame in an extension with a line of the person's own code; else
    /// with any line; else the innermost frame. With the place, where there is one.
    fn blamed(&self) -> Option<(&NamedFrame, Option<&SourceLocation>)> {
        let places = || {
            self.frames.iter().flat_map(|frame| {
                let functions = frame.functions.iter();
                functions.filter_map(move |function| Some((frame, function.location.as_ref()?)))
            })
        };
        let known = || places().filter(|(frame, place)| frame.extension.is_some() && place.line > 0);
        known()
            .find(|(_, place)| !is_library(&place.file))
            .or_else(|| known().next())
            .map(|(frame, place)| (frame, Some(place)))
            .or_else(|| self.frames.first().map(|frame| (frame, None)))
    }

    /// The whole report.
    #[must_use]
    pub fn render(&self, style: Style) -> Vec<String> {
        let mut lines = vec![format!("{} {}", style.error("fault:"), style.bold(&self.headline()))];
        let rip = self.report.registers.rip;
        match self.blamed() {
            Some((frame, location)) => {
                let symbol = frame.symbol.clone().unwrap_or_else(|| format!("{rip:#x}"));
                let place = location.map(|place| format!("{}:{}, ", frames::place(place), place.column));
                let place = place.unwrap_or_default();
                lines.push(format!("  {} {place}in {symbol}", style.hint("-->")));
                lines.extend(location.and_then(|place| source(place, style)).unwrap_or_default());
            }
            None => lines.push(format!("  {} {rip:#x}", style.hint("-->"))),
        }
        for note in self.notes() {
            lines.push(format!("  {} {note}", style.hint("=")));
        }
        if !self.frames.is_empty() {
            lines.push(style.bold("backtrace:"));
            lines.extend(frames::lines(&self.frames, style));
            lines.extend(self.end.as_ref().map(|end| style.dim(&format!("     ({end})"))));
        }
        lines.push(style.bold("registers:"));
        lines.extend(registers(&self.report.registers));
        if let Some(hint) = hint(&self.report.cause) {
            lines.push(format!("{} {hint}", style.hint("hint:")));
        }
        lines
    }

    fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        match &self.report.cause {
            Cause::Access { address, denial, owner, .. } => {
                let owner = owner.as_ref().map(|owner| format!(" ({owner})")).unwrap_or_default();
                notes.push(format!("address {address}{owner}: {}", denied(*denial)));
            }
            Cause::Exception(Exception::GeneralProtection(code)) if *code != 0 => {
                notes.push(format!("error code {code:#x}"));
            }
            Cause::GateTampered => {
                notes.push("a gate found another protection-key register than its own".into());
            }
            _ => {}
        }
        if let Some(gate) = &self.report.gate {
            notes.push(format!("it was inside the gate `{gate}`"));
        }
        notes
    }

    /// The report as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let report = self.report;
        let blamed = self.blamed().and_then(|(_, location)| location);
        json!({
            "fault": self.headline(),
            "cause": cause_name(&report.cause),
            "extension": self.extension,
            "extension_id": report.extension.map(|id| id.0),
            "address": match &report.cause {
                Cause::Access { address, .. } | Cause::BadFree { address } => Some(address.to_string()),
                _ => None,
            },
            "owner": match &report.cause {
                Cause::Access { owner, .. } => owner.clone(),
                _ => None,
            },
            "file": blamed.map(|place| place.file.clone()),
            "line": blamed.map(|place| place.line),
            "notes": self.notes(),
            "gate": report.gate,
            "frames": frames::to_json(&self.frames),
            "registers": register_values(&report.registers)
                .map(|(name, value)| (name.to_owned(), json!(format!("{value:#x}"))))
                .into_iter()
                .collect::<serde_json::Map<_, _>>(),
            "hint": hint(&report.cause),
        })
    }
}

/// The call frames of a report. Inside a gate, the registers are those at its entry: `rip` is where it
/// returns to, and that address is still on the stack. The caller's rules do not fit there (after a
/// call that never returns, `rip` is in the next function already), so the gate counts as code without rules,
/// which the unwinder leaves by the top of the stack.
fn stack(report: &FaultReport, space: &Space) -> Stack {
    let top = report.stack.first_chunk().map(|word| u64::from_le_bytes(*word));
    if report.gate.is_none() {
        return space.unwind(&report.registers, &report.stack);
    }
    if top != Some(report.registers.rip) {
        // The stack is unreadable or was written over; the call itself is known all the same.
        return space.unwind_in_call(&report.registers, &report.stack);
    }
    let in_gate = Registers { rip: 0, ..report.registers };
    let mut stack = space.unwind(&in_gate, &report.stack);
    stack.frames = stack.frames.split_off(1.min(stack.frames.len()));
    stack
}

/// Whether a stack ends in the guest's page to which code in ring 3 returns: it returns to the first byte of
/// a page, as no call does.
fn is_ring3_return(end: StackEnd) -> bool {
    matches!(end, StackEnd::OutsideModules { address } if address >= WINDOW_START && address % PAGE_BYTES == 0)
}

/// How many frames lie before the gate through which the guest entered loaded code.
fn entry(frames: &[NamedFrame]) -> usize {
    let is_gate = |frame: &NamedFrame| {
        frame.extension.is_none()
            && frame.symbol.as_ref().is_some_and(|symbol| symbol.starts_with(ENTRY_GATE_PREFIX))
    };
    frames.iter().position(is_gate).unwrap_or(frames.len())
}

/// Whether a source file belongs to Rust's libraries, a crate, or the guest's API rather than to an extension.
fn is_library(file: &str) -> bool {
    file.starts_with("/rustc/") || file.contains("/registry/src/") || file.contains("/uio-extension/src/")
}

/// The source line with a mark, if the file is at hand.
fn source(place: &SourceLocation, style: Style) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(&place.file).ok()?;
    let line = text.lines().nth(place.line.checked_sub(1)? as usize)?.replace('\t', "    ");
    let number = place.line.to_string();
    let bar = style.hint(&format!("{} |", " ".repeat(number.len())));
    let mut lines = vec![bar.clone(), format!("{} {line}", style.hint(&format!("{number} |")))];
    let mark = (place.column as usize).checked_sub(1).filter(|column| *column <= line.len());
    lines.extend(mark.map(|column| format!("{bar} {}{}", " ".repeat(column), style.error("^"))));
    Some(lines)
}

fn cause(cause: &Cause) -> String {
    match cause {
        Cause::Access { address, attempt, denial, owner } => {
            access(address.0, *attempt, *denial, owner.as_deref())
        }
        Cause::Exception(exception) => exception_text(*exception).to_owned(),
        Cause::Budget { budget_ms } => format!("used up its budget of {budget_ms} ms of CPU time"),
        Cause::Interrupted => "was interrupted".into(),
        Cause::Gate { argument: Some(argument), reason } => {
            format!("passed a bad argument {} to a gate: {reason}", argument + 1)
        }
        Cause::Gate { argument: None, reason } => format!("used a gate against its contract: {reason}"),
        Cause::BadFree { address } => format!("freed {address}, which is not an allocated block"),
        Cause::GateDepth => "nested calls through gates too deeply".into(),
        Cause::Abort { message } if message.is_empty() => "aborted".into(),
        Cause::Abort { message } => format!("aborted: {message}"),
        Cause::GateTampered => "tried to lift its isolation".into(),
        Cause::InterruptsOff => "kept interrupts off until the watchdog ended it".into(),
    }
}

fn access(address: u64, attempt: Attempt, denial: Denial, owner: Option<&str>) -> String {
    let verb = match attempt {
        Attempt::Read => "read from",
        Attempt::Write => "wrote to",
        Attempt::Execute => "jumped to",
    };
    if denial == Denial::StackGuard {
        return "overflowed its stack".into();
    }
    // The first page is where null pointers and their fields point.
    if address < 4096 {
        return match attempt {
            Attempt::Execute => "called a null function pointer".into(),
            _ if address == 0 => format!("{verb} a null pointer"),
            _ => format!("{verb} a null pointer (field at offset {address:#x})"),
        };
    }
    match owner {
        Some(owner) => format!("{verb} memory that is not its own: {owner}"),
        None => format!("{verb} {address:#x}, where nothing is mapped"),
    }
}

fn denied(denial: Denial) -> String {
    match denial {
        Denial::NotMapped => "no page is mapped there".into(),
        Denial::Protection => "the page does not allow that".into(),
        Denial::Key(key) => format!("the page has protection key {key}, which its domain may not use so"),
        Denial::StackGuard => "the guard page below the stack".into(),
        Denial::Supervisor => "a page of the kernel, out of reach from ring 3".into(),
    }
}

fn exception_text(exception: Exception) -> &'static str {
    match exception {
        Exception::Divide => "divided by zero (or the quotient did not fit)",
        Exception::Debug => "hit a debug trap",
        Exception::Breakpoint => "hit a breakpoint instruction",
        Exception::Bounds => "failed a bounds check",
        Exception::InvalidOpcode => "executed an invalid instruction",
        Exception::Stack => "accessed its stack at an impossible address",
        Exception::GeneralProtection(_) => {
            "executed a privileged or misaligned instruction, or used an impossible address"
        }
        Exception::X87 | Exception::Simd => "raised a floating-point exception",
        Exception::Alignment => "accessed memory at a misaligned address",
        Exception::Other(_) => "raised an unexpected processor exception",
    }
}

fn cause_name(cause: &Cause) -> String {
    match cause {
        Cause::Access { attempt: Attempt::Read, .. } => "read".into(),
        Cause::Access { attempt: Attempt::Write, .. } => "write".into(),
        Cause::Access { attempt: Attempt::Execute, .. } => "execute".into(),
        Cause::Exception(exception) => {
            format!("{exception:?}").split('(').next().unwrap_or_default().to_lowercase()
        }
        Cause::Budget { .. } => "budget".into(),
        Cause::Interrupted => "interrupted".into(),
        Cause::Gate { .. } => "gate".into(),
        Cause::BadFree { .. } => "bad_free".into(),
        Cause::GateDepth => "gate_depth".into(),
        Cause::Abort { .. } => "abort".into(),
        Cause::GateTampered => "gate_tampered".into(),
        Cause::InterruptsOff => "interrupts_off".into(),
    }
}

fn hint(cause: &Cause) -> Option<&'static str> {
    Some(match cause {
        Cause::Access { denial: Denial::StackGuard, .. } => {
            "recursion without end, or large local arrays; allocate them with `uio_alloc`"
        }
        Cause::Access { attempt: Attempt::Write, denial: Denial::Key(_), .. } => {
            "write foreign memory with `uio_write`, or load with `--isolation none` if you trust the code"
        }
        Cause::Access { denial: Denial::Key(_) | Denial::Supervisor, .. } => {
            "`mem` shows who owns what; `feature exports` lists the functions that reach further"
        }
        Cause::Access { attempt: Attempt::Execute, .. } => {
            "a function pointer was never set or was overwritten"
        }
        Cause::Budget { .. } => "give more with `run --budget MS`, or 0 for no limit",
        Cause::Exception(Exception::GeneralProtection(_)) => {
            "privileged instructions are not for extensions; SSE operands have to be 16-byte aligned"
        }
        Cause::Exception(Exception::InvalidOpcode) => {
            "`__builtin_trap`, unreachable code, or a CPU feature that this machine lacks"
        }
        Cause::Gate { .. } => "`feature exports` shows the prototypes",
        Cause::BadFree { .. } => "freed twice, or not from `uio_alloc`",
        Cause::GateDepth => "a callback calls the gate that calls it",
        Cause::InterruptsOff | Cause::GateTampered => {
            "`--isolation ring3` makes such instructions fault at once"
        }
        _ => return None,
    })
}

fn register_values(r: &Registers) -> [(&'static str, u64); 18] {
    [
        ("rax", r.rax),
        ("rbx", r.rbx),
        ("rcx", r.rcx),
        ("rdx", r.rdx),
        ("rsi", r.rsi),
        ("rdi", r.rdi),
        ("rbp", r.rbp),
        ("rsp", r.rsp),
        ("r8", r.r8),
        ("r9", r.r9),
        ("r10", r.r10),
        ("r11", r.r11),
        ("r12", r.r12),
        ("r13", r.r13),
        ("r14", r.r14),
        ("r15", r.r15),
        ("rip", r.rip),
        ("rflags", r.rflags),
    ]
}

fn registers(registers: &Registers) -> Vec<String> {
    register_values(registers)
        .chunks(4)
        .map(|row| {
            let cells: Vec<String> =
                row.iter().map(|(name, value)| format!("{name:>6} {value:016x}")).collect();
            cells.join(" ")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use uio_protocol::GuestAddress;

    use super::*;

    fn report(cause: Cause) -> FaultReport {
        let registers = Registers { rip: 0xffff_ffff_c000_0010, ..Registers::default() };
        FaultReport { extension: None, cause, registers, stack: vec![], gate: None }
    }

    #[test]
    fn headlines() {
        let access = |address, attempt, denial, owner: Option<&str>| Cause::Access {
            address: GuestAddress(address),
            attempt,
            denial,
            owner: owner.map(str::to_owned),
        };
        for (cause, text) in [
            (access(0, Attempt::Read, Denial::NotMapped, None), "extension `x` read from a null pointer"),
            (
                access(8, Attempt::Write, Denial::NotMapped, None),
                "extension `x` wrote to a null pointer (field at offset 0x8)",
            ),
            (
                access(0, Attempt::Execute, Denial::NotMapped, None),
                "extension `x` called a null function pointer",
            ),
            (
                access(0x5000, Attempt::Write, Denial::Key(1), Some("application data")),
                "extension `x` wrote to memory that is not its own: application data",
            ),
            (access(0x5000, Attempt::Write, Denial::StackGuard, None), "extension `x` overflowed its stack"),
            (Cause::Budget { budget_ms: 1000 }, "extension `x` used up its budget of 1000 ms of CPU time"),
            (Cause::Abort { message: "no".into() }, "extension `x` aborted: no"),
        ] {
            assert_eq!(Fault::new(&report(cause), Some("x".into()), None).headline(), text);
        }
    }

    #[test]
    fn a_report_without_symbols_still_says_where() {
        let report = report(Cause::Exception(Exception::Divide));
        let text = Fault::new(&report, None, None).render(Style::PLAIN).join("\n");
        assert!(text.starts_with("fault: the called function divided by zero"));
        assert!(text.contains("--> 0xffffffffc0000010"));
        assert!(text.contains("rip ffffffffc0000010"));
    }
}
