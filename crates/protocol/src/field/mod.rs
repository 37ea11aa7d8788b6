//! The codec runtime: what the `Message` derive and the handwritten messages build on.
//!
//! A message is a plain struct. Decode ends in a value or in a `Malformed` that names the field,
//! whatever the bytes; strings and record sets are slices of what came in. Encode refuses what the
//! version cannot say. Nothing here recurses deeper than the schemas do.

mod kinds;
mod reader;
mod writer;

use std::fmt;

use bytes::Bytes;

pub use kinds::{Field, NullableField, write_present};
/// Writes `Message`, `Default` and, for whole messages, `Versioned` and `Request`.
pub use ottla_protocol_derive::Message;
pub use reader::Reader;
pub use writer::Writer;

/// The version that a message is read or written at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    pub number: i16,
    /// Compact lengths, and a section of tagged fields at the end of every struct.
    pub flexible: bool,
}

/// A struct on the wire: a whole message, or a part of one.
pub trait Message: Sized {
    fn decode(reader: &mut Reader, version: Version) -> Result<Self, Malformed>;
    fn encode(&self, writer: &mut Writer, version: Version) -> Result<(), Unsupported>;

    /// The fewest bytes that a value can take; bounds the length of an array of them.
    fn smallest(_version: Version) -> usize {
        1
    }
}

impl<M: Message> Message for Box<M> {
    fn decode(reader: &mut Reader, version: Version) -> Result<Self, Malformed> {
        M::decode(reader, version).map(Self::new)
    }

    fn encode(&self, writer: &mut Writer, version: Version) -> Result<(), Unsupported> {
        M::encode(self, writer, version)
    }

    fn smallest(version: Version) -> usize {
        M::smallest(version)
    }
}

/// A whole message with versions of its own.
pub trait Versioned: Message {
    /// The API or record key; -1 for messages that have none.
    const KEY: i16;
    const NAME: &'static str;
    /// First and last version that we know.
    const VERSIONS: (i16, i16);
    /// First flexible version; `i16::MAX` for never.
    const FLEXIBLE_FROM: i16;

    /// How long the client shall wait before it asks again, if the message has room for it.
    fn throttle_time_ms(&self) -> i32 {
        0
    }

    /// Says it, if the message has room for it.
    fn set_throttle_time_ms(&mut self, _: i32) {}

    fn knows(number: i16) -> bool {
        (Self::VERSIONS.0..=Self::VERSIONS.1).contains(&number)
    }

    fn version(number: i16) -> Version {
        Version {
            number,
            flexible: number >= Self::FLEXIBLE_FROM,
        }
    }
}

pub trait Request: Versioned {
    type Response: Versioned;
}

/// Read a message that fills these bytes exactly; surplus bytes are malformed.
pub fn decode_body<M: Versioned>(bytes: Bytes, version: i16) -> Result<M, Malformed> {
    if !M::knows(version) {
        return Err(Malformed::new(M::NAME, Why::Version));
    }
    let mut reader = Reader::new(bytes);
    let message = M::decode(&mut reader, M::version(version))?;
    reader.end(M::NAME)?;
    Ok(message)
}

/// Read a request as a server does: what follows it is passed over. Kafka does that too, and
/// librdkafka relies on it (its Metadata request for all topics ends in three idle bytes).
pub fn decode_request<M: Request>(bytes: Bytes, version: i16) -> Result<M, Malformed> {
    if !M::knows(version) {
        return Err(Malformed::new(M::NAME, Why::Version));
    }
    M::decode(&mut Reader::new(bytes), M::version(version))
}

/// Write a message at a version.
pub fn encode_body<M: Versioned>(message: &M, version: i16) -> Result<Bytes, Unsupported> {
    let mut writer = Writer::new();
    write_body(message, version, &mut writer)?;
    Ok(writer.finish())
}

/// Write a message behind what the writer holds already (a header, a record frame).
pub fn write_body<M: Versioned>(
    message: &M,
    version: i16,
    writer: &mut Writer,
) -> Result<(), Unsupported> {
    if !M::knows(version) {
        return Err(Unsupported {
            field: M::NAME,
            version,
            lack: Lack::Version,
        });
    }
    message.encode(writer, M::version(version))
}

/// The bytes are no such message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    pub field: &'static str,
    pub why: Why,
}

impl Malformed {
    #[cold]
    pub const fn new(field: &'static str, why: Why) -> Self {
        Self { field, why }
    }
}

/// What was wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// The bytes end within the field.
    Truncated,
    /// Bytes follow where the message, or a tagged field, should have ended.
    Surplus,
    /// A text longer than Kafka allows.
    TooLong,
    /// More elements than the remaining bytes can hold.
    TooManyElements,
    /// The arrays of this message would take more memory than its bytes justify.
    OverBudget,
    /// Null where the version has none.
    Null,
    /// A variable-length number that does not end, or does not fit.
    LongVarint,
    /// A tag out of order, or one that this version does not have.
    BadTag,
    /// Neither of the two marks that stand before a nullable struct.
    BadPresence,
    /// A version that we do not know.
    Version,
}

impl Why {
    fn words(self) -> &'static str {
        match self {
            Self::Truncated => "the bytes end too early",
            Self::Surplus => "bytes are left over",
            Self::TooLong => "the text is longer than 32767 bytes",
            Self::TooManyElements => "more elements than bytes to hold them",
            Self::OverBudget => "too many elements for a message of this size",
            Self::Null => "null is not allowed in this version",
            Self::LongVarint => "the number does not end in time",
            Self::BadTag => "a tag out of order or unknown to this version",
            Self::BadPresence => "neither present nor null",
            Self::Version => "unknown version",
        }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.why.words())
    }
}

impl std::error::Error for Malformed {}

/// The value cannot be said in this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsupported {
    pub field: &'static str,
    pub version: i16,
    pub lack: Lack,
}

impl Unsupported {
    #[cold]
    pub const fn new(field: &'static str, version: Version, lack: Lack) -> Self {
        Self {
            field,
            version: version.number,
            lack,
        }
    }
}

/// What the version, or the wire, lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lack {
    /// The version has no such field, and the value is not the default.
    Field,
    /// The field cannot be null in this version.
    Null,
    /// The value is longer than its length field can say.
    Length,
    /// We do not know the version at all.
    Version,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            field,
            version,
            lack,
        } = self;
        match lack {
            Lack::Field => write!(f, "{field} does not exist in version {version}"),
            Lack::Null => write!(f, "{field} cannot be null in version {version}"),
            Lack::Length => write!(f, "{field} is too long to be written"),
            Lack::Version => write!(f, "{field} has no version {version}"),
        }
    }
}

impl std::error::Error for Unsupported {}
