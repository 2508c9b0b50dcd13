//! Asks an image file what the shell asks of a guest: `query IMAGE COMMAND ARGUMENT…`.
//!
//! Commands: `open`, `sym PATTERN`, `print EXPR`, `at ADDRESS`, `disasm NAME`, `fn NAME`,
//! `complete TEXT`. Memory is what the file holds. Times go to standard error.

use std::sync::Arc;
use std::time::Instant;

use uio_debuginfo::{FileMemory, Image, PrintLimits, ReadMemory, Space};

type AnyError = Box<dyn std::error::Error>;

fn main() -> Result<(), AnyError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, command, rest @ ..] = arguments.as_slice() else {
        return Err("usage: query IMAGE open|sym|print|at|disasm|fn|complete ARGUMENT…".into());
    };
    let start = Instant::now();
    let image = Arc::new(Image::open(path)?);
    eprintln!("open: {:?}, {} symbols", start.elapsed(), image.symbols().count());
    let space = Space::new(image.clone());
    for argument in rest {
        let start = Instant::now();
        answer(&space, &image, command, argument)?;
        eprintln!("{command} {argument}: {:?}", start.elapsed());
    }
    Ok(())
}

fn answer(space: &Space, image: &Image, command: &str, argument: &str) -> Result<(), AnyError> {
    let mut memory = FileMemory(image);
    match command {
        "sym" => {
            for symbol in image.search(argument) {
                println!("{:#018x} {:6} {}", symbol.address, symbol.size, symbol.demangled());
            }
        }
        "print" => match space.print(argument, &mut memory, None, PrintLimits::default()) {
            Ok(printed) => println!("{}: {} = {}", argument, printed.type_name, printed.datum.to_text()),
            Err(error) => println!("{error}"),
        },
        "at" => {
            let address = u64::from_str_radix(argument.trim_start_matches("0x"), 16)?;
            println!("{}", space.describe(address).unwrap_or_default());
            for frame in image.source_frames(address) {
                let at = frame.location.map(|location| location.to_string()).unwrap_or_default();
                let inlined = if frame.inlined { " (inlined)" } else { "" };
                println!("  {}{inlined} {at}", frame.function.unwrap_or_default());
            }
        }
        "disasm" => {
            let range = space.code_range(space.locate(argument, &mut memory, None)?);
            let mut code = vec![0; usize::try_from(range.size)?];
            memory.read(range.address, &mut code)?;
            for line in space.disassemble(range.address, &code, None, true) {
                if let Some(source) = line.source {
                    println!("; {source}");
                }
                println!("{:#018x}  {}", line.address, line.text);
            }
        }
        "fn" => match space.function(argument) {
            Ok(signature) => println!("{}", space.describe_signature(&signature)),
            Err(error) => println!("{error}"),
        },
        "complete" => println!("{}", space.complete(argument).candidates.join(" ")),
        _ => return Err(format!("no command {command}").into()),
    }
    Ok(())
}
