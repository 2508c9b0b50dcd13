//! `print`

use uio_debuginfo::PrintLimits;

use super::symbols::GuestMemory;
use super::{Arguments, Command, CommandError, Completion, Flag, Output, Shell};

pub(super) struct Print;

impl Command for Print {
    fn name(&self) -> &'static str {
        "print"
    }

    fn summary(&self) -> &'static str {
        "Show a variable or expression by its type"
    }

    fn usage(&self) -> &'static str {
        "print EXPRESSION [--thread TID]"
    }

    fn details(&self) -> &'static str {
        "Variables of the image and of loaded extensions, `*p`, `&x`, `a.b[3]`, `a[2..5]`, arithmetic, casts\n\
         (`x as u32`, `(struct s *)p`). With --thread, `$rip` and the other registers of that thread."
    }

    fn example(&self) -> &'static str {
        "> print count\n12345"
    }

    fn arity(&self) -> (usize, usize) {
        (1, usize::MAX)
    }

    fn flags(&self) -> &'static [Flag] {
        &[Flag { name: "--thread", takes_value: true }]
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::Expression]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let registers = match arguments.value("--thread") {
            Some(thread) => {
                let thread = super::stack::find_thread(shell, thread)?;
                Some(shell.client.thread_snapshot(thread)?.registers)
            }
            None => None,
        };
        let space = shell.space()?;
        let expression = arguments.all().join(" ");
        let mut memory = GuestMemory(&shell.client);
        let printed = space.print(&expression, &mut memory, registers.as_ref(), PrintLimits::default())?;
        if out.is_json() {
            return out.object(&printed.to_json());
        }
        out.line(printed.datum.to_text())
    }
}
