//! `sym`

use serde_json::json;
use uio_debuginfo::SymbolKind;

use super::{Arguments, Command, CommandError, Completion, Output, Shell};
use crate::render::table::{Align, Table};
use crate::render::units::number;

pub(super) struct Sym;

impl Command for Sym {
    fn name(&self) -> &'static str {
        "sym"
    }

    fn summary(&self) -> &'static str {
        "Search symbols by name, or name an address"
    }

    fn usage(&self) -> &'static str {
        "sym PATTERN|ADDRESS"
    }

    fn details(&self) -> &'static str {
        "`*` and `?` are wildcards; a pattern without one matches anywhere in a name. KIND is f for functions,\n\
         d for data, - for labels. Symbols of loaded extensions are found too."
    }

    fn example(&self) -> &'static str {
        "> sym count\n\
         ADDRESS             SIZE  KIND  NAME\n\
         0xffffffff80001240    38  f     set_count\n\
         0xffffffff80072000     8  d     count"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 1)
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::Symbol, Completion::Nothing]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let space = shell.space()?;
        let pattern = arguments.at(0);
        if let Some(address) = number(pattern) {
            let name = space.describe(address);
            let location = space.module_at(address).and_then(|module| module.source_location(address));
            let place = location.map(|location| crate::render::frames::place(&location));
            if out.is_json() {
                return out.object(
                    &json!({ "address": format!("{address:#x}"), "symbol": name, "location": place }),
                );
            }
            let Some(name) = name else {
                return Err(CommandError::with_hint(
                    format!("no symbol covers {address:#x}"),
                    "`mem` says what is mapped there",
                ));
            };
            let place = place.map(|place| format!(" at {place}")).unwrap_or_default();
            return out.line(format!("{name}{place}"));
        }
        let mut table = Table::new(&[
            ("ADDRESS", Align::Left),
            ("SIZE", Align::Right),
            ("KIND", Align::Left),
            ("NAME", Align::Left),
        ]);
        for module in space.modules() {
            for symbol in module.search(pattern) {
                let kind = match symbol.kind {
                    SymbolKind::Function => "f",
                    SymbolKind::Data => "d",
                    SymbolKind::Label => "-",
                };
                let address = format!("{:#018x}", symbol.address);
                if out.is_json() {
                    out.object(&json!({
                        "address": address,
                        "size": symbol.size,
                        "kind": kind,
                        "name": symbol.demangled(),
                        "linkage_name": symbol.name,
                    }))?;
                }
                table.row([address, symbol.size.to_string(), kind.to_owned(), symbol.demangled()]);
            }
        }
        if table.is_empty() {
            let near = space.image().near(pattern, 3);
            return Err(match near.first() {
                Some(_) => CommandError::with_hint(
                    format!("no symbol matches `{pattern}`"),
                    format!("did you mean {}?", near.join(", ")),
                ),
                None => CommandError::message(format!("no symbol matches `{pattern}`")),
            });
        }
        if out.is_json() { Ok(()) } else { out.table(&table) }
    }
}
