//! `meta.properties`: to which cluster and node a directory belongs, in Java's properties format.

use std::fmt::Write;
use std::path::Path;

use ottla_protocol::{NodeId, Uuid};

use crate::disk::Disk;
use crate::error::Fault;
use crate::file_names::META_PROPERTIES;

/// The identity of a log directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaProperties {
    pub cluster_id: String,
    pub node_id: NodeId,
    /// Missing in what was formatted before Kafka 3.7; then one is made at start.
    pub directory_id: Option<Uuid>,
}

impl MetaProperties {
    /// `None`: the directory is not formatted.
    pub fn read(disk: &Disk, directory: &Path) -> Result<Option<Self>, Fault> {
        let path = directory.join(META_PROPERTIES);
        let Some(bytes) = disk.read_if_exists(&path)? else {
            return Ok(None);
        };
        // The format is ISO-8859-1: a byte is a character.
        let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        Self::parse(&text)
            .map(Some)
            .map_err(|why| Fault::UnknownFormat { path, why })
    }

    /// Durable on return.
    pub fn write(&self, disk: &Disk, directory: &Path) -> Result<(), Fault> {
        disk.replace(&directory.join(META_PROPERTIES), self.format().as_bytes())?;
        disk.sync_directory(directory)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let pairs = properties(text);
        let value = |key: &str| {
            pairs
                .iter()
                .rev()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value.as_str())
        };
        let version = value("version").ok_or("it has no version")?;
        if version != "1" {
            return Err(format!("its version is {version}; only version 1 is known"));
        }
        let node_id = value("node.id").ok_or("it has no node.id")?;
        let directory_id = match value("directory.id") {
            None => None,
            Some(id) => Some(
                id.parse()
                    .map_err(|_| format!("directory.id {id:?} is no id"))?,
            ),
        };
        if let Some(id) = directory_id.filter(|id: &Uuid| id.is_reserved()) {
            return Err(format!("directory.id {id} is reserved"));
        }
        Ok(Self {
            cluster_id: value("cluster.id")
                .ok_or("it has no cluster.id")?
                .to_owned(),
            node_id: node_id
                .parse()
                .map_err(|_| format!("node.id {node_id:?} is no number"))?,
            directory_id,
        })
    }

    fn format(&self) -> String {
        let mut text = String::from("#\n");
        let mut put = |key: &str, value: &str| {
            let _ = writeln!(text, "{key}={}", escape(value));
        };
        put("cluster.id", &self.cluster_id);
        if let Some(id) = self.directory_id {
            put("directory.id", &id.to_string());
        }
        put("node.id", &self.node_id.to_string());
        put("version", "1");
        text
    }
}

/// Keys and values, comments and blank lines left out.
fn properties(text: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let mut line = line.trim_start().to_owned();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        // A backslash at the end of a line joins the next one to it.
        while line.chars().rev().take_while(|c| *c == '\\').count() % 2 == 1 {
            line.pop();
            line.push_str(lines.next().unwrap_or_default().trim_start());
        }
        pairs.push(split(&line));
    }
    pairs
}

/// The key ends at the first `=`, `:` or blank that is not escaped.
fn split(line: &str) -> (String, String) {
    let mut is_escaped = false;
    let end = line.find(|c: char| {
        let ends = !is_escaped && matches!(c, '=' | ':' | ' ' | '\t' | '\u{c}');
        is_escaped = c == '\\' && !is_escaped;
        ends
    });
    let (key, rest) = line.split_at(end.unwrap_or(line.len()));
    let rest = rest.trim_start_matches([' ', '\t', '\u{c}']);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (
        unescape(key),
        unescape(rest.trim_start_matches([' ', '\t', '\u{c}'])),
    )
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16)
                    .ok()
                    .and_then(char::from_u32);
                plain.push(code.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    plain
}

fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for (at, c) in value.chars().enumerate() {
        match c {
            ' ' if at == 0 => escaped.push_str("\\ "),
            '\t' => escaped.push_str("\\t"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\u{c}' => escaped.push_str("\\f"),
            '\\' | '=' | ':' | '#' | '!' => {
                escaped.push('\\');
                escaped.push(c);
            }
            ' '..='~' => escaped.push(c),
            other => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    let _ = write!(escaped, "\\u{unit:04X}");
                }
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    fn example() -> MetaProperties {
        MetaProperties {
            cluster_id: "a=b:c ü".into(),
            node_id: 7,
            directory_id: Some(Uuid::from_u128(0xfeed << 64)),
        }
    }

    #[test]
    fn it_goes_both_ways() {
        let text = example().format();
        expect![[r#"
            #
            cluster.id=a\=b\:c \u00FC
            directory.id=AAAAAAAA_u0AAAAAAAAAAA
            node.id=7
            version=1
        "#]]
        .assert_eq(&text);
        assert_eq!(MetaProperties::parse(&text), Ok(example()));
    }

    #[test]
    fn java_writes_it_like_this() {
        let text = "#\n#Fri Nov 21 08:40:00 UTC 2026\nnode.id=1\ndirectory.id=AAAAAAAA_u0AAAAAAAAAAA\n\
                    version=1\ncluster.id=4L6g3nShT-eMCtK--X86sw\nunknown=x\n";
        let meta = MetaProperties::parse(text).unwrap();
        assert_eq!(meta.cluster_id, "4L6g3nShT-eMCtK--X86sw");
        assert_eq!(meta.node_id, 1);
        assert_eq!(meta.directory_id, Some(Uuid::from_u128(0xfeed << 64)));
    }

    #[test]
    fn the_forms_of_java_properties() {
        let pairs = properties("! c\n  a : b\nc d\\\n   e\nf\\=g=h\\u0041\\\\\n\nk\n");
        let pairs: Vec<(&str, &str)> = pairs
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
            .collect();
        assert_eq!(pairs, [("a", "b"), ("c", "de"), ("f=g", "hA\\"), ("k", "")]);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (text, why) in [
            ("", "it has no version"),
            (
                "version=0\nbroker.id=1\n",
                "its version is 0; only version 1 is known",
            ),
            ("version=1\n", "it has no node.id"),
            (
                "version=1\nnode.id=x\ncluster.id=c\n",
                "node.id \"x\" is no number",
            ),
            ("version=1\nnode.id=1\n", "it has no cluster.id"),
            (
                "version=1\nnode.id=1\ncluster.id=c\ndirectory.id=1\n",
                "directory.id \"1\" is no id",
            ),
            (
                "version=1\nnode.id=1\ncluster.id=c\ndirectory.id=AAAAAAAAAAAAAAAAAAAAAQ\n",
                "directory.id AAAAAAAAAAAAAAAAAAAAAQ is reserved",
            ),
        ] {
            assert_eq!(MetaProperties::parse(text), Err(why.to_owned()), "{text:?}");
        }
    }
}
