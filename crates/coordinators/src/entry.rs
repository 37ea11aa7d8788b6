//! Key and value of one record of an internal topic: a number, then a body.

use std::fmt;

use bytes::Bytes;
use ottla_protocol::field::write_body;
use ottla_protocol::{Malformed, Versioned, Writer, decode_body};

/// Most keys and values are no larger.
const USUAL_BYTES: usize = 128;

/// Why a record cannot be replayed. The partition is then not served, and says this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Corrupt {
    /// A control record, a missing key, or fewer than two bytes where type or version stand.
    Truncated {
        /// What was cut.
        what: &'static str,
    },
    /// A known record type in a value version that Kafka 4.3 does not know.
    ValueVersion {
        /// The record's name.
        record: &'static str,
        /// The version found.
        version: i16,
    },
    /// The body does not parse.
    Body {
        /// The record's name.
        record: &'static str,
        /// Field and reason.
        why: String,
    },
}

impl fmt::Display for Corrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { what } => write!(f, "the {what} is missing or cut"),
            Self::ValueVersion { record, version } => {
                write!(
                    f,
                    "{record} has value version {version}, which is not known here"
                )
            }
            Self::Body { record, why } => write!(f, "{record} does not parse: {why}"),
        }
    }
}

impl std::error::Error for Corrupt {}

pub(crate) fn number(bytes: &Bytes, what: &'static str) -> Result<i16, Corrupt> {
    match bytes.get(..2) {
        Some(&[high, low]) => Ok(i16::from_be_bytes([high, low])),
        _ => Err(Corrupt::Truncated { what }),
    }
}

pub(crate) fn decode_key<K: Versioned>(record: &'static str, key: &Bytes) -> Result<K, Corrupt> {
    number(key, "record key")?;
    decode_body(key.slice(2..), 0).map_err(|why| body(record, &why))
}

/// The value and its version.
pub(crate) fn decode_value<V: Versioned>(
    record: &'static str,
    value: &Bytes,
) -> Result<(V, i16), Corrupt> {
    let version = number(value, "value version")?;
    if version < V::VERSIONS.0 || version > V::VERSIONS.1 {
        return Err(Corrupt::ValueVersion { record, version });
    }
    let decoded = decode_body(value.slice(2..), version).map_err(|why| body(record, &why))?;
    Ok((decoded, version))
}

/// `number`, then the body at `version`.
///
/// # Panics
/// If a field is set that `version` lacks: the two callers choose the version to fit.
pub(crate) fn with_number<M: Versioned>(number: i16, message: &M, version: i16) -> Bytes {
    let mut writer = Writer::with_capacity(USUAL_BYTES);
    writer.i16(number);
    if let Err(bug) = write_body(message, version, &mut writer) {
        panic!(
            "{} has no version {version} for this value: {bug:?}",
            M::NAME
        );
    }
    writer.finish()
}

fn body(record: &'static str, why: &Malformed) -> Corrupt {
    Corrupt::Body {
        record,
        why: format!("{why:?}"),
    }
}
