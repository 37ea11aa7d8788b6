//! What the commands that talk to a cluster share: where it is, and the client's settings in
//! Kafka's names, from a file and from flags.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use ottla_client::{Address, ClientSettings, Cluster, Doors};

use crate::settings::properties;
use crate::{advice, output};

/// Where one is when nobody says otherwise.
const HERE: &str = "localhost:9092";

/// Where to connect.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Connect {
    /// Brokers to ask first, as HOST1:PORT1,HOST2:PORT2 [default: localhost:9092]
    #[arg(long, value_name = "SERVERS", global = true)]
    pub(crate) bootstrap_server: Option<String>,
}

/// The same, where controllers may be asked, too.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct ConnectAny {
    #[command(flatten)]
    pub(crate) brokers: Connect,
    /// Controllers to ask instead, as HOST1:PORT1,HOST2:PORT2
    #[arg(
        long,
        value_name = "SERVERS",
        global = true,
        conflicts_with = "bootstrap_server"
    )]
    pub(crate) bootstrap_controller: Option<String>,
}

/// A way to a cluster, as flags name it.
pub(crate) trait Way: clap::Args {
    async fn cluster(&self, settings: ClientSettings) -> anyhow::Result<Arc<Cluster>>;
}

impl Way for Connect {
    async fn cluster(&self, settings: ClientSettings) -> anyhow::Result<Arc<Cluster>> {
        let servers = match self.bootstrap_server.as_deref() {
            Some(servers) => servers,
            // Kafka's scripts assume nothing.
            None if output::is_kafkas_manner() => {
                let why = "Missing required argument \"[bootstrap-server]\"".to_owned();
                return Err(output::Usage(why).into());
            }
            None => HERE,
        };
        connect(Doors::Brokers, "--bootstrap-server", servers, settings).await
    }
}

impl Way for ConnectAny {
    async fn cluster(&self, settings: ClientSettings) -> anyhow::Result<Arc<Cluster>> {
        match self.bootstrap_controller.as_deref() {
            Some(servers) => {
                let flag = "--bootstrap-controller";
                connect(Doors::Controllers, flag, servers, settings).await
            }
            None => self.brokers.cluster(settings).await,
        }
    }
}

impl ConnectAny {
    pub(crate) fn is_to_controllers(&self) -> bool {
        self.bootstrap_controller.is_some()
    }
}

async fn connect(
    doors: Doors,
    flag: &str,
    servers: &str,
    settings: ClientSettings,
) -> anyhow::Result<Arc<Cluster>> {
    let addresses = Address::list(servers).with_context(|| format!("{flag} is not usable"))?;
    advice::remember(&addresses);
    Ok(Cluster::connect_to(doors, addresses, settings).await?)
}

/// A client's properties, by Kafka's names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Properties(BTreeMap<String, Written>);

/// A value, and the file and line where it stands; typed ones stand before everybody's eyes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    value: String,
    place: Option<(PathBuf, usize)>,
}

impl Properties {
    /// The file first; what was typed takes precedence.
    pub(crate) fn gather(file: Option<&Path>, typed: &[String]) -> anyhow::Result<Self> {
        let mut all = BTreeMap::new();
        if let Some(path) = file {
            let bytes = std::fs::read(path)
                .with_context(|| format!("{} cannot be read", path.display()))?;
            let read = properties::parse(&bytes).with_context(|| path.display().to_string())?;
            all.extend(read.into_iter().map(|property| {
                let place = Some((path.to_owned(), property.line));
                let value = property.value;
                (property.name, Written { value, place })
            }));
        }
        for pair in typed {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (value, place) = (value.to_owned(), None);
            all.insert(name.to_owned(), Written { value, place });
        }
        Ok(Self(all))
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|written| written.value.as_str())
    }

    /// Names and values.
    pub(crate) fn into_pairs(self) -> impl Iterator<Item = (String, String)> {
        let pairs = self.0.into_iter();
        pairs.map(|(name, written)| (name, written.value))
    }

    /// The property as it was written, and where, for a sentence about it.
    pub(crate) fn shown(&self, name: &str) -> String {
        let Some(Written { value, place }) = self.0.get(name) else {
            return name.to_owned();
        };
        match place {
            Some((path, line)) => format!("{} line {line}: {name}={value}", path.display()),
            None => format!("{name}={value}"),
        }
    }

    pub(crate) fn is_true(&self, name: &str) -> Option<bool> {
        Some(self.text(name)?.trim().eq_ignore_ascii_case("true"))
    }

    /// The value as something else; a sentence if it is not that.
    pub(crate) fn read<T: FromStr>(&self, name: &str) -> anyhow::Result<Option<T>>
    where
        T::Err: Display,
    {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        match text.trim().parse() {
            Ok(value) => Ok(Some(value)),
            Err(why) => bail!("{} is not usable: {why}", self.shown(name)),
        }
    }

    pub(crate) fn millis(&self, name: &str) -> anyhow::Result<Option<Duration>> {
        Ok(self.read(name)?.map(Duration::from_millis))
    }

    /// What all clients share. A connection that would have to be protected is refused rather
    /// than made without protection.
    pub(crate) fn client(&self, default_client_id: &str) -> anyhow::Result<ClientSettings> {
        let protocol = "security.protocol";
        if self.text(protocol).is_some_and(|text| text != "PLAINTEXT") {
            bail!(
                "{} is not supported yet: only PLAINTEXT is",
                self.shown(protocol)
            );
        }
        let mut settings = ClientSettings {
            client_id: self
                .text("client.id")
                .unwrap_or(default_client_id)
                .to_owned(),
            ..ClientSettings::default()
        };
        let set = |to: &mut Duration, name| -> anyhow::Result<()> {
            if let Some(duration) = self.millis(name)? {
                *to = duration;
            }
            Ok(())
        };
        set(&mut settings.request_timeout, "request.timeout.ms")?;
        set(&mut settings.api_timeout, "default.api.timeout.ms")?;
        set(&mut settings.metadata_max_age, "metadata.max.age.ms")?;
        set(
            &mut settings.connect_timeout,
            "socket.connection.setup.timeout.ms",
        )?;
        set(&mut settings.retry_backoff.0, "retry.backoff.ms")?;
        set(&mut settings.retry_backoff.1, "retry.backoff.max.ms")?;
        set(&mut settings.reconnect_backoff.0, "reconnect.backoff.ms")?;
        set(
            &mut settings.reconnect_backoff.1,
            "reconnect.backoff.max.ms",
        )?;
        Ok(settings)
    }
}

/// A regular expression that must match a whole topic name, as Kafka's tools read it: a comma is an
/// alternative, spaces and outer quotes do not count.
pub(crate) fn topic_pattern(text: &str) -> anyhow::Result<regex_lite::Regex> {
    let bare = text.trim().replace(',', "|").replace(' ', "");
    let bare = bare.trim_matches(['"', '\'']);
    let whole = format!("^(?:{bare})$");
    regex_lite::Regex::new(&whole).with_context(|| format!("{bare} is an invalid regex."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_typed_comes_before_the_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "acks=1\nclient.id = me\n").unwrap();
        let typed = ["acks=all".to_owned(), "empty".to_owned()];
        let read = Properties::gather(Some(file.path()), &typed).unwrap();
        assert_eq!(read.text("acks"), Some("all"));
        assert_eq!(read.text("empty"), Some(""));
        assert_eq!(read.client("x").unwrap().client_id, "me");
    }

    #[test]
    fn a_value_that_is_not_usable_is_told_with_its_file_and_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# mine\nrequest.timeout.ms=soon\n").unwrap();
        let read = Properties::gather(Some(file.path()), &["retries=x".to_owned()]).unwrap();
        let why = read.client("x").unwrap_err().to_string();
        let place = format!("{} line 2: request.timeout.ms=soon", file.path().display());
        assert!(why.starts_with(&place), "{why}");
        let why = read.read::<u32>("retries").unwrap_err().to_string();
        assert!(why.starts_with("retries=x is not usable"), "{why}");
    }

    #[test]
    fn nothing_is_sent_unprotected_that_was_to_be_protected() {
        let typed = ["security.protocol=SASL_SSL".to_owned()];
        let error = Properties::gather(None, &typed)
            .unwrap()
            .client("x")
            .unwrap_err();
        assert!(error.to_string().contains("security.protocol=SASL_SSL"));
    }

    #[test]
    fn topic_patterns_match_whole_names() {
        for (pattern, name, matches) in [
            ("orders", "orders", true),
            ("order", "orders", false),
            ("log.*|stamped", "stamped", true),
            ("'a, b'", "b", true),
            ("a.b", "axb", true),
        ] {
            assert_eq!(
                topic_pattern(pattern).unwrap().is_match(name),
                matches,
                "{pattern}"
            );
        }
        assert!(topic_pattern("*").is_err());
    }
}
