//! `map take`

use serde_json::json;
use uio_protocol::bpf::MapKind;
use uio_protocol::error::RpcError;
use uio_protocol::maps::MapError;

use super::super::{Arguments, Command, CommandError, Completion, Flag, Output, Shell};
use super::find;
use super::values::Types;
use crate::client::ClientError;
use crate::render::units::hex;

const ALL: Flag = Flag { name: "--all", takes_value: false };

pub(super) struct Take;

impl Command for Take {
    fn name(&self) -> &'static str {
        "map take"
    }

    fn summary(&self) -> &'static str {
        "Take the next value of a queue or stack, or record of a ring buffer"
    }

    fn usage(&self) -> &'static str {
        "map take MAP [--all]"
    }

    fn details(&self) -> &'static str {
        "A queue and a ring buffer give the oldest, a stack the newest; it is gone from the map then. --all takes\n\
         until the map is empty."
    }

    fn example(&self) -> &'static str {
        "> map take events\n0a 00 00 01 50 00 00 00"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 1)
    }

    fn flags(&self) -> &'static [Flag] {
        &[ALL]
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::Map, Completion::Nothing]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let map = find(shell, arguments.at(0))?;
        let types = Types::of(shell, &map)?;
        let mut taken = 0_u64;
        loop {
            shell.interrupts.check()?;
            match shell.client.map_take(map.id) {
                Ok(value) => show(map.kind, &types, &value, out)?,
                Err(ClientError::Rpc(RpcError::Map(MapError::NoEntry))) if taken > 0 => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            taken += 1;
            if !arguments.has(ALL.name) {
                return Ok(());
            }
        }
    }
}

fn show(kind: MapKind, types: &Types, value: &[u8], out: &mut Output<'_>) -> Result<(), CommandError> {
    // A record of a ring buffer has any size; no type goes with it.
    let text = match kind {
        MapKind::RingBuffer => value.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" "),
        _ => types.value_text(value),
    };
    if out.is_json() {
        return out.object(&json!({ "value": text, "value_hex": hex(value) }));
    }
    out.line(text)
}
