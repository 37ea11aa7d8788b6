//! Request and response headers, and whole frames with header and message.
//!
//! - Request header v1: key, version, correlation id, client id. v2, for flexible messages: the
//!   same and a tagged section; the client id keeps its old form (i16 length) in both.
//! - Response header v0: correlation id. v1, for flexible messages: and a tagged section. The
//!   answer to ApiVersions always has v0, so that a client can read it before versions are agreed.

use bytes::Bytes;

use crate::field::{
    Field, Lack, Malformed, NullableField, Reader, Request, Unsupported, Version, Versioned,
    Writer, write_body,
};
use crate::frame;
use crate::names::Text;

/// ApiVersions, whose answer has the old header at every version.
pub const API_VERSIONS_KEY: i16 = 18;

/// The form in which both headers write what they share.
const OLD_STYLE: Version = Version {
    number: 0,
    flexible: false,
};

/// What stands first in every request, whatever its key and version: enough to answer that either
/// is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestStart {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    pub api_key: i16,
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<Text>,
}

impl RequestStart {
    pub fn decode(reader: &mut Reader) -> Result<Self, Malformed> {
        Ok(Self {
            api_key: reader.i16("RequestHeader.api_key")?,
            api_version: reader.i16("RequestHeader.api_version")?,
            correlation_id: reader.i32("RequestHeader.correlation_id")?,
        })
    }

    /// The rest of the header. `flexible` as the body is at this key and version.
    pub fn rest(self, reader: &mut Reader, flexible: bool) -> Result<RequestHeader, Malformed> {
        let client_id = Text::read_nullable(reader, OLD_STYLE, "RequestHeader.client_id")?;
        if flexible {
            reader.skip_tagged("RequestHeader")?;
        }
        let Self {
            api_key,
            api_version,
            correlation_id,
        } = self;
        Ok(RequestHeader {
            api_key,
            api_version,
            correlation_id,
            client_id,
        })
    }
}

impl RequestHeader {
    pub fn encode(&self, writer: &mut Writer, flexible: bool) -> Result<(), Unsupported> {
        self.api_key
            .write(writer, OLD_STYLE, "RequestHeader.api_key")?;
        self.api_version
            .write(writer, OLD_STYLE, "RequestHeader.api_version")?;
        self.correlation_id
            .write(writer, OLD_STYLE, "RequestHeader.correlation_id")?;
        let client_id = self.client_id.as_ref();
        Text::write_nullable(client_id, writer, OLD_STYLE, "RequestHeader.client_id")?;
        if flexible {
            writer.uvarint(0);
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHeader {
    pub correlation_id: i32,
}

impl ResponseHeader {
    pub fn decode(reader: &mut Reader, flexible: bool) -> Result<Self, Malformed> {
        let correlation_id = reader.i32("ResponseHeader.correlation_id")?;
        if flexible {
            reader.skip_tagged("ResponseHeader")?;
        }
        Ok(Self { correlation_id })
    }

    pub fn encode(self, writer: &mut Writer, flexible: bool) {
        writer.i32(self.correlation_id);
        if flexible {
            writer.uvarint(0);
        }
    }
}

/// Whether the answer to this message at this version has the newer header.
pub fn response_header_is_flexible<M: Versioned>(version: i16) -> bool {
    M::KEY != API_VERSIONS_KEY && M::version(version).flexible
}

/// A whole request as it goes on the wire, length included.
pub fn request_frame<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: Option<Text>,
) -> Result<Bytes, Unsupported> {
    let mut writer = frame::open();
    let header = RequestHeader {
        api_key: R::KEY,
        api_version: version,
        correlation_id,
        client_id,
    };
    header.encode(&mut writer, R::version(version).flexible)?;
    write_body(request, version, &mut writer)?;
    frame::close(writer).ok_or(too_long::<R>(version))
}

/// What a response takes at most. A few kilobytes can ask for the same large thing many thousand times;
/// what is asked honestly stays far below twice the largest request (`socket.request.max.bytes`):
/// Metadata of 100,000 partitions takes 10 MB.
pub const RESPONSE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A whole response as it goes on the wire, length included.
pub fn response_frame<M: Versioned>(
    response: &M,
    version: i16,
    correlation_id: i32,
) -> Result<Bytes, Unsupported> {
    response_frame_up_to(RESPONSE_BYTES_MAX, response, version, correlation_id)
}

fn response_frame_up_to<M: Versioned>(
    bytes_max: usize,
    response: &M,
    version: i16,
    correlation_id: i32,
) -> Result<Bytes, Unsupported> {
    let mut writer = frame::open_up_to(bytes_max);
    let header = ResponseHeader { correlation_id };
    header.encode(&mut writer, response_header_is_flexible::<M>(version));
    write_body(response, version, &mut writer)?;
    frame::close(writer).ok_or(too_long::<M>(version))
}

fn too_long<M: Versioned>(version: i16) -> Unsupported {
    Unsupported {
        field: M::NAME,
        version,
        lack: Lack::Length,
    }
}

/// Header and body of a response from its frame, without the length.
pub fn decode_response<M: Versioned>(
    frame: Bytes,
    version: i16,
) -> Result<(ResponseHeader, M), Malformed> {
    let mut reader = Reader::new(frame);
    let flexible = response_header_is_flexible::<M>(version);
    let header = ResponseHeader::decode(&mut reader, flexible)?;
    let body = M::decode(&mut reader, M::version(version))?;
    reader.end(M::NAME)?;
    Ok((header, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::{
        ApiVersionsRequest, ApiVersionsResponse, DescribeGroupsResponse, DescribedGroup,
        DescribedGroupMember, MetadataResponse,
    };

    const HEADER: RequestHeader = RequestHeader {
        api_key: 3,
        api_version: 12,
        correlation_id: 0x01020304,
        client_id: Some(Text::from_static("ab")),
    };

    #[test]
    fn the_client_id_keeps_its_old_form() {
        for (flexible, tail) in [(false, &[][..]), (true, &[0][..])] {
            let mut writer = Writer::new();
            HEADER.encode(&mut writer, flexible).unwrap();
            let old = [0, 3, 0, 12, 1, 2, 3, 4, 0, 2, b'a', b'b'];
            assert_eq!(writer.as_slice(), [&old[..], tail].concat());
            let mut reader = Reader::new(writer.finish());
            let start = RequestStart::decode(&mut reader).unwrap();
            assert_eq!(start.rest(&mut reader, flexible), Ok(HEADER));
            assert_eq!(reader.remaining(), 0);
        }
    }

    #[test]
    fn a_header_cut_anywhere_is_malformed() {
        let mut writer = Writer::new();
        HEADER.encode(&mut writer, true).unwrap();
        let whole = writer.finish();
        for n in 0..whole.len() {
            let mut reader = Reader::new(whole.slice(..n));
            let read = RequestStart::decode(&mut reader);
            assert!(
                read.and_then(|start| start.rest(&mut reader, true))
                    .is_err()
            );
        }
    }

    #[test]
    fn only_api_versions_answers_with_the_old_header() {
        assert!(response_header_is_flexible::<MetadataResponse>(9));
        assert!(!response_header_is_flexible::<MetadataResponse>(8));
        assert!(!response_header_is_flexible::<ApiVersionsResponse>(3));
        assert!(ApiVersionsRequest::version(3).flexible);
    }

    #[test]
    fn responses_come_back_from_their_frames() {
        let sent = ApiVersionsResponse {
            throttle_time_ms: 7,
            ..Default::default()
        };
        let framed = response_frame(&sent, 3, 9).unwrap();
        let body = framed.slice(frame::LENGTH_BYTES..);
        let header = ResponseHeader { correlation_id: 9 };
        assert_eq!(decode_response(body, 3), Ok((header, sent)));
    }

    /// A group of one member with a MiB of metadata, so many times: they share their bytes.
    fn one_group(n: usize) -> DescribeGroupsResponse {
        let member = DescribedGroupMember {
            member_metadata: Bytes::from(vec![1; 1 << 20]),
            ..Default::default()
        };
        let group = DescribedGroup {
            members: vec![member],
            ..Default::default()
        };
        DescribeGroupsResponse {
            groups: vec![group; n],
            ..Default::default()
        }
    }

    #[test]
    fn a_response_that_is_too_long_is_refused_before_it_is_written() {
        for version in [0, 5] {
            let refused = response_frame(&one_group(8000), version, 1).unwrap_err();
            assert_eq!((refused.version, refused.lack), (version, Lack::Length));
        }
    }

    #[test]
    fn a_response_may_be_as_long_as_its_bound_and_no_longer() {
        for version in 0..=5 {
            let response = one_group(2);
            let n = response_frame(&response, version, 1).unwrap().len();
            assert!(response_frame_up_to(n, &response, version, 1).is_ok());
            for less in [1, 2, 1 << 19, 1 << 20, n] {
                let refused = response_frame_up_to(n - less, &response, version, 1).unwrap_err();
                assert_eq!(refused.lack, Lack::Length);
            }
        }
    }
}
