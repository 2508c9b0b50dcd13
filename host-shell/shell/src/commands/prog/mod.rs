//! `prog`

mod dump;
mod list;
mod load;
mod show;
mod test;
mod unload;

use uio_protocol::bpf::ProgramKind;
use uio_protocol::programs::{Engine, ProgramInfo};

use super::bpf::kind_name;
use super::{Arguments, Command, CommandError, Output, Shell};
use crate::render::units::hex;
use crate::text::near_matches;

pub(super) struct Prog;

impl Command for Prog {
    fn name(&self) -> &'static str {
        "prog"
    }

    fn summary(&self) -> &'static str {
        "eBPF programs: load, list, show, dump, test, unload"
    }

    fn usage(&self) -> &'static str {
        "prog load|list|show|dump|test|unload …"
    }

    fn details(&self) -> &'static str {
        "A program is proven safe on this host; the guest checks the proof before anything runs, whoever signed\n\
         the program. `help prog load` explains one of these."
    }

    fn example(&self) -> &'static str {
        "> prog list\n\
         ID  NAME  TYPE    HOOK  GEN  TENANT  KEY  EXPIRES  RUNS  NS/RUN\n \
         1  pass  packet  -       -  -       -    -           0       -"
    }

    fn arity(&self) -> (usize, usize) {
        (0, 0)
    }

    fn subcommands(&self) -> &'static [&'static dyn Command] {
        &[&load::Load, &list::List, &show::Show, &dump::Dump, &test::Test, &unload::Unload]
    }

    fn run(&self, _: &mut Shell, _: &Arguments, out: &mut Output<'_>) -> Result<(), CommandError> {
        super::help::show(self, out)
    }
}

/// The program that `word` names: its number, or its name if only one has it.
fn find(shell: &Shell, word: &str) -> Result<ProgramInfo, CommandError> {
    let mut all = shell.client.programs()?;
    let number = word.parse().ok();
    if let Some(index) = all.iter().position(|one| Some(one.id.0) == number) {
        return Ok(all.swap_remove(index));
    }
    let named: Vec<usize> = (0..all.len()).filter(|&index| all[index].name == word).collect();
    match named.as_slice() {
        [one] => Ok(all.swap_remove(*one)),
        [] => {
            let near = near_matches(word, all.iter().map(|one| one.name.as_str()));
            let hint = match near.first() {
                Some(near) => format!("did you mean `{near}`?"),
                None if all.is_empty() => "no program is loaded; `prog load FILE` loads some".into(),
                None => "`prog list` lists what is loaded".into(),
            };
            Err(CommandError::with_hint(format!("no program `{word}`"), hint))
        }
        several => {
            let numbers: Vec<String> = several.iter().map(|&index| all[index].id.0.to_string()).collect();
            Err(CommandError::with_hint(
                format!("{} programs are called `{word}`", several.len()),
                format!("give the number: {}", numbers.join(", ")),
            ))
        }
    }
}

/// The word for what executes a program.
pub(super) fn engine_name(engine: Engine) -> &'static str {
    match engine {
        Engine::Jit => "jit",
        Engine::Interpreter => "interpreter",
    }
}

/// What a returned value means to whoever called the program: an action of filters. Others choose ports.
fn meaning(program: &ProgramInfo, value: u64) -> Option<&'static str> {
    /// Linux's `enum xdp_action`.
    const ACTIONS: [&str; 5] = ["XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX", "XDP_REDIRECT"];
    let filters = program.kind == ProgramKind::Packet && matches!(program.target.as_str(), "" | "filter");
    if filters { ACTIONS.get(usize::try_from(value).ok()?).copied() } else { None }
}

/// Time of one run, `None` before the first.
fn ns_per_run(program: &ProgramInfo) -> Option<u64> {
    program.run_time_ns.checked_div(program.run_count)
}

/// The date of a time, `2026-11-20`.
fn date(unix_seconds: u64) -> String {
    // Days from 0000-03-01, whose years end with the leap day.
    let days = unix_seconds / 86_400 + 719_468;
    let era = days / 146_097;
    let day_of_era = days % 146_097;
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, next) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year + next)
}

/// The program as every command writes it in JSON.
fn to_json(program: &ProgramInfo) -> serde_json::Value {
    let signed = program.signed.as_ref();
    serde_json::json!({
        "id": program.id.0,
        "name": program.name,
        "object": program.object,
        "digest": hex(&program.digest),
        "type": kind_name(program.kind),
        "hook": program.target,
        "engine": engine_name(program.engine),
        "generation": signed.map(|signed| signed.generation),
        "tenant": signed.map(|signed| &signed.tenant),
        "key_id": signed.map(|signed| hex(&signed.key_id)),
        "expires_s": signed.map(|signed| signed.expires_s),
        "instructions": program.slots,
        "proof_bytes": program.proof_bytes,
        "code": program.code.to_string(),
        "code_bytes": program.code_bytes,
        "fuel": program.fuel,
        "memory_bytes": program.memory_bytes,
        "maps": program.maps.iter().map(|map| map.0).collect::<Vec<_>>(),
        "loaded_ns": program.loaded_ns,
        "running": program.running,
        "run_count": program.run_count,
        "run_time_ns": program.run_time_ns,
        "ns_per_run": ns_per_run(program),
        "faults": program.faults,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_795_219_199, "2026-11-20"),
        ] {
            assert_eq!(date(seconds), text);
        }
    }
}
