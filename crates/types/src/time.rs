// SPDX-License-Identifier: Apache-2.0
//! Time as AWS writes it.

use crate::TimestampMs;

impl TimestampMs {
    /// `2026-01-02T03:04:05.678Z`.
    pub fn rfc3339(self) -> String {
        let (seconds, millis) = (self.0.div_euclid(1000), self.0.rem_euclid(1000));
        let (year, month, day) = civil(seconds.div_euclid(86_400));
        let clock = seconds.rem_euclid(86_400);
        let (hour, minute, second) = (clock / 3600, clock / 60 % 60, clock % 60);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

/// Year, month and day of a day since the epoch (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_written_as_aws_does() {
        assert_eq!(TimestampMs(0).rfc3339(), "1970-01-01T00:00:00.000Z");
        assert_eq!(TimestampMs(951_782_400_000).rfc3339(), "2000-02-29T00:00:00.000Z");
        assert_eq!(TimestampMs(1_795_422_245_678).rfc3339(), "2026-11-23T08:24:05.678Z");
    }
}
