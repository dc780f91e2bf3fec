//! Dates and timestamps in text: the profile of ISO 8601 that machines write.
//!
//! Nothing is guessed and nothing is rounded: a text has one meaning, or none.

use super::fault::Code;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Days since 1970-01-01 of `YYYY-MM-DD`, years 0001 to 9999.
pub(super) fn date(text: &[u8]) -> Option<i32> {
    let mut text = Text(text);
    let days = text.date()?;
    text.is_empty().then_some(days)
}

/// Microseconds since 1970-01-01T00:00:00Z of `YYYY-MM-DD`, `T` or a space, `HH:MM[:SS[.fraction]]` and a zone:
/// `Z`, `+HH:MM`, `+HHMM` or `+HH`. Without a zone it is UTC.
pub(super) fn timestamp(text: &[u8]) -> Result<i64, Code> {
    let mut text = Text(text);
    let local = text.wall_clock()?;
    let offset = if text.is_empty() { 0 } else { text.zone().ok_or(Code::InvalidTimestamp)? };
    if text.is_empty() { Ok(local - offset * MICROS_PER_SECOND) } else { Err(Code::InvalidTimestamp) }
}

/// The same without a zone: the time that a clock on the wall shows, as if it hung in Greenwich.
pub(super) fn timestamp_ntz(text: &[u8]) -> Result<i64, Code> {
    let mut text = Text(text);
    let local = text.wall_clock()?;
    if text.is_empty() { Ok(local) } else { Err(Code::InvalidTimestamp) }
}

/// What is left to read.
struct Text<'a>(&'a [u8]);

impl Text<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte, if it is one of these.
    fn take(&mut self, wanted: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        wanted.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    fn digit(&mut self) -> Option<i64> {
        self.take(b"0123456789").map(|digit| i64::from(digit - b'0'))
    }

    /// A number of two digits, within limits.
    fn pair(&mut self, limits: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let number = self.digit()? * 10 + self.digit()?;
        limits.contains(&number).then_some(number)
    }

    fn date(&mut self) -> Option<i32> {
        let year = self.pair(0..=99)? * 100 + self.pair(0..=99)?;
        self.take(b"-")?;
        let month = self.pair(1..=12)?;
        self.take(b"-")?;
        let day = self.pair(1..=days_of(year, month))?;
        (year > 0).then(|| days_since_epoch(year, month, day) as i32)
    }

    fn wall_clock(&mut self) -> Result<i64, Code> {
        let minutes = self.minutes().ok_or(Code::InvalidTimestamp)?;
        // Java leaves the seconds out when they are zero. A fraction is one of seconds.
        let (mut seconds, mut fraction) = (0, 0);
        if self.take(b":").is_some() {
            seconds = self.pair(0..=59).ok_or(Code::InvalidTimestamp)?;
            fraction = if self.take(b".").is_some() { self.fraction()? } else { 0 };
        }
        Ok((minutes * 60 + seconds) * MICROS_PER_SECOND + fraction)
    }

    /// Minutes since the epoch, from the date to the minute.
    fn minutes(&mut self) -> Option<i64> {
        let days = self.date()?;
        self.take(b"Tt ")?;
        let hour = self.pair(0..=23)?;
        self.take(b":")?;
        let minute = self.pair(0..=59)?;
        Some((i64::from(days) * 24 + hour) * 60 + minute)
    }

    /// One to nine digits, in microseconds; those after the sixth must be zero.
    fn fraction(&mut self) -> Result<i64, Code> {
        let mut micros = 0;
        let mut too_fine = false;
        let mut digits = 0;
        while let Some(digit) = self.digit() {
            digits += 1;
            match digits {
                1..=6 => micros = micros * 10 + digit,
                7..=9 => too_fine |= digit != 0,
                _ => return Err(Code::InvalidTimestamp),
            }
        }
        match digits {
            0 => Err(Code::InvalidTimestamp),
            _ if too_fine => Err(Code::TimestampPrecision),
            _ => Ok(micros * 10i64.pow(6u32.saturating_sub(digits))),
        }
    }

    /// Seconds east of Greenwich.
    fn zone(&mut self) -> Option<i64> {
        if self.take(b"Zz").is_some() {
            return Some(0);
        }
        let sign = if self.take(b"+-")? == b'-' { -1 } else { 1 };
        let hours = self.pair(0..=23)?;
        let colon = self.take(b":").is_some();
        let minutes = if colon || !self.is_empty() { self.pair(0..=59)? } else { 0 };
        Some(sign * (hours * 3600 + minutes * 60))
    }
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// In the proleptic Gregorian calendar. Years begin in March, so that the leap day is a year's last day.
fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let months_since_march = (month + 9) % 12;
    // From March on, five months always have 153 days.
    let day_of_year = (153 * months_since_march + 2) / 5 + day - 1;
    let days_from_march_of_year_0 = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 1970-01-01 is 719,468 days after 0000-03-01.
    days_from_march_of_year_0 + day_of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_ten_thousand_years_is_the_one_that_jiff_says() {
        let epoch = jiff::civil::date(1970, 1, 1);
        let mut day = jiff::civil::date(1, 1, 1);
        let mut expected = epoch.until(day).expect("in range").get_days();
        loop {
            assert_eq!(date(day.to_string().as_bytes()), Some(expected), "{day}");
            let Ok(next) = day.tomorrow() else { break };
            (day, expected) = (next, expected + 1);
        }
        assert_eq!(day.to_string(), "9999-12-31");
    }

    #[test]
    fn a_date_is_four_two_and_two_digits_of_a_day_that_exists() {
        for text in [
            "",
            "2026-1-01",
            "2026-01-1",
            "26-01-01",
            "2026/01/01",
            "20260101",
            "2026-13-01",
            "2026-00-10",
            "2026-02-29",
            "2100-02-29",
            "0000-01-01",
            "+2026-01-01",
            "2026-01-01 ",
            " 2026-01-01",
            "2026-01-01T00:00:00Z",
            "12026-01-01",
        ] {
            assert_eq!(date(text.as_bytes()), None, "{text}");
        }
        assert_eq!(date(b"2024-02-29"), Some(19_782));
    }

    #[test]
    fn the_usual_spellings_of_an_instant_are_understood() {
        let second = 1_767_323_045_000_000;
        for (text, micros) in [
            ("2026-01-02T03:04:05Z", second),
            ("2026-01-02 03:04:05", second),
            ("2026-01-02t03:04:05z", second),
            ("2026-01-02T03:04:05+00:00", second),
            ("2026-01-02T04:04:05+01:00", second),
            ("2026-01-01T22:34:05-0430", second),
            ("2026-01-02T05:04:05+02", second),
            ("2026-01-02T03:04:05.1Z", second + 100_000),
            ("2026-01-02T03:04:05.123456Z", second + 123_456),
            ("2026-01-02T03:04:05.123456000", second + 123_456),
            ("2026-01-02T03:04Z", second - 5_000_000),
            ("1969-12-31T23:59:59.999999Z", -1),
        ] {
            assert_eq!(timestamp(text.as_bytes()), Ok(micros), "{text}");
        }
        let first: jiff::Timestamp = "0001-01-01T00:00:00Z".parse().expect("jiff reads it");
        assert_eq!(timestamp(b"0001-01-01T00:00:00Z"), Ok(first.as_microsecond()));
    }

    #[test]
    fn a_timestamp_is_never_guessed_or_rounded() {
        for text in [
            "",
            "2026-01-02",
            "2026-01-02T",
            "2026-01-02T3:04:05Z",
            "2026-01-02T03:04:60Z",
            "2026-01-02T24:00:00Z",
            "2026-01-02T03:60:00Z",
            "2026-01-02T03:04:05.Z",
            "2026-01-02T03:04:05,5Z",
            "2026-01-02T03:04:05.1234567890Z",
            "2026-01-02T03:04:05+24:00",
            "2026-01-02T03:04:05+1",
            "2026-01-02T03:04:05+01:",
            "2026-01-02T03:04:05 UTC",
            "2026-01-02T03:04:05Z ",
            "2026-01-02T03:04:05ZZ",
            "2026-02-30T03:04:05Z",
            "2026-01-02T03:04:05Z[Europe/Berlin]",
            "1767323045000",
            "2026-01-02T03:04.5Z",
        ] {
            assert_eq!(timestamp(text.as_bytes()), Err(Code::InvalidTimestamp), "{text}");
        }
        assert_eq!(timestamp(b"2026-01-02T03:04:05.123456789Z"), Err(Code::TimestampPrecision));
    }

    #[test]
    fn a_wall_clock_has_no_zone() {
        assert_eq!(timestamp_ntz(b"1970-01-01 00:00:01.5"), Ok(1_500_000));
        assert_eq!(timestamp_ntz(b"1970-01-01T00:00:01Z"), Err(Code::InvalidTimestamp));
        assert_eq!(timestamp_ntz(b"1970-01-01T00:00:01+00:00"), Err(Code::InvalidTimestamp));
    }
}
