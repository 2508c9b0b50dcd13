//! What compilers write, variant by variant, and what is refused.

use uio_bpf::instruction::{Callee, Immediate64, Operation, decode};
use uio_bpf_objects::{BpfObjectError, ParsedObject, from_slots, key_type, parse, parse_flat, value_type};
use uio_bpf_samples::{Cpu, compile};
use uio_protocol::bpf::{MapKind, MapSpec, ProgramImage, ProgramKind};

const HEAD: &str = "#include \"uio_bpf.h\"\n";

fn c(source: &str) -> Vec<u8> {
    c_with(source, &[])
}

fn c_with(source: &str, flags: &[&str]) -> Vec<u8> {
    compile(&format!("{HEAD}{source}"), "test", Cpu::V3, flags)
}

fn parsed(bytes: &[u8]) -> ParsedObject {
    parse(bytes, "test").unwrap_or_else(|error| panic!("{error}"))
}

fn error(bytes: &[u8]) -> BpfObjectError {
    let error = parse(bytes, "test").map(|_| ()).expect_err("it has to be refused");
    assert!(!error.to_string().is_empty() && !error.suggestion().is_empty());
    error
}

fn operations(program: &ProgramImage) -> Vec<Operation> {
    decode(&program.slots).unwrap().iter().map(|(_, operation)| operation).collect()
}

/// What the program's 64-bit immediate loads load.
fn loads(program: &ProgramImage) -> Vec<Immediate64> {
    let load = |operation: &Operation| match operation {
        Operation::LoadImmediate { value, .. } => Some(*value),
        _ => None,
    };
    operations(program).iter().filter_map(load).collect()
}

fn map<'a>(object: &'a ParsedObject, name: &str) -> &'a MapSpec {
    object.image.maps.iter().find(|map| map.name == name).unwrap_or_else(|| panic!("no map {name}"))
}

#[test]
fn several_programs_in_one_section_and_in_several() {
    let object = parsed(&c(r#"
        SEC("xdp") int first(struct xdp_md *context) { return XDP_PASS; }
        SEC("xdp") int second(struct xdp_md *context) { return XDP_DROP; }
        SEC("timer/5") int third(struct uio_timer *timer) { return 3; }
        SEC("raw/16") int fourth(void *memory) { return 4; }
    "#));
    let programs: Vec<_> = object
        .image
        .programs
        .iter()
        .map(|program| (program.name.as_str(), program.kind, program.target.as_str(), program.slots.len()))
        .collect();
    assert_eq!(
        programs,
        [
            ("first", ProgramKind::Packet, "", 2),
            ("second", ProgramKind::Packet, "", 2),
            ("third", ProgramKind::Timer, "5", 2),
            ("fourth", ProgramKind::Raw { memory_bytes: 16 }, "", 2),
        ]
    );
}

#[test]
fn functions_of_the_same_section_are_copied_behind() {
    // `helper` is in the program's own section: a relative call without a symbol.
    let object = parsed(&c(r#"
        static __noinline SEC("xdp") int helper(int number) { return number * 7; }
        static __noinline int outer(int number) { return helper(number) + 1; }
        SEC("xdp") int program(struct xdp_md *context) { return helper(context->rx_queue_index) + outer(5); }
        SEC("xdp/other") int other(struct xdp_md *context) { return outer(context->rx_queue_index); }
    "#));
    assert_eq!(object.image.programs.len(), 2);
    for (index, program) in object.image.programs.iter().enumerate() {
        for operation in operations(program) {
            if let Operation::Call(Callee::Function(target)) = operation {
                assert!(program.functions.contains(&target), "{}: {target}", program.name);
            }
        }
        let names = &object.source.programs[index].functions;
        assert_eq!(names.len(), program.functions.len());
        assert!(names.contains(&"helper".to_string()), "{names:?}");
    }
}

#[test]
fn a_function_calls_itself_where_it_lies() {
    let object = parsed(&uio_bpf_samples::rejected_object("recursion", Cpu::V3));
    let program = &object.image.programs[0];
    let calls: Vec<_> = operations(program)
        .into_iter()
        .filter(|operation| matches!(operation, Operation::Call(Callee::Function(_))))
        .collect();
    assert_eq!(calls, [Operation::Call(Callee::Function(program.functions[1])); 2]);
}

#[test]
fn variables_are_maps_of_one_value() {
    let object = parsed(&c(r#"
        struct point { int x; short y[2]; };
        __u64 zero; struct point start = {-1, {2, 3}}; static __u32 hidden = 9;
        const volatile __u32 limit = 77;
        SEC("xdp") int program(struct xdp_md *context) {
            zero += start.x + limit;
            hidden++;
            start.y[1]++;
            return XDP_PASS;
        }
    "#));
    let (bss, data, rodata) = (map(&object, ".bss"), map(&object, ".data"), map(&object, ".rodata"));
    for spec in [bss, data, rodata] {
        assert_eq!((spec.kind, spec.key_bytes, spec.max_entries), (MapKind::Array, 4, 1), "{spec:?}");
        assert_eq!(spec.read_only, spec.name == ".rodata");
    }
    assert_eq!(rodata.initial, 77u32.to_le_bytes());
    assert!(bss.initial.is_empty(), "zeros need no bytes");
    assert_eq!(value_type(data).render(&data.initial), "{ start = { x = -1, y = [2, 3] }, hidden = 9 }");
    let used: Vec<_> = loads(&object.image.programs[0])
        .iter()
        .map(|load| match load {
            Immediate64::MapValue { map, offset } => {
                let (variable, inside) = object.source.variable(*map, *offset).unwrap();
                (variable.name.as_str(), inside)
            }
            other => panic!("{other:?}"),
        })
        .collect();
    for name in ["zero", "start", "hidden", "limit"] {
        assert!(used.iter().any(|(used, _)| *used == name), "{name}: {used:?}");
    }
}

#[test]
fn elements_behind_a_symbol_keep_their_distance() {
    let object = parsed(&c(r#"
        __u64 front = 1; __u32 table[100] = {5};
        SEC("xdp") int program(struct xdp_md *context) {
            __u64 address;
            asm volatile("%0 = table + 160 ll" : "=r"(address));
            return front + address + table[0];
        }
    "#));
    let places: Vec<_> = loads(&object.image.programs[0])
        .iter()
        .filter_map(|load| match load {
            Immediate64::MapValue { map, offset } => object.source.variable(*map, *offset),
            _ => None,
        })
        .map(|(variable, inside)| (variable.name.as_str(), inside))
        .collect();
    assert!(places.contains(&("table", 160)), "{places:?}");
}

#[test]
fn definitions_of_maps() {
    let object = parsed(&c(r#"
        typedef struct { __u8 address[6]; } hardware;
        enum state { NEW, OPEN = 5, CLOSED };
        struct entry { enum state state; unsigned first : 4; unsigned second : 12; hardware source; void *next; char name[8]; };
        struct { __uint(type, BPF_MAP_TYPE_LRU_HASH); __uint(max_entries, 7); __type(key, hardware); __type(value, struct entry);
                 __uint(pinning, LIBBPF_PIN_BY_NAME); __uint(map_flags, 4); } typed SEC(".maps");
        struct { __uint(type, BPF_MAP_TYPE_QUEUE); __uint(max_entries, 3); __uint(value_size, 12); } queue SEC(".maps");
        struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(max_entries, 3); __uint(key_size, 4); __type(value, long);
                 __uint(map_flags, BPF_F_RDONLY_PROG); } numbers SEC(".maps");
        static struct { __uint(type, BPF_MAP_TYPE_STACK); __uint(max_entries, 3); __type(value, __u16); } stack SEC(".maps");
        SEC("xdp") int program(struct xdp_md *context) { __u16 value = 1; return bpf_map_push_elem(&stack, &value, 0); }
    "#));
    let typed = map(&object, "typed");
    assert_eq!(
        (typed.kind, typed.key_bytes, typed.value_bytes, typed.max_entries),
        (MapKind::LruHash, 6, 32, 7)
    );
    assert!(typed.pinned && typed.flags == 4 && !typed.read_only);
    let value = value_type(typed);
    let bytes = value.parse(
        "{ .state = OPEN, first = 9, 0x123, source = { [2, 0, 0, 0, 0, 1] }, name = \"web\", next = 0x10 }",
    );
    let bytes = bytes.unwrap();
    assert_eq!(bytes[..10], [5, 0, 0, 0, 0x39, 0x12, 2, 0, 0, 0]);
    assert_eq!(
        value.render(&bytes),
        "{ state = OPEN, first = 9, second = 291, source = { address = [2, 0, 0, 0, 0, 1] }, next = 0x10, name = \"web\" }"
    );
    // A record of one member takes what the member takes.
    assert_eq!(key_type(typed).parse("02:00:00:00:00:01"), Ok(vec![2, 0, 0, 0, 0, 1]));
    let queue = map(&object, "queue");
    assert_eq!((queue.kind, queue.key_bytes, queue.value_bytes), (MapKind::Queue, 0, 12));
    assert!(queue.value_type.is_empty());
    let numbers = map(&object, "numbers");
    assert!(numbers.read_only && numbers.kind == MapKind::PerCpuArray && numbers.value_bytes == 8);
    let stack = object.image.maps.iter().position(|map| map.name == "stack").unwrap() as u32;
    assert!(loads(&object.image.programs[0]).contains(&Immediate64::Map(stack)));
}

#[test]
fn maps_of_maps_describe_their_inner_maps() {
    let object = parsed(&c(r#"
        struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 8); __type(key, __u32); __type(value, __u64); };
        struct { __uint(type, BPF_MAP_TYPE_HASH_OF_MAPS); __uint(max_entries, 4); __type(key, __u16);
                 __array(values, struct inner); } outer SEC(".maps");
        struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 4); __uint(key_size, 4);
                 __array(values, int(void *)); } programs SEC(".maps");
        SEC("xdp") int program(struct xdp_md *context) { __u16 key = 1; return bpf_map_lookup_elem(&outer, &key) != 0; }
    "#));
    let outer = map(&object, "outer");
    assert_eq!((outer.kind, outer.key_bytes, outer.value_bytes), (MapKind::HashOfMaps, 2, 4));
    let inner = &object.image.maps[outer.inner.unwrap() as usize];
    assert_eq!((inner.name.as_str(), inner.kind, inner.value_bytes), ("outer.inner", MapKind::Array, 8));
    assert_eq!((map(&object, "programs").value_bytes, map(&object, "programs").inner), (4, None));
}

#[test]
fn legacy_definitions_of_maps() {
    let object = parsed(&c(r#"
        struct bpf_map_def { __u32 type, key_size, value_size, max_entries, map_flags; };
        struct aya { __u32 type, key_size, value_size, max_entries, map_flags, id, pinning; };
        SEC("maps") struct bpf_map_def counts = {2, 4, 8, 16, 0};
        SEC("maps") struct aya connections = {1, 16, 12, 1028, 0, 0, 1};
        SEC("bpffilter") int main(struct uio_packet *context) {
            __u32 key = 1; __u64 long_key[2] = {};
            return bpf_map_lookup_elem(&counts, &key) || bpf_map_lookup_elem(&connections, long_key) ? 1 : 2;
        }
    "#));
    let maps: Vec<_> = object
        .image
        .maps
        .iter()
        .map(|map| (map.name.as_str(), map.kind, map.key_bytes, map.value_bytes, map.max_entries, map.pinned))
        .collect();
    let counts = ("counts", MapKind::Array, 4, 8, 16, false);
    assert_eq!(maps, [counts, ("connections", MapKind::Hash, 16, 12, 1028, true)]);
    assert_eq!(loads(&object.image.programs[0]), [Immediate64::Map(0), Immediate64::Map(1)]);
    assert_eq!(value_type(&object.image.maps[1]).render(&[1, 2]), "hex 01 02 00 00 00 00 00 00 00 00 00 00");
}

#[test]
fn constants_without_a_size() {
    // As rustc and assemblers leave them: a label in .rodata.
    let object = parsed(&c(r#"
        asm(".section .rodata\n.globl secret\nsecret: .ascii \"leetcode\"\n.text\n");
        extern const char secret[8];
        SEC("bpffilter") int main(struct uio_packet *context) { return secret[3]; }
    "#));
    assert_eq!(map(&object, ".rodata").initial, b"leetcode");
    assert_eq!(loads(&object.image.programs[0]), [Immediate64::MapValue { map: 0, offset: 0 }]);
}

#[test]
fn objects_without_debug_information_have_programs_but_no_lines() {
    let source = "SEC(\"xdp\") int program(struct xdp_md *context) { return context->rx_queue_index; }";
    let (with, without) = (parsed(&c(source)), parsed(&c_with(source, &["-g0"])));
    assert_eq!(with.image, without.image);
    let line = with.source.line(0, 0).unwrap();
    assert!(line.file.ends_with("test.c") && line.text.starts_with("SEC(\"xdp\") int program("), "{line:?}");
    assert_eq!(line.line, 2);
    assert!(with.source.begins_line(0, 0));
    assert_eq!(without.source.line(0, 0), None);
}

#[test]
fn missing_symbols_are_named_all_at_once() {
    let source = r#"
        extern int absent(int); extern __u32 LINUX_VERSION; extern int missing(void);
        SEC("xdp") int first(struct xdp_md *context) { return absent(3) + LINUX_VERSION; }
        SEC("xdp") int second(struct xdp_md *context) { return missing() + absent(4); }
    "#;
    let symbols = ["LINUX_VERSION", "absent", "missing"].map(String::from).to_vec();
    assert_eq!(error(&c(source)), BpfObjectError::MissingSymbols { symbols });
}

#[test]
fn core_relocations_are_refused_with_the_type() {
    let bytes = c(r#"
        struct task { int pid; } __attribute__((preserve_access_index));
        SEC("kprobe/fork") int program(struct pt_regs *registers) { return ((struct task *)registers)->pid; }
    "#);
    let BpfObjectError::CoRe { section, function, type_name } = error(&bytes) else { panic!() };
    assert_eq!((section.as_str(), function.as_str(), type_name.as_str()), ("kprobe/fork", "program", "task"));
}

#[test]
fn sections_for_other_programs_are_refused() {
    let in_section =
        |name: &str| error(&c(&format!("SEC(\"{name}\") int program(void *context) {{ return 0; }}")));
    assert_eq!(in_section("filter"), BpfObjectError::UnknownSection { section: "filter".into() });
    assert_eq!(in_section("raw/all"), BpfObjectError::RawSize { section: "raw/all".into() });
    let tc = in_section("tc");
    assert!(
        matches!(tc, BpfObjectError::UnsupportedProgram { .. }) && tc.suggestion().contains("xdp"),
        "{tc:?}"
    );
    assert_eq!(error(&c("int program(void *context) { return 0; }")), BpfObjectError::NoPrograms);
    assert_eq!(
        error(&c("SEC(\"xdp\") static int program(void *c) { return 0; }")),
        BpfObjectError::NoPrograms
    );
}

#[test]
fn wrong_references_are_refused() {
    let program = |rest: &str, body: &str| {
        error(&c(&format!("{rest}\nSEC(\"xdp\") int program(struct xdp_md *context) {{ {body} }}")))
    };
    let BpfObjectError::UnsupportedTarget { symbol, what, .. } =
        program("SEC(\"elsewhere\") int odd = 5;", "odd++; return 0;")
    else {
        panic!()
    };
    assert!(symbol == "odd" && what.contains("elsewhere"), "{symbol} {what}");

    let BpfObjectError::AddressInData { section, symbol, .. } =
        program("static int value = 3; int *volatile pointer = &value;", "return *pointer;")
    else {
        panic!()
    };
    assert_eq!((section.as_str(), symbol.as_str()), (".data", ".data"));

    let BpfObjectError::UnsupportedTarget { what, .. } = program(
        "struct { __uint(type, 2); __uint(max_entries, 1); __type(key, int); __type(value, int); } map SEC(\".maps\");",
        "__u64 address; asm volatile(\"%0 = map + 8 ll\" : \"=r\"(address)); return address;",
    ) else {
        panic!()
    };
    assert!(what.contains("no map"), "{what}");
}

#[test]
fn wrong_maps_are_refused_by_name() {
    let map = |members: &str| {
        let bytes = c(&format!(
            "struct {{ {members} }} chosen SEC(\".maps\");\nSEC(\"xdp\") int program(void *c) {{ return 0; }}"
        ));
        match error(&bytes) {
            BpfObjectError::Map { map, reason } => {
                assert_eq!(map, "chosen");
                reason
            }
            other => panic!("{other}"),
        }
    };
    let typed = "__type(key, int); __type(value, int); __uint(max_entries, 1);";
    assert!(map("__uint(type, 4); __uint(max_entries, 1);").contains("perf_event_array"));
    assert!(map(typed).contains("no `type`"));
    assert!(map(&format!("__uint(type, 1); __uint(colour, 3); {typed}")).contains("`colour`"));
    assert!(map(&format!("__uint(type, 1); __uint(pinning, 2); {typed}")).contains("pinning 2"));
    assert!(map("__uint(type, 1); __type(key, int); __type(value, int);").contains("max_entries"));
    assert!(
        map("__uint(type, 2); __type(key, long); __type(value, int); __uint(max_entries, 1);")
            .contains("8 bytes")
    );
    assert!(map("__uint(type, 27); __type(key, int); __uint(max_entries, 4096);").contains("key of 4 bytes"));
    assert!(map(&format!("__uint(type, 1); __uint(key_size, 8); {typed}")).contains("of 4 bytes"));
    assert!(map(&format!("__uint(type, 12); {typed}")).contains("inner"));
    assert!(map(&format!("__uint(type, 1); int key_size; {typed}")).contains("__uint(key_size"));
}

#[test]
fn first_contents_of_maps_are_refused() {
    let bytes = c(r#"
        SEC("xdp/target") int target(struct xdp_md *context) { return 0; }
        struct { __uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 4); __uint(key_size, 4);
                 __array(values, int(void *)); } programs SEC(".maps") = { .values = { [1] = (void *)&target } };
        SEC("xdp") int program(struct xdp_md *context) { return bpf_tail_call(context, &programs, 1); }
    "#);
    let BpfObjectError::Map { map, reason } = error(&bytes) else { panic!() };
    assert!(map == "programs" && reason.contains("target"), "{map}: {reason}");
}

#[test]
fn maps_without_types_say_so() {
    let source = r#"
        struct { __uint(type, 2); __uint(max_entries, 1); __type(key, int); __type(value, int); } map SEC(".maps");
        SEC("xdp") int program(void *context) { int key = 0; return bpf_map_lookup_elem(&map, &key) != 0; }
    "#;
    let BpfObjectError::Map { reason, .. } = error(&c_with(source, &["-g0"])) else { panic!() };
    assert!(reason.contains("no types"), "{reason}");
}

#[test]
fn other_files_are_refused() {
    assert_eq!(error(b"hello"), BpfObjectError::NotElf);
    let native = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    // This test itself: larger than what is taken, or for another machine.
    assert!(matches!(error(&native), BpfObjectError::WrongMachine { .. } | BpfObjectError::Limit { .. }));
    let good = c("SEC(\"xdp\") int program(void *context) { return 0; }");
    let mut big_endian = good.clone();
    big_endian[5] = 2;
    assert_ne!(parse(&big_endian, "test").map(|_| ()), Ok(()));
    let mut executable = good.clone();
    executable[16] = 2;
    assert_eq!(error(&executable), BpfObjectError::NotRelocatable { found: "an executable" });
    let mut arm = good;
    arm[18] = 183;
    arm[19] = 0;
    assert_eq!(error(&arm), BpfObjectError::WrongMachine { machine: 183 });
}

#[test]
fn instructions_that_are_none_are_refused_with_their_function() {
    // LD_ABS is not among the instructions of RFC 9669's base groups.
    let bytes = c(r#"
        static __noinline int inner(void) { asm volatile(".byte 0x20, 0, 0, 0, 0, 0, 0, 0"); return 1; }
        SEC("xdp") int program(void *context) { return inner() + inner(); }
    "#);
    let BpfObjectError::Instruction { function, slot, .. } = error(&bytes) else { panic!() };
    assert_eq!((function.as_str(), slot), ("inner", 0));
    let leaves = c(r#"
        static __noinline int inner(void) { asm volatile("goto +40"); return 1; }
        SEC("xdp") int program(void *context) { return inner() + inner(); }
    "#);
    let BpfObjectError::Function { function, reason, .. } = error(&leaves) else { panic!() };
    assert!(function == "inner" && reason.contains("out of the function"), "{reason}");
}

#[test]
fn flat_programs() {
    // r0 = 7; call +1; exit; r0 += 1; exit
    let slots = vec![0x0000_0007_0000_00b7, 0x0000_0001_0000_1085, 0x95, 0x0000_0001_0000_0007, 0x95];
    let bytes: Vec<u8> = slots.iter().flat_map(|slot: &u64| slot.to_le_bytes()).collect();
    let image = parse_flat(&bytes, "flat", 32).unwrap();
    assert_eq!(image.programs[0].functions, [0, 3]);
    assert_eq!(image.programs[0].kind, ProgramKind::Raw { memory_bytes: 32 });
    assert_eq!(from_slots(slots, "flat", 32), Ok(image));
    assert!(matches!(parse_flat(&bytes[1..], "flat", 0), Err(BpfObjectError::Malformed { .. })));
    assert!(matches!(parse_flat(&[], "flat", 0), Err(BpfObjectError::Malformed { .. })));
    let BpfObjectError::Instruction { slot, .. } = parse_flat(&[0xff; 8], "flat", 0).unwrap_err() else {
        panic!()
    };
    assert_eq!(slot, 0);
    assert!(matches!(parse_flat(&bytes, "flat", 1 << 21), Err(BpfObjectError::Limit { .. })));
}
