//! Call stacks.

use std::path::Path;

use serde_json::{Value, json};
use uio_debuginfo::{FRAMES_MAX, NamedFrame, SourceLocation, StackEnd};

use super::style::Style;

/// Equal frames in a row from which on they are counted: the first, the last, and at least two between.
const REPEATS_MIN: usize = 4;

/// Widest symbol column; longer names push their own line only.
const SYMBOL_COLUMN_MAX: usize = 48;

/// The frames as lines: number, address, symbol, file and line. Inlined functions have no address
/// of their own. Of a frame that repeats itself only the first and the last are shown.
#[must_use]
pub fn lines(frames: &[NamedFrame], style: Style) -> Vec<String> {
    let mut rows_of_frames: Vec<Row> = Vec::new();
    let mut index = 0;
    while let Some(frame) = frames.get(index) {
        let same =
            frames[index..].iter().take_while(|other| other.frame.address == frame.frame.address).count();
        rows_of_frames.extend(rows(index, frame));
        if same >= REPEATS_MIN {
            rows_of_frames.push(Row::Repeated(same - 2));
            rows_of_frames.extend(rows(index + same - 1, frame));
            index += same;
        } else {
            index += 1;
        }
    }
    let width = rows_of_frames.iter().map(|row| row.name().chars().count()).max().unwrap_or(0);
    let width = width.min(SYMBOL_COLUMN_MAX);
    rows_of_frames
        .into_iter()
        .map(|row| match row {
            Row::Function { head, name, place } => {
                let line = format!("{}  {name:<width$}  {}", style.dim(&head), style.hint(&place));
                line.trim_end().to_owned()
            }
            Row::Repeated(times) => style.dim(&format!("     ... {times} more of the same")),
        })
        .collect()
}

enum Row {
    Function {
        head: String,
        name: String,
        place: String,
    },
    /// So many frames as the one before.
    Repeated(usize),
}

impl Row {
    fn name(&self) -> &str {
        match self {
            Self::Function { name, .. } => name,
            Self::Repeated(_) => "",
        }
    }
}

fn rows(index: usize, frame: &NamedFrame) -> Vec<Row> {
    let address = format!("{:#018x}", frame.frame.address);
    let extension = frame.extension.as_ref().map(|name| format!("[{name}] ")).unwrap_or_default();
    let symbol = frame.symbol.clone().unwrap_or_else(|| "??".into());
    let first = format!("{index:>3}  {address}");
    let Some(outermost) = frame.functions.len().checked_sub(1) else {
        return vec![Row::Function {
            head: first,
            name: format!("{extension}{symbol}"),
            place: String::new(),
        }];
    };
    frame
        .functions
        .iter()
        .enumerate()
        .map(|(level, function)| {
            let head = if level == 0 { first.clone() } else { " ".repeat(first.len()) };
            let name = if level == outermost {
                symbol.clone()
            } else {
                format!("{} (inlined)", function.function.as_deref().unwrap_or("??"))
            };
            let place = function.location.as_ref().map(place).unwrap_or_default();
            Row::Function { head, name: format!("{extension}{name}"), place }
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

#[cfg(test)]
mod tests {
    use uio_debuginfo::{FoundBy, Frame};

    use super::*;

    fn frame(address: u64) -> NamedFrame {
        let frame =
            Frame { address, is_return_address: true, stack_pointer: 0, found_by: FoundBy::UnwindRules };
        let symbol = Some(format!("f+{address:#x}"));
        NamedFrame { frame, extension: Some("deep".into()), symbol, functions: Vec::new() }
    }

    #[test]
    fn recursion_is_counted() {
        let mut stack = vec![frame(0x10)];
        stack.extend(std::iter::repeat_n(frame(0x20), 250));
        stack.push(frame(0x30));
        assert_eq!(
            lines(&stack, Style::PLAIN),
            [
                "  0  0x0000000000000010  [deep] f+0x10",
                "  1  0x0000000000000020  [deep] f+0x20",
                "     ... 248 more of the same",
                "250  0x0000000000000020  [deep] f+0x20",
                "251  0x0000000000000030  [deep] f+0x30",
            ]
        );
        assert_eq!(lines(&vec![frame(0x20); 3], Style::PLAIN).len(), 3);
    }

    #[test]
    fn long_roots_are_left_out() {
        assert_eq!(
            short_path("/rustc/5980/library/core/src/fmt/mod.rs"),
            "<rust>/library/core/src/fmt/mod.rs"
        );
        assert_eq!(
            short_path("/root/.cargo/registry/src/index-1949/x86_64-0.15.5/src/lib.rs"),
            "<crate>/x86_64-0.15.5/src/lib.rs"
        );
    }
}
