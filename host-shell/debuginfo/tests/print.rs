//! Printed values of a bare-metal image, read from its file.

mod support;

use uio_debuginfo::{FileMemory, MemoryError, PrintLimits, ReadMemory, Space};
use uio_protocol::inspect::Registers;

fn text(space: &Space, expression: &str) -> String {
    let registers = Registers { rip: 0x1000, rax: 5, ..Registers::default() };
    let image = space.image().clone();
    match space.print(expression, &mut FileMemory(&image), Some(&registers), PrintLimits::default()) {
        Ok(printed) => format!("{} = {}", printed.type_name, printed.datum.to_text()),
        Err(error) => error.to_string(),
    }
}

#[track_caller]
fn check(space: &Space, cases: &[(&str, &str)]) {
    let mut wrong = String::new();
    for (expression, expected) in cases {
        let found = text(space, expression);
        if found != *expected {
            wrong += &format!("\n{expression}\n  expected {expected}\n  found    {found}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn prints_scalars() {
    check(
        &support::guest_space(),
        &[
            ("COUNT", "core::sync::atomic::AtomicU64 = 41"),
            ("guest::SMALL", "core::sync::atomic::AtomicU32 = 7"),
            ("LETTER", "char = 'ß'"),
            ("FLAG", "bool = true"),
            ("RATIO", "f64 = 2.5"),
            ("SMALL_RATIO", "f32 = -0.125"),
            ("NEGATIVE", "i64 = -9000000000"),
            ("BYTE", "u8 = 200"),
            ("TINY", "i8 = -5"),
            ("HUGE", "u128 = 1267650600228229401496703205376"),
            ("COLOR", "guest::model::Color = Green"),
        ],
    );
}

#[test]
fn prints_structures() {
    check(
        &support::guest_space(),
        &[
            ("ORIGIN", "guest::model::Point = Point { x: 5, y: -3 }"),
            ("GRID", "[[u8; 3]; 2] = [[1, 2, 3], [4, 5, 6]]"),
            ("TUPLE", "(u8, &str, (bool, char)) = (1, \"two\", (true, 'x'))"),
            (
                "GUARDED",
                "guest::model::Lock<guest::model::Point> = Lock { locked: false, data: Point { x: 1, y: 2 } }",
            ),
            ("UNIT", "guest::model::Unit = Unit"),
            ("WRAPPED", "guest::model::Wrapper = Wrapper(77)"),
            ("BITS", "guest::model::Bits = Bits { integer: 1065353216, float: 1.0 }"),
            ("ZEROED", "[u64; 4] = [0, 0, 0, 0]"),
        ],
    );
}

#[test]
fn prints_enums_with_data() {
    check(
        &support::guest_space(),
        &[
            (
                "MESSAGES",
                "[guest::model::Message; 4] = [Quit, Move { dx: -1, dy: 2 }, Write(\"hi\\n\"), Code(9, 500)]",
            ),
            ("MAYBE", "[core::option::Option<&u32>; 2] = [None, Some(&44)]"),
            ("NUMBER", "core::option::Option<u16> = Some(12)"),
            ("NESTED", "core::option::Option<core::option::Option<bool>> = Some(None)"),
            ("MESSAGES[1].dx", "i32 = -1"),
            ("MESSAGES[1].Move.dy", "i32 = 2"),
            ("MESSAGES[3].1", "u16 = 500"),
            ("NUMBER.0 + 1", "u16 = 13"),
            (
                "MESSAGES[0].Move",
                "the value is `Quit` at the moment, not `Move`\n  MESSAGES[0].Move\n              ^^^^",
            ),
        ],
    );
}

#[test]
fn prints_texts_slices_and_pointers() {
    let space = support::guest_space();
    let symbol = |name: &str| space.image().find_symbols(name)[0].address;
    let (origin, set_count) = (symbol("ORIGIN"), symbol("set_count"));
    check(
        &space,
        &[
            ("GREETING", r#"&str = "hello, \"guest\"""#),
            ("SLICE", "&[u16] = [10, 20, 30]"),
            ("SLICE[1..]", "[u16; 2] = [20, 30]"),
            ("SLICE[..=1]", "[u16; 2] = [10, 20]"),
            ("GREETING[0]", "u8 = 104"),
            ("POINTER", &format!("*mut guest::model::Point = {origin:#x} <guest::ORIGIN>")),
            ("*POINTER", "guest::model::Point = Point { x: 5, y: -3 }"),
            ("POINTER.x", "u32 = 5"),
            ("NOWHERE", "*const u8 = 0x10"),
            ("*NOWHERE", "u8 = <cannot read 1 bytes at 0x10: not in the image file>"),
            ("HANDLER", &format!("extern \"C\" fn(u64) -> u64 = {set_count:#x} <set_count>")),
            ("set_count", &format!("*fn = {set_count:#x} <set_count>")),
            ("&ORIGIN.y", &format!("*i16 = {:#x} <guest::ORIGIN+0x4>", origin + 4)),
            ("SHAPE", "&(dyn guest::model::Shape + core::marker::Sync) = &guest::model::Point"),
            (
                "FIRST",
                "guest::model::Node = Node { value: 1, next: Some(&Node { value: 2, next: Some(&Node { value: 3, next: None }) }) }",
            ),
            ("FIRST.next.0.next.0.value", "u32 = 3"),
        ],
    );
    let ring = text(&space, "RING");
    assert_eq!(ring.matches("value: 9").count(), 3, "two references are followed: {ring}");
    assert!(ring.contains("next: Some(0xffffffff8") && ring.contains(" <guest::RING>) })"), "{ring}");
}

#[test]
fn puts_together_what_the_optimizer_took_apart() {
    let space = support::guest_space();
    let split = space.find_variables("SPLIT").expect("has debug information");
    assert!(
        split.len() == 1 && split[0].split && split[0].address.is_none(),
        "the fixture is to be split: {split:?}"
    );
    check(
        &space,
        &[
            ("SPLIT", "guest::Pair = Pair { first: 11, second: 22, flag: false }"),
            ("SPLIT.second + 1", "u32 = 23"),
            ("TWO_VALUES", "u32 = 3"),
            (
                "&SPLIT",
                "the optimizer gave the fields of this variable places of their own; name a field of it\n  &SPLIT\n   ^^^^^",
            ),
        ],
    );
    let image = space.image().clone();
    let assigned = space.assign("SPLIT.first", "5", &mut FileMemory(&image), None).expect("has an address");
    assert_eq!(assigned.bytes, [5, 0, 0, 0, 0, 0, 0, 0]);
    assert!(image.describe(assigned.address).is_some_and(|name| name.contains("SPLIT")));
    assert!(space.assign("SPLIT", "5", &mut FileMemory(&image), None).is_err());
}

#[test]
fn reads_a_struct_in_one_piece_and_nothing_beside_it() {
    struct Counting<'a>(FileMemory<'a>, Vec<(u64, usize)>);
    impl ReadMemory for Counting<'_> {
        fn read(&mut self, address: u64, buffer: &mut [u8]) -> Result<(), MemoryError> {
            self.1.push((address, buffer.len()));
            self.0.read(address, buffer)
        }
    }
    let space = support::guest_space();
    let image = space.image().clone();
    for (expression, size) in [("ORIGIN", 8), ("GUARDED", 12), ("PRIMES", 256), ("MESSAGES", 96), ("BYTE", 1)]
    {
        let mut memory = Counting(FileMemory(&image), Vec::new());
        let printed = space.print(expression, &mut memory, None, PrintLimits::default()).expect("is right");
        let address = printed.address.expect("is a variable");
        assert_eq!(memory.1[0], (address, size), "{expression}");
        let texts = usize::from(expression == "MESSAGES");
        assert_eq!(memory.1.len(), 1 + texts, "{expression}: {:?}", memory.1);
    }
}

#[test]
fn elides_long_arrays() {
    let primes = text(&support::guest_space(), "PRIMES");
    assert!(primes.starts_with("[u32; 300] = [\n  0, 3, 6, 9,"), "{primes}");
    assert!(primes.ends_with("189, … 236 more,\n]"), "{primes}");
    assert_eq!(text(&support::guest_space(), "PRIMES[299]"), "u32 = 897");
}

#[test]
fn computes() {
    check(
        &support::guest_space(),
        &[
            ("1 + 2 * 3", "i64 = 7"),
            ("(1 + 2) * 3", "i64 = 9"),
            ("0xffff_ffff_ffff_ffff", "u64 = 18446744073709551615"),
            ("COUNT + 1", "u64 = 42"),
            ("BYTE + 100", "i64 = 300"),
            ("BYTE as i8", "i8 = -56"),
            ("(i32)TINY", "i32 = -5"),
            ("TINY as u8 as u32", "u32 = 251"),
            ("COLOR as u8", "u8 = 2"),
            ("RATIO * 2", "f64 = 5.0"),
            ("RATIO as u8", "u8 = 2"),
            ("*(&ORIGIN as *u32)", "u32 = 5"),
            ("*((u32*)&ORIGIN + 0)", "u32 = 5"),
            ("&PRIMES[3] - &PRIMES[1]", "i64 = 2"),
            ("*(&PRIMES[0] + 5)", "u32 = 15"),
            ("GUARDED.data.y", "i16 = 2"),
            ("$rax + 1", "u64 = 6"),
            ("$rip", "*fn = 0x1000"),
            ("-COUNT", "i64 = -41"),
            ("'a' as u32", "u32 = 97"),
            ("65 as char", "char = 'A'"),
            ("&ORIGIN as *guest::model::Wrapper", &{
                let space = support::guest_space();
                let origin = space.image().find_symbols("ORIGIN")[0].address;
                format!("*guest::model::Wrapper = {origin:#x} <guest::ORIGIN>")
            }),
            ("true", "bool = true"),
        ],
    );
}

#[test]
fn explains_mistakes() {
    check(
        &support::guest_space(),
        &[
            (
                "CUONT + 1",
                "no variable or function `CUONT`\n  CUONT + 1\n  ^^^^^\ndid you mean `guest::COUNT`?",
            ),
            ("ORIGIN.z", "guest::model::Point has no field `z`\n  ORIGIN.z\n         ^"),
            ("ORIGIN.Y", "guest::model::Point has no field `Y`\n  ORIGIN.Y\n         ^\ndid you mean `y`?"),
            (
                "GUARDED.lokced",
                "guest::model::Lock<guest::model::Point> has no field `lokced`\n  GUARDED.lokced\n          ^^^^^^\ndid you mean `locked`?",
            ),
            ("PRIMES[300]", "index 300 is out of bounds; the length is 300\n  PRIMES[300]\n         ^^^"),
            ("PRIMES[2..1]", "bad range 2..1\n  PRIMES[2..1]\n  ^^^^^^^^^^^^"),
            ("*BYTE", "u8 cannot be dereferenced\n  *BYTE\n  ^^^^^"),
            ("BYTE[0]", "u8 cannot be indexed\n  BYTE[0]\n  ^^^^"),
            ("&1", "this is a computed value; it has no address\n  &1\n   ^"),
            ("1 / 0", "the result is not defined: overflow or division by zero\n  1 / 0\n  ^^^^^"),
            ("ORIGIN + 1", "guest::model::Point is not a number\n  ORIGIN + 1\n  ^^^^^^"),
            (
                "BYTE as Piont",
                "no type `Piont`\n  BYTE as Piont\n          ^^^^^\ndid you mean `guest::model::Point`?",
            ),
            ("ORIGIN as u64", "cannot cast guest::model::Point to u64\n  ORIGIN as u64\n  ^^^^^^^^^^^^^"),
            ("$rix", "no register `$rix`\n  $rix\n  ^^^^"),
        ],
    );
    let space = support::guest_space();
    let error = space
        .print("$rip", &mut FileMemory(&space.image().clone()), None, PrintLimits::default())
        .expect_err("there are no registers");
    assert!(error.to_string().starts_with("`$rip` needs a thread"), "{error}");
}

#[test]
fn writes_json() {
    let space = support::guest_space();
    let image = space.image().clone();
    let json = |expression: &str| {
        let limits = PrintLimits { elements: 3, ..PrintLimits::default() };
        let printed = space.print(expression, &mut FileMemory(&image), None, limits);
        printed.expect("is right").to_json()["value"].to_string()
    };
    assert_eq!(json("ORIGIN"), r#"{"x":5,"y":-3}"#);
    assert_eq!(json("GRID"), "[[1,2,3],[4,5,6]]");
    assert_eq!(json("PRIMES"), r#"{"elements":[0,3,6],"length":300}"#);
    assert_eq!(json("MESSAGES[1..4]"), r#"[{"Move":{"dx":-1,"dy":2}},{"Write":"hi\n"},{"Code":[9,500]}]"#);
    assert_eq!(json("NUMBER"), r#"{"Some":12}"#);
    assert_eq!(json("COLOR"), r#""Green""#);
    assert_eq!(json("HUGE"), r#""1267650600228229401496703205376""#);
    assert_eq!(json("NOWHERE"), r#"{"address":"0x10"}"#);
    let whole = space.print("BYTE", &mut FileMemory(&image), None, PrintLimits::default());
    let address = image.find_symbols("BYTE")[0].address;
    assert_eq!(
        whole.expect("is right").to_json().to_string(),
        format!(r#"{{"type":"u8","address":"{address:#x}","value":200}}"#)
    );
}

#[test]
fn assigns_scalars() {
    let space = support::guest_space();
    let image = space.image().clone();
    let assign = |target: &str, value: &str| match space.assign(target, value, &mut FileMemory(&image), None)
    {
        Ok(assignment) => Ok((image.describe(assignment.address), assignment.bytes)),
        Err(error) => Err(error.to_string()),
    };
    let at = |name: &str, bytes: &[u8]| Ok((Some(name.to_owned()), bytes.to_vec()));
    assert_eq!(assign("COUNT", "7"), at("guest::COUNT", &[7, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(assign("COUNT", "COUNT + 1"), at("guest::COUNT", &[42, 0, 0, 0, 0, 0, 0, 0]));
    assert_eq!(assign("ORIGIN.y", "-2"), at("guest::ORIGIN+0x4", &[0xfe, 0xff]));
    assert_eq!(assign("FLAG", "false"), at("guest::FLAG", &[0]));
    assert_eq!(assign("LETTER", "'é'"), at("guest::LETTER", &[0xe9, 0, 0, 0]));
    assert_eq!(assign("COLOR", "Blue"), at("guest::COLOR", &[200]));
    assert_eq!(assign("COLOR", "Color::Red"), at("guest::COLOR", &[1]));
    assert_eq!(assign("RATIO", "-1.5"), at("guest::RATIO", &(-1.5f64).to_le_bytes()));
    assert_eq!(assign("SMALL_RATIO", "3"), at("guest::SMALL_RATIO", &3f32.to_le_bytes()));
    let origin = image.find_symbols("ORIGIN")[0].address;
    assert_eq!(assign("POINTER", "&ORIGIN"), at("guest::POINTER", &origin.to_le_bytes()));
    assert_eq!(assign("GRID[1][2]", "9"), at("guest::GRID+0x5", &[9]));
    assert_eq!(assign("NUMBER.0", "500"), at("guest::NUMBER+0x2", &[0xf4, 1]));

    let message = |target: &str, value: &str| assign(target, value).expect_err("is refused");
    assert_eq!(message("BYTE", "256"), "256 is out of range for u8 (0 to 255)\n  256\n  ^^^");
    assert_eq!(message("BYTE", "-1"), "-1 is out of range for u8 (0 to 255)\n  -1\n  ^^");
    assert_eq!(message("TINY", "128"), "128 is out of range for i8 (-128 to 127)\n  128\n  ^^^");
    assert_eq!(message("FLAG", "2"), "`2` is not a bool; it is true or false\n  2\n  ^");
    assert_eq!(
        message("COLOR", "Gren"),
        "`Gren` is not a guest::model::Color; it is one of Red, Green, Blue\n  Gren\n  ^^^^\ndid you mean `Green`?"
    );
    assert!(message("COLOR", "3").starts_with("`3` is not a guest::model::Color"));
    assert!(message("LETTER", "0xd800").starts_with("`0xd800` is not a char"));
    assert_eq!(
        message("ORIGIN", "1"),
        "a guest::model::Point cannot be assigned as a whole; assign its fields, `.x` for example\n  ORIGIN\n  ^"
    );
    assert!(message("BYTE + 1", "1").starts_with("this is a computed value"));
    assert!(message("set_count", "1").starts_with("this is a computed value"));
}

#[test]
fn completes() {
    let space = support::guest_space();
    let complete = |text: &str| {
        let found = space.complete(text);
        (found.start, found.candidates.join(" "))
    };
    assert_eq!(complete("ORIGIN."), (7, "x y".to_owned()));
    assert_eq!(complete("1 + ORIGIN.y"), (11, "y".to_owned()));
    assert_eq!(complete("*POINTER."), (9, "x y".to_owned()));
    assert_eq!(complete("GUARDED.da"), (8, "data".to_owned()));
    assert_eq!(complete("GUARDED.data."), (13, "x y".to_owned()));
    assert_eq!(complete("MESSAGES[2]."), (12, "Quit Move Write Code".to_owned()));
    assert_eq!(complete("FIRST.next.Some.0.va"), (18, "value".to_owned()));
    assert_eq!(complete("PRIMES[ORI"), (7, "ORIGIN".to_owned()));
    assert_eq!(complete("guest::MES"), (0, "guest::MESSAGES".to_owned()));
    assert_eq!(complete("$ri"), (0, "$rip".to_owned()));
    assert_eq!(complete("BYTE as u1"), (8, "u128 u16".to_owned()));
    assert!(complete("BYTE as Poi").1.contains("Point"));
    assert_eq!(complete("BYTE."), (5, String::new()));
}
