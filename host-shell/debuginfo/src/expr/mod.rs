//! Expressions over guest variables: the language of `print`, `set` and `call`.
//!
//! ```text
//! expression  = expression ("+" | "-" | "*" | "/" | "%") expression
//!             | expression "as" type | "(" type ")" expression
//!             | ("*" | "&" | "-") expression
//!             | expression ("." | "->") field
//!             | expression "[" index "]" | expression "[" start ".." end "]"
//!             | "(" expression ")" | path | "$" register | integer | float | character
//! ```
//!
//! Precedence is Rust's. Fields and indexes reach through pointers, references, `Box`, cells and
//! atomics. A path may leave out leading components, as long as that is unambiguous; a name with odd
//! characters is written in backticks.

pub(crate) mod error;
pub(crate) mod eval;
pub(crate) mod parse;
pub(crate) mod token;
pub(crate) mod types;

/// Longest expression in bytes: far more than a person types, little enough to never matter.
pub const EXPRESSION_BYTES_MAX: usize = 4096;

/// Most operators and names of one expression. What walks an expression recurses at most so deep.
pub const NODES_MAX: usize = 100;

/// Most brackets and prefix operators open at a time. One level takes the parser some 12 KiB of stack
/// when it is built without optimization.
pub const DEPTH_MAX: usize = 40;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::error::Problem;
    use super::parse::parse;

    fn problem(source: &str) -> String {
        match parse(source) {
            Ok(node) => panic!("{source} parsed as {node:?}"),
            Err(error) => error.in_source(source).to_string(),
        }
    }

    #[test]
    fn accepts_the_grammar() {
        for source in [
            "a",
            "a::b.c",
            "a.0.1",
            "a[1]",
            "a[1..2]",
            "a[..]",
            "a[..=3]",
            "*a.b",
            "&a[2]",
            "-1 + 2 * 3",
            "(u64)x",
            "(struct foo *)p",
            "x as u64 * 2",
            "x as *const a::B<u8, &str>",
            "*(p as *[u8; 4])",
            "$rip + 4",
            "(a)",
            "(a) - 1",
            "(int)-1",
            "'\\n'",
            "'ß'",
            "0xff_ff",
            "1_000u64",
            "1.5e-3",
            "p->next->value",
            "<a::T as b::U>::X.y",
            "a::f::{closure#0}::X",
            "`odd name.1`",
            "Vec<u8>::X",
        ] {
            if let Err(error) = parse(source) {
                panic!("{}", error.in_source(source));
            }
        }
    }

    #[test]
    fn points_at_the_mistake() {
        assert_eq!(
            problem("a.b + )"),
            "expected a variable, a number or `(`, found `)`\n  a.b + )\n        ^"
        );
        assert_eq!(problem("a["), "expected a variable, a number or `(`, found the end\n  a[\n    ^");
        assert_eq!(problem("ß.x ?"), "unexpected '?'\n  ß.x ?\n      ^");
        assert_eq!(problem("12ab"), "`12ab` is not a valid number\n  12ab\n  ^^^^");
        assert_eq!(problem("a b"), "expected an operator or the end, found `b`\n  a b\n    ^");
    }

    #[test]
    fn bounds_its_input() {
        for source in ["(".repeat(4000), "*".repeat(4000) + "a", "a".to_owned() + &"[0]".repeat(1000)] {
            assert!(matches!(parse(&source).map_err(|error| *error.problem), Err(Problem::TooDeep { .. })));
        }
        let long = "a".repeat(5000);
        assert!(matches!(parse(&long).map_err(|error| *error.problem), Err(Problem::TooLong { .. })));
    }

    proptest! {
        #[test]
        fn never_panics_on_text(source in "\\PC{0,60}") {
            let _ = parse(&source);
        }

        #[test]
        fn never_panics_on_near_expressions(
            parts in proptest::collection::vec(
                prop::sample::select(vec![
                    "a", "::", "b", ".", "[", "]", "(", ")", "*", "&", "-", "+", "..", "..=", " as ", "u64",
                    "$rip", "0x1f", "1", "1.5", "'c'", "'", "<", ">", "{", "}", "`", "->", ";", " ", "ß", "e",
                ]),
                0..40,
            )
        ) {
            let source = parts.concat();
            if let Err(error) = parse(&source) {
                let error = error.in_source(&source);
                prop_assert!(error.span.start <= source.len() && error.span.end <= source.len());
                prop_assert!(source.is_char_boundary(error.span.start));
                prop_assert!(!error.to_string().is_empty());
            }
        }
    }
}
