//! The `Message` derive: from a plain struct with Kafka's schema in its attributes to decode,
//! encode, defaults and, in tests, filled samples. What the attributes mean is told below; the code
//! that it writes calls only `::ottla_protocol`.

mod schema;
mod write;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// Writes `Message` and `Default`; for whole messages `Versioned`, for requests `Request`; with the
/// feature `testing` of the protocol crate also `Sample`.
///
/// On the struct, `#[message(…)]`:
///
/// - what it is: `request`, `response`, `record`, `value` (a whole message without a key), or
///   `part` (a struct inside a message, with the message's versions);
/// - `key = 3`, `versions = "0-13"`, `flexible = "9+"` or `"none"`; of a request also
///   `response = TheResponse`;
/// - `by_hand`: decode and encode are written by hand, everything else is derived.
///
/// On a field, `#[field(…)]`, all optional:
///
/// - `versions = "3"`, `"3-5"` or `"3+"`: where it exists; everywhere if not said;
/// - `nullable = "1+"`: where it may be null; the type is an `Option`, and without this it may be
///   null everywhere;
/// - `default = EXPRESSION`: if not said, zero, empty, or for an `Option` an empty value, as in
///   Kafka; `None` for null;
/// - `tag = 0`, and `tagged = "12+"` if it is tagged in only some of its versions;
/// - `ignorable`: a version without the field drops the value; otherwise that is `Unsupported`.
///
/// The type says what is on the wire: `bool`, the integers, `f64`, `Uuid`, `Text`, `Bytes` (bytes
/// and records), `Vec` of these, a part, and `Option` where it may be null.
#[proc_macro_derive(Message, attributes(message, field))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    match schema::Schema::parse(&input) {
        Ok(schema) => write::all(&schema).into(),
        Err(error) => error.into_compile_error().into(),
    }
}
