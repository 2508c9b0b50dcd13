//! `stack`

use serde_json::json;
use uio_protocol::inspect::ThreadId;

use super::{Arguments, Command, CommandError, Completion, Output, Shell};
use crate::render::frames;
use crate::text::near_matches;

pub(super) struct Stack;

impl Command for Stack {
    fn name(&self) -> &'static str {
        "stack"
    }

    fn summary(&self) -> &'static str {
        "Call stack of a thread, with files and lines"
    }

    fn usage(&self) -> &'static str {
        "stack TID|NAME"
    }

    fn details(&self) -> &'static str {
        "The thread is not stopped: the stack is from when it last left the CPU. Inlined functions are shown\n\
         with their callers."
    }

    fn example(&self) -> &'static str {
        "> stack app\n\
         thread 2 app: sleeping\n \
         0  0xffffffff80003f10  uio_kernel::thread::sleep+0x60   guest/kernel/src/thread/sleep.rs:41\n \
         1  0xffffffff80001310  count::work+0x50                 guest/images/count/src/main.rs:33"
    }

    fn arity(&self) -> (usize, usize) {
        (1, 1)
    }

    fn completions(&self) -> &'static [Completion] {
        &[Completion::Thread, Completion::Nothing]
    }

    fn run(
        &self,
        shell: &mut Shell,
        arguments: &Arguments,
        out: &mut Output<'_>,
    ) -> Result<(), CommandError> {
        let thread = find_thread(shell, arguments.at(0))?;
        let space = shell.space()?;
        let snapshot = shell.client.thread_snapshot(thread)?;
        let stack = space.unwind(&snapshot.registers, &snapshot.stack);
        let named = space.symbolize(&stack);
        if out.is_json() {
            return out.object(&json!({
                "thread": super::threads::to_json(&snapshot.info),
                "frames": frames::to_json(&named),
                "end": frames::end(stack.end),
            }));
        }
        let state = super::threads::state_name(&snapshot.info.state);
        out.line(format!(
            "{}: {state}",
            out.style().bold(&format!("thread {} {}", snapshot.info.id.0, snapshot.info.name))
        ))?;
        for line in frames::lines(&named, out.style()) {
            out.line(line)?;
        }
        match frames::end(stack.end) {
            Some(end) => out.line(out.style().dim(&format!("    ({end})"))),
            None => Ok(()),
        }
    }
}

/// The thread of that number or name.
pub(super) fn find_thread(shell: &Shell, word: &str) -> Result<ThreadId, CommandError> {
    if let Ok(number) = word.parse() {
        return Ok(ThreadId(number));
    }
    let threads = shell.client.threads()?;
    match threads.iter().find(|thread| thread.name == word) {
        Some(thread) => Ok(thread.id),
        None => {
            let near = near_matches(word, threads.iter().map(|thread| thread.name.as_str()));
            let hint = near
                .first()
                .map_or_else(|| "`threads` lists them".to_owned(), |near| format!("did you mean `{near}`?"));
            Err(CommandError::with_hint(format!("no thread `{word}`"), hint))
        }
    }
}
