//! Tokens to a syntax tree.

use super::error::{Located, Problem, Span, located};
use super::token::{Token, tokenize};
use super::{DEPTH_MAX, EXPRESSION_BYTES_MAX, NODES_MAX};

/// An expression.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    pub(crate) span: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum NodeKind {
    Path(String),
    Register(String),
    Integer(u128),
    Float(f64),
    Char(char),
    Field(Box<Node>, String, Span),
    Index(Box<Node>, Box<Node>),
    /// Base, start, end, and whether the end belongs to it.
    Range(Box<Node>, Option<Box<Node>>, Option<Box<Node>>, bool),
    Deref(Box<Node>),
    AddressOf(Box<Node>),
    Negate(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Cast(Box<Node>, TypeName, Span),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// A type as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TypeName {
    /// Words of a C type or a Rust path.
    Named(String),
    Pointer(Box<TypeName>),
    Array(Box<TypeName>, u64),
}

pub(crate) fn parse(source: &str) -> Result<Node, Located> {
    if source.len() > EXPRESSION_BYTES_MAX {
        let problem = Problem::TooLong { bytes: source.len(), max: EXPRESSION_BYTES_MAX };
        return Err(located(Span::default(), problem));
    }
    let mut parser = Parser { tokens: tokenize(source)?, at: 0, nodes: 0, depth: 0 };
    let node = parser.expression()?;
    match parser.peek() {
        Token::End => Ok(node),
        _ => Err(parser.unexpected("an operator or the end")),
    }
}

struct Parser {
    tokens: Vec<(Token, Span)>,
    at: usize,
    /// Operators so far: bounds the recursion of everything that walks the tree.
    nodes: usize,
    /// Brackets, prefix operators and type stars that are open: bounds the recursion of the parser.
    depth: usize,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.peek_at(0)
    }

    /// The token `ahead` of the next one; the end token repeats.
    fn peek_at(&self, ahead: usize) -> &Token {
        self.tokens.get(self.at + ahead).map_or(&Token::End, |(token, _)| token)
    }

    fn span(&self) -> Span {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(Span::default(), |&(_, span)| span)
    }

    fn previous_span(&self) -> Span {
        self.tokens.get(self.at.saturating_sub(1)).map_or(Span::default(), |&(_, span)| span)
    }

    fn accept(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(found) if *found == symbol);
        if found {
            self.at += 1;
        }
        found
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Path(found) if found == word);
        if found {
            self.at += 1;
        }
        found
    }

    fn expect(&mut self, symbol: &'static str) -> Result<(), Located> {
        if self.accept(symbol) { Ok(()) } else { Err(self.unexpected(symbol)) }
    }

    fn unexpected(&self, expected: &'static str) -> Located {
        located(self.span(), Problem::Expected { expected, found: self.peek().describe() })
    }

    /// Counts one more part of the tree.
    fn count(&mut self) -> Result<(), Located> {
        self.nodes += 1;
        if self.nodes > NODES_MAX {
            return Err(located(self.span(), Problem::TooDeep { max: NODES_MAX }));
        }
        Ok(())
    }

    /// Runs `body` one level deeper.
    fn nested<T>(&mut self, body: impl FnOnce(&mut Self) -> Result<T, Located>) -> Result<T, Located> {
        if self.depth >= DEPTH_MAX {
            return Err(located(self.span(), Problem::TooDeep { max: DEPTH_MAX }));
        }
        self.depth += 1;
        let result = body(self);
        self.depth -= 1;
        result
    }

    fn node(&mut self, span: Span, kind: NodeKind) -> Result<Node, Located> {
        self.count()?;
        Ok(Node { kind, span })
    }

    fn expression(&mut self) -> Result<Node, Located> {
        self.nested(Self::additive)
    }

    fn additive(&mut self) -> Result<Node, Located> {
        let mut left = self.multiplicative()?;
        loop {
            let operator = match self.peek() {
                Token::Symbol("+") => Operator::Add,
                Token::Symbol("-") => Operator::Subtract,
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.multiplicative()?;
            let span = left.span.to(right.span);
            left = self.node(span, NodeKind::Binary(operator, Box::new(left), Box::new(right)))?;
        }
    }

    fn multiplicative(&mut self) -> Result<Node, Located> {
        let mut left = self.cast()?;
        loop {
            let operator = match self.peek() {
                Token::Symbol("*") => Operator::Multiply,
                Token::Symbol("/") => Operator::Divide,
                Token::Symbol("%") => Operator::Remainder,
                _ => return Ok(left),
            };
            self.at += 1;
            let right = self.cast()?;
            let span = left.span.to(right.span);
            left = self.node(span, NodeKind::Binary(operator, Box::new(left), Box::new(right)))?;
        }
    }

    fn cast(&mut self) -> Result<Node, Located> {
        let mut value = self.unary()?;
        while self.accept_word("as") {
            let start = self.span();
            let type_name = self.type_name(false)?;
            let type_span = start.to(self.previous_span());
            let span = value.span.to(type_span);
            value = self.node(span, NodeKind::Cast(Box::new(value), type_name, type_span))?;
        }
        Ok(value)
    }

    fn unary(&mut self) -> Result<Node, Located> {
        let start = self.span();
        let wrap = |parser: &mut Self, make: fn(Box<Node>) -> NodeKind| {
            let inner = parser.nested(Self::unary)?;
            let span = start.to(inner.span);
            parser.node(span, make(Box::new(inner)))
        };
        if self.accept("*") {
            return wrap(self, NodeKind::Deref);
        }
        if self.accept("-") {
            return wrap(self, NodeKind::Negate);
        }
        if self.accept("&") {
            self.accept_word("mut");
            return wrap(self, NodeKind::AddressOf);
        }
        if let Some((type_name, type_span)) = self.c_cast() {
            let inner = self.nested(Self::unary)?;
            let span = start.to(inner.span);
            return self.node(span, NodeKind::Cast(Box::new(inner), type_name, type_span));
        }
        self.postfix()
    }

    /// `(type)` in front of an operand; takes nothing if it is not that.
    fn c_cast(&mut self) -> Option<(TypeName, Span)> {
        let (before, nodes) = (self.at, self.nodes);
        let found = self.try_c_cast();
        if found.is_none() {
            (self.at, self.nodes) = (before, nodes);
        }
        found
    }

    fn try_c_cast(&mut self) -> Option<(TypeName, Span)> {
        if !self.accept("(") {
            return None;
        }
        let start = self.span();
        let type_name = self.type_name(true).ok()?;
        let span = start.to(self.previous_span());
        if !self.accept(")") {
            return None;
        }
        // `(x) - 1` is a subtraction, `(u64) -1` a cast.
        let certain = match &type_name {
            TypeName::Named(name) => primitive_words(name),
            _ => true,
        };
        match self.peek() {
            Token::Path(word) => (word != "as").then_some((type_name, span)),
            Token::Integer(_)
            | Token::Float(_)
            | Token::Char(_)
            | Token::Register(_)
            | Token::Symbol("(") => Some((type_name, span)),
            Token::Symbol("*" | "-" | "&") => certain.then_some((type_name, span)),
            _ => None,
        }
    }

    fn postfix(&mut self) -> Result<Node, Located> {
        let mut base = self.primary()?;
        loop {
            if self.accept(".") || self.accept("->") {
                let name = match self.peek() {
                    Token::Path(name) => name.clone(),
                    Token::Integer(index) => index.to_string(),
                    _ => return Err(self.unexpected("a field name")),
                };
                let name_span = self.span();
                self.at += 1;
                let span = base.span.to(name_span);
                base = self.node(span, NodeKind::Field(Box::new(base), name, name_span))?;
            } else if self.accept("[") {
                let start = match self.peek() {
                    Token::Symbol(".." | "..=") => None,
                    _ => Some(Box::new(self.expression()?)),
                };
                let inclusive = matches!(self.peek(), Token::Symbol("..="));
                if self.accept("..") || self.accept("..=") {
                    let end = match self.peek() {
                        Token::Symbol("]") => None,
                        _ => Some(Box::new(self.expression()?)),
                    };
                    self.expect("]")?;
                    let span = base.span.to(self.previous_span());
                    base = self.node(span, NodeKind::Range(Box::new(base), start, end, inclusive))?;
                } else {
                    let index = start.ok_or_else(|| self.unexpected("an index"))?;
                    self.expect("]")?;
                    let span = base.span.to(self.previous_span());
                    base = self.node(span, NodeKind::Index(Box::new(base), index))?;
                }
            } else {
                return Ok(base);
            }
        }
    }

    fn primary(&mut self) -> Result<Node, Located> {
        let span = self.span();
        let kind = match self.peek().clone() {
            Token::Path(name) if name != "as" => NodeKind::Path(name),
            Token::Register(name) => NodeKind::Register(name),
            Token::Integer(value) => NodeKind::Integer(value),
            Token::Float(value) => NodeKind::Float(value),
            Token::Char(value) => NodeKind::Char(value),
            Token::Symbol("(") => {
                self.at += 1;
                let inner = self.expression()?;
                self.expect(")")?;
                return Ok(Node { span: span.to(self.previous_span()), ..inner });
            }
            _ => return Err(self.unexpected("a variable, a number or `(`")),
        };
        self.at += 1;
        self.node(span, kind)
    }

    /// `suffix` allows C's pointer stars after the name; after `as` they would be a product.
    fn type_name(&mut self, suffix: bool) -> Result<TypeName, Located> {
        if self.accept("*") {
            let _qualified = self.accept_word("mut") || self.accept_word("const");
            return Ok(TypeName::Pointer(Box::new(self.nested(|parser| parser.type_name(suffix))?)));
        }
        if self.accept("&") {
            self.accept_word("mut");
            return Ok(TypeName::Pointer(Box::new(self.nested(|parser| parser.type_name(suffix))?)));
        }
        if self.accept("[") {
            let element = self.nested(|parser| parser.type_name(suffix))?;
            self.expect(";")?;
            let Token::Integer(count) = *self.peek() else { return Err(self.unexpected("a length")) };
            let count = u64::try_from(count).map_err(|_| self.unexpected("a smaller length"))?;
            self.at += 1;
            self.expect("]")?;
            return Ok(TypeName::Array(Box::new(element), count));
        }
        let mut words = Vec::new();
        while let Token::Path(word) = self.peek() {
            if word == "as" {
                break;
            }
            words.push(word.clone());
            self.at += 1;
        }
        if words.is_empty() {
            return Err(self.unexpected("a type"));
        }
        words.retain(|word| {
            !["const", "volatile", "struct", "union", "enum", "class"].contains(&word.as_str())
        });
        let mut named = TypeName::Named(words.join(" "));
        while suffix && self.accept("*") {
            self.count()?;
            named = TypeName::Pointer(Box::new(named));
        }
        Ok(named)
    }
}

/// Whether a name can be nothing but a built-in type of C or Rust.
pub(crate) fn primitive_words(name: &str) -> bool {
    const PRIMITIVES: [&str; 24] = [
        "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize", "f32", "f64",
        "bool", "char", "int", "long", "short", "unsigned", "signed", "float", "double", "void",
    ];
    !name.is_empty() && name.split(' ').all(|word| PRIMITIVES.contains(&word))
}
