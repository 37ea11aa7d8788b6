//! Text to value and back, by the rules of Kafka's ConfigDef.

use std::collections::HashSet;
use std::fmt;

use super::definition::{Check, Definition, Kind};
use super::{duration, listeners};

/// A value that its setting cannot take. Displays as Kafka words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadValue {
    pub name: String,
    pub value: Option<String>,
    /// What would have been allowed, or what is wrong.
    pub allowed: String,
    /// `allowed` is all there is to say: Kafka has words of its own for this one.
    is_sentence: bool,
}

impl BadValue {
    pub fn new(name: &str, value: Option<&str>, allowed: impl Into<String>) -> Self {
        Self {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            allowed: allowed.into(),
            is_sentence: false,
        }
    }

    /// One that Kafka words otherwise than the others.
    pub(super) fn sentence(name: &str, value: Option<&str>, words: impl Into<String>) -> Self {
        Self {
            is_sentence: true,
            ..Self::new(name, value, words)
        }
    }
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_sentence {
            return f.write_str(&self.allowed);
        }
        let value = self.value.as_deref().unwrap_or("null");
        write!(
            f,
            "Invalid value {value} for configuration {}: {}",
            self.name, self.allowed
        )
    }
}

impl std::error::Error for BadValue {}

/// A value of its kind, before checks.
enum Parsed {
    Boolean(bool),
    Whole(i64),
    Decimal(f64),
    Text(String),
    List(Vec<String>),
}

impl Definition {
    /// Checks `text` against type and allowed values and returns it as Kafka would print it.
    pub fn canonical(&self, text: &str) -> Result<String, BadValue> {
        let parsed = self.parse(text)?;
        self.check_parsed(&parsed)?;
        Ok(match parsed {
            Parsed::Boolean(value) => value.to_string(),
            Parsed::Whole(value) => value.to_string(),
            Parsed::Decimal(value) => java_double(value),
            Parsed::Text(value) => value,
            Parsed::List(items) => items.join(","),
        })
    }

    /// The default as Kafka would print it; `None` where it is null or must be set.
    pub fn canonical_default(&self) -> Option<String> {
        self.default()
            .map(|text| self.canonical(text).unwrap_or_else(|_| text.to_owned()))
    }

    fn parse(&self, text: &str) -> Result<Parsed, BadValue> {
        let trimmed = text.trim();
        let not_a_number = || self.bad(text, format!("Not a number of type {}", self.kind.shout()));
        Ok(match self.kind {
            Kind::Boolean => match trimmed {
                _ if trimmed.eq_ignore_ascii_case("true") => Parsed::Boolean(true),
                _ if trimmed.eq_ignore_ascii_case("false") => Parsed::Boolean(false),
                _ => return Err(self.bad(text, "Expected value to be either true or false")),
            },
            Kind::Int => Parsed::Whole(trimmed.parse::<i32>().map_err(|_| not_a_number())?.into()),
            Kind::Short => {
                Parsed::Whole(trimmed.parse::<i16>().map_err(|_| not_a_number())?.into())
            }
            Kind::Long => Parsed::Whole(trimmed.parse().map_err(|_| not_a_number())?),
            Kind::Double => Parsed::Decimal(decimal(trimmed).ok_or_else(not_a_number)?),
            Kind::String | Kind::Class | Kind::Password => Parsed::Text(trimmed.to_owned()),
            Kind::List => Parsed::List(self.without_repeats(split_list(trimmed))),
        })
    }

    /// Kafka drops repeats of lists that have rules, with a warning.
    fn without_repeats(&self, items: Vec<String>) -> Vec<String> {
        if !matches!(self.check, Check::Items { .. }) {
            return items;
        }
        let mut seen = HashSet::new();
        let is_first = |item: &String| seen.insert(item.clone());
        items.into_iter().filter(is_first).collect()
    }

    fn check_parsed(&self, parsed: &Parsed) -> Result<(), BadValue> {
        match parsed {
            Parsed::Boolean(_) => Ok(()),
            Parsed::Whole(value) => self.check_whole(*value),
            Parsed::Decimal(value) => self.check_decimal(*value),
            Parsed::Text(value) => self.check_text(value),
            Parsed::List(items) => self.check_list(items),
        }
    }

    fn check_whole(&self, value: i64) -> Result<(), BadValue> {
        let (least, most) = match self.check {
            Check::AtLeast(least) => (least, i64::MAX),
            Check::Between(least, most) => (least, most),
            Check::GzipLevel if value == -1 || (1..=9).contains(&value) => return Ok(()),
            Check::GzipLevel => {
                let allowed = "Value must be between 1 and 9 or equal to -1";
                return Err(self.bad(&value.to_string(), allowed));
            }
            _ => return Ok(()),
        };
        if value < least {
            return Err(self.bad(
                &value.to_string(),
                format!("Value must be at least {least}"),
            ));
        }
        if value > most {
            return Err(self.bad(
                &value.to_string(),
                format!("Value must be no more than {most}"),
            ));
        }
        Ok(())
    }

    fn check_decimal(&self, value: f64) -> Result<(), BadValue> {
        let Check::BetweenDecimals(least, most) = self.check else {
            return Ok(());
        };
        if value < least {
            return Err(self.bad(
                &java_double(value),
                format!("Value must be at least {least}"),
            ));
        }
        if value > most {
            return Err(self.bad(
                &java_double(value),
                format!("Value must be no more than {most}"),
            ));
        }
        Ok(())
    }

    fn check_text(&self, value: &str) -> Result<(), BadValue> {
        match self.check {
            Check::OneOf(allowed) if !allowed.contains(&value) => {
                let allowed = format!("String must be one of: {}", allowed.join(", "));
                Err(self.bad(value, allowed))
            }
            Check::OneOfAnyCase(allowed)
                if !allowed.iter().any(|one| one.eq_ignore_ascii_case(value)) =>
            {
                let allowed = format!(
                    "String must be one of (case insensitive): {}",
                    allowed.join(", ")
                );
                Err(self.bad(value, allowed))
            }
            Check::NotEmpty if value.is_empty() => Err(self.bad(value, "String must be non-empty")),
            Check::ShareOffsetReset if !duration::is_share_offset_reset(value) => {
                let allowed = format!(
                    "Invalid value `{value}` for configuration {}. {}",
                    self.name,
                    duration::SHARE_OFFSET_RESET_ALLOWED
                );
                Err(self.bad(value, allowed))
            }
            _ => Ok(()),
        }
    }

    fn check_list(&self, items: &[String]) -> Result<(), BadValue> {
        match self.check {
            Check::Items { of, may_be_empty } => self.check_items(items, of, may_be_empty),
            Check::ThrottledReplicas if !are_throttled_replicas(items) => {
                let value = format!("[{}]", items.join(", "));
                let allowed = format!(
                    "{} must be the literal '*' or a list of replicas in the following format: \
                     [partitionId]:[brokerId],[partitionId]:[brokerId],...",
                    self.name
                );
                Err(self.bad(&value, allowed))
            }
            Check::QuorumVoters => items
                .iter()
                .try_for_each(|item| listeners::parse_voter(item).map(drop)),
            Check::HostPorts => items
                .iter()
                .try_for_each(|item| listeners::parse_host_port(self.name, item).map(drop)),
            _ => Ok(()),
        }
    }

    fn check_items(
        &self,
        items: &[String],
        of: Option<&[&str]>,
        may_be_empty: bool,
    ) -> Result<(), BadValue> {
        if items.is_empty() && !may_be_empty {
            let valid = of.map_or_else(
                || "any non-empty value".to_owned(),
                |of| format!("[{}]", of.join(", ")),
            );
            let words = format!(
                "Configuration '{}' must not be empty. Valid values include: {valid}",
                self.name
            );
            return Err(BadValue::sentence(self.name, Some(""), words));
        }
        for item in items {
            if item.is_empty() {
                let words = format!("Configuration '{}' values must not be empty.", self.name);
                return Err(BadValue::sentence(self.name, Some(&items.join(",")), words));
            }
            if let Some(of) = of.filter(|of| !of.contains(&item.as_str())) {
                let allowed = format!("String must be one of: {}", of.join(", "));
                return Err(self.bad(item, allowed));
            }
        }
        Ok(())
    }

    /// A secret is never repeated in an error.
    fn bad(&self, value: &str, allowed: impl Into<String>) -> BadValue {
        let value = if self.is_sensitive() {
            "[hidden]"
        } else {
            value
        };
        BadValue::new(self.name, Some(value), allowed)
    }
}

/// Entries between commas, without the spaces around them; an empty text is an empty list.
pub(super) fn split_list(text: &str) -> Vec<String> {
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Vec::new();
    }
    trimmed
        .split(',')
        .map(|item| item.trim().to_owned())
        .collect()
}

fn are_throttled_replicas(items: &[String]) -> bool {
    let is_number =
        |text: &str| !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    let is_pair = |item: &String| {
        item.is_empty()
            || item
                .split_once(':')
                .is_some_and(|(partition, broker)| is_number(partition) && is_number(broker))
    };
    items.iter().all(is_pair) || items.concat() == "*"
}

/// A double as Java prints it: `0.5`, `1.0`, `1.7976931348623157E308`.
fn java_double(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        return format!("{value:?}");
    }
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

/// A decimal as `Double.parseDouble` reads it: the words have one spelling, and a suffix of the
/// language is allowed. Hexadecimal is not read.
fn decimal(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, "NaN" | "Infinity") {
        return text.parse().ok();
    }
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    let digits = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    digits.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{decimal, java_double};
    use crate::config::{Catalogue, Scope};

    fn topic(name: &str, text: &str) -> String {
        let definition = Catalogue::find(Scope::Topic, name).expect("a topic setting");
        definition
            .canonical(text)
            .unwrap_or_else(|bad| format!("! {bad}"))
    }

    #[test]
    fn values_are_printed_as_kafka_prints_them() {
        assert_eq!(topic("segment.bytes", " 1048576 "), "1048576");
        assert_eq!(topic("preallocate", "TRUE"), "true");
        assert_eq!(topic("min.cleanable.dirty.ratio", "0.50"), "0.5");
        assert_eq!(
            topic("cleanup.policy", "delete , delete,compact"),
            "delete,compact"
        );
        assert_eq!(topic("cleanup.policy", ""), "");
        let repeated = "delete,compact,".repeat(20_000) + "delete";
        assert_eq!(topic("cleanup.policy", &repeated), "delete,compact");
        assert_eq!(java_double(f64::MAX), "1.7976931348623157E308");
        assert_eq!(java_double(1e7), "1.0E7");
        assert_eq!(java_double(1.0), "1.0");
    }

    #[test]
    fn decimals_are_spelt_as_java_spells_them() {
        for refused in [
            "inf", "nan", "INFINITY", "infinity", "+inf", "-", "", "1dd", "f", ".",
        ] {
            assert_eq!(decimal(refused), None, "{refused}");
        }
        assert_eq!(decimal("-Infinity"), Some(f64::NEG_INFINITY));
        assert!(decimal("NaN").is_some_and(f64::is_nan));
        assert_eq!(decimal("+.5e0"), Some(0.5));
        assert_eq!(decimal("1.f"), Some(1.0));
        let refused = topic("min.cleanable.dirty.ratio", "nan");
        assert!(refused.contains("Not a number of type DOUBLE"), "{refused}");
    }

    #[test]
    fn refusals_are_worded_as_kafka_words_them() {
        assert_eq!(
            topic("retention.ms", "abc"),
            "! Invalid value abc for configuration retention.ms: Not a number of type LONG"
        );
        assert_eq!(
            topic("retention.ms", "-5"),
            "! Invalid value -5 for configuration retention.ms: Value must be at least -1"
        );
        assert_eq!(
            topic("min.cleanable.dirty.ratio", "1.5"),
            "! Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1"
        );
        assert_eq!(
            topic("cleanup.policy", "compact,shred"),
            "! Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete"
        );
        assert_eq!(
            topic("compression.gzip.level", "0"),
            "! Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1"
        );
        assert!(topic("segment.bytes", "99999999999").contains("Not a number of type INT"));
        assert!(topic("leader.replication.throttled.replicas", "1:2,x").starts_with('!'));
        assert_eq!(topic("leader.replication.throttled.replicas", "*"), "*");
    }
}
