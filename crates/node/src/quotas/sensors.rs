//! What was measured of each client, or of clients that are measured together. Pure.

use std::collections::HashMap;

use ottla_metadata::quotas::Together;

use super::rate::{Bucket, Samples, Window};

/// Clients name themselves as they like, so each may be a new one. Ten thousand are more than a
/// node has connections by default, and cost ten megabytes.
const SENSORS_MAX: usize = 10_000;
/// Names are up to 32 KiB long.
const NAME_BYTES_MAX: usize = 8 << 20;
/// As long as Kafka remembers a client that asks for nothing.
const IDLE_MS_MAX: u64 = 3_600_000;
/// `metrics.num.samples` and `metrics.sample.window.ms` as Kafka starts with: averages for people.
pub(super) const SHOWN: Window = Window {
    n_samples: 2,
    sample_ms: 30_000,
};

/// One client, or those who are measured with it.
#[derive(Debug)]
pub(super) struct Sensor {
    pub(super) limit: f64,
    pub(super) samples: Samples,
    pub(super) bucket: Bucket,
    /// Milliseconds of each pause.
    pub(super) pauses: Samples,
    used_ms: u64,
}

/// All of one quota.
#[derive(Debug, Default)]
pub(super) struct Sensors {
    all: HashMap<Together, Sensor>,
    n_name_bytes: usize,
}

fn name_bytes(together: &Together) -> usize {
    together.user.len() + together.client_id.len()
}

impl Sensors {
    /// The sensor of a client, made if there is none. Whoever was idle for longest makes room.
    pub(super) fn of(
        &mut self,
        together: Together,
        now_ms: u64,
        limit: impl FnOnce(&Together) -> f64,
    ) -> &mut Sensor {
        if !self.all.contains_key(&together) {
            let n_bytes = name_bytes(&together);
            if self.all.len() >= SENSORS_MAX || self.n_name_bytes + n_bytes > NAME_BYTES_MAX {
                self.make_room(now_ms);
            }
            self.n_name_bytes += n_bytes;
        }
        let sensor = self
            .all
            .entry(together)
            .or_insert_with_key(|together| Sensor {
                limit: limit(together),
                samples: Samples::default(),
                bucket: Bucket::default(),
                pauses: Samples::default(),
                used_ms: now_ms,
            });
        sensor.used_ms = now_ms;
        sensor
    }

    /// Forgets the idle, and if nobody is, the quarter that was used least lately: looking at all
    /// for each new name would cost more than the request.
    fn make_room(&mut self, now_ms: u64) {
        self.forget_idle(now_ms);
        if self.all.len() < SENSORS_MAX / 2 && self.n_name_bytes < NAME_BYTES_MAX / 2 {
            return;
        }
        let mut used: Vec<u64> = self.all.values().map(|sensor| sensor.used_ms).collect();
        let n_gone = used.len() / 4;
        let (_, oldest_kept, _) = used.select_nth_unstable(n_gone);
        let oldest_kept = *oldest_kept;
        let mut n_left = n_gone + 1;
        self.retain(|sensor| {
            let goes = sensor.used_ms <= oldest_kept && n_left > 0;
            n_left -= usize::from(goes);
            !goes
        });
    }

    pub(super) fn forget_idle(&mut self, now_ms: u64) {
        self.retain(|sensor| now_ms.saturating_sub(sensor.used_ms) <= IDLE_MS_MAX);
    }

    fn retain(&mut self, mut stays: impl FnMut(&Sensor) -> bool) {
        self.all.retain(|_, sensor| stays(sensor));
        self.n_name_bytes = self.all.keys().map(name_bytes).sum();
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Together, &mut Sensor)> {
        self.all.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn client(id: &str) -> Together {
        Together {
            user: Arc::from(""),
            client_id: Arc::from(id),
        }
    }

    #[test]
    fn names_without_end_cost_no_more_than_the_bound() {
        let mut sensors = Sensors::default();
        for n in 0..3 * SENSORS_MAX as u64 {
            sensors.of(client(&n.to_string()), n, |_| 1.0);
            // One that is at work all the time is never forgotten.
            sensors
                .of(client("busy"), n, |_| 1.0)
                .samples
                .record(SHOWN, 1.0, 0);
            assert!(sensors.all.len() <= SENSORS_MAX);
        }
        let busy = sensors.of(client("busy"), u64::MAX, |_| 1.0);
        assert!(busy.samples.rate(SHOWN, 0) > 0.0);
        let long = "x".repeat(30_000);
        for n in 0..2000 {
            sensors.of(client(&format!("{long}{n}")), u64::MAX, |_| 1.0);
            assert!(sensors.n_name_bytes <= NAME_BYTES_MAX);
        }
    }

    #[test]
    fn who_asks_for_nothing_for_an_hour_is_forgotten() {
        let mut sensors = Sensors::default();
        sensors.of(client("a"), 0, |_| 1.0);
        sensors.of(client("b"), 10, |_| 1.0);
        sensors.forget_idle(IDLE_MS_MAX + 5);
        let left: Vec<String> = sensors
            .iter_mut()
            .map(|(together, _)| together.client_id.to_string())
            .collect();
        assert_eq!(left, ["b"]);
    }
}
