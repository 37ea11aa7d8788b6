//! What Kafka measures quotas with: a sum over sliding samples, and a bucket of tokens. Pure.
//!
//! Times are milliseconds since some moment that does not matter.

/// `quota.window.num` samples of `quota.window.size.seconds` each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) n_samples: u32,
    pub(super) sample_ms: u64,
}

impl Window {
    fn expiry_ms(self) -> u64 {
        self.sample_ms.saturating_mul(u64::from(self.n_samples))
    }

    /// What an amount that is spread over all samples but the one under way takes, in seconds.
    pub(super) fn full_seconds(self) -> f64 {
        f64::from(self.n_samples.saturating_sub(1)) * self.sample_ms as f64 / 1000.0
    }

    pub(super) fn seconds(self) -> f64 {
        f64::from(self.n_samples) * self.sample_ms as f64 / 1000.0
    }
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    start_ms: u64,
    last_ms: u64,
    sum: f64,
    n: u64,
}

impl Sample {
    fn new(now_ms: u64) -> Self {
        Self {
            start_ms: now_ms,
            last_ms: now_ms,
            sum: 0.0,
            n: 0,
        }
    }
}

/// Amounts by the time in which they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples {
    samples: Vec<Sample>,
    current: usize,
}

impl Samples {
    pub(super) fn record(&mut self, window: Window, amount: f64, now_ms: u64) {
        let is_over = self
            .samples
            .get(self.current)
            .is_none_or(|sample| now_ms.saturating_sub(sample.start_ms) >= window.sample_ms);
        if is_over {
            self.advance(window, now_ms);
        }
        if let Some(sample) = self.samples.get_mut(self.current) {
            sample.sum += amount;
            sample.n += 1;
            sample.last_ms = now_ms;
        }
    }

    /// One more than the window has: the oldest overlaps its start.
    fn advance(&mut self, window: Window, now_ms: u64) {
        let n_most = window.n_samples as usize + 1;
        self.samples.truncate(n_most);
        let next = match self.samples.is_empty() {
            true => 0,
            false => (self.current + 1) % n_most,
        };
        match self.samples.get_mut(next) {
            Some(sample) => *sample = Sample::new(now_ms),
            None => self.samples.push(Sample::new(now_ms)),
        }
        self.current = next.min(self.samples.len() - 1);
    }

    fn purge(&mut self, window: Window, now_ms: u64) {
        for sample in &mut self.samples {
            if now_ms.saturating_sub(sample.last_ms) >= window.expiry_ms() {
                *sample = Sample::new(now_ms);
            }
        }
    }

    /// The time that the samples stand for: whole samples for those that are missing, so that a
    /// client that has only begun does not look fast.
    pub(super) fn elapsed_ms(&mut self, window: Window, now_ms: u64) -> u64 {
        self.purge(window, now_ms);
        let oldest = self.samples.iter().map(|sample| sample.start_ms).min();
        let elapsed = now_ms.saturating_sub(oldest.unwrap_or(now_ms));
        let n_whole = elapsed / window.sample_ms.max(1);
        let n_wanted = u64::from(window.n_samples.saturating_sub(1));
        let missing = n_wanted.saturating_sub(n_whole);
        (elapsed + missing * window.sample_ms).max(1)
    }

    /// How much a second.
    pub(super) fn rate(&mut self, window: Window, now_ms: u64) -> f64 {
        let elapsed_ms = self.elapsed_ms(window, now_ms);
        let sum: f64 = self.samples.iter().map(|sample| sample.sum).sum();
        sum * 1000.0 / elapsed_ms as f64
    }

    /// How much each time; none if it did not happen.
    pub(super) fn average(&mut self, window: Window, now_ms: u64) -> Option<f64> {
        self.purge(window, now_ms);
        let n: u64 = self.samples.iter().map(|sample| sample.n).sum();
        let sum: f64 = self.samples.iter().map(|sample| sample.sum).sum();
        (n > 0).then(|| sum / n as f64)
    }

    /// By how long a client must pause until its rate is at the limit again.
    pub(super) fn excess_ms(&mut self, window: Window, limit: f64, now_ms: u64) -> u64 {
        let rate = self.rate(window, now_ms);
        if rate <= limit {
            return 0;
        }
        let elapsed_ms = self.elapsed_ms(window, now_ms) as f64;
        ((rate - limit) / limit * elapsed_ms).round() as u64
    }
}

/// A bucket that fills at the limit, and holds what the limit lets through in so many seconds.
#[derive(Debug, Clone, Default)]
pub(super) struct Bucket {
    tokens: f64,
    /// None: it has never been looked at, and is full.
    filled_ms: Option<u64>,
}

/// What a bucket is filled by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Inflow {
    /// Tokens a second.
    pub(super) limit: f64,
    /// The bucket is full after so many.
    pub(super) seconds: f64,
}

impl Inflow {
    pub(super) fn most(self) -> f64 {
        self.limit * self.seconds
    }
}

impl Bucket {
    pub(super) fn tokens(&mut self, inflow: Inflow, now_ms: u64) -> f64 {
        let most = inflow.most();
        self.tokens = match self.filled_ms {
            None => most,
            Some(then) => {
                let seconds = now_ms.saturating_sub(then) as f64 / 1000.0;
                (self.tokens + inflow.limit * seconds).min(most)
            }
        };
        self.filled_ms = Some(now_ms);
        self.tokens
    }

    /// Takes what may not be there.
    pub(super) fn take(&mut self, inflow: Inflow, amount: f64, now_ms: u64) {
        self.tokens = self.tokens(inflow, now_ms) - amount;
    }

    /// The limit is another from now on. What was used lately counts against it.
    pub(super) fn change(&mut self, from: Inflow, to: Inflow) {
        self.tokens += to.most() - from.most();
    }

    /// Nobody owes more than a full bucket.
    pub(super) fn forgive(&mut self, inflow: Inflow) {
        self.tokens = self.tokens.max(-inflow.most());
    }

    /// How long until so much is there, or the bucket is full.
    pub(super) fn lacks_ms(&mut self, inflow: Inflow, amount: f64, now_ms: u64) -> u64 {
        let lacking = amount.min(inflow.most()) - self.tokens(inflow, now_ms);
        // Sums of fractions are a little off, and the wait is over after whole milliseconds.
        let ms = lacking / inflow.limit * 1000.0 - 1e-3;
        ms.max(0.0).ceil() as u64
    }

    /// How long until nothing is owed.
    pub(super) fn owed_ms(&mut self, inflow: Inflow, now_ms: u64) -> u64 {
        let tokens = self.tokens(inflow, now_ms);
        (-tokens / inflow.limit * 1000.0).max(0.0).round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Window = Window {
        n_samples: 11,
        sample_ms: 1000,
    };

    #[test]
    fn a_client_that_has_only_begun_is_measured_over_the_whole_window() {
        let mut samples = Samples::default();
        samples.record(WINDOW, 1000.0, 5);
        assert_eq!(samples.elapsed_ms(WINDOW, 5), 10_000);
        assert!((samples.rate(WINDOW, 5) - 100.0).abs() < 1e-9);
        assert_eq!(samples.elapsed_ms(WINDOW, 505), 10_500);
    }

    #[test]
    fn who_keeps_the_pause_keeps_the_limit() {
        let mut samples = Samples::default();
        let (mut now, mut n_bytes) = (0_u64, 0.0_f64);
        while now < 60_000 {
            samples.record(WINDOW, 16_384.0, now);
            n_bytes += 16_384.0;
            now += 1 + samples.excess_ms(WINDOW, 100_000.0, now);
        }
        // The window lets ten seconds' worth through at once.
        let allowed = 100_000.0 * 70.0;
        assert!((n_bytes - allowed).abs() / allowed < 0.04, "{n_bytes}");
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut samples = Samples::default();
        samples.record(WINDOW, 1000.0, 0);
        assert!(samples.rate(WINDOW, 10_999) > 0.0);
        assert!(samples.rate(WINDOW, 11_000) == 0.0);
        samples.record(WINDOW, 10.0, 20_000);
        assert_eq!(samples.excess_ms(WINDOW, 1.0, 20_000), 0);
        samples.record(WINDOW, 10.0, 20_000);
        assert_eq!(samples.excess_ms(WINDOW, 1.0, 20_000), 10_000);
    }

    #[test]
    fn what_was_taken_back_does_not_count() {
        let mut samples = Samples::default();
        samples.record(WINDOW, 50_000.0, 0);
        assert_eq!(samples.excess_ms(WINDOW, 1000.0, 0), 40_000);
        samples.record(WINDOW, -50_000.0, 0);
        assert_eq!(samples.excess_ms(WINDOW, 1000.0, 0), 0);
    }

    #[test]
    fn samples_are_as_many_as_the_window_has_and_one() {
        let mut samples = Samples::default();
        for now in 0..100 {
            samples.record(WINDOW, 1.0, now * 1000);
        }
        assert_eq!(samples.samples.len(), 12);
        assert!((samples.rate(WINDOW, 99_000) - 1.1).abs() < 1e-9);
        assert_eq!(samples.average(WINDOW, 99_000), Some(1.0));
        assert_eq!(samples.average(WINDOW, 999_000), None);
    }

    const INFLOW: Inflow = Inflow {
        limit: 2.0,
        seconds: 11.0,
    };

    #[test]
    fn a_bucket_is_full_at_first_and_fills_at_the_limit() {
        let mut bucket = Bucket::default();
        assert!((bucket.tokens(INFLOW, 7) - 22.0).abs() < 1e-9);
        bucket.take(INFLOW, 30.0, 7);
        assert_eq!(bucket.owed_ms(INFLOW, 7), 4000);
        assert_eq!(bucket.owed_ms(INFLOW, 1007), 3000);
        assert_eq!(bucket.owed_ms(INFLOW, 60_000), 0);
        assert!((bucket.tokens(INFLOW, 90_000) - 22.0).abs() < 1e-9);
    }

    #[test]
    fn what_was_used_counts_against_another_limit_and_may_be_forgiven() {
        let mut bucket = Bucket::default();
        bucket.take(INFLOW, 4.0, 0);
        let lower = Inflow {
            limit: 0.5,
            ..INFLOW
        };
        bucket.change(INFLOW, lower);
        assert!((bucket.tokens(lower, 0) - 1.5).abs() < 1e-9);
        assert_eq!(bucket.lacks_ms(lower, 1.5, 0), 0);
        assert_eq!(bucket.lacks_ms(lower, 2.0, 0), 1000);
        assert_eq!(bucket.lacks_ms(lower, 99.0, 0), 8000);
        assert!((bucket.tokens(lower, 60_000) - 5.5).abs() < 1e-9);
        bucket.take(lower, 105.5, 60_000);
        assert_eq!(bucket.owed_ms(lower, 60_000), 200_000);
        bucket.forgive(lower);
        assert_eq!(bucket.owed_ms(lower, 60_000), 11_000);
    }

    #[test]
    fn who_keeps_the_pauses_of_a_bucket_is_at_the_limit_in_every_ten_seconds() {
        let inflow = Inflow {
            limit: 100_000.0,
            seconds: WINDOW.full_seconds(),
        };
        let (mut bucket, mut now) = (Bucket::default(), 0_u64);
        let mut by_time = [0.0_f64; 6];
        while now < 60_000 {
            bucket.take(inflow, 16_384.0, now);
            by_time[now as usize / 10_000] += 16_384.0;
            now += 1 + bucket.owed_ms(inflow, now);
        }
        let (first, later) = by_time.split_first().unwrap();
        // Ten seconds' worth at once, and the ten seconds.
        assert!((first - 2_000_000.0).abs() < 40_000.0, "{first}");
        for n_bytes in later {
            assert!((n_bytes - 1_000_000.0).abs() < 20_000.0, "{n_bytes}");
        }
    }
}
