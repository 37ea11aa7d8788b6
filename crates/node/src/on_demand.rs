//! Topics that are made because a client asked for them: behind the answer, as in Kafka.
//!
//! A name is on its way once at a time, and only so many are at all. Whoever is told that its
//! topic is not there asks again, so nothing is kept here for later.

use std::collections::HashSet;
use std::sync::Arc;

use ottla_metadata::controller::NewTopic;
use ottla_protocol::Refusal;
use parking_lot::Mutex;

use crate::coordinators::on_demand;
use crate::quotas::MutationMeter;
use crate::services::Services;

/// Names on their way to the controller at once: clients that ask for more are patient.
const ON_THE_WAY_MAX: usize = 10_000;

/// Topics that the controller has been asked for and has not answered.
#[derive(Debug, Default)]
pub(crate) struct OnDemand {
    on_the_way: Mutex<HashSet<Arc<str>>>,
}

impl OnDemand {
    /// Those of the names that are not on their way yet, and are from now on.
    fn enter<'a>(&self, names: impl Iterator<Item = &'a str>) -> Vec<Arc<str>> {
        let mut on_the_way = self.on_the_way.lock();
        let mut entered = Vec::new();
        for name in names {
            if on_the_way.len() < ON_THE_WAY_MAX && !on_the_way.contains(name) {
                let name: Arc<str> = name.into();
                on_the_way.insert(name.clone());
                entered.push(name);
            }
        }
        entered
    }

    fn leave(&self, names: &[Arc<str>]) {
        let mut on_the_way = self.on_the_way.lock();
        for name in names {
            on_the_way.remove(name);
        }
    }
}

/// Takes the names off the way whatever becomes of the task.
struct Underway {
    services: Arc<Services>,
    names: Vec<Arc<str>>,
}

impl Drop for Underway {
    fn drop(&mut self) {
        self.services.on_demand.leave(&self.names);
    }
}

impl Services {
    /// Lets topics be made with the node's defaults, and does not wait for it. What cannot be made
    /// is told in the log only. The names must be ones that a topic may have. The partitions count
    /// for whoever asked: beyond its `controller_mutation_rate` a topic has to wait for the next
    /// who asks.
    pub fn create_on_demand<'a>(
        self: &Arc<Self>,
        names: impl Iterator<Item = &'a str>,
        client_id: &str,
    ) {
        let names = self.on_demand.enter(names);
        if names.is_empty() {
            return;
        }
        let underway = Underway {
            services: self.clone(),
            names,
        };
        let meter = self.mutation_meter(client_id, true);
        tokio::spawn(async move {
            underway.services.create_each(&underway.names, meter).await;
        });
    }

    async fn create_each(&self, names: &[Arc<str>], meter: MutationMeter) {
        let settings = self.settings();
        let new = names.iter().filter_map(|name| on_demand(name, &settings));
        let new: Vec<NewTopic> = new.collect();
        if new.is_empty() {
            return;
        }
        match self.create_metered(new, false, meter).await {
            Ok((created, _)) => {
                for (topic, outcome) in created {
                    match outcome {
                        Ok(_) => tracing::info!(topic, "topic created because a client asked"),
                        Err(refused) if refused.refusal == Refusal::TopicAlreadyExists => {}
                        Err(refused) => tracing::warn!(topic, %refused, "auto-creation failed"),
                    }
                }
            }
            Err(refusal) => tracing::warn!(refusal = refusal.name(), "auto-creation failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_on_its_way_once_at_a_time() {
        let on_demand = OnDemand::default();
        let first = on_demand.enter(["a", "b", "a"].into_iter());
        assert_eq!(first, [Arc::from("a"), Arc::from("b")]);
        assert_eq!(on_demand.enter(["b", "c"].into_iter()), [Arc::from("c")]);
        on_demand.leave(&first);
        assert_eq!(on_demand.enter(["b", "c"].into_iter()), [Arc::from("b")]);
    }

    #[test]
    fn the_way_is_only_so_wide() {
        let on_demand = OnDemand::default();
        let names: Vec<String> = (0..ON_THE_WAY_MAX + 1).map(|n| n.to_string()).collect();
        let entered = on_demand.enter(names.iter().map(String::as_str));
        assert_eq!(entered.len(), ON_THE_WAY_MAX);
        on_demand.leave(&entered);
        assert_eq!(on_demand.enter(["last"].into_iter()).len(), 1);
    }
}
