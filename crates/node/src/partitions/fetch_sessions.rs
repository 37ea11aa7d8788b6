//! Incremental fetch sessions (KIP-227): what a client still wants, and what it was last told.
//!
//! A session belongs to whoever names its id and next epoch. The cache is bounded by
//! `max.incremental.fetch.session.cache.slots`, and each session by [`PARTITIONS_MAX`]; who finds no
//! room gets no session and goes on with full fetches.
//!
//! IMPORTANT: who holds a session's lock may take that of the map, never the other way round: a
//! large session must not hold up the others.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ottla_protocol::{Offset, Refusal, Uuid};
use parking_lot::Mutex;

/// A session younger than this is not evicted for another (`MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
const EVICTION_AGE: Duration = Duration::from_secs(120);
/// More partitions than brokers are known to lead. A session outlives its connection, and each of
/// its requests walks through all of it, however short the request is.
const PARTITIONS_MAX: usize = 100_000;
const INITIAL_EPOCH: i32 = 0;
const FINAL_EPOCH: i32 = -1;
const NO_SESSION: i32 = 0;

/// A topic as the client named it: by id since Fetch 13.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TopicRef {
    Id(Uuid),
    Name(Arc<str>),
}

/// One partition that a client wants to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    pub topic: TopicRef,
    pub partition: i32,
    pub offset: Offset,
    pub bytes_max: i32,
    pub leader_epoch: i32,
    pub last_fetched_epoch: i32,
    pub log_start: Offset,
}

impl Wanted {
    /// By which a partition is told from others in a request.
    pub fn key(&self) -> (TopicRef, i32) {
        (self.topic.clone(), self.partition)
    }
}

type Key = (TopicRef, i32);

/// What the fetch of one partition came to, as far as the session must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    pub high_watermark: Offset,
    pub log_start: Offset,
    pub has_records: bool,
    pub has_error: bool,
    /// A preferred replica or a diverging epoch: always worth saying.
    pub has_advice: bool,
}

/// What a fetch request says about its session and partitions.
#[derive(Debug)]
pub struct Ask {
    pub session_id: i32,
    pub session_epoch: i32,
    pub uses_topic_ids: bool,
    pub wanted: Vec<Wanted>,
    pub forgotten: Vec<(TopicRef, i32)>,
}

#[derive(Debug)]
struct Cached {
    wanted: Wanted,
    told_high_watermark: Offset,
    told_log_start: Offset,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    uses_topic_ids: bool,
    next_place: u64,
    /// In the order of the answer: partitions that had records go to the back, for fairness.
    partitions: BTreeMap<u64, Cached>,
    places: HashMap<Key, u64>,
}

impl Session {
    fn put(&mut self, wanted: Wanted) {
        let key = wanted.key();
        if let Some(cached) = self
            .places
            .get(&key)
            .and_then(|place| self.partitions.get_mut(place))
        {
            cached.wanted = wanted;
            return;
        }
        let place = self.take_place();
        self.places.insert(key, place);
        let cached = Cached {
            wanted,
            told_high_watermark: -1,
            told_log_start: -1,
        };
        self.partitions.insert(place, cached);
    }

    fn take_place(&mut self) -> u64 {
        self.next_place += 1;
        self.next_place
    }

    fn forget(&mut self, key: &Key) {
        if let Some(place) = self.places.remove(key) {
            self.partitions.remove(&place);
        }
    }

    fn wanted(&self) -> Vec<Wanted> {
        self.partitions
            .values()
            .map(|cached| cached.wanted.clone())
            .collect()
    }

    /// Notes what is told now; false if the client knows it all already.
    fn tell(&mut self, key: &Key, told: Told) -> bool {
        let Some(place) = self.places.get(key).copied() else {
            return true;
        };
        let Some(cached) = self.partitions.get_mut(&place) else {
            return true;
        };
        let is_news = told.has_records
            || told.has_error
            || told.has_advice
            || told.high_watermark != cached.told_high_watermark
            || told.log_start != cached.told_log_start;
        cached.told_log_start = told.log_start;
        // After an error the recovery must be told, whatever the watermark then is.
        cached.told_high_watermark = if told.has_error {
            -1
        } else {
            told.high_watermark
        };
        if told.has_records
            && let Some(cached) = self.partitions.remove(&place)
        {
            let place = self.take_place();
            self.places.insert(key.clone(), place);
            self.partitions.insert(place, cached);
        }
        is_news
    }
}

/// A session, and what is asked of all of them.
#[derive(Debug)]
struct Slot {
    created: Instant,
    /// Since it was created.
    used_ms: AtomicU64,
    n_partitions: AtomicUsize,
    session: Mutex<Session>,
}

impl Slot {
    fn new(session: Session, n_partitions: usize, now: Instant) -> Arc<Self> {
        Arc::new(Self {
            created: now,
            used_ms: AtomicU64::new(0),
            n_partitions: AtomicUsize::new(n_partitions),
            session: Mutex::new(session),
        })
    }

    fn use_at(&self, now: Instant) {
        let age = now.saturating_duration_since(self.created);
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self.used_ms.store(age_ms, Ordering::Relaxed);
    }

    fn used(&self) -> Instant {
        self.created + Duration::from_millis(self.used_ms.load(Ordering::Relaxed))
    }

    fn n_partitions(&self) -> usize {
        self.n_partitions.load(Ordering::Relaxed)
    }
}

/// The sessions of this node.
#[derive(Debug)]
pub struct FetchSessions {
    slots_max: usize,
    slots: Mutex<HashMap<i32, Arc<Slot>>>,
}

/// A fetch under way: what to read, and how its answer is to be shaped.
#[derive(Debug)]
pub struct FetchPlan {
    pub wanted: Vec<Wanted>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Sessionless,
    Full { uses_topic_ids: bool },
    Incremental { id: i32 },
}

impl FetchPlan {
    /// The session that goes on; 0 if there is none yet, or never.
    pub fn session_id(&self) -> i32 {
        match self.kind {
            Kind::Incremental { id } => id,
            Kind::Sessionless | Kind::Full { .. } => NO_SESSION,
        }
    }

    /// Whether an empty incremental answer is normal: only partitions with news are listed.
    pub fn is_incremental(&self) -> bool {
        matches!(self.kind, Kind::Incremental { .. })
    }
}

impl FetchSessions {
    pub fn new(slots_max: usize) -> Self {
        Self {
            slots_max,
            slots: Mutex::default(),
        }
    }

    pub fn n_sessions(&self) -> usize {
        self.slots.lock().len()
    }

    pub fn n_partitions(&self) -> usize {
        let slots = self.slots.lock();
        slots.values().map(|slot| slot.n_partitions()).sum()
    }

    /// What this request wants to read, its session brought up to date.
    ///
    /// # Errors
    /// `FETCH_SESSION_ID_NOT_FOUND`, `INVALID_FETCH_SESSION_EPOCH`, `FETCH_SESSION_TOPIC_ID_ERROR`.
    pub fn plan(&self, ask: Ask, now: Instant) -> Result<FetchPlan, Refusal> {
        if ask.session_epoch == INITIAL_EPOCH || ask.session_epoch == FINAL_EPOCH {
            if ask.session_id != NO_SESSION {
                self.end(ask.session_id);
            }
            let is_alone = ask.session_epoch == FINAL_EPOCH
                || ask.wanted.is_empty()
                || ask.wanted.len() > PARTITIONS_MAX;
            let kind = if is_alone {
                Kind::Sessionless
            } else {
                Kind::Full {
                    uses_topic_ids: ask.uses_topic_ids,
                }
            };
            return Ok(FetchPlan {
                wanted: ask.wanted,
                kind,
            });
        }
        self.plan_incremental(ask, now)
    }

    fn plan_incremental(&self, ask: Ask, now: Instant) -> Result<FetchPlan, Refusal> {
        let slot = self.find(ask.session_id);
        let slot = slot.ok_or(Refusal::FetchSessionIdNotFound)?;
        let mut session = slot.session.lock();
        if session.epoch != ask.session_epoch {
            return Err(Refusal::InvalidFetchSessionEpoch);
        }
        if session.uses_topic_ids != ask.uses_topic_ids {
            return Err(Refusal::FetchSessionTopicIdError);
        }
        for wanted in ask.wanted {
            session.put(wanted);
            if session.partitions.len() > PARTITIONS_MAX {
                self.end(ask.session_id);
                return Err(Refusal::FetchSessionIdNotFound);
            }
        }
        for key in &ask.forgotten {
            session.forget(key);
        }
        slot.use_at(now);
        let n_partitions = session.partitions.len();
        slot.n_partitions.store(n_partitions, Ordering::Relaxed);
        if session.partitions.is_empty() {
            self.end(ask.session_id);
            return Ok(FetchPlan {
                wanted: Vec::new(),
                kind: Kind::Sessionless,
            });
        }
        session.epoch = if session.epoch == i32::MAX {
            1
        } else {
            session.epoch + 1
        };
        Ok(FetchPlan {
            wanted: session.wanted(),
            kind: Kind::Incremental { id: ask.session_id },
        })
    }

    fn find(&self, id: i32) -> Option<Arc<Slot>> {
        self.slots.lock().get(&id).cloned()
    }

    fn end(&self, id: i32) {
        let ended = self.slots.lock().remove(&id);
        // Not while others wait for the map.
        drop(ended);
    }

    /// The session id to answer with, and for each wanted partition whether it is listed.
    /// `fresh_id` draws a random number; it is asked only for a session that begins here.
    pub fn tell(
        &self,
        plan: &FetchPlan,
        told: &[Told],
        fresh_id: impl FnOnce() -> i32,
        now: Instant,
    ) -> (i32, Vec<bool>) {
        match plan.kind {
            Kind::Sessionless => (NO_SESSION, vec![true; told.len()]),
            Kind::Full { uses_topic_ids } => {
                let id = self.create(plan, told, uses_topic_ids, fresh_id(), now);
                (id, vec![true; told.len()])
            }
            Kind::Incremental { id } => {
                let Some(slot) = self.find(id) else {
                    return (id, vec![true; told.len()]);
                };
                let mut session = slot.session.lock();
                let is_listed = plan
                    .wanted
                    .iter()
                    .zip(told)
                    .map(|(wanted, told)| session.tell(&wanted.key(), *told))
                    .collect();
                (id, is_listed)
            }
        }
    }

    fn create(
        &self,
        plan: &FetchPlan,
        told: &[Told],
        uses_topic_ids: bool,
        fresh_id: i32,
        now: Instant,
    ) -> i32 {
        let session = Session {
            epoch: INITIAL_EPOCH + 1,
            uses_topic_ids,
            next_place: 0,
            partitions: BTreeMap::new(),
            places: HashMap::new(),
        };
        let slot = Slot::new(session, plan.wanted.len(), now);
        // Whoever guesses the id waits until all is in.
        let mut session = slot.session.lock();
        let Some(id) = self.enter(&slot, fresh_id, now) else {
            return NO_SESSION;
        };
        for (wanted, told) in plan.wanted.iter().zip(told) {
            session.put(wanted.clone());
            session.tell(&wanted.key(), *told);
        }
        id
    }

    /// Gives a new session its place, if there is one.
    fn enter(&self, slot: &Arc<Slot>, fresh_id: i32, now: Instant) -> Option<i32> {
        // Dropped when the map is free again.
        let evicted;
        let mut slots = self.slots.lock();
        let mut id = (fresh_id & i32::MAX).max(1);
        while slots.contains_key(&id) {
            id = id.checked_add(1).unwrap_or(1);
        }
        if slots.len() >= self.slots_max {
            evicted = evict(&mut slots, slot.n_partitions(), now);
            evicted.as_ref()?;
        }
        slots.insert(id, slot.clone());
        Some(id)
    }
}

/// Makes room: the session longest unused if that is stale, else an old one smaller than the new.
fn evict(
    slots: &mut HashMap<i32, Arc<Slot>>,
    n_partitions: usize,
    now: Instant,
) -> Option<Arc<Slot>> {
    let stale = slots
        .iter()
        .filter(|(_, slot)| now.duration_since(slot.used()) > EVICTION_AGE)
        .min_by_key(|(_, slot)| slot.used())
        .map(|(id, _)| *id);
    let smaller = || {
        slots
            .iter()
            .filter(|(_, slot)| now.duration_since(slot.created) > EVICTION_AGE)
            .filter(|(_, slot)| slot.n_partitions() < n_partitions)
            .min_by_key(|(_, slot)| slot.n_partitions())
            .map(|(id, _)| *id)
    };
    let id = stale.or_else(smaller)?;
    slots.remove(&id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(partition: i32, offset: Offset) -> Wanted {
        Wanted {
            topic: TopicRef::Name("t".into()),
            partition,
            offset,
            bytes_max: 1,
            leader_epoch: -1,
            last_fetched_epoch: -1,
            log_start: -1,
        }
    }

    fn ask(session_id: i32, session_epoch: i32, wanted: Vec<Wanted>) -> Ask {
        Ask {
            session_id,
            session_epoch,
            uses_topic_ids: false,
            wanted,
            forgotten: Vec::new(),
        }
    }

    fn quiet(high_watermark: Offset) -> Told {
        Told {
            high_watermark,
            log_start: 0,
            has_records: false,
            has_error: false,
            has_advice: false,
        }
    }

    fn begun(sessions: &FetchSessions, now: Instant) -> i32 {
        let plan = sessions
            .plan(ask(0, 0, vec![wanted(0, 0), wanted(1, 0)]), now)
            .unwrap();
        let (id, listed) = sessions.tell(&plan, &[quiet(5), quiet(5)], || 77, now);
        assert_eq!((id, listed), (77, vec![true, true]));
        id
    }

    #[test]
    fn an_incremental_answer_lists_only_news() {
        let (sessions, now) = (FetchSessions::new(10), Instant::now());
        let id = begun(&sessions, now);
        let plan = sessions.plan(ask(id, 1, vec![]), now).unwrap();
        assert_eq!(plan.wanted.len(), 2);
        assert_eq!(
            sessions.tell(&plan, &[quiet(5), quiet(6)], || 1, now),
            (id, vec![false, true])
        );
    }

    #[test]
    fn a_partition_that_erred_is_listed_when_it_recovers() {
        let (sessions, now) = (FetchSessions::new(10), Instant::now());
        let id = begun(&sessions, now);
        let plan = sessions.plan(ask(id, 1, vec![]), now).unwrap();
        let erred = Told {
            has_error: true,
            ..quiet(-1)
        };
        assert_eq!(
            sessions.tell(&plan, &[erred, quiet(5)], || 1, now).1,
            vec![true, false]
        );
        let plan = sessions.plan(ask(id, 2, vec![]), now).unwrap();
        assert_eq!(
            sessions.tell(&plan, &[quiet(5), quiet(5)], || 1, now).1,
            vec![true, false]
        );
    }

    #[test]
    fn partitions_with_records_move_to_the_back() {
        let (sessions, now) = (FetchSessions::new(10), Instant::now());
        let id = begun(&sessions, now);
        let plan = sessions.plan(ask(id, 1, vec![]), now).unwrap();
        sessions.tell(
            &plan,
            &[
                Told {
                    has_records: true,
                    ..quiet(5)
                },
                quiet(5),
            ],
            || 1,
            now,
        );
        let plan = sessions.plan(ask(id, 2, vec![wanted(0, 9)]), now).unwrap();
        let order: Vec<_> = plan
            .wanted
            .iter()
            .map(|w| (w.partition, w.offset))
            .collect();
        assert_eq!(order, [(1, 0), (0, 9)]);
    }

    #[test]
    fn strangers_wrong_epochs_and_mixed_topic_names_are_refused() {
        let (sessions, now) = (FetchSessions::new(10), Instant::now());
        let id = begun(&sessions, now);
        let refusal = |ask| sessions.plan(ask, now).unwrap_err();
        assert_eq!(
            refusal(ask(id + 1, 1, vec![])),
            Refusal::FetchSessionIdNotFound
        );
        assert_eq!(
            refusal(ask(id, 5, vec![])),
            Refusal::InvalidFetchSessionEpoch
        );
        let by_id = Ask {
            uses_topic_ids: true,
            ..ask(id, 1, vec![])
        };
        assert_eq!(refusal(by_id), Refusal::FetchSessionTopicIdError);
    }

    #[test]
    fn a_full_cache_gives_no_session_until_one_is_stale() {
        let (sessions, now) = (FetchSessions::new(1), Instant::now());
        begun(&sessions, now);
        let plan = sessions.plan(ask(0, 0, vec![wanted(0, 0)]), now).unwrap();
        assert_eq!(sessions.tell(&plan, &[quiet(5)], || 78, now).0, 0);
        let later = now + EVICTION_AGE + Duration::from_secs(1);
        let plan = sessions.plan(ask(0, 0, vec![wanted(0, 0)]), later).unwrap();
        assert_eq!(sessions.tell(&plan, &[quiet(5)], || 78, later).0, 78);
    }

    #[test]
    fn who_wants_very_many_partitions_gets_no_session() {
        let (sessions, now) = (FetchSessions::new(10), Instant::now());
        for (n, id) in [(PARTITIONS_MAX, 77), (PARTITIONS_MAX + 1, 0)] {
            let all = (0..n as i32).map(|partition| wanted(partition, 0));
            let plan = sessions.plan(ask(0, 0, all.collect()), now).unwrap();
            assert_eq!(plan.wanted.len(), n);
            let (told, listed) = sessions.tell(&plan, &vec![quiet(5); n], || 77, now);
            assert_eq!((told, listed.len()), (id, n));
        }
        assert_eq!(sessions.n_partitions(), PARTITIONS_MAX);

        let known = ask(77, 1, vec![wanted(0, 9)]);
        let plan = sessions.plan(known, now).unwrap();
        assert_eq!(plan.wanted.len(), PARTITIONS_MAX);
        let more = ask(77, 2, vec![wanted(-1, 0)]);
        let refusal = sessions.plan(more, now).unwrap_err();
        assert_eq!(refusal, Refusal::FetchSessionIdNotFound);
        assert_eq!((sessions.n_sessions(), sessions.n_partitions()), (0, 0));
    }

    #[test]
    fn a_session_that_is_worked_on_holds_up_no_other() {
        let (sessions, now) = (FetchSessions::new(2), Instant::now());
        let id = begun(&sessions, now);
        let slot = sessions.find(id).unwrap();
        let _at_work = slot.session.lock();

        let plan = sessions.plan(ask(0, 0, vec![wanted(0, 0)]), now).unwrap();
        assert_eq!(sessions.tell(&plan, &[quiet(5)], || 78, now).0, 78);
        let plan = sessions.plan(ask(78, 1, vec![]), now).unwrap();
        assert_eq!(
            sessions.tell(&plan, &[quiet(5)], || 1, now),
            (78, vec![false])
        );
        assert_eq!((sessions.n_sessions(), sessions.n_partitions()), (2, 3));
        let later = now + EVICTION_AGE + Duration::from_secs(1);
        let plan = sessions.plan(ask(0, 0, vec![wanted(0, 0)]), later).unwrap();
        assert_eq!(sessions.tell(&plan, &[quiet(5)], || 79, later).0, 79);
    }

    #[test]
    fn forgetting_everything_ends_the_session() {
        let (sessions, now) = (FetchSessions::new(10), Instant::now());
        let id = begun(&sessions, now);
        let topic = || TopicRef::Name("t".into());
        let forgotten = vec![(topic(), 0), (topic(), 1)];
        let plan = sessions
            .plan(
                Ask {
                    forgotten,
                    ..ask(id, 1, vec![])
                },
                now,
            )
            .unwrap();
        assert!(plan.wanted.is_empty());
        assert_eq!(sessions.n_sessions(), 0);
    }
}
