//! `share.auto.offset.reset`, and as much of ISO-8601 durations as it needs.

pub(super) const SHARE_OFFSET_RESET_ALLOWED: &str = "The value must be either 'earliest', \
    'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.";

pub(super) fn is_share_offset_reset(text: &str) -> bool {
    match text.strip_prefix("by_duration:") {
        Some(duration) => is_positive_duration(duration),
        None => matches!(text, "earliest" | "latest"),
    }
}

/// `PnDTnHnMn.nS` without signs; a duration that goes backwards is refused by Kafka too.
fn is_positive_duration(text: &str) -> bool {
    let Some(rest) = text.strip_prefix(['P', 'p']) else {
        return false;
    };
    let upper = rest.to_ascii_uppercase();
    let (days, times) = match upper.split_once('T') {
        Some((_, "")) => return false,
        Some((days, times)) => (days, times),
        None => (upper.as_str(), ""),
    };
    (!days.is_empty() || !times.is_empty()) && are_units(days, "D") && are_units(times, "HMS")
}

/// Numbers, each followed by one of `units` in their order; seconds may have a fraction.
fn are_units(text: &str, units: &str) -> bool {
    let mut rest = text;
    for unit in units.chars() {
        let Some((number, after)) = rest.split_once(unit) else {
            continue;
        };
        let is_number = match number.split_once('.') {
            Some((whole, fraction)) => {
                unit == 'S'
                    && is_digits(whole)
                    && fraction.len() <= 9
                    && (fraction.is_empty() || is_digits(fraction))
            }
            None => is_digits(number),
        };
        if !is_number {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::is_share_offset_reset;

    #[test]
    fn resets_are_recognised() {
        for good in [
            "earliest",
            "latest",
            "by_duration:PT1H",
            "by_duration:P3DT4H5M6.7S",
            "by_duration:P1D",
        ] {
            assert!(is_share_offset_reset(good), "{good}");
        }
        for bad in [
            "never",
            "by_duration:",
            "by_duration:-PT1H",
            "by_duration:PT-1H",
            "by_duration:P",
            "by_duration:PT",
            "by_duration:PT1M1H",
            "EARLIEST",
        ] {
            assert!(!is_share_offset_reset(bad), "{bad}");
        }
    }
}
