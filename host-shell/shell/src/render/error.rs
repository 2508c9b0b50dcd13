//! The guest's refusals in words: what, why, and what to do next.

use uio_protocol::PROTOCOL_HASH;
use uio_protocol::error::{FileError, LoadError, RpcError};
use uio_protocol::limits::FILE_TIME_MAX_MS;

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
        RpcError::NoEntry => {
            "`run` needs a `main`; functions of a resident extension are started with `call`"
        }
        RpcError::OutOfMemory { .. } => "`mem` shows who holds it; `run --mem` gives a guest more",
        _ => return None,
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
