//! The guest's refusals in words: what, why, and what to do next.

use uio_protocol::PROTOCOL_HASH;
use uio_protocol::bpf::MapKind;
use uio_protocol::error::{FileError, LoadError, RpcError};
use uio_protocol::limits::FILE_TIME_MAX_MS;
use uio_protocol::maps::{MapError, SchemaField};
use uio_protocol::programs::ProgramError;

use super::units::{hex, size};

/// Linux error number (asm-generic/errno.h).
const ETIMEDOUT: u32 = 110;

/// One line: what happened, with the values that matter.
#[must_use]
pub fn headline(error: &RpcError) -> String {
    match error {
        RpcError::ProtocolMismatch { guest } => format!(
            "the guest speaks another protocol version ({guest:016x}, this shell {PROTOCOL_HASH:016x})"
        ),
        RpcError::NoSession => "the guest has no session for this shell".into(),
        RpcError::TooManySessions => "too many shells are attached".into(),
        RpcError::Malformed => "the guest did not understand the request".into(),
        RpcError::Limit { what, limit, asked } => format!("{what}: {asked} asked, the limit is {limit}"),
        RpcError::NoThread(thread) => format!("no thread {}", thread.0),
        RpcError::NoExtension(extension) => format!("no extension {}", extension.0),
        RpcError::NoRun(run) => format!("no run {run}"),
        RpcError::NoUpload(upload) => format!("no upload {upload}"),
        RpcError::UploadIncomplete { announced, received } => {
            format!("upload of {announced} bytes ended after {received}")
        }
        RpcError::BadAddress { address, write: false } => {
            format!("cannot read memory at {address}: nothing is mapped there")
        }
        RpcError::BadAddress { address, write: true } => {
            format!("cannot write memory at {address}: nothing is mapped there, or it is read-only")
        }
        RpcError::File { path, reason } => format!("{path}: {}", file_error(*reason)),
        RpcError::Load(error) => load_headline(error),
        RpcError::InUse { runs, used_by } => {
            let mut reasons = Vec::new();
            if *runs > 0 {
                reasons.push(format!("{runs} run{} in it", if *runs == 1 { "" } else { "s" }));
            }
            if !used_by.is_empty() {
                reasons.push(format!("{} linked to it", used_by.join(", ")));
            }
            format!("the extension is in use: {}", reasons.join("; "))
        }
        RpcError::NoEntry => "there is no such function to start".into(),
        RpcError::NoProgram(program) => format!("no program {}", program.0),
        RpcError::NoMap(map) => format!("no map {}", map.0),
        RpcError::Program(error) => program_headline(error),
        RpcError::Map(error) => map_headline(error),
        RpcError::ProgramInUse { runs, held_by } => {
            let mut reasons = Vec::new();
            if *runs > 0 {
                reasons.push(format!("{runs} run{} of it", if *runs == 1 { "" } else { "s" }));
            }
            if !held_by.is_empty() {
                reasons.push(format!("{} holds it for tail calls", held_by.join(", ")));
            }
            format!("the program is in use: {}", reasons.join("; "))
        }
        RpcError::Unsupported { what } => format!("this image cannot do that: {what}"),
        RpcError::OutOfMemory { bytes } => format!("the guest has no {} of memory left", size(*bytes)),
    }
}

fn load_headline(error: &LoadError) -> String {
    match error {
        LoadError::BadImage { reason } => format!("the extension image is not valid: {reason}"),
        LoadError::WrongBuild { guest } => {
            format!("symbols were taken from another image than the one that runs ({})", hex(&guest.0))
        }
        LoadError::NameTaken(id) => format!("an extension of that name is loaded already (id {})", id.0),
        LoadError::Undefined(missing) => match missing.as_slice() {
            [one] => format!("undefined symbol `{}`", one.name),
            all => format!("{} undefined symbols", all.len()),
        },
        LoadError::DuplicateSymbol { name } => format!("symbol `{name}` is defined twice"),
        LoadError::BadHint { name, address } => {
            format!("symbol `{name}` at {address} lies outside the guest's image")
        }
        LoadError::Overflow { place, kind, symbol, value } => format!(
            "relocation {kind:?} to `{symbol}` at {}+{:#x} does not fit: {value:#x}",
            place.section, place.offset
        ),
        LoadError::ForbiddenInstruction { place, mnemonic } => format!(
            "the code holds the bytes of `{mnemonic}` at {}+{:#x}, which could lift its isolation",
            place.section, place.offset
        ),
        LoadError::NoKey { in_use } => format!("all protection keys are taken, {in_use} domains hold one"),
        LoadError::NoIsolation { reason } => format!("this machine cannot isolate like that: {reason}"),
        LoadError::NoRoom { bytes } => format!("no room for {} of loaded code", size(*bytes)),
        LoadError::InitFaulted { .. } => "its constructors or `init` were ended by the guest".into(),
        LoadError::InitFailed(value) => format!("its `init` returned {value}, so it was not loaded"),
    }
}

fn program_headline(error: &ProgramError) -> String {
    match error {
        ProgramError::BadObject { reason } => format!("the object is not valid: {reason}"),
        ProgramError::NotAdmitted { reason, .. } => format!("the guest's policy refuses it: {reason}"),
        ProgramError::Unproven { program, slot, reason } => {
            let place = slot.map(|slot| format!(" at instruction {slot}")).unwrap_or_default();
            format!("the guest does not find `{program}` proven safe{place}: {reason}")
        }
        ProgramError::Untranslatable { program, reason } => {
            format!("no machine code can be made of `{program}`: {reason}")
        }
        ProgramError::BadMap { map, reason } => format!("map `{map}` cannot be made: {reason}"),
        ProgramError::MapMismatch { map, id, field, pinned, declared } => {
            let what = schema_field(*field);
            match field {
                SchemaField::Kind => {
                    let name = |number: &u64| {
                        let kind = u32::try_from(*number).ok().and_then(MapKind::from_number);
                        kind.map_or_else(|| number.to_string(), |kind| kind.name().to_owned())
                    };
                    let (pinned, declared) = (name(pinned), name(declared));
                    format!(
                        "map `{map}` is pinned with another {what}: map {} has {pinned}, the object {declared}",
                        id.0
                    )
                }
                SchemaField::KeyBytes
                | SchemaField::ValueBytes
                | SchemaField::MaxEntries
                | SchemaField::Flags
                | SchemaField::ReadOnly => {
                    format!(
                        "map `{map}` is pinned with another {what}: map {} has {pinned}, the object {declared}",
                        id.0
                    )
                }
                SchemaField::KeyType
                | SchemaField::ValueType
                | SchemaField::Inner
                | SchemaField::Contents => {
                    format!("map `{map}` is pinned with another {what} (map {})", id.0)
                }
            }
        }
        ProgramError::NoSuchProgram { name, programs } if name.is_empty() => {
            format!("the object has {} programs", programs.len())
        }
        ProgramError::NoSuchProgram { name, .. } => format!("the object has no program `{name}`"),
        ProgramError::BadTestData { bytes, least, most } => {
            format!("{bytes} bytes of test data; this program takes {least} to {most}")
        }
    }
}

fn schema_field(field: SchemaField) -> &'static str {
    match field {
        SchemaField::Kind => "kind",
        SchemaField::KeyBytes => "key size",
        SchemaField::ValueBytes => "value size",
        SchemaField::MaxEntries => "number of entries",
        SchemaField::Flags => "set of flags",
        SchemaField::ReadOnly => "right to write",
        SchemaField::KeyType => "key type",
        SchemaField::ValueType => "value type",
        SchemaField::Inner => "description of inner maps",
        SchemaField::Contents => "contents, which are constants",
    }
}

fn map_headline(error: &MapError) -> String {
    match error {
        MapError::NoEntry => "no such entry".into(),
        MapError::EntryExists => "there is an entry with that key".into(),
        MapError::Full => "the map has no room for another entry".into(),
        MapError::Busy => "a program is changing the map".into(),
        MapError::KeySize { expected, got } => format!("the key has {got} bytes, keys of the map {expected}"),
        MapError::ValueSize { expected, got } => {
            format!("the value has {got} bytes, values of the map {expected}")
        }
        MapError::Unsupported => "maps of this kind cannot do that".into(),
        MapError::ReadOnly => "the map is for reading only".into(),
        MapError::NameTaken(id) => format!("another map is pinned under that name (map {})", id.0),
        MapError::NotPinned => "the map is not pinned".into(),
        MapError::BadReference { reason } => format!("the value names nothing that fits: {reason}"),
    }
}

fn file_error(error: FileError) -> String {
    match error {
        FileError::NotFound => "no such file or directory".into(),
        FileError::Exists => "exists already".into(),
        FileError::NotDirectory => "a part of the path is not a directory".into(),
        FileError::IsDirectory => "is a directory".into(),
        FileError::NotEmpty => "the directory is not empty".into(),
        FileError::InvalidPath => "not a valid path".into(),
        FileError::Permission => "permission denied".into(),
        FileError::NoSpace => "no space left".into(),
        FileError::Unsupported => "this file system cannot do that".into(),
        FileError::Io => "input/output error".into(),
        FileError::Errno(ETIMEDOUT) => {
            format!("the host that shares it has not answered for {} s", FILE_TIME_MAX_MS / 1000)
        }
        FileError::Errno(number) => std::io::Error::from_raw_os_error(number as i32).to_string(),
    }
}

/// Further lines: every missing symbol with its near matches.
#[must_use]
pub fn details(error: &RpcError) -> Vec<String> {
    let RpcError::Load(LoadError::Undefined(missing)) = error else { return Vec::new() };
    missing
        .iter()
        .map(|symbol| match symbol.near.as_slice() {
            [] => format!("`{}`: nothing of a similar name", symbol.name),
            near => format!("`{}`: did you mean {}?", symbol.name, quoted(near)),
        })
        .collect()
}

fn quoted(names: &[String]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// The next step, where there is one.
#[must_use]
pub fn hint(error: &RpcError) -> Option<String> {
    let text = match error {
        RpcError::ProtocolMismatch { .. } => {
            "shell and guest come from different builds: stop the guest and start it again with this shell"
        }
        RpcError::NoSession => "attach again",
        RpcError::TooManySessions => "leave one of the other shells (Ctrl-D) first",
        RpcError::NoThread(_) => "`threads` lists them",
        RpcError::NoExtension(_) | RpcError::NoRun(_) => "`ext` lists what is loaded",
        RpcError::BadAddress { .. } => "`mem` lists what is mapped and what may be written",
        RpcError::File { reason: FileError::NotFound, .. } => "`ls` shows what is there; paths start at `/`",
        RpcError::File { reason: FileError::IsDirectory, .. } => "`ls` shows what is in it",
        RpcError::File { reason: FileError::Errno(ETIMEDOUT), .. } => {
            "it may still happen; files outside of that share are not affected"
        }
        RpcError::Load(error) => return load_hint(error),
        RpcError::InUse { .. } => "`kill ID` ends its runs; unload the extensions that link to it first",
        RpcError::NoProgram(_) => "`prog list` lists what is loaded",
        RpcError::NoMap(_) => "`map list` lists them",
        RpcError::Program(error) => return program_hint(error),
        RpcError::Map(error) => return map_hint(error),
        RpcError::ProgramInUse { held_by, .. } if !held_by.is_empty() => {
            "`map delete MAP INDEX` takes it out of the map first"
        }
        RpcError::ProgramInUse { .. } => "wait for the run, or end it with Ctrl-C in its shell",
        RpcError::NoEntry => {
            "`run` needs a `main`; functions of a resident extension are started with `call`"
        }
        RpcError::OutOfMemory { .. } => "`mem` shows who holds it; `run --mem` gives a guest more",
        _ => return None,
    };
    Some(text.into())
}

fn program_hint(error: &ProgramError) -> Option<String> {
    let text = match error {
        ProgramError::NotAdmitted { rollback: true, .. } => "`--rollback` loads it all the same",
        ProgramError::NotAdmitted { .. } => {
            "`uio-shell sign` makes a certificate, `--cert FILE` gives it; `feature` shows which keys count"
        }
        ProgramError::Unproven { .. } => {
            "shell and guest may come from different builds: restart the guest with this shell"
        }
        ProgramError::Untranslatable { .. } => "`--interpret` runs it without machine code",
        ProgramError::MapMismatch { .. } => {
            "`map dump` saves what is in it; `map unpin` gives the name free for the new declaration"
        }
        ProgramError::NoSuchProgram { programs, .. } => {
            let names: Vec<String> = programs.iter().map(|name| format!("`{name}`")).collect();
            return Some(format!("`--program` chooses one of {}", names.join(", ")));
        }
        ProgramError::BadObject { .. } | ProgramError::BadMap { .. } | ProgramError::BadTestData { .. } => {
            return None;
        }
    };
    Some(text.into())
}

fn map_hint(error: &MapError) -> Option<String> {
    let text = match error {
        MapError::NoEntry => "`map dump` shows what is there",
        MapError::EntryExists => "without `--new` the value is replaced",
        MapError::Full => "`map delete` makes room; the index of an array is below its number of entries",
        MapError::Busy => "try again",
        MapError::Unsupported => "`map show` says of which kind it is, `help map` what there is to do",
        MapError::NameTaken(_) => "choose another name, or `map unpin` the other",
        MapError::BadReference { .. } => "`prog list` and `map list` have the numbers",
        MapError::KeySize { .. } | MapError::ValueSize { .. } | MapError::ReadOnly | MapError::NotPinned => {
            return None;
        }
    };
    Some(text.into())
}

/// Instructions that change the keys' rights; refused in ring 3 as well.
const KEY_INSTRUCTIONS: [&str; 3] = ["wrpkru", "xrstor", "xrstors"];

fn load_hint(error: &LoadError) -> Option<String> {
    let text = match error {
        LoadError::WrongBuild { .. } => {
            "the image file was rebuilt since the guest started; restart the guest"
        }
        LoadError::NameTaken(_) => "`unload` it first, or `run` it by its name",
        LoadError::Undefined(_) => "`feature exports` lists what the guest offers, `sym` what it contains",
        LoadError::Overflow { .. } => {
            "compile with -mcmodel=kernel (C) or -C code-model=kernel -C relocation-model=static (Rust)"
        }
        // Nothing stops these in any ring: they need no privilege.
        LoadError::ForbiddenInstruction { mnemonic, .. } if KEY_INSTRUCTIONS.contains(&mnemonic.as_str()) => {
            "if the code does not mean it, another optimization level moves the bytes; `--isolation none` \
             trusts it as the kernel"
        }
        LoadError::ForbiddenInstruction { .. } => {
            "with `--isolation ring3` it loads, and faults there; `--isolation none` trusts it as the kernel"
        }
        LoadError::NoKey { .. } => "`unload` what is not needed, or load with `--isolation none`",
        LoadError::NoIsolation { .. } => {
            "`feature` says what the machine offers; `--isolation none` trusts the code as the kernel"
        }
        LoadError::NoRoom { .. } => {
            "`info` shows how much memory is free, `ext` who holds some; `unload` gives it back"
        }
        _ => return None,
    };
    Some(text.into())
}

#[cfg(test)]
mod tests {
    use uio_protocol::error::Place;

    use super::*;

    #[test]
    fn ring_3_is_suggested_for_what_faults_there_only() {
        let hint_for = |mnemonic: &str| {
            let place = Place { section: ".text".into(), offset: 7 };
            hint(&RpcError::Load(LoadError::ForbiddenInstruction { place, mnemonic: mnemonic.into() }))
                .unwrap()
        };
        assert!(hint_for("wrmsr").contains("ring3"));
        for mnemonic in KEY_INSTRUCTIONS {
            assert!(!hint_for(mnemonic).contains("ring3"), "{mnemonic}");
        }
    }
}
