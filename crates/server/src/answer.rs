//! What a handler gives back: a frame of bytes and file slices, nothing, or the connection's end.

use bytes::Bytes;
use ottla_node::FileSlice;
use ottla_protocol::fetch_reply::{FetchReply, Piece};
use ottla_protocol::header::response_frame;
use ottla_protocol::messages::FetchResponse;
use ottla_protocol::{Malformed, Unsupported, Versioned};

use crate::session::Call;

/// The outcome of one request.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The whole response frame, from its length on.
    Frame(Vec<Piece<FileSlice>>),
    /// Nothing is answered (Produce with acks=0).
    Nothing,
    /// The connection ends, as Kafka ends it for requests that it cannot read.
    Close(String),
}

impl Answer {
    pub(crate) fn encode<R: Versioned>(call: &Call, response: &R) -> Self {
        Self::encode_at(call, response, call.version)
    }

    /// In another version than the request's: ApiVersions only.
    pub(crate) fn encode_at<R: Versioned>(call: &Call, response: &R, version: i16) -> Self {
        match response_frame(response, version, call.correlation_id) {
            Ok(frame) => Self::bytes(frame),
            Err(unsupported) => Self::unwritable(R::NAME, &unsupported),
        }
    }

    pub(crate) fn fetch(call: &Call, response: &FetchResponse<FileSlice>) -> Self {
        match FetchReply::new(response, call.version, call.correlation_id) {
            Ok(reply) => Self::Frame(reply.pieces),
            Err(unsupported) => Self::unwritable("FetchResponse", &unsupported),
        }
    }

    /// The memory that it takes until it is written: stretches of files take none.
    pub(crate) fn n_bytes(&self) -> usize {
        let Self::Frame(pieces) = self else { return 0 };
        let of = |piece: &Piece<FileSlice>| match piece {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::Slice(_) => 0,
        };
        pieces.iter().map(of).sum()
    }

    pub(crate) fn bytes(frame: Bytes) -> Self {
        Self::Frame(vec![Piece::Bytes(frame)])
    }

    pub(crate) fn malformed(call: &Call, malformed: &Malformed) -> Self {
        Self::Close(format!(
            "request with key {} version {} cannot be read: {malformed}",
            call.key, call.version
        ))
    }

    fn unwritable(name: &str, unsupported: &Unsupported) -> Self {
        Self::Close(format!("{name} cannot be written: {unsupported}"))
    }
}
