//! Crates, in the groups that a person asks about.

/// Who a byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) enum Group {
    Linker,
    Isolation,
    /// With what it is made of: serde, postcard, cobs, the checksum.
    Protocol,
    /// Sessions, requests, runs, gates' functions.
    Overlay,
    /// File trees and 9p.
    Files,
    /// TCP/IP.
    Network,
    Kernel,
    /// The application.
    Image,
    /// Everything else.
    Other,
}

/// Crates and their groups. What is in no crate of this list is generic: it belongs to who uses it.
const CRATES: [(&str, Group); 27] = [
    ("uio_linker", Group::Linker),
    ("uio_isolation", Group::Isolation),
    ("uio_protocol", Group::Protocol),
    ("serde", Group::Protocol),
    ("serde_core", Group::Protocol),
    ("postcard", Group::Protocol),
    ("cobs", Group::Protocol),
    ("crc32fast", Group::Protocol),
    ("uio_overlay", Group::Overlay),
    ("uio_files", Group::Files),
    ("smoltcp", Group::Network),
    ("managed", Group::Network),
    ("heapless", Group::Network),
    ("uio_kernel", Group::Kernel),
    ("virtio_drivers", Group::Kernel),
    ("zerocopy", Group::Kernel),
    ("x86_64", Group::Kernel),
    ("raw_cpuid", Group::Kernel),
    ("rlsf", Group::Kernel),
    ("talc", Group::Kernel),
    ("lock_api", Group::Kernel),
    ("ringbuf", Group::Kernel),
    ("critical_section", Group::Kernel),
    ("uart_16550", Group::Kernel),
    ("bitflags", Group::Kernel),
    ("volatile", Group::Kernel),
    ("count", Group::Image),
];

impl Group {
    pub(in super::super) const ALL: [Self; 9] = [
        Self::Linker,
        Self::Isolation,
        Self::Protocol,
        Self::Overlay,
        Self::Files,
        Self::Network,
        Self::Kernel,
        Self::Image,
        Self::Other,
    ];

    pub(in super::super) fn name(self) -> &'static str {
        match self {
            Self::Linker => "linker",
            Self::Isolation => "isolation",
            Self::Protocol => "protocol",
            Self::Overlay => "overlay",
            Self::Files => "files",
            Self::Network => "network",
            Self::Kernel => "kernel",
            Self::Image => "application",
            Self::Other => "other",
        }
    }

    /// The group of a crate.
    pub(super) fn of_crate(name: &str) -> Option<Self> {
        CRATES.iter().find(|(known, _)| *known == name).map(|(_, group)| *group)
    }

    /// The group of the first known crate in a symbol's name.
    pub(super) fn of_symbol(name: &str) -> Option<Self> {
        Self::in_words(name).next()
    }

    /// The group of all known crates in the name of a generic function, if they are of one:
    /// `drop_in_place<uio_linker::plan::Plan>` is the linker's, but a map from one crate's type to another's is neither's.
    pub(super) fn of_types(name: &str) -> Option<Self> {
        let mut groups = Self::in_words(name);
        let first = groups.next()?;
        groups.all(|other| other == first).then_some(first)
    }

    fn in_words(name: &str) -> impl Iterator<Item = Self> {
        let words = name.split(|c: char| !c.is_alphanumeric() && c != '_');
        // `uio_isolation_enter`: functions in assembly carry their crate's name.
        words.filter_map(|word| {
            Self::of_crate(word).or_else(|| word.starts_with("uio_isolation_").then_some(Self::Isolation))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_groups() {
        for (name, group) in [
            ("uio_linker::plan::plan", Some(Group::Linker)),
            ("core::ptr::drop_in_place<uio_linker::plan::Plan>", Some(Group::Linker)),
            ("<uio_protocol::rpc::Reply as serde_core::ser::Serialize>::serialize", Some(Group::Protocol)),
            ("uio_isolation_write_pku", Some(Group::Isolation)),
            ("core::fmt::Formatter::pad", None),
            ("memcpy", None),
        ] {
            assert_eq!(Group::of_symbol(name), group, "{name}");
        }
    }

    #[test]
    fn types_of_two_crates_say_nothing() {
        let map = "insert<uio_protocol::inspect::ThreadId, alloc::boxed::Box<uio_kernel::thread::Thread>>";
        assert_eq!(Group::of_types(map), None);
        assert_eq!(Group::of_types("drop_in_place<(uio_linker::A, uio_linker::B)>"), Some(Group::Linker));
        assert_eq!(Group::of_types("push<u8>"), None);
    }
}
