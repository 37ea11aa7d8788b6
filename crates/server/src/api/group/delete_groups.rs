//! DeleteGroups (key 42, versions 0-2): remove groups that have no members, with their offsets.
//! v2 flexible.

use std::collections::{BTreeMap, HashSet};

use ottla_node::Services;
use ottla_protocol::Text;
use ottla_protocol::messages::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};

use crate::api::count_errors;
use crate::session::Call;

pub(crate) async fn handle(
    services: &Services,
    call: &Call,
    request: DeleteGroupsRequest,
) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    let coordinator = |group: &Text| services.groups().partition_of(group);
    for (_, groups) in by_coordinator(request.groups_names, coordinator) {
        results.extend(delete(services, groups).await);
    }
    count_errors(
        services,
        call,
        results.iter().map(|result| result.error_code),
    );
    DeleteGroupsResponse {
        results,
        ..Default::default()
    }
}

/// Each group once, with those that live in the same partition.
fn by_coordinator(
    groups: Vec<Text>,
    coordinator: impl Fn(&Text) -> Option<i32>,
) -> BTreeMap<Option<i32>, Vec<Text>> {
    let mut seen = HashSet::new();
    let mut together: BTreeMap<Option<i32>, Vec<Text>> = BTreeMap::new();
    for group in groups
        .into_iter()
        .filter(|group| seen.insert(group.clone()))
    {
        together.entry(coordinator(&group)).or_default().push(group);
    }
    together
}

/// Groups of one partition.
async fn delete(services: &Services, groups: Vec<Text>) -> Vec<DeletableGroupResult> {
    let Some(first) = groups.first().cloned() else {
        return Vec::new();
    };
    let asked = groups.clone();
    let deleted = services
        .groups()
        .decide_on_several(&first, move |ledger, now| ledger.delete_groups(&asked, now));
    let deleted: Result<Vec<DeletableGroupResult>, _> = deleted.await;
    deleted.unwrap_or_else(|refusal| {
        let refused = |group_id| DeletableGroupResult {
            group_id,
            error_code: refusal.code(),
        };
        groups.into_iter().map(refused).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_deleted_once_and_by_partition() {
        let names = ["a", "bb", "c", "a"].map(Text::from_static).to_vec();
        let together = by_coordinator(names, |name| Some(name.len() as i32));
        let names = |n| {
            together[&Some(n)]
                .iter()
                .map(|name| &**name)
                .collect::<Vec<_>>()
        };
        assert_eq!(names(1), ["a", "c"]);
        assert_eq!(names(2), ["bb"]);
    }
}
