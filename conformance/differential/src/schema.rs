//! What our message definitions say, read from their source text.
//!
//! The derive turns `#[field(...)]` into code and keeps nothing of it, so the list of fields that
//! an answer could fill is taken from the files themselves. They are regular: attributes, then one
//! `pub name: Type,` a line.

use std::collections::BTreeMap;
use std::path::Path;

/// One field of one struct.
#[derive(Debug, Clone)]
pub struct Field {
    pub name: String,
    pub versions: (i16, i16),
    /// The struct inside, whatever stands around it (`Vec`, `Option`, `Box`).
    pub part: Option<String>,
    /// Whether the field is nothing but its part: then it has no value of its own.
    pub is_bare_part: bool,
    /// How `Debug` prints the value that stands for "nothing said".
    pub default: String,
}

/// All structs of the messages by name.
#[derive(Default)]
pub struct Schema {
    structs: BTreeMap<String, Vec<Field>>,
}

impl Schema {
    pub fn read(folder: &Path) -> std::io::Result<Self> {
        let mut schema = Self::default();
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|ext| ext == "rs") {
                schema.add(&std::fs::read_to_string(path)?);
            }
        }
        schema.close();
        Ok(schema)
    }

    fn add(&mut self, text: &str) {
        let mut inside: Option<String> = None;
        let mut attribute = String::new();
        let mut open = false;
        for line in text.lines().map(str::trim) {
            if open || line.starts_with("#[field(") {
                attribute.push_str(line);
                open = !attribute.ends_with(")]");
            } else if let Some(rest) = line.strip_prefix("pub struct ") {
                let name = rest
                    .split([' ', '{', ';', '<'])
                    .next()
                    .unwrap_or("")
                    .to_owned();
                self.structs.entry(name.clone()).or_default();
                inside = (!rest.ends_with('}') && !rest.ends_with(';')).then_some(name);
            } else if line == "}" {
                inside = None;
            } else if let (Some(name), Some(rest)) = (&inside, line.strip_prefix("pub "))
                && let Some((field, kind)) = rest.trim_end_matches(',').split_once(": ")
            {
                let field = field_of(field, kind, &std::mem::take(&mut attribute));
                self.structs.entry(name.clone()).or_default().push(field);
            }
        }
    }

    /// Types that are no struct of ours are no parts.
    fn close(&mut self) {
        let names: Vec<String> = self.structs.keys().cloned().collect();
        for field in self.structs.values_mut().flatten() {
            if !field.part.as_ref().is_some_and(|part| names.contains(part)) {
                field.part = None;
                field.is_bare_part = false;
            }
        }
    }

    /// Every field that a message of this name can fill in this version.
    pub fn reachable(&self, message: &str, version: i16) -> Vec<(String, String)> {
        let mut found = Vec::new();
        self.walk(message, version, &mut found);
        found
    }

    fn walk(&self, name: &str, version: i16, found: &mut Vec<(String, String)>) {
        for field in self.structs.get(name).into_iter().flatten() {
            if version < field.versions.0 || version > field.versions.1 {
                continue;
            }
            let place = (name.to_owned(), field.name.clone());
            if found.contains(&place) {
                continue;
            }
            if !field.is_bare_part {
                found.push(place);
            }
            if let Some(part) = &field.part {
                self.walk(part, version, found);
            }
        }
    }

    /// Whether this value says something in this place.
    pub fn is_default(&self, place: &(String, String), value: &str) -> bool {
        let field = self
            .structs
            .get(&place.0)
            .and_then(|all| all.iter().find(|f| f.name == place.1));
        match field {
            // `Some` is news only where silence is `None`.
            Some(field) if value == "Some" => field.default != "None",
            Some(field) => value == field.default,
            None => true,
        }
    }
}

fn field_of(name: &str, kind: &str, attribute: &str) -> Field {
    let bare = kind.trim_start_matches("Box<").trim_end_matches('>');
    let inner = kind
        .trim_start_matches("Option<")
        .trim_start_matches("Box<")
        .trim_start_matches("Vec<")
        .trim_end_matches('>');
    // A parameter, as in `FetchPartitionData<R>`, is not part of the name.
    let inner = inner.split('<').next().unwrap_or(inner);
    Field {
        name: name.to_owned(),
        versions: key(attribute, "versions").map_or((0, i16::MAX), |text| range(&text)),
        part: Some(inner.to_owned()),
        is_bare_part: bare.starts_with(inner)
            && !kind.starts_with("Vec")
            && !kind.starts_with("Option"),
        default: key(attribute, "default").map_or_else(|| silence(kind), |text| plain(&text)),
    }
}

/// The value of `name = value` in an attribute.
fn key(attribute: &str, name: &str) -> Option<String> {
    let at = attribute
        .match_indices(&format!("{name} = "))
        .find(|(at, _)| attribute[..*at].ends_with(['(', ' ', ',']))?
        .0;
    let rest = &attribute[at + name.len() + 3..];
    let end = rest.find([',', ')']).unwrap_or(rest.len());
    Some(rest[..end].trim_matches('"').to_owned())
}

fn range(text: &str) -> (i16, i16) {
    let number = |text: &str| text.parse().unwrap_or(0);
    match (text.strip_suffix('+'), text.split_once('-')) {
        (Some(from), _) => (number(from), i16::MAX),
        (None, Some((from, to))) => (number(from), number(to)),
        (None, None) => (number(text), number(text)),
    }
}

fn plain(text: &str) -> String {
    match text {
        "i32::MIN" => i32::MIN.to_string(),
        "i32::MAX" => i32::MAX.to_string(),
        "i64::MAX" => i64::MAX.to_string(),
        other => other.to_owned(),
    }
}

/// The default of a type: what an optional holds where nothing else is said, too.
fn silence(kind: &str) -> String {
    let kind = kind.trim_start_matches("Option<");
    match kind.trim_end_matches('>') {
        "bool" => "false",
        "Text" => "\"\"",
        "Bytes" => "b\"\"",
        "Uuid" => "AAAAAAAAAAAAAAAAAAAAAA",
        "f64" => "0.0",
        _ if kind.starts_with("Vec<") => "[]",
        _ => "0",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::Schema;

    const TEXT: &str = r#"
#[message(response, key = 3, versions = "0-13", flexible = "9+")]
pub struct Answer {
    #[field(versions = "3+", ignorable)]
    pub throttle_time_ms: i32,
    pub parts: Vec<Part>,
    #[field(
        versions = "1-2",
        default = -1
    )]
    pub controller_id: i32,
}
pub struct Part {
    #[field(nullable = "0+", default = None)]
    pub name: Option<Text>,
}
"#;

    #[test]
    fn fields_versions_and_defaults_are_found() {
        let mut schema = Schema::default();
        schema.add(TEXT);
        schema.close();
        let names = |version| {
            let all = schema.reachable("Answer", version);
            all.into_iter().map(|(_, field)| field).collect::<Vec<_>>()
        };
        assert_eq!(names(0), ["parts", "name"]);
        assert_eq!(names(2), ["parts", "name", "controller_id"]);
        assert_eq!(names(3), ["throttle_time_ms", "parts", "name"]);
        let place = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert!(schema.is_default(&place("Answer", "controller_id"), "-1"));
        assert!(!schema.is_default(&place("Answer", "controller_id"), "0"));
        assert!(!schema.is_default(&place("Part", "name"), "Some"));
        assert!(schema.is_default(&place("Part", "name"), "None"));
    }
}
