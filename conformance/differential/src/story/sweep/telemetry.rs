//! GetTelemetrySubscriptions and PushTelemetry, where both brokers take clients' metrics.

use std::fmt::Debug;

use bytes::Bytes;
use ottla_protocol::messages::*;
use ottla_protocol::{Request, Uuid, encode_body};

use super::super::Kind;
use super::{Story, line, versions};
use crate::broker::Line;
use crate::leaves::leaves;

/// More than `telemetry.max.bytes`.
const TOO_MANY_BYTES: usize = (1 << 20) + 1;
const GZIP: i8 = 1;
const ZSTD: i8 = 4;

/// What spoils a push.
type Spoil<'a> = &'a dyn Fn(&mut PushTelemetryRequest);

impl Story<'_> {
    pub(super) fn sweep_telemetry(&mut self) {
        self.sweep_subscriptions();
        self.sweep_pushes();
    }

    /// A client that asks again too soon is sent away; who has no id is new each time.
    fn sweep_subscriptions(&mut self) {
        for version in versions::<GetTelemetrySubscriptionsRequest>() {
            let of = |client_instance_id| GetTelemetrySubscriptionsRequest { client_instance_id };
            let good = of(Uuid::ZERO);
            self.questions(
                version,
                &good,
                &[
                    ("the id of the quorum's log", &|it| {
                        it.client_instance_id = Uuid::METADATA_TOPIC;
                    }),
                    ("least id", &|it| {
                        it.client_instance_id = Uuid::from_u128(1 << 127)
                    }),
                    ("greatest id", &|it| {
                        it.client_instance_id = Uuid::from_u128(u128::MAX)
                    }),
                ],
            );
            let Some(mut line) = self.line() else {
                continue;
            };
            let again = of(self.client(1));
            self.prepare_on(&mut line, version, &again);
            for label in ["again at once", "once more"] {
                self.bad_on(&mut line, label, version, &again);
            }
        }
    }

    fn sweep_pushes(&mut self) {
        let cases: &[(&str, Spoil<'_>)] = &[
            ("no client", &|it| it.client_instance_id = Uuid::ZERO),
            ("the id of the quorum's log", &|it| {
                it.client_instance_id = Uuid::METADATA_TOPIC;
            }),
            ("a client that did not ask", &|it| {
                it.client_instance_id =
                    Uuid::from_u128(it.client_instance_id.as_u128() ^ (1 << 60));
            }),
            ("another subscription", &|it| {
                it.subscription_id = it.subscription_id.wrapping_add(1);
            }),
            ("subscription 0", &|it| it.subscription_id = 0),
            ("another subscription, for the last time", &|it| {
                it.subscription_id = it.subscription_id.wrapping_add(1);
                it.terminating = true;
            }),
            ("codec 5", &|it| it.compression_type = 5),
            ("codec -1", &|it| it.compression_type = -1),
            ("greatest codec", &|it| it.compression_type = i8::MAX),
            ("too much", &|it| {
                it.metrics = vec![0; TOO_MANY_BYTES].into()
            }),
            ("no metrics", &|it| {
                it.metrics = Bytes::from_static(b"\xff\xff\xff")
            }),
            ("a tag without a value", &|it| {
                it.metrics = Bytes::from_static(b"\x0a\x7f")
            }),
            ("gzip that is none", &|it| {
                it.metrics = Bytes::from_static(b"no gzip");
                it.compression_type = GZIP;
            }),
            ("zstd that is none", &|it| {
                it.metrics = Bytes::from_static(b"no zstd");
                it.compression_type = ZSTD;
            }),
        ];
        for version in versions::<PushTelemetryRequest>() {
            if !self.serves::<PushTelemetryRequest>(version) {
                continue;
            }
            let Some(mut line) = self.line() else {
                continue;
            };
            let client = self.client(100);
            if let Some(good) = self.subscribed(&mut line, client) {
                self.ask_on(Kind::Good, &mut line, "good", version, &good);
                self.bad_on(&mut line, "again at once", version, &good);
                let last = PushTelemetryRequest {
                    terminating: true,
                    ..good.clone()
                };
                self.ask_on(
                    Kind::Bad,
                    &mut line,
                    "the last words, at once",
                    version,
                    &last,
                );
                self.bad_on(&mut line, "after the last words", version, &last);
                if let Ok(body) = encode_body(&good, version) {
                    self.malformed::<PushTelemetryRequest>(version, &body, &[]);
                }
            }
            for (client, (label, spoil)) in (101..).zip(cases) {
                let Some(mut line) = self.line() else {
                    continue;
                };
                let client = self.client(client);
                let Some(mut push) = self.subscribed(&mut line, client) else {
                    continue;
                };
                spoil(&mut push);
                self.bad_on(&mut line, label, version, &push);
            }
        }
    }

    /// A push of nothing by a client that has asked what to push.
    fn subscribed(&mut self, line: &mut Line, client: Uuid) -> Option<PushTelemetryRequest> {
        let ask = GetTelemetrySubscriptionsRequest {
            client_instance_id: client,
        };
        let answer = self.prepare_on(line, 0, &ask)?;
        Some(PushTelemetryRequest {
            client_instance_id: answer.client_instance_id,
            subscription_id: answer.subscription_id,
            ..Default::default()
        })
    }

    /// Another one in every telling.
    fn client(&self, n: u64) -> Uuid {
        let prefix = self.prefix.bytes().fold(7_u64, |hash, byte| {
            hash.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        Uuid::from_u128((u128::from(prefix) << 64) | u128::from(n + 1))
    }

    /// The client is known as long as its connection stands.
    fn line(&mut self) -> Option<Line> {
        let line = self.unthrottled.stay();
        line.map_err(|why| println!("note: no connection for telemetry: {why}"))
            .ok()
    }

    fn prepare_on<R: Request>(
        &mut self,
        on: &mut Line,
        version: i16,
        request: &R,
    ) -> Option<R::Response> {
        let answer = on.ask(version, request);
        let broken = |why| {
            self.coverage
                .broken(line::<R>(), version, "preparation", &why);
        };
        answer.map_err(broken).ok()
    }

    fn bad_on<R>(&mut self, on: &mut Line, label: &str, version: i16, request: &R)
    where
        R: Request + Debug,
        R::Response: Debug,
    {
        self.ask_on(Kind::Bad, on, label, version, request);
    }

    fn ask_on<R>(&mut self, kind: Kind, on: &mut Line, label: &str, version: i16, request: &R)
    where
        R: Request + Debug,
        R::Response: Debug,
    {
        self.coverage.asked(line::<R>(), version, &leaves(request));
        let outcome = on.ask(version, request);
        self.answered::<R>(kind, label, version, outcome);
    }
}
