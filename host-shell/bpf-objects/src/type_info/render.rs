//! Values to text: `{ source = 167772161, port = 80 }`.

use std::fmt::Write;

use super::{IntegerStyle, Node, TypeInfo};

/// Elements of an array that are shown; the rest is counted.
const ELEMENTS_MAX: usize = 64;
/// Letters of one value. A union of arrays of unions would go on for long.
const LETTERS_MAX: usize = 64 * 1024;

impl TypeInfo {
    /// Shows `value` as C would write it. Bytes that are missing count as zero.
    #[must_use]
    pub fn render(&self, value: &[u8]) -> String {
        let mut text = String::new();
        self.render_node(self.root(), value, &mut text);
        text
    }

    /// Recursion is as deep as the type, which is limited.
    fn render_node(&self, node: usize, value: &[u8], text: &mut String) {
        if text.len() > LETTERS_MAX {
            if !text.ends_with('…') {
                text.push('…');
            }
            return;
        }
        match &self.nodes[node] {
            Node::Integer { bytes, signed, style, .. } => {
                integer(number(value, usize::from(*bytes), *signed), *style, text);
            }
            Node::Enumeration { bytes, signed, variants, .. } => {
                enumeration(number(value, usize::from(*bytes), *signed), variants, text);
            }
            Node::Pointer => push(text, format_args!("{:#x}", number(value, 8, false))),
            Node::Float { bytes, .. } => match bytes {
                4 => push(text, format_args!("{}", f32::from_bits(number(value, 4, false) as u32))),
                8 => push(text, format_args!("{}", f64::from_bits(number(value, 8, false) as u64))),
                _ => hex(value, usize::from(*bytes), text),
            },
            Node::Bytes { bytes } => hex(value, *bytes as usize, text),
            Node::Array { element, count } => self.render_array(*element as usize, *count, value, text),
            Node::Record { members, .. } => {
                text.push('{');
                for (index, member) in members.iter().enumerate() {
                    text.push_str(if index == 0 { " " } else { ", " });
                    if !member.name.is_empty() {
                        push(text, format_args!("{} = ", member.name));
                    }
                    if member.bits != 0 {
                        self.render_bits(member.node as usize, member.bit_offset, member.bits, value, text);
                        continue;
                    }
                    let at = member.bit_offset as usize / 8;
                    self.render_node(member.node as usize, value.get(at..).unwrap_or(&[]), text);
                }
                text.push_str(" }");
            }
        }
    }

    fn render_array(&self, element: usize, count: u32, value: &[u8], text: &mut String) {
        let count = count as usize;
        let size = self.size(element);
        if let Node::Integer { style: IntegerStyle::Character, bytes: 1, .. } = &self.nodes[element]
            && let Some(string) = string(value, count)
        {
            push(text, format_args!("{string:?}"));
            return;
        }
        text.push('[');
        for index in 0..count.min(ELEMENTS_MAX) {
            if index > 0 {
                text.push_str(", ");
            }
            self.render_node(element, value.get(index * size..).unwrap_or(&[]), text);
        }
        if count > ELEMENTS_MAX {
            push(text, format_args!(", … {} more", count - ELEMENTS_MAX));
        }
        text.push(']');
    }

    fn render_bits(&self, node: usize, bit_offset: u32, bits: u8, value: &[u8], text: &mut String) {
        let raw = bit_field(value, bit_offset, bits);
        let extended = |signed: bool| {
            let unused = 128 - u32::from(bits);
            if signed { (raw << unused) as i128 >> unused } else { raw as i128 }
        };
        match &self.nodes[node] {
            Node::Enumeration { signed, variants, .. } => enumeration(extended(*signed), variants, text),
            Node::Integer { signed, style, .. } => integer(extended(*signed), *style, text),
            _ => integer(extended(false), IntegerStyle::Number, text),
        }
    }
}

/// Writing to a string does not fail.
fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}

/// A little-endian number of up to 16 bytes. Unsigned ones of 16 bytes wrap.
pub(super) fn number(value: &[u8], bytes: usize, signed: bool) -> i128 {
    let mut all = [0; 16];
    let there = bytes.min(value.len()).min(16);
    all[..there].copy_from_slice(&value[..there]);
    let unused = 128 - bytes.clamp(1, 16) as u32 * 8;
    let raw = i128::from_le_bytes(all);
    if signed { raw << unused >> unused } else { raw }
}

/// `bits` bits at `bit_offset`; bytes that are missing count as zero.
pub(super) fn bit_field(value: &[u8], bit_offset: u32, bits: u8) -> u128 {
    let at = bit_offset as usize / 8;
    let raw = number(value.get(at..).unwrap_or(&[]), 16, false) as u128;
    raw >> (bit_offset % 8) & ((1 << bits) - 1)
}

fn integer(number: i128, style: IntegerStyle, text: &mut String) {
    match style {
        IntegerStyle::Boolean if number == 0 || number == 1 => push(text, format_args!("{}", number == 1)),
        IntegerStyle::Character if (32..127).contains(&number) => {
            push(text, format_args!("{:?}", number as u8 as char));
        }
        _ => push(text, format_args!("{number}")),
    }
}

fn enumeration(number: i128, variants: &[(String, i64)], text: &mut String) {
    match variants.iter().find(|(_, value)| i128::from(*value) == number) {
        Some((name, _)) => text.push_str(name),
        None => push(text, format_args!("{number}")),
    }
}

fn hex(value: &[u8], bytes: usize, text: &mut String) {
    text.push_str("hex");
    for index in 0..bytes.min(ELEMENTS_MAX) {
        push(text, format_args!(" {:02x}", value.get(index).copied().unwrap_or(0)));
    }
    if bytes > ELEMENTS_MAX {
        push(text, format_args!(" … {} more", bytes - ELEMENTS_MAX));
    }
}

/// Text in an array of `count` characters, if it is text: printable letters, then zeros.
fn string(value: &[u8], count: usize) -> Option<&str> {
    let value = &value[..count.min(value.len())];
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    let text = core::str::from_utf8(&value[..end]).ok()?;
    (value[end..].iter().all(|byte| *byte == 0) && !text.chars().any(char::is_control)).then_some(text)
}
