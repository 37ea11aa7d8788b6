//! Patterns that strangers send: they must match a name from its first to its last character.
//!
//! Kafka uses RE2 for Java. `regex-lite` knows the same language but for three things: quotes and
//! classes of Unicode properties (`\pL`), which are put in its words, and `\C`, which is refused.

mod classes;

use regex_lite::{Regex, RegexBuilder};

/// How large a compiled pattern may become. It is held against every name, and the time for that
/// grows with its size; the patterns that people write take some hundred bytes.
const COMPILED_BYTES_MAX: usize = 64 * 1024;

/// Compiles a pattern that must match a whole name.
///
/// # Errors
/// Says what is wrong with it.
pub(crate) fn whole_name(pattern: &str) -> Result<Regex, String> {
    let compile = |pattern: &str| {
        RegexBuilder::new(pattern)
            .size_limit(COMPILED_BYTES_MAX)
            .build()
            .map_err(|why| why.to_string())
    };
    let pattern = classes::spelled_out(&without_quotes(pattern));
    let pattern = &pattern.ok_or("no such class of characters")?;
    // By itself first: "a)|(b" is no pattern, though it would be one between two brackets.
    compile(pattern)?;
    compile(&format!("\\A(?:{pattern})\\z"))
}

/// RE2's `\Q…\E`, whose inside stands for itself.
fn without_quotes(pattern: &str) -> String {
    let mut plain = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        plain.push_str(before);
        match escape.strip_prefix("\\Q") {
            Some(quoted) => {
                let (inside, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                plain.push_str(&regex_lite::escape(inside));
                rest = after;
            }
            None => {
                // The escaped character goes along, so that `\\Q` is a backslash and a Q.
                let escaped = escape.chars().nth(1).map_or(1, |it| 1 + it.len_utf8());
                let (escape, after) = escape.split_at(escaped);
                plain.push_str(escape);
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, name: &str) -> bool {
        whole_name(pattern).unwrap().is_match(name)
    }

    #[test]
    fn a_name_matches_as_a_whole() {
        assert!(matches("orders-.*", "orders-eu"));
        assert!(!matches("orders", "orders-eu"));
        assert!(matches("a|b", "b") && !matches("a|b", "ab"));
        assert!(matches("(?i)A[[:digit:]]\\d", "a07"));
        assert!(matches("", "") && !matches("", "a"));
    }

    #[test]
    fn quoted_text_stands_for_itself() {
        assert!(matches("\\Qa.b\\E.*", "a.bc") && !matches("\\Qa.b\\E", "axb"));
        assert!(matches("\\Qa.b", "a.b") && !matches("\\Qa.b", "a-b"));
        assert!(matches("\\\\Qa", "\\Qa"));
    }

    #[test]
    fn what_is_no_pattern_is_refused() {
        for bad in [
            "(",
            "a)|(b",
            "[",
            "*",
            "\\",
            "(?=a)",
            "(a)\\1",
            "(?:a{999}){999}",
        ] {
            assert!(whole_name(bad).is_err(), "{bad}");
        }
    }
}
