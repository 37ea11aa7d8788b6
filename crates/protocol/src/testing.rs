//! Filled messages for tests: something other than the default in every field that a version has.
//!
//! Only with the feature `testing`. The same seed gives the same value.

use bytes::Bytes;

use crate::field::{Message, Version};
use crate::names::{Text, Uuid};

/// What the derive writes is kept only where tests are built.
#[cfg(feature = "testing")]
#[doc(hidden)]
#[macro_export]
macro_rules! when_testing {
    ($($code:tt)*) => { $($code)* };
}

#[cfg(not(feature = "testing"))]
#[doc(hidden)]
#[macro_export]
macro_rules! when_testing {
    ($($code:tt)*) => {};
}

/// A type that can be filled.
pub trait Sample: Sized {
    fn sample(sampler: &mut Sampler, version: Version) -> Self;
}

/// A stream of numbers from a seed, and how wild the values may be.
#[derive(Debug, Clone)]
pub struct Sampler {
    state: u64,
    wild: bool,
}

impl Sampler {
    /// Every field differs from its default, nothing is null, no list is empty.
    pub fn full(seed: u64) -> Self {
        Self {
            state: seed,
            wild: false,
        }
    }

    /// Defaults, nulls and empty lists occur too.
    pub fn wild(seed: u64) -> Self {
        Self {
            state: seed,
            wild: true,
        }
    }

    /// SplitMix64.
    pub fn number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.number().is_multiple_of(n)
    }

    fn length(&mut self) -> usize {
        if self.wild {
            (self.number() % 4) as usize
        } else {
            1 + (self.number() % 2) as usize
        }
    }

    pub fn other_than<T: PartialEq>(
        &mut self,
        default: &T,
        mut sample: impl FnMut(&mut Self) -> T,
    ) -> T {
        loop {
            let value = sample(self);
            if self.wild || value != *default {
                return value;
            }
        }
    }

    pub fn nullable<T>(
        &mut self,
        may_be_null: bool,
        mut sample: impl FnMut(&mut Self) -> T,
    ) -> Option<T> {
        let null = self.wild && may_be_null && self.one_in(3);
        (!null).then(|| sample(self))
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Sample for $number {
            fn sample(sampler: &mut Sampler, _: Version) -> Self {
                sampler.number() as Self
            }
        }
    )*};
}

numbers!(i8, i16, u16, i32, u32, i64);

impl Sample for f64 {
    fn sample(sampler: &mut Sampler, _: Version) -> Self {
        (sampler.number() >> 32) as Self / 1024.0
    }
}

impl Sample for bool {
    fn sample(sampler: &mut Sampler, _: Version) -> Self {
        sampler.one_in(2)
    }
}

impl Sample for Uuid {
    fn sample(sampler: &mut Sampler, _: Version) -> Self {
        Self::from_u128(u128::from(sampler.number()) << 64 | u128::from(sampler.number()))
    }
}

impl Sample for Text {
    fn sample(sampler: &mut Sampler, _: Version) -> Self {
        let n = sampler.length();
        // Letters of one, two and three bytes.
        let letters = ['a', 'k', 'z', '-', 'ß', '語'];
        let pick = |sampler: &mut Sampler| letters[(sampler.number() % 6) as usize];
        (0..n * 3).map(|_| pick(sampler)).collect::<String>().into()
    }
}

impl Sample for Bytes {
    fn sample(sampler: &mut Sampler, _: Version) -> Self {
        let n = sampler.length() * 3;
        (0..n).map(|_| sampler.number() as u8).collect()
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(sampler: &mut Sampler, version: Version) -> Self {
        let n = sampler.length();
        (0..n).map(|_| T::sample(sampler, version)).collect()
    }
}

impl<M: Message + Sample> Sample for Box<M> {
    fn sample(sampler: &mut Sampler, version: Version) -> Self {
        Self::new(M::sample(sampler, version))
    }
}
