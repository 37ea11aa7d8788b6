//! Length-prefixed frames in and out of a buffer.
//!
//! The length is checked before anything is kept for it: a frame that claims too much is refused
//! while only its four bytes are here.

use std::fmt;

use bytes::{Buf, Bytes, BytesMut};

use crate::field::Writer;

/// The length that stands before every frame.
pub const LENGTH_BYTES: usize = 4;

/// The other side does not speak in frames, or in larger ones than we take. Nothing after it can
/// be read: the connection is at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadFrame {
    Negative {
        length: i32,
    },
    TooLong {
        length: i32,
        max: usize,
    },
    /// The connection ended within a frame.
    Truncated {
        missing: usize,
    },
}

impl fmt::Display for BadFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Negative { length } => write!(f, "a frame of {length} bytes"),
            Self::TooLong { length, max } => {
                write!(f, "a frame of {length} bytes where {max} are allowed")
            }
            Self::Truncated { missing } => write!(f, "{missing} bytes of a frame never came"),
        }
    }
}

impl std::error::Error for BadFrame {}

/// The length of a frame from its prefix.
pub fn length(prefix: [u8; LENGTH_BYTES], max: usize) -> Result<usize, BadFrame> {
    let length = i32::from_be_bytes(prefix);
    match usize::try_from(length) {
        Ok(n) if n <= max => Ok(n),
        Ok(_) => Err(BadFrame::TooLong { length, max }),
        Err(_) => Err(BadFrame::Negative { length }),
    }
}

/// The next whole frame, without its length; `None` until more bytes come.
pub fn take(buffer: &mut BytesMut, max: usize) -> Result<Option<Bytes>, BadFrame> {
    if missing(buffer, max)? > 0 {
        return Ok(None);
    }
    let mut prefix = [0; LENGTH_BYTES];
    buffer.copy_to_slice(&mut prefix);
    let n = length(prefix, max)?;
    Ok(Some(buffer.split_to(n).freeze()))
}

/// Bytes that must come at least before the next frame is whole; 0 when it is.
pub fn missing(buffer: &[u8], max: usize) -> Result<usize, BadFrame> {
    match buffer.split_first_chunk::<LENGTH_BYTES>() {
        Some((prefix, rest)) => Ok(length(*prefix, max)?.saturating_sub(rest.len())),
        None => Ok(LENGTH_BYTES - buffer.len()),
    }
}

/// What is left when the connection ends; anything but nothing was cut off.
pub fn at_end(buffer: &[u8], max: usize) -> Result<(), BadFrame> {
    if buffer.is_empty() {
        return Ok(());
    }
    Err(BadFrame::Truncated {
        missing: missing(buffer, max)?,
    })
}

/// Leave room for the length; `close` fills it in.
pub fn open() -> Writer {
    begin(Writer::new())
}

/// As [`open`], for a frame of so many bytes at most.
pub fn open_up_to(bytes_max: usize) -> Writer {
    begin(Writer::up_to(bytes_max))
}

fn begin(mut writer: Writer) -> Writer {
    writer.i32(0);
    writer
}

/// The whole frame with its length; `None` if it is longer than it may be.
pub fn close(mut writer: Writer) -> Option<Bytes> {
    if !writer.has_room(0) {
        return None;
    }
    let n = writer.len().saturating_sub(LENGTH_BYTES);
    writer.patch_i32(0, i32::try_from(n).ok()?);
    Some(writer.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_whole_and_in_order() {
        let mut buffer = BytesMut::from(&[0, 0, 0, 2, 7, 8, 0, 0, 0, 0, 0, 0, 0, 1][..]);
        assert_eq!(take(&mut buffer, 10), Ok(Some(Bytes::from_static(&[7, 8]))));
        assert_eq!(take(&mut buffer, 10), Ok(Some(Bytes::new())));
        assert_eq!(take(&mut buffer, 10), Ok(None));
        assert_eq!(missing(&buffer, 10), Ok(1));
        assert_eq!(at_end(&buffer, 10), Err(BadFrame::Truncated { missing: 1 }));
        buffer.extend_from_slice(&[9]);
        assert_eq!(take(&mut buffer, 10), Ok(Some(Bytes::from_static(&[9]))));
        assert_eq!(at_end(&buffer, 10), Ok(()));
    }

    #[test]
    fn lengths_are_refused_before_their_bytes_come() {
        let mut long = BytesMut::from(&[0, 0, 0, 11][..]);
        assert_eq!(
            take(&mut long, 10),
            Err(BadFrame::TooLong {
                length: 11,
                max: 10
            })
        );
        let mut negative = BytesMut::from(&[0xff, 0xff, 0xff, 0xff][..]);
        assert_eq!(
            take(&mut negative, 10),
            Err(BadFrame::Negative { length: -1 })
        );
        let http = *b"GET ";
        assert!(matches!(length(http, 10), Err(BadFrame::TooLong { .. })));
    }

    #[test]
    fn a_part_of_the_length_is_no_frame() {
        for n in 0..LENGTH_BYTES {
            let mut buffer = BytesMut::from(&[0, 0, 0, 1][..n]);
            assert_eq!(take(&mut buffer, 10), Ok(None));
            assert_eq!(missing(&buffer, 10), Ok(LENGTH_BYTES - n));
        }
    }

    #[test]
    fn what_is_closed_can_be_taken() {
        let mut writer = open();
        writer.put(b"abc");
        let mut buffer = BytesMut::from(close(writer).unwrap());
        assert_eq!(take(&mut buffer, 3), Ok(Some(Bytes::from_static(b"abc"))));
    }

    #[test]
    fn a_frame_ends_where_its_room_does() {
        let of = |n: usize| {
            let mut writer = open_up_to(8);
            writer.put(&vec![0; n]);
            close(writer).map(|frame| frame.len())
        };
        assert_eq!(of(4), Some(8));
        assert_eq!(of(5), None);
    }
}
