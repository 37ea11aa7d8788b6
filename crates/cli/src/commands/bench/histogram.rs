//! How long things took, in buckets: every power of two is cut into [`PARTS`] equal ones, so that a
//! quantile is at most 1/256 above the truth, whether it is a microsecond or a minute. Pure.

/// Buckets of a power of two.
const PARTS: u64 = 256;
const PARTS_BITS: u32 = PARTS.trailing_zeros();
/// Below `PARTS` every number has a bucket of its own; above, each power of two has `PARTS`.
const BUCKETS: usize = (PARTS * (u64::BITS - PARTS_BITS + 1) as u64) as usize;

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Histogram {
    /// `n = counts.sum()`, always.
    counts: Vec<u64>,
    n: u64,
    sum: u128,
    min: u64,
    max: u64,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self {
            counts: vec![0; BUCKETS],
            n: 0,
            sum: 0,
            min: u64::MAX,
            max: 0,
        }
    }

    pub(super) fn record(&mut self, value: u64) {
        if let Some(count) = self.counts.get_mut(bucket(value)) {
            *count += 1;
        }
        self.n += 1;
        self.sum += u128::from(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.n += other.n;
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    pub(super) fn len(&self) -> u64 {
        self.n
    }

    pub(super) fn max(&self) -> u64 {
        self.max
    }

    pub(super) fn mean(&self) -> u64 {
        let mean = self.sum.checked_div(u128::from(self.n)).unwrap_or_default();
        u64::try_from(mean).unwrap_or(u64::MAX)
    }

    /// The smallest value that at least this share (in millionths) of all does not exceed; 0 if
    /// there is none.
    pub(super) fn quantile(&self, millionths: u64) -> u64 {
        if self.n == 0 {
            return 0;
        }
        let rank = (u128::from(self.n) * u128::from(millionths)).div_ceil(1_000_000);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if *count > 0 && seen >= rank {
                return highest(at).clamp(self.min, self.max);
            }
        }
        self.max
    }
}

impl std::fmt::Debug for Histogram {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let median = self.quantile(500_000);
        write!(f, "{} values around {median}, at most {}", self.n, self.max)
    }
}

fn bucket(value: u64) -> usize {
    if value < PARTS {
        return value as usize;
    }
    // The highest PARTS_BITS + 1 bits name the bucket.
    let shift = value.ilog2() - PARTS_BITS;
    (u64::from(shift) * PARTS + (value >> shift)) as usize
}

/// The largest value of a bucket.
fn highest(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < PARTS {
        return bucket;
    }
    let shift = bucket / PARTS - 1;
    let first = (bucket - shift * PARTS) << shift;
    first + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_bucket_that_holds_it() {
        let mut values: Vec<u64> = (0..2000).collect();
        for power in 9..64 {
            let at = 1_u64 << power;
            values.extend([at - 1, at, at + 1, at + at / 3]);
        }
        values.push(u64::MAX);
        for value in values {
            let bucket = bucket(value);
            assert!(bucket < BUCKETS, "{value}");
            let highest = highest(bucket);
            assert!(
                highest >= value && highest - value <= value / PARTS,
                "{value}"
            );
            assert_eq!(super::bucket(highest), bucket, "{value}");
            if highest < u64::MAX {
                assert_eq!(super::bucket(highest + 1), bucket + 1, "{value}");
            }
        }
    }

    #[test]
    fn quantiles_are_those_of_the_sorted_values() {
        let mut histogram = Histogram::new();
        let mut values: Vec<u64> = (1..=10_000_u64).map(|n| n * n * 7 % 1_000_003).collect();
        values.iter().for_each(|&value| histogram.record(value));
        values.sort_unstable();
        for millionths in [1, 100_000, 500_000, 990_000, 999_000, 999_999, 1_000_000] {
            let rank = (10_000 * millionths as usize).div_ceil(1_000_000);
            let (exact, found) = (values[rank - 1], histogram.quantile(millionths));
            assert!(
                found >= exact && found <= exact + exact / PARTS,
                "{millionths}: {exact} {found}"
            );
        }
        assert_eq!(histogram.max(), values[9_999]);
        assert_eq!(histogram.mean(), values.iter().sum::<u64>() / 10_000);
        assert_eq!(histogram.len(), 10_000);
    }

    #[test]
    fn few_values_and_none() {
        let mut histogram = Histogram::new();
        assert_eq!(
            (
                histogram.quantile(999_000),
                histogram.mean(),
                histogram.max()
            ),
            (0, 0, 0)
        );
        histogram.record(1_234_567);
        for millionths in [0, 500_000, 1_000_000] {
            assert_eq!(histogram.quantile(millionths), 1_234_567);
        }
    }

    #[test]
    fn two_added_are_one_recorded_twice() {
        let (mut left, mut right, mut both) =
            (Histogram::new(), Histogram::new(), Histogram::new());
        for n in 0..500_u64 {
            let value = n.pow(3);
            if n % 3 == 0 {
                left.record(value)
            } else {
                right.record(value)
            }
            both.record(value);
        }
        left.add(&right);
        assert_eq!(left, both);
        left.add(&Histogram::new());
        assert_eq!(left, both);
    }
}
