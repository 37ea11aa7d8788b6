//! DescribeClientQuotas and AlterClientQuotas.

use ottla_protocol::Text;
use ottla_protocol::messages::*;

use super::{ENORMOUS_TEXT, GROWN, Story, long, many, settle, text, twice, versions};

/// How a component of a filter matches.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

impl Story<'_> {
    pub(super) fn sweep_quotas(&mut self) {
        self.sweep_alter_quotas();
        settle();
        self.sweep_describe_quotas();
    }

    fn sweep_alter_quotas(&mut self) {
        let mine = self.name("sweep-limited");
        for version in versions::<AlterClientQuotasRequest>() {
            let good = AlterClientQuotasRequest {
                entries: vec![AlterClientQuotasRequestEntryData {
                    entity: vec![part("user", Some(&mine))],
                    ops: vec![quota("producer_byte_rate", Some(1e9))],
                }],
                validate_only: false,
            };
            let of = |entity: Vec<AlterClientQuotasEntityData>| {
                move |it: &mut AlterClientQuotasRequest| it.entries[0].entity = entity.clone()
            };
            let rate = |key: &'static str, value: Option<f64>| {
                move |it: &mut AlterClientQuotasRequest| it.entries[0].ops = vec![quota(key, value)]
            };
            let address = |host: &'static str, rate: f64| {
                move |it: &mut AlterClientQuotasRequest| {
                    it.entries[0].entity = vec![part("ip", Some(&text(host)))];
                    it.entries[0].ops = vec![quota("connection_creation_rate", Some(rate))];
                }
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.entries)),
                    (GROWN, &|it| twice(&mut it.entries[0].ops)),
                    ("nothing", &|it| it.entries.clear()),
                    ("nobody", &of(Vec::new())),
                    ("unknown kind", &of(vec![part("group", Some(&mine))])),
                    ("empty kind", &of(vec![part("", Some(&mine))])),
                    ("kind in capitals", &of(vec![part("USER", Some(&mine))])),
                    ("empty name", &of(vec![part("user", Some(&Text::new()))])),
                    (
                        "kind twice",
                        &of(vec![part("user", Some(&mine)), part("user", None)]),
                    ),
                    (
                        "address and user",
                        &of(vec![part("ip", None), part("user", None)]),
                    ),
                    (
                        "unknown kind besides",
                        &of(vec![part("user", None), part("group", None)]),
                    ),
                    ("an address that is none", &address("no..host", 1.0)),
                    ("a part of a connection", &address("10.9.8.7", 1.5)),
                    ("connections above an int", &address("10.9.8.7", 3e9)),
                    ("fewer than no connections", &address("10.9.8.7", -1.0)),
                    ("bytes of an address", &|it| {
                        it.entries[0].entity = vec![part("ip", Some(&text("10.9.8.7")))];
                    }),
                    (
                        "connections of a user",
                        &rate("connection_creation_rate", Some(1.0)),
                    ),
                    ("unknown rate", &rate("no_such_rate", Some(1.0))),
                    ("unknown rate, taken away", &rate("no_such_rate", None)),
                    ("nameless rate", &rate("", Some(1.0))),
                    ("taken away, not there", &rate("consumer_byte_rate", None)),
                    ("zero", &rate("producer_byte_rate", Some(0.0))),
                    ("negative", &rate("producer_byte_rate", Some(-1.0))),
                    ("a part of a byte", &rate("producer_byte_rate", Some(0.5))),
                    ("above a long", &rate("producer_byte_rate", Some(1e19))),
                    ("endless", &rate("producer_byte_rate", Some(f64::INFINITY))),
                    ("no number", &rate("producer_byte_rate", Some(f64::NAN))),
                    ("negative share", &rate("request_percentage", Some(-0.5))),
                    ("no rates", &|it| it.entries[0].ops.clear()),
                    ("rate twice", &|it| {
                        it.entries[0].ops = vec![
                            quota("producer_byte_rate", Some(2e9)),
                            quota("producer_byte_rate", Some(-3.0)),
                        ];
                    }),
                    ("entity twice", &|it| twice(&mut it.entries)),
                    ("good and bad, only asked", &|it| {
                        let mut bad = it.entries[0].clone();
                        bad.entity = vec![part("group", None)];
                        it.entries.push(bad);
                        it.validate_only = true;
                    }),
                    ("many rates", &|it| {
                        let rate = |key| AlterClientQuotasOpData {
                            key,
                            value: 1.0,
                            remove: false,
                        };
                        it.entries[0].ops = many().map(rate).collect();
                    }),
                    ("enormous name, at a bad rate", &|it| {
                        it.entries[0].entity = vec![part("user", Some(&long(ENORMOUS_TEXT)))];
                        it.entries[0].ops = vec![quota("producer_byte_rate", Some(-1.0))];
                    }),
                ],
            );
        }
    }

    fn sweep_describe_quotas(&mut self) {
        let mine = self.name("sweep-limited");
        let name = || Some(mine.clone());
        for version in versions::<DescribeClientQuotasRequest>() {
            let good = DescribeClientQuotasRequest {
                components: vec![component("user", EXACT, name())],
                strict: true,
            };
            let by = |components: Vec<DescribeClientQuotasComponentData>| {
                move |it: &mut DescribeClientQuotasRequest| it.components = components.clone()
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.components)),
                    (
                        "nobody",
                        &by(vec![component("user", EXACT, Some(text("nobody")))]),
                    ),
                    ("empty kind", &by(vec![component("", EXACT, name())])),
                    ("unknown kind", &by(vec![component("group", EXACT, name())])),
                    (
                        "kind in capitals",
                        &by(vec![component("USER", EXACT, name())]),
                    ),
                    (
                        "kind twice",
                        &by(vec![
                            component("user", ANY, None),
                            component("user", DEFAULT, None),
                        ]),
                    ),
                    ("kind twice, alike", &|it| twice(&mut it.components)),
                    (
                        "by name, without one",
                        &by(vec![component("user", EXACT, None)]),
                    ),
                    (
                        "by an empty name",
                        &by(vec![component("user", EXACT, Some(Text::new()))]),
                    ),
                    (
                        "the default, with a name",
                        &by(vec![component("user", DEFAULT, name())]),
                    ),
                    (
                        "any, with a name",
                        &by(vec![component("user", ANY, name())]),
                    ),
                    ("match 3", &by(vec![component("user", 3, None)])),
                    ("match -1", &by(vec![component("user", -1, name())])),
                    (
                        "address and user",
                        &by(vec![
                            component("ip", ANY, None),
                            component("user", ANY, None),
                        ]),
                    ),
                    (
                        "an address that is none",
                        &by(vec![component("ip", EXACT, Some(text("no..host")))]),
                    ),
                    (
                        "enormous name",
                        &by(vec![component("user", EXACT, Some(long(ENORMOUS_TEXT)))]),
                    ),
                    (
                        "good and bad",
                        &by(vec![
                            component("user", EXACT, name()),
                            component("group", ANY, None),
                        ]),
                    ),
                ],
            );
        }
    }
}

fn part(kind: &'static str, name: Option<&Text>) -> AlterClientQuotasEntityData {
    AlterClientQuotasEntityData {
        entity_type: text(kind),
        entity_name: name.cloned(),
    }
}

fn quota(key: &'static str, value: Option<f64>) -> AlterClientQuotasOpData {
    AlterClientQuotasOpData {
        key: text(key),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
    }
}

fn component(
    kind: &'static str,
    match_type: i8,
    name: Option<Text>,
) -> DescribeClientQuotasComponentData {
    DescribeClientQuotasComponentData {
        entity_type: text(kind),
        match_type,
        r#match: name,
    }
}
