//! Lines of `trace_printk`: C's formats, of fixed length.

use core::fmt::{self, Write};

use super::memory::read_string;
use crate::services::Services;

/// Bytes of a format at most, the zero included.
pub(super) const FORMAT_BYTES_MAX: usize = 256;
/// Bytes of a line at most; what is more is cut.
const LINE_BYTES_MAX: usize = 512;
/// Bytes of one string at most.
const STRING_BYTES_MAX: u64 = 128;
/// Columns of a width at most.
const WIDTH_MAX: usize = 64;

/// A format that is not understood, or has more conversions than there are arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongFormat;

/// Numbers to print, in order.
pub(super) struct Arguments<'a>(core::slice::Iter<'a, u64>);

impl<'a> Arguments<'a> {
    pub(super) fn new(numbers: &'a [u64]) -> Self {
        Self(numbers.iter())
    }

    fn next(&mut self) -> Result<u64, WrongFormat> {
        self.0.next().copied().ok_or(WrongFormat)
    }
}

/// A line being written.
pub(super) struct Line {
    bytes: [u8; LINE_BYTES_MAX],
    length: usize,
}

/// What stands between the percent sign and the letter.
#[derive(Clone, Copy, Default)]
struct Conversion {
    left: bool,
    zeros: bool,
    alternate: bool,
    plus: bool,
    width: usize,
    /// Digits of a number at least, bytes of a string at most.
    precision: Option<usize>,
    bits: u32,
}

impl Line {
    pub(super) const fn new() -> Self {
        Self { bytes: [0; LINE_BYTES_MAX], length: 0 }
    }

    /// What was written, without a line end.
    pub(super) fn text(&self) -> &[u8] {
        let text = &self.bytes[..self.length];
        text.strip_suffix(b"\n").unwrap_or(text)
    }

    fn push(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(LINE_BYTES_MAX - self.length);
        self.bytes[self.length..self.length + taken].copy_from_slice(&bytes[..taken]);
        self.length += taken;
    }

    fn fill(&mut self, byte: u8, count: usize) {
        for _ in 0..count {
            self.push(&[byte]);
        }
    }

    /// Writes `format` with its conversions replaced.
    pub(super) fn format(
        &mut self,
        format: &[u8],
        arguments: &mut Arguments<'_>,
        services: &dyn Services,
    ) -> Result<(), WrongFormat> {
        let mut rest = format;
        while let Some((&byte, after)) = rest.split_first() {
            rest = after;
            if byte != b'%' {
                self.push(&[byte]);
                continue;
            }
            let (conversion, letter, after) = conversion(rest)?;
            rest = after;
            match letter {
                b'%' => self.push(b"%"),
                b'd' | b'i' => {
                    let shift = u64::BITS - conversion.bits;
                    let number = (arguments.next()? << shift).cast_signed() >> shift;
                    let sign: &[u8] = match (number < 0, conversion.plus) {
                        (true, _) => b"-",
                        (false, true) => b"+",
                        (false, false) => b"",
                    };
                    self.number(conversion, sign, format_args!("{}", number.unsigned_abs()));
                }
                b'u' | b'x' | b'X' | b'o' => {
                    let number = arguments.next()? & (u64::MAX >> (u64::BITS - conversion.bits));
                    let prefix: &[u8] = match (conversion.alternate && number != 0, letter) {
                        (true, b'x') => b"0x",
                        (true, b'X') => b"0X",
                        (true, b'o') => b"0",
                        _ => b"",
                    };
                    match letter {
                        b'u' => self.number(conversion, prefix, format_args!("{number}")),
                        b'x' => self.number(conversion, prefix, format_args!("{number:x}")),
                        b'X' => self.number(conversion, prefix, format_args!("{number:X}")),
                        _ => self.number(conversion, prefix, format_args!("{number:o}")),
                    }
                }
                b'p' => {
                    let number = arguments.next()?;
                    self.number(conversion, b"0x", format_args!("{number:x}"));
                }
                b'c' => self.padded(conversion, &[arguments.next()? as u8]),
                b's' => {
                    let mut string = Buffer::<{ STRING_BYTES_MAX as usize }>::new();
                    let limit = conversion.precision.map_or(STRING_BYTES_MAX, |bytes| bytes as u64);
                    let whole =
                        read_string(services, arguments.next()?, limit.min(STRING_BYTES_MAX), |piece| {
                            string.push(piece);
                            true
                        });
                    self.padded(conversion, if whole { string.text() } else { b"(unreadable)" });
                }
                _ => return Err(WrongFormat),
            }
        }
        Ok(())
    }

    /// Text in a column.
    fn padded(&mut self, conversion: Conversion, text: &[u8]) {
        let padding = conversion.width.saturating_sub(text.len());
        if !conversion.left {
            self.fill(b' ', padding);
        }
        self.push(text);
        if conversion.left {
            self.fill(b' ', padding);
        }
    }

    /// Digits behind a sign or prefix, in a column.
    fn number(&mut self, conversion: Conversion, prefix: &[u8], digits: fmt::Arguments<'_>) {
        // The longest number is 22 octal digits.
        let mut buffer = Buffer::<24>::new();
        // Never fails: what has no room is cut.
        let _ = buffer.write_fmt(digits);
        let digits = buffer.text();
        let mut zeros = conversion.precision.unwrap_or(0).saturating_sub(digits.len());
        let padding = conversion.width.saturating_sub(prefix.len() + zeros + digits.len());
        let zero_fill = conversion.zeros && !conversion.left && conversion.precision.is_none();
        if zero_fill {
            zeros = padding;
        } else if !conversion.left {
            self.fill(b' ', padding);
        }
        self.push(prefix);
        self.fill(b'0', zeros);
        self.push(digits);
        if conversion.left {
            self.fill(b' ', padding);
        }
    }
}

/// Reads what follows a percent sign: the flags and sizes, the letter, and the rest.
fn conversion(format: &[u8]) -> Result<(Conversion, u8, &[u8]), WrongFormat> {
    let mut conversion = Conversion { bits: u32::BITS, ..Conversion::default() };
    let mut rest = format;
    while let Some((&flag, after)) = rest.split_first() {
        match flag {
            b'-' => conversion.left = true,
            b'0' => conversion.zeros = true,
            b'#' => conversion.alternate = true,
            b'+' => conversion.plus = true,
            b' ' => {}
            _ => break,
        }
        rest = after;
    }
    (conversion.width, rest) = number(rest);
    if let Some(after) = rest.strip_prefix(b".") {
        let (precision, after) = number(after);
        conversion.precision = Some(precision);
        rest = after;
    }
    for (modifier, bits) in [
        (&b"ll"[..], u64::BITS),
        (b"l", u64::BITS),
        (b"z", u64::BITS),
        (b"j", u64::BITS),
        (b"t", u64::BITS),
        (b"hh", u8::BITS),
        (b"h", u16::BITS),
    ] {
        if let Some(after) = rest.strip_prefix(modifier) {
            conversion.bits = bits;
            rest = after;
            break;
        }
    }
    let (&letter, rest) = rest.split_first().ok_or(WrongFormat)?;
    Ok((conversion, letter, rest))
}

/// A decimal number, at most [`WIDTH_MAX`].
fn number(format: &[u8]) -> (usize, &[u8]) {
    let digits = format.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = format[..digits]
        .iter()
        .fold(0_usize, |value, digit| (value * 10 + usize::from(digit - b'0')).min(WIDTH_MAX));
    (value, &format[digits..])
}

/// Text of a fixed length; what is more is cut.
struct Buffer<const BYTES: usize> {
    bytes: [u8; BYTES],
    length: usize,
}

impl<const BYTES: usize> Buffer<BYTES> {
    const fn new() -> Self {
        Self { bytes: [0; BYTES], length: 0 }
    }

    fn push(&mut self, bytes: &[u8]) {
        let taken = bytes.len().min(BYTES - self.length);
        self.bytes[self.length..self.length + taken].copy_from_slice(&bytes[..taken]);
        self.length += taken;
    }

    fn text(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl<const BYTES: usize> Write for Buffer<BYTES> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text.as_bytes());
        Ok(())
    }
}
