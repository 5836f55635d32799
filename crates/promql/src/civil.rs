//! Calendar arithmetic in UTC: what the time functions and a few messages need.
//!
//! Holds the conversion between seconds since the epoch and a date of the proleptic Gregorian
//! calendar. It knows no time zone and reads no clock. Invariant: exact for every `i64` number of
//! seconds, and never overflows.

/// Seconds of a day.
const DAY: i64 = 86_400;

/// A moment, split into its calendar parts (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    /// Year; may be negative.
    pub(crate) year: i64,
    /// Month, 1 to 12.
    pub(crate) month: u32,
    /// Day of the month, 1 to 31.
    pub(crate) day: u32,
    /// Day of the year, 1 to 366.
    pub(crate) day_of_year: u32,
    /// Day of the week, Sunday is 0.
    pub(crate) weekday: u32,
    /// Hour, 0 to 23.
    pub(crate) hour: u32,
    /// Minute, 0 to 59.
    pub(crate) minute: u32,
    /// Second, 0 to 59.
    pub(crate) second: u32,
}

impl Civil {
    /// The calendar parts of so many seconds since 1970-01-01T00:00:00Z.
    pub(crate) fn from_unix(seconds: i64) -> Self {
        let (days, rest) = (seconds.div_euclid(DAY), seconds.rem_euclid(DAY) as u32);
        // Years that begin in March put the leap day last; 400 of them have 146 097 days.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_march_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * of_march_year + 2) / 153;
        let day = (of_march_year - (153 * march_month + 2) / 5 + 1) as u32;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 } as u32;
        let year = era * 400 + year_of_era + i64::from(month <= 2);
        let before: u32 = (1..month).map(|m| days_in_month(year, m)).sum();
        Civil {
            year,
            month,
            day,
            day_of_year: before + day,
            weekday: (days + 4).rem_euclid(7) as u32,
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }

    /// As RFC 3339 writes it: `2006-01-02T15:04:05Z`.
    pub(crate) fn rfc3339(&self) -> String {
        let Civil { year, month, day, hour, minute, second, .. } = *self;
        let sign = if year < 0 { "-" } else { "" };
        let year = year.unsigned_abs();
        format!("{sign}{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Number of days of a month (1 to 12).
pub(crate) fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_split_as_the_calendar_says() {
        let text = |s| Civil::from_unix(s).rfc3339();
        assert_eq!(text(0), "1970-01-01T00:00:00Z");
        assert_eq!(text(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(text(1_709_210_096), "2024-02-29T12:34:56Z");
        assert_eq!(text(-1), "1969-12-31T23:59:59Z");
        assert_eq!(text(-62_167_219_201), "-0001-12-31T23:59:59Z");
        let day = |s| (Civil::from_unix(s).weekday, Civil::from_unix(s).day_of_year);
        assert_eq!(day(0), (4, 1));
        assert_eq!(day(1_735_603_200), (2, 366));
        Civil::from_unix(i64::MIN);
        Civil::from_unix(i64::MAX);
    }

    #[test]
    fn days_follow_each_other_over_centuries() {
        let mut last = Civil::from_unix(-80_000 * DAY);
        for d in -79_999..80_000 {
            let c = Civil::from_unix(d * DAY);
            let month_ends = last.day == days_in_month(last.year, last.month);
            assert_eq!(c.day, if month_ends { 1 } else { last.day + 1 });
            assert_eq!(c.weekday, (last.weekday + 1) % 7);
            let year_ends = last.month == 12 && month_ends;
            assert_eq!(c.day_of_year, if year_ends { 1 } else { last.day_of_year + 1 });
            last = c;
        }
    }
}
