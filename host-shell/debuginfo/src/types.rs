//! Types of guest values: what DWARF describes, and the few that expressions make.

use std::sync::Arc;

/// Names one loaded file (image or extension) for as long as the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModuleId(pub(crate) u32);

/// Refers to a type. Cheap to clone; [`crate::Space::resolve`] gives the [`Type`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TypeRef {
    /// No value: C `void`.
    Void,
    /// A type entry of a module's `.debug_info`.
    Dwarf {
        /// The module.
        module: ModuleId,
        /// Offset of the entry in the section.
        offset: usize,
    },
    /// An integer that needs no debug information: literals, results of arithmetic, casts.
    Int {
        /// Two's complement or not.
        signed: bool,
        /// 1, 2, 4, 8 or 16.
        bytes: u8,
    },
    /// Rust `bool`.
    Bool,
    /// Rust `char`.
    Char,
    /// IEEE 754 of 4 or 8 bytes.
    Float {
        /// 4 or 8.
        bytes: u8,
    },
    /// A raw pointer made by `&x`, by a cast or by naming a function.
    Pointer(Arc<TypeRef>),
    /// Elements side by side: the result of a range, and the inner dimensions of C arrays.
    Sequence {
        /// What each is.
        element: Arc<TypeRef>,
        /// How many.
        count: u64,
    },
    /// Machine code.
    Code,
    /// A symbol without debug information: `size` bytes of unknown meaning.
    Unknown {
        /// Size by the symbol table, zero if that does not say.
        size: u64,
    },
}

impl TypeRef {
    /// The type of integer literals until something gives them another.
    pub(crate) const LITERAL: Self = Self::Int { signed: true, bytes: 16 };

    pub(crate) fn pointer_to(target: Self) -> Self {
        Self::Pointer(Arc::new(target))
    }
}

/// A resolved type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    /// Qualified name as the language writes it.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
    /// What it is made of.
    pub kind: Kind,
}

/// What a type is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No value.
    Void,
    /// Integer of `size` bytes.
    Int {
        /// Two's complement or not.
        signed: bool,
    },
    /// One byte, 0 or 1.
    Bool,
    /// Unicode scalar value of four bytes, or a C character of one, two or four.
    Char {
        /// C's `char` may be negative.
        signed: bool,
    },
    /// IEEE 754.
    Float,
    /// Eight bytes that hold an address.
    Pointer {
        /// What lies there.
        target: TypeRef,
        /// A Rust reference or `Box`: valid by construction, so worth following.
        reference: bool,
    },
    /// Named fields at offsets; with a [`Variants`] part if it is a Rust enum that carries data.
    Struct {
        /// In declaration order.
        fields: Vec<Field>,
        /// Generic arguments, by parameter name.
        parameters: Vec<(String, TypeRef)>,
        /// The variant part.
        variants: Option<Box<Variants>>,
        /// All fields share offset 0.
        union: bool,
    },
    /// Integer with named values: C enum, Rust enum without data.
    Enumeration {
        /// Whether the underlying integer is signed.
        signed: bool,
        /// Name and value.
        variants: Vec<(String, i128)>,
    },
    /// Elements side by side.
    Array {
        /// What each is.
        element: TypeRef,
        /// How many; `None` for a C flexible array.
        count: Option<u64>,
    },
    /// Machine code.
    Code,
    /// Declared, never defined here.
    Opaque,
}

/// A field of a struct, union or variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name; Rust calls tuple fields `__0`, `__1`.
    pub name: String,
    /// Its type.
    pub type_ref: TypeRef,
    /// Bytes from the start of the struct.
    pub offset: u64,
    /// For C bit fields: first bit (counted from bit 0 of the struct) and number of bits.
    pub bits: Option<(u64, u64)>,
}

impl Field {
    /// The name as Rust source writes it: `0` for `__0`.
    #[must_use]
    pub fn source_name(&self) -> &str {
        match self.name.strip_prefix("__") {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => digits,
            _ => &self.name,
        }
    }
}

/// The variant part of a Rust enum (DWARF 5, section 5.7.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variants {
    /// Where the discriminant (or niche) is; `None` if there is one variant only.
    pub discriminant: Option<Field>,
    /// All variants.
    pub variants: Vec<Variant>,
}

/// One variant of a Rust enum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Its name.
    pub name: String,
    /// Discriminant values, inclusive ranges as the bits that are stored. Empty: every value that no
    /// other variant claims.
    pub values: Vec<(u128, u128)>,
    /// The struct of its fields.
    pub type_ref: TypeRef,
    /// Offset of that struct.
    pub offset: u64,
}
