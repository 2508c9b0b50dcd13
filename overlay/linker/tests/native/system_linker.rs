//! Compares bytes with what GNU ld writes for the same addresses: at the top of the address space, where
//! the result cannot run in a Linux process.

use std::fmt::Write;

use uio_linker::{Bases, Linked, Resolver, Target, link, plan};
use uio_objects::parse;
use uio_protocol::GuestAddress;
use uio_protocol::error::LoadError;
use uio_protocol::image::{ExtensionImage, SectionKind};

use crate::compile::{c_object, execute, output};

/// The window for loaded code of a guest, with a gap between the groups.
const BASES: Bases = Bases {
    text: GuestAddress(0xffff_ffff_c000_0000),
    read_only: GuestAddress(0xffff_ffff_d000_0000),
    data: GuestAddress(0xffff_ffff_e000_0000),
};

/// Exports of a kernel image 1 GiB below.
const EXPORTS: [(&str, u64); 3] = [
    ("host_mix", 0xffff_ffff_8000_1000),
    ("host_apply", 0xffff_ffff_8000_1234),
    ("host_values", 0xffff_ffff_8123_4568),
];

struct Kernel;

impl Resolver for Kernel {
    fn resolve(&self, name: &str, _: Option<GuestAddress>) -> Result<Option<Target>, LoadError> {
        let found = EXPORTS.iter().find(|(export, _)| *export == name);
        Ok(found.map(|(_, address)| Target::Address(GuestAddress(*address))))
    }
    fn candidates(&self, _: &mut dyn FnMut(&str)) {}
}

/// Links the object in the file `object` with GNU ld, with every section where ours is.
fn link_with_ld(object: &str, image: &ExtensionImage, linked: &Linked, label: &str) -> String {
    let mut script = String::from("SECTIONS {\n");
    for (section, placed) in image.sections.iter().zip(&linked.placed) {
        if !matches!(section.kind, SectionKind::Constructors | SectionKind::Destructors) {
            writeln!(script, "{0} {1} : {{ *({0}) }}", section.name, placed.start).expect("a string grows");
        }
    }
    script.push_str(".calls : { *(.init_array*) *(.ctors*) *(.fini_array*) }\n");
    script.push_str("/DISCARD/ : { *(.eh_frame) *(.comment) *(.note*) *(.debug*) }\n}\n");
    let (script_file, program) = (output(&format!("{label}.lds")), output(&format!("{label}.elf")));
    std::fs::write(&script_file, script).expect("a script for ld");
    let [script_file, program] =
        [script_file, program].map(|path| path.to_str().expect("a UTF-8 path").to_string());
    let symbols = EXPORTS.map(|(name, address)| format!("--defsym={name}={address:#x}"));
    let mut arguments =
        vec!["-static", "-nostdlib", "--no-relax", "-e", "run", "-T", &script_file, "-o", &program];
    arguments.extend(symbols.iter().map(String::as_str));
    arguments.push(object);
    execute("ld", &arguments);
    program
}

#[test]
fn bytes_equal_those_of_the_system_linker() {
    for compiler in ["gcc", "clang"] {
        for level in ["-O0", "-O1", "-O2", "-O3"] {
            let label = format!("top-{compiler}{level}");
            // ld merges equal strings and sorts COMMON symbols by size; neither changes what a program means.
            let flags = [level, "-mcmodel=kernel", "-fno-pic", "-fno-merge-constants", "-fno-common"];
            let object = c_object(compiler, "everything.c", &flags, &label);
            let image = parse(&object, "top").expect("an object").image;
            let linked = link(&plan(&image, &Kernel).expect("a good image"), BASES).expect("it fits");
            let object_file = output(&format!("{label}.o"));
            let program = link_with_ld(object_file.to_str().expect("a UTF-8 path"), &image, &linked, &label);
            let mut compared = 0;
            for (section, placed) in image.sections.iter().zip(&linked.placed) {
                let (base, group) = match section.kind {
                    SectionKind::Text => (BASES.text, &linked.text),
                    SectionKind::ReadOnly => (BASES.read_only, &linked.read_only),
                    SectionKind::Data => (BASES.data, &linked.data),
                    SectionKind::Zeroed | SectionKind::Constructors | SectionKind::Destructors => continue,
                };
                let start = usize::try_from(placed.start.0 - base.0).expect("an offset");
                let ours = &group[start..start + section.bytes.len()];
                let dump = output(&format!("{label}.bytes"));
                let dump = dump.to_str().expect("a UTF-8 path");
                let only = format!("--only-section={}", section.name);
                execute("objcopy", &["-O", "binary", &only, &program, dump]);
                let theirs = std::fs::read(dump).expect("objcopy wrote the section");
                if section.bytes.is_empty() {
                    continue;
                }
                assert_eq!(ours, theirs, "{label} {}", section.name);
                compared += 1;
            }
            assert!(compared >= 4, "{label}: {compared} sections");
        }
    }
}
