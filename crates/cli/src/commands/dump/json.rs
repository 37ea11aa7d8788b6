//! JSON in the order in which it is written, without a space more than needed: as Kafka's tools
//! print messages.

use std::fmt::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

#[derive(Debug, Clone, PartialEq)]
pub(in crate::commands) enum Json {
    Null,
    /// A number or a truth, as it is written.
    Plain(String),
    Text(String),
    /// Shown as base64.
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Json {
    pub(in crate::commands) fn object(
        fields: impl IntoIterator<Item = (&'static str, Self)>,
    ) -> Self {
        let fields = fields.into_iter();
        Self::Object(
            fields
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
        )
    }

    pub(in crate::commands) fn number(number: impl fmt::Display) -> Self {
        Self::Plain(number.to_string())
    }

    pub(in crate::commands) fn field_mut(&mut self, wanted: &str) -> Option<&mut Self> {
        match self {
            Self::Object(fields) => {
                let found = fields.iter_mut().find(|(name, _)| name == wanted)?;
                Some(&mut found.1)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Plain(text) => f.write_str(text),
            Self::Text(text) => quote(text, f),
            Self::Bytes(bytes) => write!(f, "\"{}\"", STANDARD.encode(bytes)),
            Self::List(items) => {
                f.write_char('[')?;
                for (place, item) in items.iter().enumerate() {
                    comma(place, f)?;
                    item.fmt(f)?;
                }
                f.write_char(']')
            }
            Self::Object(fields) => {
                f.write_char('{')?;
                for (place, (name, value)) in fields.iter().enumerate() {
                    comma(place, f)?;
                    quote(name, f)?;
                    f.write_char(':')?;
                    value.fmt(f)?;
                }
                f.write_char('}')
            }
        }
    }
}

fn comma(place: usize, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if place > 0 { f.write_char(',') } else { Ok(()) }
}

fn quote(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            '\u{8}' => f.write_str("\\b")?,
            '\u{c}' => f.write_str("\\f")?,
            c if c < ' ' => write!(f, "\\u{:04X}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_compact_and_in_order() {
        let json = Json::object([
            ("b", Json::Text("a\"\\\n\u{1}ü".to_owned())),
            (
                "a",
                Json::List(vec![Json::Null, Json::number(-1), Json::Object(vec![])]),
            ),
        ]);
        assert_eq!(
            json.to_string(),
            "{\"b\":\"a\\\"\\\\\\n\\u0001ü\",\"a\":[null,-1,{}]}"
        );
    }
}
