//! The environment: settings under `IOTPIPE_SECTION_KEY` and under the names that people use already, and passwords.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use super::error::{UsageError, suggestion};
use super::layers::{Given, Layer, Origin};
use super::settings::SETTINGS;
use crate::model::Secret;
use crate::store::StoreUrl;

/// Variables by name. A variable that is set to nothing counts as not set.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, OsString>);

impl Environment {
    pub fn of_process() -> Environment {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .collect()
    }

    pub(super) fn get(&self, name: &str) -> Result<Option<&str>, UsageError> {
        match self.0.get(name).map(|value| value.to_str()) {
            Some(None) => Err(UsageError(format!("{name}: is not UTF-8"))),
            Some(Some(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
            None => Ok(None),
        }
    }
}

impl<V: Into<OsString>> FromIterator<(String, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, V)>>(variables: I) -> Environment {
        Environment(
            variables
                .into_iter()
                .map(|(name, value)| (name, value.into()))
                .collect(),
        )
    }
}

/// The settings that variables give. `store_below` is the store of the layers beneath: CASSANDRA_HOST and CASSANDRA_PORT
/// change parts of it.
pub(super) fn settings(environment: &Environment, store_below: &Given) -> Result<Layer, UsageError> {
    let mut layer = Layer::new();
    for setting in SETTINGS {
        let own = setting.variable();
        let mut first: Option<(&str, &str)> = None;
        for name in [own.as_str()].into_iter().chain(setting.variables.iter().copied()) {
            let Some(text) = environment.get(name)? else { continue };
            match first {
                Some((other, other_text)) if other_text != text => {
                    let error = format!("{other} and {name} contradict each other: {other_text} and {text}");
                    return Err(UsageError(without_credentials(&error, other, name)));
                }
                _ => first = first.or(Some((name, text))),
            }
        }
        if let Some((name, text)) = first {
            layer.insert(setting.key, Given::new(text, Origin::Variable(name.to_owned())));
        }
    }
    store(environment, store_below, &mut layer)?;
    Ok(layer)
}

/// The message without the values where one may hold a password, as in `cassandra://user:password@host`.
fn without_credentials(message: &str, one: &str, other: &str) -> String {
    match message.contains('@') {
        true => format!("{one} and {other} contradict each other"),
        false => message.to_owned(),
    }
}

/// CASSANDRA_HOST (`host[:port][,host]`) and CASSANDRA_PORT: parts of the store's address.
fn store(environment: &Environment, below: &Given, layer: &mut Layer) -> Result<(), UsageError> {
    const KEY: &str = "store.url";
    let (host, port) = (environment.get("CASSANDRA_HOST")?, environment.get("CASSANDRA_PORT")?);
    let Some(name) = host.map(|_| "CASSANDRA_HOST").or(port.map(|_| "CASSANDRA_PORT")) else {
        return Ok(());
    };
    let given = layer.get(KEY);
    // Where an address itself is wrong, its own error says so later.
    let Ok(base) = given.unwrap_or(below).text.parse::<StoreUrl>() else {
        return Ok(());
    };
    let (hosts, keyspace) = match &base {
        StoreUrl::Cassandra { hosts, keyspace } => (hosts.clone(), keyspace.as_str()),
        StoreUrl::Sqlite { .. } => (vec!["127.0.0.1:9042".to_owned()], "iot_data"),
    };
    let hosts = match host {
        Some(host) => host.split(',').map(|host| host.trim().to_owned()).collect(),
        None => hosts,
    };
    let hosts: Vec<String> = hosts
        .iter()
        .map(|text| match (port, text.rsplit_once(':')) {
            (Some(port), Some((bare, own))) if own.parse::<u16>().is_ok() => match host {
                Some(_) if own != port => Err(UsageError(format!(
                    "CASSANDRA_HOST and CASSANDRA_PORT contradict each other: {own} and {port}"
                ))),
                _ => Ok(format!("{bare}:{port}")),
            },
            (Some(port), _) => Ok(format!("{text}:{port}")),
            (None, _) => Ok(text.clone()),
        })
        .collect::<Result<_, _>>()?;
    let text = format!("cassandra://{}/{keyspace}", hosts.join(","));
    let url: StoreUrl = text.parse().map_err(|error| UsageError(format!("{name}: {error}")))?;
    match given {
        Some(given) if url != base => Err(UsageError(format!(
            "{} and {name} contradict each other: {base} and {url}",
            given.origin.subject(KEY)
        ))),
        Some(_) => Ok(()),
        None => {
            layer.insert(KEY, Given::new(url.to_string(), Origin::Variable(name.to_owned())));
            Ok(())
        }
    }
}

/// A password and the variable that gave it.
pub(super) type GivenSecret = Option<(Secret, Origin)>;

/// The password in `name`, or in the file that `name_FILE` names, without the line's end.
pub(super) fn password(environment: &Environment, name: &str) -> Result<GivenSecret, UsageError> {
    let in_file = format!("{name}_FILE");
    // Blanks belong to a password: not trimmed.
    let own = environment.0.get(name).filter(|text| !text.is_empty());
    let secret = match (own, environment.get(&in_file)?) {
        (Some(_), Some(_)) => Err(UsageError(format!(
            "{name} and {in_file} are both set: one of them is enough"
        ))),
        (Some(text), None) => match text.to_str() {
            Some(text) => Ok(Some((text.to_owned(), name.to_owned()))),
            None => Err(UsageError(format!("{name}: is not UTF-8"))),
        },
        (None, Some(path)) => match std::fs::read_to_string(Path::new(path)) {
            Ok(text) => Ok(Some((text.trim_end_matches(['\r', '\n']).to_owned(), in_file))),
            Err(error) => Err(UsageError(format!("{in_file}: cannot read {path}: {error}"))),
        },
        (None, None) => Ok(None),
    }?;
    Ok(secret.map(|(text, origin)| (Secret::new(text), Origin::Variable(origin))))
}

/// Passwords as `iotpipe config` names them, and their variables.
pub(super) const PASSWORDS: [(&str, &str); 5] = [
    ("kafka.password", "IOTPIPE_KAFKA_PASSWORD"),
    ("kafka.key_password", "IOTPIPE_KAFKA_KEY_PASSWORD"),
    ("store.password", "IOTPIPE_CASSANDRA_PASSWORD"),
    ("store.key_password", "IOTPIPE_CASSANDRA_KEY_PASSWORD"),
    ("registry.password", "IOTPIPE_REGISTRY_PASSWORD"),
];

/// A line for each file with a password that others than its owner can read.
pub(super) fn exposed(environment: &Environment) -> Vec<String> {
    let variables = PASSWORDS.iter().map(|(_, name)| format!("{name}_FILE"));
    let exposed = |name: String| {
        let path = environment.get(&name).ok()??;
        exposure(Path::new(path)).map(|others| format!("{name}: {path} can be read by {others}: chmod 600 {path}"))
    };
    variables.filter_map(exposed).collect()
}

/// Who can read a file besides its owner.
#[cfg(unix)]
pub(super) fn exposure(path: &Path) -> Option<&'static str> {
    use std::os::unix::fs::MetadataExt;
    let mode = std::fs::metadata(path).ok()?.mode();
    match (mode & 0o004, mode & 0o040) {
        (0, 0) => None,
        (0, _) => Some("its group"),
        _ => Some("everybody"),
    }
}

#[cfg(not(unix))]
pub(super) fn exposure(_: &Path) -> Option<&'static str> {
    None
}

/// A line for each variable that looks like ours and is not: most likely a slip, but never worth refusing to start, since
/// the next version may know it.
pub(super) fn unknown(environment: &Environment) -> Vec<String> {
    let mut known: Vec<String> = SETTINGS.iter().map(|setting| setting.variable()).collect();
    known.extend(
        SETTINGS
            .iter()
            .flat_map(|setting| setting.variables)
            .map(|name| (*name).to_owned()),
    );
    known.extend(
        PASSWORDS
            .iter()
            .flat_map(|(_, name)| [(*name).to_owned(), format!("{name}_FILE")]),
    );
    known.push("IOTPIPE_CONFIG".to_owned());
    let foreign = ["IOTPIPE_TEST_", "IOTPIPE_STACK_"];
    environment
        .0
        .keys()
        .filter(|name| name.starts_with("IOTPIPE_") && !foreign.iter().any(|prefix| name.starts_with(prefix)))
        .filter(|name| !known.contains(name))
        .map(|name| {
            format!(
                "{name} is no variable of iotpipe{}",
                suggestion(name, known.iter().map(String::as_str))
            )
        })
        .collect()
}
