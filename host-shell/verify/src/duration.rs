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

/// A time in Unix seconds as `2026-11-20T23:30:00Z`.
///
/// The calendar is Howard Hinnant's `civil_from_days`: years begin in March, so that the leap day is the last.
#[must_use]
pub fn utc(unix_s: u64) -> String {
    const DAY_S: u64 = 86_400;
    /// Days from 0000-03-01 to 1970-01-01.
    const EPOCH_DAYS: u64 = 719_468;
    /// Days of 400 years.
    const ERA_DAYS: u64 = 146_097;
    let (days, seconds) = (unix_s / DAY_S + EPOCH_DAYS, unix_s % DAY_S);
    let (era, day) = (days / ERA_DAYS, days % ERA_DAYS);
    let year = (day - day / 1_460 + day / 36_524 - day / (ERA_DAYS - 1)) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_800_000_000, "2027-01-15T08:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }

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
