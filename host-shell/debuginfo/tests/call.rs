//! Signatures, arguments and results of guest functions; disassembly.

mod support;

use uio_debuginfo::{Datum, FileMemory, PrintLimits, ReadMemory};

#[test]
fn describes_signatures() {
    let space = support::guest_space();
    let describe = |name: &str| space.describe_signature(&space.function(name).expect("is there"));
    assert_eq!(describe("set_count"), "set_count(value: u64) -> u64");
    assert_eq!(
        describe("mix"),
        "mix(a: u8, b: i32, c: bool, d: guest::model::Color, e: *const guest::model::Point, f: char) -> i16"
    );
    assert_eq!(describe("Point::sum"), "sum(self: &guest::model::Point) -> u64");
    assert_eq!(describe("_start"), "_start() -> !");
    let missing = space.function("set_cuont").expect_err("is not there");
    assert_eq!(
        missing.to_string(),
        "no variable or function `set_cuont`\n  set_cuont\n  ^^^^^^^^^\ndid you mean `set_count`?"
    );
    assert!(space.function("generic").expect_err("two instances").to_string().contains("ambiguous"));
    assert!(space.function("COUNT").expect_err("is data").to_string().contains("it is data"));
}

#[test]
fn encodes_arguments() {
    let space = support::guest_space();
    let image = space.image().clone();
    let prepare = |name: &str, arguments: &[&str]| {
        let signature = space.function(name).expect("is there");
        match space.prepare_call(&signature, arguments, &mut FileMemory(&image)) {
            Ok(call) => Ok(call.registers),
            Err(error) => Err(error.to_string()),
        }
    };
    let origin = image.find_symbols("ORIGIN")[0].address;
    assert_eq!(prepare("set_count", &["0x10"]), Ok(vec![16]));
    assert_eq!(prepare("set_count", &["COUNT + 1"]), Ok(vec![42]));
    assert_eq!(
        prepare("mix", &["255", "-1", "true", "Blue", "&ORIGIN", "'a'"]),
        Ok(vec![255, u64::MAX, 1, 200, origin, 97])
    );
    assert_eq!(prepare("Point::sum", &["&ORIGIN"]), Ok(vec![origin]));
    assert_eq!(prepare("rewrap", &["5"]), Ok(vec![5]), "a wrapper is passed as what it holds");
    let refused = |name: &str, arguments: &[&str]| prepare(name, arguments).expect_err("is refused");
    assert_eq!(refused("set_count", &[]), "set_count(value: u64) -> u64: 1 argument expected, 0 given");
    assert_eq!(
        refused("set_count", &["-1"]),
        "-1 is out of range for u64 (0 to 18446744073709551615)\n  -1\n  ^^"
    );
    assert!(refused("greet", &["1"]).contains("`text: &str` is not passed in one general register"));
    assert!(refused("scale", &["1.5"]).contains("`factor: f64` is not passed in one general register"));
    assert!(refused("exported_four", &["1"]).contains("may need memory of the caller"));
    // Its only caller passes a constant, so the optimizer dropped the parameter.
    assert!(refused("four", &["1"]).contains("the optimizer changed how it takes its arguments"));
    assert!(refused("mix", &["256", "0", "true", "Red", "0", "'a'"]).contains("out of range for u8"));
    assert!(refused("mix", &["1", "0", "yes", "Red", "0", "'a'"]).contains("is not a bool"));
}

#[test]
fn formats_results() {
    let space = support::guest_space();
    let image = space.image().clone();
    let result = |name: &str, rax: u64| {
        let signature = space.function(name).expect("is there");
        space.format_result(&signature, rax, &mut FileMemory(&image), PrintLimits::default())
    };
    assert_eq!(result("set_count", 41).datum, Datum::Unsigned(41));
    assert_eq!(result("mix", 0xffff_0000_0000_fffe).datum, Datum::Signed(-2), "only ax counts");
    assert_eq!(result("mix", 0).type_name, "i16");
    assert_eq!(result("rewrap", 8).datum.to_text(), "Wrapper(8)");
    assert!(matches!(result("scale", 7).datum, Datum::Bad(why) if why.contains("rax = 0x7")));
}

#[test]
fn disassembles_with_names() {
    let space = support::guest_space();
    let image = space.image().clone();
    let start = image.find_symbols("_start")[0];
    let range = space.code_range(start.address + 3);
    assert_eq!(
        (range.address, range.size, range.name.as_deref()),
        (start.address, start.size, Some("_start"))
    );
    let mut code = vec![0; usize::try_from(range.size).expect("is small")];
    FileMemory(&image).read(range.address, &mut code).expect("is in the file");
    let lines = space.disassemble(range.address, &code, Some(range.address), true);
    assert!(lines[0].current && lines.iter().filter(|line| line.current).count() == 1);
    assert!(lines.iter().any(|line| line.text == "call guest::model::Point::sum"), "{lines:#?}");
    assert!(lines.iter().any(|line| line.text.contains("guest::ORIGIN")));
    assert_eq!(lines.iter().map(|line| line.bytes.len()).sum::<usize>(), code.len());
    assert!(lines.iter().any(|line| line.source.as_ref().is_some_and(|at| at.file.ends_with("guest.rs"))));
    let call = lines.iter().find(|line| line.text == "call guest::model::Point::sum").expect("is there");
    assert_eq!(call.target, Some(image.find_symbols("Point::sum")[0].address));

    let garbage = space.disassemble(0x1000, &[0x06, 0x90, 0x0f], None, false);
    let text: Vec<&str> = garbage.iter().map(|line| line.text.as_str()).collect();
    assert_eq!(text, ["(bad)", "nop", "(bad)"]);
    assert!(space.disassemble(0x1000, &[], None, true).is_empty());
}
