//! Reads numbers, lengths and slices; knows where the message ends and what it may still cost.

use bytes::Bytes;

use super::{Malformed, Version, Why};
use crate::limits::{self, ARRAY_RESERVE_MAX};
use crate::names::Text;

/// What U+FFFD takes in the place of one byte.
const REPLACEMENT_LEN: usize = 3;
/// Of a text, whose length has 16 bits.
const TEXT_LEN_MAX: usize = i16::MAX as usize;

/// A position in a message, and the memory that its arrays may still take.
///
/// `position ≤ end ≤ bytes.len()`
#[derive(Debug)]
pub struct Reader {
    bytes: Bytes,
    position: usize,
    end: usize,
    budget: usize,
}

impl Reader {
    pub fn new(bytes: Bytes) -> Self {
        let end = bytes.len();
        Self {
            bytes,
            position: 0,
            end,
            budget: limits::memory_budget(end),
        }
    }

    pub fn remaining(&self) -> usize {
        self.end - self.position
    }

    /// What has not been read.
    pub fn rest(self) -> Bytes {
        self.bytes.slice(self.position..self.end)
    }

    /// Nothing may be left.
    pub fn end(&self, field: &'static str) -> Result<(), Malformed> {
        if self.remaining() == 0 {
            Ok(())
        } else {
            Err(Malformed::new(field, Why::Surplus))
        }
    }

    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Malformed> {
        let unread = self.bytes.get(self.position..self.end).unwrap_or_default();
        let Some(chunk) = unread.first_chunk::<N>() else {
            return Err(Malformed::new(field, Why::Truncated));
        };
        let chunk = *chunk;
        self.position += N;
        Ok(chunk)
    }

    pub fn i8(&mut self, field: &'static str) -> Result<i8, Malformed> {
        self.array(field).map(i8::from_be_bytes)
    }

    pub fn i16(&mut self, field: &'static str) -> Result<i16, Malformed> {
        self.array(field).map(i16::from_be_bytes)
    }

    pub fn i32(&mut self, field: &'static str) -> Result<i32, Malformed> {
        self.array(field).map(i32::from_be_bytes)
    }

    pub fn i64(&mut self, field: &'static str) -> Result<i64, Malformed> {
        self.array(field).map(i64::from_be_bytes)
    }

    /// At most five bytes, and 32 bits.
    pub fn uvarint(&mut self, field: &'static str) -> Result<u32, Malformed> {
        let mut value = 0u32;
        for shift in [0, 7, 14, 21, 28] {
            let [byte] = self.array(field)?;
            if shift == 28 && byte > 0x0f {
                return Err(Malformed::new(field, Why::LongVarint));
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Malformed::new(field, Why::LongVarint))
    }

    /// A zigzag number of at most five bytes.
    pub fn varint(&mut self, field: &'static str) -> Result<i32, Malformed> {
        let raw = self.uvarint(field)?;
        Ok((raw >> 1) as i32 ^ -((raw & 1) as i32))
    }

    /// A zigzag number of at most ten bytes.
    pub fn varlong(&mut self, field: &'static str) -> Result<i64, Malformed> {
        let mut raw = 0u64;
        for shift in (0..70).step_by(7) {
            let [byte] = self.array(field)?;
            if shift == 63 && byte > 1 {
                break;
            }
            raw |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok((raw >> 1) as i64 ^ -((raw & 1) as i64));
            }
        }
        Err(Malformed::new(field, Why::LongVarint))
    }

    /// The next `n` bytes, shared with the frame.
    pub fn slice(&mut self, n: usize, field: &'static str) -> Result<Bytes, Malformed> {
        if n > self.remaining() {
            return Err(Malformed::new(field, Why::Truncated));
        }
        let start = self.position;
        self.position += n;
        Ok(self.bytes.slice(start..self.position))
    }

    /// The next `n` bytes as a text that shares them. Where they are not UTF-8, a copy with U+FFFD in the
    /// place of what is not, as Kafka reads them: a name in another encoding belongs to nobody, and the
    /// client is told so. A copy that becomes longer than a text may be could be written nowhere.
    pub fn text(&mut self, n: usize, field: &'static str) -> Result<Text, Malformed> {
        let start = self.position;
        if let Ok(text) = Text::try_from(self.slice(n, field)?) {
            return Ok(text);
        }
        self.spend(n.saturating_mul(REPLACEMENT_LEN), field)?;
        let bytes = self.bytes.get(start..self.position).unwrap_or_default();
        let text = String::from_utf8_lossy(bytes).into_owned();
        if text.len() > TEXT_LEN_MAX {
            return Err(Malformed::new(field, Why::TooLong));
        }
        Ok(text.into())
    }

    /// A length whose fixed form has 16 bits; `None` is null. Kafka holds the compact form to the
    /// same bound.
    pub fn short_length(
        &mut self,
        version: Version,
        field: &'static str,
    ) -> Result<Option<usize>, Malformed> {
        if !version.flexible {
            return self.i16(field).map(length);
        }
        match self.compact_length(field)? {
            Some(length) if length > TEXT_LEN_MAX => Err(Malformed::new(field, Why::TooLong)),
            length => Ok(length),
        }
    }

    /// A length whose fixed form has 32 bits; `None` is null.
    pub fn length(
        &mut self,
        version: Version,
        field: &'static str,
    ) -> Result<Option<usize>, Malformed> {
        if version.flexible {
            self.compact_length(field)
        } else {
            self.i32(field).map(length)
        }
    }

    fn compact_length(&mut self, field: &'static str) -> Result<Option<usize>, Malformed> {
        let raw = self.uvarint(field)? as usize;
        Ok(raw.checked_sub(1))
    }

    /// Room for `n` elements of at least `smallest` bytes each, if the message can hold them and
    /// may cost that much.
    pub fn reserve<T>(
        &mut self,
        n: usize,
        smallest: usize,
        field: &'static str,
    ) -> Result<Vec<T>, Malformed> {
        if n > self.remaining() / smallest.max(1) {
            return Err(Malformed::new(field, Why::TooManyElements));
        }
        self.spend(n.saturating_mul(size_of::<T>()), field)?;
        Ok(Vec::with_capacity(n.min(ARRAY_RESERVE_MAX)))
    }

    fn spend(&mut self, cost: usize, field: &'static str) -> Result<(), Malformed> {
        let Some(budget) = self.budget.checked_sub(cost) else {
            return Err(Malformed::new(field, Why::OverBudget));
        };
        self.budget = budget;
        Ok(())
    }

    /// The tagged section at the end of a flexible struct. `known` reads the value of a tag that
    /// it knows and returns true; every other value is skipped.
    pub fn tagged(
        &mut self,
        field: &'static str,
        mut known: impl FnMut(&mut Self, u32) -> Result<bool, Malformed>,
    ) -> Result<(), Malformed> {
        let n_tags = self.uvarint(field)?;
        let mut last_tag = None;
        for _ in 0..n_tags {
            let tag = self.uvarint(field)?;
            if last_tag.is_some_and(|last| tag <= last) {
                return Err(Malformed::new(field, Why::BadTag));
            }
            last_tag = Some(tag);
            let n = self.uvarint(field)? as usize;
            if n > self.remaining() {
                return Err(Malformed::new(field, Why::Truncated));
            }
            let outer = self.end;
            self.end = self.position + n;
            if known(self, tag)? {
                self.end(field)?;
            }
            self.position = self.end;
            self.end = outer;
        }
        Ok(())
    }

    /// The tagged section of a struct that knows no tags.
    pub fn skip_tagged(&mut self, field: &'static str) -> Result<(), Malformed> {
        self.tagged(field, |_, _| Ok(false))
    }
}

/// A fixed-width length. Kafka writes -1 for null, and reads every negative one so.
fn length(raw: impl Into<i64>) -> Option<usize> {
    usize::try_from(raw.into()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &[u8]) -> Reader {
        Reader::new(Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn varints_of_every_length_and_no_longer() {
        assert_eq!(
            reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).uvarint("x"),
            Ok(u32::MAX)
        );
        let why = |bytes: &[u8]| reader(bytes).uvarint("x").unwrap_err().why;
        assert_eq!(why(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Why::LongVarint);
        assert_eq!(why(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]), Why::LongVarint);
        assert_eq!(why(&[0x80]), Why::Truncated);
        assert_eq!(reader(&[0x03]).varint("x"), Ok(-2));
        let lowest = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(reader(&lowest).varlong("x"), Ok(i64::MIN));
        assert_eq!(
            reader(&[0xff; 11]).varlong("x").unwrap_err().why,
            Why::LongVarint
        );
    }

    #[test]
    fn every_negative_length_is_null() {
        let fixed = Version {
            number: 0,
            flexible: false,
        };
        assert_eq!(reader(&[0xff, 0xff]).short_length(fixed, "x"), Ok(None));
        assert_eq!(reader(&[0x80, 0]).short_length(fixed, "x"), Ok(None));
        assert_eq!(reader(&[0x80, 0, 0, 0]).length(fixed, "x"), Ok(None));
        assert_eq!(reader(&[0, 0, 0, 9]).length(fixed, "x"), Ok(Some(9)));
    }

    #[test]
    fn what_is_not_utf8_is_replaced_and_paid_for() {
        let text = |bytes: &'static [u8]| reader(bytes).text(bytes.len(), "x");
        assert_eq!(text(b"plain").unwrap(), "plain");
        assert_eq!(text(b"caf\xe9").unwrap(), "caf\u{fffd}");
        assert_eq!(reader(b"ab").text(3, "x").unwrap_err().why, Why::Truncated);
        let mut poor = reader(b"\xff");
        poor.budget = 2;
        assert_eq!(poor.text(1, "x").unwrap_err().why, Why::OverBudget);
    }

    #[test]
    fn what_is_replaced_is_no_longer_than_a_text_may_be() {
        let text = |bytes: &'static [u8]| reader(bytes).text(bytes.len(), "x");
        assert_eq!(text(&[0xff; 10_922]).unwrap().len(), 32_766);
        assert_eq!(text(&[0xff; 10_923]).unwrap_err().why, Why::TooLong);
    }

    #[test]
    fn arrays_cost_no_more_than_the_message_justifies() {
        let mut reader = reader(&[0; 10]);
        assert_eq!(
            reader.reserve::<u8>(11, 1, "x").unwrap_err().why,
            Why::TooManyElements
        );
        assert_eq!(
            reader.reserve::<[u8; 65536]>(2, 1, "x").unwrap_err().why,
            Why::OverBudget
        );
        assert_eq!(reader.reserve::<u64>(10, 1, "x").unwrap().capacity(), 10);
    }

    #[test]
    fn the_highest_tag_is_taken_once() {
        let tag = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
        let once = [&[1][..], &tag].concat();
        assert_eq!(reader(&once).skip_tagged("x"), Ok(()));
        let twice = [&[2][..], &tag, &tag].concat();
        assert_eq!(
            reader(&twice).skip_tagged("x").unwrap_err().why,
            Why::BadTag
        );
    }

    #[test]
    fn tags_ascend_and_end_where_they_say() {
        let mut seen = Vec::new();
        let two = [2, 0, 1, 7, 5, 2, 8, 9];
        let mut known = |reader: &mut Reader, tag: u32| {
            seen.push((tag, reader.remaining()));
            Ok(tag == 0 && reader.i8("x").is_ok())
        };
        assert_eq!(reader(&two).tagged("x", &mut known), Ok(()));
        assert_eq!(seen, [(0, 1), (5, 2)]);
        assert_eq!(
            reader(&[2, 1, 0, 1, 0]).skip_tagged("x").unwrap_err().why,
            Why::BadTag
        );
        assert_eq!(
            reader(&[1, 1, 9]).skip_tagged("x").unwrap_err().why,
            Why::Truncated
        );
        let surplus = reader(&[1, 0, 2, 0, 0]).tagged("x", |r, _| r.i8("x").map(|_| true));
        assert_eq!(surplus.unwrap_err().why, Why::Surplus);
    }
}
