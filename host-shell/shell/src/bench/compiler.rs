//! Compiles the small C programs of the suite.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::error::BenchError;
use super::folder::Folder;
use crate::machine::image::workspace;
use uio_prerequisites::is_installed;

/// Compiles a shared library for the host.
pub(super) fn library(folder: &Folder, name: &str, source: &str) -> Result<PathBuf, BenchError> {
    let file = write(folder, name, source)?;
    let library = folder.path(&format!("{name}.so"));
    let mut command = Command::new(host_compiler()?);
    command.args(["-O2", "-shared", "-fPIC"]).arg(&file).arg("-o").arg(&library);
    run(command, &file)?;
    Ok(library)
}

/// Compiles an extension, as a person would; gives the object.
pub(super) fn extension(folder: &Folder, name: &str, source: &str) -> Result<Vec<u8>, BenchError> {
    let file = write(folder, name, source)?;
    let script = workspace().ok_or(BenchError::NoWorkspace)?.join("extensions/build.sh");
    let mut command = Command::new(script);
    // Without debug information: it stays on the host in any case.
    command.arg(folder.path("objects")).arg(&file).env("CFLAGS", "-g0");
    run(command, &file)?;
    let object = folder.path("objects").join(format!("{name}.o"));
    std::fs::read(&object).map_err(BenchError::io(object.display().to_string()))
}

fn host_compiler() -> Result<&'static str, BenchError> {
    ["cc", "gcc", "clang"]
        .into_iter()
        .find(|program| is_installed(program))
        .ok_or(BenchError::Missing("a C compiler (gcc or clang)"))
}

fn write(folder: &Folder, name: &str, source: &str) -> Result<PathBuf, BenchError> {
    let file = folder.path(&format!("{name}.c"));
    std::fs::write(&file, source).map_err(BenchError::io(file.display().to_string()))?;
    Ok(file)
}

fn run(mut command: Command, source: &Path) -> Result<(), BenchError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.stdin(Stdio::null()).output().map_err(BenchError::io(program.clone()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(BenchError::Compile { program, source_file: source.to_path_buf(), said })
}
