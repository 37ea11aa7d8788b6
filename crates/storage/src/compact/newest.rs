//! Key → the newest offset under which it was seen, in bounded memory.
//!
//! Keys are not kept, only 128 bits that stand for them. These come of secrets drawn at start, so
//! that nobody can make up two keys that are taken for one. Memory is taken as it is needed, in
//! steps of a small part of the whole, and given back by `clear`.

use std::hash::{BuildHasher, Hasher, RandomState};

use ottla_protocol::Offset;

/// A key's stand-in, and its newest offset.
#[derive(Debug, Clone, Copy)]
struct Slot {
    key: (u64, u64),
    /// Negative: the slot is free.
    offset: Offset,
}

const FREE: Slot = Slot {
    key: (0, 0),
    offset: -1,
};
const SLOT_BYTES: usize = size_of::<Slot>();
/// A table that grows is twice in memory for a moment: of many small ones that costs little.
const TABLES: usize = 64;
/// Below this, one table is as good.
const SLOTS_FOR_MANY_TABLES: usize = 1 << 14;
const SLOTS_AT_FIRST: usize = 64;

/// See the head of this file.
#[derive(Debug)]
pub struct Newest {
    secrets: [RandomState; 2],
    tables: Vec<Table>,
    n_slots_max: usize,
    n_keys_max: usize,
    n_keys: usize,
    latest: Offset,
}

#[derive(Debug, Clone, Default)]
struct Table {
    slots: Vec<Slot>,
    n_keys: usize,
}

/// There is no room for another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

impl Newest {
    /// Takes at most `n_bytes`, filled to at most the given share.
    pub fn new(n_bytes: usize, load_factor: f64) -> Self {
        let n_slots_max = (n_bytes / SLOT_BYTES).max(2);
        let n_tables = if n_slots_max < SLOTS_FOR_MANY_TABLES {
            1
        } else {
            TABLES
        };
        let share = load_factor.clamp(0.0, 1.0);
        // One slot stays free, or a search for a key that is not there would not end.
        let n_keys_max = ((n_slots_max as f64 * share) as usize).clamp(1, n_slots_max - 1);
        Self {
            secrets: [RandomState::new(), RandomState::new()],
            tables: vec![Table::default(); n_tables],
            n_slots_max,
            n_keys_max,
            n_keys: 0,
            latest: -1,
        }
    }

    /// How full it is: 0 to 1.
    pub fn utilization(&self) -> f64 {
        self.n_keys as f64 / self.n_slots_max as f64
    }

    /// Gives all memory back.
    pub fn clear(&mut self) {
        self.tables.fill(Table::default());
        self.n_keys = 0;
        self.latest = -1;
    }

    /// Everything up to here was looked at; -1: nothing.
    pub(crate) fn latest(&self) -> Offset {
        self.latest
    }

    pub(crate) fn looked_up_to(&mut self, offset: Offset) {
        self.latest = self.latest.max(offset);
    }

    /// Takes note of a key at `offset`, which is above those that came before.
    pub(crate) fn put(&mut self, key: &[u8], offset: Offset) -> Result<(), Full> {
        let slot = Slot {
            key: self.stand_in(key),
            offset,
        };
        let at = self.table_of(slot.key);
        let limit = self.n_slots_max / self.tables.len();
        let has_room = self.n_keys < self.n_keys_max;
        let Some(table) = self.tables.get_mut(at) else {
            return Err(Full);
        };
        if let Some(known) = table.find(slot.key) {
            known.offset = known.offset.max(offset);
            return Ok(());
        }
        if !has_room || !table.make_room(limit) {
            return Err(Full);
        }
        table.insert(slot);
        self.n_keys += 1;
        Ok(())
    }

    /// The newest offset of a key; -1 if it was not seen.
    pub(crate) fn newest(&self, key: &[u8]) -> Offset {
        let key = self.stand_in(key);
        let table = self.tables.get(self.table_of(key));
        let slot = table.and_then(|table| table.slots.get(table.place_of(key)?));
        slot.map_or(-1, |slot| slot.offset)
    }

    fn stand_in(&self, key: &[u8]) -> (u64, u64) {
        let [first, second] = &self.secrets;
        let hash = |secret: &RandomState| {
            let mut hasher = secret.build_hasher();
            hasher.write(key);
            hasher.finish()
        };
        (hash(first), hash(second))
    }

    fn table_of(&self, key: (u64, u64)) -> usize {
        (key.1 % self.tables.len() as u64) as usize
    }
}

impl Table {
    /// Where the search for a key begins.
    fn home(&self, key: (u64, u64)) -> usize {
        ((u128::from(key.0) * self.slots.len() as u128) >> 64) as usize
    }

    fn find(&mut self, key: (u64, u64)) -> Option<&mut Slot> {
        let at = self.place_of(key)?;
        self.slots.get_mut(at).filter(|slot| slot.offset >= 0)
    }

    /// Where the key is, or where it would go; `None`: there is no slot at all.
    fn place_of(&self, key: (u64, u64)) -> Option<usize> {
        let mut at = self.home(key);
        loop {
            let slot = self.slots.get(at)?;
            if slot.offset < 0 || slot.key == key {
                return Some(at);
            }
            at += 1;
            if at == self.slots.len() {
                at = 0;
            }
        }
    }

    fn insert(&mut self, slot: Slot) {
        let place = self
            .place_of(slot.key)
            .and_then(|at| self.slots.get_mut(at));
        if let Some(place) = place {
            *place = slot;
            self.n_keys += 1;
        }
    }

    /// Whether one more key fits, after growing if that helps.
    fn make_room(&mut self, limit: usize) -> bool {
        let is_dense = |n_slots: usize| (self.n_keys + 1) * 10 > n_slots * 9;
        if !is_dense(self.slots.len()) {
            return true;
        }
        if self.slots.len() < limit {
            let n_slots = (self.slots.len() * 2).max(SLOTS_AT_FIRST).min(limit);
            let old = std::mem::replace(&mut self.slots, vec![FREE; n_slots]);
            self.n_keys = 0;
            for slot in old.into_iter().filter(|slot| slot.offset >= 0) {
                self.insert(slot);
            }
        }
        self.n_keys + 1 < self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(i: u32) -> [u8; 4] {
        i.to_be_bytes()
    }

    #[test]
    fn the_newest_offset_of_every_key_is_known() {
        let mut newest = Newest::new(4 << 20, 0.9);
        for i in 0..100_000_u32 {
            newest.put(&key(i % 60_000), i.into()).unwrap();
        }
        for i in 0..60_000_u32 {
            let expected = if i < 40_000 { i + 60_000 } else { i };
            assert_eq!(newest.newest(&key(i)), i64::from(expected));
        }
        assert_eq!(newest.newest(b"other"), -1);
        assert!(newest.utilization() > 0.3 && newest.utilization() < 0.4);
        newest.clear();
        assert_eq!(newest.newest(&key(1)), -1);
        assert!(newest.utilization() == 0.0);
    }

    #[test]
    fn memory_has_a_bound_and_most_of_it_is_used() {
        for n_bytes in [240, 2400, 1 << 20, 4 << 20] {
            let mut newest = Newest::new(n_bytes, 0.9);
            let n_fit = (0..)
                .take_while(|i| newest.put(&key(*i), 0).is_ok())
                .count();
            let n_slots: usize = newest.tables.iter().map(|it| it.slots.len()).sum();
            assert!(
                n_slots * SLOT_BYTES <= n_bytes,
                "{n_slots} of {n_bytes} bytes"
            );
            let share = n_fit as f64 * SLOT_BYTES as f64 / n_bytes as f64;
            assert!(
                (0.75..=0.9).contains(&share),
                "{n_fit} keys in {n_bytes} bytes"
            );
            // What is there is still found, and known keys still move on.
            newest.put(&key(0), 7).unwrap();
            assert_eq!(newest.newest(&key(0)), 7);
            assert_eq!(newest.newest(&key(1_000_000)), -1);
        }
    }

    #[test]
    fn nothing_is_taken_before_it_is_needed() {
        let newest = Newest::new(128 << 20, 0.9);
        let n_slots: usize = newest.tables.iter().map(|it| it.slots.capacity()).sum();
        assert_eq!(n_slots, 0);
    }
}
