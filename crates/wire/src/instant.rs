// SPDX-License-Identifier: Apache-2.0
//! Times as text: ISO 8601 (extended and basic) and the HTTP date. Pure arithmetic on milliseconds, without a clock.

use std::fmt::Write as _;

const DAY_S: i64 = 86_400;

struct Civil {
    year: i64,
    month: i64,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

/// `2026-11-23T08:24:58.000Z`
pub(crate) fn extended_ms(epoch_ms: i64, out: &mut String) {
    extended(epoch_ms, out);
    out.pop();
    let _ = write!(out, ".{:03}Z", epoch_ms.rem_euclid(1000));
}

/// `2026-11-23T08:24:58Z`
pub(crate) fn extended(epoch_ms: i64, out: &mut String) {
    let Civil { year, month, day, hour, minute, second } = civil(epoch_ms.div_euclid(1000));
    let _ = write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z");
}

/// `20261123T082458Z`, the form of `X-Amz-Date`.
pub(crate) fn basic(epoch_ms: i64) -> String {
    let Civil { year, month, day, hour, minute, second } = civil(epoch_ms.div_euclid(1000));
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// Reads `20261123T082458Z`.
pub(crate) fn parse_basic(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let civil = Civil {
        year: digits(text.get(0..4)?)?,
        month: digits(text.get(4..6)?)?,
        day: digits(text.get(6..8)?)?,
        hour: digits(text.get(9..11)?)?,
        minute: digits(text.get(11..13)?)?,
        second: digits(text.get(13..15)?)?,
    };
    epoch_s(&civil).map(|seconds| seconds * 1000)
}

/// Reads `2026-11-23T08:24:58[.fraction]Z`, and `2026-11-23T08:24:58[.fraction]+01:00`.
pub(crate) fn parse_extended(text: &str) -> Option<i64> {
    let shape = text.get(0..19)?;
    if !shape.bytes().enumerate().all(|(i, byte)| match i {
        4 | 7 => byte == b'-',
        10 => byte == b'T' || byte == b't' || byte == b' ',
        13 | 16 => byte == b':',
        _ => byte.is_ascii_digit(),
    }) {
        return None;
    }
    let civil = Civil {
        year: digits(shape.get(0..4)?)?,
        month: digits(shape.get(5..7)?)?,
        day: digits(shape.get(8..10)?)?,
        hour: digits(shape.get(11..13)?)?,
        minute: digits(shape.get(14..16)?)?,
        second: digits(shape.get(17..19)?)?,
    };
    let (fraction_ms, zone) = fraction_ms(text.get(19..)?)?;
    Some(epoch_s(&civil)? * 1000 + fraction_ms - zone_ms(zone)?)
}

/// Reads `Mon, 23 Nov 2026 08:24:58 GMT`, the form of the `Date` header.
pub(crate) fn parse_http_date(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let day = digits(words.next()?)?;
    let name = words.next()?;
    let month = MONTHS.iter().position(|month| *month == name)?;
    let year = digits(words.next()?)?;
    let mut clock = words.next()?.split(':').map(digits);
    let civil = Civil {
        year,
        month: i64::try_from(month).ok()? + 1,
        day,
        hour: clock.next()??,
        minute: clock.next()??,
        second: clock.next()??,
    };
    if words.next() != Some("GMT") || words.next().is_some() || clock.next().is_some() {
        return None;
    }
    epoch_s(&civil).map(|seconds| seconds * 1000)
}

fn fraction_ms(text: &str) -> Option<(i64, &str)> {
    let Some(after) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = after.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(after.len());
    let (fraction, zone) = after.split_at(end);
    let ms = fraction.bytes().chain(*b"000").take(3).fold(0, |ms, byte| ms * 10 + i64::from(byte - b'0'));
    if fraction.is_empty() { None } else { Some((ms, zone)) }
}

fn zone_ms(zone: &str) -> Option<i64> {
    let sign = match zone.as_bytes().first()? {
        b'Z' | b'z' if zone.len() == 1 => return Some(0),
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = zone.get(1..)?.split_once(':')?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    if hours > 23 || minutes > 59 { None } else { Some(sign * (hours * 60 + minutes) * 60_000) }
}

fn digits(text: &str) -> Option<i64> {
    if text.is_empty() || text.len() > 4 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Seconds since the epoch; `None` when there is no such day or time of day.
fn epoch_s(civil: &Civil) -> Option<i64> {
    let leap = civil.year % 4 == 0 && (civil.year % 100 != 0 || civil.year % 400 == 0);
    let days_in_month = match civil.month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let real = (1..=days_in_month).contains(&civil.day) && civil.hour < 24 && civil.minute < 60 && civil.second < 60;
    if !real {
        return None;
    }
    // Years begin in March here, so that the leap day is the last of its year (Hinnant, "days_from_civil").
    let year = if civil.month <= 2 { civil.year - 1 } else { civil.year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((civil.month + 9) % 12) + 2) / 5 + civil.day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(days * DAY_S + civil.hour * 3600 + civil.minute * 60 + civil.second)
}

fn civil(epoch_s: i64) -> Civil {
    let days = epoch_s.div_euclid(DAY_S) + 719_468;
    let second_of_day = epoch_s.rem_euclid(DAY_S);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    Civil {
        year: year_of_era + era * 400 + i64::from(month <= 2),
        month,
        day: day_of_year - (153 * shifted + 2) / 5 + 1,
        hour: second_of_day / 3600,
        minute: second_of_day % 3600 / 60,
        second: second_of_day % 60,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_moments() {
        let mut text = String::new();
        extended_ms(1_795_422_298_007, &mut text);
        assert_eq!(text, "2026-11-23T08:24:58.007Z");
        assert_eq!(basic(951_782_400_000), "20000229T000000Z");
        assert_eq!(parse_http_date("Mon, 23 Nov 2026 08:24:58 GMT"), Some(1_795_422_298_000));
        assert_eq!(parse_extended("2026-11-23T09:24:58.5+01:00"), Some(1_795_422_298_500));
        assert_eq!(parse_basic("20230229T000000Z"), None);
    }

    proptest! {
        #[test]
        fn reading_undoes_writing(ms in 0i64..253_402_300_800_000) {
            let mut text = String::new();
            extended_ms(ms, &mut text);
            prop_assert_eq!(parse_extended(&text), Some(ms));
            prop_assert_eq!(parse_basic(&basic(ms)), Some(ms - ms % 1000));
        }

        #[test]
        fn readers_never_panic(text in "\\PC{0,40}") {
            let _ = (parse_extended(&text), parse_basic(&text), parse_http_date(&text));
        }
    }
}
