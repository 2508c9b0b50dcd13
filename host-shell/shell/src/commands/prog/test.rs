//! `prog test`

use uio_protocol::bpf::ProgramKind;
use uio_protocol::limits::BPF_TEST_REPEAT_MAX;

use super::super::bpf::{REPEAT_DEFAULT, data, show_test, watch_test};
use super::super::runner::{BUDGET, budget};
use super::super::{Arguments, Command, CommandError, Completion, Flag, Output, Shell};
use super::{find, meaning};
use crate::render::units::number;

const DATA_IN: Flag = Flag { name: "--data-in", takes_value: true };
const REPEAT: Flag = Flag { name: "--repeat", takes_value: true };
const DATA_OUT: Flag = Flag { name: "--data-out", takes_value: true };

/// The packet that a test without data gets: 64 zeros.
const PACKET_BYTES_DEFAULT: usize = 64;

pub(super) struct Test;

impl Command for Test {
    fn name(&self) -> &'static str {
        "prog test"
    }

    fn summary(&self) -> &'static str {
        "Run a loaded program on data: result, changed data, time"
    }

    fn usage(&self) -> &'static str {
        "prog test PROGRAM [--data-in FILE|HEX] [--data-out FILE] [--repeat N] [--budget MS]"
    }

    fn details(&self) -> &'static str {
        "The data is the packet of a packet program, the memory of a raw one, the context of others; zeros\n\
         without it. Of several runs, each finds the packet's bytes as the one before left them, as in Linux.\n\
         Runs on a thread of its own; what it does wrong ends it, not the guest. The budget is CPU time, 1000 ms\n\
         unless given."
    }

    fn example(&self) -> &'static str {
        "> prog test drop --data-in 0102030405060708090a0b0c0800 --repeat 1000\n\
         returned 1 (XDP_DROP), 6 ns a run, 1000 runs\n\
         data: 14 bytes, unchanged"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 1)
    }

    fn flags(&self) -> &'static [Flag] {
        &[DATA_IN, DATA_OUT, REPEAT, BUDGET]
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::Program, Completion::HostPath]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let budget = budget(self.name(), arguments)?;
        let repeat = match arguments.value(REPEAT.name) {
            None => REPEAT_DEFAULT,
            Some(text) => number(text)
                .and_then(|count| u32::try_from(count).ok())
                .filter(|count| (1..=BPF_TEST_REPEAT_MAX).contains(count))
                .ok_or_else(|| CommandError::Usage {
                    command: self.name(),
                    message: format!("the count is 1 to {BPF_TEST_REPEAT_MAX}, not `{text}`"),
                })?,
        };
        let mut before = match arguments.value(DATA_IN.name) {
            None => Vec::new(),
            Some(text) => data(self.name(), text)?,
        };
        let program = find(shell, arguments.at(0))?;
        let run = shell.client.test_program(program.id, before.clone(), repeat, budget)?;
        let test = watch_test(shell, run, &program.name, out)?;
        if let Some(path) = arguments.value(DATA_OUT.name) {
            std::fs::write(path, &test.data)
                .map_err(|source| CommandError::HostFile { path: path.into(), source })?;
        }
        match program.kind {
            ProgramKind::Packet if before.is_empty() => before = vec![0; PACKET_BYTES_DEFAULT],
            ProgramKind::Packet => {}
            // Filled up with zeros.
            _ => before.resize(test.data.len(), 0),
        }
        show_test(&test, meaning(&program, test.value), &before, out)
    }
}
