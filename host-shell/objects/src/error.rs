//! Why an object cannot become an extension, and what to do about it.

use goblin::elf::header::{EM_X86_64, machine_to_str};
use goblin::elf::reloc::r_to_str;

/// Why an object was refused. `Display` says what and where, [`ObjectError::suggestion`] what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectError {
    /// The file does not start as an ELF file does.
    #[error("not an ELF file")]
    NotElf,
    /// The file is ELF, but not for x86-64.
    #[error("built for {}, not for x86-64", machine_to_str(*.machine))]
    WrongMachine {
        /// `e_machine` of its header; 62 with the 32-bit class is x32.
        machine: u16,
    },
    /// The file is linked already, or a core dump.
    #[error("{found}, not a relocatable object")]
    NotRelocatable {
        /// What it is.
        found: &'static str,
    },
    /// A table or an index of the file points outside of it, or contradicts another.
    #[error("malformed object: {reason}")]
    Malformed {
        /// What is wrong, with the offending values.
        reason: String,
    },
    /// A relocation type that the guest's linker does not implement.
    #[error("relocation {} against `{symbol}` at {section}+{offset:#x} is not supported", relocation_name(*.relocation))]
    UnsupportedRelocation {
        /// Section that it patches.
        section: String,
        /// Offset in that section, in bytes.
        offset: u64,
        /// The symbol.
        symbol: String,
        /// `ELF64_R_TYPE`.
        relocation: u32,
    },
    /// A relocation of a thread-local variable.
    #[error("thread-local relocation {} against `{symbol}` at {section}+{offset:#x}", relocation_name(*.relocation))]
    ThreadLocalRelocation {
        /// Section that it patches.
        section: String,
        /// Offset in that section, in bytes.
        offset: u64,
        /// The variable.
        symbol: String,
        /// `ELF64_R_TYPE`.
        relocation: u32,
    },
    /// A section of thread-local variables.
    #[error("section {section} holds thread-local variables")]
    ThreadLocalSection {
        /// Its name.
        section: String,
    },
    /// A function whose address a resolver chooses at load time (`STT_GNU_IFUNC`).
    #[error("`{symbol}` is an indirect function (IFUNC)")]
    IndirectFunction {
        /// Its name.
        symbol: String,
    },
    /// A section that is writable and executable.
    #[error("section {section} is both writable and executable")]
    WritableCode {
        /// Its name.
        section: String,
    },
    /// A section or COMMON symbol that wants more than a page, or no power of two.
    #[error("{name} wants an alignment of {alignment} bytes; powers of two up to 4096 are possible")]
    Alignment {
        /// Name of the section or symbol.
        name: String,
        /// What it asks for, in bytes.
        alignment: u64,
    },
    /// A loadable section is compressed.
    #[error("section {section} is loadable and compressed")]
    Compressed {
        /// Its name.
        section: String,
    },
    /// Relocations without addends (`SHT_REL`), which x86-64 does not use.
    #[error("section {section} holds relocations without addends (SHT_REL)")]
    ImplicitAddends {
        /// Its name.
        section: String,
    },
    /// Code or data refers to a section that is not loaded.
    #[error("{section}+{offset:#x} refers to `{symbol}` in {target}, which is not loaded")]
    DroppedTarget {
        /// Section that is patched.
        section: String,
        /// Offset in that section, in bytes.
        offset: u64,
        /// The symbol.
        symbol: String,
        /// Section of the symbol.
        target: String,
    },
    /// A loadable section of a kind that an extension has no use for.
    #[error("section {section} of type {kind:#x} cannot be loaded")]
    UnsupportedSection {
        /// Its name.
        section: String,
        /// `sh_type`.
        kind: u32,
    },
    /// A symbol with a binding, type or section index that has no meaning here.
    #[error("symbol `{symbol}` has {what}")]
    UnsupportedSymbol {
        /// Its name.
        symbol: String,
        /// What is wrong, with the value.
        what: String,
    },
    /// More of something than the guest takes.
    #[error("{count} {what}; the guest takes at most {limit}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        count: u64,
        /// Limit from [`uio_protocol::limits`].
        limit: u64,
    },
}

impl ObjectError {
    /// What a person can do about it.
    #[must_use]
    pub fn suggestion(&self) -> &'static str {
        match self {
            Self::NotElf => "pass the .o file that `cc -c` or `rustc --emit obj` writes",
            Self::WrongMachine { .. } => "compile with -m64 (clang: --target=x86_64-linux-gnu)",
            Self::NotRelocatable { .. } => {
                "pass the object from before linking: `cc -c`, `rustc --emit obj`, or join several with `ld -r`"
            }
            Self::Malformed { .. } => "compile the object again; the file may be cut or corrupted",
            Self::UnsupportedRelocation { .. } => {
                "compile with -mcmodel=kernel -fno-pic (Rust: -C relocation-model=static -C code-model=kernel)"
            }
            Self::ThreadLocalRelocation { .. } | Self::ThreadLocalSection { .. } => {
                "extensions have no thread-local storage: make the variable static, or pass it as an argument"
            }
            Self::IndirectFunction { .. } => "drop __attribute__((ifunc)) and choose at run time in C",
            Self::WritableCode { .. } => {
                "split it: code in an executable section, variables in a writable one"
            }
            Self::Alignment { .. } => "align by at most a page, or align by hand inside a larger buffer",
            Self::Compressed { .. } => "compress debug sections only",
            Self::ImplicitAddends { .. } => {
                "produce the object with an x86-64 compiler or assembler (SHT_RELA)"
            }
            Self::DroppedTarget { .. } => {
                "debug information, notes and unwind tables are not loaded; put the data into a section with the `a` flag"
            }
            Self::UnsupportedSection { .. } => "use .text, .rodata, .data, .bss or .init_array",
            Self::UnsupportedSymbol { .. } => "declare the symbol as an ordinary function or object",
            Self::Limit { .. } => {
                "split the extension, or compile without -ffunction-sections and with optimisation"
            }
        }
    }
}

fn relocation_name(relocation: u32) -> String {
    match r_to_str(relocation, EM_X86_64) {
        name if name.starts_with("X86_64_") => format!("R_{name}"),
        _ => format!("type {relocation}"),
    }
}
