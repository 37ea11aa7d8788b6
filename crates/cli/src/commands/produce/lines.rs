//! From a line to a record, as Kafka's `LineMessageReader`: headers, key and value, each with its
//! separator. Bytes stay as they are, UTF-8 or not.

use anyhow::{bail, ensure};
use bytes::Bytes;
use ottla_client::produce::NewRecord;

use crate::commands::connect::Properties;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LineFormat {
    has_key: bool,
    key_separator: Vec<u8>,
    has_headers: bool,
    headers_delimiter: Vec<u8>,
    headers_separator: Vec<u8>,
    headers_key_separator: Vec<u8>,
    /// Take what can be read of a line that lacks something.
    ignores_errors: bool,
    null_marker: Option<Vec<u8>>,
}

impl LineFormat {
    pub(super) fn from_properties(properties: &Properties) -> anyhow::Result<Self> {
        let text =
            |name, default: &str| properties.text(name).unwrap_or(default).as_bytes().to_vec();
        let flag = |name| properties.is_true(name).unwrap_or(false);
        let format = Self {
            has_key: flag("parse.key"),
            key_separator: text("key.separator", "\t"),
            has_headers: flag("parse.headers"),
            headers_delimiter: text("headers.delimiter", "\t"),
            headers_separator: text("headers.separator", ","),
            headers_key_separator: text("headers.key.separator", ":"),
            ignores_errors: flag("ignore.error"),
            null_marker: properties
                .text("null.marker")
                .map(|marker| marker.as_bytes().to_vec()),
        };
        format.check()?;
        Ok(format)
    }

    /// Two marks that look the same cannot be told apart.
    fn check(&self) -> anyhow::Result<()> {
        let named = [
            ("headers.delimiter", &self.headers_delimiter),
            ("headers.separator", &self.headers_separator),
            ("headers.key.separator", &self.headers_key_separator),
        ];
        for (place, (name, mark)) in named.iter().enumerate() {
            for (other, same) in named.iter().skip(place + 1) {
                ensure!(mark != same, "{name} and {other} may not be equal");
            }
        }
        let with_key = [("key.separator", &self.key_separator)]
            .into_iter()
            .chain(named);
        for (name, mark) in with_key {
            ensure!(
                self.null_marker.as_ref() != Some(mark),
                "null.marker and {name} may not be equal"
            );
            ensure!(!mark.is_empty(), "{name} may not be empty");
        }
        Ok(())
    }

    /// The record of a line; its number is for what goes wrong.
    pub(super) fn read(&self, line: &[u8], number: u64) -> anyhow::Result<NewRecord> {
        let mut rest = line;
        let lacks = |what| self.lacks(what, line, number);
        let headers = match (self.has_headers, cut(rest, &self.headers_delimiter)) {
            (true, Some((headers, after))) => {
                rest = after;
                self.headers(headers, number)?
            }
            (true, None) => lacks("headers delimiter").map(|()| Vec::new())?,
            (false, _) => Vec::new(),
        };
        let key = match (self.has_key, cut(rest, &self.key_separator)) {
            (true, Some((key, after))) => {
                rest = after;
                self.unless_null(key)
            }
            (true, None) => lacks("key separator").map(|()| None)?,
            (false, _) => None,
        };
        Ok(NewRecord {
            key,
            value: self.unless_null(rest),
            headers,
            ..NewRecord::default()
        })
    }

    fn lacks(&self, what: &str, line: &[u8], number: u64) -> anyhow::Result<()> {
        if self.ignores_errors {
            return Ok(());
        }
        let line = String::from_utf8_lossy(line);
        bail!("No {what} found on line number {number}: '{line}'")
    }

    fn unless_null(&self, field: &[u8]) -> Option<Bytes> {
        let is_null = self.null_marker.as_deref() == Some(field);
        (!is_null).then(|| Bytes::copy_from_slice(field))
    }

    fn headers(&self, text: &[u8], number: u64) -> anyhow::Result<Vec<(Bytes, Option<Bytes>)>> {
        if self.null_marker.as_deref() == Some(text) {
            return Ok(Vec::new());
        }
        let mut pairs = split(text, &self.headers_separator);
        // What is empty at the end is no header.
        while pairs.len() > 1 && pairs.pop_if(|pair| pair.is_empty()).is_some() {}
        let mut headers = Vec::new();
        for pair in pairs {
            let Some((key, value)) = cut(pair, &self.headers_key_separator) else {
                if self.ignores_errors {
                    headers.push((Bytes::copy_from_slice(pair), None));
                    continue;
                }
                let pair = String::from_utf8_lossy(pair);
                bail!("No header key separator found in pair '{pair}' on line number {number}");
            };
            if self.null_marker.as_deref() == Some(key) {
                let marker = String::from_utf8_lossy(key);
                bail!(
                    "Header keys should not be equal to the null marker '{marker}' as they can't \
                     be null"
                );
            }
            headers.push((Bytes::copy_from_slice(key), self.unless_null(value)));
        }
        Ok(headers)
    }
}

/// What stands before and after the first mark.
fn cut<'a>(text: &'a [u8], mark: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let place = text
        .windows(mark.len().max(1))
        .position(|window| window == mark)?;
    Some((text.get(..place)?, text.get(place + mark.len()..)?))
}

fn split<'a>(text: &'a [u8], mark: &[u8]) -> Vec<&'a [u8]> {
    let (mut parts, mut rest) = (Vec::new(), text);
    while let Some((part, after)) = cut(rest, mark) {
        parts.push(part);
        rest = after;
    }
    parts.push(rest);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(properties: &[&str]) -> anyhow::Result<LineFormat> {
        let typed: Vec<_> = properties.iter().map(ToString::to_string).collect();
        LineFormat::from_properties(&Properties::gather(None, &typed)?)
    }

    fn check(properties: &[&str], line: &str, expected: &str) {
        let text = |bytes: Option<Bytes>| {
            bytes.map_or("-".to_owned(), |bytes| {
                String::from_utf8_lossy(&bytes).into_owned()
            })
        };
        let shown = match format(properties).unwrap().read(line.as_bytes(), 7) {
            Ok(record) => {
                let headers = record.headers.into_iter();
                let headers = headers.map(|(k, v)| format!("{}={}", text(Some(k)), text(v)));
                let headers: Vec<_> = headers.collect();
                format!(
                    "[{}] {} {}",
                    headers.join(" "),
                    text(record.key),
                    text(record.value)
                )
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(shown, expected, "{line}");
    }

    #[test]
    fn a_line_is_a_value() {
        check(&[], "a\tb", "[] - a\tb");
        check(&[], "", "[] - ");
    }

    #[test]
    fn keys_and_headers_stand_before_the_value() {
        let key = "parse.key=true";
        let headers = "parse.headers=true";
        check(&[key], "k\tv\tw", "[] k v\tw");
        check(&[key, "key.separator=::"], "k::v", "[] k v");
        check(&[key, headers], "a:1,b:x:y\tk\tv", "[a=1 b=x:y] k v");
        check(&[headers], "a:1,\tv", "[a=1] - v");
        check(
            &[key, headers, "null.marker=NULL"],
            "NULL\tNULL\tNULL",
            "[] - -",
        );
        check(&[headers, "null.marker=NULL"], "a:NULL\tv", "[a=-] - v");
    }

    #[test]
    fn what_is_lacking_is_told_with_its_line() {
        let key = "parse.key=true";
        check(
            &[key],
            "no",
            "No key separator found on line number 7: 'no'",
        );
        check(&[key, "ignore.error=true"], "no", "[] - no");
        let headers = "parse.headers=true";
        check(
            &[headers],
            "x\tv",
            "No header key separator found in pair 'x' on line number 7",
        );
        check(&[headers, "ignore.error=true"], "x\tv", "[x=-] - v");
        check(
            &[headers, "null.marker=N"],
            "N:1\tv",
            "Header keys should not be equal to the null marker 'N' as they can't be null",
        );
    }

    #[test]
    fn marks_must_differ() {
        for (bad, why) in [
            (
                "headers.delimiter=,",
                "headers.delimiter and headers.separator may not be equal",
            ),
            (
                "null.marker=\t",
                "null.marker and key.separator may not be equal",
            ),
            ("key.separator=", "key.separator may not be empty"),
        ] {
            assert_eq!(format(&[bad]).unwrap_err().to_string(), why);
        }
    }
}
