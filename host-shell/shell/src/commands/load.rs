//! `load`

use std::path::Path;

use serde_json::json;
use uio_debuginfo::Image;
use uio_protocol::GuestAddress;
use uio_protocol::error::{LoadError, RpcError};
use uio_protocol::image::ExtensionImage;
use uio_protocol::inspect::{ExtensionInfo, Isolation};

use super::compile::{self, Object};
use super::ext::{isolation_name, to_json};
use super::{Arguments, Command, CommandError, Completion, Flag, Output, Shell};
use crate::client::ClientError;
use crate::render::fault::Fault;
use crate::render::units::size;

/// The flag that chooses the isolation.
pub(super) const ISOLATION: Flag = Flag { name: "--isolation", takes_value: true };

pub(super) struct Load;

impl Command for Load {
    fn name(&self) -> &'static str {
        "load"
    }

    fn summary(&self) -> &'static str {
        "Load a compiled extension, or compile and load a source"
    }

    fn usage(&self) -> &'static str {
        "load FILE [--isolation mpk|ring3|none]"
    }

    fn details(&self) -> &'static str {
        "FILE is a host file: a relocatable object (.o), or a C (.c) or Rust (.rs) source.\n\
         mpk    (the default) its own protection key: it reads, but writes only what is its own\n\
         ring3  mpk without privileges: privileged instructions fault too; for code you do not trust\n\
         none   as the kernel: it can do anything, and crash the guest\n\
         Loading is all or nothing. An extension with `main` waits for `run`; one with `init` starts here."
    }

    fn example(&self) -> &'static str {
        "> load extensions/native/hello/hello.c\n1  hello  mpk, key 3, 28 KiB at 0xffffffffc0000000"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 1)
    }

    fn flags(&self) -> &'static [Flag] {
        &[ISOLATION]
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::HostPath, Completion::Nothing]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let isolation = isolation(self.name(), arguments)?;
        let object = compile::object(Path::new(arguments.at(0)))?;
        let extension = load(shell, &object, isolation, out)?;
        if out.is_json() {
            return out.object(&to_json(&extension));
        }
        out.line(describe(&extension))
    }
}

/// What was loaded, in one line.
pub(super) fn describe(extension: &ExtensionInfo) -> String {
    let key = if extension.key == 0 { String::new() } else { format!(", key {}", extension.key) };
    let start = extension.sections.iter().map(|section| section.start).min();
    let place = start.map(|start| format!(" at {start}")).unwrap_or_default();
    let resident = if extension.resident { ", resident" } else { "" };
    format!(
        "{}  {}  {}{key}, {}{place}{resident}",
        extension.id.0,
        extension.name,
        isolation_name(extension.isolation),
        size(extension.memory_bytes)
    )
}

/// The isolation that was asked for.
pub(super) fn isolation(command: &'static str, arguments: &Arguments) -> Result<Isolation, CommandError> {
    match arguments.value(ISOLATION.name) {
        None | Some("mpk") => Ok(Isolation::Mpk),
        Some("ring3") => Ok(Isolation::Ring3),
        Some("none") => Ok(Isolation::None),
        Some(other) => Err(CommandError::Usage {
            command,
            message: format!("the isolation is mpk, ring3 or none, not `{other}`"),
        }),
    }
}

/// Parses, uploads and links an object.
pub(super) fn load(
    shell: &mut Shell,
    object: &Object,
    isolation: Isolation,
    out: &mut Output<'_>,
) -> Result<ExtensionInfo, CommandError> {
    let Object { path, bytes: object, name } = object;
    let mut parsed = uio_objects::parse(object, name).map_err(|error| {
        CommandError::with_hint(format!("{}: {error}", path.display()), error.suggestion())
    })?;
    // Without the image's symbols the extension can still link to exports.
    if let Ok(image) = shell.image() {
        resolve(&mut parsed.image, &image);
    }
    let bytes = postcard::to_allocvec(&parsed.image)
        .map_err(|error| CommandError::message(format!("cannot serialize the extension: {error}")))?;
    let upload = shell.client.upload(&bytes)?;
    let build_id = shell.client.welcome().build_id;
    let loaded = shell.client.load(upload, isolation, build_id);
    show_output(shell, out)?;
    match loaded {
        Ok(extension) => {
            shell.remember_object(&extension, object);
            Ok(extension)
        }
        Err(ClientError::Rpc(RpcError::Load(LoadError::InitFaulted { report, sections }))) => {
            let space = shell.space_with(name, object, &sections).ok();
            let fault = Fault::new(&report, Some(name.clone()), space.as_ref());
            if out.is_json() {
                out.object(&fault.to_json())?;
            } else {
                out.line("its constructors or `init` were ended, so it was not loaded:")?;
                for line in fault.render(out.style()) {
                    out.line(line)?;
                }
            }
            Err(CommandError::Shown)
        }
        Err(error) => Err(error.into()),
    }
}

/// Shows what constructors, `init`, `exit` and destructors printed.
pub(super) fn show_output(shell: &Shell, out: &mut Output<'_>) -> Result<(), CommandError> {
    let bytes = shell.client.take_unnamed_output();
    if bytes.is_empty() {
        return Ok(());
    }
    if out.is_json() {
        return out.object(&json!({ "output": String::from_utf8_lossy(&bytes) }));
    }
    out.bytes(&bytes)?;
    if bytes.ends_with(b"\n") { Ok(()) } else { out.line("") }
}

/// Gives undefined symbols the addresses of the guest's symbols of that name.
fn resolve(image: &mut ExtensionImage, guest: &Image) {
    uio_objects::resolve_hints(image, |name| {
        guest.symbol_by_linkage_name(name).map(|symbol| GuestAddress(symbol.address))
    });
}
