//! What becomes of a copy (`-future`) that is found at the start. Pure.
//!
//! A move ends with two renamings: first the old directory is named `-delete`, then the copy gets the
//! final name. The copy holds all by then, and the controller knows where it lies. So a copy whose
//! log is not there any more was about to take its place; one whose log is there goes on, even if the
//! controller knows of it already: the log may have grown since.

/// What is known of a copy's partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// The log that it is a copy of is there.
    pub(super) has_log: bool,
    /// The metadata says that the replica lies in the copy's directory.
    pub(super) is_assigned: bool,
    /// No directory is missing in which the log could be.
    pub(super) all_online: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// It goes on being made.
    Continues,
    /// It becomes the log.
    TakesOver,
    /// Nobody can tell yet; it stays as it is.
    Waits,
}

pub(super) fn fate(found: Found) -> Fate {
    match found {
        Found { has_log: true, .. } => Fate::Continues,
        Found {
            is_assigned: true, ..
        } => Fate::TakesOver,
        // What was copied is better than nothing.
        Found {
            all_online: true, ..
        } => Fate::TakesOver,
        _ => Fate::Waits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_takes_over_only_where_its_log_is_gone_for_sure() {
        let fate_of = |has_log, is_assigned, all_online| {
            fate(Found {
                has_log,
                is_assigned,
                all_online,
            })
        };
        for is_assigned in [false, true] {
            for all_online in [false, true] {
                assert_eq!(fate_of(true, is_assigned, all_online), Fate::Continues);
            }
        }
        assert_eq!(fate_of(false, true, true), Fate::TakesOver);
        assert_eq!(
            fate_of(false, true, false),
            Fate::TakesOver,
            "the controller agreed after all was copied"
        );
        assert_eq!(fate_of(false, false, true), Fate::TakesOver);
        assert_eq!(
            fate_of(false, false, false),
            Fate::Waits,
            "the log may be in the directory that is offline"
        );
    }
}
