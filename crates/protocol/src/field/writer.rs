//! Writes numbers, lengths and tagged sections into one growing buffer.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Lack, Unsupported, Version};

/// What a length on the wire can say.
const SAID_BYTES_MAX: usize = i32::MAX as usize;

#[derive(Debug)]
pub struct Writer {
    buffer: BytesMut,
    /// Looked at before each text, list and element: what is written between two looks is a few numbers.
    bytes_max: usize,
}

impl Default for Writer {
    fn default() -> Self {
        Self::up_to(SAID_BYTES_MAX)
    }
}

impl Writer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Refuses what would not fit into so many bytes.
    pub fn up_to(bytes_max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            bytes_max: bytes_max.min(SAID_BYTES_MAX),
        }
    }

    pub fn with_capacity(n: usize) -> Self {
        Self {
            buffer: BytesMut::with_capacity(n),
            ..Self::default()
        }
    }

    /// Whether so many bytes more may follow.
    pub fn has_room(&self, n: usize) -> bool {
        self.len().saturating_add(n) <= self.bytes_max
    }

    pub(super) fn check_room(
        &self,
        n: usize,
        version: Version,
        field: &'static str,
    ) -> Result<(), Unsupported> {
        match self.has_room(n) {
            true => Ok(()),
            false => Err(Unsupported::new(field, version, Lack::Length)),
        }
    }

    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    pub fn as_slice(&self) -> &[u8] {
        &self.buffer
    }

    pub fn finish(self) -> Bytes {
        self.buffer.freeze()
    }

    /// Fill in a number whose place was kept.
    pub fn patch_i32(&mut self, at: usize, value: i32) {
        if let Some(place) = self.buffer.get_mut(at..at + size_of::<i32>()) {
            place.copy_from_slice(&value.to_be_bytes());
        }
    }

    pub fn put(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    pub fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    pub fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    pub fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    pub fn uvarint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.put_u8(value as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }

    pub fn varint(&mut self, value: i32) {
        self.uvarint((value << 1 ^ value >> 31) as u32);
    }

    pub fn varlong(&mut self, value: i64) {
        let mut raw = (value << 1 ^ value >> 63) as u64;
        while raw >= 0x80 {
            self.buffer.put_u8(raw as u8 | 0x80);
            raw >>= 7;
        }
        self.buffer.put_u8(raw as u8);
    }

    /// A length whose fixed form has 16 bits; `None` is null.
    pub fn short_length(
        &mut self,
        length: Option<usize>,
        version: Version,
        field: &'static str,
    ) -> Result<(), Unsupported> {
        let Some(length) = length else {
            if version.flexible {
                self.uvarint(0)
            } else {
                self.i16(-1)
            }
            return Ok(());
        };
        self.check_room(length, version, field)?;
        // Kafka holds compact strings to the same bound.
        let Ok(short) = i16::try_from(length) else {
            return Err(Unsupported::new(field, version, Lack::Length));
        };
        if version.flexible {
            self.uvarint(length as u32 + 1)
        } else {
            self.i16(short)
        }
        Ok(())
    }

    /// A length whose fixed form has 32 bits; `None` is null.
    pub fn length(
        &mut self,
        length: Option<usize>,
        version: Version,
        field: &'static str,
    ) -> Result<(), Unsupported> {
        let Some(length) = length else {
            if version.flexible {
                self.uvarint(0)
            } else {
                self.i32(-1)
            }
            return Ok(());
        };
        self.check_room(length, version, field)?;
        let Ok(fixed) = i32::try_from(length) else {
            return Err(Unsupported::new(field, version, Lack::Length));
        };
        if version.flexible {
            self.uvarint(length as u32 + 1)
        } else {
            self.i32(fixed)
        }
        Ok(())
    }

    /// The end of a struct without tagged values: an empty section where the version has one.
    pub fn no_tags(&mut self, version: Version) {
        if version.flexible {
            self.uvarint(0);
        }
    }

    /// One tagged field: its tag, its size, its value.
    pub fn tagged(
        &mut self,
        tag: u32,
        value: impl FnOnce(&mut Self) -> Result<(), Unsupported>,
    ) -> Result<(), Unsupported> {
        // The size comes first and has no fixed width; tagged values are small and rare enough to
        // be written aside.
        let mut aside = Self::up_to(self.bytes_max.saturating_sub(self.len()));
        value(&mut aside)?;
        self.uvarint(tag);
        self.uvarint(aside.len() as u32);
        self.put(aside.as_slice());
        Ok(())
    }
}
