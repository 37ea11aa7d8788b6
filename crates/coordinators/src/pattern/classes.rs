//! Classes of Unicode properties (`\pL`, `\p{Lu}`, `\P{Greek}`, `[\p{N}_]`), which `regex-lite` does
//! not know, put as ranges. They are exact for ASCII, and a topic has no other name; of what is
//! beyond ASCII a class has nothing, and its opposite everything.

use std::fmt::Write;

/// The highest code point.
const LAST: u32 = 0x10_ffff;
const LETTERS: &[(u8, u8)] = &[(b'A', b'Z'), (b'a', b'z')];
const DIGITS: &[(u8, u8)] = &[(b'0', b'9')];
const NONE: &[(u8, u8)] = &[];

/// Scripts without a character in ASCII that RE2 for Java knows.
#[rustfmt::skip]
const SCRIPTS: &[&str] = &[
    "Adlam", "Ahom", "Anatolian_Hieroglyphs", "Arabic", "Armenian", "Avestan", "Balinese", "Bamum", "Bassa_Vah", "Batak", "Bengali",
    "Bhaiksuki", "Bopomofo", "Brahmi", "Braille", "Buginese", "Buhid", "Canadian_Aboriginal", "Carian", "Caucasian_Albanian", "Chakma",
    "Cham", "Cherokee", "Coptic", "Cuneiform", "Cypriot", "Cyrillic", "Deseret", "Devanagari", "Duployan", "Egyptian_Hieroglyphs",
    "Elbasan", "Ethiopic", "Georgian", "Glagolitic", "Gothic", "Grantha", "Greek", "Gujarati", "Gurmukhi", "Han", "Hangul", "Hanunoo",
    "Hatran", "Hebrew", "Hiragana", "Imperial_Aramaic", "Inherited", "Inscriptional_Pahlavi", "Inscriptional_Parthian", "Javanese",
    "Kaithi", "Kannada", "Katakana", "Kayah_Li", "Kharoshthi", "Khmer", "Khojki", "Khudawadi", "Lao", "Lepcha", "Limbu", "Linear_A",
    "Linear_B", "Lisu", "Lycian", "Lydian", "Mahajani", "Malayalam", "Mandaic", "Manichaean", "Marchen", "Meetei_Mayek", "Mende_Kikakui",
    "Meroitic_Cursive", "Meroitic_Hieroglyphs", "Miao", "Modi", "Mongolian", "Mro", "Multani", "Myanmar", "Nabataean", "New_Tai_Lue",
    "Newa", "Nko", "Ogham", "Ol_Chiki", "Old_Hungarian", "Old_Italic", "Old_North_Arabian", "Old_Permic", "Old_Persian",
    "Old_South_Arabian", "Old_Turkic", "Oriya", "Osage", "Osmanya", "Pahawh_Hmong", "Palmyrene", "Pau_Cin_Hau", "Phags_Pa", "Phoenician",
    "Psalter_Pahlavi", "Rejang", "Runic", "Samaritan", "Saurashtra", "Sharada", "Shavian", "Siddham", "SignWriting", "Sinhala",
    "Sora_Sompeng", "Sundanese", "Syloti_Nagri", "Syriac", "Tagalog", "Tagbanwa", "Tai_Le", "Tai_Tham", "Tai_Viet", "Takri", "Tamil",
    "Tangut", "Telugu", "Thaana", "Thai", "Tibetan", "Tifinagh", "Tirhuta", "Ugaritic", "Vai", "Warang_Citi", "Yi",
];

/// What of ASCII is in a class of this name.
fn ascii(name: &str) -> Option<&'static [(u8, u8)]> {
    Some(match name {
        "Any" => &[(0, 0x7f)],
        "C" | "Cc" => &[(0, 0x1f), (0x7f, 0x7f)],
        "L" | "Latin" => LETTERS,
        "Ll" => &[(b'a', b'z')],
        "Lu" => &[(b'A', b'Z')],
        "N" | "Nd" => DIGITS,
        "P" => &[
            (b'!', b'#'),
            (b'%', b'*'),
            (b',', b'/'),
            (b':', b';'),
            (b'?', b'@'),
            (b'[', b']'),
            (b'_', b'_'),
            (b'{', b'{'),
            (b'}', b'}'),
        ],
        "Pc" => &[(b'_', b'_')],
        "Pd" => &[(b'-', b'-')],
        "Ps" => &[(b'(', b'('), (b'[', b'['), (b'{', b'{')],
        "Pe" => &[(b')', b')'), (b']', b']'), (b'}', b'}')],
        "Po" => &[
            (b'!', b'#'),
            (b'%', b'\''),
            (b'*', b'*'),
            (b',', b','),
            (b'.', b'/'),
            (b':', b';'),
            (b'?', b'@'),
            (b'\\', b'\\'),
        ],
        "S" => &[
            (b'$', b'$'),
            (b'+', b'+'),
            (b'<', b'>'),
            (b'^', b'^'),
            (b'`', b'`'),
            (b'|', b'|'),
            (b'~', b'~'),
        ],
        "Sc" => &[(b'$', b'$')],
        "Sk" => &[(b'^', b'^'), (b'`', b'`')],
        "Sm" => &[(b'+', b'+'), (b'<', b'>'), (b'|', b'|'), (b'~', b'~')],
        "Z" | "Zs" => &[(b' ', b' ')],
        "Common" => &[(0, b'@'), (b'[', b'`'), (b'{', 0x7f)],
        "Cf" | "Co" | "Cs" | "Lm" | "Lo" | "Lt" | "M" | "Mc" | "Me" | "Mn" | "Nl" | "No" | "Pf"
        | "Pi" | "So" | "Zl" | "Zp" => NONE,
        script if SCRIPTS.contains(&script) => NONE,
        _ => return None,
    })
}

/// The pattern with ranges in the place of such classes. `None`: one of them is unknown or cut.
pub(super) fn spelled_out(pattern: &str) -> Option<String> {
    let mut plain = String::with_capacity(pattern.len());
    let mut rest = pattern;
    // Where a bracket stands first in a set, it is meant as a character.
    let mut set: Option<&str> = None;
    while let Some(next) = rest.chars().next() {
        let (here, after) = rest.split_at(next.len_utf8());
        rest = after;
        match (next, set) {
            ('\\', _) if after.starts_with(['p', 'P']) => {
                let (class, after) = class(after)?;
                rest = after;
                match set {
                    Some(_) => plain.push_str(&class),
                    None => plain.extend(["[", &class, "]"]),
                }
                continue;
            }
            ('\\', _) => {
                let escaped = after.chars().next().map_or(0, char::len_utf8);
                let (escaped, after) = after.split_at(escaped);
                plain.extend([here, escaped]);
                rest = after;
                continue;
            }
            ('[', None) => {
                let inside = after.strip_prefix('^').unwrap_or(after);
                set = Some(inside);
            }
            ('[', Some(_)) if after.starts_with(':') => {
                let end = after.find(":]").map_or(0, |at| at + 2);
                let (named, after) = after.split_at(end);
                plain.extend([here, named]);
                rest = after;
                continue;
            }
            (']', Some(first)) if first.len() != rest.len() + 1 => set = None,
            _ => {}
        }
        plain.push_str(here);
    }
    Some(plain)
}

/// The class that begins at its `p` or `P`, as ranges, and what comes after it.
fn class(text: &str) -> Option<(String, &str)> {
    let is_opposite = text.starts_with('P');
    let text = text.get(1..)?;
    let (name, after) = match text.strip_prefix('{') {
        Some(braced) => braced.split_once('}')?,
        None => text.split_at(text.chars().next()?.len_utf8()),
    };
    let (name, is_negated) = match name.strip_prefix('^') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let of_ascii = ascii(name)?;
    let known = of_ascii.iter();
    let mut ranges: Vec<(u32, u32)> = known.map(|(a, b)| (u32::from(*a), u32::from(*b))).collect();
    if name == "Any" {
        ranges = vec![(0, LAST)];
    }
    if is_opposite != is_negated {
        ranges = complement(&ranges);
    }
    let mut class = String::new();
    for (first, last) in ranges {
        let _ = write!(class, "\\x{{{first:x}}}-\\x{{{last:x}}}");
    }
    if class.is_empty() {
        // A range that no name has anything of; an empty set is no pattern.
        let _ = write!(class, "\\x{{{LAST:x}}}");
    }
    Some((class, after))
}

/// Everything that is not in these ranges, which ascend.
fn complement(ranges: &[(u32, u32)]) -> Vec<(u32, u32)> {
    let mut others = Vec::new();
    let mut next = 0;
    for (first, last) in ranges {
        if next < *first {
            others.push((next, first - 1));
        }
        next = last + 1;
    }
    if next <= LAST {
        others.push((next, LAST));
    }
    others
}

#[cfg(test)]
mod tests {
    use super::super::whole_name;

    fn matches(pattern: &str, name: &str) -> bool {
        whole_name(pattern).unwrap().is_match(name)
    }

    #[test]
    fn properties_count_alone_and_in_sets() {
        assert!(matches("\\p{Lu}\\pL+", "Orders") && !matches("\\p{Lu}\\pL+", "orders"));
        assert!(matches("[\\p{Nd}_-]+", "4_2-1") && !matches("[\\p{Nd}_-]+", "4a"));
        assert!(matches("[^\\pN]+", "a.b") && !matches("[^\\pN]+", "a1"));
        assert!(matches("a\\P{L}b", "a.b") && !matches("a\\P{L}b", "axb"));
        assert!(matches("a\\p{^L}b", "a1b") && matches("a\\P{^L}b", "axb"));
        assert!(matches("\\p{Latin}*\\p{Pd}\\p{Pc}\\p{P}", "ab-_."));
        assert!(matches("\\p{Any}+", "x.y") && !matches("\\P{Any}", "x"));
        assert!(!matches("\\p{Greek}", "a") && matches("\\P{Greek}", "a"));
    }

    #[test]
    fn what_is_no_class_stays_as_it_is() {
        assert!(matches("\\\\pL", "\\pL") && !matches("\\\\pL", "\\a"));
        assert!(matches("[]\\pN]+", "]1") && matches("[^]\\pN]", "a"));
        assert!(matches("[[:alpha:]\\pN]+", "a1") && !matches("[[:alpha:]]", "1"));
        assert!(matches("\\Q\\pL\\E", "\\pL"));
    }

    #[test]
    fn unknown_classes_are_no_patterns() {
        for bad in [
            "\\p",
            "\\p{",
            "\\p{Xx}",
            "\\p{greek}",
            "\\pX",
            "[\\p{Nope}]",
        ] {
            assert!(whole_name(bad).is_err(), "{bad}");
        }
    }
}
