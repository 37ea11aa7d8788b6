//! Stories for tests: a directive with its arguments, and what comes of it.

use std::collections::BTreeMap;

use datadriven::TestCase;

/// The arguments of a directive; every one must be used.
pub(crate) struct Args(BTreeMap<String, Vec<String>>, Vec<String>);

impl Args {
    pub(crate) fn of(case: &TestCase) -> Self {
        let mut flags = BTreeMap::new();
        let mut names = Vec::new();
        for (key, values) in &case.args {
            if values.is_empty() && key.starts_with(char::is_uppercase) {
                names.push(key.clone());
            } else {
                flags.insert(key.clone(), values.clone());
            }
        }
        Self(flags, names)
    }

    pub(crate) fn name(&mut self) -> String {
        self.take("name")
            .or_else(|| self.1.pop())
            .unwrap_or_default()
    }

    pub(crate) fn take(&mut self, key: &str) -> Option<String> {
        let given = self.0.remove(key).map(|values| values.join(","))?;
        Some(if given == "none" {
            String::new()
        } else {
            given
        })
    }

    pub(crate) fn number(&mut self, key: &str) -> Option<i64> {
        self.take(key)
            .map(|text| text.parse().unwrap_or_else(|_| panic!("{key}={text}")))
    }

    pub(crate) fn version(&mut self, newest: i16) -> i16 {
        self.number("v").map_or(newest, |version| version as i16)
    }

    pub(crate) fn finish(self) {
        assert!(
            self.0.is_empty() && self.1.is_empty(),
            "unused: {:?} {:?}",
            self.0,
            self.1
        );
    }
}
