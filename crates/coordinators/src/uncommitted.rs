//! Which groups, or transactional ids, have records that are not committed yet.
//!
//! A reply waits for the records it rests on, not for the whole partition: a commit of one group
//! that is stuck must not hold up the readers of another.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use ottla_protocol::Offset;

use crate::ledger::When;

#[derive(Debug, Default)]
pub(crate) struct Uncommitted {
    /// The last record of each group that has one beyond `end`.
    last: HashMap<Arc<str>, Offset>,
    /// All those records, in order; older ones of a group do no harm.
    queue: VecDeque<(Offset, Arc<str>)>,
}

impl Uncommitted {
    pub(crate) fn appended(&mut self, group_id: &str, offset: Offset) {
        let group: Arc<str> = match self.last.get_key_value(group_id) {
            Some((group, _)) => group.clone(),
            None => group_id.into(),
        };
        self.last.insert(group.clone(), offset);
        self.queue.push_back((offset, group));
    }

    /// Everything before `end` is committed.
    pub(crate) fn committed(&mut self, end: Offset) {
        while let Some((offset, _)) = self.queue.front()
            && *offset < end
        {
            let Some((offset, group)) = self.queue.pop_front() else {
                return;
            };
            if self.last.get(&group) == Some(&offset) {
                self.last.remove(&group);
            }
        }
    }

    /// For a reply that rests on this group's records.
    pub(crate) fn when(&self, group_id: &str) -> When {
        self.last
            .get(group_id)
            .map_or(When::AtOnce, |offset| When::AfterOffset(*offset))
    }

    /// For a reply that rests on the records of all groups.
    pub(crate) fn when_all(&self) -> When {
        self.queue
            .back()
            .map_or(When::AtOnce, |(offset, _)| When::AfterOffset(*offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_group_waits_for_its_own_last_record() {
        let mut uncommitted = Uncommitted::default();
        uncommitted.appended("a", 0);
        uncommitted.appended("b", 1);
        uncommitted.appended("a", 2);
        assert_eq!(uncommitted.when("a"), When::AfterOffset(2));
        assert_eq!(uncommitted.when("b"), When::AfterOffset(1));
        assert_eq!(uncommitted.when("c"), When::AtOnce);
        assert_eq!(uncommitted.when_all(), When::AfterOffset(2));
        uncommitted.committed(2);
        assert_eq!(uncommitted.when("a"), When::AfterOffset(2));
        assert_eq!(uncommitted.when("b"), When::AtOnce);
        uncommitted.committed(3);
        assert_eq!(uncommitted.when("a"), When::AtOnce);
        assert_eq!(uncommitted.when_all(), When::AtOnce);
    }
}
