//! A group that comes together: who has which partitions, and since when everybody has a share and
//! every partition an owner. Pure.

use super::member::Share;
use super::schedule::Nanos;

#[derive(Debug)]
pub(super) struct Assembly {
    n_partitions: usize,
    /// Of each member what it has; `None` until it was told for the first time.
    shares: Vec<Option<Share>>,
    /// `n_with_share` of `shares` are known, and `n_owned` is the sum of what they have.
    n_with_share: usize,
    n_owned: usize,
    first_join: Option<Nanos>,
    last_join: Option<Nanos>,
    complete: Option<Nanos>,
}

impl Assembly {
    pub(super) fn new(n_members: usize, n_partitions: usize) -> Self {
        Self {
            n_partitions,
            shares: vec![None; n_members],
            n_with_share: 0,
            n_owned: 0,
            first_join: None,
            last_join: None,
            complete: None,
        }
    }

    /// A member asks to join for the first time.
    pub(super) fn joins(&mut self, now: Nanos) {
        self.first_join.get_or_insert(now);
        self.last_join = Some(now);
    }

    /// A member has this from now on; whether that makes the group complete. What happens after that
    /// is its end, and does not count.
    pub(super) fn has(&mut self, member: usize, share: Share, now: Nanos) -> bool {
        let Some(place) = self.shares.get_mut(member) else {
            return false;
        };
        if self.complete.is_some() {
            return false;
        }
        self.n_owned += share.partitions.len();
        match place.replace(share) {
            Some(old) => self.n_owned -= old.partitions.len(),
            None => self.n_with_share += 1,
        }
        let is_complete = self.is_complete();
        if is_complete {
            self.complete = Some(now);
        }
        is_complete
    }

    fn is_complete(&self) -> bool {
        // What is cheap to know first: this is asked with every assignment.
        self.n_with_share == self.shares.len()
            && self.n_owned == self.n_partitions
            && self.is_even()
            && self.has_one_owner_each()
    }

    /// Of one generation, and nobody has two more than another: else it is not the last assignment.
    fn is_even(&self) -> bool {
        let shares = || self.shares.iter().flatten();
        let sizes = || shares().map(|share| share.partitions.len());
        let generations = || shares().map(|share| share.generation);
        let is_spread = sizes().max().unwrap_or_default() <= sizes().min().unwrap_or_default() + 1;
        is_spread && generations().max() == generations().min()
    }

    fn has_one_owner_each(&self) -> bool {
        let mut is_owned = vec![false; self.n_partitions];
        let owned = self.shares.iter().flatten();
        for partition in owned.flat_map(|share| &share.partitions) {
            let place = usize::try_from(*partition)
                .ok()
                .and_then(|partition| is_owned.get_mut(partition));
            match place {
                Some(mark) if !*mark => *mark = true,
                _ => return false,
            }
        }
        is_owned.into_iter().all(|is_owned| is_owned)
    }

    pub(super) fn complete(&self) -> Option<Nanos> {
        self.complete
    }

    /// From the last first join to the last assignment, and from the first.
    pub(super) fn took(&self) -> Option<(Nanos, Nanos)> {
        let complete = self.complete?;
        let since = |join: Option<Nanos>| Some(complete.saturating_sub(join?));
        Some((since(self.last_join)?, since(self.first_join)?))
    }

    /// How far it came: a sentence.
    pub(super) fn lacks(&self) -> String {
        format!(
            "{} of {} members have an assignment, of {} partitions in all where there are {}",
            self.n_with_share,
            self.shares.len(),
            self.n_owned,
            self.n_partitions
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn share(generation: i32, partitions: &[i32]) -> Share {
        Share {
            generation,
            partitions: partitions.to_vec(),
        }
    }

    #[test]
    fn a_group_is_complete_when_nothing_and_nobody_is_left_out() {
        let mut group = Assembly::new(3, 5);
        group.joins(10);
        group.joins(12);
        // Alone it has all; that is not the end.
        assert!(!group.has(0, share(0, &[0, 1, 2, 3, 4]), 13));
        group.joins(14);
        assert!(!group.has(1, share(0, &[]), 15));
        assert!(!group.has(2, share(0, &[]), 16), "five, none, none");
        assert!(!group.has(0, share(0, &[0, 1]), 17));
        assert!(!group.has(1, share(0, &[2, 3]), 18));
        assert!(
            group.lacks().contains("3 of 3 members"),
            "{}",
            group.lacks()
        );
        assert!(group.has(2, share(0, &[4]), 19));
        assert_eq!((group.complete(), group.took()), (Some(19), Some((5, 9))));
        // They leave.
        assert!(!group.has(2, share(0, &[]), 20));
        assert!(!group.has(2, share(0, &[4]), 21));
        assert_eq!(group.complete(), Some(19));
    }

    #[test]
    fn shares_that_do_not_fit_are_no_end() {
        for shares in [
            [share(1, &[0, 1]), share(1, &[1, 2])],
            [share(1, &[0, 1]), share(1, &[2, 4])],
            [share(1, &[0, 1]), share(1, &[2, -1])],
            [share(1, &[0, 1]), share(2, &[2, 3])],
            [share(1, &[0, 1]), share(1, &[2])],
            [share(1, &[0]), share(1, &[1, 2, 3])],
        ] {
            let mut group = Assembly::new(2, 4);
            group.joins(0);
            for (member, share) in shares.iter().enumerate() {
                assert!(!group.has(member, share.clone(), 1), "{shares:?}");
            }
            assert_eq!(group.took(), None);
        }
    }

    #[test]
    fn where_members_are_more_some_have_nothing() {
        let mut group = Assembly::new(3, 2);
        group.joins(0);
        assert!(!group.has(0, share(1, &[1]), 1));
        assert!(!group.has(1, share(1, &[]), 1));
        assert!(!group.has(7, share(1, &[0]), 1), "nobody");
        assert!(group.has(2, share(1, &[0]), 2));
    }
}
