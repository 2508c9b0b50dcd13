//! `bpf`, and what all commands about eBPF share.

mod names;
mod package;
mod run;
mod test;

pub(super) use names::{kind_name, objects_folder};
pub(super) use package::{build, describe_slots, remembered};
pub(super) use test::{REPEAT_DEFAULT, data, show_test, watch_test};

use super::{Arguments, Command, CommandError, Completion, Output, Shell};

pub(super) struct Bpf;

impl Command for Bpf {
    fn name(&self) -> &'static str {
        "bpf"
    }

    fn summary(&self) -> &'static str {
        "Run an eBPF program once: compile, prove, run, remove"
    }

    fn usage(&self) -> &'static str {
        "bpf run FILE [ARGUMENT]"
    }

    fn example(&self) -> &'static str {
        "> bpf run extensions/bpf/hello.c hi\nhello: 2 bytes are set, the first is 68\nreturned 209 (0xd1)"
    }

    fn arity(&self) -> (usize, usize) {
        (0, 0)
    }

    fn completions(&self) -> &'static [Completion] {
        &[]
    }

    fn subcommands(&self) -> &'static [&'static dyn Command] {
        &[&run::BpfRun]
    }

    fn run(&self, _: &mut Shell, _: &Arguments, out: &mut Output<'_>) -> Result<(), CommandError> {
        super::help::show(self, out)
    }
}
