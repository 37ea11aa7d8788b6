//! What is kept of a password (RFC 5802, section 3): with the stored key a proof can be checked, with
//! the server key one can be given, and neither lets anybody log in.
//!
//! A password becomes a salted one where it is typed ([`salted_password`]); only that travels, and the
//! controller keeps no more than what [`keys`] makes of it.

use hmac::{Mac, SimpleHmac};
use ottla_protocol::ScramMechanism;
use pbkdf2::pbkdf2_hmac_array;
use sha2::digest::core_api::BlockSizeUser;
use sha2::{Digest, Sha256, Sha512};

/// What a broker keeps of a salted password.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    pub stored: Vec<u8>,
    pub server: Vec<u8>,
}

/// `None` of an empty password: no hash of its kind is empty, so it is none.
pub fn keys(mechanism: ScramMechanism, salted_password: &[u8]) -> Option<ScramKeys> {
    if salted_password.is_empty() {
        return None;
    }
    match mechanism {
        ScramMechanism::Sha256 => keys_of::<Sha256>(salted_password),
        ScramMechanism::Sha512 => keys_of::<Sha512>(salted_password),
    }
}

/// `Hi` of RFC 5802: PBKDF2 with HMAC, one block.
pub fn salted_password(
    mechanism: ScramMechanism,
    password: &[u8],
    salt: &[u8],
    iterations: i32,
) -> Vec<u8> {
    let rounds = iterations.unsigned_abs();
    match mechanism {
        ScramMechanism::Sha256 => pbkdf2_hmac_array::<Sha256, 32>(password, salt, rounds).to_vec(),
        ScramMechanism::Sha512 => pbkdf2_hmac_array::<Sha512, 64>(password, salt, rounds).to_vec(),
    }
}

fn keys_of<D: Digest + BlockSizeUser>(salted_password: &[u8]) -> Option<ScramKeys> {
    let keyed = |what: &[u8]| {
        let mac = SimpleHmac::<D>::new_from_slice(salted_password).ok()?;
        Some(mac.chain_update(what).finalize().into_bytes().to_vec())
    };
    Some(ScramKeys {
        stored: D::digest(keyed(b"Client Key")?).to_vec(),
        server: keyed(b"Server Key")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn salted_passwords_are_those_of_others() {
        // Computed with Python's hashlib.pbkdf2_hmac.
        let salt = b"0123456789abcdef";
        let short = salted_password(ScramMechanism::Sha256, b"secret", salt, 4096);
        assert_eq!(hex(&short), SHORT);
        let long = salted_password(ScramMechanism::Sha512, &[b'x'; 200], b"salt", 4096);
        assert_eq!(hex(&long), LONG);
    }

    /// The password and the salt of RFC 7677, section 3; its server's signature is made with this
    /// server key. For the longer hash the same was asked of Python's hmac.
    #[test]
    fn keys_are_those_of_the_rfc() {
        let salt = b"[m\x99h\x9d\x12\x35\x8e\xec\xa0\x4b\x14\x12\x36\xfa\x81";
        let made = |mechanism| {
            let salted = salted_password(mechanism, b"pencil", salt, 4096);
            keys(mechanism, &salted).map(|keys| (hex(&keys.stored), hex(&keys.server)))
        };
        let (stored, server) = made(ScramMechanism::Sha256).unwrap();
        assert_eq!((&*stored, &*server), SHORT_KEYS);
        let (stored, server) = made(ScramMechanism::Sha512).unwrap();
        assert_eq!((&*stored, &*server), LONG_KEYS);
        assert!(keys(ScramMechanism::Sha256, b"").is_none());
    }

    const SHORT: &str = "7983542ede570e44e3095969771c503ab4ef40f3d510f646b329006d2ad29d24";
    const LONG: &str = "47bba1ad7def44323269b282d8058919fdf7fd63e89ebeaed1c0b4d2420759d562d014192c5d1bd630f00166d757fb36321420cb2b296c6de6019778914c5cf1";
    const SHORT_KEYS: (&str, &str) = (
        "586e5df283e6dceb5c3e791d8b8528ec191e664045ce971792e2e6b5bb13e2a6",
        "c1f3cbc1c13a9d35a14c0990eed97629ea225863e566a4314ab99f3f00e5d9d5",
    );
    const LONG_KEYS: (&str, &str) = (
        "e8002e6f7d3ae446119b216933644dc2a2be7869eb918b8459b5e7d7d2ec12606aceef106825cd735170a675fd3611f684affad1dce3f43a0ee43bd590e1dbbe",
        "8d91db6230b5687874fe129bc7206e1858c3ae08e02934f57ac03b6b05a229c459d28ff46f5c9611e6c179256490215ec1ff759cb0df285db89af0f99e613aac",
    );
}
