//! What a node does when metadata.version rises while it runs: it registers again, since a later
//! level has room for more (controllers from 3.7-IV0, log directories from 3.7-IV2), and says where
//! its replicas lie.

use std::sync::Arc;
use std::time::Duration;

use ottla_metadata::image::Image;
use ottla_metadata::records::MetadataVersion;
use tokio::sync::watch;

use crate::quorum::Registration;
use crate::services::Services;

/// Between two tries while no controller is active.
const PAUSE: Duration = Duration::from_millis(500);

/// Whether a registration says more at one level than at another.
fn says_more(before: MetadataVersion, after: MetadataVersion) -> bool {
    let room = |level: MetadataVersion| {
        (
            level.has_controller_registration(),
            level.has_directories(),
            level.has_cordoned_directories(),
        )
    };
    after > before && room(after) != room(before)
}

/// Runs until the node stops.
pub(crate) async fn run(
    registration: Registration,
    services: Arc<Services>,
    mut stopping: watch::Receiver<bool>,
) {
    let level = |image: &Image| image.features.metadata_version();
    let mut registered = level(&services.image());
    loop {
        tokio::select! {
            () = services.levels_changed.notified() => {}
            _ = stopping.changed() => return,
        }
        let now = level(&services.image());
        if let (Some(before), Some(after)) = (registered, now)
            && says_more(before, after)
        {
            if let Err(refused) = registration.register(&services.controller).await {
                tracing::warn!(%refused, "not registered at metadata.version {after}");
                tokio::time::sleep(PAUSE).await;
                services.levels_changed.notify_one();
                continue;
            }
            tracing::info!("registered again at metadata.version {after}");
            if after.has_directories() && !before.has_directories() {
                tell_directories(&services);
            }
        }
        registered = now;
    }
}

fn tell_directories(services: &Services) {
    for partition in services.partitions.all() {
        let (topic, index) = (partition.topic_id(), partition.id().partition);
        let directory = partition.directory().id();
        services.assignments.tell(topic, index, directory, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_levels_with_more_room_are_worth_a_registration() {
        let level = |n| MetadataVersion::from_level(n).unwrap();
        let cases = [
            (7, 14, false),
            (14, 15, true),
            (15, 17, true),
            (17, 29, false),
        ];
        for (before, after, expected) in cases {
            assert_eq!(
                says_more(level(before), level(after)),
                expected,
                "{before} {after}"
            );
        }
        assert!(says_more(level(29), level(30)));
        assert!(!says_more(level(30), level(29)));
    }
}
