//! Where a request says two things of the same, Kafka's map of them keeps the last, in the place of
//! the first.

use std::collections::HashMap;
use std::hash::Hash;

pub(super) fn last_words<T, K: Eq + Hash>(
    all: impl IntoIterator<Item = T>,
    key: impl Fn(&T) -> K,
) -> Vec<T> {
    let mut places = HashMap::new();
    let mut kept: Vec<T> = Vec::new();
    for word in all {
        let place = *places.entry(key(&word)).or_insert(kept.len());
        match kept.get_mut(place) {
            Some(before) => *before = word,
            None => kept.push(word),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_stands_in_the_place_of_the_first() {
        let all = [("b", 1), ("a", 2), ("b", 3), ("c", 4)];
        assert_eq!(
            last_words(all, |(key, _)| *key),
            [("b", 3), ("a", 2), ("c", 4)]
        );
    }
}
