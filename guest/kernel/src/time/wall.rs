//! The time of day, from the real-time clock of the PC (MC146818 data sheet; QEMU keeps it in UTC).

use x86_64::instructions::port::Port;

use crate::sync::InterruptsOff;

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;

const SECONDS: u8 = 0x00;
const MINUTES: u8 = 0x02;
const HOURS: u8 = 0x04;
const DAY: u8 = 0x07;
const MONTH: u8 = 0x08;
const YEAR: u8 = 0x09;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
const CENTURY: u8 = 0x32;

/// In status A: the clock is about to change.
const UPDATE_IN_PROGRESS: u8 = 1 << 7;
/// In status B: hours count to 24, numbers are binary.
const HOURS_24: u8 = 1 << 1;
const BINARY: u8 = 1 << 2;
/// In the hours of a clock that counts to 12.
const AFTERNOON: u8 = 1 << 7;

/// Readings until two agree. An update takes 2 ms of each second, and a reading far less.
const READINGS_MAX: u32 = 10_000;

/// Seconds since 1970; `None` if there is no clock, or what it says is no time.
#[must_use]
pub fn unix_seconds() -> Option<u64> {
    let mut last = None;
    for _ in 0..READINGS_MAX {
        let reading = (read(STATUS_A) & UPDATE_IN_PROGRESS == 0).then(Reading::take);
        if reading.is_some() && reading == last {
            return reading?.unix_seconds();
        }
        last = reading;
    }
    None
}

/// Registers as they were read.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Reading {
    seconds: u8,
    minutes: u8,
    hours: u8,
    day: u8,
    month: u8,
    year: u8,
    century: u8,
    status: u8,
}

impl Reading {
    fn take() -> Self {
        Self {
            seconds: read(SECONDS),
            minutes: read(MINUTES),
            hours: read(HOURS),
            day: read(DAY),
            month: read(MONTH),
            year: read(YEAR),
            century: read(CENTURY),
            status: read(STATUS_B),
        }
    }

    fn unix_seconds(self) -> Option<u64> {
        let number = |value: u8| {
            u64::from(if self.status & BINARY != 0 { value } else { (value >> 4) * 10 + (value & 0x0f) })
        };
        let mut hours = number(self.hours & !AFTERNOON);
        if self.status & HOURS_24 == 0 {
            hours = hours % 12 + if self.hours & AFTERNOON != 0 { 12 } else { 0 };
        }
        let (minutes, seconds) = (number(self.minutes), number(self.seconds));
        let (day, month) = (number(self.day), number(self.month));
        let year = number(self.century) * 100 + number(self.year);
        let valid = (1970..2200).contains(&year)
            && (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hours < 24
            && minutes < 60
            && seconds < 60;
        valid.then(|| days(year, month, day) * 86_400 + hours * 3_600 + minutes * 60 + seconds)
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Years begin in March, so that a leap day ends one.
fn days(year: u64, month: u64, day: u64) -> u64 {
    /// Days from 0000-03-01 to 1970-01-01.
    const EPOCH: u64 = 719_468;
    let year = if month <= 2 { year - 1 } else { year };
    let since_march = (month + 9) % 12;
    let day_of_year = (153 * since_march + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + day_of_year - EPOCH
}

fn read(register: u8) -> u8 {
    let _off = InterruptsOff::new();
    // SAFETY: the two ports of the clock; reading a register changes nothing but which one is read next, and
    // nobody else uses them. Without a clock the bus gives 0xff, which is no time.
    unsafe {
        Port::<u8>::new(INDEX).write(register);
        Port::<u8>::new(DATA).read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_seconds() {
        for (date, days_since) in
            [((1970, 1, 1), 0), ((2000, 2, 29), 11_016), ((2000, 3, 1), 11_017), ((2100, 3, 1), 47_541)]
        {
            assert_eq!(days(date.0, date.1, date.2), days_since, "{date:?}");
        }
    }

    #[test]
    fn registers_come_in_two_notations() {
        let reading = Reading {
            seconds: 0x59,
            minutes: 0x30,
            hours: 0x81,
            day: 0x09,
            month: 0x09,
            year: 0x01,
            century: 0x20,
            status: 0,
        };
        // `date -u -d '2001-09-09 13:30:59' +%s`
        assert_eq!(reading.unix_seconds(), Some(1_000_042_259));
        let binary = Reading {
            seconds: 59,
            minutes: 30,
            hours: 13,
            day: 9,
            month: 9,
            year: 1,
            century: 20,
            status: BINARY | HOURS_24,
        };
        assert_eq!(binary.unix_seconds(), Some(1_000_042_259));
        let nothing = Reading {
            seconds: 0xff,
            minutes: 0xff,
            hours: 0xff,
            day: 0xff,
            month: 0xff,
            year: 0xff,
            century: 0xff,
            status: 0xff,
        };
        assert_eq!(nothing.unix_seconds(), None);
    }
}
