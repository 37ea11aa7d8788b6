//! How often each thing happened. A run in which nothing was aborted proves nothing about aborts.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

macro_rules! totals {
    ($($name:ident),+ $(,)?) => {
        /// What the disk counts, and by their names all other things.
        #[derive(Debug, Clone, Default, PartialEq)]
        pub(crate) struct Totals {
            $(pub(crate) $name: u64,)+
            counts: BTreeMap<String, u64>,
        }

        impl AddAssign for Totals {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)+
                for (what, n) in other.counts {
                    *self.counts.entry(what).or_default() += n;
                }
            }
        }

        impl Totals {
            fn of_the_disk(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }
    };
}

totals! {
    power_cuts, died_in_a_call, writes_lost, torn_writes, zeroed_writes, reordered_writes,
    names_lost, errors, failed_syncs, full_disk, short_writes, syncs, directory_syncs,
}

impl Totals {
    pub(crate) fn count(&mut self, what: &str) {
        self.add(what, 1);
    }

    pub(crate) fn add(&mut self, what: &str, n: u64) {
        match self.counts.get_mut(what) {
            Some(count) => *count += n,
            None => drop(self.counts.insert(what.to_owned(), n)),
        }
    }

    pub(crate) fn n(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// Which of these, and of what the disk can do, never happened.
    pub(crate) fn never(&self, wanted: &[String]) -> Vec<String> {
        let of_the_disk = self.of_the_disk().into_iter();
        let of_the_disk = of_the_disk
            .filter(|(_, n)| *n == 0)
            .map(|(what, _)| what.to_owned());
        let others = wanted.iter().filter(|what| self.n(what) == 0).cloned();
        of_the_disk.chain(others).collect()
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, n) in &self.counts {
            writeln!(f, "{n:>12}  {what}")?;
        }
        for (what, n) in self.of_the_disk() {
            writeln!(f, "{n:>12}  disk: {what}")?;
        }
        Ok(())
    }
}
