//! Envelope (key 58, version 0): a broker forwards a client's request, with the client's identity,
//! to the controller (KIP-590).

use bytes::Bytes;

use crate::Message;

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 58, versions = "0", flexible = "0+", response = EnvelopeResponse)]
pub struct EnvelopeRequest {
    pub request_data: Bytes,
    #[field(nullable = "0+")]
    pub request_principal: Option<Bytes>,
    pub client_host_address: Bytes,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 58, versions = "0", flexible = "0+")]
pub struct EnvelopeResponse {
    #[field(nullable = "0+", default = None)]
    pub response_data: Option<Bytes>,
    pub error_code: i16,
}
