//! Who waits for the end of a producer's last transaction, so that the next may begin.

use std::collections::HashMap;

use tokio::sync::oneshot;

/// By transactional id. An id is here only while its transaction is decided and not at its end.
#[derive(Debug, Default)]
pub(super) struct AwaitedEnds(HashMap<Box<str>, Vec<oneshot::Sender<()>>>);

impl AwaitedEnds {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn add(&mut self, transactional_id: &str, waiter: oneshot::Sender<()>) {
        let waiters = match self.0.get_mut(transactional_id) {
            Some(waiters) => waiters,
            None => self.0.entry(transactional_id.into()).or_default(),
        };
        // Who has gone takes no place, so that there are no more than requests under way.
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(waiter);
    }

    /// They hear of it.
    pub(super) fn ended(&mut self, transactional_id: &str) {
        let waiters = self.0.remove(transactional_id).unwrap_or_default();
        for waiter in waiters {
            // One that has gone needs no news.
            let _ = waiter.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_of_one_id_hear_of_its_end_and_nobody_else_does() {
        let mut awaited = AwaitedEnds::default();
        let (first, mut first_hears) = oneshot::channel();
        let (second, mut second_hears) = oneshot::channel();
        let (other, mut other_hears) = oneshot::channel();
        awaited.add("a", first);
        awaited.add("a", second);
        awaited.add("b", other);
        awaited.ended("a");
        awaited.ended("c");
        assert_eq!(first_hears.try_recv(), Ok(()));
        assert_eq!(second_hears.try_recv(), Ok(()));
        assert!(other_hears.try_recv().is_err() && !awaited.is_empty());
        awaited.ended("b");
        assert_eq!(other_hears.try_recv(), Ok(()));
        assert!(awaited.is_empty());
    }

    #[test]
    fn those_who_have_gone_take_no_place() {
        let mut awaited = AwaitedEnds::default();
        for _ in 0..1000 {
            awaited.add("a", oneshot::channel().0);
        }
        assert_eq!(awaited.0.values().map(Vec::len).sum::<usize>(), 1);
        awaited.ended("a");
        assert!(awaited.is_empty());
    }
}
