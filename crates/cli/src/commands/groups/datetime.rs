//! Moments as Kafka's tools take them: `YYYY-MM-DDThh:mm:ss.sss`, with `Z`, `+hh`, `+hhmm` or
//! `+hh:mm` behind, and UTC without.

const MS_PER_DAY: i64 = 86_400_000;

/// Milliseconds since 1970, or `None` if it is no such moment.
pub(super) fn parse(text: &str) -> Option<i64> {
    let (date, time) = text.split_once('T')?;
    let (time, zone) = match time.find(['Z', '+', '-']) {
        Some(place) => time.split_at(place),
        None => (time, "Z"),
    };
    let mut parts = date.splitn(3, '-');
    let year: i64 = digits(parts.next()?, 4)?;
    let (month, day) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    if !(1..=12).contains(&month) || !(1..=days_in(year, month)).contains(&day) {
        return None;
    }
    Some(days_since_1970(year, month, day) * MS_PER_DAY + time_of_day(time)? - zone_offset(zone)?)
}

fn time_of_day(text: &str) -> Option<i64> {
    let mut parts = text.splitn(3, ':');
    let (hours, minutes) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let seconds = parts.next()?;
    let (seconds, millis) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let (seconds, n) = (digits(seconds, 2)?, millis.len());
    let millis = digits(millis, n).filter(|_| (1..=3).contains(&n))? * [100, 10, 1][n - 1];
    if hours > 23 || minutes > 59 || seconds > 59 {
        return None;
    }
    Some(((hours * 60 + minutes) * 60 + seconds) * 1000 + millis)
}

fn zone_offset(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let bare = text.get(1..)?.replacen(':', "", 1);
    let (hours, minutes) = match bare.len() {
        2 => (digits(&bare, 2)?, 0),
        4 => (digits(bare.get(..2)?, 2)?, digits(bare.get(2..)?, 2)?),
        _ => return None,
    };
    Some(sign * (hours * 60 + minutes) * 60_000)
}

fn digits(text: &str, n: usize) -> Option<i64> {
    let is_number = text.len() == n && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Whole years, then whole months, then days.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let before = |year: i64| year * 365 + year / 4 - year / 100 + year / 400;
    let years = before(year - 1) - before(1969);
    let months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    years + months + day - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        for (text, ms) in [
            ("1970-01-01T00:00:00.000", Some(0)),
            ("2020-01-01T00:00:00.000", Some(1_577_836_800_000)),
            ("2024-02-29T12:34:56.789Z", Some(1_709_210_096_789)),
            ("2024-02-29T12:34:56.789+02:00", Some(1_709_202_896_789)),
            ("2024-02-29T12:34:56.789-0130", Some(1_709_215_496_789)),
            ("2024-02-29T12:34:56", Some(1_709_210_096_000)),
            ("1969-12-31T23:59:59.9+00", Some(-100)),
            ("2023-02-29T00:00:00.000", None),
            ("2024-13-01T00:00:00.000", None),
            ("2024-01-01", None),
            ("2024-01-01T24:00:00.000", None),
            ("2024-1-01T00:00:00.000", None),
            ("2024-01-01T00:00", None),
        ] {
            assert_eq!(parse(text), ms, "{text}");
        }
    }
}
