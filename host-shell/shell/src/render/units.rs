//! Sizes and times for people, and back.

/// `832 B`, `12.5 KiB`, `256 MiB`: three digits at most, so that columns stay narrow.
#[must_use]
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let unit = UNITS[unit];
    if value >= 99.95 || value.fract() == 0.0 {
        format!("{value:.0} {unit}")
    } else {
        format!("{value:.1} {unit}")
    }
}

/// `850 ns`, `18.0 µs`, `1.25 s`, `2 m 05 s`, `3 h 12 m`, `2 d 4 h`.
#[must_use]
pub fn time(nanoseconds: u64) -> String {
    const SECOND: u64 = 1_000_000_000;
    let seconds = nanoseconds / SECOND;
    match nanoseconds {
        0..1_000 => format!("{nanoseconds} ns"),
        1_000..1_000_000 => format!("{:.1} µs", nanoseconds as f64 / 1e3),
        1_000_000..SECOND => format!("{:.1} ms", nanoseconds as f64 / 1e6),
        _ if seconds < 60 => format!("{:.2} s", nanoseconds as f64 / 1e9),
        _ if seconds < 3_600 => format!("{} m {:02} s", seconds / 60, seconds % 60),
        _ if seconds < 86_400 => format!("{} h {:02} m", seconds / 3_600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3_600 % 24),
    }
}

/// A number as a person writes it: decimal, or `0x…`, with `_` between digits if wanted.
#[must_use]
pub fn number(text: &str) -> Option<u64> {
    let text = text.replace('_', "");
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// As [`number`], or negative in two's complement.
#[must_use]
pub fn signed_number(text: &str) -> Option<u64> {
    match text.strip_prefix('-') {
        Some(magnitude) => number(magnitude).map(u64::wrapping_neg),
        None => number(text),
    }
}

/// Bytes as lower-case hex.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1 KiB"),
            (12_800, "12.5 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (256 << 20, "256 MiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn times() {
        for (nanoseconds, text) in [
            (999, "999 ns"),
            (18_040, "18.0 µs"),
            (1_250_000_000, "1.25 s"),
            (125_000_000_000, "2 m 05 s"),
            (11_520_000_000_000, "3 h 12 m"),
            (187_200_000_000_000, "2 d 4 h"),
        ] {
            assert_eq!(time(nanoseconds), text);
        }
    }

    #[test]
    fn numbers() {
        assert_eq!(number("0xffff_ffff"), Some(0xffff_ffff));
        assert_eq!(number("12"), Some(12));
        assert_eq!(number("0xg"), None);
        assert_eq!(number(""), None);
        assert_eq!(signed_number("-1"), Some(u64::MAX));
    }
}
