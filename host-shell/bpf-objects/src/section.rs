//! What a section is, by its name.

use uio_protocol::bpf::ProgramKind;

use crate::error::BpfObjectError;
use crate::limits::RAW_BYTES_MAX;

/// Which layout of its context a program was compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContextLayout {
    /// Linux's `struct xdp_md`: accesses are rewritten by [`crate::linux_context`] before anything else.
    LinuxXdp,
    /// The layout of [`uio_bpf::context`].
    Native,
}

/// What the programs of a section are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProgramSection {
    pub(crate) kind: ProgramKind,
    pub(crate) target: String,
    pub(crate) layout: ContextLayout,
}

/// Kinds of programs that Linux has and uio has not: prefix, what it is, what to use.
const FOREIGN: &[(&str, &str, &str)] = &[
    (
        "tc",
        "traffic control, whose context and results differ from xdp's",
        "write it for SEC(\"xdp\"): struct xdp_md, and XDP_PASS or an output port as result",
    ),
    (
        "classifier",
        "traffic control, whose context and results differ from xdp's",
        "write it for SEC(\"xdp\"): struct xdp_md, and XDP_PASS or an output port as result",
    ),
    (
        "action",
        "traffic control, whose context and results differ from xdp's",
        "write it for SEC(\"xdp\"): struct xdp_md, and XDP_PASS or an output port as result",
    ),
    ("socket", "socket filters", "write it for SEC(\"xdp\")"),
    ("uprobe", "probes of processes", "a guest is one program: use SEC(\"kprobe/FUNCTION\")"),
    ("uretprobe", "probes of processes", "a guest is one program: use SEC(\"kretprobe/FUNCTION\")"),
    ("usdt", "probes of processes", "use SEC(\"tracing/NAME\")"),
    ("tracepoint", "Linux's tracepoints", "use SEC(\"tracing/NAME\")"),
    ("tp", "Linux's tracepoints", "use SEC(\"tracing/NAME\")"),
    ("raw_tracepoint", "Linux's tracepoints", "use SEC(\"tracing/NAME\")"),
    ("raw_tp", "Linux's tracepoints", "use SEC(\"tracing/NAME\")"),
    ("tp_btf", "Linux's tracepoints", "use SEC(\"tracing/NAME\")"),
    ("fentry", "typed probes of the Linux kernel", "use SEC(\"kprobe/FUNCTION\") and PT_REGS_PARM1"),
    ("fexit", "typed probes of the Linux kernel", "use SEC(\"kretprobe/FUNCTION\") and PT_REGS_RC"),
    ("ksyscall", "system calls", "use SEC(\"kprobe/FUNCTION\")"),
    ("kretsyscall", "system calls", "use SEC(\"kretprobe/FUNCTION\")"),
    ("perf_event", "Linux's performance events", "use SEC(\"timer/MILLISECONDS\")"),
    ("lsm", "Linux's security hooks", "there is no such hook"),
    ("struct_ops", "Linux's operation tables", "there is no such hook"),
    ("cgroup", "control groups", "there is no such hook"),
    ("sockops", "sockets", "there is no such hook"),
    ("sk_skb", "sockets", "there is no such hook"),
    ("sk_msg", "sockets", "there is no such hook"),
    ("sk_lookup", "sockets", "there is no such hook"),
    ("iter", "Linux's iterators", "there is no such hook"),
    ("syscall", "system calls", "use SEC(\"raw/BYTES\") and `bpf run`"),
];

/// Whether a section holds functions that programs call.
pub(crate) fn is_text(name: &str) -> bool {
    name == ".text" || name.starts_with(".text.")
}

/// Whether a section holds legacy map definitions.
pub(crate) fn is_legacy_maps(name: &str) -> bool {
    name == "maps" || name.starts_with("maps/")
}

/// The section of BTF map definitions.
pub(crate) const MAPS: &str = ".maps";

/// Whether a section holds variables; with `true` inside, ones that nobody writes.
pub(crate) fn variables(name: &str) -> Option<bool> {
    let is =
        |prefix: &str| name == prefix || name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
    if is(".rodata") {
        Some(true)
    } else if is(".data") || is(".bss") {
        Some(name.starts_with(".data.rel.ro"))
    } else {
        None
    }
}

/// What the programs of the code section `name` are.
pub(crate) fn program(name: &str) -> Result<ProgramSection, BpfObjectError> {
    // libbpf's mark for programs that are not loaded unless asked for.
    let plain = name.strip_prefix('?').unwrap_or(name);
    let (prefix, target) = plain.split_once('/').unwrap_or((plain, ""));
    let section = |kind, target: String, layout| Ok(ProgramSection { kind, target, layout });
    match prefix {
        // Packets of several buffers do not occur: they come in one piece.
        "xdp" | "xdp.frags" => section(ProgramKind::Packet, target.into(), ContextLayout::LinuxXdp),
        "bpffilter" => section(ProgramKind::Packet, target.into(), ContextLayout::Native),
        "kprobe" | "tracing" => section(ProgramKind::Tracing, target.into(), ContextLayout::Native),
        // As Linux's tracing files name a function's return.
        "kretprobe" => section(ProgramKind::Tracing, format!("{target}%return"), ContextLayout::Native),
        "timer" => section(ProgramKind::Timer, target.into(), ContextLayout::Native),
        "raw" => {
            let memory_bytes = if plain == "raw" { Some(0) } else { target.parse().ok() };
            match memory_bytes {
                Some(memory_bytes) if memory_bytes <= RAW_BYTES_MAX => {
                    section(ProgramKind::Raw { memory_bytes }, String::new(), ContextLayout::Native)
                }
                _ => Err(BpfObjectError::RawSize { section: name.to_string() }),
            }
        }
        _ => {
            let foreign = |known: &&(&'static str, &'static str, &'static str)| {
                // `kprobe.multi`, `cgroup_skb`, `sk_reuseport`.
                prefix == known.0
                    || prefix.strip_prefix(known.0).is_some_and(|rest| rest.starts_with(['.', '_']))
            };
            match FOREIGN.iter().find(foreign) {
                Some((_, what, instead)) => {
                    Err(BpfObjectError::UnsupportedProgram { section: name.to_string(), what, instead })
                }
                None => Err(BpfObjectError::UnknownSection { section: name.to_string() }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> (ProgramKind, String) {
        let section = program(name).unwrap();
        (section.kind, section.target)
    }

    #[test]
    fn names_of_sections_say_what_programs_are() {
        assert_eq!(kind("xdp"), (ProgramKind::Packet, String::new()));
        assert_eq!(kind("xdp/filter"), (ProgramKind::Packet, "filter".into()));
        assert_eq!(kind("?xdp.frags"), (ProgramKind::Packet, String::new()));
        assert_eq!(kind("kprobe/packet_in"), (ProgramKind::Tracing, "packet_in".into()));
        assert_eq!(kind("kretprobe/packet_in"), (ProgramKind::Tracing, "packet_in%return".into()));
        assert_eq!(kind("timer/10"), (ProgramKind::Timer, "10".into()));
        assert_eq!(kind("raw"), (ProgramKind::Raw { memory_bytes: 0 }, String::new()));
        assert_eq!(kind("raw/1048576"), (ProgramKind::Raw { memory_bytes: 1 << 20 }, String::new()));
        assert_eq!(program("xdp").unwrap().layout, ContextLayout::LinuxXdp);
        assert_eq!(program("bpffilter").unwrap().layout, ContextLayout::Native);
    }

    #[test]
    fn other_names_are_refused_by_name() {
        for name in ["raw/", "raw/x", "raw/-1", "raw/1048577"] {
            assert_eq!(program(name), Err(BpfObjectError::RawSize { section: name.into() }));
        }
        for name in ["xdpx", "", "filter", "rawx", "tcp"] {
            assert_eq!(program(name), Err(BpfObjectError::UnknownSection { section: name.into() }));
        }
        for name in ["tc", "tc/ingress", "classifier", "uprobe//bin/sh:main", "cgroup_skb/egress", "sk_skb/x"]
        {
            let Err(BpfObjectError::UnsupportedProgram { section, .. }) = program(name) else {
                panic!("{name}")
            };
            assert_eq!(section, name);
        }
    }

    #[test]
    fn sections_of_variables() {
        assert_eq!(variables(".rodata"), Some(true));
        assert_eq!(variables(".rodata.str1.1"), Some(true));
        assert_eq!(variables(".data"), Some(false));
        assert_eq!(variables(".bss.lost"), Some(false));
        assert_eq!(variables(".data.rel.ro"), Some(true));
        assert_eq!(variables(".database"), None);
        assert_eq!(variables("license"), None);
    }
}
