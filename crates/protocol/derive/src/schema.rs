//! What the attributes of one struct say.

use proc_macro2::Span;
use syn::punctuated::Punctuated;
use syn::{
    Data, DeriveInput, Error, Expr, Fields, Generics, Ident, LitInt, LitStr, Meta, Path, Result,
    Token, Type,
};

/// Versions `first..=last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: i16,
    pub(crate) last: i16,
}

impl Range {
    const ALL: Self = Self {
        first: 0,
        last: i16::MAX,
    };

    pub(crate) fn is_all(self) -> bool {
        self == Self::ALL
    }

    /// `"3"`, `"3-5"` or `"3+"`.
    fn parse(text: &LitStr) -> Result<Self> {
        let value = text.value();
        let number = |part: &str| {
            let parsed = part.parse::<i16>().ok().filter(|number| *number >= 0);
            parsed.ok_or_else(|| Error::new(text.span(), "versions are \"3\", \"3-5\" or \"3+\""))
        };
        let range = if let Some(first) = value.strip_suffix('+') {
            Self {
                first: number(first)?,
                last: i16::MAX,
            }
        } else if let Some((first, last)) = value.split_once('-') {
            Self {
                first: number(first)?,
                last: number(last)?,
            }
        } else {
            Self {
                first: number(&value)?,
                last: number(&value)?,
            }
        };
        if range.first > range.last {
            return Err(Error::new(
                text.span(),
                "the first version is above the last",
            ));
        }
        Ok(range)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
    Record,
    Value,
    Part,
}

pub(crate) struct Schema {
    pub(crate) name: Ident,
    pub(crate) generics: Generics,
    pub(crate) kind: Kind,
    /// Decode and encode are written by hand.
    pub(crate) by_hand: bool,
    /// -1 where there is none.
    pub(crate) key: i16,
    pub(crate) versions: Range,
    /// `i16::MAX` for never.
    pub(crate) flexible_from: i16,
    pub(crate) response: Option<Path>,
    pub(crate) fields: Vec<Field>,
}

pub(crate) struct Field {
    pub(crate) name: Ident,
    pub(crate) kind: Type,
    /// The struct and the field, as errors name it.
    pub(crate) label: String,
    pub(crate) versions: Range,
    /// `None` for a type that is no Option.
    pub(crate) nullable: Option<Range>,
    pub(crate) default: Option<Expr>,
    pub(crate) tag: Option<Tag>,
    pub(crate) ignorable: bool,
}

#[derive(Clone, Copy)]
pub(crate) struct Tag {
    pub(crate) number: u32,
    pub(crate) versions: Range,
}

impl Schema {
    pub(crate) fn parse(input: &DeriveInput) -> Result<Self> {
        let Data::Struct(body) = &input.data else {
            return Err(Error::new_spanned(&input.ident, "a message is a struct"));
        };
        let none = Punctuated::new();
        let fields = match &body.fields {
            Fields::Named(fields) => &fields.named,
            Fields::Unit => &none,
            Fields::Unnamed(_) => {
                return Err(Error::new_spanned(
                    &input.ident,
                    "the fields of a message have names",
                ));
            }
        };
        let mut schema = Self::head(input)?;
        for field in fields {
            schema.fields.push(Field::parse(field, &input.ident)?);
        }
        schema.check_tags()?;
        Ok(schema)
    }

    fn head(input: &DeriveInput) -> Result<Self> {
        let mut kind = None;
        let mut key = None;
        let mut versions = None;
        let mut flexible_from = None;
        let mut response = None;
        let mut by_hand = false;
        for attribute in input
            .attrs
            .iter()
            .filter(|attr| attr.path().is_ident("message"))
        {
            let metas =
                attribute.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)?;
            for meta in metas {
                if let Meta::Path(path) = &meta {
                    if path.is_ident("by_hand") {
                        by_hand = true;
                        continue;
                    }
                    kind = Some(parse_kind(path)?);
                    continue;
                }
                let pair = meta.require_name_value()?;
                let word = pair.path.require_ident()?.to_string();
                match word.as_str() {
                    "key" => key = Some(number(&pair.value)?),
                    "versions" => versions = Some(Range::parse(&text(&pair.value)?)?),
                    "flexible" => flexible_from = Some(parse_flexible(&text(&pair.value)?)?),
                    "response" => response = Some(path(&pair.value)?),
                    _ => return Err(Error::new_spanned(pair, "unknown word in message(…)")),
                }
            }
        }
        let lack =
            |what: &str| Error::new_spanned(&input.ident, format!("message(…) lacks {what}"));
        let kind = kind.ok_or_else(|| lack("request, response, record, value or part"))?;
        let whole = kind != Kind::Part;
        if whole && (versions.is_none() || flexible_from.is_none()) {
            return Err(lack("versions and flexible"));
        }
        if !whole && (versions.is_some() || flexible_from.is_some() || key.is_some()) {
            return Err(Error::new_spanned(
                &input.ident,
                "a part has the versions of its message",
            ));
        }
        let keyed = matches!(kind, Kind::Request | Kind::Response | Kind::Record);
        if keyed != key.is_some() {
            return Err(lack("key (or has one, and is a value)"));
        }
        if (kind == Kind::Request) != response.is_some() {
            return Err(lack("response (or has one, and is no request)"));
        }
        Ok(Self {
            name: input.ident.clone(),
            generics: input.generics.clone(),
            kind,
            by_hand,
            key: key.unwrap_or(-1),
            versions: versions.unwrap_or(Range::ALL),
            flexible_from: flexible_from.unwrap_or(i16::MAX),
            response,
            fields: Vec::new(),
        })
    }

    /// Tags are the numbers 0, 1, 2 … of a struct, each once.
    fn check_tags(&self) -> Result<()> {
        let mut tags: Vec<_> = self.tagged().map(|(_, tag)| tag.number).collect();
        tags.dedup();
        let n_tagged = self
            .fields
            .iter()
            .filter(|field| field.tag.is_some())
            .count();
        if tags.len() != n_tagged {
            return Err(Error::new_spanned(
                &self.name,
                "two fields have the same tag",
            ));
        }
        Ok(())
    }

    /// Tagged fields by ascending tag, as they go on the wire.
    pub(crate) fn tagged(&self) -> impl Iterator<Item = (&Field, Tag)> {
        let mut tagged: Vec<_> = self
            .fields
            .iter()
            .filter_map(|field| Some((field, field.tag?)))
            .collect();
        tagged.sort_by_key(|(_, tag)| tag.number);
        tagged.into_iter()
    }
}

impl Field {
    fn parse(field: &syn::Field, owner: &Ident) -> Result<Self> {
        let Some(name) = field.ident.clone() else {
            return Err(Error::new_spanned(
                field,
                "the fields of a message have names",
            ));
        };
        let mut versions = Range::ALL;
        let mut nullable = None;
        let mut default = None;
        let mut tag = None;
        let mut tagged = None;
        let mut ignorable = false;
        for attribute in field
            .attrs
            .iter()
            .filter(|attr| attr.path().is_ident("field"))
        {
            attribute.parse_nested_meta(|meta| {
                let word = meta.path.require_ident()?.to_string();
                match word.as_str() {
                    "versions" => versions = Range::parse(&meta.value()?.parse()?)?,
                    "nullable" => nullable = Some(Range::parse(&meta.value()?.parse()?)?),
                    "default" => default = Some(meta.value()?.parse()?),
                    "tag" => tag = Some(meta.value()?.parse::<LitInt>()?.base10_parse::<u32>()?),
                    "tagged" => tagged = Some(Range::parse(&meta.value()?.parse()?)?),
                    "ignorable" => ignorable = true,
                    _ => return Err(meta.error("unknown word in field(…)")),
                }
                Ok(())
            })?;
        }
        let optional = is_option(&field.ty);
        if nullable.is_some() && !optional {
            return Err(Error::new_spanned(
                &field.ty,
                "a nullable field is an Option",
            ));
        }
        if tagged.is_some() && tag.is_none() {
            return Err(Error::new_spanned(&name, "tagged without a tag"));
        }
        let label = format!("{owner}.{}", name.to_string().trim_start_matches("r#"));
        Ok(Self {
            label,
            name,
            kind: field.ty.clone(),
            versions,
            nullable: optional.then(|| nullable.unwrap_or(Range::ALL)),
            default,
            tag: tag.map(|number| Tag {
                number,
                versions: tagged.unwrap_or(versions),
            }),
            ignorable,
        })
    }
}

fn is_option(kind: &Type) -> bool {
    let Type::Path(path) = kind else { return false };
    path.path
        .segments
        .last()
        .is_some_and(|segment| segment.ident == "Option")
}

fn parse_kind(path: &Path) -> Result<Kind> {
    match path.require_ident()?.to_string().as_str() {
        "request" => Ok(Kind::Request),
        "response" => Ok(Kind::Response),
        "record" => Ok(Kind::Record),
        "value" => Ok(Kind::Value),
        "part" => Ok(Kind::Part),
        _ => Err(Error::new_spanned(
            path,
            "request, response, record, value or part",
        )),
    }
}

/// `"9+"` or `"none"`.
fn parse_flexible(text: &LitStr) -> Result<i16> {
    if text.value() == "none" {
        return Ok(i16::MAX);
    }
    let range = Range::parse(text)?;
    if range.last != i16::MAX {
        return Err(Error::new(text.span(), "flexible is \"9+\" or \"none\""));
    }
    Ok(range.first)
}

fn text(value: &Expr) -> Result<LitStr> {
    match value {
        Expr::Lit(syn::ExprLit {
            lit: syn::Lit::Str(text),
            ..
        }) => Ok(text.clone()),
        _ => Err(Error::new_spanned(value, "expected a string")),
    }
}

fn number(value: &Expr) -> Result<i16> {
    match value {
        Expr::Lit(syn::ExprLit {
            lit: syn::Lit::Int(number),
            ..
        }) => number.base10_parse(),
        _ => Err(Error::new_spanned(value, "expected a number")),
    }
}

fn path(value: &Expr) -> Result<Path> {
    match value {
        Expr::Path(path) => Ok(path.path.clone()),
        _ => Err(Error::new(Span::call_site(), "expected a type")),
    }
}
