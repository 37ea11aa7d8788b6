//! What a value says, read from its `Debug` text, so that two crates' structs can be compared
//! field by field: names as well as values.

use std::collections::BTreeMap;

use ottla_protocol::Uuid;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    /// By name, without underscores: where words begin is told in three ways (`kraft_version`,
    /// `k_raft_version`, `kraftVersion`).
    Fields(BTreeMap<String, Self>),
    List(Vec<Self>),
    Leaf(String),
}

/// What the oracle keeps beside the message's own fields.
const NOT_A_FIELD: &str = "unknown_tagged_fields";

pub(crate) fn tree(value: &impl std::fmt::Debug) -> Tree {
    let text = format!("{value:?}");
    let mut parser = Parser { rest: &text };
    let tree = parser.value();
    assert_eq!(parser.rest, "", "of {text}");
    match tree {
        // A struct without fields.
        Tree::Leaf(_) => Tree::Fields(BTreeMap::new()),
        tree => tree,
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn skip(&mut self, expected: &str) -> bool {
        let found = self.rest.strip_prefix(expected);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn value(&mut self) -> Tree {
        if self.rest.starts_with('"') || self.rest.starts_with("b\"") {
            return Tree::Leaf(self.quoted());
        }
        if self.skip("[") {
            return self.list("]");
        }
        if self.skip("{") {
            return self.list("}");
        }
        let word = self.word();
        if self.skip("(") {
            // `Some`, and the oracle's names for ids, say nothing more than what is inside.
            let inner = self.value();
            assert!(self.skip(")"), "{}", self.rest);
            return inner;
        }
        if self.skip(" { ") {
            return self.fields();
        }
        Tree::Leaf(uuid(&word).unwrap_or(word))
    }

    fn list(&mut self, end: &str) -> Tree {
        let mut elements = Vec::new();
        while !self.skip(end) {
            elements.push(self.value());
            self.skip(", ");
        }
        Tree::List(elements)
    }

    fn fields(&mut self) -> Tree {
        let mut fields = BTreeMap::new();
        while !self.skip("}") {
            let name = self.word();
            assert!(self.skip(": "), "{}", self.rest);
            let value = self.value();
            if name != NOT_A_FIELD {
                fields.insert(name.trim_start_matches("r#").replace('_', ""), value);
            }
            self.skip(", ");
            self.skip(" ");
        }
        Tree::Fields(fields)
    }

    fn word(&mut self) -> String {
        let end = self
            .rest
            .find([',', ':', ' ', '(', ')', '[', ']', '{', '}']);
        let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        self.rest = rest;
        word.to_string()
    }

    fn quoted(&mut self) -> String {
        let start = self.rest.find('"').unwrap() + 1;
        let mut escaped = false;
        let end = self.rest[start..].find(|letter| {
            let closes = letter == '"' && !escaped;
            escaped = letter == '\\' && !escaped;
            closes
        });
        let (quoted, rest) = self.rest.split_at(start + end.unwrap() + 1);
        self.rest = rest;
        quoted.to_string()
    }
}

/// The oracle writes ids in hexadecimal.
fn uuid(word: &str) -> Option<String> {
    if word.len() != 36 {
        return None;
    }
    let digits = word.replace('-', "");
    let number = u128::from_str_radix(&digits, 16).ok()?;
    Some(Uuid::from_u128(number).to_string())
}
