//! SCRAM credentials of users.

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use ottla_client::admin::NewCredential;
use ottla_client::{ClientError, Cluster};
use ottla_metadata::scram::salted_password;
use ottla_protocol::ScramMechanism;
use serde_json::{Map, Value, json};

use super::changes::Changes;
use super::entity::{Entities, Kind};
use crate::kafkas;
use crate::output::Output;

/// As many as are safe, where nobody says how many.
const ITERATIONS: i32 = ScramMechanism::ITERATIONS_MIN;

pub(super) async fn alter(
    cluster: &Cluster,
    entities: &Entities,
    changes: &Changes,
) -> anyhow::Result<()> {
    let user = entities.head_name().context("no user is named")?;
    let mut new = Vec::new();
    for (name, value) in &changes.set {
        let mechanism = mechanism(name)?;
        let (iterations, password) = read(mechanism, value)?;
        let salt: [u8; 16] = *ottla_storage::new_id().as_bytes();
        let salted = salted_password(mechanism, password.as_bytes(), &salt, iterations);
        new.push(NewCredential {
            mechanism,
            iterations,
            salt: Bytes::copy_from_slice(&salt),
            salted_password: Bytes::from(salted),
        });
    }
    let gone = changes.delete.iter().map(|name| mechanism(name));
    let gone: Vec<_> = gone.collect::<Result<_, _>>()?;
    Ok(cluster.alter_credentials(user, &new, &gone).await?)
}

/// Of users alone, and not of their defaults.
pub(super) async fn describe(
    cluster: &Cluster,
    entities: &Entities,
    output: &mut Output,
) -> anyhow::Result<()> {
    if entities.kinds.contains(&Kind::Clients) || entities.has_default() {
        return Ok(());
    }
    let described = match cluster.describe_credentials(&entities.names).await {
        // Where no credential can be kept, there is none.
        Err(ClientError::Unserved { .. }) => return Ok(()),
        described => described?,
    };
    for (user, credentials) in described {
        match credentials {
            Ok(infos) => {
                let text = infos.iter().map(|(mechanism, iterations)| {
                    format!("{}=iterations={iterations}", mechanism.name())
                });
                let text = text.collect::<Vec<_>>().join(", ");
                let json: Map<String, Value> = infos
                    .iter()
                    .map(|(mechanism, iterations)| (mechanism.name().to_owned(), json!(iterations)))
                    .collect();
                output.say(
                    format_args!("SCRAM credential configs for user-principal '{user}' are {text}"),
                    &json!({ "user": user, "scramIterations": json }),
                )?;
            }
            Err(error) => output.complain(format_args!(
                "Error retrieving SCRAM credential configs for user-principal '{user}': {}",
                kafkas::exception(&error)
            ))?,
        }
    }
    Ok(())
}

fn mechanism(name: &str) -> anyhow::Result<ScramMechanism> {
    let found = ScramMechanism::ALL.into_iter().find(|it| it.name() == name);
    found.with_context(|| format!("{name} is no SCRAM mechanism"))
}

/// `iterations=8192,password=secret`; the password may hold anything.
fn read(mechanism: ScramMechanism, text: &str) -> anyhow::Result<(i32, &str)> {
    let name = mechanism.name();
    let bad = || format!("Invalid credential property {name}={text}");
    let (iterations, rest) = match text.strip_prefix("iterations=") {
        Some(rest) => {
            let (number, rest) = rest.split_once(',').with_context(bad)?;
            (number.parse().ok().with_context(bad)?, rest)
        }
        None => (-1, text),
    };
    let Some(password) = rest.strip_prefix("password=") else {
        bail!(bad());
    };
    let iterations = if iterations == -1 {
        ITERATIONS
    } else {
        iterations
    };
    let (least, most) = (
        ScramMechanism::ITERATIONS_MIN,
        ScramMechanism::ITERATIONS_MAX,
    );
    ensure!(
        iterations >= least,
        "Iterations {iterations} is less than the minimum {least} required for {name}"
    );
    // Else somebody waits for a password that no broker takes.
    ensure!(
        iterations <= most,
        "Iterations {iterations} is more than the maximum {most} of {name}"
    );
    Ok((iterations, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_iterations_and_a_password() {
        let read = |text| read(ScramMechanism::Sha256, text);
        assert_eq!(read("password=a,b=c").unwrap(), (4096, "a,b=c"));
        assert_eq!(read("iterations=8192,password=x").unwrap(), (8192, "x"));
        assert_eq!(read("iterations=-1,password=").unwrap(), (4096, ""));
        for bad in ["", "iterations=8192", "iterations=x,password=y", "secret"] {
            let told = read(bad).unwrap_err().to_string();
            assert!(
                told.starts_with("Invalid credential property SCRAM-SHA-256="),
                "{told}"
            );
        }
        assert_eq!(
            read("iterations=100,password=secret")
                .unwrap_err()
                .to_string(),
            "Iterations 100 is less than the minimum 4096 required for SCRAM-SHA-256"
        );
        assert!(read("iterations=20000,password=secret").is_err());
    }
}
