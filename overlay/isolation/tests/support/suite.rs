//! What holds with every backend. Each test takes the mode of its program.

use uio_isolation::domain::{Domain, ReadPolicy};
use uio_isolation::gate::{self, EnterError, Settled};
use uio_isolation::pkru::{self, Pkru, ProtectionKey};
use uio_isolation::scan::{Forbidden, Policy, scan};
use uio_protocol::limits::GATE_DEPTH_MAX;

use super::domain_code::{self as code, at};
use super::signals::{self, expected_code, take_fault};
use super::*;

const ABORTED_BY_FAULT: Result<u64, EnterError> = Err(EnterError::Aborted { code: FAULT });

pub fn arguments_and_result_pass_through_enter(mode: Mode) {
    let (env, _guard) = env(mode);
    let result = env.enter_a(at::dom_weighted_sum(), [1, 10, 100, 1000, 10_000, 1 << 40]);
    assert_eq!(result, Ok(1 + 20 + 300 + 4000 + 50_000 + (6 << 40)));
    assert!(!env.context.in_domain() && !env.context.in_gate());
    assert_eq!((env.context.depth(), env.context.domain_pkru()), (0, None));
}

pub fn a_call_through_a_gate_carries_six_arguments(mode: Mode) {
    let (env, _guard) = env(mode);
    let result = env.enter_a(at::dom_call_six(), [env.stub(gates::ECHO), 0, 0, 0, 0, 0]);
    assert_eq!(result, Ok(ECHO_RESULT));
    let call = LAST_CALL.lock().unwrap().expect("the gate was called");
    assert_eq!(call.args, [11, 22, 33, 44, 55, 66]);
    assert_eq!(call.gate_index, u64::from(gates::ECHO));
    assert!(env.stack_a.contains(call.domain_rsp), "{call:x?}");
    let function = at::dom_call_six()..at::dom_call_three();
    assert!(function.contains(&call.return_address), "{call:x?}");
    assert_eq!(env.context.call(), None);
}

pub fn a_store_reaches_own_and_exchange_pages_only(mode: Mode) {
    let (env, _guard) = env(mode);
    for pages in [&env.own, &env.exchange] {
        assert_eq!(env.enter_a(at::dom_store(), [pages.start(), 42, 0, 0, 0, 0]), Ok(1));
        assert_eq!(pages.read(0), 42);
    }
    for pages in [&env.kernel, &env.application, &env.other] {
        let result = env.enter_a(at::dom_store(), [pages.start() + 8, 42, 0, 0, 0, 0]);
        if !mode.enforces() {
            assert_eq!((result, pages.read(8)), (Ok(1), 42), "without a backend nothing is denied");
            continue;
        }
        assert_eq!(result, ABORTED_BY_FAULT);
        assert!(pages.is_zero());
        let fault = take_fault();
        assert_eq!((fault.signal, fault.code), (libc::SIGSEGV, expected_code(mode)));
        assert_eq!((fault.address, fault.rip), (pages.start() + 8, at::dom_store()));
        assert!(fault.in_domain && !fault.in_gate);
    }
    assert_eq!(env.context.depth(), 0);
}

pub fn the_context_is_out_of_reach(mode: Mode) {
    let (env, _guard) = env(mode);
    let context = std::ptr::from_ref(env.context).addr() as u64;
    // Without a backend this would be a write to the host's own books.
    assert!(mode.enforces());
    for offset in (0..64).step_by(8) {
        assert_eq!(env.enter_a(at::dom_store(), [context + offset, 0, 0, 0, 0, 0]), ABORTED_BY_FAULT);
        assert_eq!(take_fault().address, context + offset);
    }
}

pub fn reading_follows_the_policy(mode: Mode) {
    let (env, _guard) = env(mode);
    env.application.write_bytes(0, &77_u64.to_le_bytes());
    let load = [env.application.start(), 0, 0, 0, 0, 0];
    assert_eq!(env.enter_a(at::dom_load(), load), Ok(77));
    let key = |number| ProtectionKey::new(number).unwrap();
    let secretive = Domain::new(key(KEY_A), ReadPolicy::OwnAnd(ProtectionKey::KERNEL)).unwrap();
    let result = env.enter_with(secretive.pkru(), at::dom_load(), load);
    assert_eq!(result, if mode.enforces() { ABORTED_BY_FAULT } else { Ok(77) });
    // Its gates work all the same.
    let result = env.enter_with(secretive.pkru(), at::dom_call_six(), [env.stub(gates::ECHO), 0, 0, 0, 0, 0]);
    assert_eq!(result, Ok(ECHO_RESULT));
}

pub fn domains_nest(mode: Mode) {
    let (env, _guard) = env(mode);
    let nest = env.stub(gates::NEST);
    // B stores into its own page; A gets 1 and stores that into its own.
    let result =
        env.enter_a(at::dom_nest(), [nest, env.own.start(), at::dom_store(), env.other.start(), 9, 0]);
    assert_eq!((result, env.own.read(0), env.other.read(0)), (Ok(1), 1, 9));
    if !mode.enforces() {
        return;
    }
    // B stores into A's page: B ends, A goes on with its own rights.
    let victim = env.own.start() + 64;
    let result = env.enter_a(at::dom_nest(), [nest, env.own.start(), at::dom_store(), victim, 9, 0]);
    assert_eq!((result, env.own.read(0), env.own.read(64)), (Ok(ABORTED | FAULT), ABORTED | FAULT, 0));
    // And A, after B's return, does not have B's rights.
    let result =
        env.enter_a(at::dom_nest(), [nest, env.other.start() + 8, at::dom_store(), env.other.start(), 9, 0]);
    assert_eq!((result, env.other.read(8)), (ABORTED_BY_FAULT, 0));
}

pub fn depth_is_limited(mode: Mode) {
    let (env, _guard) = env(mode);
    let recurse = env.stub(gates::RECURSE);
    let result = env.enter_a(at::dom_recurse(), [at::dom_recurse(), recurse, 0, 0, 0, 0]);
    let levels = GATE_DEPTH_MAX as u64;
    assert_eq!(result, Ok((DEPTH_EXCEEDED | levels) + (levels << 20)));
    assert_eq!(env.context.depth(), 0);
}

pub fn wrong_requests_are_errors(mode: Mode) {
    let (env, _guard) = env(mode);
    let entry = at::dom_weighted_sum();
    let pkru = env.domain_a.pkru();
    let top = env.stack_a.end() - 8;
    // SAFETY: refused before anything happens.
    let result = unsafe { gate::enter(env.context, entry, [0; 6], top, pkru) };
    assert_eq!(result, Err(EnterError::MisalignedStack { top }));
    let stranger = GateContext::new();
    // SAFETY: as above.
    let result = unsafe { gate::enter(&stranger, entry, [0; 6], env.stack_a.end(), pkru) };
    assert_eq!(result, Err(EnterError::NotCurrent));
    // SAFETY: nothing is entered, so it comes back.
    assert_eq!(unsafe { gate::abort(1) }.unwrap_err(), gate::NotEntered);
}

pub fn a_handler_can_abort(mode: Mode) {
    let (env, _guard) = env(mode);
    let result = env.enter_a(at::dom_call_six(), [env.stub(gates::ABORT), 0, 0, 0, 0, 0]);
    assert_eq!(result, Err(EnterError::Aborted { code: ON_REQUEST }));
    assert_eq!(env.enter_a(at::dom_weighted_sum(), [5, 0, 0, 0, 0, 0]), Ok(5));
}

pub fn a_kill_waits_for_the_gates_end(mode: Mode) {
    let (env, _guard) = env(mode);
    // The store after the gate does not happen.
    let kill = env.stub(gates::KILL);
    let result = env.enter_a(at::dom_nest(), [kill, env.own.start(), 0, 0, 0, 0]);
    assert_eq!((result, env.own.read(0)), (Err(EnterError::Aborted { code: KILLED }), 0));
    // Still pending: nothing is entered.
    let result = env.enter_a(at::dom_store(), [env.own.start(), 3, 0, 0, 0, 0]);
    assert_eq!((result, env.own.read(0)), (Err(EnterError::Aborted { code: KILLED }), 0));
    env.context.clear_kill();
    assert_eq!(env.enter_a(at::dom_store(), [env.own.start(), 3, 0, 0, 0, 0]), Ok(1));
}

pub fn nothing_of_the_hosts_is_left_in_registers(mode: Mode) {
    let (env, _guard) = env(mode);
    assert_eq!(env.enter_a(at::dom_scrubbed(), [env.stub(gates::DIRTY), 0, 0, 0, 0, 0]), Ok(0));
    code::dirty_registers();
    assert_eq!(env.enter_a(at::dom_clean_start(), [0; 6]), Ok(0));
}

pub fn callee_saved_registers_survive(mode: Mode) {
    let (env, guard) = env(mode);
    for gate in [gates::ECHO, gates::DIRTY] {
        assert_eq!(env.enter_a(at::dom_callee_saved(), [env.stub(gate), 0, 0, 0, 0, 0]), Ok(0));
    }
    extern "C" fn clobber() -> u64 {
        let env = ENV.get().unwrap();
        env.enter_a(at::dom_clobber(), [0; 6]).unwrap()
    }
    assert_eq!(code::callee_saved_across(clobber), 0x5a);
    extern "C" fn fault() -> u64 {
        let env = ENV.get().unwrap();
        fold(env.enter_a(at::dom_load(), [8, 0, 0, 0, 0, 0])) & 0xff
    }
    assert_eq!(code::callee_saved_across(fault), FAULT);
    drop(guard);
}

pub fn processor_state_is_restored_by_enter(mode: Mode) {
    let (env, _guard) = env(mode);
    let before = (code::mxcsr() & 0xffc0, code::x87_control());
    assert_eq!(env.enter_a(at::dom_clobber(), [0; 6]), Ok(0x5a));
    assert_eq!((code::mxcsr() & 0xffc0, code::x87_control()), before);
    assert_eq!(code::flags() & 0x400, 0, "DF");
    // A pending exception would be raised here.
    // SAFETY: waits for the x87 unit.
    unsafe { std::arch::asm!("fwait", "fninit") };
}

pub fn the_host_runs_with_its_own_processor_state(mode: Mode) {
    let (env, _guard) = env(mode);
    // Round toward zero, everything unmasked.
    const HOSTILE: u64 = 0x6000;
    let result = env.enter_a(at::dom_hostile_state(), [env.stub(gates::STATE), HOSTILE, 0, 0, 0, 0]);
    assert_eq!(result, Ok(HOSTILE), "the domain gets its own back");
    assert_eq!(HOST_MXCSR.load(Ordering::Relaxed) & 0xffc0, 0x1f80);
    assert_eq!(HOST_FLAGS.load(Ordering::Relaxed) & 0x44500, 0);
    assert_eq!(HOST_PKRU.load(Ordering::Relaxed), 0);
    let call = LAST_CALL.lock().unwrap().unwrap();
    assert_eq!(u64::from(call.mxcsr), HOSTILE);
    assert_ne!(call.rflags & 0x400, 0, "DF as the domain set it");
}

pub fn a_wild_stack_pointer_is_the_domains_fault(mode: Mode) {
    let (env, _guard) = env(mode);
    for rsp in [8, 0x7fff_ffff_0000, 0xdead_0000_0000_0000] {
        let result = env.enter_a(at::dom_wild_stack(), [env.stub(gates::ECHO), rsp, 0, 0, 0, 0]);
        assert_eq!(result, ABORTED_BY_FAULT, "{rsp:#x}");
        let fault = take_fault();
        assert_eq!(fault.rip, gate::text(mode.backend()).start);
        assert!(fault.in_domain);
    }
}

pub fn null_and_garbage_end_the_domain_only(mode: Mode) {
    let (env, _guard) = env(mode);
    for entry in [0, 0xdead_beef, 0xdead_0000_0000_0000] {
        assert_eq!(env.enter_a(entry, [0; 6]), ABORTED_BY_FAULT);
        assert!(take_fault().in_domain);
    }
}

/// Outside of ring 0 they would stop the host's own code as well.
pub fn alignment_checks_end_with_the_domain(mode: Mode) {
    let (env, _guard) = env(mode);
    assert_eq!(env.enter_a(at::dom_alignment_check(), [0; 6]), ABORTED_BY_FAULT);
    assert!(take_fault().in_domain);
    assert_eq!(code::flags() & 1 << 18, 0);
}

/// Bytes of the gates' text.
fn text(mode: Mode) -> (u64, &'static [u8]) {
    let range = gate::text(mode.backend());
    // SAFETY: the program's own text.
    let bytes =
        unsafe { std::slice::from_raw_parts(range.start as *const u8, (range.end - range.start) as usize) };
    (range.start, bytes)
}

pub fn the_gates_hold_the_writes_that_are_accounted_for(mode: Mode) {
    let (_env, _guard) = env(mode);
    let expected: &[Forbidden] = match mode {
        Mode::None => &[],
        Mode::Pku | Mode::EmulatedPku => &[Forbidden::Wrpkru; 6],
        Mode::EmulatedPks => &[Forbidden::Wrmsr; 6],
    };
    let found: Vec<_> = scan(text(mode).1, Policy::Ring0Strict).map(|finding| finding.instruction).collect();
    assert_eq!(found, expected);
}

/// Jumps from domain A to `target`, and says what came of it. The stack holds nothing but addresses of code that then
/// tries to write `victim`.
fn jump(env: &Env, target: u64, eax: u32, ecx: u32, others: u64, victim: u64) -> Result<u64, EnterError> {
    for word in 0..64 {
        env.stack_a.write_bytes(0x4000 + word * 8, &at::dom_landing().to_le_bytes());
    }
    let top = env.stack_a.end();
    // `enter` pushed its return address at the top.
    code::prepare_jump(victim, top - 8, ecx);
    let rsp = env.stack_a.start() + 0x4000 + 0x80;
    env.enter_a(at::dom_jump(), [target, u64::from(eax), others, rsp, 0, 0])
}

/// The writes of the register, in order of address: gate entry and exit, `enter` in and out, tampered, `pkru::write`.
fn writes(mode: Mode) -> Vec<u64> {
    let (start, bytes) = text(mode);
    scan(bytes, Policy::Ring0).map(|finding| start + finding.offset as u64).collect()
}

fn ecx_for_a_write(mode: Mode) -> u32 {
    if mode == Mode::EmulatedPks { backend::IA32_PKRS } else { 0 }
}

pub fn a_jump_to_a_write_wins_nothing(mode: Mode) {
    let (env, _guard) = env(mode);
    let [entry, exit, inward, outward, tampered, guarded] = writes(mode)[..] else {
        panic!("six writes, see the other test")
    };
    let ecx = ecx_for_a_write(mode);
    let victim = env.kernel.start();
    let wide = [Pkru::ALLOW_ALL.bits(), env.domain_b.pkru().bits(), env.domain_a.pkru().bits() & 0x3fff_ffff];
    let tampering = Err(EnterError::Aborted { code: TAMPERED });
    for eax in wide {
        for target in [exit, inward, guarded] {
            assert_eq!(jump(env, target, eax, ecx, 0, victim), tampering, "{target:#x} {eax:#x}");
        }
        for target in [entry, outward, tampered] {
            let outcome = jump(env, target, eax, ecx, 0, victim);
            if eax != 0 {
                assert_eq!(outcome, tampering, "{target:#x} {eax:#x}");
            }
        }
        assert!(env.kernel.is_zero());
    }
    // With 0, the other three are what they are for: a call, a return, the end.
    assert_eq!(jump(env, entry, 0, ecx, 0, victim), ABORTED_BY_FAULT, "the landing's store");
    assert!(jump(env, outward, 0, ecx, 0, victim).is_ok());
    assert_eq!(jump(env, tampered, 0, ecx, 0, victim), tampering);
    // Its own value is not tampering, and no use: the landing still faults.
    assert_eq!(jump(env, guarded, env.domain_a.pkru().bits(), ecx, 0, victim), ABORTED_BY_FAULT);
    assert!(env.kernel.is_zero());
    if mode == Mode::EmulatedPks {
        // Another register is written, which only ring 3 prevents, but the run ends.
        const LSTAR: u32 = 0xc000_0082;
        assert_eq!(jump(env, exit, 0, LSTAR, 0, victim), tampering);
        assert_eq!(signals::STRAY_WRMSR.swap(0, Ordering::Relaxed), u64::from(LSTAR));
    }
}

/// Whether a jump there may soon run a far return under QEMU's TCG, whose reads go with kernel rights (seen in
/// 7.2) and take the Linux below with them. Processors raise `#GP`; the emulated run covers these offsets.
fn breaks_tcg(bytes: &[u8]) -> bool {
    const HYPERVISOR_LEAF: u32 = 0x4000_0000;
    const REACH_BYTES: usize = 48;
    let leaf = std::arch::x86_64::__cpuid(HYPERVISOR_LEAF);
    leaf.ebx.to_le_bytes() == *b"TCGT"
        && bytes.iter().take(REACH_BYTES).any(|byte| matches!(byte, 0xca | 0xcb | 0xcf))
}

pub fn a_jump_to_any_byte_of_the_gates_wins_nothing(mode: Mode) {
    let (env, _guard) = env(mode);
    let (start, bytes) = text(mode);
    let mut outcomes = [0_u32; 3];
    for offset in 0..bytes.len() as u64 {
        if breaks_tcg(&bytes[offset as usize..]) {
            continue;
        }
        for (pages, others) in [(&env.kernel, env.kernel.start()), (&env.application, env.own.start() + 512)]
        {
            for eax in [0, env.domain_b.pkru().bits()] {
                for ecx in [0, ecx_for_a_write(mode)] {
                    let outcome = jump(env, start + offset, eax, ecx, others, pages.start());
                    match outcome {
                        Ok(_) => outcomes[0] += 1,
                        Err(EnterError::Aborted { code: FAULT }) => outcomes[1] += 1,
                        Err(EnterError::Aborted { code: TAMPERED }) => outcomes[2] += 1,
                        other => panic!("offset {offset:#x}: {other:?}"),
                    }
                    assert!(pages.is_zero(), "offset {offset:#x} with eax {eax:#x}");
                    assert_eq!((env.context.depth(), env.context.in_domain()), (0, false));
                    assert!(!env.context.kill_pending());
                }
            }
        }
    }
    assert!(outcomes.iter().all(|&count| count > 0), "returned, faulted, tampered: {outcomes:?}");
}

extern "C" fn write_register(value: u64) {
    // SAFETY: what the tests pass leaves reading allowed; a refusal does not come back.
    unsafe { pkru::write(Pkru::from_bits(value as u32)) };
}

pub fn the_checked_write_only_narrows(mode: Mode) {
    let (env, _guard) = env(mode);
    let own = env.domain_a.pkru();
    let call = |value: Pkru| {
        let write = gate::checked_write(mode.backend());
        env.enter_a(at::dom_call_function(), [write, u64::from(value.bits()), 0, 0, 0, 0])
    };
    assert!(call(own).is_ok());
    for value in [Pkru::ALLOW_ALL, env.domain_b.pkru(), Pkru::reads_all_writes(&[env.domain_b.key()])] {
        assert_eq!(call(value), Err(EnterError::Aborted { code: TAMPERED }), "{value:?}");
    }
    // Host code may do as it likes.
    let narrow = u64::from(Pkru::ALLOW_ALL.with(ProtectionKey::APPLICATION, pkru::KeyRights::Read).bits());
    write_register(narrow);
    let seen = pkru::read();
    write_register(0);
    assert_eq!(u64::from(seen.bits()), narrow);
    assert_eq!(pkru::read(), Pkru::ALLOW_ALL);
}

/// A run from the host into a domain, through a gate and back, interrupted once at each of its instructions.
pub fn an_interrupt_anywhere_is_settled(mode: Mode) {
    let (env, _guard) = env(mode);
    let run = || env.enter_a(at::dom_nest(), [env.stub(gates::STATE), env.own.start(), 0, 0, 0, 0]);
    let (result, interesting) = signals::interesting_steps(run);
    assert_eq!(result, Ok(0));
    assert!(interesting.len() > 150, "{} instructions", interesting.len());
    let (mut restarted, mut in_domain, mut in_gate) = (0, 0, 0);
    for steps in interesting {
        let result = signals::interrupted_after(steps, false, run);
        let found = signals::INTERRUPTED.lock().unwrap().expect("the interrupt came");
        assert_eq!(result, Ok(0), "step {steps}: {found:x?}");
        let Settled::Resume { rip } = found.settled else { panic!("step {steps}: {found:x?}") };
        restarted += i32::from(rip != found.rip);
        in_domain += i32::from(found.in_domain);
        in_gate += i32::from(found.in_gate);
    }
    assert!(restarted >= 4 && in_domain >= 20 && in_gate >= 40, "{restarted} {in_domain} {in_gate}");
}

/// Whenever `in_gate` says so, a kill that is requested then ends the run at the gate's end or before the domain is entered.
pub fn a_kill_requested_in_a_gate_is_never_missed(mode: Mode) {
    let (env, _guard) = env(mode);
    let run = || env.enter_a(at::dom_nest(), [env.stub(gates::STATE), env.own.start(), 0, 0, 0, 0]);
    let (_, interesting) = signals::interesting_steps(run);
    let mut kills = 0;
    for steps in interesting {
        env.own.write_bytes(0, &1_u64.to_le_bytes());
        env.context.clear_kill();
        let result = signals::interrupted_after(steps, true, run);
        let found = signals::INTERRUPTED.lock().unwrap().expect("the interrupt came");
        // After the domain's return there is no way back into it, and the store had happened.
        let finished = env.own.read(0) == 0;
        if found.kill_requested && !finished {
            kills += 1;
            assert_eq!(result, Err(EnterError::Aborted { code: KILLED }), "step {steps}: {found:x?}");
        } else {
            assert_eq!(result, Ok(0), "step {steps}: {found:x?}");
        }
    }
    env.context.clear_kill();
    assert!(kills >= 40, "{kills}");
}
