//! The mechanisms of SCRAM by Kafka's numbers, and how many iterations a credential may have.

/// What a password is hashed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScramMechanism {
    Sha256 = 1,
    Sha512 = 2,
}

impl ScramMechanism {
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];
    /// So few, or more, are safe.
    pub const ITERATIONS_MIN: i32 = 4096;
    /// More than a broker takes: clients would be slow to prove what they know.
    pub const ITERATIONS_MAX: i32 = 16_384;

    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    /// Its number in requests and records.
    pub const fn number(self) -> i8 {
        self as i8
    }

    pub fn from_number(number: i8) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.number() == number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back() {
        for mechanism in ScramMechanism::ALL {
            let found = ScramMechanism::from_number(mechanism.number());
            assert_eq!(found, Some(mechanism));
        }
        for unknown in [i8::MIN, -1, 0, 3, i8::MAX] {
            assert_eq!(ScramMechanism::from_number(unknown), None);
        }
    }
}
