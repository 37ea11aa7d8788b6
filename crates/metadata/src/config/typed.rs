//! Typed access: the only way that code reads a setting, so that "honoured" is a fact and not a claim.

use super::value::{BadValue, split_list};

/// Resolved values by Kafka's name; `None` is null.
pub(super) trait Values {
    fn value(&self, name: &'static str) -> Option<String>;
}

/// A Rust type that a setting can be read as.
pub(super) trait Typed: Sized {
    fn read(name: &'static str, text: Option<String>) -> Result<Self, BadValue>;
}

/// Declares a struct whose fields are settings; the names become `FIELDS`.
macro_rules! settings {
    ($(#[$about:meta])* $vis:vis struct $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty = $key:literal,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq)]
        $vis struct $name {
            $($(#[$doc])* #[doc = concat!("`", $key, "`")] $vis $field: $type,)*
        }

        impl $name {
            /// The settings that this struct reads, each after its field.
            $vis const FIELDS: &[(&'static str, &'static str)] = &[$((stringify!($field), $key)),*];

            pub(super) fn read(values: &impl super::typed::Values) -> Result<Self, super::value::BadValue> {
                Ok(Self {
                    $($field: super::typed::Typed::read($key, values.value($key))?,)*
                })
            }
        }
    };
}
pub(super) use settings;

fn bad(name: &str, value: Option<String>, allowed: &str) -> BadValue {
    BadValue::new(name, value.as_deref(), allowed)
}

macro_rules! parsed {
    ($($type:ty = $allowed:literal),*) => {$(
        impl Typed for $type {
            fn read(name: &'static str, text: Option<String>) -> Result<Self, BadValue> {
                match text.as_deref().map(|text| text.trim().parse()) {
                    Some(Ok(value)) => Ok(value),
                    _ => Err(bad(name, text, $allowed)),
                }
            }
        }
    )*};
}
parsed!(
    i16 = "Not a number of type SHORT",
    i32 = "Not a number of type INT",
    i64 = "Not a number of type LONG",
    f64 = "Not a number of type DOUBLE"
);

impl Typed for bool {
    fn read(name: &'static str, text: Option<String>) -> Result<Self, BadValue> {
        match text
            .as_deref()
            .map(|text| text.trim().to_ascii_lowercase())
            .as_deref()
        {
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            _ => Err(bad(name, text, "Expected value to be either true or false")),
        }
    }
}

impl Typed for String {
    fn read(name: &'static str, text: Option<String>) -> Result<Self, BadValue> {
        text.ok_or_else(|| bad(name, None, "entry must be non null"))
    }
}

impl<T: Typed> Typed for Option<T> {
    fn read(name: &'static str, text: Option<String>) -> Result<Self, BadValue> {
        text.map(|text| T::read(name, Some(text))).transpose()
    }
}

impl Typed for Vec<String> {
    fn read(_name: &'static str, text: Option<String>) -> Result<Self, BadValue> {
        Ok(split_list(&text.unwrap_or_default()))
    }
}
