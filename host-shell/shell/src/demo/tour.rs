//! The steps of the tour, in an order that tells a story: look, change, load, break, clean up.

use std::time::Duration;

use super::checks;
use super::stage::Scene;

/// A file that the guest finds in its share.
pub(super) const LETTER_FILE: &str = "letter.txt";
/// What is in it.
pub(super) const LETTER: &str = "Dear guest,\nthis file lies on the host.\n";
/// A batch file.
pub(super) const SCRIPT_FILE: &str = "check.uio";
/// What is in it.
pub(super) const SCRIPT: &str = "# what I look at every morning\nprint count\nthreads | grep app\n";

/// A packet of 10.0.0.7, more often than the limiter lets pass.
const RATE_LIMITER_TEST: &str = "prog test rate_limiter --repeat 250 --data-in \
    02000000000102000000000208004500003200000000401100000a0000070a010203000000350000";

/// Steps that belong together.
pub(super) struct Chapter {
    pub(super) title: &'static str,
    pub(super) steps: &'static [Step],
}

/// Something to show.
pub(super) struct Step {
    /// What it shows, in one line.
    pub(super) title: &'static str,
    /// What is typed. `{extensions}` is the folder of the samples, `{folder}` the demo's own.
    pub(super) lines: &'static [&'static str],
    /// Whether it loads code.
    pub(super) loads: bool,
    /// When Ctrl-C is pressed, counted from each line's start.
    pub(super) ctrl_c_after: Option<Duration>,
    /// Whether it did what it should: what can be said about it, or what is wrong.
    pub(super) check: fn(&mut Scene<'_>) -> Result<String, String>,
}

/// A step that looks and changes.
const fn step(
    title: &'static str,
    lines: &'static [&'static str],
    check: fn(&mut Scene<'_>) -> Result<String, String>,
) -> Step {
    Step { title, lines, loads: false, ctrl_c_after: None, check }
}

/// A step that loads code.
const fn code(
    title: &'static str,
    lines: &'static [&'static str],
    check: fn(&mut Scene<'_>) -> Result<String, String>,
) -> Step {
    Step { title, lines, loads: true, ctrl_c_after: None, check }
}

/// The tour.
pub(super) static CHAPTERS: &[Chapter] = &[
    Chapter {
        title: "Look inside a guest that runs",
        steps: &[
            step("which guest this is", &["info"], |scene| {
                let build = scene.ask("info")?[0]["build_id"].as_str().unwrap_or_default().to_owned();
                checks::says(scene, &[&build, "uptime", "protection keys"])?;
                Ok(format!("the build-id is that of the image file, {}...", &build[..8]))
            }),
            step("its threads, and what they wait for", &["threads"], |scene| {
                checks::says(scene, &["app", "overlay", "idle"])?;
                Ok("`app` is the application; `overlay` serves this shell".into())
            }),
            step("where a thread is, with files and lines", &["stack app"], |scene| {
                checks::says(scene, &["count::application", "main.rs:"])?;
                Ok("unwound and named on the host; the guest sent registers and stack".into())
            }),
            step("memory: who owns what, and with which protection key", &["mem"], |scene| {
                checks::says(scene, &["image text", "application data", "heap:"])?;
                Ok("nothing is writable and executable".into())
            }),
            step("symbols by pattern", &["sym *count*"], |scene| {
                checks::says(scene, &["set_count", "count"])?;
                Ok("from the image's symbol table".into())
            }),
            step("a variable, twice", &["print count", "print count"], checks::counts),
            step("any value, by its type", &["print EXPORTS[0]"], |scene| {
                checks::says(scene, &["Export {", "name: \"set_count\"", "function: 0x"])?;
                Ok("a Rust structure, read by its debug information".into())
            }),
            step("the code of a function", &["disasm set_count"], |scene| {
                checks::says(scene, &["set_count:", "main.rs:", "xchg", "ret"])?;
                Ok("disassembled from the guest's memory".into())
            }),
            step("output into programs of the host", &["threads | grep -c app"], |scene| {
                checks::all_good(scene)?;
                Ok("`| PROGRAM` and `> FILE` are the host's".into())
            }),
        ],
    },
    Chapter {
        title: "Change it while it runs",
        steps: &[
            step("set a variable", &["set count 1000000", "set count 0"], |scene| {
                checks::says(scene, &["-> 1000000", "-> 0"])?;
                checks::count_near(scene, 0)
            }),
            step("call a function of the guest", &["call set_count 5000"], |scene| {
                checks::says(scene, &["returned"])?;
                checks::count_near(scene, 5000)
            }),
            step(
                "memory as bytes, and a write to it",
                &["peek count 16", "poke count 7000 --width 8"],
                |scene| {
                    checks::says(scene, &["0xffffffff8", "->"])?;
                    checks::count_near(scene, 7000)
                },
            ),
        ],
    },
    Chapter {
        title: "Files and log",
        steps: &[
            step("a folder of the host is at /host", &["ls /host", "cat /host/letter.txt"], |scene| {
                checks::says(scene, &["letter.txt", LETTER])?;
                Ok("over virtio-9p".into())
            }),
            step(
                "copy: host share, guest, host share",
                &["cp /host/letter.txt /letter.txt", "ls /", "cp /letter.txt /host/answer.txt"],
                |scene| {
                    checks::says(scene, &["letter.txt"])?;
                    let path = scene.folder.join("share/answer.txt");
                    match std::fs::read_to_string(&path) {
                        Ok(text) if text == LETTER => {
                            Ok("the host finds the same bytes in answer.txt".into())
                        }
                        Ok(text) => Err(format!("the host finds {text:?}")),
                        Err(error) => Err(format!("{}: {error}", path.display())),
                    }
                },
            ),
            step(
                "copy without a share, over the link",
                &["cp host:{folder}/check.uio /check.uio", "cat /check.uio"],
                |scene| {
                    checks::says(scene, &[SCRIPT])?;
                    Ok("`host:` names a file of the host".into())
                },
            ),
            step("the guest's log", &["log"], |scene| {
                checks::says(scene, &["overlay ready"])?;
                Ok("`log -f` follows it".into())
            }),
        ],
    },
    Chapter {
        title: "Load native code into it",
        steps: &[
            code(
                "leak two blocks, and find them: an extension that searches the guest's heap",
                &["call leak 60000", "call leak 4096", "run {extensions}/native/heap_leaks/heap_leaks.c"],
                checks::leaks_found,
            ),
            code(
                "C source: compiled, sent, linked and run in one step",
                &["run {extensions}/native/hello/hello.c big world"],
                |scene| {
                    checks::says(scene, &["hello from thread", "argv[2] = \"world\""])?;
                    checks::counting(scene)
                },
            ),
            code("Rust, with its own heap", &["run {extensions}/rust/samples/rust_hello.rs"], |scene| {
                checks::says(scene, &["hello from Rust", "app"])?;
                checks::counting(scene)
            }),
            code(
                "change the application through a gate, a function that it exports",
                &["run {extensions}/native/set_count/set_count.c 42"],
                |scene| {
                    checks::says(scene, &["-> 42"])?;
                    checks::count_near(scene, 42)
                },
            ),
            code(
                "a resident extension, and one that links to it",
                &[
                    "load {extensions}/native/counter_watch/counter_watch.c",
                    "run {extensions}/native/counter_report/counter_report.c",
                    "print counter_watch.taken",
                ],
                |scene| {
                    checks::says(scene, &["resident", "counts a second"])?;
                    Ok("variables of extensions print like those of the guest".into())
                },
            ),
            code("what others use stays", &["unload counter_watch"], |scene| {
                checks::refused(scene, "in use: counter_report linked to it")
            }),
        ],
    },
    Chapter {
        title: "Whatever that code does wrong ends it, and nothing else",
        steps: &[
            code(
                "a write through a null pointer",
                &["load {extensions}/native/wild/wild.c", "run wild null-write"],
                |scene| checks::contained(scene, "wrote to a null pointer"),
            ),
            code("a write to the application's memory", &["run wild app-write"], |scene| {
                checks::contained(scene, "wrote to memory that is not its own: application data")
            }),
            code("a write to the kernel's memory", &["run wild kernel-write"], |scene| {
                checks::contained(scene, "wrote to memory that is not its own")
            }),
            code("a jump to nowhere", &["run wild jump-garbage"], |scene| {
                checks::contained(scene, "where nothing is mapped")
            }),
            code("recursion without end", &["run wild stack-overflow"], |scene| {
                checks::contained(scene, "overflowed its stack")
            }),
            code("a bad pointer passed to the guest", &["run wild gate-unmapped"], |scene| {
                checks::contained(scene, "passed a bad argument 1 to a gate")
            }),
            code("a panic in Rust", &["run {extensions}/rust/samples/rust_panic.rs index"], |scene| {
                checks::contained(scene, "index out of bounds: the len is 3 but the index is 7")
            }),
            code("a loop without end: the budget", &["run --budget 300 wild loop"], |scene| {
                checks::contained(scene, "used up its budget of 300 ms")
            }),
            Step {
                title: "a loop without budget: Ctrl-C ends the command, never the guest",
                lines: &["run --budget 0 {extensions}/native/loop/loop.c"],
                loads: true,
                ctrl_c_after: Some(Duration::from_millis(1500)),
                check: |scene| checks::contained(scene, "was interrupted"),
            },
            code("a loop with interrupts off: the watchdog", &["run wild interrupts-off-loop"], |scene| {
                checks::contained(scene, "kept interrupts off until the watchdog ended it")
            }),
            code(
                "an instruction that would lift the protection: not even loaded",
                &["run {extensions}/native/wild/wild_wrpkru.c"],
                |scene| checks::refused(scene, "the code holds the bytes of `wrpkru`"),
            ),
            code(
                "code that is not trusted at all: ring 3, where privileged instructions fault",
                &["run --isolation ring3 {extensions}/native/wild/wild_wrmsr.c"],
                |scene| checks::contained(scene, "executed a privileged"),
            ),
        ],
    },
    Chapter {
        title: "Load eBPF, proven safe before it runs",
        steps: &[
            code(
                "a rate limiter: compiled and proven here, checked and compiled again in the guest",
                &["prog load {extensions}/bpf/rate_limiter.c", RATE_LIMITER_TEST, "prog list"],
                |scene| {
                    checks::says(scene, &["packet, jit", "returned 1 (XDP_DROP)", "250 runs"])?;
                    checks::counting(scene)
                },
            ),
            code(
                "its map, by the types of the source; a bucket filled up by hand",
                &[
                    "map dump buckets",
                    "map update buckets 10.0.0.7 '{ filled_ns = 0, tokens = 50 }'",
                    "map lookup buckets 10.0.0.7",
                ],
                |scene| {
                    checks::says(scene, &["tokens = 0 }", "tokens = 50 }"])?;
                    Ok("`map pin` keeps one when its program goes".into())
                },
            ),
            code(
                "its machine code, with the helpers that it calls",
                &["prog dump rate_limiter jited"],
                |scene| {
                    checks::says(scene, &["ktime_get_ns", "ret"])?;
                    Ok("disassembled here; the pages are not writable".into())
                },
            ),
            code(
                "a pointer that may be null: refused with its line, and never sent",
                &["prog load {extensions}/bpf/rejected/null_unchecked.c"],
                |scene| checks::refused(scene, "may be null"),
            ),
            code("a program that is gone after one run", &["bpf run {extensions}/bpf/pass.c"], |scene| {
                checks::says(scene, &["returned 2"])?;
                Ok("what it prints would come here".into())
            }),
            code("take it out again", &["prog unload rate_limiter"], |scene| {
                checks::says(scene, &["unloaded rate_limiter with maps buckets"])?;
                checks::counting(scene)
            }),
        ],
    },
    Chapter {
        title: "Keep house",
        steps: &[
            step("what is loaded, and how often it was ended", &["ext"], |scene| {
                checks::says(scene, &["wild", "ring3", "(resident)"])?;
                Ok("`kill ID` ends the runs of one".into())
            }),
            step(
                "take everything out again",
                &[
                    "unload counter_report",
                    "unload counter_watch",
                    "unload wild",
                    "unload wild_wrmsr",
                    "unload rust_panic",
                    "unload rust_hello",
                    "unload heap_leaks",
                    "unload set_count",
                    "unload hello",
                    "unload loop",
                    "ext",
                ],
                checks::memory_is_back,
            ),
            step("what this guest and its machine can do", &["feature"], |scene| {
                checks::says(scene, &["isolation mpk", "isolation ring3", "exports"])?;
                Ok("`feature exports` lists what extensions may call".into())
            }),
            step("commands from a file", &["batch {folder}/check.uio"], |scene| {
                checks::says(scene, &["> print count", "> threads | grep app"])?;
                checks::counting(scene)
            }),
            step("all output as JSON, too", &["print count --json"], |scene| {
                checks::says(scene, &["\"type\":", "\"value\":"])?;
                Ok("every command takes `--json`".into())
            }),
            step(
                "a transcript of the session",
                &["transcript {folder}/session.txt", "print count", "transcript off"],
                |scene| {
                    checks::all_good(scene)?;
                    let path = scene.folder.join("session.txt");
                    let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
                    if text.contains("> print count\n") && text.contains(scene.shown[1].text.trim()) {
                        Ok(format!("the file has {} lines", text.lines().count()))
                    } else {
                        Err(format!("the file has {text:?}"))
                    }
                },
            ),
            step("what else there is", &["help"], |scene| {
                checks::says(scene, &["Look", "Extensions", "help COMMAND"])?;
                Ok("`help run` explains one command, with an example".into())
            }),
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::commands::{Command, all, find};
    use crate::repl::line::parse;

    fn steps() -> impl Iterator<Item = &'static Step> {
        CHAPTERS.iter().flat_map(|chapter| chapter.steps)
    }

    #[test]
    fn shows_every_command_that_needs_no_editor_and_no_second_shell() {
        let shown: BTreeSet<String> = steps()
            .flat_map(|step| step.lines)
            .map(|line| {
                let words = parse(line).unwrap().words;
                find(&words[0]).unwrap_or_else(|error| panic!("{line}: {error}")).name().to_owned()
            })
            .collect();
        let rest: Vec<&str> = all().map(Command::name).filter(|name| !shown.contains(*name)).collect();
        assert_eq!(rest, ["edit", "kill"]);
    }

    #[test]
    fn titles_tell_the_steps_apart() {
        let titles: BTreeSet<&str> = steps().map(|step| step.title).collect();
        assert_eq!(titles.len(), steps().count());
        assert!(titles.iter().all(|title| title.len() <= 100 && !title.ends_with('.')));
    }

    #[test]
    fn what_is_loaded_is_unloaded() {
        let lines: Vec<&str> = steps().flat_map(|step| step.lines).copied().collect();
        let loaded: BTreeSet<&str> = lines
            .iter()
            .filter(|line| line.contains("{extensions}") && !line.contains("wild_wrpkru"))
            .filter(|line| !line.starts_with("prog ") && !line.starts_with("bpf "))
            .filter_map(|line| {
                line.split(['/', ' ']).find_map(|part| part.split_once('.').map(|(stem, _)| stem))
            })
            .collect();
        let unloaded: BTreeSet<&str> = lines.iter().filter_map(|line| line.strip_prefix("unload ")).collect();
        assert_eq!(loaded, unloaded);
    }
}
