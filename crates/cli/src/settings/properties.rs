//! `server.properties` as java.util.Properties reads it: ISO-8859-1, `=`, `:` or spaces between name and
//! value, `#` and `!` comments, lines that go on after a backslash, `\uXXXX`.

use std::fmt;

/// One entry, with the number of the line on which it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Property {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) line: usize,
}

/// A `\u` without four hexadecimal digits: the one thing that such a file can have wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MalformedEscape {
    pub(crate) line: usize,
}

impl fmt::Display for MalformedEscape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}: \\u must be followed by four hexadecimal digits",
            self.line
        )
    }
}

impl std::error::Error for MalformedEscape {}

/// All entries in their order. Where a name comes twice, the last one counts; that is the caller's choice.
pub(crate) fn parse(file: &[u8]) -> Result<Vec<Property>, MalformedEscape> {
    let lines = LogicalLines {
        rest: file,
        number: 1,
    };
    lines
        .map(|(number, line)| {
            let (name, value) = split(&line);
            let malformed = |()| MalformedEscape { line: number };
            Ok(Property {
                name: unescape(name).map_err(malformed)?,
                value: unescape(value).map_err(malformed)?,
                line: number,
            })
        })
        .collect()
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\x0c')
}

const fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Lines without comments, blank lines, leading space and continuations; escapes are still in them.
struct LogicalLines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> LogicalLines<'a> {
    /// The next natural line without its end.
    fn natural(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = self
            .rest
            .iter()
            .position(|byte| is_line_end(*byte))
            .unwrap_or(self.rest.len());
        let (line, rest) = self.rest.split_at(end);
        let skipped = if rest.starts_with(b"\r\n") {
            2
        } else {
            rest.len().min(1)
        };
        self.rest = &rest[skipped..];
        self.number += 1;
        Some(line)
    }
}

impl Iterator for LogicalLines<'_> {
    type Item = (usize, Vec<u8>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut logical = Vec::new();
        let mut first = self.number;
        loop {
            let number = self.number;
            let Some(natural) = self.natural() else {
                return (!logical.is_empty()).then_some((first, logical));
            };
            let line = natural.trim_prefix_spaces();
            if logical.is_empty() {
                // Java looks for comments as long as it has nothing, also after a lone backslash.
                if line.is_empty() || line.starts_with(b"#") || line.starts_with(b"!") {
                    continue;
                }
                first = number;
            }
            let backslashes = line.iter().rev().take_while(|byte| **byte == b'\\').count();
            if backslashes % 2 == 1 {
                logical.extend_from_slice(&line[..line.len() - 1]);
                continue;
            }
            logical.extend_from_slice(line);
            return Some((first, logical));
        }
    }
}

trait LeadingSpaces {
    fn trim_prefix_spaces(&self) -> &Self;
}

impl LeadingSpaces for [u8] {
    fn trim_prefix_spaces(&self) -> &Self {
        let start = self
            .iter()
            .position(|byte| !is_space(*byte))
            .unwrap_or(self.len());
        &self[start..]
    }
}

/// Name and value: the name ends at the first `=`, `:` or space that has no backslash before it.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let mut is_escaped = false;
    let end = line.iter().position(|byte| {
        let ends = !is_escaped && (matches!(byte, b'=' | b':') || is_space(*byte));
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    });
    let Some(end) = end else { return (line, &[]) };
    let rest = line[end..].trim_prefix_spaces();
    let value = match rest.first() {
        Some(b'=' | b':') => rest[1..].trim_prefix_spaces(),
        _ => rest,
    };
    (&line[..end], value)
}

/// Bytes are ISO-8859-1; `\u` names a unit of UTF-16, two of which may make one character.
fn unescape(text: &[u8]) -> Result<String, ()> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            units.push(byte.into());
            continue;
        }
        match bytes.next() {
            None => break,
            Some(b'u') => {
                let mut unit = 0u16;
                for _ in 0..4 {
                    let digit = bytes.next().and_then(|byte| char::from(byte).to_digit(16));
                    unit = unit << 4 | u16::try_from(digit.ok_or(())?).map_err(|_| ())?;
                }
                units.push(unit);
            }
            Some(b't') => units.push(b'\t'.into()),
            Some(b'n') => units.push(b'\n'.into()),
            Some(b'r') => units.push(b'\r'.into()),
            Some(b'f') => units.push(0x0c),
            Some(other) => units.push(other.into()),
        }
    }
    Ok(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: &[u8] = include_bytes!("../../testdata/properties/corpus.txt");
    const JAVA: &str = include_str!("../../testdata/properties/java.txt");

    /// As the Java program beside the corpus prints them.
    fn print(file: &[u8]) -> String {
        let quote = |text: &str| -> String {
            text.encode_utf16()
                .map(|unit| match u8::try_from(unit) {
                    Ok(byte @ b' '..=b'~') if byte != b'\\' => char::from(byte).to_string(),
                    _ => format!("\\u{unit:04x}"),
                })
                .collect()
        };
        match parse(file) {
            Err(_) => "malformed\n".to_owned(),
            Ok(properties) => {
                let last: std::collections::BTreeMap<_, _> = properties
                    .iter()
                    .map(|one| (&one.name, &one.value))
                    .collect();
                let lines = last
                    .iter()
                    .map(|(name, value)| format!("[{}]=[{}]\n", quote(name), quote(value)));
                lines.collect()
            }
        }
    }

    #[test]
    fn files_are_read_as_java_reads_them() {
        let separator: &[u8] = b"----8<----\n";
        let mut rest = FILES;
        let mut printed = String::new();
        while !rest.is_empty() {
            let end = rest
                .windows(separator.len())
                .position(|part| part == separator);
            let end = end.expect("every file of the corpus ends with a separator");
            printed += &print(&rest[..end]);
            printed += "----\n";
            rest = &rest[end + separator.len()..];
        }
        assert_eq!(printed, JAVA);
    }

    #[test]
    fn lines_are_numbered_where_an_entry_begins() {
        let file = b"# one\n\na=1\nb=2,\\\n  3\r\nc=4\rd=5";
        let lines: Vec<_> = parse(file).unwrap().iter().map(|one| one.line).collect();
        assert_eq!(lines, [3, 4, 6, 7]);
    }
}
