//! What the authorizer refuses: errors for a whole answer that nothing else brings about.
//!
//! The last chapter, since it takes rights away; it gives them back.

use ottla_protocol::messages::*;
use ottla_protocol::{Text, Uuid};

use super::offsets::offset_fetch;
use super::{Story, settle, versions};

const TOPIC: i8 = 2;
const GROUP: i8 = 3;
const CLUSTER: i8 = 4;
const LITERAL: i8 = 3;
const ALL: i8 = 2;
const DESCRIBE: i8 = 8;
const DESCRIBE_CONFIGS: i8 = 10;
const DENY: i8 = 2;
const ALLOW: i8 = 3;

impl Story<'_> {
    pub fn denied(&mut self) {
        let group = self.name("denied");
        let rules = [
            (TOPIC, self.name("hidden-5"), ALL, ALLOW),
            (TOPIC, self.name("hidden-5"), DESCRIBE_CONFIGS, DENY),
            (TOPIC, self.name("hidden-6"), ALL, ALLOW),
            (TOPIC, self.name("hidden-6"), DESCRIBE_CONFIGS, DENY),
            (TOPIC, self.name("hidden-7"), ALL, ALLOW),
            (TOPIC, self.name("hidden-7"), DESCRIBE_CONFIGS, DENY),
            (TOPIC, self.name("denied"), ALL, DENY),
            (GROUP, group.clone(), ALL, DENY),
            (CLUSTER, Text::from("kafka-cluster"), ALL, ALLOW),
            (CLUSTER, Text::from("kafka-cluster"), DESCRIBE, DENY),
            (CLUSTER, Text::from("kafka-cluster"), DESCRIBE_CONFIGS, DENY),
        ];
        let creations = rules.iter().map(rule).collect();
        let Some(answer) = self.prepare(3, &CreateAclsRequest { creations }) else {
            return;
        };
        if answer.results.iter().any(|result| result.error_code != 0) {
            println!(
                "note: no authorizer, so nothing is denied: {:?}",
                answer.results[0]
            );
            return;
        }
        settle();
        self.denied_group(&group);
        self.denied_cluster();
        let filters = rules.iter().map(filter).collect();
        self.unthrottled.ask(3, &DeleteAclsRequest { filters }).ok();
        settle();
    }

    fn denied_group(&mut self, group: &Text) {
        for version in versions::<OffsetFetchRequest>() {
            let topic = self.name("denied");
            for (label, group) in [
                ("group denied", group.clone()),
                ("topic denied", self.name("nobody")),
            ] {
                let request = offset_fetch(version, &group, &topic, Uuid::from_u128(1 << 83));
                self.ask(label, version, &request);
            }
        }
        let find = FindCoordinatorRequest {
            key: group.clone(),
            ..Default::default()
        };
        self.ask("denied", 0, &find);
        for version in versions::<DescribeGroupsRequest>() {
            let request = DescribeGroupsRequest {
                groups: vec![group.clone()],
                ..Default::default()
            };
            self.ask("denied", version, &request);
        }
        self.ask(
            "denied",
            0,
            &OffsetDeleteRequest {
                group_id: group.clone(),
                topics: Vec::new(),
            },
        );
    }

    fn denied_cluster(&mut self) {
        for version in versions::<DescribeQuorumRequest>() {
            let request = DescribeQuorumRequest { topics: Vec::new() };
            self.ask("denied", version, &request);
        }
        for version in versions::<DescribeUserScramCredentialsRequest>() {
            // Apache has no answer for who asks for all and may not.
            let users = Some(vec![DescribeUserScramCredentialsUserName {
                name: self.name("denied"),
            }]);
            let request = DescribeUserScramCredentialsRequest { users };
            self.ask("denied", version, &request);
        }
        for version in versions::<DescribeLogDirsRequest>() {
            self.ask("denied", version, &DescribeLogDirsRequest { topics: None });
        }
        for version in versions::<ListConfigResourcesRequest>() {
            self.ask("denied", version, &ListConfigResourcesRequest::default());
        }
        for version in 5..=7 {
            let topic = CreatableTopic {
                name: self.name(&format!("hidden-{version}")),
                num_partitions: 1,
                replication_factor: 1,
                ..Default::default()
            };
            let request = CreateTopicsRequest {
                topics: vec![topic],
                ..Default::default()
            };
            self.ask("settings denied", version, &request);
        }
    }
}

fn rule((kind, name, operation, permission): &(i8, Text, i8, i8)) -> AclCreation {
    AclCreation {
        resource_type: *kind,
        resource_name: name.clone(),
        resource_pattern_type: LITERAL,
        principal: Text::from("User:ANONYMOUS"),
        host: Text::from("*"),
        operation: *operation,
        permission_type: *permission,
    }
}

fn filter((kind, name, operation, permission): &(i8, Text, i8, i8)) -> DeleteAclsFilter {
    DeleteAclsFilter {
        resource_type_filter: *kind,
        resource_name_filter: Some(name.clone()),
        pattern_type_filter: LITERAL,
        principal_filter: None,
        host_filter: None,
        operation: *operation,
        permission_type: *permission,
    }
}
