//! The salted password of SCRAM (RFC 5802, `Hi`): PBKDF2 with HMAC, one block.

use ottla_client::admin::ScramMechanism;
use sha2::digest::core_api::BlockSizeUser;
use sha2::{Digest, Sha256, Sha512};

pub(super) fn salted(
    mechanism: ScramMechanism,
    password: &[u8],
    salt: &[u8],
    iterations: i32,
) -> Vec<u8> {
    match mechanism {
        ScramMechanism::Sha256 => hi::<Sha256>(password, salt, iterations),
        ScramMechanism::Sha512 => hi::<Sha512>(password, salt, iterations),
    }
}

fn hi<D: Digest + BlockSizeUser + Clone>(password: &[u8], salt: &[u8], iterations: i32) -> Vec<u8> {
    let keyed = Keyed::<D>::new(password);
    let first_block = 1_u32.to_be_bytes();
    let mut last = keyed.hash(&[salt, &first_block]);
    let mut all = last.clone();
    for _ in 1..iterations {
        last = keyed.hash(&[&last]);
        all.iter_mut()
            .zip(&last)
            .for_each(|(all, byte)| *all ^= byte);
    }
    all
}

/// HMAC with its key taken in.
struct Keyed<D> {
    inner: D,
    outer: D,
}

impl<D: Digest + BlockSizeUser + Clone> Keyed<D> {
    fn new(key: &[u8]) -> Self {
        let size = D::block_size();
        let mut block = if key.len() > size {
            D::digest(key).to_vec()
        } else {
            key.to_vec()
        };
        block.resize(size, 0);
        let padded = |pad: u8| {
            let bytes: Vec<u8> = block.iter().map(|byte| byte ^ pad).collect();
            D::new_with_prefix(bytes)
        };
        Self {
            inner: padded(0x36),
            outer: padded(0x5c),
        }
    }

    fn hash(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut inner = self.inner.clone();
        parts.iter().for_each(|part| inner.update(part));
        let mut outer = self.outer.clone();
        outer.update(inner.finalize());
        outer.finalize().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn known_answers() {
        // Computed with Python's hashlib.pbkdf2_hmac.
        let short = salted(ScramMechanism::Sha256, b"secret", b"0123456789abcdef", 4096);
        assert_eq!(hex(&short), SHORT);
        let long = salted(ScramMechanism::Sha512, &[b'x'; 200], b"salt", 4096);
        assert_eq!(hex(&long), LONG);
    }

    const SHORT: &str = "7983542ede570e44e3095969771c503ab4ef40f3d510f646b329006d2ad29d24";
    const LONG: &str = "47bba1ad7def44323269b282d8058919fdf7fd63e89ebeaed1c0b4d2420759d562d014192c5d1bd630f00166d757fb36321420cb2b296c6de6019778914c5cf1";
}
