//! The `Message` derive: from a plain struct with Kafka's schema in its attributes to decode,
//! encode, defaults and, in tests, filled samples. What the attributes mean is told in
//! `ottla_protocol::field` and in `docs/messages.md`; the code it writes calls only
//! `::ottla_protocol`.

mod schema;
mod write;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// See `ottla_protocol::Message`.
#[proc_macro_derive(Message, attributes(message, field))]
pub fn derive_message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    match schema::Schema::parse(&input) {
        Ok(schema) => write::all(&schema).into(),
        Err(error) => error.into_compile_error().into(),
    }
}
