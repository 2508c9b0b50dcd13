//! heap_leaks in guests made of text: see `native/heap_leaks_check.c`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use proptest::prelude::*;
use uio_extension_tests::{host_program, output};

static PROGRAM: LazyLock<PathBuf> =
    LazyLock::new(|| host_program("heap_leaks_check.c", &output(env!("CARGO_TARGET_TMPDIR"), "heap_leaks")));

/// Blocks that heap_leaks shows in full.
const HEADS_MAX: usize = 8;

/// What heap_leaks said.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    status: i32,
    leaks: usize,
    bytes: u64,
    /// Address and size of the first leaks.
    heads: Vec<(u64, u64)>,
}

fn text(guest: &str) -> (i32, String) {
    let mut child = Command::new(&*PROGRAM)
        .env("ASAN_OPTIONS", "detect_leaks=0")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    child.stdin.take().expect("a pipe").write_all(guest.as_bytes()).expect("it reads all");
    let output = child.wait_with_output().expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.is_empty(), "{errors}");
    (output.status.code().expect("an exit status"), String::from_utf8(output.stdout).expect("UTF-8"))
}

fn find_leaks(guest: &str) -> Said {
    let (status, said) = text(guest);
    let mut found = Said { status, leaks: 0, bytes: 0, heads: Vec::new() };
    for line in said.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["unreachable", "in", "two", "scans:", leaks, "blocks,", bytes, "bytes"] => {
                found.leaks = leaks.parse().expect("a number");
                found.bytes = bytes.parse().expect("a number");
            }
            [address, bytes, "bytes"] if address.starts_with("0x") => {
                let address = u64::from_str_radix(&address[2..], 16).expect("an address");
                found.heads.push((address, bytes.parse().expect("a number")));
            }
            _ => {}
        }
    }
    found
}

fn none() -> Said {
    Said { status: 0, leaks: 0, bytes: 0, heads: Vec::new() }
}

fn leaks(blocks: &[(u64, u64)]) -> Said {
    Said {
        status: i32::from(!blocks.is_empty()),
        leaks: blocks.len(),
        bytes: blocks.iter().map(|(_, bytes)| bytes).sum(),
        heads: blocks.iter().copied().take(HEADS_MAX).collect(),
    }
}

const ROOT: u64 = 0xffff_ffff_8020_0000;
const HEAP: u64 = 0xffff_8000_0100_0000;

fn region(owner: &str) -> String {
    format!("region {ROOT:x} 1000 1 {owner}\n")
}

#[test]
fn follows_chains_cycles_and_interior_pointers() {
    let mut guest = region("kernel data");
    for block in 0..6 {
        writeln!(guest, "block 3 {:x} 40", HEAP + block * 0x100).unwrap();
    }
    // Root to the middle of block 0, its last word to block 1; 2 and 3 point to each other; 4 to block 1.
    for (place, value) in [
        (ROOT + 0xff8, HEAP + 0x3f),
        (HEAP + 0x38, HEAP + 0x100),
        (HEAP + 0x200, HEAP + 0x300),
        (HEAP + 0x300, HEAP + 0x200),
        (HEAP + 0x400, HEAP + 0x100),
        // One past the end of block 5 is outside of it.
        (ROOT, HEAP + 0x540),
    ] {
        writeln!(guest, "word {place:x} {value:x}").unwrap();
    }
    assert_eq!(find_leaks(&guest), leaks(&[0x200, 0x300, 0x400, 0x500].map(|offset| (HEAP + offset, 0x40))));
}

#[test]
fn only_some_memory_is_a_root() {
    let guest = |owner: &str| format!("{}block 3 {HEAP:x} 20\nword {ROOT:x} {HEAP:x}\n", region(owner));
    for owner in ["kernel data", "application data", "stack of app", "extension other data", "extension heap"]
    {
        assert_eq!(find_leaks(&guest(owner)), none(), "{owner}");
    }
    for owner in [
        "virtio registers",
        "memory (direct map)",
        "extension heap_leaks heap",
        "extension heap_leaks stack",
        "stack of heap_leaks",
    ] {
        assert_eq!(find_leaks(&guest(owner)), leaks(&[(HEAP, 0x20)]), "{owner}");
    }
    // Constants are no roots: what can be freed is not reached only from there.
    let constant = guest("kernel data").replace(" 1 kernel", " 0 kernel");
    assert_eq!(find_leaks(&constant), leaks(&[(HEAP, 0x20)]));
}

#[test]
fn a_stack_is_a_root_from_its_pointer_up() {
    let guest = |at: u64| {
        format!(
            "{}stack {:x}\nblock 3 {HEAP:x} 20\nword {at:x} {HEAP:x}\n",
            region("stack of app"),
            ROOT + 0x800
        )
    };
    for at in [ROOT + 0x800, ROOT + 0xff8, ROOT + 0x780] {
        assert_eq!(find_leaks(&guest(at)), none(), "{at:x} is in use, the red zone with it");
    }
    for at in [ROOT, ROOT + 0x400, ROOT + 0x778] {
        assert_eq!(find_leaks(&guest(at)), leaks(&[(HEAP, 0x20)]), "{at:x} is left from a call that ended");
    }
    // The pointer of a thread that is elsewhere says nothing about a stack.
    assert_eq!(find_leaks(&guest(ROOT).replace("stack ffff", "stack fff0")), none());
}

#[test]
fn reports_only_what_both_scans_found() {
    let mut guest = region("kernel data");
    for (scans, start, bytes) in
        [(1, 0, 0x20), (2, 0x100, 0x20), (3, 0x200, 0x20), (1, 0x300, 0x20), (2, 0x300, 0x40)]
    {
        writeln!(guest, "block {scans} {:x} {bytes:x}", HEAP + start).unwrap();
    }
    assert_eq!(find_leaks(&guest), leaks(&[(HEAP + 0x200, 0x20)]));
}

#[test]
fn the_guests_own_answers_are_no_leaks() {
    assert_eq!(find_leaks(&format!("{}transient {HEAP:x}\n", region("kernel data"))), none());
}

#[test]
fn memory_that_goes_away_costs_itself_only() {
    let mut guest = region("stack of app").replace(" 1000 ", " 3000 ");
    writeln!(guest, "hole {:x} 1000\nblock 3 {HEAP:x} 20", ROOT + 0x1000).unwrap();
    writeln!(guest, "word {:x} {HEAP:x}", ROOT + 0x2ff8).unwrap();
    assert_eq!(find_leaks(&guest), none());
    assert!(text(&guest).1.contains("4096 went away meanwhile"));
}

#[test]
fn says_when_it_cannot_tell() {
    let guest = format!("{}block 3 {HEAP:x} 20\nmemory 100\n", region("kernel data"));
    let (status, said) = text(&guest);
    assert_eq!((status, said.as_str()), (2, "heap_leaks: no memory\n"));
    assert_eq!(text("argument --nonsense\n"), (2, "usage: heap_leaks [-v]\n".to_string()));
    let (status, said) = text(&format!("{}argument -v\n", region("kernel data")));
    assert_eq!(status, 0);
    assert!(said.contains("root 0xffffffff80200000       4096  kernel data"), "{said}");
}

#[test]
fn shows_sizes_and_contents() {
    let mut guest = region("kernel data");
    for (start, bytes) in [(0, 0x20), (0x100, 0x18), (0x200, 0x20)] {
        writeln!(guest, "block 3 {:x} {bytes:x}", HEAP + start).unwrap();
    }
    writeln!(guest, "word {HEAP:x} {:x}", u64::from_le_bytes(*b"leaked!\n")).unwrap();
    let (_, said) = text(&guest);
    let report = said.split_once("unreachable").expect("a report").1;
    assert_eq!(
        report,
        " in two scans: 3 blocks, 88 bytes

  bytes each       blocks          bytes
          24            1             24
          32            2             64

0xffff800001000000  32 bytes
    6c 65 61 6b 65 64 21 0a 00 00 00 00 00 00 00 00  leaked!.........
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
0xffff800001000100  24 bytes
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
    00 00 00 00 00 00 00 00                          ........
0xffff800001000200  32 bytes
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
    00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00  ................
"
    );
}

/// Blocks by (gap before, words); pointers by (from: block or root, word, to, byte), all taken modulo what is there.
type Shape = (Vec<(u64, u64)>, Vec<(usize, u64, usize, u64)>);

fn shapes() -> impl Strategy<Value = Shape> {
    let block = (2_u64..700, prop_oneof![4 => 2_u64..20, 1 => 500_u64..1500]);
    let pointer = (0_usize..64, 0_u64..2000, 0_usize..64, 0_u64..20_000);
    (prop::collection::vec(block, 1..60), prop::collection::vec(pointer, 0..80))
}

/// Words of the root.
const ROOT_WORDS: u64 = 512;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn agrees_with_a_plain_search((blocks, pointers) in shapes(), order in any::<u64>()) {
        let mut next = HEAP;
        let placed: Vec<(u64, u64)> = blocks
            .iter()
            .map(|&(gap, words)| {
                let start = next + gap * 8;
                next = start + words * 8;
                (start, words * 8)
            })
            .collect();
        let mut guest = region("kernel data");
        // The allocator need not list them in order.
        let turn = order as usize % placed.len();
        for (start, bytes) in placed[turn..].iter().chain(&placed[..turn]) {
            writeln!(guest, "block 3 {start:x} {bytes:x}").unwrap();
        }
        // The last word written to a place counts, there as here.
        let mut words = std::collections::BTreeMap::new();
        for &(from, word, to, byte) in &pointers {
            let (start, count) = match from % (placed.len() + 1) {
                0 => (ROOT, ROOT_WORDS),
                block => (placed[block - 1].0, placed[block - 1].1 / 8),
            };
            let target = placed[to % placed.len()];
            words.insert(start + word % count * 8, target.0 + byte % target.1);
        }
        for (place, value) in &words {
            writeln!(guest, "word {place:x} {value:x}").unwrap();
        }
        let mut reached = vec![false; placed.len()];
        let mut ranges = vec![(ROOT, ROOT_WORDS * 8)];
        while let Some((start, bytes)) = ranges.pop() {
            for (_, value) in words.range(start..start + bytes) {
                let target = placed.iter().position(|(start, bytes)| (*start..start + bytes).contains(value));
                if let Some(target) = target.filter(|target| !reached[*target]) {
                    reached[target] = true;
                    ranges.push(placed[target]);
                }
            }
        }
        let unreached: Vec<(u64, u64)> =
            placed.iter().zip(&reached).filter(|(_, reached)| !**reached).map(|(block, _)| *block).collect();
        prop_assert_eq!(find_leaks(&guest), leaks(&unreached));
    }
}
