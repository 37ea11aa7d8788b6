//! AlterUserScramCredentials and DescribeUserScramCredentials.

use bytes::Bytes;
use ottla_protocol::Text;
use ottla_protocol::messages::*;

use super::{ENORMOUS_TEXT, GROWN, Story, long, many, settle, text, twice, versions};

const SHA_256: i8 = 1;
const SHA_512: i8 = 2;

impl Story<'_> {
    pub(super) fn sweep_credentials(&mut self) {
        self.sweep_alter_credentials();
        settle();
        self.sweep_describe_credentials();
    }

    fn sweep_alter_credentials(&mut self) {
        let (mine, other) = (self.name("sweep-user"), self.name("sweep-other-user"));
        for version in versions::<AlterUserScramCredentialsRequest>() {
            let good = AlterUserScramCredentialsRequest {
                deletions: Vec::new(),
                upsertions: vec![upsertion(&mine, SHA_256, 8192)],
            };
            type Asked = AlterUserScramCredentialsRequest;
            let only = |user: &Text, mechanism: i8, iterations: i32| {
                let new = upsertion(user, mechanism, iterations);
                move |it: &mut Asked| it.upsertions = vec![new.clone()]
            };
            let gone = |users: &[(&Text, i8)]| {
                let gone: Vec<_> = users.iter().map(|(user, it)| deletion(user, *it)).collect();
                move |it: &mut Asked| {
                    it.upsertions.clear();
                    it.deletions = gone.clone();
                }
            };
            let none = Text::new();
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &|it| twice(&mut it.upsertions)),
                    (GROWN, &|it| it.deletions.push(deletion(&mine, SHA_256))),
                    ("nothing", &|it| it.upsertions.clear()),
                    ("another mechanism", &only(&mine, SHA_512, 4096)),
                    ("most iterations", &only(&other, SHA_512, 16_384)),
                    ("too few iterations", &only(&mine, SHA_256, 4095)),
                    ("too few, of the other", &only(&mine, SHA_512, 4095)),
                    ("too many iterations", &only(&mine, SHA_256, 16_385)),
                    ("most of an int", &only(&mine, SHA_256, i32::MAX)),
                    ("no iterations", &only(&mine, SHA_256, 0)),
                    ("negative iterations", &only(&mine, SHA_256, i32::MIN)),
                    ("mechanism 0", &only(&mine, 0, 4096)),
                    ("mechanism 3", &only(&mine, 3, 4096)),
                    ("mechanism -1", &only(&mine, -1, 4096)),
                    ("nobody", &only(&none, SHA_256, 4096)),
                    ("nobody, by mechanism 0", &only(&none, 0, 1)),
                    ("no salt", &|it| it.upsertions[0].salt = Bytes::new()),
                    ("no salted password", &|it| {
                        it.upsertions[0].salted_password = Bytes::new();
                    }),
                    ("a short salted password", &|it| {
                        it.upsertions[0].salted_password = Bytes::from_static(b"p");
                    }),
                    ("a long salted password", &|it| {
                        it.upsertions[0].salted_password = Bytes::from(vec![b'p'; 200]);
                    }),
                    ("user twice", &|it| twice(&mut it.upsertions)),
                    ("user twice, by both mechanisms", &|it| {
                        it.upsertions.push(upsertion(&mine, SHA_512, 4096));
                    }),
                    ("user twice, bad at first", &|it| {
                        it.upsertions.insert(0, upsertion(&mine, SHA_512, 1));
                    }),
                    ("user twice, bad at last", &|it| {
                        it.upsertions.push(upsertion(&mine, 9, 1));
                    }),
                    ("new and gone", &|it| {
                        it.deletions.push(deletion(&mine, SHA_512));
                    }),
                    ("new, and gone in vain", &|it| {
                        it.deletions.push(deletion(&mine, 0));
                    }),
                    ("gone twice", &gone(&[(&mine, SHA_256), (&mine, SHA_256)])),
                    (
                        "gone thrice",
                        &gone(&[(&mine, SHA_256), (&mine, SHA_512), (&mine, SHA_256)]),
                    ),
                    ("gone, not there", &gone(&[(&other, SHA_256)])),
                    ("gone, unknown user", &gone(&[(&text("nobody"), SHA_256)])),
                    ("gone, mechanism 0", &gone(&[(&mine, 0)])),
                    ("gone, mechanism -128", &gone(&[(&mine, i8::MIN)])),
                    ("gone, nobody", &gone(&[(&none, SHA_256)])),
                    ("good and bad", &|it| {
                        it.deletions = vec![
                            deletion(&other, SHA_512),
                            deletion(&text("nobody"), SHA_256),
                        ];
                        it.upsertions.push(upsertion(&text("few"), SHA_256, 1));
                    }),
                    ("gone, not there any more", &gone(&[(&other, SHA_512)])),
                    ("many that are not there", &|it| {
                        it.upsertions.clear();
                        it.deletions = many().map(|user| deletion(&user, SHA_256)).collect();
                    }),
                    ("enormous name, with too few", &|it| {
                        it.upsertions = vec![upsertion(&long(ENORMOUS_TEXT), SHA_256, 1)];
                    }),
                ],
            );
        }
    }

    fn sweep_describe_credentials(&mut self) {
        let (mine, other) = (self.name("sweep-user"), self.name("sweep-other-user"));
        for version in versions::<DescribeUserScramCredentialsRequest>() {
            let good = DescribeUserScramCredentialsRequest {
                users: Some(vec![user(&mine)]),
            };
            let of = |users: &[&Text]| {
                let users: Vec<_> = users.iter().map(|name| user(name)).collect();
                move |it: &mut DescribeUserScramCredentialsRequest| it.users = Some(users.clone())
            };
            let (none, nobody) = (Text::new(), text("nobody"));
            self.questions(
                version,
                &good,
                &[
                    (GROWN, &of(&[&mine, &other])),
                    ("all", &|it| it.users = None),
                    ("all, as an empty list", &of(&[])),
                    ("nobody", &of(&[&nobody])),
                    ("empty name", &of(&[&none])),
                    ("gone", &of(&[&other])),
                    ("user twice", &of(&[&mine, &mine])),
                    ("user thrice", &of(&[&mine, &nobody, &mine, &mine])),
                    ("unknown user twice", &of(&[&nobody, &nobody])),
                    ("good and bad", &of(&[&nobody, &mine, &none, &none])),
                    ("enormous name", &of(&[&long(ENORMOUS_TEXT)])),
                    ("many", &|it| {
                        it.users = Some(many().map(|name| user(&name)).collect());
                    }),
                ],
            );
        }
    }
}

fn upsertion(user: &Text, mechanism: i8, iterations: i32) -> ScramCredentialUpsertion {
    ScramCredentialUpsertion {
        name: user.clone(),
        mechanism,
        iterations,
        salt: Bytes::from_static(b"0123456789abcdef"),
        salted_password: Bytes::from_static(&[b'p'; 32]),
    }
}

fn deletion(user: &Text, mechanism: i8) -> ScramCredentialDeletion {
    ScramCredentialDeletion {
        name: user.clone(),
        mechanism,
    }
}

fn user(name: &Text) -> DescribeUserScramCredentialsUserName {
    DescribeUserScramCredentialsUserName { name: name.clone() }
}
