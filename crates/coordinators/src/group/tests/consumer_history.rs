//! Random histories of a group of the consumer protocol: members of every temper, topics that come,
//! grow and go, a log that fails, a coordinator that moves.
//!
//! After every step a partition has one owner, and clients read only what the coordinator knows
//! them to have (`Crowd::check`); the host asserts the invariants of the ledger. When everything is
//! quiet again, all is shared out within bounded rounds, evenly, and the log alone says the same.

use ottla_protocol::{Refusal, Text};
use proptest::prelude::*;

use super::consumers::{Consumer, Crowd, GROUP};
use crate::group::{GroupSettings, Topics};

const CLIENTS: usize = 6;
/// The last two clients are static members.
const STATICS: usize = 2;
const TOPICS: [&str; 4] = ["t1", "t2", "t3", "t4"];
/// Heartbeats of everybody, a second apart, until all is shared out: each that gives up takes two
/// rounds, each that waits one more, and a target may come a second late.
const ROUNDS_TO_SETTLE: usize = 12;

#[derive(Debug, Clone)]
enum Event {
    Beat {
        client: usize,
    },
    /// The answer does not arrive.
    Unheard {
        client: usize,
    },
    /// It is gone without a word; another process takes its place.
    Crash {
        client: usize,
    },
    /// It is gone, and its place is empty.
    Die {
        client: usize,
    },
    Leave {
        client: usize,
        for_a_while: bool,
    },
    /// It loses its thread, and joins again under its id.
    Rejoin {
        client: usize,
    },
    Subscribe {
        client: usize,
        topics: u8,
        pattern: u8,
    },
    Vote {
        client: usize,
        range: bool,
    },
    Create {
        topic: usize,
    },
    Grow {
        topic: usize,
        n: i32,
    },
    Remove {
        topic: usize,
    },
    Errands,
    DeleteGroup,
    Pass {
        ms: u64,
    },
    FailNext,
    Restart,
}

fn event() -> impl Strategy<Value = Event> {
    let client = 0..CLIENTS;
    let topic = 0..TOPICS.len();
    prop_oneof![
        40 => client.clone().prop_map(|client| Event::Beat { client }),
        5 => client.clone().prop_map(|client| Event::Unheard { client }),
        2 => client.clone().prop_map(|client| Event::Crash { client }),
        1 => client.clone().prop_map(|client| Event::Die { client }),
        3 => (client.clone(), any::<bool>())
            .prop_map(|(client, for_a_while)| Event::Leave { client, for_a_while }),
        2 => client.clone().prop_map(|client| Event::Rejoin { client }),
        4 => (client.clone(), 0u8..16, 0u8..6)
            .prop_map(|(client, topics, pattern)| Event::Subscribe { client, topics, pattern }),
        1 => (client, any::<bool>()).prop_map(|(client, range)| Event::Vote { client, range }),
        1 => topic.clone().prop_map(|topic| Event::Create { topic }),
        2 => (topic.clone(), 1i32..14).prop_map(|(topic, n)| Event::Grow { topic, n }),
        1 => topic.prop_map(|topic| Event::Remove { topic }),
        4 => Just(Event::Errands),
        1 => Just(Event::DeleteGroup),
        12 => prop_oneof![
            8 => Just(200u64), 8 => Just(1_000), 2 => Just(6_000), 1 => Just(31_000),
            1 => Just(46_000)
        ].prop_map(|ms| Event::Pass { ms }),
        2 => Just(Event::FailNext),
        1 => Just(Event::Restart),
    ]
}

struct History {
    crowd: Crowd,
    n_clients: usize,
}

impl History {
    fn new() -> Self {
        let mut history = Self {
            crowd: Crowd::new(GroupSettings::default(), Vec::new()),
            n_clients: 0,
        };
        for place in 0..CLIENTS {
            let mut consumer = history.newcomer(place, &["t1", "t2"]);
            consumer.is_up = place < 3;
            history.crowd.consumers.push(consumer);
        }
        history
    }

    fn newcomer(&mut self, place: usize, topics: &[&'static str]) -> Consumer {
        self.n_clients += 1;
        let mut consumer = Consumer::new(&format!("m{}", self.n_clients), topics);
        // Said aloud: a static member that says nothing keeps what its former self wanted.
        consumer.pattern = Some("");
        consumer.assignor = Some("uniform");
        if place >= CLIENTS - STATICS {
            consumer.instance = Some(Text::from(format!("i{place}")));
        }
        consumer
    }

    fn happen(&mut self, event: &Event) {
        let crowd = &mut self.crowd;
        match event {
            Event::Beat { client } if crowd.consumers[*client].is_up => {
                crowd.beat(*client);
            }
            Event::Unheard { client } if crowd.consumers[*client].is_up => {
                crowd.beat_unheard(*client);
            }
            Event::Beat { client } | Event::Crash { client } => {
                let topics = crowd.consumers[*client].topics.clone();
                self.crowd.consumers[*client] = self.newcomer(*client, &topics);
            }
            Event::Unheard { .. } => {}
            Event::Die { client } => crowd.consumers[*client].is_up = false,
            Event::Leave {
                client,
                for_a_while,
            } => {
                let is_static = crowd.consumers[*client].instance.is_some();
                let epoch = if *for_a_while && is_static { -2 } else { -1 };
                if crowd.consumers[*client].is_up {
                    crowd.leave(*client, epoch);
                }
            }
            Event::Rejoin { client } => crowd.consumers[*client].restart(),
            Event::Subscribe {
                client,
                topics,
                pattern,
            } => {
                let chosen = (0..TOPICS.len()).filter(|at| topics & (1 << at) != 0);
                let chosen: Vec<&'static str> = chosen.map(|at| TOPICS[at]).collect();
                let consumer = &mut crowd.consumers[*client];
                consumer.pattern = match pattern {
                    0 => Some("t[13]"),
                    1 => Some("t.*"),
                    _ => Some(""),
                };
                consumer.subscribe(&chosen);
            }
            Event::Vote { client, range } => {
                let consumer = &mut crowd.consumers[*client];
                consumer.assignor = Some(if *range { "range" } else { "uniform" });
                let topics = consumer.topics.clone();
                consumer.subscribe(&topics);
            }
            Event::Create { topic } => {
                let topics = &mut crowd.host.topics;
                if topics.id(TOPICS[*topic]).is_none() {
                    topics.create(TOPICS[*topic], 3);
                }
            }
            Event::Grow { topic, n } => crowd.host.topics.grow(TOPICS[*topic], *n),
            Event::Remove { topic } => {
                crowd.host.topics.remove(TOPICS[*topic]);
            }
            Event::Errands => crowd.run_errands(),
            Event::DeleteGroup => {
                let groups = [Text::from_static(GROUP)];
                crowd
                    .host
                    .step(|ledger, now, _| ledger.delete_groups(&groups, now));
            }
            Event::Pass { ms } => {
                crowd.host.pass(*ms);
            }
            Event::FailNext => crowd.host.fail = Some(Refusal::NotEnoughReplicas),
            Event::Restart => {
                crowd.host.restart();
            }
        }
        self.crowd.check();
    }

    /// The log, read again, gives the same durable state.
    fn compare_with_log(&self) {
        let again = self.crowd.host.reload();
        let now = self.crowd.host.ledger.durable();
        assert_eq!(format!("{:?}", again.durable()), format!("{now:?}"));
    }

    /// Everybody beats, nothing else happens. Who is dead is forgotten, and patterns are looked at
    /// again, before the rounds are counted.
    fn come_to_rest(&mut self) {
        let crowd = &mut self.crowd;
        crowd.host.fail = None;
        for _ in 0..13 {
            crowd.settle(1);
            crowd.host.pass(4_000);
        }
        for _ in 0..ROUNDS_TO_SETTLE {
            crowd.settle(1);
            crowd.check();
        }
    }

    fn check_shared_out(&self) {
        let crowd = &self.crowd;
        let up = || crowd.consumers.iter().filter(|consumer| consumer.is_up);
        // A static member whose place another took keeps trying in vain, as with Kafka.
        let is_in = |consumer: &&Consumer| consumer.epoch > 0;
        let members: Vec<&Consumer> = up().filter(is_in).collect();
        assert_eq!(members.len(), up().count(), "everybody is in");
        let expected = if members.is_empty() {
            "Empty"
        } else {
            "Stable"
        };
        if crowd.state() != "Dead" || !members.is_empty() {
            assert_eq!(crowd.state(), expected);
        }
        let wants = |consumer: &Consumer, topic: &str| {
            let matches = match consumer.pattern {
                Some("t[13]") => topic == "t1" || topic == "t3",
                Some("t.*") => true,
                _ => false,
            };
            matches || consumer.topics.contains(&topic)
        };
        for (name, id, n) in crowd.host.topics.all() {
            let is_wanted = members.iter().any(|consumer| wants(consumer, name));
            for partition in 0..n {
                let owners: Vec<&&Consumer> = members
                    .iter()
                    .filter(|it| it.using.get(&id).is_some_and(|it| it.contains(&partition)))
                    .collect();
                assert_eq!(owners.len(), usize::from(is_wanted), "{name}-{partition}");
                assert!(owners.iter().all(|consumer| wants(consumer, name)));
            }
        }
        // Where all want the same and nobody asks for ranges, it is even.
        let first = members.first();
        let same = |it: &&Consumer| {
            first.is_some_and(|first| it.topics == first.topics && it.pattern == first.pattern)
                && it.assignor != Some("range")
        };
        if !members.is_empty() && members.iter().all(same) {
            let loads = members.iter().map(|consumer| consumer.n_using());
            let (least, most) = (loads.clone().min(), loads.max());
            assert!(most <= least.map(|least| least + 1), "{:?}", crowd.loads());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn one_owner_always_and_all_shared_out_in_the_end(
        events in proptest::collection::vec(event(), 1..160)
    ) {
        let mut history = History::new();
        for event in &events {
            history.happen(event);
        }
        history.compare_with_log();
        history.come_to_rest();
        history.check_shared_out();
        history.compare_with_log();
        history.crowd.host.restart();
        history.come_to_rest();
        history.check_shared_out();
    }
}
