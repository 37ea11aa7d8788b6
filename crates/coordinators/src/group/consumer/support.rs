//! Which protocols are spoken by all who speak the classic protocol in a group of many.

use std::collections::{HashMap, HashSet};

use ottla_protocol::Text;

use crate::group::records::consumer::ClassicMemberMetadata;

/// How many members support each protocol.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ProtocolSupport {
    n_members: usize,
    by_name: HashMap<Text, usize>,
}

impl ProtocolSupport {
    /// How many members speak the classic protocol.
    pub(super) fn n_members(&self) -> usize {
        self.n_members
    }

    pub(super) fn add(&mut self, member: &ClassicMemberMetadata) {
        self.n_members += 1;
        for name in names(member) {
            *self.by_name.entry(name.clone()).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, member: &ClassicMemberMetadata) {
        self.n_members -= 1;
        for name in names(member) {
            if let Some(n) = self.by_name.get_mut(name) {
                *n -= 1;
                if *n == 0 {
                    self.by_name.remove(name);
                }
            }
        }
    }

    /// Whether all members support it; true if there are none.
    pub(super) fn is_by_all(&self, name: &str) -> bool {
        self.by_name.get(name).copied().unwrap_or(0) == self.n_members
    }
}

/// Each once: records that somebody else wrote may name one twice.
fn names(member: &ClassicMemberMetadata) -> HashSet<&Text> {
    let protocols = member.supported_protocols.iter();
    protocols.map(|protocol| &protocol.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::records::consumer::ClassicProtocol;

    fn member(names: impl IntoIterator<Item = String>) -> ClassicMemberMetadata {
        let protocol = |name: String| ClassicProtocol {
            name: name.into(),
            metadata: bytes::Bytes::new(),
        };
        ClassicMemberMetadata {
            session_timeout_ms: 1,
            supported_protocols: names.into_iter().map(protocol).collect(),
        }
    }

    #[test]
    fn a_protocol_has_the_support_of_all_or_not() {
        let named = |names: &[&str]| member(names.iter().map(|name| (*name).to_owned()));
        let (both, one) = (named(&["range", "sticky", "range"]), named(&["sticky"]));
        let mut support = ProtocolSupport::default();
        assert!(support.is_by_all("range"), "of nobody");
        support.add(&both);
        assert!(support.is_by_all("range") && support.is_by_all("sticky"));
        support.add(&one);
        assert!(!support.is_by_all("range") && support.is_by_all("sticky"));
        support.remove(&one);
        assert!(support.is_by_all("range") && !support.is_by_all("other"));
        support.remove(&both);
        assert_eq!(support, ProtocolSupport::default());
    }

    #[test]
    fn members_may_name_a_great_many_protocols() {
        let names = |kind| (0..100_000).map(move |n| format!("{kind}{n:06}"));
        let mut support = ProtocolSupport::default();
        support.add(&member(names("a")));
        assert!(names("a").all(|name| support.is_by_all(&name)));
        assert!(!names("b").any(|name| support.is_by_all(&name)));
    }
}
