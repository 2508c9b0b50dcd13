//! The C header and the page of helpers are what the table of prototypes says.
//!
//! `UIO_RENEW=1 cargo test -p uio-bpf --test helper_pages` writes them anew.

use std::fmt::Write;
use std::path::PathBuf;

use uio_bpf::helper::{Effect, Implementation, PROTOTYPES, Programs, Prototype};
use uio_protocol::bpf::MapKind;

/// First number of helpers that Linux does not have.
const OWN_NUMBERS_FROM: u32 = 0x1_0000;
/// Columns of comments.
const WIDTH: usize = 100;

/// The C declaration of a helper in libbpf's form: a constant pointer whose value is the number.
fn c_declaration(prototype: &Prototype) -> String {
    let (result, arguments) = prototype.declaration.split_once('(').expect("a list of arguments");
    let star = if result.ends_with('*') { "" } else { " " };
    let number = match prototype.number {
        own @ OWN_NUMBERS_FROM.. => format!("{own:#x}"),
        number => number.to_string(),
    };
    format!(
        "static {}{star}(*const bpf_{})({arguments} = (void *)({number});",
        result.trim_end(),
        prototype.name
    )
}

/// `text` in lines of a C comment.
fn comment(text: &str) -> String {
    let mut lines = vec![String::from("/*")];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("one at least");
        if last.len() + 1 + word.len() > WIDTH {
            lines.push(format!(" * {word}"));
        } else {
            last.push(' ');
            last.push_str(word);
        }
    }
    lines.join("\n") + " */\n"
}

fn header() -> String {
    let mut text = String::from(
        "/* Generated from the table of helpers in overlay/bpf; `UIO_RENEW=1 cargo test -p uio-bpf --test helper_pages`\n \
         * writes it anew.\n \
         *\n \
         * Include uio_bpf.h, which has the types and includes this file. Numbers and declarations are those of Linux,\n \
         * as in libbpf's bpf_helper_defs.h; from 0x10000 on they are ours. */\n\
         #ifndef UIO_BPF_HELPERS_H\n\
         #define UIO_BPF_HELPERS_H\n\n\
         struct xdp_md;\n",
    );
    for prototype in PROTOTYPES {
        text.push('\n');
        text.push_str(&comment(prototype.summary));
        text.push_str(&c_declaration(prototype));
        text.push('\n');
    }
    text.push_str("\n#endif\n");
    text
}

const fn programs(programs: Programs) -> &'static str {
    match programs {
        Programs::All => "all",
        Programs::Packet => "packet",
        Programs::Tracing => "tracing, raw",
    }
}

fn maps(kinds: &[MapKind]) -> String {
    kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

fn page() -> String {
    let mut text = String::from(
        "# Helpers of eBPF programs\n\n\
         Generated from the table of helpers in `overlay/bpf/src/helper/prototypes.rs`; the verifier decides from the \
         same table\n\
         which calls are right. `UIO_RENEW=1 cargo test -p uio-bpf --test helper_pages` writes this page anew.\n\n\
         Numbers and meanings are those of Linux; from 0x10000 on they are ours. C programs include `uio_bpf.h` or \
         libbpf's headers\n\
         and call them with `bpf_` in front of the name. What fails returns a negative error number of Linux.\n\n\
         Raw programs may call what needs no context.\n",
    );
    for prototype in PROTOTYPES {
        let (result, arguments) = prototype.declaration.split_once('(').expect("a list of arguments");
        let star = if result.ends_with('*') { "" } else { " " };
        let number = match prototype.number {
            own @ OWN_NUMBERS_FROM.. => format!("{own:#x}"),
            number => number.to_string(),
        };
        let name = prototype.name;
        let result = result.trim_end();
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "\n## {number} {name}\n\n```c\n{result}{star}bpf_{name}({arguments};\n```\n\n{}\n\nPrograms: {}.",
            prototype.summary,
            programs(prototype.programs)
        );
        if !prototype.maps.is_empty() {
            let _ = write!(text, " Maps: {}.", maps(prototype.maps));
        }
        if prototype.effect == Effect::InvalidatesPackets {
            text.push_str(" Afterwards the packet's addresses have to be read from the context again.");
        }
        if prototype.body == Implementation::Engine {
            text.push_str(" The callback is checked as part of the program.");
        }
        text.push('\n');
    }
    text
}

fn compare(path: &str, expected: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    if std::env::var_os("UIO_RENEW").is_some() {
        std::fs::write(&path, expected).expect("a writable repository");
    }
    let committed = std::fs::read_to_string(&path).expect("the committed file");
    assert!(committed == expected, "{} is not what the table says: renew it (UIO_RENEW=1)", path.display());
}

#[test]
fn header_is_current() {
    compare("extensions/include/uio_bpf_helpers.h", &header());
}

#[test]
fn page_is_current() {
    compare("docs/bpf-helpers.md", &page());
}

#[test]
fn declarations_are_in_libbpf_form() {
    let lookup = uio_bpf::helper::prototype(1).expect("lookup");
    assert_eq!(
        c_declaration(lookup),
        "static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)(1);"
    );
    let output = uio_bpf::helper::prototype(0x1_0000).expect("output");
    assert_eq!(
        c_declaration(output),
        "static long (*const bpf_output)(const char *text, __u32 size) = (void *)(0x10000);"
    );
}
