//! Exported names that look like a missing one.

use alloc::string::String;
use alloc::vec::Vec;

use crate::resolve::Resolver;

/// Names offered for one missing symbol.
const NEAR_MAX: usize = 3;

/// Longest name that is compared letter by letter. Longer ones are mangled, where only the hash matters.
const COMPARED_BYTES_MAX: usize = 64;

/// Largest number of edits at which two names count as near.
const DISTANCE_MAX: usize = 3;

/// Shortest name that is looked for inside of others.
const CONTAINED_BYTES_MIN: usize = 4;

/// Names like `name` among the resolver's, best first, at most three.
pub(crate) fn near(name: &str, resolver: &dyn Resolver) -> Vec<String> {
    let mut best: Vec<(usize, String)> = Vec::new();
    resolver.candidates(&mut |candidate| {
        let Some(distance) = distance(name, candidate) else { return };
        let position = best.partition_point(|(other, _)| *other <= distance);
        if position < NEAR_MAX && best.iter().all(|(_, other)| other != candidate) {
            best.insert(position, (distance, candidate.into()));
            best.truncate(NEAR_MAX);
        }
    });
    best.into_iter().map(|(_, name)| name).collect()
}

/// How far `candidate` is from `name`, or `None` if too far to be meant.
fn distance(name: &str, candidate: &str) -> Option<usize> {
    if let (Some(left), Some(right)) = (without_rust_hash(name), without_rust_hash(candidate)) {
        // The same path from another compiler or crate version.
        return (left == right).then_some(1);
    }
    let allowed = (name.len() / 3).clamp(1, DISTANCE_MAX);
    if let Some(distance) = edit_distance(name.as_bytes(), candidate.as_bytes(), allowed) {
        return Some(distance);
    }
    // `print` for `uio_print`.
    let (short, long) = if name.len() < candidate.len() { (name, candidate) } else { (candidate, name) };
    let contained = short.len() >= CONTAINED_BYTES_MIN
        && long.len() <= COMPARED_BYTES_MAX
        && (long.strip_suffix(short).is_some_and(|rest| rest.ends_with('_'))
            || long.strip_prefix(short).is_some_and(|rest| rest.starts_with('_')));
    contained.then_some(DISTANCE_MAX + 1)
}

/// A name of Rust's legacy mangling without the hash at its end: `_ZN…17h` 16 hex digits `E`.
fn without_rust_hash(name: &str) -> Option<&str> {
    const TAIL_BYTES: usize = 20;
    let stem_bytes = name.len().checked_sub(TAIL_BYTES)?;
    let (stem, tail) = (name.get(..stem_bytes)?, name.get(stem_bytes..)?);
    let digits = tail.strip_prefix("17h")?.strip_suffix('E')?;
    (stem.starts_with("_ZN") && digits.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(stem)
}

/// Insertions, deletions and replacements from `left` to `right`, or `None` if more than `allowed`.
fn edit_distance(left: &[u8], right: &[u8], allowed: usize) -> Option<usize> {
    if left.len().max(right.len()) > COMPARED_BYTES_MAX || left.len().abs_diff(right.len()) > allowed {
        return None;
    }
    let mut row = [0usize; COMPARED_BYTES_MAX + 1];
    for (column, cell) in row.iter_mut().enumerate() {
        *cell = column;
    }
    for (line, byte) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(byte != other);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    Some(row[right.len()]).filter(|distance| *distance <= allowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use uio_protocol::GuestAddress;
    use uio_protocol::error::LoadError;

    use crate::resolve::Target;

    struct Names(&'static [&'static str]);

    impl Resolver for Names {
        fn resolve(&self, _: &str, _: Option<GuestAddress>) -> Result<Option<Target>, LoadError> {
            Ok(None)
        }
        fn candidates(&self, visit: &mut dyn FnMut(&str)) {
            self.0.iter().for_each(|name| visit(name));
        }
    }

    #[test]
    fn edits_are_counted() {
        assert_eq!(edit_distance(b"kitten", b"sitting", 3), Some(3));
        assert_eq!(edit_distance(b"kitten", b"sitting", 2), None);
        assert_eq!(edit_distance(b"", b"abc", 3), Some(3));
        assert_eq!(edit_distance(b"same", b"same", 1), Some(0));
    }

    #[test]
    fn best_come_first_and_no_more_than_three() {
        let names = Names(&["uio_prunt", "uio_print", "uio_prinx", "uio_printf", "memcpy", "uio_print"]);
        assert_eq!(near("uio_print", &names)[0], "uio_print");
        assert_eq!(near("uio_print", &names).len(), 3);
        assert_eq!(near("uio_prind", &names), ["uio_print", "uio_prinx", "uio_prunt"]);
        assert!(near("set_count", &names).is_empty());
    }

    #[test]
    fn a_missing_prefix_is_near() {
        assert_eq!(near("print", &Names(&["uio_print", "blueprint"])), ["uio_print"]);
    }

    #[test]
    fn the_same_rust_path_with_another_hash_is_near() {
        let names = Names(&[
            "_ZN4core9panicking5panic17h0123456789abcdefE",
            "_ZN4core9panicking5other17h0123456789abcdefE",
        ]);
        assert_eq!(near("_ZN4core9panicking5panic17hfedcba9876543210E", &names), [names.0[0]]);
    }

    #[test]
    fn any_names_can_be_compared() {
        for name in ["", "é", "_ZN17hE", "ééééééééééééééééééééé", &format!("{}é", "x".repeat(80))]
        {
            near(name, &Names(&["", "é", "_ZN17h0123456789abcdefE", "ééééééééééééééééééééé"]));
        }
    }
}
