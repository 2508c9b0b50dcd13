//! Call stacks.

use std::path::Path;

use serde_json::{Value, json};
use uio_debuginfo::{FRAMES_MAX, NamedFrame, SourceLocation, StackEnd};

use super::style::Style;

/// Widest symbol column; longer names push their own line only.
const SYMBOL_COLUMN_MAX: usize = 48;

/// The frames as lines: number, address, symbol, file and line. Inlined functions have no address
/// of their own.
#[must_use]
pub fn lines(frames: &[NamedFrame], style: Style) -> Vec<String> {
    let rows: Vec<(String, String, String)> = frames.iter().enumerate().flat_map(rows).collect();
    let width = rows.iter().map(|(_, name, _)| name.chars().count()).max().unwrap_or(0);
    let width = width.min(SYMBOL_COLUMN_MAX);
    rows.into_iter()
        .map(|(head, name, place)| {
            let line = format!("{}  {name:<width$}  {}", style.dim(&head), style.hint(&place));
            line.trim_end().to_owned()
        })
        .collect()
}

fn rows((index, frame): (usize, &NamedFrame)) -> Vec<(String, String, String)> {
    let address = format!("{:#018x}", frame.frame.address);
    let extension = frame.extension.as_ref().map(|name| format!("[{name}] ")).unwrap_or_default();
    let symbol = frame.symbol.clone().unwrap_or_else(|| "??".into());
    let count = frame.functions.len();
    if count <= 1 {
        let place = frame.functions.first().and_then(|function| function.location.as_ref()).map(place);
        return vec![(
            format!("{index:>3}  {address}"),
            format!("{extension}{symbol}"),
            place.unwrap_or_default(),
        )];
    }
    frame
        .functions
        .iter()
        .enumerate()
        .map(|(level, function)| {
            let innermost = level == 0;
            let outermost = level + 1 == count;
            let head =
                if innermost { format!("{index:>3}  {address}") } else { " ".repeat(5 + address.len()) };
            let name = if outermost {
                symbol.clone()
            } else {
                format!("{} (inlined)", function.function.as_deref().unwrap_or("??"))
            };
            let place = function.location.as_ref().map(place).unwrap_or_default();
            (head, format!("{extension}{name}"), place)
        })
        .collect()
}

/// `file:line`, the file as short as it stays clear.
#[must_use]
pub fn place(location: &SourceLocation) -> String {
    format!("{}:{}", short_path(&location.file), location.line)
}

/// A path below the current folder or the workspace without that; of the Rust sources and of crates without
/// their roots.
#[must_use]
pub fn short_path(path: &str) -> String {
    if let Some(at) = path.find("/library/")
        && path.starts_with("/rustc/")
    {
        return format!("<rust>{}", &path[at..]);
    }
    if let Some((_, crate_path)) = path.split_once("/registry/src/")
        && let Some((_, inside)) = crate_path.split_once('/')
    {
        return format!("<crate>/{inside}");
    }
    let roots = std::env::current_dir().ok().into_iter().chain(crate::machine::image::workspace());
    let path = Path::new(path);
    let inside = roots.into_iter().find_map(|root| path.strip_prefix(root).ok().map(Path::to_path_buf));
    inside.unwrap_or_else(|| path.to_path_buf()).display().to_string()
}

/// Why the stack ends here, unless it ends where stacks do.
#[must_use]
pub fn end(end: StackEnd) -> Option<String> {
    match end {
        StackEnd::Entry => None,
        StackEnd::OutsideModules { address } => Some(format!("{address:#x} is in no known code")),
        StackEnd::SnapshotEnds { address } => Some(format!("the copy of the stack ends before {address:#x}")),
        StackEnd::NoRules { address } => Some(format!("no unwind information for {address:#x}")),
        StackEnd::Damaged { address } => Some(format!("the stack is damaged at {address:#x}")),
        StackEnd::Limit => Some(format!("more than {FRAMES_MAX} frames")),
    }
}

/// The frames in JSON.
#[must_use]
pub fn to_json(frames: &[NamedFrame]) -> Value {
    frames
        .iter()
        .map(|frame| {
            let functions: Vec<Value> = frame
                .functions
                .iter()
                .map(|function| {
                    json!({
                        "function": function.function,
                        "file": function.location.as_ref().map(|location| &location.file),
                        "line": function.location.as_ref().map(|location| location.line),
                        "inlined": function.inlined,
                    })
                })
                .collect();
            json!({
                "address": format!("{:#x}", frame.frame.address),
                "symbol": frame.symbol,
                "extension": frame.extension,
                "functions": functions,
            })
        })
        .collect()
}
