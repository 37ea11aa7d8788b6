//! UpdateFeatures: levels of what the brokers and the quorum can do.

use ottla_protocol::Text;
use ottla_protocol::messages::*;

use super::super::TIMEOUT_MS;
use super::{ENORMOUS_TEXT, GROWN, Story, long, many, settle, text, twice, versions};

const UP: i8 = 1;
const SAFELY: i8 = 2;
const UNSAFELY: i8 = 3;
/// Of 4.3.
const METADATA: &str = "metadata.version";
const METADATA_LEVEL: i16 = 30;
const QUORUM: &str = "kraft.version";

impl Story<'_> {
    /// The good one asks for what is; of the bad ones none changes anything.
    pub(super) fn sweep_features(&mut self) {
        let of = |name: &'static str, level, upgrade_type| FeatureUpdateKey {
            feature: text(name),
            max_version_level: level,
            allow_downgrade: false,
            upgrade_type,
        };
        for version in versions::<UpdateFeaturesRequest>() {
            // In v0 a flag stands for the kinds.
            let asked = move |mut updates: Vec<FeatureUpdateKey>| {
                if version == 0 {
                    for update in &mut updates {
                        update.allow_downgrade = update.upgrade_type != UP;
                        update.upgrade_type = UP;
                    }
                }
                UpdateFeaturesRequest {
                    timeout_ms: TIMEOUT_MS,
                    feature_updates: updates,
                    validate_only: false,
                }
            };
            let good = asked(vec![of(METADATA, METADATA_LEVEL, UP)]);
            let to = |updates: Vec<FeatureUpdateKey>| {
                let asked = asked(updates);
                move |it: &mut UpdateFeaturesRequest| *it = asked.clone()
            };
            // Not as `to`: some kinds exist from v1 on only.
            let kind = |upgrade_type| {
                move |it: &mut UpdateFeaturesRequest| {
                    it.feature_updates = vec![of("group.version", 1, upgrade_type)];
                }
            };
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.feature_updates)),
                    ("nothing", &to(Vec::new())),
                    ("feature twice", &|it| twice(&mut it.feature_updates)),
                    ("too new", &to(vec![of(METADATA, 31, UP)])),
                    ("greatest", &to(vec![of(METADATA, i16::MAX, UP)])),
                    ("too old", &to(vec![of(METADATA, 6, UNSAFELY)])),
                    ("metadata of 0", &to(vec![of(METADATA, 0, SAFELY)])),
                    ("metadata of -1", &to(vec![of(METADATA, -1, SAFELY)])),
                    ("down, as an upgrade", &to(vec![of(METADATA, 29, UP)])),
                    (
                        "down, as a lossless downgrade",
                        &to(vec![of(METADATA, 7, SAFELY)]),
                    ),
                    ("negative", &to(vec![of("group.version", -1, SAFELY)])),
                    ("least", &to(vec![of("group.version", i16::MIN, UP)])),
                    ("too high", &to(vec![of("transaction.version", 3, UP)])),
                    ("off, as an upgrade", &to(vec![of("group.version", 0, UP)])),
                    ("unknown feature", &to(vec![of("no.such.version", 1, UP)])),
                    (
                        "unknown feature, off",
                        &to(vec![of("no.such.version", 0, SAFELY)]),
                    ),
                    ("no name", &to(vec![of("", 1, UP)])),
                    ("enormous name", &|it| {
                        it.feature_updates[0].feature = long(ENORMOUS_TEXT);
                    }),
                    ("kind 0", &kind(0)),
                    ("kind 4", &kind(4)),
                    ("kind -1", &kind(-1)),
                    ("least kind", &kind(i8::MIN)),
                    ("quorum, too new", &to(vec![of(QUORUM, 2, UP)])),
                    ("quorum, down", &to(vec![of(QUORUM, 0, SAFELY)])),
                    ("quorum, down unsafely", &to(vec![of(QUORUM, 0, UNSAFELY)])),
                    ("quorum, down, as an upgrade", &to(vec![of(QUORUM, 0, UP)])),
                    ("quorum of -1", &to(vec![of(QUORUM, -1, UP)])),
                    (
                        "good and bad",
                        &to(vec![
                            of(METADATA, METADATA_LEVEL, UP),
                            of("no.such.version", 1, UP),
                        ]),
                    ),
                    ("unknown feature, only asked", &|it| {
                        it.feature_updates = vec![of("no.such.version", 1, UP)];
                        it.validate_only = true;
                    }),
                    ("no time at all", &|it| it.timeout_ms = -1),
                    ("many", &|it| {
                        let update = |feature: Text| FeatureUpdateKey {
                            feature,
                            max_version_level: 1,
                            allow_downgrade: false,
                            upgrade_type: UP,
                        };
                        it.feature_updates = many().map(update).collect();
                    }),
                ],
            );
        }
        settle();
    }
}
