//! Words for people: near matches for "did you mean", reasons of the operating system.

use std::io;

/// Why the operating system refused, as a part of a sentence: without its number, in lower case.
#[must_use]
pub fn os_reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split_once(" (os error ").map_or(text.as_str(), |(reason, _)| reason);
    let mut letters = text.chars();
    match letters.next() {
        // Not abbreviations.
        Some(first) if !letters.clone().next().is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

/// Names nearest to `wanted`, best first, at most three, none that is far off.
#[must_use]
pub fn near_matches<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    // A third of the letters may be wrong, and one in very short words.
    let tolerance = (wanted.chars().count() / 3).max(1);
    let mut scored: Vec<(usize, &str)> = names
        .filter_map(|name| {
            let distance = edit_distance(wanted, name);
            let prefix = wanted.len() >= 2 && name.starts_with(wanted);
            (distance <= tolerance || prefix).then_some((if prefix { 0 } else { distance }, name))
        })
        .collect();
    scored.sort_unstable();
    scored.dedup();
    scored.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

/// Letters to insert, delete, replace or swap with their neighbour (optimal string alignment).
#[must_use]
pub fn edit_distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (i, &x) in a.iter().enumerate() {
        let mut current = vec![i + 1];
        for (j, &y) in b.iter().enumerate() {
            let mut best = (previous[j] + usize::from(x != y)).min(previous[j + 1] + 1).min(current[j] + 1);
            if i > 0 && j > 0 && x == b[j - 1] && a[i - 1] == y {
                best = best.min(before[j - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut previous, current);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, distance) in
            [("", "abc", 3), ("help", "hlep", 1), ("threads", "thread", 1), ("ab", "xy", 2)]
        {
            assert_eq!(edit_distance(a, b), distance, "{a} {b}");
        }
    }

    #[test]
    fn reasons_are_parts_of_sentences() {
        let absent = io::Error::from_raw_os_error(2);
        assert_eq!(os_reason(&absent), "no such file or directory");
        assert_eq!(os_reason(&io::Error::other("QEMU is gone")), "QEMU is gone");
        assert_eq!(os_reason(&io::Error::other("")), "");
    }

    #[test]
    fn nearest_first_and_nothing_far() {
        let names = ["threads", "transcript", "call", "kill", "cat"];
        assert_eq!(near_matches("thraeds", names.into_iter()), ["threads"]);
        assert_eq!(near_matches("cal", names.into_iter()), ["call", "cat"]);
        assert!(near_matches("quux", names.into_iter()).is_empty());
    }
}
