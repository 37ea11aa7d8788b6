//! A message as a flat list of paths and values, read from its `{:#?}` text.
//!
//! The messages are plain structs with a derived `Debug`; its pretty form is regular enough to be
//! taken apart line by line, and so no second description of every message is needed here. Each
//! leaf also tells which struct's field it fills, for the record of what was seen.

/// One value of a message.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    /// `topics[0].partitions[2].error_code`
    pub path: String,
    /// The struct and field that the value fills: `("MetadataResponsePartition", "error_code")`.
    pub place: (String, String),
    /// As `Debug` prints it. A list or an optional that is there leaves `[..]` or `Some` besides
    /// what is in it.
    pub value: String,
}

/// What an open bracket stands for.
enum Frame {
    Struct {
        name: String,
        path: String,
    },
    List {
        path: String,
        place: (String, String),
        next: usize,
    },
    Some {
        path: String,
        place: (String, String),
    },
}

pub fn leaves(message: &impl std::fmt::Debug) -> Vec<Leaf> {
    let text = format!("{message:#?}");
    let mut stack: Vec<Frame> = Vec::new();
    let mut found = Vec::new();
    for line in text.lines() {
        let line = line.trim();
        if matches!(line, "}" | "}," | "]" | "]," | ")" | "),") {
            stack.pop();
            continue;
        }
        let (path, place, value) = place_of(&mut stack, line);
        if let Some(name) = value.strip_suffix(" {") {
            stack.push(Frame::Struct {
                name: name.to_owned(),
                path,
            });
        } else if value == "[" {
            found.push(Leaf {
                path: path.clone(),
                place: place.clone(),
                value: "[..]".into(),
            });
            stack.push(Frame::List {
                path,
                place,
                next: 0,
            });
        } else if value == "Some(" {
            found.push(Leaf {
                path: path.clone(),
                place: place.clone(),
                value: "Some".into(),
            });
            stack.push(Frame::Some { path, place });
        } else {
            let value = value.strip_suffix(',').unwrap_or(value).to_owned();
            found.push(Leaf { path, place, value });
        }
    }
    found
}

/// Where the value on this line belongs, and the text of the value itself.
fn place_of<'a>(stack: &mut [Frame], line: &'a str) -> (String, (String, String), &'a str) {
    match stack.last_mut() {
        None => (String::new(), (String::new(), String::new()), line),
        Some(Frame::Struct { name, path }) => {
            let (field, value) = line.split_once(": ").unwrap_or((line, ""));
            let joined = if path.is_empty() {
                field.to_owned()
            } else {
                format!("{path}.{field}")
            };
            (joined, (name.clone(), field.to_owned()), value)
        }
        Some(Frame::List { path, place, next }) => {
            let path = format!("{path}[{next}]");
            *next += 1;
            (path, place.clone(), line)
        }
        Some(Frame::Some { path, place }) => (path.clone(), place.clone(), line),
    }
}

#[cfg(test)]
mod tests {
    use super::leaves;

    #[derive(Debug)]
    #[expect(dead_code, reason = "read through Debug only")]
    struct Inner {
        name: Option<&'static str>,
        numbers: Vec<i32>,
    }

    #[derive(Debug)]
    #[expect(dead_code, reason = "read through Debug only")]
    struct Outer {
        inner: Vec<Inner>,
        one: Option<Inner>,
        none: Option<i32>,
    }

    #[test]
    fn every_value_has_a_path_and_a_place() {
        let inner = || Inner {
            name: Some("a: {"),
            numbers: vec![7, 8],
        };
        let outer = Outer {
            inner: vec![inner()],
            one: Some(inner()),
            none: None,
        };
        let text: Vec<String> = leaves(&outer)
            .iter()
            .map(|l| format!("{} {}.{} {}", l.path, l.place.0, l.place.1, l.value))
            .collect();
        assert_eq!(
            text,
            [
                "inner Outer.inner [..]",
                "inner[0].name Inner.name Some",
                "inner[0].name Inner.name \"a: {\"",
                "inner[0].numbers Inner.numbers [..]",
                "inner[0].numbers[0] Inner.numbers 7",
                "inner[0].numbers[1] Inner.numbers 8",
                "one Outer.one Some",
                "one.name Inner.name Some",
                "one.name Inner.name \"a: {\"",
                "one.numbers Inner.numbers [..]",
                "one.numbers[0] Inner.numbers 7",
                "one.numbers[1] Inner.numbers 8",
                "none Outer.none None",
            ]
        );
    }
}
