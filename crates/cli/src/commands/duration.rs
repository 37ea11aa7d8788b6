//! ISO 8601 durations (`P1DT2H3M4.5S`), as Kafka's tools take them, and the moment they count from.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

const DAY: f64 = 86_400.0;

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.unwrap_or_default().as_millis()).unwrap_or(i64::MAX)
}

/// `None` if the text is no duration. Years and months are none to Kafka either: they have no
/// fixed length.
pub(crate) fn parse(text: &str) -> Option<Duration> {
    let rest = text.strip_prefix(['P', 'p'])?;
    let (days, time) = match rest.split_once(['T', 't']) {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    if days.is_empty() && time.is_empty() {
        return None;
    }
    let seconds = sum(days, &[('D', DAY)])? + sum(time, &[('H', 3600.0), ('M', 60.0), ('S', 1.0)])?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Each unit at most once, and in this order.
fn sum(mut text: &str, units: &[(char, f64)]) -> Option<f64> {
    let mut total = 0.0;
    let mut units = units.iter();
    while !text.is_empty() {
        let end = text.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, rest) = text.split_at(end);
        let unit = rest.chars().next()?.to_ascii_uppercase();
        let &(_, seconds) = units.by_ref().find(|(name, _)| *name == unit)?;
        let is_plain = number.chars().all(|c| c.is_ascii_digit() || c == '.');
        let number: f64 = number.parse().ok().filter(|_| is_plain)?;
        total += number * seconds;
        text = rest.get(1..)?;
    }
    Some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, seconds) in [
            ("PT0S", Some(0.0)),
            ("PT1H30M", Some(5400.0)),
            ("P2DT0.5S", Some(172_800.5)),
            ("P7D", Some(604_800.0)),
            ("P", None),
            ("PT", None),
            ("1H", None),
            ("PT1M1H", None),
            ("PT-1S", None),
            ("P1Y", None),
            ("PT1", None),
        ] {
            assert_eq!(parse(text).map(|d| d.as_secs_f64()), seconds, "{text}");
        }
    }
}
