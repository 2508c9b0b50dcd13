//! Extensions compiled from C, loaded, run, linked to each other, refused and unloaded.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::support::{Shell, compile, image, run_request, with_machine};
use uio_overlay::Export;
use uio_overlay::gate::{GateCall, GateError};
use uio_overlay::platform::Clock;
use uio_protocol::GuestAddress;
use uio_protocol::error::{LoadError, RpcError};
use uio_protocol::event::Event;
use uio_protocol::fault::{Cause, Outcome};
use uio_protocol::inspect::{BuildId, ExtensionId, ExtensionInfo, Isolation};
use uio_protocol::limits::{EVENT_CREDIT_BYTES, EXTENSION_HEAP_BYTES_MAX, RUNS_MAX};
use uio_protocol::rpc::{Reply, Request, RunId};

const HELLO: &str = r#"
int main(int argc, char **argv) {
    for (int i = 0; i < argc; i++) { say(argv[i]); say(","); }
    return argv[argc] ? 99 : -argc;
}"#;

fn cause(outcome: Outcome) -> (Cause, Option<ExtensionId>, Option<String>) {
    match outcome {
        Outcome::Ended(report) => (report.cause, report.extension, report.gate),
        Outcome::Returned(value) => panic!("returned {value}"),
    }
}

fn extensions(shell: &mut Shell) -> Vec<ExtensionInfo> {
    match shell.ask(1, &Request::Extensions { skip: 0 }) {
        Ok(Reply::Extensions { extensions, more: false }) => extensions,
        other => panic!("{other:?}"),
    }
}

#[test]
fn main_gets_its_arguments_and_prints() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let hello = shell.load(1, "hello", HELLO);
        assert_eq!((hello.name.as_str(), hello.resident, hello.runs), ("hello", false, 0));
        assert!(hello.key >= 3);
        let (output, outcome) = shell.run(1, &hello, &["hello", "", "wörld"]);
        assert_eq!(output, "hello,,wörld,");
        assert_eq!(outcome, Outcome::Returned(-3));
        assert_eq!(extensions(shell)[0].faults, 0);
        assert_eq!(shell.ask(1, &Request::Unload(hello.id)), Ok(Reply::Done));
        assert_eq!(shell.pages(), 0);
        assert_eq!(shell.ask(1, &Request::Unload(hello.id)), Err(RpcError::NoExtension(hello.id)));
    });
}

#[test]
fn the_string_functions_that_compilers_call_are_there() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let source = r#"
            void *memcpy(void *, const void *, size_t); void *memmove(void *, const void *, size_t);
            void *memset(void *, int, size_t); int memcmp(const void *, const void *, size_t);
            int bcmp(const void *, const void *, size_t);
            static char a[16] = "0123456789", b[16];
            int main(void) {
                if (memcpy(b, a, 11) != b || memcmp(a, b, 11) != 0 || bcmp(a, b, 11) != 0) return 1;
                if (memmove(b + 2, b, 5) != b + 2 || memcmp(b, "0101234789", 11)) return 2;
                if (memmove(b, b + 2, 5) != b || memcmp(b, "0123434789", 11)) return 3;
                if (memmove(b, b, 10) != b || memmove(b, b + 1, 0) != b || memcmp(b, "0123434789", 11)) return 4;
                if (memset(b, 0x1c1, 3) != b || b[0] != (char)0xc1 || b[2] != (char)0xc1 || b[3] != '3') return 5;
                if (memcmp("b", "a", 1) <= 0 || memcmp("a", "\xff", 1) >= 0 || memcmp("a", "b", 0) != 0) return 6;
                if (strlen("") != 0 || strlen(a) != 10) return 7;
                return 0;
            }"#;
        let mut image = image("strings", &format!("#pragma GCC optimize (\"no-builtin\")\n{source}"));
        image.symbols.retain(|symbol| symbol.name != "unused");
        let info = shell.try_load(1, &image, Isolation::None).unwrap();
        assert_eq!((info.key, info.isolation), (0, Isolation::None));
        assert_eq!(shell.run(1, &info, &["strings"]).1, Outcome::Returned(0));
    });
}

#[test]
fn a_run_without_main_and_unknown_names_are_errors() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let library = shell.load(1, "library", "int twice(int n) { return 2 * n; }");
        assert_eq!(shell.ask(1, &run_request(&library, &["x"])), Err(RpcError::NoEntry));
        let nobody = ExtensionId(77);
        for request in [Request::Kill(nobody), Request::Unload(nobody)] {
            assert_eq!(shell.ask(1, &request), Err(RpcError::NoExtension(nobody)));
        }
        assert_eq!(shell.ask(1, &Request::Interrupt(RunId(9))), Err(RpcError::NoRun(9)));
        let call = |function, arguments: &[u64]| Request::Call {
            function,
            arguments: arguments.to_vec(),
            budget_ms: 0,
        };
        let twice = library.sections[0].start;
        let run = shell.start(1, &call(twice, &[21]));
        assert_eq!(shell.finish(1, run).1, Outcome::Returned(42));
        let wild = GuestAddress(0x10);
        assert_eq!(shell.ask(1, &call(wild, &[])), Err(RpcError::BadAddress { address: wild, write: false }));
        assert!(matches!(shell.ask(1, &call(twice, &[0; 7])), Err(RpcError::Limit { .. })));
        let endless = Request::Call { function: twice, arguments: vec![], budget_ms: u32::MAX };
        assert!(matches!(shell.ask(1, &endless), Err(RpcError::Limit { .. })));
    });
}

extern "C" fn of_the_guest(a: u64, b: u64) -> u64 {
    a * 100 + b
}

#[test]
fn functions_of_the_image_can_be_called() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let function = GuestAddress(of_the_guest as *const () as u64);
        let run = shell.start(1, &Request::Call { function, arguments: vec![4, 2], budget_ms: 0 });
        assert_eq!(shell.finish(1, run).1, Outcome::Returned(402));
        assert_eq!(shell.pages(), 0);
    });
}

#[test]
fn missing_symbols_come_all_at_once_with_near_matches() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let source = "void uio_prind(void); void nothing_like_it(void); int main(void) { uio_prind(); nothing_like_it(); return 0; }";
        let Err(RpcError::Load(LoadError::Undefined(missing))) =
            shell.try_load(1, &image("missing", source), Isolation::Mpk)
        else {
            panic!("loaded")
        };
        let names: Vec<_> = missing.iter().map(|symbol| symbol.name.as_str()).collect();
        assert_eq!(names, ["nothing_like_it", "uio_prind"]);
        assert_eq!(missing[1].near[0], "uio_print");
        assert_eq!(shell.pages(), 0);
        assert!(extensions(shell).is_empty());
    });
}

#[test]
fn what_cannot_be_loaded_leaves_nothing() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let refused = |shell: &mut Shell, source: &str, isolation| {
            let error = shell.try_load(1, &image("refused", source), isolation).unwrap_err();
            assert_eq!((shell.pages(), extensions(shell).len()), (0, 0), "{error:?}");
            error
        };
        let wrpkru = "int main(void) { __asm__(\"wrpkru\" :: \"a\"(0), \"c\"(0), \"d\"(0)); return 0; }";
        let error = refused(shell, wrpkru, Isolation::Mpk);
        assert!(
            matches!(error, RpcError::Load(LoadError::ForbiddenInstruction { ref mnemonic, .. }) if mnemonic == "wrpkru")
        );
        let error = refused(shell, HELLO, Isolation::Ring3);
        assert!(matches!(error, RpcError::Load(LoadError::NoIsolation { .. })));
        let error = refused(shell, "int init(void) { return -7; }", Isolation::Mpk);
        assert_eq!(error, RpcError::Load(LoadError::InitFailed(-7)));
        let abort = "__attribute__((constructor)) void c(void) { uio_abort(\"no\", 2); }";
        let RpcError::Load(LoadError::InitFaulted { report, sections }) =
            refused(shell, abort, Isolation::Mpk)
        else {
            panic!("another error")
        };
        assert_eq!(report.cause, Cause::Abort { message: "no".to_string() });
        assert_eq!(report.gate.as_deref(), Some("uio_abort"));
        assert!(!sections.is_empty());

        let mut hinted = image("hinted", "extern int somewhere; int main(void) { return somewhere; }");
        uio_objects::resolve_hints(&mut hinted, |_| Some(GuestAddress(0x1000)));
        let error = shell.try_load(1, &hinted, Isolation::Mpk).unwrap_err();
        assert!(matches!(error, RpcError::Load(LoadError::BadHint { .. })));
        let upload = shell.upload(1, &postcard::to_allocvec(&hinted).unwrap());
        let other = Request::Load { upload, isolation: Isolation::Mpk, build_id: BuildId([0; 20]) };
        let guest = crate::support::build_id();
        assert_eq!(shell.ask(1, &other), Err(RpcError::Load(LoadError::WrongBuild { guest })));
        assert_eq!(shell.ask(1, &other), Err(RpcError::NoUpload(upload)), "an upload is used up");

        let upload = shell.upload(1, b"\xff\xff\xff\xff\xff");
        let nonsense = Request::Load { upload, isolation: Isolation::None, build_id: guest };
        assert!(matches!(shell.ask(1, &nonsense), Err(RpcError::Load(LoadError::BadImage { .. }))));
        let named = image(&"n".repeat(65), HELLO);
        assert!(matches!(shell.try_load(1, &named, Isolation::None), Err(RpcError::Limit { .. })));

        for pages in 0..4 {
            shell.machine.state().space.pages_max = Some(pages);
            let source = "int data = 3; int main(void) { say(\"constant\"); return data++; }
                          __attribute__((constructor)) void c(void) { data++; }";
            let error = refused(shell, source, Isolation::Mpk);
            // One place in some ten thousand spells a forbidden instruction; then there is no room for another.
            assert!(
                matches!(
                    error,
                    RpcError::Load(LoadError::NoRoom { .. } | LoadError::ForbiddenInstruction { .. })
                        | RpcError::OutOfMemory { .. }
                ),
                "{error:?}"
            );
        }
    });
}

#[test]
fn an_address_that_spells_a_forbidden_instruction_is_avoided() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let source = "char buffer[8192]; int main(void) { char *volatile p = buffer + 0xf10; *p = 3; return buffer[0xf10]; }";
        // Linked there, the instruction that loads the pointer holds 10 0f 30 5e: `wrmsr`.
        let bad = 0x5e30_0000;
        shell.machine.state().space.data_at = Some(bad);
        let info = shell.load(1, "unlucky", source);
        assert_eq!(shell.machine.state().space.data_at, None);
        assert!(info.sections.iter().all(|section| section.start != GuestAddress(bad)));
        assert_eq!(shell.run(1, &info, &["x"]).1, Outcome::Returned(3));
        assert_eq!(shell.ask(1, &Request::Unload(info.id)), Ok(Reply::Done));
        assert_eq!(shell.pages(), 0);
        // Without isolation it does not matter.
        shell.machine.state().space.data_at = Some(bad);
        let info = shell.try_load(1, &image("unlucky", source), Isolation::None).unwrap();
        assert!(info.sections.iter().any(|section| section.start == GuestAddress(bad)), "{info:?}");
    });
}

#[test]
fn keys_run_out_and_come_back() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let loaded: Vec<_> = (0..13).map(|n| shell.load(1, &format!("e{n}"), HELLO)).collect();
        let mut keys: Vec<_> = loaded.iter().map(|info| info.key).collect();
        keys.sort_unstable();
        assert_eq!(keys, (3..16).collect::<Vec<u8>>());
        let error = shell.try_load(1, &image("more", HELLO), Isolation::Mpk).unwrap_err();
        assert_eq!(error, RpcError::Load(LoadError::NoKey { in_use: 13 }));
        let unisolated = shell.try_load(1, &image("more", HELLO), Isolation::None).unwrap();
        let error = shell.try_load(1, &image("more", HELLO), Isolation::None).unwrap_err();
        assert_eq!(error, RpcError::Load(LoadError::NameTaken(unisolated.id)));
        assert_eq!(shell.ask(1, &Request::Unload(loaded[4].id)), Ok(Reply::Done));
        assert_eq!(shell.load(1, "again", HELLO).key, loaded[4].key);
    });
}

#[test]
fn a_resident_extension_inits_and_exits_in_order() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let source = r#"
            static int step;
            __attribute__((constructor(101))) void first(void) { say_number(++step); }
            __attribute__((constructor(102))) void second(void) { say_number(10 * ++step); }
            int init(void) { say("init"); return step == 2 ? 0 : step + 100; }
            void exit(void) { say("exit"); }
            __attribute__((destructor(101))) void last(void) { say("last"); }
            __attribute__((destructor(102))) void before(void) { say("before"); }"#;
        let info = shell.load(1, "resident", source);
        assert!(info.resident);
        let printed = |shell: &mut Shell| {
            let pieces = shell.events.drain(..).filter_map(|(_, event)| match event {
                Event::Output { bytes, .. } => Some(bytes),
                _ => None,
            });
            String::from_utf8(pieces.collect::<Vec<_>>().concat()).unwrap()
        };
        assert_eq!(printed(shell), "120init");
        assert_eq!(shell.ask(1, &Request::Unload(info.id)), Ok(Reply::Done));
        assert_eq!(printed(shell), "exitbeforelast");
        assert_eq!(shell.pages(), 0);
    });
}

#[test]
fn an_exit_that_fails_does_not_keep_it_loaded() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let source = "int init(void) { return 0; } void exit(void) { uio_abort(\"never\", 5); }";
        let info = shell.load(1, "stubborn", source);
        assert_eq!(shell.ask(1, &Request::Unload(info.id)), Ok(Reply::Done));
        assert_eq!((shell.pages(), extensions(shell).len()), (0, 0));
        let Ok(Reply::Log(lines)) = shell.ask(1, &Request::Log { from: 0 }) else { panic!() };
        let last = &lines.last().unwrap().text;
        assert!(last.contains("stubborn") && last.contains("never"), "{last}");
    });
}

#[test]
fn memory_comes_from_the_extension_s_heap_and_goes_with_it() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let source = r#"
            int main(int argc, char **argv) {
                if (argc == 2) { char *p = uio_alloc(100, 8); uio_free(p); uio_free(p); return 1; }
                if (argc == 3) { int local; uio_free(&local); return 1; }
                size_t total = 0;
                for (;;) {
                    char *p = uio_alloc(100000, 4096);
                    if (!p) break;
                    if ((uint64_t)p % 4096) return 2;
                    p[0] = 1; p[99999] = 1;
                    total += 100000;
                }
                uio_free(0);
                return total / 1000;
            }"#;
        let info = shell.load(1, "heap", source);
        let empty = info.memory_bytes;
        let (cause_twice, owner, gate) = cause(shell.run(1, &info, &["heap", "twice"]).1);
        assert!(matches!(cause_twice, Cause::BadFree { .. }));
        assert_eq!((owner, gate.as_deref()), (Some(info.id), Some("uio_free")));
        let (stray, ..) = cause(shell.run(1, &info, &["heap", "stray", "x"]).1);
        assert!(matches!(stray, Cause::BadFree { .. }));
        let Outcome::Returned(kilobytes) = shell.run(1, &info, &["heap"]).1 else { panic!("ended") };
        let reached = kilobytes as usize * 1000;
        assert!(
            reached > EXTENSION_HEAP_BYTES_MAX * 9 / 10 && reached <= EXTENSION_HEAP_BYTES_MAX,
            "{reached}"
        );
        let listed = &extensions(shell)[0];
        assert_eq!(listed.faults, 2);
        assert!(listed.memory_bytes >= empty + EXTENSION_HEAP_BYTES_MAX as u64);
        assert_eq!(shell.ask(1, &Request::Unload(info.id)), Ok(Reply::Done));
        assert_eq!(shell.pages(), 0);
    });
}

static COUNT: AtomicU64 = AtomicU64::new(0);

fn set_count(call: &GateCall<'_>) -> Result<u64, GateError> {
    COUNT.store(call.arguments()[0], Ordering::Relaxed);
    Ok(COUNT.load(Ordering::Relaxed) + 1)
}

static SET_COUNT: &[Export] = &[Export {
    name: "set_count",
    prototype: "uint64_t set_count(uint64_t value)",
    function: set_count,
    pointers: &[],
}];

#[test]
fn exports_of_the_image_are_called() {
    with_machine(SET_COUNT, |shell| {
        shell.hello(1);
        let source = "uint64_t set_count(uint64_t); int main(void) { return set_count(41); }";
        let info = shell.load(1, "set_count", source);
        assert_eq!(shell.run(1, &info, &["x"]).1, Outcome::Returned(42));
        assert_eq!(shell.machine.state().interrupt_checks, 2, "at the gate and at the return");
        assert_eq!(COUNT.load(Ordering::Relaxed), 41);
    });
}

#[test]
fn pointers_are_checked_against_the_caller_s_memory() {
    #[repr(align(4096))]
    struct Pages {
        _bytes: [u8; 8192],
    }
    static mut APPLICATION: Pages = Pages { _bytes: [0; 8192] };
    with_machine(&[], |shell| {
        shell.hello(1);
        let application = &raw mut APPLICATION as u64;
        shell.machine.state().application.push((application, application + 8192));
        let victim = shell.load(1, "victim", "long secret = 5; int main(void) { return 0; }");
        let secret = victim.sections.iter().find(|section| section.name.contains("data")).unwrap().start.0;
        let kernel = Box::new(7_u64);
        let kernel_address = std::ptr::from_ref(&*kernel) as u64;
        let source = r#"
            static uint64_t number(const char *s) { uint64_t n = 0; while (*s) n = n * 10 + *s++ - '0'; return n; }
            static char own[64]; static const char fixed[8] = "fixed";
            int main(int argc, char **argv) {
                uint64_t address = number(argv[2]); uint64_t value = 0;
                switch (argv[1][0]) {
                case 'w': return uio_write((void *)address, "12345678", 8);
                case 'r': return uio_read(&value, (void *)address, 8) ? -14 : (int)value;
                case 'R': return uio_read((void *)address, own, 8);
                case 'p': uio_print((void *)address, 8); return 0;
                case 'P': uio_print((void *)address, ~0ul); return 0;
                case 'h': return uio_file_size((char *)address);
                case 't': return uio_threads((void *)address, 4);
                case 'o': return uio_write(own, "ownership", 9) || own[8] != 'p';
                case 'c': return uio_write((void *)fixed, "x", 1);
                case 'b': uio_threads((void *)own, ~0ul); return 0;
                }
                return 77;
            }"#;
        let info = shell.load(1, "pointers", source);
        let run = |shell: &mut Shell, what: &str, address: u64| {
            shell.run(1, &info, &["p", what, &address.to_string()]).1
        };
        let returned = |value| Outcome::Returned(value);
        assert_eq!(run(shell, "w", application + 4092), returned(0));
        let stored = Request::Peek { address: GuestAddress(application + 4092), length: 8 };
        assert_eq!(shell.ask(1, &stored), Ok(Reply::Bytes(b"12345678".to_vec())));
        assert_eq!(run(shell, "w", kernel_address), returned(-1));
        assert_eq!(run(shell, "w", secret), returned(-1));
        assert_eq!(run(shell, "w", 16), returned(-14));
        assert_eq!(run(shell, "w", u64::MAX - 3), returned(-14));
        assert_eq!(run(shell, "w", application + 8190), returned(-1));
        assert_eq!(run(shell, "r", kernel_address), returned(7));
        assert_eq!(run(shell, "r", secret), returned(5));
        assert_eq!(run(shell, "r", 16), returned(-14));
        assert_eq!(run(shell, "o", 0), returned(0));
        assert_eq!(run(shell, "c", 0), returned(-14));
        for (what, address, argument) in [
            ("R", kernel_address, 0),
            ("R", secret, 0),
            ("R", 0, 0),
            ("p", 16, 0),
            ("P", application, 0),
            ("h", 16, 0),
            ("h", 0, 0),
            ("t", kernel_address, 0),
            ("t", u64::MAX, 0),
            ("b", 0, 1),
        ] {
            let (cause, owner, gate) = cause(run(shell, what, address));
            assert!(
                matches!(cause, Cause::Gate { argument: Some(found), .. } if found == argument),
                "{what}: {cause:?}"
            );
            assert_eq!(owner, Some(info.id));
            assert!(gate.is_some());
        }
        assert_eq!(*kernel, 7);
    });
}

#[test]
fn the_guest_can_be_looked_at() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let source = r#"
            static struct uio_thread threads[8]; static struct uio_region regions[64]; static struct uio_block blocks[2];
            static char text[64];
            int main(void) {
                size_t n = uio_threads(threads, 8);
                for (size_t i = 0; i < n; i++) { say(threads[i].name); say(threads[i].extension ? "*" : ""); say(" "); }
                if (threads[n - 1].id != uio_thread_id()) return 1;
                for (size_t i = 0; i < n; i++)
                    if (threads[i].stack_pointer != (threads[i].state == 0 ? 0 : 0x51ac0000 + threads[i].id)) return 7;
                n = uio_regions(regions, 64);
                for (size_t i = 0; i < n; i++)
                    if ((char *)regions[i].start <= text && text < (char *)regions[i].start + regions[i].bytes) {
                        say(regions[i].owner); if (regions[i].access != 1) return 2; }
                uint64_t cursor = 0; say(" ");
                while ((n = uio_heap_blocks(&cursor, blocks, 2))) for (size_t i = 0; i < n; i++) say_number(blocks[i].address);
                if (uio_file_size("/none") != -2) return 3;
                if (uio_file_write("/f", 2, "abc", 3) != 3 || uio_file_size("/f") != 5) return 4;
                if (uio_file_read("/f", 2, text, 64) != 3) return 5;
                say(" "); say(text);
                uint64_t before = uio_time_ns(); uio_sleep_ns(2000000);
                if (uio_time_ns() - before < 2000000) return 6;
                uio_yield(); uio_log("logged\n", 7);
                return 0;
            }"#;
        let info = shell.load(1, "look", source);
        let (output, outcome) = shell.run(1, &info, &["look"]);
        assert_eq!(output, "overlay look* extension look data 409641124128 abc");
        assert_eq!(outcome, Outcome::Returned(0));
        let Ok(Reply::Log(lines)) = shell.ask(1, &Request::Log { from: 0 }) else { panic!() };
        assert_eq!(lines.last().unwrap().text, "logged");
    });
}

/// Contents of files go through a buffer of the kernel, in pieces.
#[test]
fn large_files_arrive_whole() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let source = r#"
            enum { BYTES = 700001 };
            int main(void) {
                unsigned char *out = uio_alloc(BYTES, 8), *in = uio_alloc(BYTES, 8);
                if (!out || !in) return 1;
                for (long i = 0; i < BYTES; i++) { out[i] = i * 7919 >> 5; in[i] = 0; }
                if (uio_file_write("/large", 3, out, BYTES) != BYTES || uio_file_size("/large") != BYTES + 3) return 2;
                if (uio_file_read("/large", 3, in, BYTES) != BYTES) return 3;
                for (long i = 0; i < BYTES; i++) if (in[i] != out[i]) return 4;
                /* No more than there is, and nothing. */
                if (uio_file_read("/large", BYTES, in, BYTES) != 3 || in[0] != out[BYTES - 3]) return 5;
                if (uio_file_read("/large", 0, in, 0) != 0 || uio_file_write("/large", 0, in, 0) != 0) return 6;
                return 0;
            }"#;
        let info = shell.load(1, "large", source);
        assert_eq!(shell.run(1, &info, &["large"]).1, Outcome::Returned(0));
    });
}

#[test]
fn a_run_waits_for_its_reader_and_the_guest_does_not() {
    with_machine(&[], |shell| {
        shell.hello(1);
        shell.hello(2);
        let source = r#"
            int main(void) {
                static char line[1000];
                for (int i = 0; i < 1000; i++) line[i] = 'a' + i % 26;
                for (int i = 0; i < 1000; i++) uio_print(line, 1000);
                return 5;
            }"#;
        let info = shell.load(1, "flood", source);
        shell.pays = false;
        let run = shell.start(1, &run_request(&info, &["flood"]));
        let sent = |shell: &Shell| shell.output(1, run).len();
        shell.wait(|shell| (sent(shell) > 250_000).then_some(()));
        let deadline = shell.machine.now_ns() + 50_000_000;
        while shell.machine.now_ns() < deadline {
            shell.step(5);
        }
        let first = sent(shell);
        assert!(first < EVENT_CREDIT_BYTES as usize, "{first}");
        assert!(shell.ask(2, &Request::Info).is_ok());
        assert!(extensions(shell)[0].runs == 1);
        assert_eq!(sent(shell), first);
        // Some credit lets through some.
        shell.send(1, &Request::Credit { bytes: 1000 });
        shell.wait(|shell| (sent(shell) > first).then_some(()));
        assert!(sent(shell) <= first + 1000);
        while !shell.events.iter().any(|(_, event)| matches!(event, Event::Exited { .. })) {
            shell.send(1, &Request::Credit { bytes: 50_000 });
            // The first step takes the request, the second lets the run go on.
            shell.step(0);
            shell.step(5);
        }
        let (output, outcome) = shell.finish(1, run);
        assert_eq!((output.len(), outcome), (1_000_000, Outcome::Returned(5)));
        assert!(output.as_bytes().chunks(1000).all(|line| line[..3] == *b"abc"));
    });
}

const FLOOD: &str = "int main(void) { static char text[4000]; for (;;) uio_print(text, sizeof text); }";
const SLEEPER: &str = "int main(void) { say(\"z\"); for (;;) uio_sleep_ns(3600000000000); }";

#[test]
fn runs_are_interrupted_killed_and_abandoned() {
    with_machine(&[], |shell| {
        shell.hello(1);
        shell.hello(2);
        let info = shell.load(1, "sleeper", SLEEPER);
        let runs: Vec<_> = (0..3).map(|_| shell.start(1, &run_request(&info, &["sleeper"]))).collect();
        shell.wait(|shell| (shell.output(1, runs[2]) == "z").then_some(()));
        assert_eq!(
            shell.ask(1, &Request::Unload(info.id)),
            Err(RpcError::InUse { runs: 3, used_by: vec![] })
        );
        assert_eq!(shell.ask(2, &Request::Interrupt(runs[0])), Ok(Reply::Done));
        assert_eq!(cause(shell.finish(1, runs[0]).1).0, Cause::Interrupted);
        assert_eq!(extensions(shell)[0].runs, 2);
        assert_eq!(shell.ask(2, &Request::Kill(info.id)), Ok(Reply::Done));
        assert_eq!(cause(shell.finish(1, runs[1]).1).0, Cause::Interrupted);
        assert_eq!(cause(shell.finish(1, runs[2]).1).0, Cause::Interrupted);
        assert_eq!(extensions(shell)[0].faults, 0);

        // A shell that goes takes its runs along, also one that waits for it to read.
        let flood = shell.load(1, "flood", FLOOD);
        shell.pays = false;
        shell.start(2, &run_request(&info, &["sleeper"]));
        shell.start(2, &run_request(&flood, &["flood"]));
        for _ in 0..50 {
            shell.step(1);
        }
        assert_eq!(extensions(shell).iter().map(|info| info.runs).sum::<u32>(), 2);
        shell.hello(2);
        shell.wait(|shell| (shell.machine.thread_names().is_empty()).then_some(()));
        assert_eq!(extensions(shell).iter().map(|info| info.runs).sum::<u32>(), 0);
        for id in [info.id, flood.id] {
            assert_eq!(shell.ask(1, &Request::Unload(id)), Ok(Reply::Done));
        }
        assert_eq!(shell.pages(), 0);
    });
}

#[test]
fn runs_are_bounded_with_those_whose_end_was_not_told() {
    with_machine(&[], |shell| {
        shell.hello(1);
        shell.hello(2);
        let info = shell.load(1, "abort", "int main(void) { uio_abort(\"\", 0); }");
        // Use the credit up, so that no end can be told.
        shell.pays = false;
        let flood = shell.load(1, "flood", FLOOD);
        shell.start(1, &run_request(&flood, &["flood"]));
        for _ in 0..50 {
            shell.step(1);
        }
        for _ in 1..RUNS_MAX {
            shell.start(1, &run_request(&info, &["abort"]));
            shell.step(1);
        }
        assert!(matches!(shell.ask(1, &run_request(&info, &["abort"])), Err(RpcError::Limit { .. })));
        assert!(matches!(shell.ask(2, &run_request(&info, &["abort"])), Err(RpcError::Limit { .. })));
        assert_eq!(shell.ask(1, &Request::Bye), Ok(Reply::Done));
        shell.pays = true;
        let run = shell.wait(|shell| match shell.ask(2, &run_request(&info, &["abort"])) {
            Ok(Reply::Started(run)) => Some(run),
            _ => None,
        });
        assert!(matches!(cause(shell.finish(2, run).1).0, Cause::Abort { .. }));
    });
}

#[test]
fn extensions_link_to_each_other() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let library = shell.load(
            1,
            "library",
            r#"
            int shared_number = 6;
            long times(long a, long b) { shared_number++; return a * b; }
            void fail(void) { uio_abort("library", 7); }
            int main(void) { return 0; }"#,
        );
        let user = r#"
            extern int shared_number; long times(long, long); void fail(void);
            int main(int argc, char **argv) {
                if (argc > 1) fail();
                long (*volatile f)(long, long) = times;
                return f(shared_number, 7) * 100 + shared_number;
            }"#;
        let user = shell.load(1, "user", user);
        assert_eq!(shell.run(1, &user, &["user"]).1, Outcome::Returned(4207));
        assert_eq!(shell.run(1, &user, &["user"]).1, Outcome::Returned(4908));
        let used_by = vec!["user".to_string()];
        assert_eq!(shell.ask(1, &Request::Unload(library.id)), Err(RpcError::InUse { runs: 0, used_by }));
        let (cause, owner, gate) = cause(shell.run(1, &user, &["user", "fail"]).1);
        assert_eq!(cause, Cause::Abort { message: "library".to_string() });
        assert_eq!((owner, gate.as_deref()), (Some(library.id), Some("uio_abort")));
        let faults: Vec<_> = extensions(shell).iter().map(|info| (info.name.clone(), info.faults)).collect();
        assert_eq!(faults, [("library".to_string(), 1), ("user".to_string(), 0)]);
        assert_eq!(shell.ask(1, &Request::Unload(user.id)), Ok(Reply::Done));
        assert_eq!(shell.ask(1, &Request::Unload(library.id)), Ok(Reply::Done));
        assert_eq!(shell.pages(), 0);
    });
}

#[test]
fn nothing_links_to_what_is_isolated_less() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let library = "int number = 3; int apply(int (*f)(void)) { return f(); }";
        shell.try_load(1, &image("library", library), Isolation::None).unwrap();
        let strong =
            "int apply(int (*)(void)); static int f(void) { return 4; } int main(void) { return apply(f); }";
        let error = shell.try_load(1, &image("strong", strong), Isolation::Mpk).unwrap_err();
        let RpcError::Load(LoadError::NoIsolation { reason }) = error else { panic!("{error:?}") };
        assert!(reason.contains("`apply`") && reason.contains("`library`"), "{reason}");
        let equal = shell.try_load(1, &image("equal", strong), Isolation::None).unwrap();
        assert_eq!(shell.run(1, &equal, &["x"]).1, Outcome::Returned(4));
        // Without it a weak reference is null, and data can be read as all data can.
        let weak = "__attribute__((weak)) int apply(int (*)(void)); extern int number;
            int main(void) { return apply ? 9 : number; }";
        let weak = shell.load(1, "weak", weak);
        assert_eq!(shell.run(1, &weak, &["x"]).1, Outcome::Returned(3));
        let users: Vec<_> = extensions(shell).into_iter().map(|info| info.used_by).collect();
        assert_eq!(users[0], ["equal", "weak"]);
    });
}

#[test]
fn a_stack_of_the_called_extension_is_the_callee_s_alone() {
    with_machine(&[], |shell| {
        shell.hello(1);
        // What the caller passes of its own stack, the callee may read; through a gate it may not write there.
        shell.load(
            1,
            "callee",
            "int fill(char *p) { return uio_read(p, \"x\", 1); } int look(char *p) { return *p; }",
        );
        let source = "int fill(char *); int look(char *);
            int main(int argc, char **argv) { char c = 'q'; return argc > 1 ? fill(&c) : look(&c); }";
        let caller = shell.load(1, "caller", source);
        assert_eq!(shell.run(1, &caller, &["c"]).1, Outcome::Returned(i64::from(b'q')));
        let (cause, ..) = cause(shell.run(1, &caller, &["c", "fill"]).1);
        assert!(matches!(cause, Cause::Gate { argument: Some(0), .. }), "{cause:?}");
    });
}

#[test]
fn endless_recursion_through_gates_ends() {
    with_machine(&[], |shell| {
        shell.hello(1);
        // The linker resolves to what is loaded, so the cycle is closed by a pointer.
        shell.load(1, "bounce", "int bounce(int (*back)(int), int n) { return back(n + 1); }");
        let source = "int bounce(int (*)(int), int); static int back(int n) { return bounce(back, n); }
            int main(void) { return back(0); }";
        let caller = shell.load(1, "caller", source);
        let (cause, _, gate) = cause(shell.run(1, &caller, &["c"]).1);
        assert_eq!((cause, gate.as_deref()), (Cause::GateDepth, Some("bounce")));
    });
}

#[test]
fn two_sessions_load_at_once() {
    with_machine(&[], |shell| {
        shell.hello(1);
        shell.hello(2);
        let slow = "int init(void) { uio_sleep_ns(30000000); say(\"slow\"); return 0; }";
        let first = shell.begin_load(1, &image("first", slow), Isolation::Mpk);
        let second = shell.begin_load(2, &image("second", slow), Isolation::Mpk);
        let same = shell.begin_load(2, &image("first", HELLO), Isolation::Mpk);
        // The overlay serves others meanwhile.
        assert!(shell.ask(1, &Request::Info).is_ok());
        assert!(shell.try_response(1, first).is_none());
        assert!(matches!(shell.response(1, first), Ok(Reply::Loaded(_))));
        assert!(shell.try_response(2, second).is_none());
        assert!(matches!(shell.response(2, second), Ok(Reply::Loaded(_))));
        assert!(matches!(shell.response(2, same), Err(RpcError::Load(LoadError::NameTaken(_)))));
    });
}

#[test]
fn a_shell_that_dies_while_loading_leaves_nothing() {
    with_machine(&[], |shell| {
        shell.hello(1);
        shell.hello(2);
        let endless = "int init(void) { for (;;) uio_sleep_ns(1000000); }";
        shell.begin_load(2, &image("endless", endless), Isolation::Mpk);
        shell.begin_load(2, &image("waiting", HELLO), Isolation::Mpk);
        shell.wait(|shell| (shell.machine.thread_names() == ["endless"]).then_some(()));
        assert_eq!(shell.ask(2, &Request::Bye), Ok(Reply::Done));
        let own = shell.load(1, "own", HELLO);
        let names: Vec<_> = extensions(shell).into_iter().map(|info| info.name).collect();
        assert_eq!(names, ["own"]);
        assert_eq!(shell.ask(1, &Request::Unload(own.id)), Ok(Reply::Done));
        assert_eq!(shell.pages(), 0);
    });
}

#[test]
fn init_has_a_limited_time_and_drops_what_nobody_reads() {
    with_machine(&[], |shell| {
        shell.hello(1);
        shell.pays = false;
        let flood = "int init(void) { for (int i = 0; i < 6000; i++) say(\"xxxxxxxxxxxxxxxx\"); return 0; }";
        let info = shell.load(1, "flood", flood);
        let Ok(Reply::Log(lines)) = shell.ask(1, &Request::Log { from: 0 }) else { panic!() };
        assert!(lines.last().unwrap().text.contains("found no reader"));
        shell.send(1, &Request::Credit { bytes: u32::MAX });
        shell.pays = true;
        let endless = "int init(void) { for (;;) uio_sleep_ns(3600000000000); }";
        let error = shell.try_load(1, &image("endless", endless), Isolation::Mpk).unwrap_err();
        let RpcError::Load(LoadError::InitFaulted { report, .. }) = error else { panic!("{error:?}") };
        assert_eq!(report.cause, Cause::Budget { budget_ms: 10_000 });
        assert_eq!(shell.ask(1, &Request::Unload(info.id)), Ok(Reply::Done));
        assert_eq!(shell.pages(), 0);
    });
}

#[test]
fn nothing_is_left_of_a_thousand_loads() {
    with_machine(&[], |shell| {
        shell.hello(1);
        let object = compile("again", HELLO);
        let image = uio_objects::parse(&object, "again").unwrap().image;
        for round in 0..1000 {
            let info = shell.try_load(1, &image, Isolation::Mpk).unwrap();
            if round % 10 == 0 {
                assert_eq!(shell.run(1, &info, &["x"]).1, Outcome::Returned(-1));
                shell.events.clear();
            }
            assert_eq!(shell.ask(1, &Request::Unload(info.id)), Ok(Reply::Done));
        }
        assert_eq!(shell.pages(), 0);
    });
}
