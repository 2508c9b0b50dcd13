//! Whether a step did what it should.

use std::thread::sleep;
use std::time::Duration;

use super::stage::{Scene, free_memory};

/// The application counts once a millisecond; in this time it is seen to count even on a slow host.
const COUNTING_TIME: Duration = Duration::from_millis(60);
/// How far the application may count while a step runs: two minutes' worth.
const COUNTED_MEANWHILE_MAX: u64 = 120_000;
/// What the guest may keep of memory that extensions had, in bytes: the kernel's own bookkeeping grows as
/// the first of each kind of thing is made, and the leaks of the tour stay.
const KEPT_BYTES_MAX: u64 = 1 << 20;

/// What a check says.
type Verdict = Result<String, String>;

/// Every command succeeded.
pub(super) fn all_good(scene: &mut Scene<'_>) -> Verdict {
    match scene.shown.iter().find(|shown| !shown.good) {
        None => Ok("done".into()),
        Some(shown) => Err(format!("it failed: {}", first_line(&shown.text))),
    }
}

/// Every command succeeded, and together they printed all of `parts`.
pub(super) fn says(scene: &mut Scene<'_>, parts: &[&str]) -> Result<(), String> {
    all_good(scene)?;
    prints(scene, parts)
}

fn prints(scene: &Scene<'_>, parts: &[&str]) -> Result<(), String> {
    let text: String = scene.shown.iter().map(|shown| shown.text.as_str()).collect();
    match parts.iter().find(|part| !text.contains(**part)) {
        None => Ok(()),
        Some(missing) => Err(format!("expected `{missing}` in what it printed")),
    }
}

/// The application counts.
pub(super) fn counting(scene: &mut Scene<'_>) -> Verdict {
    let before = scene.count()?;
    sleep(COUNTING_TIME);
    let after = scene.count()?;
    if after > before {
        Ok(format!("the application counts on: {before}, {after}"))
    } else {
        Err(format!("the application does not count any more: {before}, {after}"))
    }
}

/// Two commands printed numbers, the second a greater one.
pub(super) fn counts(scene: &mut Scene<'_>) -> Verdict {
    all_good(scene)?;
    let numbers: Vec<u64> = scene.shown.iter().filter_map(|shown| shown.text.trim().parse().ok()).collect();
    match numbers[..] {
        [first, second] if second > first => Ok("the application counted on in between".into()),
        _ => Err(format!("expected two growing numbers, not {numbers:?}")),
    }
}

/// The application counts on from about `start`.
pub(super) fn count_near(scene: &mut Scene<'_>, start: u64) -> Verdict {
    let now = scene.count()?;
    let counted = now.checked_sub(start).filter(|counted| *counted <= COUNTED_MEANWHILE_MAX);
    match counted {
        Some(_) => Ok(format!("the application goes on from there: {now}")),
        None => Err(format!("the count is {now}, it should be a little above {start}")),
    }
}

/// The last command was ended for that reason, the one before it worked, and the application never noticed.
pub(super) fn contained(scene: &mut Scene<'_>, cause: &str) -> Verdict {
    let Some((last, first)) = scene.shown.split_last() else { return Err("nothing was run".into()) };
    if let Some(failed) = first.iter().find(|shown| !shown.good) {
        return Err(format!("it failed: {}", first_line(&failed.text)));
    }
    if last.good {
        return Err("it was not ended".into());
    }
    if !last.text.contains("fault: ") || !last.text.contains(cause) {
        return Err(format!("expected a report that says `{cause}`"));
    }
    let now = scene.count()?;
    let counted = now.checked_sub(scene.count_before).filter(|counted| *counted <= COUNTED_MEANWHILE_MAX);
    if counted.is_none() {
        return Err(format!("the count went from {} to {now}", scene.count_before));
    }
    counting(scene).map(|note| format!("contained; {note}"))
}

/// The only command was refused with an error that says so.
pub(super) fn refused(scene: &mut Scene<'_>, reason: &str) -> Verdict {
    if scene.shown.iter().any(|shown| shown.good) {
        return Err("it was not refused".into());
    }
    prints(scene, &["error: ", reason])?;
    counting(scene).map(|note| format!("refused; {note}"))
}

/// Blocks were leaked, and the extension reported some. One that a stale word somewhere still points to
/// stays hidden, so not all have to be found.
pub(super) fn leaks_found(scene: &mut Scene<'_>) -> Verdict {
    all_good(scene)?;
    let text = scene.shown.last().map(|shown| shown.text.as_str()).unwrap_or_default();
    let found = text.lines().find(|line| line.starts_with("unreachable in two scans:"));
    match found {
        Some(line) => {
            Ok(format!("nothing points to them any more ({})", line.rsplit(": ").next().unwrap_or(line)))
        }
        None => Err(format!("no leak was found: {}", text.lines().last().unwrap_or_default())),
    }
}

/// Nothing is loaded, and the memory that it took is free again.
pub(super) fn memory_is_back(scene: &mut Scene<'_>) -> Verdict {
    says(scene, &["nothing is loaded"])?;
    let before = scene.free_before_loading;
    let after = free_memory(scene.shell)?;
    let kept = before.saturating_sub(after);
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    if kept <= KEPT_BYTES_MAX {
        Ok(format!("free memory: {} before anything was loaded, {} now", mib(before), mib(after)))
    } else {
        Err(format!("{kept} bytes are still taken: {} were free before, {} now", mib(before), mib(after)))
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("no output")
}
