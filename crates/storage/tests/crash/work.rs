//! What is done to the log, one thing at a time, by dice.

use std::rc::Rc;

use bytes::Bytes;
use ottla_protocol::batch::stamp;
use ottla_protocol::batch_builder::{BatchBuilder, EndMarker};
use ottla_protocol::compress::Codec;
use ottla_storage::producer::{Appender, TransactionVersion, Verified};
use ottla_storage::validate::{Origin, assign, check};
use ottla_storage::{Isolation, LeaderAppend, NotDone, Offsets, StepBytes};

use crate::check;
use crate::model::{Remembered, Sent, Timeline};
use crate::world::{EXPIRATION_MS, TIMESTAMP_SPREAD_MS, World, partition};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Idempotent,
    Transactional,
    Marker,
}

impl World {
    pub(crate) fn step(&mut self) {
        self.totals.operations += 1;
        self.now_ms += self.dice.within(0, 300);
        match self.dice.below(1000) {
            0..230 => self.append(Kind::Plain),
            230..245 => self.move_on(),
            245..260 => self.make_room(),
            260..400 => self.append(Kind::Idempotent),
            400..500 => self.append(Kind::Transactional),
            500..560 => self.append(Kind::Marker),
            560..620 => self.follow(),
            620..640 => self.repeat(),
            640..650 => self.skip_a_sequence(),
            650..670 => self.roll(),
            670..730 => self.flush(),
            730..790 => self.flush_in_steps(),
            790..850 => self.raise_high_watermark(),
            850..870 => self.retain(),
            870..880 => self.unlink(),
            880..895 => self.delete_records(),
            895..915 => self.checkpoint(),
            915..927 if self.moves => self.move_on(),
            915..925 => self.truncate(),
            925..927 => self.start_anew(),
            927..937 => self.lead(),
            937..947 => self.expire(),
            947..953 => self.change_settings(),
            953..962 => check::read_somewhere(self),
            962..974 => self.compact(),
            974..980 => check::look_up_a_time(self),
            980..983 => check::inspect(self),
            983..988 => self.trouble(),
            988..991 => self.stop_and_start(),
            991..994 => self.crash(false),
            994..997 => self.crash(true),
            _ => self.die_soon(),
        }
        if self.sim.is_dead() {
            let is_power_cut = self.dice.percent(70);
            self.crash(is_power_cut);
        }
        check::ends(self);
    }

    // ---- batches ----

    fn any_records(&mut self, mut builder: BatchBuilder, may_be_old: bool) -> Bytes {
        let n = 1 + self.dice.below(4);
        for _ in 0..n {
            let back = if may_be_old && self.dice.percent(4) {
                100_000
            } else {
                0
            };
            let timestamp = self.now_ms - back + self.dice.within(-TIMESTAMP_SPREAD_MS + 500, 500);
            let key = format!("key {}", self.dice.below(20));
            let value = vec![b'a' + self.dice.below(26) as u8; self.dice.index(120)];
            let value = Some(value.as_slice()).filter(|_| !self.dice.percent(15));
            builder.push(timestamp, Some(key.as_bytes()), value);
        }
        builder.finish()
    }

    /// A batch that `remembered` must find in order.
    fn batch(&mut self, kind: Kind, remembered: &Remembered) -> Bytes {
        let codec = if self.dice.percent(15) {
            Codec::Lz4
        } else {
            Codec::None
        };
        let builder = BatchBuilder::data(codec);
        if kind == Kind::Plain {
            return self.any_records(builder, true);
        }
        let is_transactional = kind != Kind::Idempotent;
        let id = self.producer(is_transactional, remembered);
        let writer = remembered.writers.get(&id);
        let epoch = writer.map_or(0, |writer| writer.epoch.max(0));
        if kind == Kind::Marker {
            let marker = EndMarker {
                is_commit: self.dice.percent(50),
                coordinator_epoch: writer.map_or(0, |writer| writer.coordinator_epoch.max(0)),
            };
            return marker.batch(id, epoch, self.now_ms);
        }
        let is_open = writer.is_some_and(|writer| writer.open_since.is_some());
        let newest = writer.and_then(|writer| writer.seen.back());
        let is_forgotten = writer.is_some_and(|writer| writer.is_forgotten);
        let (epoch, sequence) = if !is_open && (self.dice.percent(3) || is_forgotten) {
            (epoch + 1, 0)
        } else {
            (epoch, newest.map_or(0, |seen| seen.last_sequence + 1))
        };
        let builder = builder.producer(id, epoch, sequence);
        let builder = if is_transactional {
            builder.transactional()
        } else {
            builder
        };
        self.any_records(builder, false)
    }

    /// One that is alive; ids are not used again once they are, or may have been, forgotten: no
    /// producer begins again with sequence 0 in the same epoch, and the next start may find those
    /// of its batches again that lie below a raised start.
    fn producer(&mut self, is_transactional: bool, remembered: &Remembered) -> i64 {
        let now = self.now_ms;
        self.producers.retain(|id| {
            remembered.writers.get(id).is_some_and(|writer| {
                writer.open_since.is_some() || now - writer.last_timestamp < EXPIRATION_MS / 2
            })
        });
        if self.dice.percent(2) {
            // One falls silent for good.
            let is_idle = |id: &i64| {
                let writer = remembered.writers.get(id);
                writer.is_some_and(|writer| writer.open_since.is_none())
            };
            if let Some(at) = self.producers.iter().position(is_idle) {
                self.producers.remove(at);
            }
        }
        let is_kind = |id: &&i64| (**id % 2 == 1) == is_transactional;
        let fitting: Vec<i64> = self.producers.iter().filter(is_kind).copied().collect();
        if fitting.len() < 3 {
            self.n_producers += 1;
            let id = 1000 + self.n_producers * 2 + i64::from(is_transactional);
            self.producers.push(id);
            return id;
        }
        fitting[self.dice.index(fitting.len())]
    }

    // ---- growing ----

    pub(crate) fn append_anything(&mut self) {
        match self.dice.below(5) {
            0 | 1 => self.append(Kind::Plain),
            2 => self.append(Kind::Idempotent),
            3 => self.append(Kind::Transactional),
            _ => self.append(Kind::Marker),
        }
    }

    fn append(&mut self, kind: Kind) {
        let remembered = std::mem::take(&mut self.model.remembered);
        let bytes = self.batch(kind, &remembered);
        self.model.remembered = remembered;
        let origin = match kind {
            Kind::Marker => Origin::Coordinator,
            _ => Origin::Client { may_use_zstd: true },
        };
        let Ok(checked) = check(&bytes, origin, &self.config.rules(), self.now_ms) else {
            self.totals.appends_refused += 1;
            return;
        };
        self.totals.rebuilt += u64::from(checked.rebuilt.is_some());
        let (end, append) = (self.end(), self.leader());
        let mut expected = checked.rebuilt.as_deref().unwrap_or(&bytes)[..checked.size].to_vec();
        assign(&mut expected, &checked, end, self.epoch, self.now_ms);
        let sent = Sent::of(expected.into());
        let done = self.log().append_as_leader(&bytes, &checked, append);
        self.trace(|| {
            format!(
                "append {kind:?} of {} bytes {:?}",
                bytes.len(),
                sent.producer
            )
        });
        match done {
            Ok(outcome) => {
                let is_as_sent = !outcome.is_duplicate
                    && (outcome.first_offset, outcome.last_offset) == (sent.base, sent.last);
                assert!(is_as_sent, "{outcome:?} for {sent:?}");
                self.totals.appends += 1;
                self.totals.rolls += u64::from(outcome.has_rolled);
                if let Some(marker) = sent.marker {
                    self.totals.markers += 1;
                    self.totals.aborts += u64::from(!marker.is_commit);
                }
                self.model.append(sent);
                if self.dice.percent(10) {
                    check::read_back(self, end);
                }
            }
            Err(not_done) => {
                let mut maybe = self.model.timeline.clone();
                maybe.batches.push(sent);
                self.may_be(maybe);
                self.not_done(&not_done, &kind);
            }
        }
    }

    fn leader(&self) -> LeaderAppend {
        LeaderAppend {
            leader_epoch: self.epoch,
            appender: Appender::Client,
            transaction_version: TransactionVersion::SameEpoch,
            verified: Verified::NotAsked,
            now_ms: self.now_ms,
        }
    }

    /// Takes batches from another leader.
    fn follow(&mut self) {
        if self.dice.percent(30) {
            self.epoch += 1;
        }
        let mut remembered = self.model.remembered.clone();
        let (mut next, mut bytes, mut sent) = (self.end(), Vec::new(), Vec::new());
        for _ in 0..self.dice.within(1, 5) {
            let kind = match self.dice.below(6) {
                0 => Kind::Idempotent,
                1 => Kind::Transactional,
                2 => Kind::Marker,
                _ => Kind::Plain,
            };
            let mut batch = self.batch(kind, &remembered).to_vec();
            stamp(&mut batch, next, self.epoch);
            let batch = Sent::of(batch.into());
            next = batch.last + 1;
            remembered.apply(&batch);
            bytes.extend_from_slice(&batch.bytes);
            sent.push(batch);
            if self.dice.percent(5) {
                self.epoch += 1;
            }
        }
        let (epoch, now_ms) = (self.epoch, self.now_ms);
        let done = self.log().append_as_follower(&bytes, epoch, now_ms);
        self.trace(|| {
            let producers: Vec<_> = sent
                .iter()
                .map(|batch| (batch.base, batch.producer))
                .collect();
            format!("follow with {producers:?}")
        });
        match done {
            Ok(outcome) => {
                let outcome = outcome.expect("there were batches");
                self.totals.follower_appends += 1;
                self.totals.rolls += u64::from(outcome.has_rolled);
                for batch in sent {
                    self.model.append(batch);
                }
            }
            Err(not_done) => {
                let NotDone::Fault(fault) = not_done else {
                    panic!("following was refused: {not_done}");
                };
                // Some of them may be in: those that came before a roll.
                let end = self.log().end();
                let (done, open): (Vec<_>, Vec<_>) =
                    sent.into_iter().partition(|batch| batch.last < end);
                for batch in done {
                    self.model.append(batch);
                }
                let mut maybe = self.model.timeline.clone();
                maybe.batches.extend(open);
                self.may_be(maybe);
                self.failed(&fault, &"follow");
            }
        }
    }

    /// A batch comes a second time.
    fn repeat(&mut self) {
        let ids: Vec<i64> = self.producers.clone();
        let Some(id) = ids.get(self.dice.index(ids.len())).copied() else {
            return;
        };
        let Some(writer) = self.model.remembered.writers.get(&id) else {
            return;
        };
        let Some(seen) = writer.seen.get(self.dice.index(writer.seen.len())).copied() else {
            return;
        };
        let mut builder =
            BatchBuilder::data(Codec::None).producer(id, writer.epoch, seen.first_sequence);
        if id % 2 == 1 {
            builder = builder.transactional();
        }
        for _ in seen.first_sequence..=seen.last_sequence {
            builder.push(self.now_ms, Some(b"again"), Some(b"and again"));
        }
        let bytes = builder.finish();
        let origin = Origin::Client { may_use_zstd: true };
        let Ok(checked) = check(&bytes, origin, &self.config.rules(), self.now_ms) else {
            return;
        };
        let append = self.leader();
        self.trace(|| format!("repeat {seen:?} of {id}"));
        match self.log().append_as_leader(&bytes, &checked, append) {
            Ok(outcome) => {
                assert!(
                    outcome.is_duplicate && outcome.last_offset == seen.last_offset,
                    "a batch came twice and went in: {outcome:?}, seen {seen:?}"
                );
                self.totals.duplicates += 1;
            }
            Err(not_done) => self.not_done(&not_done, &"repeat"),
        }
    }

    fn skip_a_sequence(&mut self) {
        let remembered = std::mem::take(&mut self.model.remembered);
        let id = self.producer(false, &remembered);
        let writer = remembered.writers.get(&id).cloned();
        self.model.remembered = remembered;
        let Some(writer) = writer else { return };
        let Some(seen) = writer.seen.back() else {
            return;
        };
        let sequence = seen.last_sequence + 2;
        let builder = BatchBuilder::data(Codec::None).producer(id, writer.epoch, sequence);
        let bytes = self.any_records(builder, false);
        let origin = Origin::Client { may_use_zstd: true };
        let Ok(checked) = check(&bytes, origin, &self.config.rules(), self.now_ms) else {
            return;
        };
        let append = self.leader();
        match self.log().append_as_leader(&bytes, &checked, append) {
            Ok(outcome) => panic!("a gap in the sequences went in: {outcome:?}"),
            Err(NotDone::Refused(_)) => self.totals.appends_refused += 1,
            Err(NotDone::Fault(fault)) => self.failed(&fault, &"skip a sequence"),
        }
    }

    pub(crate) fn roll(&mut self) {
        let now_ms = self.now_ms;
        self.trace(|| "roll".into());
        match self.log().roll(now_ms) {
            Ok(()) => self.totals.rolls += 1,
            Err(fault) => self.failed(&fault, &"roll"),
        }
    }

    fn lead(&mut self) {
        self.epoch += 1;
        let (epoch, end) = (self.epoch, self.end());
        self.trace(|| format!("lead in epoch {epoch}"));
        match self.log().assign_epoch(epoch, end) {
            Ok(()) => {
                self.model.epochs.assign(epoch, end);
                self.totals.epochs += 1;
            }
            Err(fault) => self.failed(&fault, &"lead"),
        }
    }

    // ---- to the disk ----

    pub(crate) fn flush(&mut self) {
        self.trace(|| "flush".into());
        match self.log().flush() {
            Ok(()) => self.flushed(),
            Err(fault) => self.failed(&fault, &"flush"),
        }
    }

    pub(crate) fn flushed(&mut self) {
        self.totals.flushes += 1;
        self.model.flushed = self.log().flushed();
    }

    fn flush_in_steps(&mut self) {
        match self.flushing.take() {
            None => {
                let planned = if self.dice.percent(40) {
                    self.totals.recovery_points += 1;
                    self.log().recovery_plan()
                } else {
                    self.log().flush_plan()
                };
                match planned {
                    Ok(target) => self.flushing = target.map(|target| (target, false)),
                    Err(fault) => self.failed(&fault, &"plan a flush"),
                }
            }
            Some((target, false)) => match target.sync() {
                Ok(()) => self.flushing = Some((target, true)),
                Err(fault) => {
                    self.log().poison(&fault);
                    self.failed(&fault, &"sync");
                }
            },
            Some((target, true)) => {
                self.log().flushed_to(&target);
                self.flushed();
            }
        }
        self.trace(|| "flush in steps".into());
    }

    pub(crate) fn raise_high_watermark(&mut self) {
        let high = self.log().high_watermark();
        let most = if self.flushes_first {
            self.log().flushed()
        } else {
            self.end()
        };
        let wished = self.dice.within(high, most.max(high));
        // Between two batches, as a leader's is.
        let timeline = &self.model.timeline;
        let to = timeline
            .batches
            .get(timeline.at(wished))
            .map_or(wished, |batch| batch.base);
        self.log().set_high_watermark(to);
    }

    /// What a host does for a log that writes much, in steps: anything may come in between.
    fn make_room(&mut self) {
        let (now_ms, bytes) = (self.now_ms, StepBytes::new(1, 9000));
        match (self.reserving.take(), self.dice.below(4)) {
            (_, 0) => {
                self.totals.room_given_back += self.log().give_back_room();
            }
            (_, 1) => self.log().tidy_room(now_ms, &bytes),
            (None, _) => self.reserving = self.log().plan_room(now_ms, &bytes),
            (Some(stretch), _) => {
                let outcome = stretch.reserve();
                self.totals.rooms += u64::from(outcome.is_ok());
                self.log().took_room(&stretch, outcome);
            }
        }
        self.trace(|| "make room".into());
    }

    fn checkpoint(&mut self) {
        let written = match self.dice.below(3) {
            0 => self.write_recovery_points(),
            1 => self.write_log_starts(),
            _ => self.write_high_watermarks(),
        };
        self.trace(|| "checkpoint".into());
        if let Err(fault) = written {
            self.failed(&fault, &"checkpoint");
        }
    }

    // ---- shrinking ----

    fn retain(&mut self) {
        let now_ms = self.now_ms;
        let high = self.log().high_watermark();
        let done = self.log().retain(now_ms);
        let start = self.log().start();
        self.trace(|| format!("retain: {done:?}"));
        match done {
            Ok(gone) => {
                let n = gone.iter().map(|(_, n)| *n).sum::<usize>();
                self.totals.segments_retained += n as u64;
                assert!(start <= high, "retention went past the high watermark");
                self.model.raise_start(start);
            }
            Err(fault) => {
                self.model.start_max = self.model.start_max.max(high);
                self.model.deepest_start = self.model.deepest_start.max(high);
                self.model.raise_start(start);
                self.failed(&fault, &"retain");
            }
        }
    }

    fn unlink(&mut self) {
        let now_ms = self.now_ms;
        if let Err(fault) = self.log().unlink_due(now_ms) {
            self.failed(&fault, &"unlink");
        }
    }

    fn delete_records(&mut self) {
        let (start, high) = (self.log().start(), self.log().high_watermark());
        let to = self.dice.within(start, high);
        self.model.start_max = self.model.start_max.max(to);
        self.model.deepest_start = self.model.deepest_start.max(to);
        self.trace(|| format!("delete records below {to}"));
        match self.log().raise_start(to) {
            Ok(_) => self.model.raise_start(to),
            Err(not_done) => return self.not_done(&not_done, &"delete records"),
        }
        let host = self.host.as_ref().expect("the host is up");
        if host.log.start_is_inside() {
            let starts = Offsets::from([(partition(), to)]);
            let highs = Offsets::from([(partition(), high)]);
            if let Err(fault) = host.directory.raise_log_starts(&starts, &highs) {
                return self.failed(&fault, &"raise the start");
            }
        }
        self.model.start_min = self.model.start_min.max(to);
        self.totals.records_deleted += 1;
    }

    fn truncate(&mut self) {
        let (flushed, high) = (self.log().flushed(), self.log().high_watermark());
        let from = match self.dice.below(6) {
            0 => self.model.timeline.origin,
            1 => self.log().start(),
            2 | 3 => flushed.min(high),
            _ => high,
        };
        self.truncate_from(from);
    }

    /// What was replicated stays.
    pub(crate) fn truncate_unreplicated(&mut self) {
        let high = self.log().high_watermark();
        self.truncate_from(high);
    }

    fn truncate_from(&mut self, from: i64) {
        self.epoch += 1;
        let wished = self.dice.within(from, self.end());
        let timeline = &self.model.timeline;
        // Between two batches, right behind the first of them.
        let to = match timeline.at(wished).checked_sub(1) {
            Some(before) => timeline.batches[before].last + 1,
            None => timeline.batches.first().map_or(self.end(), |b| b.base),
        };
        // Compaction has taken what was there.
        if to < from {
            return;
        }
        let before = timeline.clone();
        // Or a truncation that is cut short leaves indexes that lack what is still in the log.
        let point = Offsets::from([(partition(), to)]);
        if let Err(fault) = self.directory().lower_recovery_points(&point) {
            return self.failed(&fault, &"lower the recovery point");
        }
        let model = &mut self.model;
        let settled = (model.flushed.min(to), model.start_min.min(to));
        // Below the first segment: for a moment there is none, and nothing to tell the start.
        let is_below = to < model.start;
        let during = if is_below { (0, 0) } else { settled };
        (model.flushed, model.start_min) = during;
        model.compacted = model.compacted.min(to);
        model.timeline.cut(to);
        self.may_be(before);
        let now_ms = self.now_ms;
        let done = self.log().truncate(to, now_ms);
        self.trace(|| format!("truncate to {to}: {done:?}"));
        match done {
            Ok(has_cut) => {
                (self.model.flushed, self.model.start_min) = settled;
                if has_cut {
                    self.look_at_compaction();
                }
                self.truncated();
            }
            Err(fault) => {
                self.model.epochs = self.log().epochs().clone();
                if is_below {
                    let cut = std::mem::replace(&mut self.model.timeline, Timeline::from(to));
                    self.may_be(cut);
                }
                self.failed(&fault, &"truncate");
            }
        }
    }

    /// The host writes down what a truncation has taken back, before anything is appended.
    fn truncated(&mut self) {
        self.totals.truncations += 1;
        let start = self.log().start();
        if self.model.timeline.batches.is_empty() {
            self.model.timeline.end_min = self.log().end();
        }
        let end = self.end();
        assert!(
            start <= self.model.start,
            "truncation moved the start to {start}"
        );
        self.model.start = start;
        self.model.epochs.truncate_from_end(end);
        if self.model.timeline.batches.is_empty() && end == start {
            self.model.timeline = Timeline::from(start);
        }
        check::producers(self);
        check::epochs(self);
        let written = self
            .lower_recovery_points()
            .and_then(|()| self.cut_cleaned())
            .and_then(|()| self.write_log_starts());
        match written {
            Ok(()) => self.model.start_max = start,
            // A host that cannot write that down must not go on.
            Err(_) => {
                let is_power_cut = self.dice.percent(50);
                self.crash(is_power_cut);
            }
        }
    }

    fn start_anew(&mut self) {
        self.epoch += 1;
        let to = if self.dice.percent(50) {
            self.end() + self.dice.within(0, 50)
        } else {
            self.dice.within(0, self.end())
        };
        let before = std::mem::replace(&mut self.model.timeline, Timeline::from(to));
        self.model.flushed = self.model.flushed.min(to);
        self.model.start_min = 0;
        self.model.start_max = self.model.start_max.max(to);
        self.model.compacted = self.model.compacted.min(to);
        self.may_be(before);
        let now_ms = self.now_ms;
        let done = self.log().start_anew(to, now_ms);
        self.trace(|| format!("start anew at {to}: {done:?}"));
        match done {
            Ok(()) => {
                self.totals.fresh_starts += 1;
                self.model.start = to;
                self.model.deepest_start = to;
                self.model.flushed = to;
                self.model.epochs.clear();
                self.model.remembered = Remembered::default();
                self.truncated();
            }
            Err(fault) => {
                self.model.epochs = self.log().epochs().clone();
                self.failed(&fault, &"start anew");
            }
        }
    }

    // ---- upkeep ----

    fn expire(&mut self) {
        let now = self.now_ms;
        self.log().expire_producers(now);
        let writers = &mut self.model.remembered.writers;
        let before = writers.len();
        writers.retain(|_, writer| {
            writer.open_since.is_some() || now - writer.last_timestamp < EXPIRATION_MS
        });
        self.totals.expired += (before - writers.len()) as u64;
    }

    fn change_settings(&mut self) {
        self.config = self.any_config();
        let config = self.config.clone();
        self.trace(|| format!("{config:?}"));
        self.log().set_config(config);
        self.totals.settings += 1;
    }

    // ---- trouble ----

    /// A disk that fills up, writes in pieces, or fails once; for a while.
    fn trouble(&mut self) {
        let what = self.dice.below(5);
        match what {
            0 => {
                let percent = self.dice.within(10, 100) as u64;
                self.sim.fill_up(percent);
            }
            1 => {
                let n = self.dice.within(1, 100) as usize;
                self.sim.write_short(n);
            }
            2 => {
                let n = self.dice.below(60);
                self.sim.fail_in(n);
            }
            3 => {
                let n = self.dice.below(10);
                self.sim.fail_sync_in(n);
            }
            _ => self.sim.heal(),
        }
        self.trace(|| format!("trouble {what}"));
    }

    /// The process dies in the middle of something.
    fn die_soon(&mut self) {
        let n = self.dice.below(40);
        self.trace(|| format!("dies in {n} changes"));
        self.sim.die_in(n);
    }
}

pub(crate) const ISOLATIONS: [Isolation; 3] = [
    Isolation::LogEnd,
    Isolation::HighWatermark,
    Isolation::LastStable,
];

pub(crate) type Batches = Vec<Rc<Sent>>;
