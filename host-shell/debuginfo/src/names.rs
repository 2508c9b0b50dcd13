//! Names as people write them: demangling, path suffixes, patterns, completion, near matches.

use std::collections::BTreeSet;

/// Longest name that is demangled or simplified; longer ones are taken as they are.
const NAME_BYTES_MAX: usize = 16 * 1024;

/// Most characters of two names that are compared for nearness. The cost is quadratic.
const NEAR_CHARACTERS_MAX: usize = 64;

/// A Rust name demangled and without its hash; any other name unchanged.
#[must_use]
pub fn demangle(name: &str) -> String {
    if name.len() > NAME_BYTES_MAX {
        return name.to_owned();
    }
    match rustc_demangle::try_demangle(name) {
        Ok(demangled) => format!("{demangled:#}"),
        Err(_) => name.to_owned(),
    }
}

/// The plain path of a demangled name: `<a::T as b::Trait>::f` becomes `a::T::f`, and generic
/// arguments go.
pub(crate) fn simplify(name: &str) -> String {
    if name.len() > NAME_BYTES_MAX || !name.contains('<') {
        return name.to_owned();
    }
    let mut text = name.to_owned();
    // A leading `<…>` holds the self type, which may begin with one again. Each round removes one.
    while text.starts_with('<') {
        let Some(close) = matching_close(&text, 0) else { break };
        let inside = &text[1..close];
        let kept = top_level_as(inside).map_or(inside, |at| &inside[..at]);
        text = format!("{kept}{}", &text[close + 1..]);
    }
    let mut plain = String::with_capacity(text.len());
    let mut depth = 0usize;
    let mut previous = ' ';
    for character in text.chars() {
        match character {
            '<' => {
                if depth == 0 && plain.ends_with("::") {
                    plain.truncate(plain.len() - 2);
                }
                depth += 1;
            }
            '>' if previous != '-' && depth > 0 => depth -= 1,
            _ if depth == 0 => plain.push(character),
            _ => {}
        }
        previous = character;
    }
    plain
}

/// The byte index of the `>` that closes the `<` at `open`.
fn matching_close(text: &str, open: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0usize;
    for index in open..bytes.len() {
        match bytes[index] {
            b'<' => depth += 1,
            b'>' if index == 0 || bytes[index - 1] != b'-' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    return Some(index);
                }
            }
            _ => {}
        }
    }
    None
}

/// Where ` as ` stands outside of all brackets.
fn top_level_as(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut depth = 0i32;
    for index in 0..bytes.len() {
        match bytes[index] {
            b'<' | b'(' | b'[' => depth += 1,
            b'>' if index > 0 && bytes[index - 1] == b'-' => {}
            b'>' | b')' | b']' => depth -= 1,
            b' ' if depth == 0 && bytes[index..].starts_with(b" as ") => return Some(index),
            _ => {}
        }
    }
    None
}

/// Where the last `::` component of a plain path starts.
fn last_component_start(path: &str) -> usize {
    path.rfind("::").map_or(0, |at| at + 2)
}

/// A named thing in a [`NameIndex`].
#[derive(Clone, Debug)]
struct Entry {
    /// The whole name.
    full: String,
    /// The name without generic arguments; empty if equal to `full`.
    plain: String,
    /// Where the last component of that starts.
    last: u32,
    /// What the index's owner calls it.
    id: u32,
}

impl Entry {
    fn plain(&self) -> &str {
        if self.plain.is_empty() { &self.full } else { &self.plain }
    }

    fn last(&self) -> &str {
        &self.plain()[self.last as usize..]
    }
}

/// Names with `::` paths, searchable by suffix, prefix and pattern.
#[derive(Clone, Debug, Default)]
pub(crate) struct NameIndex {
    entries: Vec<Entry>,
    by_full: Vec<u32>,
    by_last: Vec<u32>,
}

impl NameIndex {
    pub(crate) fn build(names: impl Iterator<Item = (String, u32)>) -> Self {
        let entries: Vec<Entry> = names
            .map(|(full, id)| {
                let plain = if full.contains('<') { simplify(&full) } else { String::new() };
                let last = last_component_start(if plain.is_empty() { &full } else { &plain });
                Entry { last: u32::try_from(last).unwrap_or(0), full, plain, id }
            })
            .collect();
        let mut by_full: Vec<u32> = (0..u32::try_from(entries.len()).unwrap_or(u32::MAX)).collect();
        let mut by_last = by_full.clone();
        by_full.sort_unstable_by(|&a, &b| entries[a as usize].full.cmp(&entries[b as usize].full));
        by_last.sort_unstable_by(|&a, &b| entries[a as usize].last().cmp(entries[b as usize].last()));
        Self { entries, by_full, by_last }
    }

    fn range<'a>(
        &'a self,
        order: &'a [u32],
        key: impl Fn(&'a Entry) -> &'a str,
        prefix: &str,
    ) -> impl Iterator<Item = &'a Entry> {
        let start = order.partition_point(|&at| key(&self.entries[at as usize]) < prefix);
        let prefix = prefix.to_owned();
        order[start..]
            .iter()
            .map(|&at| &self.entries[at as usize])
            .take_while(move |entry| key(entry).starts_with(&prefix))
    }

    /// Ids of the entries of exactly this name, or else of those whose path ends in it.
    pub(crate) fn lookup(&self, name: &str) -> Vec<u32> {
        let exact: Vec<u32> = self
            .range(&self.by_full, |entry| &entry.full, name)
            .take_while(|entry| entry.full == name)
            .map(|entry| entry.id)
            .collect();
        if !exact.is_empty() {
            return exact;
        }
        let plain = simplify(name);
        if plain.is_empty() {
            return Vec::new();
        }
        let generic = plain != name;
        let last = &plain[last_component_start(&plain)..];
        let matching: Vec<&Entry> = self
            .range(&self.by_last, Entry::last, last)
            .take_while(|entry| entry.last() == last)
            .filter(|entry| {
                is_path_suffix(entry.plain(), &plain) && (!generic || is_path_suffix(&entry.full, name))
            })
            .collect();
        let whole: Vec<u32> =
            matching.iter().filter(|entry| entry.plain() == plain).map(|entry| entry.id).collect();
        if whole.is_empty() { matching.iter().map(|entry| entry.id).collect() } else { whole }
    }

    /// Names that start with `prefix`, or whose last component does; sorted, at most `limit`.
    pub(crate) fn complete(&self, prefix: &str, limit: usize) -> Vec<String> {
        let mut found: BTreeSet<&str> = BTreeSet::new();
        found.extend(self.range(&self.by_full, |entry| &entry.full, prefix).map(Entry::plain).take(limit));
        if found.len() < limit && !prefix.contains("::") && !prefix.is_empty() {
            let room = limit - found.len();
            found.extend(self.range(&self.by_last, Entry::last, prefix).map(Entry::last).take(room));
        }
        found.into_iter().map(str::to_owned).take(limit).collect()
    }

    /// Ids of the entries that `matches` accepts by full, plain or last name.
    pub(crate) fn filter(&self, mut matches: impl FnMut(&str) -> bool) -> Vec<u32> {
        self.by_full
            .iter()
            .map(|&at| &self.entries[at as usize])
            .filter(|entry| matches(&entry.full) || matches(entry.plain()) || matches(entry.last()))
            .map(|entry| entry.id)
            .collect()
    }

    /// Names that look like `name`, best first, at most `limit`.
    pub(crate) fn near(&self, name: &str, limit: usize) -> Vec<String> {
        near(name, self.entries.iter().map(Entry::plain), limit)
    }
}

fn is_path_suffix(path: &str, suffix: &str) -> bool {
    path.strip_suffix(suffix).is_some_and(|before| before.is_empty() || before.ends_with("::"))
}

/// Which of `candidates` look like `name`, best first, at most `limit`. Paths are compared by their
/// last component first; upper and lower case count as nearly equal.
pub fn near<'a>(name: &str, candidates: impl Iterator<Item = &'a str>, limit: usize) -> Vec<String> {
    let wanted = name[last_component_start(name)..].to_lowercase();
    let length = wanted.chars().count();
    if length == 0 || length > NEAR_CHARACTERS_MAX {
        return Vec::new();
    }
    let tolerance = 1 + length / 4;
    let mut scored: BTreeSet<(usize, usize, &str)> = BTreeSet::new();
    for candidate in candidates {
        let last = candidate[last_component_start(candidate)..].to_lowercase();
        if last.chars().count().abs_diff(length) > tolerance || last.len() > 4 * NEAR_CHARACTERS_MAX {
            continue;
        }
        let distance = edit_distance(&wanted, &last);
        if distance <= tolerance && distance < length {
            scored.insert((distance, candidate.len(), candidate));
            if scored.len() > limit {
                scored.pop_last();
            }
        }
    }
    // Worse matches beside a better one only distract.
    let best = scored.first().map_or(0, |&(distance, _, _)| distance);
    scored
        .into_iter()
        .filter(|&(distance, _, _)| distance == best)
        .map(|(_, _, candidate)| candidate.to_owned())
        .collect()
}

/// Insertions, deletions, replacements and swaps of neighbours that turn one string into the other.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut rows = vec![0usize; (a.len() + 1) * width];
    for row in 0..=a.len() {
        for column in 0..=b.len() {
            rows[row * width + column] = if row == 0 || column == 0 {
                row + column
            } else {
                let differs = usize::from(a[row - 1] != b[column - 1]);
                let mut best = (rows[(row - 1) * width + column] + 1)
                    .min(rows[row * width + column - 1] + 1)
                    .min(rows[(row - 1) * width + column - 1] + differs);
                if row > 1 && column > 1 && a[row - 1] == b[column - 2] && a[row - 2] == b[column - 1] {
                    best = best.min(rows[(row - 2) * width + column - 2] + 1);
                }
                best
            };
        }
    }
    rows[a.len() * width + b.len()]
}

/// Whether `text` matches `pattern`, where `*` stands for any characters and `?` for one.
#[must_use]
pub fn glob_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut position) = (0, 0);
    // Where to go on after the last `*` if what follows it does not match here.
    let mut retry: Option<(usize, usize)> = None;
    while position < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                retry = Some((at, position));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == text[position] => {
                at += 1;
                position += 1;
            }
            _ => match retry {
                Some((star, from)) => {
                    at = star + 1;
                    position = from + 1;
                    retry = Some((star, from + 1));
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simplifies_impls_and_generics() {
        assert_eq!(simplify("<a::m::P as a::m::T>::t"), "a::m::P::t");
        assert_eq!(simplify("<a::Clock>::now"), "a::Clock::now");
        assert_eq!(simplify("core::ptr::drop_in_place::<alloc::vec::Vec<u8>>"), "core::ptr::drop_in_place");
        assert_eq!(simplify("<<a::B as c::D>::E as f::G>::h"), "a::B::E::h");
        assert_eq!(simplify("a::f::<fn() -> u8>::{closure#0}"), "a::f::{closure#0}");
        assert_eq!(simplify("plain"), "plain");
        assert_eq!(simplify("<<<"), "");
    }

    #[test]
    fn looks_up_by_suffix() {
        let names = ["count::main", "count::STATS", "uio_kernel::time::now", "kernel::time::now", "mains"];
        let index = NameIndex::build(names.iter().zip(0..).map(|(name, id)| (name.to_string(), id)));
        assert_eq!(index.lookup("main"), [0]);
        assert_eq!(index.lookup("count::main"), [0]);
        assert_eq!(index.lookup("time::now").len(), 2);
        assert_eq!(index.lookup("kernel::time::now"), [3], "the exact name wins");
        assert_eq!(index.lookup("ount::main"), [0u32; 0]);
        assert_eq!(index.complete("ma", 10), ["main", "mains"]);
        assert_eq!(index.complete("count::", 10), ["count::STATS", "count::main"]);
        assert_eq!(index.near("STATZ", 3), ["count::STATS"]);
        assert_eq!(index.near("count::mian", 3)[0], "count::main");
    }

    #[test]
    fn globs() {
        for (pattern, text, expected) in [
            ("foo*", "foobar", true),
            ("foo*", "afoo", false),
            ("*::now", "a::now", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxa", false),
            ("", "", true),
            ("*", "", true),
        ] {
            assert_eq!(glob_matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
