//! Durations as people write them: `30d`, `12h`, `50us`.

use std::time::Duration;

/// Why a text is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no duration: write a number and ns, us, ms, s, m, h, d or w, as in 30d")]
pub struct BadDuration(String);

/// Units by name, in nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];

/// Reads a number and its unit. At most some 584 years.
///
/// # Errors
///
/// [`BadDuration`] with the text.
pub fn parse(text: &str) -> Result<Duration, BadDuration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let nanoseconds = || {
        let (_, scale) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        number.parse::<u64>().ok()?.checked_mul(scale)
    };
    nanoseconds().map(Duration::from_nanos).ok_or_else(|| BadDuration(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(parse("50us"), Ok(Duration::from_micros(50)));
        assert_eq!(parse("0s"), Ok(Duration::ZERO));
        for text in ["", "30", "d", "-1d", "1.5h", "1 d", "1y", "99999999999w", "18446744073709551616ns"] {
            assert_eq!(parse(text), Err(BadDuration(text.to_owned())));
        }
    }
}
