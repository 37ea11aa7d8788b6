//! The Fetch response as it is sent: header bytes around slices that it never opens or copies.
//!
//! The server hands in the response with file slices in the records' places and sends the pieces
//! in order: bytes with `write`, slices with `sendfile`. The pieces one after the other are, byte
//! for byte, the frame that `header::response_frame` writes for the same response.

use bytes::Bytes;

use crate::field::{Lack, Unsupported, Versioned};
use crate::frame;
use crate::header::{ResponseHeader, response_header_is_flexible};
use crate::messages::{FetchResponse, RecordSet};

/// A stretch of the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<R> {
    Bytes(Bytes),
    Slice(R),
}

/// A Fetch response ready to be sent, frame length and header included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchReply<R> {
    /// In this order; no piece is empty, and the first is bytes.
    pub pieces: Vec<Piece<R>>,
    /// Of all pieces together.
    pub n_bytes: usize,
}

impl<R: RecordSet> FetchReply<R> {
    pub fn new(
        response: &FetchResponse<R>,
        version: i16,
        correlation_id: i32,
    ) -> Result<Self, Unsupported>
    where
        R: Clone,
    {
        if !FetchResponse::knows(version) {
            return Err(Unsupported {
                field: FetchResponse::NAME,
                version,
                lack: Lack::Version,
            });
        }
        let mut writer = frame::open();
        let header = ResponseHeader { correlation_id };
        header.encode(
            &mut writer,
            response_header_is_flexible::<FetchResponse>(version),
        );
        // Where the header bytes are cut, and what is sent in between.
        let mut cuts = Vec::new();
        let mut n_record_bytes = 0usize;
        response.lay(
            &mut writer,
            FetchResponse::version(version),
            &mut |writer, records| {
                let n = records.n_bytes();
                if n > 0 {
                    cuts.push((writer.len(), records.clone()));
                    n_record_bytes += n;
                }
            },
        )?;
        let n_bytes = writer.len() + n_record_bytes;
        let too_long = Unsupported {
            field: "FetchResponse",
            version,
            lack: Lack::Length,
        };
        let length = i32::try_from(n_bytes - frame::LENGTH_BYTES).map_err(|_| too_long)?;
        writer.patch_i32(0, length);
        Ok(Self {
            pieces: interleave(writer.finish(), cuts),
            n_bytes,
        })
    }
}

fn interleave<R>(bytes: Bytes, cuts: Vec<(usize, R)>) -> Vec<Piece<R>> {
    let mut pieces = Vec::with_capacity(2 * cuts.len() + 1);
    let mut start = 0;
    for (end, records) in cuts {
        pieces.push(Piece::Bytes(bytes.slice(start..end)));
        pieces.push(Piece::Slice(records));
        start = end;
    }
    if start < bytes.len() {
        pieces.push(Piece::Bytes(bytes.slice(start..)));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::header::response_frame;
    use crate::messages::{FetchPartitionData, FetchableTopicResponse};
    use crate::names::Text;
    use crate::testing::{Sample, Sampler};

    fn joined(reply: &FetchReply<Bytes>) -> Vec<u8> {
        let stretch = |piece: &Piece<Bytes>| match piece {
            Piece::Bytes(bytes) | Piece::Slice(bytes) => bytes.clone(),
        };
        reply.pieces.iter().flat_map(stretch).collect()
    }

    #[test]
    fn the_pieces_are_the_plain_encoding_at_every_version() {
        for version in FetchResponse::VERSIONS.0..=FetchResponse::VERSIONS.1 {
            for seed in 0..100 {
                for mut sampler in [Sampler::full(seed), Sampler::wild(seed)] {
                    let response =
                        FetchResponse::sample(&mut sampler, FetchResponse::version(version));
                    let reply = FetchReply::new(&response, version, 77).unwrap();
                    let plain = response_frame(&response, version, 77).unwrap();
                    assert_eq!(joined(&reply), plain);
                    assert_eq!(reply.n_bytes, plain.len());
                    check_shape(&reply);
                }
            }
        }
    }

    fn check_shape(reply: &FetchReply<Bytes>) {
        assert!(matches!(reply.pieces.first(), Some(Piece::Bytes(_))));
        for piece in &reply.pieces {
            let (Piece::Bytes(bytes) | Piece::Slice(bytes)) = piece;
            assert!(!bytes.is_empty());
        }
    }

    #[test]
    fn what_is_sent_is_never_opened() {
        /// A slice of a file: it has a length and nothing that could be copied.
        #[derive(Debug, Clone, PartialEq)]
        struct Region(usize);
        impl RecordSet for Region {
            fn n_bytes(&self) -> usize {
                self.0
            }
        }
        let partition = |n| FetchPartitionData {
            records: n,
            ..Default::default()
        };
        let response = FetchResponse {
            responses: vec![FetchableTopicResponse {
                topic: Text::from_static("t"),
                partitions: vec![
                    partition(Some(Region(1 << 30))),
                    partition(Some(Region(0))),
                    partition(None),
                    partition(Some(Region(5))),
                ],
                ..Default::default()
            }],
            ..Default::default()
        };
        let reply = FetchReply::new(&response, 4, 1).unwrap();
        let slices: Vec<_> = reply
            .pieces
            .iter()
            .filter_map(|piece| match piece {
                Piece::Slice(region) => Some(region.0),
                Piece::Bytes(_) => None,
            })
            .collect();
        assert_eq!(slices, [1 << 30, 5]);
        let header_bytes = reply.n_bytes - (1 << 30) - 5;
        assert!(header_bytes < 300, "{header_bytes}");
    }

    #[test]
    fn a_reply_beyond_what_a_frame_can_say_is_refused() {
        #[derive(Debug, Clone)]
        struct Huge;
        impl RecordSet for Huge {
            fn n_bytes(&self) -> usize {
                i32::MAX as usize
            }
        }
        let partitions = vec![FetchPartitionData {
            records: Some(Huge),
            ..Default::default()
        }];
        let topic = FetchableTopicResponse {
            partitions,
            ..Default::default()
        };
        let response = FetchResponse {
            responses: vec![topic],
            ..Default::default()
        };
        assert_eq!(
            FetchReply::new(&response, 13, 1).unwrap_err().lack,
            Lack::Length
        );
    }
}
