//! A value read out completely: what is shown to a person or written as JSON.

use std::fmt::Write as _;

use serde_json::{Map, json};

/// A value with everything that is worth showing of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Datum {
    /// No information: `()`, empty structs print by name instead.
    Unit,
    /// Unsigned integer.
    Unsigned(u128),
    /// Signed integer.
    Signed(i128),
    /// Truth value.
    Bool(bool),
    /// Floating-point number; `single` if it was 32 bits wide.
    Float {
        /// The number.
        value: f64,
        /// Whether it has the precision of `f32` only.
        single: bool,
    },
    /// Unicode scalar value.
    Char(char),
    /// C character: a small integer that may be printable.
    Byte(i128),
    /// Text; `length` bytes in the guest, of which some may be missing here.
    Text {
        /// What was read.
        text: String,
        /// Bytes that the guest has.
        length: u64,
        /// Whether `text` is only the beginning.
        truncated: bool,
    },
    /// An address.
    Pointer {
        /// The address.
        address: u64,
        /// The symbol there, as `name+0x4`.
        symbol: Option<String>,
        /// What lies there, where it was followed.
        target: Option<Box<Datum>>,
    },
    /// Struct, tuple or union; fields named `0`, `1`, … make it a tuple. `name` is empty for plain tuples.
    Struct {
        /// Last component of the type's name.
        name: String,
        /// In declaration order.
        fields: Vec<(String, Datum)>,
    },
    /// A variant of a Rust enum that may carry data.
    Variant {
        /// Its name.
        variant: String,
        /// Its fields; named `0`, `1`, … for tuple variants.
        fields: Vec<(String, Datum)>,
    },
    /// A named value of an enum without data.
    Named {
        /// The name.
        name: String,
        /// The number.
        value: i128,
    },
    /// Elements; `length` in the guest, of which some may be missing here.
    List {
        /// The first ones.
        elements: Vec<Datum>,
        /// How many the guest has.
        length: u64,
    },
    /// Keys and values; `length` in the guest, of which some may be missing here.
    Map {
        /// The first ones.
        entries: Vec<(Datum, Datum)>,
        /// How many the guest has.
        length: u64,
    },
    /// Bytes without a type.
    Bytes(Vec<u8>),
    /// Could not be read, or is not a valid value of its type; says why.
    Bad(String),
    /// Left out: too deep, or too much.
    Elided,
}

/// Columns that a value may take before it is broken into lines.
const WIDTH: usize = 96;

/// Equal neighbours in a list from this number on are counted instead of repeated.
const RUN_MIN: usize = 8;

impl Datum {
    /// The value for people: on one line if it fits, otherwise indented.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        self.pretty(0, &mut out);
        out
    }

    fn is_tuple(fields: &[(String, Self)]) -> bool {
        fields.iter().enumerate().all(|(index, (name, _))| *name == index.to_string())
    }

    fn pretty(&self, indent: usize, out: &mut String) {
        let compact = self.compact();
        if compact.chars().count() + indent <= WIDTH {
            out.push_str(&compact);
            return;
        }
        let pad = " ".repeat(indent + 2);
        match self {
            Self::Struct { name, fields } | Self::Variant { variant: name, fields } if !fields.is_empty() => {
                let tuple = Self::is_tuple(fields);
                out.push_str(name);
                out.push_str(match (tuple, name.is_empty()) {
                    (true, _) => "(\n",
                    (false, true) => "{\n",
                    (false, false) => " {\n",
                });
                for (field, value) in fields {
                    out.push_str(&pad);
                    if !tuple {
                        out.push_str(field);
                        out.push_str(": ");
                    }
                    value.pretty(indent + 2, out);
                    out.push_str(",\n");
                }
                out.push_str(&" ".repeat(indent));
                out.push(if tuple { ')' } else { '}' });
            }
            Self::List { elements, length } => {
                out.push_str("[\n");
                let mut line = String::new();
                for part in list_parts(elements, *length) {
                    let text = match part {
                        Part::Text(text) => text,
                        Part::One(element) => {
                            let mut text = String::new();
                            element.pretty(indent + 2, &mut text);
                            text
                        }
                    };
                    let breaks = text.contains('\n') || indent + 4 + line.len() + text.len() > WIDTH;
                    if breaks && !line.is_empty() {
                        let _ = writeln!(out, "{pad}{}", line.trim_end());
                        line.clear();
                    }
                    line.push_str(&text);
                    line.push_str(", ");
                }
                let _ = writeln!(out, "{pad}{}", line.trim_end());
                out.push_str(&" ".repeat(indent));
                out.push(']');
            }
            Self::Map { entries, length } => {
                out.push_str("{\n");
                for (key, value) in entries {
                    let _ = write!(out, "{pad}{}: ", key.compact());
                    value.pretty(indent + 2, out);
                    out.push_str(",\n");
                }
                let missing = length.saturating_sub(entries.len() as u64);
                if missing > 0 {
                    let _ = writeln!(out, "{pad}… {missing} more");
                }
                let _ = write!(out, "{}}}", " ".repeat(indent));
            }
            Self::Pointer { target: Some(target), .. } => {
                out.push('&');
                target.pretty(indent, out);
            }
            _ => out.push_str(&compact),
        }
    }

    fn compact(&self) -> String {
        match self {
            Self::Unit => "()".to_owned(),
            Self::Unsigned(value) => value.to_string(),
            Self::Signed(value) => value.to_string(),
            Self::Bool(value) => value.to_string(),
            Self::Float { value, single: true } => format!("{:?}", *value as f32),
            Self::Float { value, single: false } => format!("{value:?}"),
            Self::Char(value) => format!("{value:?}"),
            Self::Byte(value) => match u8::try_from(*value) {
                Ok(byte) if byte.is_ascii_graphic() || byte == b' ' => {
                    format!("{value} {:?}", char::from(byte))
                }
                _ => value.to_string(),
            },
            Self::Text { text, length, truncated } => {
                if *truncated {
                    format!("{text:?}… ({length} bytes)")
                } else {
                    format!("{text:?}")
                }
            }
            Self::Pointer { address, symbol, target } => match (target, symbol) {
                (Some(target), _) => match **target {
                    // A C string is shown with the address, as the pointer itself is of interest.
                    Self::Text { .. } => format!("{address:#x} {}", target.compact()),
                    _ => format!("&{}", target.compact()),
                },
                (None, Some(symbol)) => format!("{address:#x} <{symbol}>"),
                (None, None) => format!("{address:#x}"),
            },
            Self::Struct { name, fields } | Self::Variant { variant: name, fields } => {
                if fields.is_empty() {
                    return if name.is_empty() { "()".to_owned() } else { name.clone() };
                }
                if Self::is_tuple(fields) {
                    let values: Vec<String> = fields.iter().map(|(_, value)| value.compact()).collect();
                    return format!("{name}({})", values.join(", "));
                }
                let values: Vec<String> =
                    fields.iter().map(|(field, value)| format!("{field}: {}", value.compact())).collect();
                let space = if name.is_empty() { "" } else { " " };
                format!("{name}{space}{{ {} }}", values.join(", "))
            }
            Self::Named { name, .. } => name.clone(),
            Self::List { elements, length } => {
                let parts: Vec<String> = list_parts(elements, *length)
                    .into_iter()
                    .map(|part| match part {
                        Part::Text(text) => text,
                        Part::One(element) => element.compact(),
                    })
                    .collect();
                format!("[{}]", parts.join(", "))
            }
            Self::Map { entries, length } => {
                let mut parts: Vec<String> = entries
                    .iter()
                    .map(|(key, value)| format!("{}: {}", key.compact(), value.compact()))
                    .collect();
                let missing = length.saturating_sub(entries.len() as u64);
                if missing > 0 {
                    parts.push(format!("… {missing} more"));
                }
                format!("{{{}}}", parts.join(", "))
            }
            Self::Bytes(bytes) => {
                let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("<{}>", hex.join(" "))
            }
            Self::Bad(why) => format!("<{why}>"),
            Self::Elided => "…".to_owned(),
        }
    }

    /// The value as JSON. Structs become objects, tuples and complete lists arrays, variants
    /// `{"Name": …}` or `"Name"`, pointers objects with `address`, `symbol` and `target`; maps lists of `key` and `value`; an
    /// incomplete list, map or text is an object with its `length`; integers beyond 64 bits are strings.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        let fields_json = |fields: &[(String, Self)]| {
            if Self::is_tuple(fields) {
                return match fields {
                    [] => serde_json::Value::Null,
                    [(_, only)] => only.to_json(),
                    _ => fields.iter().map(|(_, value)| value.to_json()).collect(),
                };
            }
            let object: Map<String, serde_json::Value> =
                fields.iter().map(|(name, value)| (name.clone(), value.to_json())).collect();
            serde_json::Value::Object(object)
        };
        match self {
            Self::Unit => serde_json::Value::Null,
            Self::Unsigned(value) => {
                u64::try_from(*value).map_or_else(|_| json!(value.to_string()), |value| json!(value))
            }
            Self::Signed(value) | Self::Byte(value) => {
                i64::try_from(*value).map_or_else(|_| json!(value.to_string()), |value| json!(value))
            }
            Self::Bool(value) => json!(value),
            // JSON has no infinities: they become strings.
            Self::Float { value, .. } if !value.is_finite() => json!(value.to_string()),
            Self::Float { value, .. } => json!(value),
            Self::Char(value) => json!(value.to_string()),
            Self::Text { text, length, truncated: true } => json!({ "text": text, "length": length }),
            Self::Text { text, .. } => json!(text),
            Self::Pointer { address, symbol, target } => {
                let mut object = Map::new();
                object.insert("address".to_owned(), json!(format!("{address:#x}")));
                if let Some(symbol) = symbol {
                    object.insert("symbol".to_owned(), json!(symbol));
                }
                if let Some(target) = target {
                    object.insert("target".to_owned(), target.to_json());
                }
                serde_json::Value::Object(object)
            }
            Self::Struct { fields, .. } => fields_json(fields),
            Self::Variant { variant, fields } if fields.is_empty() => json!(variant),
            Self::Variant { variant, fields } => json!({ variant.as_str(): fields_json(fields) }),
            Self::Named { name, .. } => json!(name),
            Self::List { elements, length } => {
                let list: serde_json::Value = elements.iter().map(Self::to_json).collect();
                if elements.len() as u64 == *length {
                    list
                } else {
                    json!({ "elements": list, "length": length })
                }
            }
            Self::Map { entries, length } => {
                let list: serde_json::Value = entries
                    .iter()
                    .map(|(key, value)| json!({ "key": key.to_json(), "value": value.to_json() }))
                    .collect();
                if entries.len() as u64 == *length {
                    list
                } else {
                    json!({ "entries": list, "length": length })
                }
            }
            Self::Bytes(bytes) => json!({ "bytes": bytes }),
            Self::Bad(why) => json!({ "error": why }),
            Self::Elided => json!({ "elided": true }),
        }
    }
}

enum Part<'a> {
    One(&'a Datum),
    Text(String),
}

/// A list's elements with runs of equal ones counted, and the number of those left out.
fn list_parts(elements: &[Datum], length: u64) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(first) = elements.get(at) {
        let run = elements[at..].iter().take_while(|element| *element == first).count();
        if run >= RUN_MIN {
            parts.push(Part::Text(format!("{} <repeats {run} times>", first.compact())));
            at += run;
        } else {
            parts.push(Part::One(first));
            at += 1;
        }
    }
    let missing = length.saturating_sub(elements.len() as u64);
    if missing > 0 {
        parts.push(Part::Text(format!("… {missing} more")));
    }
    parts
}
