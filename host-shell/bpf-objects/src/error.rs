//! Why an object cannot become programs, and what to do about it.

use goblin::elf::header::machine_to_str;
use uio_bpf::instruction::DecodeReason;

/// Why an object was refused. `Display` says what and where, [`BpfObjectError::suggestion`] what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BpfObjectError {
    /// The file does not start as an ELF file does.
    #[error("not an ELF file")]
    NotElf,
    /// The file is ELF, but not for eBPF.
    #[error("built for {}, not for eBPF", machine_to_str(*.machine))]
    WrongMachine {
        /// `e_machine` of its header.
        machine: u16,
    },
    /// 32-bit or big-endian.
    #[error("not a 64-bit little-endian object")]
    WrongFormat,
    /// The file is no relocatable object.
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
    /// A table of type or line information is malformed.
    #[error("malformed type information in {section}: {reason}")]
    Btf {
        /// `.BTF` or `.BTF.ext`.
        section: &'static str,
        /// What is wrong, with the offending values.
        reason: String,
    },
    /// A section of code that is for no kind of program.
    #[error("section {section} is for no kind of program")]
    UnknownSection {
        /// Its name.
        section: String,
    },
    /// A section of code for a kind of program that Linux has and uio has not.
    #[error("section {section} is for {what}, which uio does not have")]
    UnsupportedProgram {
        /// Its name.
        section: String,
        /// The kind of program.
        what: &'static str,
        /// What to use instead.
        instead: &'static str,
    },
    /// The number behind `raw/` is none, or too large.
    #[error("section {section} does not say how many bytes of memory its program gets")]
    RawSize {
        /// Its name.
        section: String,
    },
    /// The file holds no program.
    #[error("no program in this object")]
    NoPrograms,
    /// Functions or variables that the object needs and nobody has.
    #[error("undefined: {}", .symbols.join(", "))]
    MissingSymbols {
        /// Their names, sorted.
        symbols: Vec<String>,
    },
    /// A relocation type that is not for instructions of a program.
    #[error("relocation type {relocation} against `{symbol}` at {section}+{offset:#x} is not supported")]
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
    /// An instruction refers to something that is neither map, variable nor function.
    #[error("{section}+{offset:#x} refers to `{symbol}`, {what}")]
    UnsupportedTarget {
        /// Section of the instruction.
        section: String,
        /// Offset in that section, in bytes.
        offset: u64,
        /// The symbol.
        symbol: String,
        /// What is wrong with it.
        what: String,
    },
    /// A variable or map holds an address, which is not known before it is loaded.
    #[error("{section}+{offset:#x} holds the address of `{symbol}`")]
    AddressInData {
        /// Section of the variable.
        section: String,
        /// Offset in that section, in bytes.
        offset: u64,
        /// The symbol whose address it is.
        symbol: String,
    },
    /// The function reads types of the running kernel (CO-RE).
    #[error("function `{function}` in section {section} needs CO-RE relocations (first of `{type_name}`)")]
    CoRe {
        /// Section of the function.
        section: String,
        /// Its name.
        function: String,
        /// The type whose layout it wants.
        type_name: String,
    },
    /// A map's definition cannot be understood or is not supported.
    #[error("map `{map}`: {reason}")]
    Map {
        /// Its name.
        map: String,
        /// What is wrong, with the offending values.
        reason: String,
    },
    /// A function does not stand for itself.
    #[error("function `{function}`, instruction {slot}: {reason}")]
    Function {
        /// Its name.
        function: String,
        /// Slot in the function.
        slot: u32,
        /// What is wrong.
        reason: String,
    },
    /// A slot is no instruction.
    #[error("function `{function}`, instruction {slot}: {}", decode_text(*.reason))]
    Instruction {
        /// Function that it is in.
        function: String,
        /// Slot in the function.
        slot: u32,
        /// Why.
        reason: DecodeReason,
    },
    /// More of something than is taken.
    #[error("{count} {what}; at most {limit} are taken")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much there is.
        count: u64,
        /// Limit from [`crate::limits`].
        limit: u64,
    },
}

impl BpfObjectError {
    /// What a person can do about it.
    #[must_use]
    pub fn suggestion(&self) -> &'static str {
        match self {
            Self::NotElf | Self::WrongMachine { .. } | Self::WrongFormat => {
                "pass the .o file of `clang -target bpf -O2 -g -c`"
            }
            Self::NotRelocatable { .. } => "pass the object that `clang -target bpf -c` writes, unlinked",
            Self::Malformed { .. } | Self::Btf { .. } => {
                "compile the object again; the file may be cut or corrupted"
            }
            Self::UnknownSection { .. } | Self::NoPrograms => {
                "put the program into SEC(\"xdp\"), SEC(\"kprobe/FUNCTION\"), SEC(\"timer/MS\") or SEC(\"raw/BYTES\")"
            }
            Self::UnsupportedProgram { instead, .. } => instead,
            Self::RawSize { .. } => "write SEC(\"raw/64\") for 64 bytes, at most 1 MiB",
            Self::MissingSymbols { .. } => {
                "define them in the same file, or include uio_bpf.h for helpers; kernel functions and kconfig variables do not exist here"
            }
            Self::UnsupportedRelocation { .. } => {
                "compile C with `clang -target bpf -O2 -g`; other languages: one object, without linking"
            }
            Self::UnsupportedTarget { .. } => {
                "put maps into SEC(\".maps\") and leave variables without a section; only functions, maps and variables can be referred to"
            }
            Self::AddressInData { .. } => {
                "fill such tables in the program, or maps from the shell; compile with -O2, which resolves most of them"
            }
            Self::CoRe { .. } => {
                "define the types yourself without preserve_access_index; there is no Linux kernel whose types could be looked up"
            }
            Self::Map { .. } => {
                "write the definition as uio_bpf.h shows, compile with -g, and use a kind that `feature` lists"
            }
            Self::Function { .. } => {
                "compile from C with `clang -target bpf -O2`, or correct the assembler text"
            }
            Self::Instruction { .. } => "compile with -mcpu=v1 to v4",
            Self::Limit { .. } => "split the object",
        }
    }
}

fn decode_text(reason: DecodeReason) -> String {
    let text = uio_bpf::instruction::DecodeError { slot: 0, reason }.to_string();
    text.split_once(": ").map_or(text.clone(), |(_, text)| text.to_string())
}

pub(crate) fn malformed(reason: String) -> BpfObjectError {
    BpfObjectError::Malformed { reason }
}

pub(crate) fn limit(what: &'static str, count: usize, limit: usize) -> Result<(), BpfObjectError> {
    if count > limit {
        return Err(BpfObjectError::Limit { what, count: count as u64, limit: limit as u64 });
    }
    Ok(())
}
