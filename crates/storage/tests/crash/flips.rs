//! Bits that turn over while the machine is down, where Kafka's format lets one notice; and recovery
//! points that look as if a Kafka had written them.

use std::fs;

use ottla_protocol::batch::{Header, batches};

use crate::world::{World, partition};

const RECOVERY_POINTS: &str = "recovery-point-offset-checkpoint";

/// Base offset and leader epoch are outside the checksum of a batch.
fn is_checked(at: usize) -> bool {
    !matches!(at, 0..8 | 12..16)
}

impl World {
    /// Only what recovery looks at: what lies above the recovery point. A producer snapshot
    /// has a checksum wherever it is.
    pub(crate) fn flip_a_bit(&mut self) {
        if self.moves {
            return;
        }
        let directory = self.home().join(format!("{}", partition()));
        let Ok(entries) = fs::read_dir(&directory) else {
            return;
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        let point = self.recovery_point();
        let base_of = |name: &str| name.split('.').next().and_then(|base| base.parse().ok());
        let scanned_from = names
            .iter()
            .filter(|name| name.ends_with(".log"))
            .filter_map(|name| base_of(name))
            .filter(|base: &i64| *base <= point)
            .max()
            .unwrap_or(0);
        names.retain(|name| {
            let base: Option<i64> = base_of(name);
            let from = if name.ends_with(".log") {
                scanned_from
            } else {
                point.max(scanned_from)
            };
            name.ends_with(".snapshot") || base.is_some_and(|base| base >= from)
        });
        names.retain(|name| {
            let kinds = [".log", ".index", ".timeindex", ".txnindex", ".snapshot"];
            kinds.iter().any(|kind| name.ends_with(kind))
        });
        let Some(name) = names.get(self.dice.index(names.len())) else {
            return;
        };
        let path = directory.join(name);
        let bytes = fs::read(&path).unwrap_or_default();
        if bytes.is_empty() {
            return;
        }
        let (at, bit) = (self.dice.index(bytes.len()), self.dice.below(8) as u8);
        if name.ends_with(".log") {
            // What a round has taken and what the flip has would not be told apart.
            if self.model.compacting.is_some() || !self.may_lose(&bytes, at, point) {
                return;
            }
            self.totals.flips_in_log += 1;
        } else if name.ends_with(".snapshot") {
            self.totals.flips_in_snapshot += 1;
        } else {
            self.totals.flips_in_index += 1;
        }
        self.trace(|| format!("flip bit {bit} of byte {at} of {name}"));
        self.sim.flip(&path, at, bit);
    }

    /// The segment that holds the point is then read from its start. Only of compacted logs: in others
    /// that gives up what tells of a lost tail, as it must for logs of a Kafka. And only if
    /// the point is inside of a segment, since ours vouches for less of one that ends there.
    pub(crate) fn disown_point(&mut self) {
        let path = self.home().join(RECOVERY_POINTS);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let base = format!("{:020}.log", self.recovery_point());
        let is_at_base = self
            .home()
            .join(format!("{}", partition()))
            .join(base)
            .exists();
        if !self.is_compacted || is_at_base || !text.ends_with(" \n") {
            return;
        }
        self.trace(|| "the recovery point is another's".into());
        self.totals.points_of_others += 1;
        self.sim
            .change(&path, text.replace(" \n", "\n").into_bytes());
    }

    /// From the batch that holds this byte on the log may be cut.
    fn may_lose(&mut self, bytes: &[u8], at: usize, point: i64) -> bool {
        let mut position = 0;
        for batch in batches(bytes) {
            let Ok(batch) = batch else { return true };
            let end = position + batch.size();
            if at < end {
                let is_checked = is_checked(at - position) && batch.base_offset() >= point;
                if is_checked {
                    self.model.flushed = self.model.flushed.min(batch.base_offset());
                }
                return is_checked;
            }
            position = end;
        }
        // Torn already: a prefix that no longer says so may hide what comes next.
        Header::parse(&bytes[position..]).is_err()
    }

    fn recovery_point(&self) -> i64 {
        let text = fs::read_to_string(self.home().join(RECOVERY_POINTS)).unwrap_or_default();
        let line = text.lines().nth(2);
        line.and_then(|line| line.split_whitespace().nth(2)?.parse().ok())
            .unwrap_or(0)
    }
}
