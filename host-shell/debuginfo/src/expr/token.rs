//! Cuts an expression into tokens. Paths, with generic arguments and all, are one token.

use super::error::{Located, Problem, Span, located};

/// One token.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    /// `a`, `a::b`, `<T as Trait>::f`, `Vec<u8>`, `f::{closure#0}`.
    Path(String),
    /// `$rip`, without the dollar sign.
    Register(String),
    Integer(u128),
    Float(f64),
    Char(char),
    /// Operators and brackets, as written.
    Symbol(&'static str),
    End,
}

impl Token {
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Path(name) => format!("`{name}`"),
            Self::Register(name) => format!("`${name}`"),
            Self::Integer(value) => format!("`{value}`"),
            Self::Float(value) => format!("`{value}`"),
            Self::Char(value) => format!("{value:?}"),
            Self::Symbol(symbol) => format!("`{symbol}`"),
            Self::End => "the end".to_owned(),
        }
    }
}

/// Longest first.
const SYMBOLS: [&str; 18] =
    ["..=", "..", "->", ".", "[", "]", "(", ")", "+", "-", "*", "/", "%", "&", ";", ",", "|", "="];

pub(crate) fn tokenize(source: &str) -> Result<Vec<(Token, Span)>, Located> {
    let mut tokens: Vec<(Token, Span)> = Vec::new();
    let mut at = 0;
    while let Some(first) = source[at..].chars().next() {
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let rest = &source[at..];
        let after_dot = matches!(tokens.last(), Some((Token::Symbol("." | "->"), _)));
        let (token, length) = if first.is_ascii_digit() {
            number(rest, after_dot)
                .map_err(|(problem, length)| located(Span { start: at, end: at + length }, problem))?
        } else if first == '\'' {
            character(rest).ok_or_else(|| {
                let text: String = rest.chars().take(4).collect();
                located(Span { start: at, end: at + 1 }, Problem::Literal { text, what: "character" })
            })?
        } else if first == '$' {
            let length = 1 + word_length(&rest[1..]);
            (Token::Register(rest[1..length].to_owned()), length)
        } else if first == '`' {
            let length = rest[1..]
                .find('`')
                .ok_or_else(|| located(Span { start: at, end: at + 1 }, Problem::Character('`')))?;
            (Token::Path(rest[1..=length].to_owned()), length + 2)
        } else if let Some(length) = path_length(rest, after_dot) {
            (Token::Path(rest[..length].to_owned()), length)
        } else if let Some(symbol) = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol)) {
            (Token::Symbol(symbol), symbol.len())
        } else {
            let span = Span { start: at, end: at + first.len_utf8() };
            return Err(located(span, Problem::Character(first)));
        };
        tokens.push((token, Span { start: at, end: at + length }));
        at += length;
    }
    tokens.push((Token::End, Span { start: source.len(), end: source.len() }));
    Ok(tokens)
}

/// Bytes of letters, digits, underscores and dollar signs at the start.
fn word_length(text: &str) -> usize {
    text.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$')).unwrap_or(text.len())
}

/// Bytes of the path at the start, if there is one. After a dot, a path is one word.
fn path_length(text: &str, after_dot: bool) -> Option<usize> {
    let first = text.chars().next()?;
    if after_dot {
        return (first.is_alphabetic() || first == '_').then(|| word_length(text));
    }
    let mut at = 0;
    loop {
        let rest = &text[at..];
        let segment = match rest.chars().next() {
            Some(c) if c.is_alphabetic() || c == '_' => {
                let word = word_length(rest);
                word + balanced(&rest[word..], '<', '>').unwrap_or(0)
            }
            Some('<') => balanced(rest, '<', '>')?,
            Some('{') if at > 0 => balanced(rest, '{', '}')?,
            _ if at > 0 => return Some(at - 2),
            _ => return None,
        };
        at += segment;
        if text[at..].starts_with("::") {
            at += 2;
        } else {
            return Some(at);
        }
    }
}

/// Bytes up to and including the bracket that closes the one at the start.
fn balanced(text: &str, open: char, close: char) -> Option<usize> {
    if !text.starts_with(open) {
        return None;
    }
    let mut depth = 0usize;
    let mut previous = ' ';
    for (at, character) in text.char_indices() {
        if character == open {
            depth += 1;
        } else if character == close && previous != '-' {
            depth -= 1;
            if depth == 0 {
                return Some(at + character.len_utf8());
            }
        }
        previous = character;
    }
    None
}

/// Suffixes that Rust puts after integers; they change nothing here.
const INTEGER_SUFFIXES: [&str; 12] =
    ["u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize"];

fn number(text: &str, after_dot: bool) -> Result<(Token, usize), (Problem, usize)> {
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let whole = digits(text);
    // `t.0.1` is two fields; `1..2` is a range; `1.5` is a float.
    if !after_dot
        && text[whole..].starts_with('.')
        && text[whole + 1..].starts_with(|c: char| c.is_ascii_digit())
    {
        let mut length = whole + 1 + digits(&text[whole + 1..]);
        if text[length..].starts_with(['e', 'E']) {
            let sign = usize::from(text[length + 1..].starts_with(['+', '-']));
            let exponent = digits(&text[length + 1 + sign..]);
            if exponent > 0 {
                length += 1 + sign + exponent;
            }
        }
        let literal = text[..length].replace('_', "");
        return match literal.parse::<f64>() {
            Ok(value) => Ok((Token::Float(value), length)),
            Err(_) => Err((Problem::Literal { text: literal, what: "number" }, length)),
        };
    }
    let length = if after_dot { whole } else { word_length(text) };
    let word = &text[..length];
    let (radix, prefix) = match word.get(..2) {
        Some("0x" | "0X") => (16, 2),
        Some("0b" | "0B") => (2, 2),
        Some("0o" | "0O") => (8, 2),
        _ => (10, 0),
    };
    let plain = INTEGER_SUFFIXES
        .iter()
        .find_map(|suffix| word.strip_suffix(suffix))
        .filter(|plain| plain.len() > prefix)
        .unwrap_or(word);
    let digits = plain[prefix..].replace('_', "");
    match u128::from_str_radix(&digits, radix) {
        Ok(value) => Ok((Token::Integer(value), length)),
        Err(_) => Err((Problem::Literal { text: word.to_owned(), what: "number" }, length)),
    }
}

fn character(text: &str) -> Option<(Token, usize)> {
    let body = text.strip_prefix('\'')?;
    let first = body.chars().next()?;
    let (value, used) = if first == '\\' {
        let escape = body[1..].chars().next()?;
        let simple = |value: char| Some((value, 2));
        match escape {
            'n' => simple('\n')?,
            't' => simple('\t')?,
            'r' => simple('\r')?,
            '0' => simple('\0')?,
            '\\' | '\'' | '"' => simple(escape)?,
            'x' => {
                let value = u8::from_str_radix(body.get(2..4)?, 16).ok()?;
                (char::from(value), 4)
            }
            'u' => {
                let digits = body.get(2..)?.strip_prefix('{')?;
                let end = digits.find('}')?;
                (char::from_u32(u32::from_str_radix(&digits[..end], 16).ok()?)?, 4 + end)
            }
            _ => return None,
        }
    } else {
        (first, first.len_utf8())
    };
    body.get(used..)?.starts_with('\'').then_some((Token::Char(value), used + 2))
}
