//! SaslHandshake (key 17, versions 0-1): agree on a SASL mechanism.
//!
//! - v0: the tokens follow as bare frames.
//! - v1: the tokens follow in SaslAuthenticate requests.

use crate::{Message, Text};

#[derive(Debug, Clone, PartialEq, Message)]
#[message(request, key = 17, versions = "0-1", flexible = "none", response = SaslHandshakeResponse)]
pub struct SaslHandshakeRequest {
    pub mechanism: Text,
}

#[derive(Debug, Clone, PartialEq, Message)]
#[message(response, key = 17, versions = "0-1", flexible = "none")]
pub struct SaslHandshakeResponse {
    pub error_code: i16,
    pub mechanisms: Vec<Text>,
}
