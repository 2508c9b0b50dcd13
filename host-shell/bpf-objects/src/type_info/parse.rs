//! Text to values: what a person types for `map update`.
//!
//! ```text
//! value   = "hex" byte…  |  typed
//! typed   = number | address | name | 'c' | "text" | "{" [item {"," item}] "}" | "[" [typed {"," typed}] "]"
//! item    = [["."] name "="] typed
//! address = IPv4 (in the order of packets) | Ethernet address
//! ```
//!
//! Members that are not named are zero. Without `hex`, bytes as two digits each (`0a 00 00 01`) do as well.

use super::{Node, TypeInfo};

/// Why text is no value of a type.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at letter {at}: {reason}")]
pub struct ValueError {
    /// Where in the text, letters from 1.
    pub at: usize,
    /// What is wrong.
    pub reason: String,
}

/// Bytes of a value that text is read into.
const VALUE_BYTES_MAX: u32 = crate::limits::VALUE_BYTES_MAX;

impl TypeInfo {
    /// Reads a value.
    ///
    /// # Errors
    ///
    /// [`ValueError`] with the place and what was expected there.
    pub fn parse(&self, text: &str) -> Result<Vec<u8>, ValueError> {
        let bytes = self.bytes();
        if bytes > VALUE_BYTES_MAX {
            return Err(ValueError {
                at: 1,
                reason: format!("values of {bytes} bytes are too large to type"),
            });
        }
        let mut parser = Parser { info: self, text, at: 0 };
        let mut value = vec![0; bytes as usize];
        if let Some(raw) = parser.hex()? {
            if raw.len() != value.len() {
                return Err(parser.error(format!("{} bytes, the type has {bytes}", raw.len())));
            }
            return Ok(raw);
        }
        parser.value(self.root(), &mut value)?;
        parser.space();
        if parser.at < text.len() {
            return Err(parser.error("nothing more is expected".into()));
        }
        Ok(value)
    }
}

struct Parser<'a> {
    info: &'a TypeInfo,
    text: &'a str,
    /// Bytes read.
    at: usize,
}

impl<'a> Parser<'a> {
    fn error(&self, reason: String) -> ValueError {
        ValueError { at: self.text[..self.at].chars().count() + 1, reason }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
    }

    fn take(&mut self, letter: char) -> bool {
        self.space();
        let found = self.rest().starts_with(letter);
        if found {
            self.at += letter.len_utf8();
        }
        found
    }

    /// Letters of numbers, names and addresses.
    fn word(&mut self) -> &'a str {
        self.space();
        let rest = self.rest();
        let end = rest
            .find(|letter: char| !letter.is_alphanumeric() && !"_.:-+".contains(letter))
            .unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// The whole text as bytes, if it is that.
    fn hex(&mut self) -> Result<Option<Vec<u8>>, ValueError> {
        let trimmed = self.text.trim();
        let (digits, certain) = match trimmed.strip_prefix("hex") {
            Some(digits) if digits.starts_with([' ', ':']) => (digits.trim_start_matches([' ', ':']), true),
            _ => (trimmed, false),
        };
        let words: Vec<&str> = digits.split([' ', ':']).filter(|word| !word.is_empty()).collect();
        let pairs = words.len() > 1 && words.iter().all(|word| word.len() == 2);
        if !certain && !pairs {
            return Ok(None);
        }
        let digits: Vec<u32> = words.concat().chars().map_while(|digit| digit.to_digit(16)).collect();
        let letters: usize = words.iter().map(|word| word.chars().count()).sum();
        if digits.len() != letters || !digits.len().is_multiple_of(2) {
            if certain {
                return Err(self.error("bytes are two hexadecimal digits each".into()));
            }
            return Ok(None);
        }
        Ok(Some(digits.chunks_exact(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()))
    }

    /// Recursion is as deep as the type, which is limited.
    fn value(&mut self, node: usize, into: &mut [u8]) -> Result<(), ValueError> {
        let info = self.info;
        match &info.nodes[node] {
            Node::Integer { bytes, .. } => self.integer(usize::from(*bytes) * 8, &[], into),
            Node::Enumeration { bytes, variants, .. } => {
                self.integer(usize::from(*bytes) * 8, variants, into)
            }
            Node::Pointer => self.integer(64, &[], into),
            Node::Float { bytes, .. } => self.float(usize::from(*bytes), into),
            Node::Bytes { bytes } if *bytes <= 16 => self.integer(*bytes as usize * 8, &[], into),
            Node::Bytes { bytes } => Err(self.error(format!("{bytes} bytes are typed as: hex 00 01 …"))),
            Node::Array { element, count } => self.array(*element as usize, *count as usize, into),
            Node::Record { members, .. } => {
                if !self.take('{') {
                    // A record of one member is often a mere number.
                    if let [member] = &members[..]
                        && member.bits == 0
                    {
                        let at = member.bit_offset as usize / 8;
                        return self.value(member.node as usize, &mut into[at..]);
                    }
                    return Err(self.error("`{` is expected".into()));
                }
                self.members(node, into)
            }
        }
    }

    fn members(&mut self, node: usize, into: &mut [u8]) -> Result<(), ValueError> {
        let info = self.info;
        let Node::Record { members, .. } = &info.nodes[node] else {
            return Err(self.error("no record".into()));
        };
        let mut next = 0;
        while !self.take('}') {
            let before = self.at;
            let name = self.word();
            let index = if !name.is_empty() && self.take('=') {
                let name = name.strip_prefix('.').unwrap_or(name);
                members.iter().position(|member| member.name == name).ok_or_else(|| {
                    self.at = before;
                    let names: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
                    self.error(format!("no member `{name}`; there are {}", names.join(", ")))
                })?
            } else {
                self.at = before;
                next
            };
            let Some(member) = members.get(index) else {
                return Err(self.error(format!("it has only {} members", members.len())));
            };
            next = index + 1;
            if member.bits != 0 {
                self.bits(member.node as usize, member.bit_offset, member.bits, into)?;
            } else {
                self.value(member.node as usize, &mut into[member.bit_offset as usize / 8..])?;
            }
            if !self.take(',') {
                if !self.take('}') {
                    return Err(self.error("`,` or `}` is expected".into()));
                }
                break;
            }
        }
        Ok(())
    }

    fn array(&mut self, element: usize, count: usize, into: &mut [u8]) -> Result<(), ValueError> {
        let size = self.info.size(element);
        self.space();
        if size == 1 && self.rest().starts_with('"') {
            let start = self.at;
            let text = self.quoted('"')?;
            if text.len() > count {
                self.at = start;
                return Err(self.error(format!("{} letters, there is room for {count}", text.len())));
            }
            into[..text.len()].copy_from_slice(text.as_bytes());
            return Ok(());
        }
        if self.take('[') {
            let mut index = 0;
            while !self.take(']') {
                if index >= count {
                    return Err(self.error(format!("it has only {count} elements")));
                }
                self.value(element, &mut into[index * size..])?;
                index += 1;
                if !self.take(',') {
                    if !self.take(']') {
                        return Err(self.error("`,` or `]` is expected".into()));
                    }
                    break;
                }
            }
            return Ok(());
        }
        let before = self.at;
        if size == 1
            && let Some(address) = address(self.word())
            && address.len() == count
        {
            into[..count].copy_from_slice(&address);
            return Ok(());
        }
        self.at = before;
        Err(self.error("`[` is expected".into()))
    }

    fn quoted(&mut self, quote: char) -> Result<String, ValueError> {
        let start = self.at;
        let mut text = String::new();
        let mut letters = self.rest().char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            match letter {
                '\\' => match letters.next().map(|(_, letter)| letter) {
                    Some('n') => text.push('\n'),
                    Some('0') => text.push('\0'),
                    Some(letter) => text.push(letter),
                    None => break,
                },
                letter if letter == quote => {
                    self.at = start + at + letter.len_utf8();
                    return Ok(text);
                }
                letter => text.push(letter),
            }
        }
        Err(self.error(format!("no {quote} ends this")))
    }

    /// A number of `bits` bits as its 16 bytes.
    fn number(&mut self, bits: usize, variants: &[(String, i64)]) -> Result<[u8; 16], ValueError> {
        self.space();
        let start = self.at;
        if self.rest().starts_with('\'') {
            let text = self.quoted('\'')?;
            let mut letters = text.chars();
            return match (letters.next(), letters.next()) {
                (Some(letter), None) if u32::from(letter) < 1 << bits.min(31) => {
                    Ok(u128::from(u32::from(letter)).to_le_bytes())
                }
                _ => {
                    self.at = start;
                    Err(self.error("one letter is expected".into()))
                }
            };
        }
        let word = self.word();
        let named =
            variants.iter().find(|(name, _)| name == word).map(|(_, value)| i128::from(*value) as u128);
        let number = named.or_else(|| parse_number(word, bits)).or_else(|| {
            let address = address(word).filter(|address| address.len() * 8 == bits)?;
            let mut all = [0; 16];
            all[..address.len()].copy_from_slice(&address);
            Some(u128::from_le_bytes(all))
        });
        number.map(u128::to_le_bytes).ok_or_else(|| {
            self.at = start;
            if variants.is_empty() {
                self.error(format!("`{word}` is no number of {bits} bits"))
            } else {
                let names: Vec<&str> = variants.iter().map(|(name, _)| name.as_str()).collect();
                self.error(format!("`{word}` is no number of {bits} bits, and none of {}", names.join(", ")))
            }
        })
    }

    fn integer(
        &mut self,
        bits: usize,
        variants: &[(String, i64)],
        into: &mut [u8],
    ) -> Result<(), ValueError> {
        let number = self.number(bits, variants)?;
        into[..bits / 8].copy_from_slice(&number[..bits / 8]);
        Ok(())
    }

    fn bits(&mut self, node: usize, bit_offset: u32, bits: u8, into: &mut [u8]) -> Result<(), ValueError> {
        let variants = match &self.info.nodes[node] {
            Node::Enumeration { variants, .. } => &variants[..],
            _ => &[],
        };
        let number = u128::from_le_bytes(self.number(usize::from(bits), variants)?);
        for bit in 0..u32::from(bits) {
            let place = bit_offset + bit;
            let mask = 1 << (place % 8);
            let byte = &mut into[place as usize / 8];
            *byte = *byte & !mask | if number >> bit & 1 == 1 { mask } else { 0 };
        }
        Ok(())
    }

    fn float(&mut self, bytes: usize, into: &mut [u8]) -> Result<(), ValueError> {
        let start = self.at;
        let word = self.word();
        match (bytes, word.parse::<f64>()) {
            (4, Ok(number)) => into[..4].copy_from_slice(&(number as f32).to_le_bytes()),
            (8, Ok(number)) => into[..8].copy_from_slice(&number.to_le_bytes()),
            _ => {
                self.at = start;
                return Err(self.error(format!("`{word}` is no number of {bytes} bytes")));
            }
        }
        Ok(())
    }
}

/// A number that fits `bits` bits, with a sign or without: -1 and 0xff both fit a byte.
fn parse_number(word: &str, bits: usize) -> Option<u128> {
    let (negative, digits) = match word.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, word),
    };
    let magnitude = match digits {
        "true" if !negative => 1,
        "false" if !negative => 0,
        _ => match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
            Some(hex) if !hex.starts_with(['+', '-']) => u128::from_str_radix(hex, 16).ok()?,
            Some(_) => return None,
            None if digits.starts_with(|digit: char| digit.is_ascii_digit()) => digits.parse().ok()?,
            None => return None,
        },
    };
    if bits == 0 {
        return None;
    }
    let fits = if negative { magnitude <= 1 << (bits - 1) } else { bits >= 128 || magnitude < 1 << bits };
    fits.then_some(if negative { magnitude.wrapping_neg() } else { magnitude })
}

/// The bytes of an IPv4 or Ethernet address.
fn address(word: &str) -> Option<Vec<u8>> {
    if let Ok(address) = word.parse::<std::net::Ipv4Addr>() {
        return Some(address.octets().to_vec());
    }
    let parts: Vec<&str> = word.split(':').collect();
    if parts.len() != 6 || parts.iter().any(|part| part.len() != 2) {
        return None;
    }
    parts.iter().map(|part| u8::from_str_radix(part, 16).ok()).collect()
}
