//! The code for one struct.

use proc_macro2::TokenStream;
use quote::quote;
use syn::Expr;

use crate::schema::{Field, Kind, Range, Schema, Tag};

pub(crate) fn all(schema: &Schema) -> TokenStream {
    let message = if schema.by_hand {
        TokenStream::new()
    } else {
        message(schema)
    };
    let default = default(schema);
    let versioned = versioned(schema);
    let sample = sample(schema);
    quote! { #message #default #versioned #sample }
}

fn message(schema: &Schema) -> TokenStream {
    let name = &schema.name;
    let label = name.to_string();
    let reads = schema.fields.iter().map(read_untagged);
    let writes = schema.fields.iter().map(write_untagged);
    let sizes = schema.fields.iter().map(smallest);
    let read_tags = read_tags(schema, &label);
    let write_tags = write_tags(schema);
    quote! {
        #[automatically_derived]
        #[allow(clippy::all, unused_variables, unused_mut)]
        impl ::ottla_protocol::field::Message for #name {
            fn decode(
                reader: &mut ::ottla_protocol::field::Reader,
                version: ::ottla_protocol::field::Version,
            ) -> ::core::result::Result<Self, ::ottla_protocol::field::Malformed> {
                let mut this = <Self as ::core::default::Default>::default();
                #(#reads)*
                if version.flexible { #read_tags }
                ::core::result::Result::Ok(this)
            }

            fn encode(
                &self,
                writer: &mut ::ottla_protocol::field::Writer,
                version: ::ottla_protocol::field::Version,
            ) -> ::core::result::Result<(), ::ottla_protocol::field::Unsupported> {
                #(#writes)*
                if version.flexible { #write_tags }
                ::core::result::Result::Ok(())
            }

            fn smallest(version: ::ottla_protocol::field::Version) -> usize {
                let mut size = usize::from(version.flexible);
                #(#sizes)*
                size
            }
        }
    }
}

fn versioned(schema: &Schema) -> TokenStream {
    let name = &schema.name;
    if schema.kind == Kind::Part {
        return TokenStream::new();
    }
    let label = name.to_string();
    let (key, flexible_from) = (schema.key, schema.flexible_from);
    let Range { first, last } = schema.versions;
    let request = schema.response.as_ref().map(|response| {
        quote! {
            #[automatically_derived]
            impl ::ottla_protocol::field::Request for #name {
                type Response = #response;
            }
        }
    });
    let throttle = schema
        .fields
        .iter()
        .find(|field| field.name == "throttle_time_ms")
        .map(|_| {
            quote! {
                fn throttle_time_ms(&self) -> i32 {
                    self.throttle_time_ms
                }
                fn set_throttle_time_ms(&mut self, throttle_time_ms: i32) {
                    self.throttle_time_ms = throttle_time_ms;
                }
            }
        });
    quote! {
        #[automatically_derived]
        impl ::ottla_protocol::field::Versioned for #name {
            const KEY: i16 = #key;
            const NAME: &'static str = #label;
            const VERSIONS: (i16, i16) = (#first, #last);
            const FLEXIBLE_FROM: i16 = #flexible_from;
            #throttle
        }
        #request
    }
}

fn default(schema: &Schema) -> TokenStream {
    let name = &schema.name;
    let fields = schema.fields.iter().map(|field| {
        let (name, value) = (&field.name, default_value(field));
        quote! { #name: #value }
    });
    let (parameters, arguments, bounds) = schema.generics.split_for_impl();
    quote! {
        #[automatically_derived]
        #[allow(clippy::all)]
        impl #parameters ::core::default::Default for #name #arguments #bounds {
            fn default() -> Self {
                Self { #(#fields),* }
            }
        }
    }
}

/// Kafka's default: what was given, or zero, empty, and for what may be null an empty value.
fn default_value(field: &Field) -> TokenStream {
    let optional = field.nullable.is_some();
    match &field.default {
        Some(Expr::Lit(literal)) => {
            let value = match &literal.lit {
                syn::Lit::Str(text) => quote! { ::ottla_protocol::names::Text::from_static(#text) },
                other => quote! { #other },
            };
            if optional {
                quote! { ::core::option::Option::Some(#value) }
            } else {
                value
            }
        }
        Some(expression) => quote! { #expression },
        None if optional => {
            quote! { ::core::option::Option::Some(::core::default::Default::default()) }
        }
        None => {
            let kind = &field.kind;
            quote! { <#kind as ::core::default::Default>::default() }
        }
    }
}

/// Whether the version, named `version`, lies in the range.
fn within(range: Range) -> TokenStream {
    let Range { first, last } = range;
    if range.is_all() {
        quote! { true }
    } else if last == i16::MAX {
        quote! { (version.number >= #first) }
    } else if first == 0 {
        quote! { (version.number <= #last) }
    } else {
        quote! { (version.number >= #first && version.number <= #last) }
    }
}

/// Whether the field stands among the ordinary fields of this version.
fn in_body(field: &Field) -> TokenStream {
    let present = within(field.versions);
    match field.tag {
        None => present,
        Some(Tag { versions, .. }) if versions == field.versions => quote! { false },
        Some(Tag { versions, .. }) => {
            let tagged = within(versions);
            quote! { (#present && !#tagged) }
        }
    }
}

fn in_tags(field: &Field, tag: Tag) -> TokenStream {
    let (present, tagged) = (within(field.versions), within(tag.versions));
    quote! { (version.flexible && #present && #tagged) }
}

fn read_untagged(field: &Field) -> TokenStream {
    let name = &field.name;
    let (condition, value) = (in_body(field), read(field, false));
    quote! { if #condition { this.#name = #value; } }
}

fn read(field: &Field, tagged: bool) -> TokenStream {
    let label = &field.label;
    let plain = quote! { ::ottla_protocol::field::Field::read(reader, version, #label)? };
    let Some(nullable) = field.nullable else {
        return plain;
    };
    let read = if tagged {
        quote! { read_nullable_tagged }
    } else {
        quote! { read_nullable }
    };
    let may_be_null = within(nullable);
    quote! {
        if #may_be_null {
            ::ottla_protocol::field::NullableField::#read(reader, version, #label)?
        } else {
            ::core::option::Option::Some(#plain)
        }
    }
}

fn read_tags(schema: &Schema, label: &str) -> TokenStream {
    let arms: Vec<_> = schema
        .tagged()
        .map(|(field, tag)| {
            let (name, number) = (&field.name, tag.number);
            let (condition, value) = (in_tags(field, tag), read(field, true));
            let label = &field.label;
            quote! {
                #number if #condition => { this.#name = #value; }
                #number => {
                    return ::core::result::Result::Err(::ottla_protocol::field::Malformed::new(
                        #label,
                        ::ottla_protocol::field::Why::BadTag,
                    ));
                }
            }
        })
        .collect();
    if arms.is_empty() {
        return quote! { reader.skip_tagged(#label)?; };
    }
    quote! {
        reader.tagged(#label, |reader, tag| {
            match tag {
                #(#arms)*
                _ => return ::core::result::Result::Ok(false),
            }
            ::core::result::Result::Ok(true)
        })?;
    }
}

fn write_untagged(field: &Field) -> TokenStream {
    let (condition, value) = (in_body(field), write(field, false));
    let refuse = refuse_absent(field);
    quote! { if #condition { #value } #refuse }
}

/// A value that the version cannot say is an error, unless it says nothing or may be dropped.
fn refuse_absent(field: &Field) -> TokenStream {
    let never_absent = field.versions.is_all() && field.tag.is_none();
    if field.ignorable || never_absent {
        return TokenStream::new();
    }
    let (label, changed) = (&field.label, changed(field));
    let tagged = match field.tag {
        Some(tag) => in_tags(field, tag),
        None => quote! { false },
    };
    quote! {
        else if !#tagged && #changed {
            return ::core::result::Result::Err(::ottla_protocol::field::Unsupported::new(
                #label,
                version,
                ::ottla_protocol::field::Lack::Field,
            ));
        }
    }
}

fn changed(field: &Field) -> TokenStream {
    let name = &field.name;
    if is_plain_vec(field) {
        return quote! { !self.#name.is_empty() };
    }
    let value = default_value(field);
    quote! { (self.#name != #value) }
}

fn is_plain_vec(field: &Field) -> bool {
    let syn::Type::Path(path) = &field.kind else {
        return false;
    };
    field.default.is_none()
        && path
            .path
            .segments
            .last()
            .is_some_and(|segment| segment.ident == "Vec")
}

fn write(field: &Field, tagged: bool) -> TokenStream {
    let (name, label) = (&field.name, &field.label);
    let Some(nullable) = field.nullable else {
        return quote! {
            ::ottla_protocol::field::Field::write(&self.#name, writer, version, #label)?;
        };
    };
    let write = if tagged {
        quote! { write_nullable_tagged }
    } else {
        quote! { write_nullable }
    };
    let may_be_null = within(nullable);
    quote! {
        if #may_be_null {
            ::ottla_protocol::field::NullableField::#write(
                self.#name.as_ref(), writer, version, #label,
            )?;
        } else {
            ::ottla_protocol::field::write_present(self.#name.as_ref(), writer, version, #label)?;
        }
    }
}

fn write_tags(schema: &Schema) -> TokenStream {
    let present: Vec<_> = schema
        .tagged()
        .map(|(field, tag)| {
            let (condition, changed) = (in_tags(field, tag), changed(field));
            quote! { #condition && #changed }
        })
        .collect();
    let writes = schema
        .tagged()
        .zip(&present)
        .map(|((field, tag), present)| {
            let (number, value) = (tag.number, write(field, true));
            quote! {
                if #present {
                    writer.tagged(#number, |writer| {
                        #value
                        ::core::result::Result::Ok(())
                    })?;
                }
            }
        });
    quote! {
        writer.uvarint(0 #(+ u32::from(#present))*);
        #(#writes)*
    }
}

fn smallest(field: &Field) -> TokenStream {
    let condition = in_body(field);
    if field.nullable.is_some() {
        // One byte is the least that any null takes.
        return quote! { if #condition { size += 1; } };
    }
    let kind = &field.kind;
    quote! {
        if #condition { size += <#kind as ::ottla_protocol::field::Field>::smallest(version); }
    }
}

/// A value with something in every field that the version has; only where the tests want it.
fn sample(schema: &Schema) -> TokenStream {
    let name = &schema.name;
    let fields = schema.fields.iter().map(|field| {
        let name = &field.name;
        let present = present(field);
        // Without the type's name, which may have a parameter that is not in scope here.
        let default = match (&field.default, field.nullable) {
            (None, None) => quote! { ::core::default::Default::default() },
            _ => default_value(field),
        };
        let sample = match field.nullable {
            None => quote! {
                ::ottla_protocol::testing::Sample::sample(sampler, version)
            },
            Some(nullable) => {
                let may_be_null = within(nullable);
                quote! {
                    sampler.nullable(#may_be_null, |sampler| {
                        ::ottla_protocol::testing::Sample::sample(sampler, version)
                    })
                }
            }
        };
        quote! {
            if #present {
                this.#name = sampler.other_than(&#default, |sampler| #sample);
            }
        }
    });
    quote! {
        ::ottla_protocol::when_testing! {
            #[automatically_derived]
            #[allow(clippy::all, unused_variables, unused_mut)]
            impl ::ottla_protocol::testing::Sample for #name {
                fn sample(
                    sampler: &mut ::ottla_protocol::testing::Sampler,
                    version: ::ottla_protocol::field::Version,
                ) -> Self {
                    let mut this = <Self as ::core::default::Default>::default();
                    #(#fields)*
                    this
                }
            }
        }
    }
}

fn present(field: &Field) -> TokenStream {
    let body = in_body(field);
    match field.tag {
        None => body,
        Some(tag) => {
            let tags = in_tags(field, tag);
            quote! { (#body || #tags) }
        }
    }
}
