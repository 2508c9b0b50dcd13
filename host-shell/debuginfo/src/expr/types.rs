//! Type names as people write them, to types.

use super::error::{Located, Problem, Span, located};
use super::parse::{TypeName, primitive_words};
use crate::space::Space;
use crate::types::TypeRef;

/// Near matches offered for an unknown type.
const SUGGESTIONS_MAX: usize = 3;

pub(crate) fn resolve_name(space: &Space, name: &TypeName, span: Span) -> Result<TypeRef, Located> {
    match name {
        TypeName::Pointer(target) => Ok(TypeRef::pointer_to(resolve_name(space, target, span)?)),
        TypeName::Array(element, count) => Ok(TypeRef::Sequence {
            element: std::sync::Arc::new(resolve_name(space, element, span)?),
            count: *count,
        }),
        TypeName::Named(name) => named(space, name).ok_or_else(|| {
            let candidates = type_names(space);
            let near = crate::names::near(name, candidates.iter().map(String::as_str), SUGGESTIONS_MAX);
            located(span, Problem::UnknownType { name: name.clone() }).suggest(near)
        }),
    }
}

fn named(space: &Space, name: &str) -> Option<TypeRef> {
    let int = |signed: bool, bytes: u8| Some(TypeRef::Int { signed, bytes });
    match name {
        "u8" => return int(false, 1),
        "u16" => return int(false, 2),
        "u32" => return int(false, 4),
        "u64" | "usize" => return int(false, 8),
        "u128" => return int(false, 16),
        "i8" => return int(true, 1),
        "i16" => return int(true, 2),
        "i32" => return int(true, 4),
        "i64" | "isize" => return int(true, 8),
        "i128" => return int(true, 16),
        "f32" => return Some(TypeRef::Float { bytes: 4 }),
        "f64" => return Some(TypeRef::Float { bytes: 8 }),
        "bool" => return Some(TypeRef::Bool),
        "void" => return Some(TypeRef::Void),
        // The same word means one byte in C and four in Rust; the debug information knows.
        "char" => return Some(space.find_type("char").unwrap_or(TypeRef::Char)),
        _ => {}
    }
    space.find_type(name).or_else(|| primitive_words(name).then(|| c_type(name)).flatten())
}

/// A C type from its words, in any order. Sizes are those of the x86-64 System V ABI.
fn c_type(name: &str) -> Option<TypeRef> {
    let count = |word: &str| name.split(' ').filter(|found| *found == word).count();
    let signed = count("unsigned") == 0;
    let bytes = match (count("char"), count("short"), count("long"), count("float"), count("double")) {
        (0, 0, 0, 1, 0) => return Some(TypeRef::Float { bytes: 4 }),
        (0, 0, 0, 0, 1) => return Some(TypeRef::Float { bytes: 8 }),
        (1, 0, 0, 0, 0) => 1,
        (0, 1, 0, 0, 0) => 2,
        (0, 0, 1 | 2, 0, 0) => 8,
        (0, 0, 0, 0, 0) => 4,
        _ => return None,
    };
    Some(TypeRef::Int { signed, bytes })
}

fn type_names(space: &Space) -> Vec<String> {
    let mut names = Vec::new();
    for module in space.modules() {
        if let Ok(index) = module.debug().and_then(|debug| debug.index()) {
            names.extend(index.types.iter().map(|(_, name)| name.clone()));
        }
    }
    // Fat pointers are listed too, by their whole spelling; nobody mistypes those.
    names.retain(|name| !name.starts_with(['&', '*']));
    names.sort();
    names.dedup();
    names
}
