//! What a run has been through. A run that never rolled proves nothing about rolling.

use std::fmt;
use std::ops::AddAssign;

macro_rules! totals {
    ($($name:ident),+ $(,)?) => {
        #[derive(Debug, Clone, Default)]
        pub(crate) struct Totals {
            $(pub(crate) $name: u64,)+
        }

        impl AddAssign for Totals {
            fn add_assign(&mut self, other: Self) {
                $(self.$name += other.$name;)+
            }
        }

        impl Totals {
            /// Each count by its name.
            pub(crate) fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }
    };
}

totals! {
    operations, reopened_clean, reopened_killed, power_cuts, died_in_a_call,
    writes_lost, torn_writes, zeroed_writes, reordered_writes, names_lost,
    errors, failed_syncs, full_disk, short_writes, poisoned,
    flips_in_log, flips_in_index, flips_in_snapshot, points_of_others,
    syncs, directory_syncs, bytes_cut,
    appends, appends_refused, duplicates, follower_appends, markers, aborts, rebuilt,
    rolls, flushes, recovery_points, truncations, fresh_starts, segments_retained, records_deleted,
    epochs, expired, settings, reads, lookups,
    rounds, rounds_given_up, rounds_failed, rounds_cut_short, meanwhile,
    batches_compacted, records_compacted, rooms, room_given_back, moves_begun, moves, moves_given_up, moves_resumed,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (name, count)) in self.all().into_iter().enumerate() {
            let between = match at {
                0 => "",
                _ if at % 6 == 0 => "\n",
                _ => ", ",
            };
            write!(f, "{between}{name} {count}")?;
        }
        Ok(())
    }
}
