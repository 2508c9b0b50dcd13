//! Calls, loops, tail calls, fuel, maps: what a program does beyond arithmetic.

mod support;

use std::sync::atomic::{AtomicU64, Ordering};

use support::{
    Quiet, all_options, assemble, bind, compile, executable, interpret, invocation, run_compiled,
    run_everywhere,
};
use uio_bpf::instruction::{Register, decode};
use uio_bpf::interpreter::{Access, AccessKind, Machine, Observer, Refusal, State, Unwatched};
use uio_bpf::invocation::{Invocation, Stopped};
use uio_bpf::jit::native::Compiled;
use uio_bpf::jit::{Options, Plan};
use uio_bpf::program::{
    ArrayLayout, BindError, Executable, FRAME_BYTES, HelperFunction, LOOP_TOO_LONG, MapBinding, Parts,
    Program, TAIL_CALL_FAILED, WRONG_ARGUMENT, functions_of,
};
use uio_protocol::bpf::ProgramKind;

/// Patches the 64-bit immediate load at `slot` to load the address of the function at `target`.
fn load_function(slots: &mut [u64], slot: usize, target: usize) {
    slots[slot] = slots[slot] & 0xffff | 4 << 12 | ((target - slot - 1) as u64) << 32;
    slots[slot + 1] = 0;
}

#[test]
fn functions_have_frames_of_their_own() {
    // Each of seven functions below the entry writes its frame and reads it after the call.
    let mut text = String::new();
    for depth in 0..8 {
        text.push_str(&format!("f{depth}:\nmov %r6, {depth}\nstxdw [%r10-512], %r6\nstxdw [%r10-8], %r6\n"));
        if depth < 7 {
            text.push_str(&format!("call local f{}\n", depth + 1));
        } else {
            text.push_str("mov %r0, 0\n");
        }
        text.push_str("ldxdw %r1, [%r10-512]\nldxdw %r2, [%r10-8]\nlsh %r0, 3\nadd %r0, %r1\n");
        text.push_str("add %r0, %r2\nsub %r0, %r6\nexit\n");
    }
    let executable = executable(&assemble(&text));
    assert_eq!(executable.depth(), 8);
    assert_eq!(run_everywhere(&executable, &[]), Ok(0o76543210));
}

#[test]
fn calls_that_are_too_deep_or_circular_are_refused() {
    let mut text = String::new();
    for depth in 0..8 {
        text.push_str(&format!("f{depth}:\ncall local f{}\nexit\n", depth + 1));
    }
    text.push_str("f8:\nexit\n");
    let operations = decode(&assemble(&text)).expect("decodes");
    assert!(matches!(try_bind(operations), Err(BindError::Depth { .. })));
    let circle = decode(&assemble("call local a\nexit\na:\ncall local b\nexit\nb:\ncall local a\nexit"));
    assert!(matches!(try_bind(circle.expect("decodes")), Err(BindError::Depth { .. })));
}

fn try_bind(operations: uio_bpf::instruction::Decoded) -> Result<Executable, BindError> {
    let functions = functions_of(&operations);
    Executable::new(Parts {
        kind: ProgramKind::Raw { memory_bytes: 0 },
        operations,
        functions,
        maps: Vec::new(),
        helpers: support::HELPERS,
        fuelled: Vec::new(),
    })
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let refused = |text: &str| try_bind(decode(&assemble(text)).expect("decodes")).err();
    assert_eq!(refused("call 99\nexit"), Some(BindError::Helper { slot: 0, number: 99 }));
    assert_eq!(refused("mov %r0, 0"), Some(BindError::End { slot: 0 }));
    assert_eq!(refused("jeq %r0, 0, -1"), Some(BindError::End { slot: 0 }));
    let across = "call local f\nja f\nf:\nexit";
    assert_eq!(refused(across), Some(BindError::Jump { slot: 1, target: 2 }));
    let no_map = decode(&[0x18 | 5 << 12, 0, 0x95]).expect("decodes");
    assert_eq!(try_bind(no_map).err(), Some(BindError::Map { slot: 0, map: 0 }));
    let no_value = decode(&[0x18 | 6 << 12, 0, 0x95]).expect("decodes");
    assert_eq!(try_bind(no_value).err(), Some(BindError::Map { slot: 0, map: 0 }));
    let mut many = Vec::new();
    for function in 0..65_u64 {
        many.extend([0x18 | 4 << 12 | (131 - function * 2 + function - 1) << 32, 0]);
    }
    many.extend([0x95; 66]);
    let many = decode(&many).expect("decodes");
    assert_eq!(try_bind(many).err(), Some(BindError::Taken { slot: 128 }));
    let forward = decode(&assemble("ja 0\nexit")).expect("decodes");
    let functions = functions_of(&forward);
    let parts = Parts {
        kind: ProgramKind::Timer,
        operations: forward,
        functions,
        maps: Vec::new(),
        helpers: support::HELPERS,
        fuelled: vec![0],
    };
    assert_eq!(Executable::new(parts).err(), Some(BindError::Fuel { slot: 0 }));
}

#[test]
fn helpers_get_all_arguments_and_the_run() {
    let text = "mov %r1, 1\nmov %r2, 2\nmov %r3, 3\nmov %r4, 4\nmov %r5, 5\ncall 7\nexit";
    let memory = [0; 48];
    let expected =
        [1, 2, 3, 4, 5, 48].iter().fold(7_u64, |sum, value| sum.rotate_left(9).wrapping_mul(31) ^ value);
    assert_eq!(run_everywhere(&executable(&assemble(text)), &memory), Ok(expected));
}

#[test]
fn loop_calls_until_told_to_end() {
    for (rounds, stop_at, flags, expected, sum) in [
        (5_u64, 100, 0, 5, 10),
        (5, 2, 0, 3, 3),
        (0, 0, 0, 0, 0),
        (1, 100, 0, 1, 0),
        (5, 0, 1, WRONG_ARGUMENT, 0),
        ((1 << 23) + 1, 0, 0, LOOP_TOO_LONG, 0),
        // Only the low half counts.
        ((7 << 32) + 2, 100, 0, 2, 1),
    ] {
        // The callback adds its index to memory behind its context.
        let text = format!(
            "mov %r6, %r1
             stdw [%r1+0], 0
             mov %r7, 77
             lddw %r1, {rounds}
             lddw %r2, 0
             mov %r3, %r6
             mov %r4, {flags}
             call 181
             jne %r7, 77, wrong
             exit
             wrong:
             mov %r0, -1
             exit
             mov %r7, 1
             ldxdw %r3, [%r2+0]
             add %r3, %r1
             stxdw [%r2+0], %r3
             mov %r0, 0
             jne %r1, {stop_at}, out
             mov %r0, 1
             out:
             exit"
        );
        let mut slots = assemble(&text);
        let load = slots.iter().position(|slot| slot & 0xffff == 0x0218).expect("there");
        let callback = slots.iter().position(|slot| *slot == 0x0000_0001_0000_07b7).expect("there");
        load_function(&mut slots, load, callback);
        let executable = executable(&slots);
        assert_eq!(run_everywhere(&executable, &[0; 8]), Ok(expected), "{rounds} {flags}");
        let mut memory = [0; 8];
        assert_eq!(interpret(&executable, &mut memory), Ok(expected));
        assert_eq!(u64::from_le_bytes(memory), sum, "{rounds}");
    }
}

#[test]
fn calls_through_registers_reach_only_functions_whose_address_is_loaded() {
    let text = "mov %r7, %r1
        lddw %r6, 0
        jeq %r2, 0, other
        mov %r6, %r2
        other:
        mov %r1, 20
        call %r6
        exit
        mov %r0, %r1
        add %r0, 1
        exit";
    let mut slots = assemble(text);
    let callee = slots.len() - 3;
    load_function(&mut slots, 1, callee);
    let operations = decode(&slots).expect("decodes");
    let executable = try_bind(operations).expect("binds");
    assert_eq!(run_everywhere(&executable, &[]), Ok(21));
    // R2 is the size of the memory: no function.
    assert_eq!(run_everywhere(&executable, &[0; 5]), Err(Stopped::Callee));
}

#[test]
fn fuel_ends_loops_where_it_is_asked_for() {
    for text in [
        "mov %r0, 0\nagain:\nadd %r0, 1\nja again\nexit",
        "mov %r0, 0\nagain:\nadd %r0, 1\njne %r0, 0, again\nexit",
        // In a function, with registers to restore.
        "mov %r6, 1\ncall local f\nexit\nf:\nmov %r7, 1\nmov %r8, 1\nstdw [%r10-8], 0\nagain:\njne %r7, 0, again\nexit",
    ] {
        let slots = assemble(text);
        let backward = decode(&slots).expect("decodes");
        let slot = backward
            .iter()
            .find(|(slot, operation)| match operation {
                uio_bpf::instruction::Operation::Jump { target }
                | uio_bpf::instruction::Operation::JumpIf { target, .. } => target <= slot,
                _ => false,
            })
            .expect("there")
            .0;
        assert_eq!(run_everywhere(&bind(&slots, vec![slot]), &[]), Err(Stopped::Fuel), "{text}");
    }
    // As many rounds as there is fuel.
    let slots = assemble("mov %r0, 0\nagain:\nadd %r0, 1\njlt %r0, 100, again\nexit");
    let executable = bind(&slots, vec![2]);
    for (fuel, expected) in [(99, Ok(100)), (98, Err(Stopped::Fuel))] {
        let run = invocation(&mut []);
        run.fuel.set(fuel);
        // SAFETY: the program touches no memory.
        assert_eq!(unsafe { Machine::new().run(&executable, &run, &mut Unwatched) }, expected);
        for options in all_options() {
            let run = invocation(&mut []);
            run.fuel.set(fuel);
            // SAFETY: as above.
            assert_eq!(unsafe { compile(&executable, &options).run(&run) }, expected);
        }
    }
}

/// A caller that needs its callee-saved registers back, whatever way the run ends.
#[test]
fn a_stopped_run_restores_the_callers_registers() {
    let text = "mov %r6, -1\nmov %r7, -1\ncall local f\nexit\nf:\nmov %r8, -1\nmov %r9, -1\nagain:\nja again";
    let slots = assemble(text);
    let executable = bind(&slots, vec![slots.len() as u32 - 1]);
    let compiled = compile(&executable, &Options::plain());
    let run = invocation(&mut []);
    let [mut rbx, mut r12, mut r14, mut r15] = [1_u64, 2, 3, 4];
    // SAFETY: calls the code as its signature says, with everything declared that it may change. RBX is kept for the
    // compiler by hand.
    unsafe {
        std::arch::asm!(
            "push rbx", "push rbp", "mov rbp, rsp", "and rsp, -16",
            "mov rbx, rcx", "call rax", "mov rcx, rbx",
            "mov rsp, rbp", "pop rbp", "pop rbx",
            inout("rax") compiled.address() => _, inout("rcx") rbx, in("rdi") 0, in("rsi") 0, in("rdx") &raw const run,
            inout("r12") r12, inout("r14") r14, inout("r15") r15,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            clobber_abi("sysv64"),
        );
    }
    assert_eq!([rbx, r12, r14, r15], [1, 2, 3, 4]);
}

static TAIL_TARGET: AtomicU64 = AtomicU64::new(0);

/// Finds the program at index 1 of any map.
unsafe extern "sysv64" fn find_program(
    _: u64,
    _: u64,
    index: u64,
    _: u64,
    _: u64,
    _: *const Invocation<'_>,
) -> u64 {
    if index == 1 { TAIL_TARGET.load(Ordering::SeqCst) } else { 0 }
}

static TAIL_HELPERS: &[(u32, HelperFunction)] = &[(12, find_program)];

fn bind_tail(text: &str) -> Executable {
    let operations = decode(&assemble(text)).expect("decodes");
    let functions = functions_of(&operations);
    Executable::new(Parts {
        kind: ProgramKind::Raw { memory_bytes: 16 },
        operations,
        functions,
        maps: Vec::new(),
        helpers: TAIL_HELPERS,
        fuelled: Vec::new(),
    })
    .expect("binds")
}

#[test]
fn tail_calls_go_on_in_another_program_and_come_to_an_end() {
    // Counts itself in memory and goes on in itself.
    let counting = "mov %r6, %r1
        jne %r2, 16, wrong
        ldxdw %r7, [%r1]
        add %r7, 1
        stxdw [%r1], %r7
        stdw [%r10-200], 1
        mov %r3, 1
        call 12
        stxdw [%r6+8], %r0
        mov %r0, %r7
        exit
        wrong:
        mov %r0, -1
        exit";
    let starting = "mov %r9, %r1\nmov %r3, 1\ncall 12\nmov %r0, -2\nexit";
    let missing = "mov %r3, 2\ncall 12\nexit";
    let mut memory = [0_u64; 2];
    let address = memory.as_mut_ptr().expose_provenance() as u64;
    let new_run = || Invocation::new(ProgramKind::Raw { memory_bytes: 16 }, address, 16, &Quiet);
    let mut check = |run: &dyn Fn(&Executable, &Invocation<'_>) -> Result<u64, Stopped>| {
        memory = [0; 2];
        // 33 tail calls, and in the last program another one that fails.
        assert_eq!(run(&bind_tail(starting), &new_run()), Ok(33));
        assert_eq!(memory, [33, TAIL_CALL_FAILED]);
        assert_eq!(run(&bind_tail(missing), &new_run()), Ok(TAIL_CALL_FAILED));
    };
    let program = Program::interpreted(bind_tail(counting));
    TAIL_TARGET.store((&raw const program).expose_provenance() as u64, Ordering::SeqCst);
    check(&|executable, run| {
        // SAFETY: the programs stay inside their 16 bytes of memory and their stack.
        unsafe { Machine::new().run(executable, run, &mut Unwatched) }
    });
    for options in all_options() {
        let program = compile(&bind_tail(counting), &options);
        TAIL_TARGET.store((&raw const *program.program()).expose_provenance() as u64, Ordering::SeqCst);
        check(&|executable, run| {
            // SAFETY: as above.
            unsafe { compile(executable, &options).run(run) }
        });
    }
    // Compiled code does not go on in a program that is not compiled.
    let interpreted = Program::interpreted(bind_tail(counting));
    TAIL_TARGET.store((&raw const interpreted).expose_provenance() as u64, Ordering::SeqCst);
    let compiled = compile(&bind_tail("mov %r3, 1\ncall 12\nexit"), &Options::plain());
    // SAFETY: as above.
    assert_eq!(unsafe { compiled.run(&new_run()) }, Ok(TAIL_CALL_FAILED));
    let inside = decode(&assemble("call local f\nexit\nf:\ncall 12\nexit")).expect("decodes");
    let functions = functions_of(&inside);
    let parts = Parts {
        kind: ProgramKind::Timer,
        operations: inside,
        functions,
        maps: Vec::new(),
        helpers: TAIL_HELPERS,
        fuelled: Vec::new(),
    };
    assert_eq!(Executable::new(parts).err(), Some(BindError::TailCall { slot: 2 }));
}

/// A map in the tests is an [`ArrayLayout`].
unsafe extern "sysv64" fn lookup(
    map: u64,
    key: u64,
    _: u64,
    _: u64,
    _: u64,
    _: *const Invocation<'_>,
) -> u64 {
    // SAFETY: the tests' programs hand over the address of a layout and of a key.
    let (array, index) = unsafe {
        (
            *std::ptr::with_exposed_provenance::<ArrayLayout>(map as usize),
            std::ptr::with_exposed_provenance::<u32>(key as usize).read_unaligned(),
        )
    };
    if index < array.entries { array.base + u64::from(index) * u64::from(array.stride) } else { 0 }
}

static MAP_HELPERS: &[(u32, HelperFunction)] = &[(1, lookup), (5, support::identity)];

fn bind_map(slots: &[u64], array: &ArrayLayout, is_inlined: bool) -> Executable {
    let operations = decode(slots).expect("decodes");
    let functions = functions_of(&operations);
    let map = MapBinding {
        address: (&raw const *array).expose_provenance() as u64,
        array: is_inlined.then_some(*array),
        lookup: None,
        owner: None,
    };
    Executable::new(Parts {
        kind: ProgramKind::Raw { memory_bytes: 0 },
        operations,
        functions,
        maps: vec![map],
        helpers: MAP_HELPERS,
        fuelled: Vec::new(),
    })
    .expect("binds")
}

/// Puts the map into the only 64-bit immediate load.
fn with_map(text: &str) -> Vec<u64> {
    let mut slots = assemble(text);
    for slot in &mut slots {
        if *slot as u8 == 0x18 {
            *slot |= 5 << 12;
        }
    }
    slots
}

#[test]
fn lookups_in_arrays_are_those_of_the_helper() {
    let programs = [
        // The index is memory's size: not known.
        "stxw [%r10-4], %r2\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, 0\ncall 1\nexit",
        "stxw [%r10-4], %r2\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, 0\ncall 1\njeq %r0, 0, out\nldxb %r0, [%r0]\nexit\nout:\nmov %r0, 777\nexit",
        "stxw [%r10-4], %r2\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, 0\ncall 1\njne %r0, 0, in\nmov %r0, 777\nexit\nin:\nldxb %r0, [%r0]\nexit",
        // A jump to the check.
        "stxw [%r10-4], %r2\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, 0\njeq %r2, 0, 1\ncall 1\njeq %r0, 0, out\nldxb %r0, [%r0]\nexit\nout:\nmov %r0, 777\nexit",
    ];
    for (entries, stride) in [(4, 8), (4, 1), (5, 24), (1, 64), (0, 8), (3, 3), (200, 2)] {
        let values: Vec<u8> = (0..entries * stride).map(|byte| byte as u8).collect();
        let base = values.as_ptr().expose_provenance() as u64;
        let array = ArrayLayout { base, stride, entries };
        for text in programs {
            for index in [0, 1, 2, 3, 4, 5, 199, 200] {
                let memory = vec![0; index];
                let called = run_everywhere(&bind_map(&with_map(text), &array, false), &memory);
                let inlined = run_everywhere(&bind_map(&with_map(text), &array, true), &memory);
                assert_eq!(called, inlined, "{entries} {stride} {index} {text}");
            }
        }
    }
}

#[test]
fn lookups_of_known_entries_are_those_of_the_helper() {
    let ends = [
        "exit",
        "jeq %r0, 0, out\nldxb %r0, [%r0]\nexit\nout:\nmov %r0, 777\nexit",
        "jne %r0, 0, in\nmov %r0, 777\nexit\nin:\nldxb %r0, [%r0]\nexit",
        "jne %r0, 0, 0\nexit",
    ];
    let starts = [
        "stw [%r10-4], INDEX\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, 0\ncall 1\n",
        "mov %r1, INDEX\nstxw [%r10-4], %r1\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, 0\ncall 1\n",
        "stdw [%r10-8], INDEX\nlddw %r1, 0\nmov %r2, %r10\nadd %r2, -8\ncall 1\n",
        // Overwritten in part, and by somebody else.
        "stw [%r10-4], INDEX\nstb [%r10-3], 1\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, 0\ncall 1\n",
        "stw [%r10-4], INDEX\nmov %r3, %r10\nadd %r3, -2\nsth [%r3+0], 1\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, 0\ncall 1\n",
        "stw [%r10-4], INDEX\nmov %r6, %r10\nmov %r1, 4\ncall 5\nsub %r6, %r0\nstw [%r6+0], 2\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, 0\ncall 1\n",
        "stw [%r10-4], INDEX\nmov %r3, 1\nlock add32 [%r10-4], %r3\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, 0\ncall 1\n",
        // Twice.
        "stw [%r10-4], INDEX\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, 0\ncall 1\nmov %r6, %r0\nmov %r2, %r10\nadd %r2, -4\nlddw %r1, 0\ncall 1\nsub %r6, %r0\nadd %r0, %r6\n",
    ];
    let values = [7_u8; 64];
    let base = values.as_ptr().expose_provenance() as u64;
    let array = ArrayLayout { base, stride: 8, entries: 4 };
    for start in starts {
        for end in ends {
            for index in [0, 1, 3, 4, -1] {
                let text = format!("{start}{end}").replace("INDEX", &index.to_string());
                let called = run_everywhere(&bind_map(&with_map(&text), &array, false), &[]);
                let inlined = run_everywhere(&bind_map(&with_map(&text), &array, true), &[]);
                assert_eq!(called, inlined, "{text}");
            }
        }
    }
}

#[test]
fn values_of_arrays_have_addresses() {
    let values = [1_u64, 2];
    let array = ArrayLayout { base: values.as_ptr().expose_provenance() as u64, stride: 16, entries: 1 };
    // r1 = value + 8; r0 = *r1
    let slots = [0x0118 | 6 << 12, 8 << 32, 0x1079, 0x95];
    assert_eq!(run_everywhere(&bind_map(&slots, &array, true), &[]), Ok(2));
}

/// Refuses accesses outside memory and stack, and counts instructions.
struct Guard {
    allowed: Vec<std::ops::Range<u64>>,
    instructions: usize,
}

impl Observer for Guard {
    fn instruction(&mut self, state: &State<'_>) -> Result<(), Refusal> {
        self.instructions += 1;
        assert!(state.executable.operations().get(state.slot).is_some());
        assert_ne!(state.register(Register::FRAME), 0);
        Ok(())
    }

    fn access(&mut self, _: &State<'_>, access: Access) -> Result<(), Refusal> {
        let end = access.address.checked_add(u64::from(access.bytes)).ok_or(Refusal)?;
        let inside = self.allowed.iter().any(|range| range.start <= access.address && end <= range.end);
        let is_readable = access.kind == AccessKind::Read || access.address >= self.allowed[1].start;
        if inside && is_readable { Ok(()) } else { Err(Refusal) }
    }
}

#[test]
fn observers_see_every_instruction_and_may_refuse() {
    for (text, expected, instructions) in [
        ("mov %r0, 1\nstxdw [%r10-8], %r0\nldxdw %r0, [%r10-8]\nexit", Ok(1), 4),
        ("stdw [%r10+0], 1\nexit", Err(Stopped::Refused), 1),
        ("mov %r0, 0\nldxdw %r0, [%r0]\nexit", Err(Stopped::Refused), 2),
        ("lock add [%r10-4], %r10\nexit", Err(Stopped::Refused), 1),
        ("call local f\nexit\nf:\nldxb %r0, [%r10-512]\nmov %r0, 3\nexit", Ok(3), 5),
    ] {
        let mut machine = Machine::new();
        let stack = machine.stack();
        assert_eq!(stack.end - stack.start, 8 * FRAME_BYTES as u64);
        let mut guard = Guard { allowed: vec![0..0, stack], instructions: 0 };
        let run = invocation(&mut []);
        // SAFETY: the guard refuses whatever is not the program's.
        let result = unsafe { machine.run(&executable(&assemble(text)), &run, &mut guard) };
        assert_eq!((result, guard.instructions), (expected, instructions), "{text}");
    }
}

#[test]
fn large_constants_do_not_stand_in_blinded_code() {
    let text = "lddw %r1, 0x1122334455667788
        mov %r2, 0x11223344
        mov32 %r3, 0x11223344
        add %r2, 0x11223344
        xor32 %r2, 0x11223344
        mul %r2, 0x11223344
        div %r2, 0x11223344
        jeq %r2, 0x11223344, 0
        jset32 %r2, 0x11223344, 0
        stdw [%r10-8], 0x11223344
        stw [%r10-8], 0x11223344
        mov %r0, %r2
        exit";
    let executable = executable(&assemble(text));
    let holds = |compiled: &Compiled, bytes: &[u8]| {
        compiled.bytes().windows(bytes.len()).any(|window| window == bytes)
    };
    let constant = 0x11223344_u32.to_le_bytes();
    let plain = compile(&executable, &Options::plain());
    assert!(holds(&plain, &constant) && holds(&plain, &0x1122334455667788_u64.to_le_bytes()));
    for seed in 0..100 {
        let blinded = compile(&executable, &Options::blinded(seed));
        assert!(!holds(&blinded, &constant) && !holds(&blinded, &0x1122334455667788_u64.to_le_bytes()));
        assert!(!holds(&blinded, &constant[1..]) && !holds(&blinded, &[0x88, 0x77, 0x66]));
    }
}

#[test]
fn forbidden_bytes_are_written_otherwise() {
    // As a constant, an offset, a constant stored, and a jump's distance.
    let mut far = String::from("mov %r0, 0\njeq %r0, 1, far\n");
    for _ in 0..0x300f / 7 + 200 {
        far.push_str("mov %r1, 70000\n");
    }
    far.push_str("far:\nexit");
    for text in [
        "mov %r0, 0x300f\nexit",
        "mov %r0, 0x00ef010f\nexit",
        "lddw %r0, 0x0011ef010f223344\nexit",
        "stw [%r10-4], 0x2fae0f\nldxw %r0, [%r10-4]\nexit",
        "lddw %r0, 0x1fc70f00000000\nexit",
        "mov %r0, 1\nadd %r0, 0x300f\nsub32 %r0, 0x300f\nmul %r0, 0x300f\nand %r0, 0x300f\njeq %r0, 0x300f, 0\nexit",
        "sub %r1, 12000\nsub %r1, 303\nldxb %r0, [%r1+0x300f]\nstxb [%r1+0x300f], %r0\nstb [%r1+0x300f], 15\nlock add [%r1+0x300f], %r0\nlock fetch or [%r1+0x300f], %r0\nexit",
        &far,
    ] {
        let executable = executable(&assemble(text));
        // The check is in `compile`.
        run_everywhere(&executable, &[1; 16]).expect("ends");
        let _ = run_compiled(&compile(&executable, &Options::plain()), &mut [1; 16]);
    }
    for bytes in 1700..1900 {
        let mut text = String::from("mov %r0, 0\njeq %r0, 1, far\n");
        for _ in 0..bytes {
            text.push_str("mov %r1, 70000\n");
        }
        text.push_str("far:\nexit");
        compile(&executable(&assemble(&text)), &Options::plain());
    }
}

#[test]
fn offsets_name_where_each_instructions_code_starts() {
    let slots =
        assemble("mov %r0, 1\nlddw %r1, 0x1234567812345678\nmov %r2, %r1\nadd %r2, 5\nadd %r0, %r2\nexit");
    let executable = executable(&slots);
    let compiled = compile(&executable, &Options::plain());
    let offsets = &compiled.code().offsets;
    assert_eq!(offsets.len(), slots.len());
    assert!(offsets.is_sorted());
    let mut decoder = iced_x86::Decoder::new(64, compiled.bytes(), iced_x86::DecoderOptions::NONE);
    let starts: Vec<u32> = decoder.iter().map(|instruction| instruction.ip() as u32).collect();
    assert!(offsets.iter().all(|offset| starts.contains(offset)));
    assert_eq!(compiled.bytes()[offsets[6] as usize], 0xc3);
}

#[test]
fn small_programs_touch_nothing_they_do_not_need() {
    let code = |text: &str| compile(&executable(&assemble(text)), &Options::plain()).bytes().to_vec();
    // mov eax, 2; ret
    assert_eq!(code("mov %r0, 2\nexit"), [0xb8, 2, 0, 0, 0, 0xc3]);
    // A leaf keeps its stack below the stack pointer: mov qword [rsp-8], 1; mov rax, [rsp-8]; ret
    assert_eq!(
        code("stdw [%r10-8], 1\nldxdw %r0, [%r10-8]\nexit"),
        [0x48, 0xc7, 0x44, 0x24, 0xf8, 1, 0, 0, 0, 0x48, 0x8b, 0x44, 0x24, 0xf8, 0xc3]
    );
    // One preserved register in a leaf costs nothing either: mov r9, rdi; mov rax, r9; ret
    assert_eq!(code("mov %r6, %r1\nmov %r0, %r6\nexit"), [0x49, 0x89, 0xf9, 0x4c, 0x89, 0xc8, 0xc3]);
}

#[test]
fn buffers_that_are_too_small_are_refused() {
    let executable = executable(&assemble("mov %r0, 2\nexit"));
    let plan = Plan::new(&executable, &Options::plain());
    let mut buffer = vec![0; plan.bytes_bound() - 1];
    assert!(plan.emit(&mut buffer, 0x1000).is_err());
    buffer.push(0);
    assert_eq!(plan.emit(&mut buffer, 0x1000).expect("fits").bytes, 6);
}
