//! Reading without waiting for a disk.
//!
//! What a runtime's thread reads must be in memory: a read that goes to the disk holds up everybody
//! whom that thread serves. Inside `in_memory_only` every read that would have to wait fails
//! instead, whatever asks for it, and the caller goes elsewhere with the whole of its work.
//! The mark belongs to the thread and not to the calls, so that no lookup can forget to pass it on.

use std::cell::Cell;

thread_local! {
    static IS_REQUIRED: Cell<bool> = const { Cell::new(false) };
}

/// Puts the mark back as it was, however the work ends.
struct Restore(bool);

impl Drop for Restore {
    fn drop(&mut self) {
        IS_REQUIRED.set(self.0);
    }
}

/// Runs `work`. A read in it that would wait for the disk fails with `Fault::NotInMemory`.
pub(crate) fn in_memory_only<T>(work: impl FnOnce() -> T) -> T {
    let _restore = Restore(IS_REQUIRED.replace(true));
    work()
}

pub(crate) fn is_required() -> bool {
    IS_REQUIRED.get()
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;

    #[test]
    fn the_mark_is_there_while_the_work_lasts_and_on_its_thread_only() {
        assert!(!is_required());
        in_memory_only(|| {
            assert!(is_required());
            in_memory_only(|| assert!(is_required()));
            assert!(is_required());
            let elsewhere = std::thread::spawn(is_required).join().unwrap();
            assert!(!elsewhere);
        });
        assert!(!is_required());
        let panicked = catch_unwind(AssertUnwindSafe(|| in_memory_only(|| panic!("on purpose"))));
        assert!(panicked.is_err() && !is_required());
    }
}
