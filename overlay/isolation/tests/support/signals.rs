//! The fault handler, the emulator of the register, and single steps.

use std::arch::naked_asm;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering};

use uio_isolation::backend::{Backend, IA32_PKRS};
use uio_isolation::gate::{self, NotEntered, Settled};
use uio_isolation::pkru::{Pkru, ProtectionKey};

use super::memory::{self, Pages};
use super::{ENV, FAULT, Mode, TAMPERED};

/// What the last fault was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub signal: i32,
    pub code: i32,
    pub address: u64,
    pub rip: u64,
    pub in_domain: bool,
    pub in_gate: bool,
}

pub static LAST_FAULT: Mutex<Option<Fault>> = Mutex::new(None);
/// The emulated register.
static REGISTER: AtomicU32 = AtomicU32::new(0);
/// Writes of other model-specific registers that were tried, and the last one's number.
pub static STRAY_WRMSR: AtomicU64 = AtomicU64::new(0);
static MODE: AtomicU8 = AtomicU8::new(0);

const EFLAGS_TRAP: i64 = 1 << 8;
/// Alignment check: Linux leaves it set for the handler of a signal.
const EFLAGS_ALIGNMENT: u64 = 1 << 18;

pub fn install(mode: Mode) {
    MODE.store(mode as u8, Ordering::Relaxed);
    // SAFETY: zero is a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction =
        if mode == Mode::Pku { entry_of_domain_signals as *const () } else { handle as *const () } as usize;
    // NODEFER: `abort` leaves the handler for good, and the emulator may trap inside it.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP] {
        // SAFETY: a handler of the right type.
        let result = unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
        assert_eq!(result, 0);
    }
}

/// Gives the thread a signal stack that a domain may write: kernels before 6.12 push the frame with the
/// interrupted code's rights.
pub fn use_alternate_stack(mode: Mode) {
    unregister_rseq();
    const PAGES: usize = 32;
    static STACK: Mutex<Option<Pages>> = Mutex::new(None);
    let mut stack = STACK.lock().unwrap();
    let pages =
        stack.get_or_insert_with(|| Pages::new(PAGES, ProtectionKey::EXCHANGE.number()).not_emulated());
    let stack = libc::stack_t {
        ss_sp: pages.start() as *mut libc::c_void,
        ss_flags: 0,
        ss_size: PAGES * memory::PAGE,
    };
    // SAFETY: the pages live as long as the process; tests run one at a time, so threads take turns.
    assert_eq!(unsafe { libc::sigaltstack(&raw const stack, std::ptr::null_mut()) }, 0, "{mode:?}");
}

/// Ends the thread's restartable sequences: at a signal or a preemption the kernel writes their area (key 0)
/// with the interrupted code's rights, and kills a process whose domain may not.
fn unregister_rseq() {
    const UNREGISTER: i32 = 1;
    const SIGNATURE: u32 = 0x5305_3053;
    const REGISTERED_BYTES: u32 = 32;
    // SAFETY: looks up a symbol that glibc has since 2.35.
    let offset = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()) }.cast::<isize>();
    if offset.is_null() {
        return;
    }
    let thread: u64;
    // SAFETY: the thread control block begins with its own address; glibc defines the symbol as a `ptrdiff_t`.
    let area = unsafe {
        std::arch::asm!("mov {}, fs:0", out(reg) thread, options(nostack, readonly));
        thread.wrapping_add_signed((*offset) as i64)
    };
    // SAFETY: unregisters what glibc registered; fails harmlessly if that was done or never happened.
    unsafe { libc::syscall(libc::SYS_rseq, area, REGISTERED_BYTES, UNREGISTER, SIGNATURE) };
}

/// The register holds Linux's initial value in a handler, which denies the very stack it runs on. Opens
/// everything before the first push.
#[unsafe(naked)]
unsafe extern "C" fn entry_of_domain_signals(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
    naked_asm!(
        "mov r10, rdx",
        "xor eax, eax",
        "xor ecx, ecx",
        "xor edx, edx",
        "wrpkru",
        "mov rdx, r10",
        "jmp {handle}",
        handle = sym handle,
    );
}

extern "C" fn handle(signal: i32, info: *mut libc::siginfo_t, state: *mut libc::c_void) {
    forbid_alignment_checks();
    // SAFETY: the kernel passes valid pointers, ours alone while the handler runs.
    let (info, state) = unsafe { (&*info, &mut *state.cast::<libc::ucontext_t>()) };
    let registers = &mut state.uc_mcontext.gregs;
    let rip = registers[libc::REG_RIP as usize] as u64;
    if emulate(signal, registers) {
        if registers[libc::REG_EFL as usize] & EFLAGS_TRAP != 0 {
            step(state, false);
        }
        return;
    }
    if signal == libc::SIGTRAP {
        // Linux tells `int3` from a single step by the code.
        const SI_KERNEL: i32 = 0x80;
        step(state, info.si_code == SI_KERNEL);
        return;
    }
    let env = ENV.get();
    // SAFETY: `si_addr` is meaningful for faults, a number for the rest.
    let address = unsafe { info.si_addr() } as u64;
    let fault = Fault {
        signal,
        code: info.si_code,
        address,
        rip,
        in_domain: env.is_some_and(|env| env.context.in_domain()),
        in_gate: env.is_some_and(|env| env.context.in_gate()),
    };
    if let Ok(mut last) = LAST_FAULT.try_lock() {
        *last = Some(fault);
    }
    if fault.in_domain {
        leave(FAULT);
    }
    die(&format!("fault in the host: {fault:x?}\n"));
}

/// A wild jump may have loaded any flags. With this one set, the host's own code would fault at its first unaligned
/// access, for ever; in ring 0, where the gates belong, it means nothing.
fn forbid_alignment_checks() {
    // SAFETY: changes one flag, which compiled code does not rely on; the red zone is left alone.
    unsafe {
        std::arch::asm!(
            "lea rsp, [rsp - 128]",
            "pushfq",
            "and qword ptr [rsp], {keep}",
            "popfq",
            "lea rsp, [rsp + 128]",
            keep = const !(EFLAGS_ALIGNMENT as i64) as i32,
        );
    }
}

fn leave(code: u64) -> ! {
    if mode_is(Mode::EmulatedPku) || mode_is(Mode::EmulatedPks) {
        // As every trap entry does; Linux and `entry_of_domain_signals` did it for the real register.
        REGISTER.store(0, Ordering::Relaxed);
        memory::apply(Pkru::ALLOW_ALL);
    }
    // SAFETY: on the thread that entered; the handler holds nothing.
    let result = unsafe { gate::abort(code) };
    let Err(NotEntered) = result;
    die("a fault outside any domain\n");
}

fn die(message: &str) -> ! {
    // SAFETY: writes a string and leaves.
    unsafe {
        libc::write(2, message.as_ptr().cast(), message.len());
        libc::_exit(101)
    }
}

fn mode_is(mode: Mode) -> bool {
    MODE.load(Ordering::Relaxed) == mode as u8
}

/// Executes an instruction that reads or writes the register; `false` if it is another.
fn emulate(signal: i32, registers: &mut [i64; 23]) -> bool {
    let trapped = match signal {
        libc::SIGILL if mode_is(Mode::EmulatedPku) => true,
        libc::SIGSEGV if mode_is(Mode::EmulatedPks) => true,
        _ => return false,
    };
    let rip = registers[libc::REG_RIP as usize] as u64;
    let Some(bytes) = text_at(rip) else { return false };
    let value = |register: i32| registers[register as usize] as u32;
    let (eax, ecx, edx) = (value(libc::REG_RAX), value(libc::REG_RCX), value(libc::REG_RDX));
    let set = |value: u32| {
        REGISTER.store(value, Ordering::Relaxed);
        memory::apply(Pkru::from_bits(value));
    };
    let length = match (signal, bytes) {
        (libc::SIGILL, [0x0f, 0x01, 0xef]) if ecx == 0 && edx == 0 => {
            set(eax);
            3
        }
        (libc::SIGILL, [0x0f, 0x01, 0xee]) if ecx == 0 => {
            registers[libc::REG_RAX as usize] = i64::from(REGISTER.load(Ordering::Relaxed));
            registers[libc::REG_RDX as usize] = 0;
            3
        }
        (libc::SIGSEGV, [0x0f, 0x30, _]) if ecx == IA32_PKRS && edx == 0 => {
            set(eax);
            2
        }
        (libc::SIGSEGV, [0x0f, 0x30, _]) if ecx != IA32_PKRS => {
            // In ring 0 this would have succeeded.
            STRAY_WRMSR.store(u64::from(ecx), Ordering::Relaxed);
            2
        }
        (libc::SIGSEGV, [0x0f, 0x32, _]) if ecx == IA32_PKRS => {
            registers[libc::REG_RAX as usize] = i64::from(REGISTER.load(Ordering::Relaxed));
            registers[libc::REG_RDX as usize] = 0;
            2
        }
        _ => return false,
    };
    registers[libc::REG_RIP as usize] += length;
    trapped
}

/// Three bytes of code; `None` if the address is no code of this program (a jump into nowhere faults there too).
fn text_at(address: u64) -> Option<[u8; 3]> {
    // Everything that uses the register lies in this program's text.
    unsafe extern "C" {
        static __executable_start: u8;
        static etext: u8;
    }
    let text = (&raw const __executable_start).addr() as u64..(&raw const etext).addr() as u64 - 3;
    // SAFETY: inside the program's text, which is readable.
    text.contains(&address).then(|| unsafe { (address as *const [u8; 3]).read() })
}

/// The register as the interrupted code had it.
fn saved_register(state: &libc::ucontext_t) -> Pkru {
    if mode_is(Mode::None) {
        return Pkru::ALLOW_ALL;
    }
    if !mode_is(Mode::Pku) {
        return Pkru::from_bits(REGISTER.load(Ordering::Relaxed));
    }
    // Intel SDM vol. 1, 13.4: XSTATE_BV follows the legacy area; CPUID says where component 9 lies.
    const PKRU_COMPONENT: u32 = 9;
    const XSTATE_BV_OFFSET: usize = 512;
    let offset = std::arch::x86_64::__cpuid_count(0xd, PKRU_COMPONENT).ebx as usize;
    let area = state.uc_mcontext.fpregs.cast::<u8>();
    // SAFETY: the kernel saved the full state there, in the standard format.
    unsafe {
        let present = area.add(XSTATE_BV_OFFSET).cast::<u64>().read_unaligned() & 1 << PKRU_COMPONENT != 0;
        let value = area.add(offset).cast::<u32>().read_unaligned();
        Pkru::from_bits(if present { value } else { 0 })
    }
}

// --- single steps: one interrupt at a chosen instruction of a run ---

/// Instructions left until the interrupt; negative: none.
static STEPS_LEFT: AtomicI64 = AtomicI64::new(-1);
static STEPS_TAKEN: AtomicI64 = AtomicI64::new(0);
static STEPPING: AtomicBool = AtomicBool::new(false);
static KILL_AT_INTERRUPT: AtomicBool = AtomicBool::new(false);
/// What the interrupt found.
pub static INTERRUPTED: Mutex<Option<Interrupted>> = Mutex::new(None);
/// `rip` before the instruction that was just stepped over.
static PREVIOUS_RIP: AtomicU64 = AtomicU64::new(0);

#[derive(Clone, Copy, Debug)]
pub struct Interrupted {
    pub rip: u64,
    pub settled: Settled,
    /// After settling.
    pub in_domain: bool,
    pub in_gate: bool,
    pub kill_requested: bool,
}

/// Steps at which `rip` was in the gates' text, or next to it.
static GATE_STEPS: Mutex<Vec<i64>> = Mutex::new(Vec::new());

/// Runs once to find out after how many instructions an interrupt is interesting: everywhere in the gates' text and
/// the domain, and at each hundredth instruction elsewhere.
pub fn interesting_steps<T>(run: impl FnOnce() -> T) -> (T, Vec<i64>) {
    // With room, so that the trap handler does not allocate.
    *GATE_STEPS.lock().unwrap() = Vec::with_capacity(100_000);
    let result = interrupted_after(-1, false, run);
    (result, std::mem::take(&mut GATE_STEPS.lock().unwrap()))
}

/// Arms an interrupt after `steps` instructions of `run` (negative: none).
pub fn interrupted_after<T>(steps: i64, kill: bool, run: impl FnOnce() -> T) -> T {
    *INTERRUPTED.lock().unwrap() = None;
    STEPS_LEFT.store(steps, Ordering::Relaxed);
    STEPS_TAKEN.store(0, Ordering::Relaxed);
    KILL_AT_INTERRUPT.store(kill, Ordering::Relaxed);
    // SAFETY: the trap handler starts stepping, and the second trap ends it.
    unsafe { std::arch::asm!("int3") };
    let result = run();
    // SAFETY: as above.
    unsafe { std::arch::asm!("int3") };
    result
}

fn step(state: &mut libc::ucontext_t, is_breakpoint: bool) {
    const PUSHFQ: u8 = 0x9c;
    let saved = saved_register(state);
    let registers = &mut state.uc_mcontext.gregs;
    let rip = registers[libc::REG_RIP as usize] as u64;
    if is_breakpoint {
        let is_start = !STEPPING.fetch_xor(true, Ordering::Relaxed);
        if is_start {
            registers[libc::REG_EFL as usize] |= EFLAGS_TRAP;
        } else {
            registers[libc::REG_EFL as usize] &= !EFLAGS_TRAP;
        }
        PREVIOUS_RIP.store(rip, Ordering::Relaxed);
        return;
    }
    let previous = PREVIOUS_RIP.swap(rip, Ordering::Relaxed);
    if text_at(previous).is_some_and(|bytes| bytes[0] == PUSHFQ) && rip == previous + 1 {
        // The gate looks at TF in the flags it pushed; without stepping it would not be there.
        let pushed = registers[libc::REG_RSP as usize] as *mut u64;
        // SAFETY: the instruction just wrote there.
        unsafe { *pushed &= !(EFLAGS_TRAP as u64) };
    }
    let taken = STEPS_TAKEN.fetch_add(1, Ordering::Relaxed);
    let env = ENV.get().expect("stepping runs in an environment");
    if let Ok(mut steps) = GATE_STEPS.try_lock()
        && steps.len() < steps.capacity()
        && (backend_text().contains(&rip) || env.context.in_domain() || taken % 100 == 0)
    {
        steps.push(taken);
    }
    if STEPS_LEFT.fetch_sub(1, Ordering::Relaxed) != 0 {
        return;
    }
    // The rest runs at full speed.
    registers[libc::REG_EFL as usize] &= !EFLAGS_TRAP;
    let settled = gate::settle(env.mode.backend(), env.context, rip, saved);
    let kill_requested = KILL_AT_INTERRUPT.load(Ordering::Relaxed) && env.context.in_gate();
    if kill_requested {
        env.context.request_kill();
    }
    *INTERRUPTED.lock().unwrap() = Some(Interrupted {
        rip,
        settled,
        in_domain: env.context.in_domain(),
        in_gate: env.context.in_gate(),
        kill_requested,
    });
    match settled {
        Settled::Resume { rip } => registers[libc::REG_RIP as usize] = rip as i64,
        Settled::Tampered => leave(TAMPERED),
    }
}

/// For assertions on a fault that a key caused.
pub fn expected_code(mode: Mode) -> i32 {
    const SEGV_ACCERR: i32 = 2;
    const SEGV_PKUERR: i32 = 4;
    if mode == Mode::Pku { SEGV_PKUERR } else { SEGV_ACCERR }
}

pub fn backend_text() -> std::ops::Range<u64> {
    gate::text(match ENV.get().map(|env| env.mode) {
        Some(mode) => mode.backend(),
        None => Backend::None,
    })
}

pub fn take_fault() -> Fault {
    LAST_FAULT.lock().unwrap().take().expect("a fault was recorded")
}
