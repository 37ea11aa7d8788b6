//! `config.providers`: values that are fetched from somewhere else, `${provider:path:key}`.
//!
//! Kafka's three are served: a properties file, an environment variable, a directory with one file a key. As
//! in Kafka, a reference that leads nowhere stays as it is written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::properties;

const PACKAGE: &str = "org.apache.kafka.common.config.provider.";

/// Where a provider looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Environment,
    Directory,
}

struct Provider {
    kind: Kind,
    /// `param.allowed.paths`: nothing outside of these is read.
    allowed: Option<Vec<PathBuf>>,
}

/// A provider that cannot be made: the setting, its value, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadProvider {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) why: String,
}

/// All providers that `settings` name.
pub(crate) struct Providers {
    by_name: BTreeMap<String, Provider>,
    environment: BTreeMap<String, String>,
}

impl Providers {
    pub(crate) fn new(
        settings: &BTreeMap<String, String>,
        environment: &[(String, String)],
    ) -> Result<Self, BadProvider> {
        let names = settings.get("config.providers").map_or("", String::as_str);
        let names = names
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        let by_name: Result<_, _> = names
            .map(|name| Ok((name.to_owned(), provider(name, settings)?)))
            .collect();
        Ok(Self {
            by_name: by_name?,
            environment: environment.iter().cloned().collect(),
        })
    }

    /// `value` with every reference replaced that leads somewhere.
    pub(crate) fn resolve(&self, value: &str) -> String {
        let mut out = String::with_capacity(value.len());
        let mut rest = value;
        while let Some(start) = rest.find("${") {
            let (before, reference) = rest.split_at(start);
            out.push_str(before);
            let Some(end) = reference.find('}') else {
                rest = reference;
                break;
            };
            let (whole, after) = reference.split_at(end + 1);
            match self.look_up(&whole[2..end]) {
                Some(found) => out.push_str(&found),
                None => out.push_str(whole),
            }
            rest = after;
        }
        out + rest
    }

    /// `provider:path:key`, or `provider:key`.
    fn look_up(&self, reference: &str) -> Option<String> {
        let (name, rest) = reference.split_once(':')?;
        let provider = self.by_name.get(name)?;
        let (path, key) = rest.split_once(':').unwrap_or(("", rest));
        match provider.kind {
            Kind::Environment if path.is_empty() => self.environment.get(key).cloned(),
            Kind::Environment => None,
            Kind::File => {
                let file = fs::read(provider.permit(Path::new(path))?).ok()?;
                let entries = properties::parse(&file).ok()?;
                entries
                    .into_iter()
                    .rev()
                    .find(|entry| entry.name == key)
                    .map(|entry| entry.value)
            }
            Kind::Directory => {
                let is_plain = !key.is_empty() && !key.contains('/') && key != "..";
                let path = Path::new(path).join(is_plain.then_some(key)?);
                fs::read_to_string(provider.permit(&path)?).ok()
            }
        }
    }
}

impl Provider {
    fn permit(&self, path: &Path) -> Option<PathBuf> {
        let path = normal(path);
        let is_allowed = self
            .allowed
            .as_ref()
            .is_none_or(|allowed| allowed.iter().any(|root| path.starts_with(root)));
        (!path.as_os_str().is_empty() && is_allowed).then_some(path)
    }
}

/// Without `.` and `..`, so that a path cannot leave what is allowed by its spelling.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(out.pop()),
            other => out.push(other),
        }
    }
    out
}

fn provider(name: &str, settings: &BTreeMap<String, String>) -> Result<Provider, BadProvider> {
    let setting = |rest: &str| {
        let name = format!("config.providers.{name}.{rest}");
        settings
            .get(&name)
            .map(|value| (name, value.trim().to_owned()))
    };
    let class = setting("class");
    let short = match &class {
        Some((_, class)) => class.strip_prefix(PACKAGE).unwrap_or(class),
        None => name,
    };
    let kind = match short {
        "FileConfigProvider" | "file" => Kind::File,
        "EnvVarConfigProvider" | "env" => Kind::Environment,
        "DirectoryConfigProvider" | "dir" | "directory" => Kind::Directory,
        _ => {
            let missing = || {
                (
                    format!("config.providers.{name}.class"),
                    "not set".to_owned(),
                )
            };
            let (name, value) = class.clone().unwrap_or_else(missing);
            let why = format!(
                "must be one of {PACKAGE}FileConfigProvider, {PACKAGE}EnvVarConfigProvider, \
                 {PACKAGE}DirectoryConfigProvider"
            );
            return Err(BadProvider { name, value, why });
        }
    };
    if let Some((name, value)) = setting("param.allowlist.pattern") {
        let why =
            "patterns are not served: leave it out, or use the file or dir provider".to_owned();
        return Err(BadProvider { name, value, why });
    }
    let allowed = setting("param.allowed.paths").filter(|(_, paths)| !paths.is_empty());
    let allowed = allowed.map(|(_, paths)| {
        paths
            .split(',')
            .map(|path| normal(Path::new(path.trim())))
            .collect()
    });
    Ok(Provider { kind, allowed })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn providers(settings: &[(&str, &str)]) -> Result<Providers, BadProvider> {
        let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment = [("SECRET".to_owned(), "from-env".to_owned())];
        Providers::new(&settings.iter().map(own).collect(), &environment)
    }

    #[test]
    fn references_are_followed() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("secrets.properties");
        fs::write(&file, "password=old\npassword=from file\n").unwrap();
        let providers = providers(&[
            ("config.providers", "file, env,dir"),
            (
                "config.providers.file.class",
                &format!("{PACKAGE}FileConfigProvider"),
            ),
            (
                "config.providers.env.class",
                &format!("{PACKAGE}EnvVarConfigProvider"),
            ),
        ])
        .unwrap();
        let file = file.display();
        let root = directory.path().display();
        for (value, expected) in [
            (format!("${{file:{file}:password}}"), "from file".to_owned()),
            (
                format!("a-${{file:{file}:password}}-${{env:SECRET}}-z"),
                "a-from file-from-env-z".into(),
            ),
            (
                format!("${{dir:{root}:secrets.properties}}"),
                "password=old\npassword=from file\n".to_owned(),
            ),
            ("${env:MISSING}".to_owned(), "${env:MISSING}".to_owned()),
            ("${vault:a:b}".to_owned(), "${vault:a:b}".to_owned()),
            ("${env:SECRET".to_owned(), "${env:SECRET".to_owned()),
            ("plain".to_owned(), "plain".to_owned()),
        ] {
            assert_eq!(providers.resolve(&value), expected);
        }
    }

    #[test]
    fn paths_outside_of_what_is_allowed_are_not_read() {
        let directory = tempfile::tempdir().unwrap();
        let (inside, outside) = (directory.path().join("in"), directory.path().join("out"));
        for path in [&inside, &outside] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("key"), "value").unwrap();
        }
        let allowed = inside.display().to_string();
        let providers = providers(&[
            ("config.providers", "dir"),
            ("config.providers.dir.param.allowed.paths", &allowed),
        ])
        .unwrap();
        assert_eq!(
            providers.resolve(&format!("${{dir:{allowed}:key}}")),
            "value"
        );
        for path in [outside.display().to_string(), format!("{allowed}/../out")] {
            let reference = format!("${{dir:{path}:key}}");
            assert_eq!(providers.resolve(&reference), reference);
        }
    }

    #[test]
    fn a_provider_that_we_do_not_have_is_an_error() {
        let bad = providers(&[
            ("config.providers", "vault"),
            ("config.providers.vault.class", "com.example.Vault"),
        ]);
        assert_eq!(
            bad.err().map(|bad| bad.name).as_deref(),
            Some("config.providers.vault.class")
        );
    }
}
