//! Groups. Each file routes to the coordinator and says what is answered when there is
//! none; what happens in a group is decided in the group ledger.

pub(crate) mod find_coordinator;
pub(crate) mod join_group;
pub(crate) mod sync_group;
pub(crate) mod heartbeat;
pub(crate) mod leave_group;
pub(crate) mod offset_commit;
pub(crate) mod offset_fetch;
pub(crate) mod offset_delete;
pub(crate) mod list_groups;
pub(crate) mod describe_groups;
pub(crate) mod delete_groups;
pub(crate) mod consumer_group_heartbeat;
pub(crate) mod consumer_group_describe;

use ottla_node::Services;
use ottla_protocol::Refusal;

/// The feature that says whether there are groups of the consumer protocol.
const GROUP_VERSION: &str = "group.version";

/// Whether groups of the consumer protocol are offered here.
///
/// # Errors
/// `UNSUPPORTED_VERSION`, as Kafka says it.
pub(crate) fn check_consumer_protocol(services: &Services) -> Result<(), Refusal> {
    let configured = services.configured();
    let offered = &configured.settings.consumer_groups.protocols;
    let is_on = services.image().features.level(GROUP_VERSION) > 0
        && offered.iter().any(|protocol| protocol == "consumer");
    is_on.then_some(()).ok_or(Refusal::UnsupportedVersion)
}
