//! The sample programs: every good one is accepted and its proof checks, every bad one is refused.

use uio_bpf_objects::{ParsedObject, parse};
use uio_bpf_samples::{Cpu, PREBUILT, object, rejected, rejected_object, samples};
use uio_verifier::analysis::{Analysis, ContextLayout, Options, Rejection, SourceLine, analyse};

fn options(parsed: &ParsedObject, program: usize) -> Options {
    let context = match parsed.source.programs[program].layout {
        uio_bpf_objects::ContextLayout::Native => ContextLayout::Native,
        uio_bpf_objects::ContextLayout::LinuxXdp => ContextLayout::LinuxXdp,
    };
    Options { context, ..Options::default() }
}

fn all(bytes: &[u8], name: &str) -> Vec<(String, ParsedObject, usize, Result<Analysis, Rejection>)> {
    let parsed = parse(bytes, name).expect("an object");
    (0..parsed.image.programs.len())
        .map(|index| {
            let result = analyse(&parsed.image, index, &options(&parsed, index));
            (parsed.image.programs[index].name.clone(), parsed.clone(), index, result)
        })
        .collect()
}

fn render(parsed: &ParsedObject, index: usize, rejection: &Rejection) -> String {
    rejection.render(&parsed.image.programs[index].name, &|slot| {
        let line = parsed.source.line(index, slot)?;
        Some(SourceLine {
            file: line.file.to_string(),
            line: line.line,
            column: line.column.into(),
            text: line.text.to_string(),
        })
    })
}

#[test]
fn samples_are_accepted() {
    let mut failures = 0;
    let objects = samples()
        .into_iter()
        .flat_map(|name| Cpu::COMMON.map(|cpu| (format!("{name} {}", cpu.name()), object(&name, cpu))))
        .chain(PREBUILT.iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())));
    for (name, bytes) in objects {
        for (program, parsed, index, result) in all(&bytes, &name) {
            match result {
                Ok(analysis) => println!(
                    "{name}/{program}: {} slots, {} steps, proof {} bytes {} states, check {} steps, fuel {:?}",
                    analysis.program.slots.len(),
                    analysis.statistics.instructions,
                    analysis.proof.encode().len(),
                    analysis.proof.states(),
                    analysis.checked.statistics.instructions,
                    analysis.checked.fuel
                ),
                Err(rejection) => {
                    failures += 1;
                    println!("{name}: {}", render(&parsed, index, &rejection));
                }
            }
        }
    }
    assert_eq!(failures, 0);
}

#[test]
fn bad_programs_are_refused() {
    let mut failures = 0;
    for name in rejected() {
        for cpu in Cpu::COMMON {
            let bytes = rejected_object(&name, cpu);
            for (program, parsed, index, result) in all(&bytes, &name) {
                match result {
                    Ok(analysis) if analysis.checked.fuel.is_empty() => {
                        failures += 1;
                        println!("ACCEPTED {name} {cpu:?} {program}");
                    }
                    Ok(_) => println!("fuel: {name} {cpu:?} {program}"),
                    Err(rejection) => println!("{name} {cpu:?}: {}", render(&parsed, index, &rejection)),
                }
            }
        }
    }
    assert_eq!(failures, 0);
}
