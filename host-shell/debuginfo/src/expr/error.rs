//! What can be wrong with an expression, and where in it.

use std::fmt;

use crate::error::DebugError;
use crate::memory::MemoryError;

/// A part of an expression, in bytes from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    pub(crate) fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Longer than [`crate::expr::EXPRESSION_BYTES_MAX`].
    #[error("the expression is {bytes} bytes long; at most {max} are accepted")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// More than [`crate::expr::NODES_MAX`] operators, or [`crate::expr::DEPTH_MAX`] open ones.
    #[error("the expression has more than {max} operators or brackets")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// A character that starts nothing.
    #[error("unexpected {0:?}")]
    Character(char),
    /// Something else was expected here.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What would do.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// A literal that does not parse.
    #[error("`{text}` is not a valid {what}")]
    Literal {
        /// As written.
        text: String,
        /// Number, character.
        what: &'static str,
    },
    /// Nothing of that name.
    #[error("no variable or function `{name}`")]
    UnknownName {
        /// The name.
        name: String,
    },
    /// Several things of that name.
    #[error("`{name}` is ambiguous: {}", candidates.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// What it can mean.
        candidates: Vec<String>,
    },
    /// The variable is in the debug information but not in memory.
    #[error("`{name}` has no address: the optimizer removed it")]
    OptimizedOut {
        /// The variable.
        name: String,
    },
    /// A variable that the optimizer took apart was used as one.
    #[error("the optimizer gave the fields of this variable places of their own; name a field of it")]
    Split,
    /// The part of a variable that is asked for was optimized away.
    #[error("the optimizer removed this part of the variable")]
    PartRemoved,
    /// No such register.
    #[error("no register `${name}`")]
    UnknownRegister {
        /// The name.
        name: String,
    },
    /// Registers are known for stopped threads only.
    #[error("`${name}` needs a thread or a fault to take registers from")]
    NoRegisters {
        /// The name.
        name: String,
    },
    /// No type of that name.
    #[error("no type `{name}`")]
    UnknownType {
        /// The name.
        name: String,
    },
    /// The type has no such field.
    #[error("{type_name} has no field `{field}`")]
    NoField {
        /// The type.
        type_name: String,
        /// The field.
        field: String,
    },
    /// The enum holds another variant at the moment.
    #[error("the value is `{active}` at the moment, not `{wanted}`")]
    OtherVariant {
        /// The variant it holds.
        active: String,
        /// The one asked for.
        wanted: String,
    },
    /// Indexing something that has no elements.
    #[error("{type_name} cannot be indexed")]
    NotIndexable {
        /// The type.
        type_name: String,
    },
    /// Past the end.
    #[error("index {index} is out of bounds; the length is {length}")]
    OutOfBounds {
        /// The index.
        index: i128,
        /// Elements there are.
        length: u64,
    },
    /// A range that ends before it starts, or an array of unknown length without an end.
    #[error("bad range {start}..{end}")]
    BadRange {
        /// First.
        start: i128,
        /// End.
        end: i128,
    },
    /// Dereferencing what is no pointer.
    #[error("{type_name} cannot be dereferenced")]
    NotPointer {
        /// The type.
        type_name: String,
    },
    /// `&` of something that is not in memory, or assignment to it.
    #[error("this is a computed value; it has no address")]
    NoAddress,
    /// Arithmetic on something that is no number.
    #[error("{type_name} is not a number")]
    NotNumber {
        /// The type.
        type_name: String,
    },
    /// A result that does not fit 128 bits, or a division by zero.
    #[error("the result is not defined: overflow or division by zero")]
    Overflow,
    /// A cast between types that have nothing to do with each other.
    #[error("cannot cast {from} to {to}")]
    BadCast {
        /// From.
        from: String,
        /// To.
        to: String,
    },
    /// A symbol without debug information was used as a value.
    #[error("`{name}` has no type in the debug information; cast it, as in `{name} as u64`")]
    Untyped {
        /// The symbol.
        name: String,
    },
    /// A number outside of what the type holds.
    #[error("{value} is out of range for {type_name} ({min} to {max})")]
    OutOfRange {
        /// The number.
        value: i128,
        /// The type.
        type_name: String,
        /// Least.
        min: i128,
        /// Greatest.
        max: i128,
    },
    /// Not a value of that type.
    #[error("`{text}` is not a {type_name}; {expected}")]
    WrongValue {
        /// As written.
        text: String,
        /// The type.
        type_name: String,
        /// What would do.
        expected: String,
    },
    /// Only scalars can be assigned or passed.
    #[error("a {type_name} cannot be {action} as a whole{hint}")]
    NotScalar {
        /// The type.
        type_name: String,
        /// Assigned, passed.
        action: &'static str,
        /// What to do instead, with a leading separator.
        hint: String,
    },
    /// Wrong number of arguments.
    #[error("{function}: {expected} argument{} expected, {given} given", if *expected == 1 { "" } else { "s" })]
    ArgumentCount {
        /// The function with its parameters.
        function: String,
        /// Parameters it has.
        expected: usize,
        /// Arguments given.
        given: usize,
    },
    /// The function cannot be called from the shell.
    #[error("{function} cannot be called: {reason}")]
    NotCallable {
        /// The function.
        function: String,
        /// Why.
        reason: String,
    },
    /// More bytes than one read may take.
    #[error("a value of {bytes} bytes is too large to read at once; take a part of it")]
    TooLarge {
        /// Its size.
        bytes: u64,
    },
    /// Guest memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Debug information.
    #[error(transparent)]
    Debug(#[from] DebugError),
}

/// A problem with its place. Displayed over several lines, with a caret under the place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExprError {
    /// The expression as given.
    pub source: String,
    /// Which part of it.
    pub span: Span,
    /// What is wrong.
    pub problem: Box<Problem>,
    /// What may have been meant, best first.
    pub suggestions: Vec<String>,
}

impl std::error::Error for ExprError {}

impl ExprError {
    /// Column of the place, in characters from 0.
    #[must_use]
    pub fn column(&self) -> usize {
        self.source.get(..self.span.start).map_or(0, |before| before.chars().count())
    }
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.problem)?;
        if !self.source.is_empty() {
            let width =
                self.source.get(self.span.start..self.span.end).map_or(1, |part| part.chars().count().max(1));
            let line: String = self.source.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            write!(f, "\n  {line}\n  {}{}", " ".repeat(self.column()), "^".repeat(width))?;
        }
        if !self.suggestions.is_empty() {
            let quoted: Vec<String> = self.suggestions.iter().map(|name| format!("`{name}`")).collect();
            write!(f, "\ndid you mean {}?", quoted.join(" or "))?;
        }
        Ok(())
    }
}

/// A problem on its way up to where the source text is known.
#[derive(Debug)]
pub(crate) struct Located {
    pub(crate) span: Span,
    pub(crate) problem: Box<Problem>,
    pub(crate) suggestions: Vec<String>,
}

impl Located {
    pub(crate) fn suggest(mut self, suggestions: Vec<String>) -> Self {
        self.suggestions = suggestions;
        self
    }

    pub(crate) fn in_source(self, source: &str) -> ExprError {
        ExprError {
            source: source.to_owned(),
            span: self.span,
            problem: self.problem,
            suggestions: self.suggestions,
        }
    }
}

/// Attaches a place to a problem.
pub(crate) trait At<T> {
    fn at(self, span: Span) -> Result<T, Located>;
}

impl<T, E: Into<Problem>> At<T> for Result<T, E> {
    fn at(self, span: Span) -> Result<T, Located> {
        self.map_err(|problem| located(span, problem))
    }
}

pub(crate) fn located(span: Span, problem: impl Into<Problem>) -> Located {
    Located { span, problem: Box::new(problem.into()), suggestions: Vec::new() }
}
