//! How each Rust type stands for one of Kafka's.

use bytes::Bytes;

use super::{Lack, Malformed, Message, Reader, Unsupported, Version, Why, Writer};
use crate::names::{Text, Uuid};

/// A type that a field of a message may have.
pub trait Field: Sized {
    /// The fewest bytes that a value can take.
    fn smallest(version: Version) -> usize;
    fn read(reader: &mut Reader, version: Version, name: &'static str) -> Result<Self, Malformed>;
    fn write(
        &self,
        writer: &mut Writer,
        version: Version,
        name: &'static str,
    ) -> Result<(), Unsupported>;
}

/// A type that some versions may leave null.
pub trait NullableField: Field {
    fn read_nullable(
        reader: &mut Reader,
        version: Version,
        name: &'static str,
    ) -> Result<Option<Self>, Malformed>;

    fn write_nullable(
        value: Option<&Self>,
        writer: &mut Writer,
        version: Version,
        name: &'static str,
    ) -> Result<(), Unsupported>;

    /// In a tagged field; differs for structs only.
    fn read_nullable_tagged(
        reader: &mut Reader,
        version: Version,
        name: &'static str,
    ) -> Result<Option<Self>, Malformed> {
        Self::read_nullable(reader, version, name)
    }

    fn write_nullable_tagged(
        value: Option<&Self>,
        writer: &mut Writer,
        version: Version,
        name: &'static str,
    ) -> Result<(), Unsupported> {
        Self::write_nullable(value, writer, version, name)
    }
}

fn present<T>(value: Option<T>, name: &'static str) -> Result<T, Malformed> {
    value.ok_or(Malformed::new(name, Why::Null))
}

/// For versions in which an optional field cannot be null.
pub fn write_present<T: Field>(
    value: Option<&T>,
    writer: &mut Writer,
    version: Version,
    name: &'static str,
) -> Result<(), Unsupported> {
    match value {
        Some(value) => value.write(writer, version, name),
        None => Err(Unsupported::new(name, version, Lack::Null)),
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Field for $number {
            fn smallest(_: Version) -> usize {
                size_of::<Self>()
            }

            fn read(
                reader: &mut Reader,
                _: Version,
                name: &'static str,
            ) -> Result<Self, Malformed> {
                reader.array(name).map(Self::from_be_bytes)
            }

            fn write(
                &self,
                writer: &mut Writer,
                _: Version,
                _: &'static str,
            ) -> Result<(), Unsupported> {
                writer.put(&self.to_be_bytes());
                Ok(())
            }
        }
    )*};
}

numbers!(i8, i16, u16, i32, u32, i64, f64);

impl Field for bool {
    fn smallest(_: Version) -> usize {
        1
    }

    fn read(reader: &mut Reader, _: Version, name: &'static str) -> Result<Self, Malformed> {
        Ok(reader.i8(name)? != 0)
    }

    fn write(&self, writer: &mut Writer, _: Version, _: &'static str) -> Result<(), Unsupported> {
        writer.i8(i8::from(*self));
        Ok(())
    }
}

impl Field for Uuid {
    fn smallest(_: Version) -> usize {
        16
    }

    fn read(reader: &mut Reader, _: Version, name: &'static str) -> Result<Self, Malformed> {
        reader.array(name).map(Self::from_bytes)
    }

    fn write(&self, writer: &mut Writer, _: Version, _: &'static str) -> Result<(), Unsupported> {
        writer.put(self.as_bytes());
        Ok(())
    }
}

/// Types whose null stands in their length: reading and writing them is reading and writing
/// something that happens not to be null.
macro_rules! through_nullable {
    () => {
        fn read(
            reader: &mut Reader,
            version: Version,
            name: &'static str,
        ) -> Result<Self, Malformed> {
            present(Self::read_nullable(reader, version, name)?, name)
        }

        fn write(
            &self,
            writer: &mut Writer,
            version: Version,
            name: &'static str,
        ) -> Result<(), Unsupported> {
            Self::write_nullable(Some(self), writer, version, name)
        }
    };
}

impl Field for Text {
    fn smallest(version: Version) -> usize {
        if version.flexible { 1 } else { 2 }
    }

    through_nullable!();
}

impl NullableField for Text {
    fn read_nullable(
        reader: &mut Reader,
        version: Version,
        name: &'static str,
    ) -> Result<Option<Self>, Malformed> {
        let Some(length) = reader.short_length(version, name)? else {
            return Ok(None);
        };
        reader.text(length, name).map(Some)
    }

    fn write_nullable(
        value: Option<&Self>,
        writer: &mut Writer,
        version: Version,
        name: &'static str,
    ) -> Result<(), Unsupported> {
        writer.short_length(value.map(|text| text.len()), version, name)?;
        if let Some(text) = value {
            writer.put(text.as_bytes());
        }
        Ok(())
    }
}

impl Field for Bytes {
    fn smallest(version: Version) -> usize {
        if version.flexible { 1 } else { 4 }
    }

    through_nullable!();
}

impl NullableField for Bytes {
    fn read_nullable(
        reader: &mut Reader,
        version: Version,
        name: &'static str,
    ) -> Result<Option<Self>, Malformed> {
        match reader.length(version, name)? {
            Some(length) => reader.slice(length, name).map(Some),
            None => Ok(None),
        }
    }

    fn write_nullable(
        value: Option<&Self>,
        writer: &mut Writer,
        version: Version,
        name: &'static str,
    ) -> Result<(), Unsupported> {
        writer.length(value.map(Self::len), version, name)?;
        if let Some(bytes) = value {
            writer.put(bytes);
        }
        Ok(())
    }
}

impl<T: Field> Field for Vec<T> {
    fn smallest(version: Version) -> usize {
        if version.flexible { 1 } else { 4 }
    }

    through_nullable!();
}

impl<T: Field> NullableField for Vec<T> {
    fn read_nullable(
        reader: &mut Reader,
        version: Version,
        name: &'static str,
    ) -> Result<Option<Self>, Malformed> {
        let Some(n) = reader.length(version, name)? else {
            return Ok(None);
        };
        let mut elements = reader.reserve(n, T::smallest(version), name)?;
        for _ in 0..n {
            elements.push(T::read(reader, version, name)?);
        }
        Ok(Some(elements))
    }

    fn write_nullable(
        value: Option<&Self>,
        writer: &mut Writer,
        version: Version,
        name: &'static str,
    ) -> Result<(), Unsupported> {
        writer.length(value.map(Self::len), version, name)?;
        for element in value.into_iter().flatten() {
            writer.check_room(0, version, name)?;
            element.write(writer, version, name)?;
        }
        Ok(())
    }
}

/// The marks before a nullable struct among the ordinary fields.
const STRUCT_NULL: i8 = -1;
const STRUCT_PRESENT: i8 = 1;
/// The same inside a tagged field, where Kafka writes a variable-length number.
const TAGGED_STRUCT_NULL: u32 = 0;
const TAGGED_STRUCT_PRESENT: u32 = 1;

impl<M: Message> Field for M {
    fn smallest(version: Version) -> usize {
        M::smallest(version)
    }

    fn read(reader: &mut Reader, version: Version, _: &'static str) -> Result<Self, Malformed> {
        M::decode(reader, version)
    }

    fn write(
        &self,
        writer: &mut Writer,
        version: Version,
        _: &'static str,
    ) -> Result<(), Unsupported> {
        self.encode(writer, version)
    }
}

impl<M: Message> NullableField for M {
    fn read_nullable(
        reader: &mut Reader,
        version: Version,
        name: &'static str,
    ) -> Result<Option<Self>, Malformed> {
        // Kafka takes every negative mark for null and every other one for present; it never
        // writes any but these two.
        match reader.i8(name)? {
            STRUCT_NULL => Ok(None),
            STRUCT_PRESENT => M::decode(reader, version).map(Some),
            _ => Err(Malformed::new(name, Why::BadPresence)),
        }
    }

    fn write_nullable(
        value: Option<&Self>,
        writer: &mut Writer,
        version: Version,
        _: &'static str,
    ) -> Result<(), Unsupported> {
        match value {
            Some(value) => {
                writer.i8(STRUCT_PRESENT);
                value.encode(writer, version)
            }
            None => {
                writer.i8(STRUCT_NULL);
                Ok(())
            }
        }
    }

    fn read_nullable_tagged(
        reader: &mut Reader,
        version: Version,
        name: &'static str,
    ) -> Result<Option<Self>, Malformed> {
        match reader.uvarint(name)? {
            TAGGED_STRUCT_NULL => Ok(None),
            TAGGED_STRUCT_PRESENT => M::decode(reader, version).map(Some),
            _ => Err(Malformed::new(name, Why::BadPresence)),
        }
    }

    fn write_nullable_tagged(
        value: Option<&Self>,
        writer: &mut Writer,
        version: Version,
        _: &'static str,
    ) -> Result<(), Unsupported> {
        match value {
            Some(value) => {
                writer.uvarint(TAGGED_STRUCT_PRESENT);
                value.encode(writer, version)
            }
            None => {
                writer.uvarint(TAGGED_STRUCT_NULL);
                Ok(())
            }
        }
    }
}
