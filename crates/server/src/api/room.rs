//! What answers may take that a short request can make long.

use std::collections::HashSet;

use ottla_protocol::Text;

/// Bytes that a part of one answer may take in all.
#[derive(Debug)]
pub(crate) struct Room(usize);

impl Room {
    pub(crate) fn of(n_bytes: usize) -> Self {
        Self(n_bytes)
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.0 == 0
    }

    /// What does not fit whole takes the rest.
    pub(crate) fn take(&mut self, n_bytes: usize) {
        self.0 = self.0.saturating_sub(n_bytes);
    }

    /// Words that a request may have said of very many things, as long as there is room.
    pub(crate) fn words(&mut self, words: &Text) -> Option<Text> {
        if self.is_used_up() {
            return None;
        }
        self.take(words.len().max(1));
        Some(words.clone())
    }
}

/// Who was named in a request, and what the answers take to those that were named again. Kafka
/// answers each as often as it is named; no client does that, and it has to have an end.
#[derive(Debug)]
pub(crate) struct Repeats {
    named: HashSet<Text>,
    room: Room,
    is_again: bool,
}

impl Default for Repeats {
    fn default() -> Self {
        const REPEATED_BYTES_MAX: usize = 16 << 20;
        Self {
            named: HashSet::new(),
            room: Room::of(REPEATED_BYTES_MAX),
            is_again: false,
        }
    }
}

impl Repeats {
    /// Whether this one is answered, too.
    pub(crate) fn may_name(&mut self, name: &Text) -> bool {
        self.is_again = !self.named.insert(name.clone());
        !self.is_again || !self.room.is_used_up()
    }

    /// What the answer to it takes.
    pub(crate) fn count(&mut self, n_bytes: usize) {
        if self.is_again {
            self.room.take(n_bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_said_until_there_is_no_room() {
        let mut room = Room::of(10);
        let words = Text::from_static("too long");
        let said = [0; 4].map(|_| room.words(&words).is_some());
        assert_eq!(said, [true, true, false, false]);
    }

    #[test]
    fn only_what_is_named_again_takes_room() {
        let (mut repeats, large) = (Repeats::default(), 12 << 20);
        let mut answered = |name| {
            let may = repeats.may_name(&Text::from_static(name));
            repeats.count(if may { large } else { 0 });
            may
        };
        assert!(answered("a") && answered("b") && answered("c"));
        assert!(answered("a") && answered("b"));
        assert!(!answered("c") && !answered("a"));
        assert!(answered("d"));
    }
}
