// SPDX-License-Identifier: Apache-2.0
//! Points in time as expressions write them: `2018-06-18T22:28:28+00:00`, with `Z`, without an offset, or a date alone.

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Milliseconds since the Unix epoch.
pub(super) fn milliseconds(text: &str) -> Option<i64> {
    let (date, clock) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00"));
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || !(1970..=9999).contains(&year) {
        return None;
    }
    let (clock, offset_ms) = match clock.find(['Z', '+', '-']) {
        Some(at) => (&clock[..at], offset(&clock[at..])?),
        None => (clock, 0),
    };
    Some(days(year, month, day) * DAY_MS + of_day(clock)? - offset_ms)
}

/// `Z`, `+00:00`, `-0800`.
fn offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let digits: String = text.chars().skip(1).filter(|c| *c != ':').collect();
    let number: i64 = digits.parse().ok().filter(|_| digits.len() == 4)?;
    Some(sign * (number / 100 * 60 + number % 100) * 60_000)
}

/// `22:28`, `22:28:28`, `22:28:28.123`.
fn of_day(text: &str) -> Option<i64> {
    let mut parts = text.split(':');
    let hours: i64 = parts.next()?.parse().ok().filter(|hours| (0..24).contains(hours))?;
    let minutes: i64 = parts.next()?.parse().ok().filter(|minutes| (0..60).contains(minutes))?;
    let seconds: f64 = parts.next().map_or(Some(0.0), |text| text.parse().ok())?;
    let is_over = parts.next().is_some() || !(0.0..61.0).contains(&seconds);
    // Not before the check: the sum of a number out of range would overflow.
    (!is_over).then(|| (hours * 60 + minutes) * 60_000 + (seconds * 1000.0) as i64)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last one.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn times_are_read_in_all_forms() {
        for (text, expected) in [
            ("1970-01-01", Some(0)),
            ("2018-06-18T22:28:28+00:00", Some(1_529_360_908_000)),
            ("2018-06-18T22:28:28Z", Some(1_529_360_908_000)),
            ("2018-06-18T22:28:28", Some(1_529_360_908_000)),
            ("2018-06-18T22:28:28.5Z", Some(1_529_360_908_500)),
            ("2018-06-19T00:28:28+02:00", Some(1_529_360_908_000)),
            ("2018-06-18T14:28:28-0800", Some(1_529_360_908_000)),
            ("2018-06-18", Some(1_529_280_000_000)),
            ("2000-02-29", Some(951_782_400_000)),
            ("2018-13-01", None),
            ("2018-06-18T25:00", None),
            ("2018-06-18T22:28:1e999", None),
            ("yesterday", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text}");
        }
    }
}
