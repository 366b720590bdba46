//! What the program is told: flags over environment over TOML file over defaults, resolved once.
//!
//! Commands see [`Config`], plain values without a trace of where they came from; `iotpipe config` shows that. Every
//! setting is declared once, in `settings.rs`. A setting that is unknown, wrong or at odds with another in its layer is a
//! [`UsageError`] of one line. Passwords come from the environment or from files of their own and are masked everywhere.

mod choices;
mod environment;
mod error;
mod file;
mod layers;
mod load;
mod rules;
mod security;
mod settings;
mod value;
mod window_sizes;

#[cfg(test)]
mod example;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

pub use choices::{Codec, KafkaSecurity, OnDataLoss, Payload, Profile, SaslMechanism, SqliteSynchronous, Start};
pub use environment::Environment;
pub use error::UsageError;
pub use layers::Origin;
pub use settings::{
    AlertsConfig, AnalyticsConfig, ConsumeConfig, EVERY_COMMAND, FaultsConfig, FieldsConfig, KafkaConfig, LogConfig,
    ProduceConfig, RegistryConfig, SETTINGS, Setting, StoreConfig, Switch, TlsConfig, WindowsConfig, setting,
};
pub use value::{ByteSize, Seconds, Shape, TimePoint, duration_text, parse_duration, parse_time, parse_time_point};
pub use window_sizes::{WindowSizes, parse_window_size};

use crate::model::{MASK, Rule, Secret, is_secret_name};
use crate::store::SchemaSettings;
use layers::{Effective, Given, Layer};

/// The file that is read when none is named.
const DEFAULT_FILE: &str = "iotpipe.toml";

/// A setting that a flag gives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FlagSetting {
    /// Key of the setting.
    pub key: &'static str,
    pub text: String,
}

/// Where settings come from.
#[derive(Clone, Default)]
pub struct Inputs {
    pub flags: Vec<FlagSetting>,
    /// The file that `--config` names.
    pub file: Option<PathBuf>,
    pub environment: Environment,
    /// Where `iotpipe.toml` is looked for and what relative paths of files start from; empty is the current directory.
    pub directory: PathBuf,
}

/// Everything the commands need to know.
#[derive(Clone, PartialEq, Debug)]
pub struct Config {
    pub kafka: KafkaConfig,
    pub store: StoreConfig,
    pub registry: RegistryConfig,
    pub tls: TlsConfig,
    pub consume: ConsumeConfig,
    pub windows: WindowsConfig,
    pub alerts: AlertsConfig,
    pub analytics: AnalyticsConfig,
    /// The rules that are enabled, by name; they judge where `alerts.enabled`.
    pub rules: Vec<Rule>,
    pub produce: ProduceConfig,
    pub faults: FaultsConfig,
    pub fields: FieldsConfig,
    pub log: LogConfig,
    /// What the user told librdkafka, for all clients.
    pub kafka_properties: Properties,
    pub passwords: Passwords,
    /// Every setting with its value as text and its origin: for people. No secret is in it.
    pub listing: Vec<Listed>,
    /// What looks like a slip, a line each.
    pub warnings: Vec<String>,
}

/// Properties by name; what may be a secret is masked when they are printed.
#[derive(Clone, PartialEq, Default)]
pub struct Properties(pub BTreeMap<String, String>);

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.0.iter().map(|(name, value)| (name, shown(name, value))))
            .finish()
    }
}

fn shown<'a>(name: &str, value: &'a str) -> &'a str {
    if is_secret_name(name) { MASK } else { value }
}

#[derive(Clone, PartialEq, Default, Debug)]
pub struct Passwords {
    pub kafka: Option<Secret>,
    /// Of the key of the client certificate.
    pub kafka_key: Option<Secret>,
    pub cassandra: Option<Secret>,
    /// Likewise.
    pub cassandra_key: Option<Secret>,
    pub registry: Option<Secret>,
}

/// A setting as `iotpipe config` shows it.
#[derive(Clone, PartialEq, Debug)]
pub struct Listed {
    pub key: String,
    pub value: String,
    pub origin: Origin,
}

impl Config {
    /// Resolves all layers.
    pub fn resolve(inputs: &Inputs) -> Result<Config, UsageError> {
        let environment = &inputs.environment;
        let file = read_file(inputs)?;
        let mut effective = Effective::defaults();
        if environment.get("ENVIRONMENT")? == Some("production") {
            // It says that there is a file, [log] file says which: so it ranks just above the default.
            effective.set(
                "log.file",
                Given::new("iotpipe.log", Origin::Variable("ENVIRONMENT".into())),
            );
        }
        effective.cover(file.settings);
        let variables = environment::settings(environment, effective.get("store.url"))?;
        effective.cover(variables);
        effective.cover(flags(&inputs.flags));
        effective.apply_profile()?;
        load::settle(&mut effective)?;
        effective.expand_defaults();

        let secrets = environment::PASSWORDS
            .iter()
            .map(|(key, name)| Ok((*key, environment::password(environment, name)?)))
            .collect::<Result<Vec<_>, UsageError>>()?;
        let rules = rules::resolve(file.rules)?;
        let listing = listing(&effective, &rules.listing, &secrets, &file.properties);
        let mut config = Config {
            kafka: KafkaConfig::read(&effective)?,
            store: StoreConfig::read(&effective)?,
            registry: RegistryConfig::read(&effective)?,
            tls: TlsConfig::read(&effective)?,
            consume: ConsumeConfig::read(&effective)?,
            windows: WindowsConfig::read(&effective)?,
            alerts: AlertsConfig::read(&effective)?,
            analytics: AnalyticsConfig::read(&effective)?,
            rules: rules.enabled,
            produce: ProduceConfig::read(&effective)?,
            faults: FaultsConfig::read(&effective)?,
            fields: FieldsConfig::read(&effective)?,
            log: LogConfig::read(&effective)?,
            kafka_properties: Properties(
                file.properties
                    .into_iter()
                    .map(|(name, given)| (name, given.text))
                    .collect(),
            ),
            passwords: Passwords::of(secrets),
            listing,
            warnings: environment::unknown(environment),
        };
        security::review(&mut config, &effective, environment)?;
        Ok(config)
    }

    /// Sizes of the windows that are kept, seconds; none where they are switched off.
    pub fn window_sizes_s(&self) -> Vec<u32> {
        match self.windows.enabled {
            true => self.windows.sizes.0.clone(),
            false => Vec::new(),
        }
    }

    /// Whether a store was named: by a flag, a variable or the file.
    pub fn names_store(&self) -> bool {
        let is_url = |listed: &&Listed| listed.key == "store.url";
        let url = self.listing.iter().find(is_url);
        url.is_some_and(|listed| listed.origin != Origin::Default)
    }

    /// How the store's tables are made.
    pub fn schema(&self) -> SchemaSettings {
        SchemaSettings {
            replication: self.store.replication.clone(),
            // The setting's bounds keep it well inside.
            readings_ttl_s: self
                .store
                .readings_ttl
                .map(|ttl| u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX)),
            readings_compaction: self.store.readings_compaction,
        }
    }
}

impl Passwords {
    /// In the order of [`environment::PASSWORDS`].
    fn of(secrets: Vec<(&str, environment::GivenSecret)>) -> Passwords {
        let mut secrets = secrets.into_iter().map(|(_, given)| given.map(|(secret, _)| secret));
        let mut next = || secrets.next().flatten();
        Passwords {
            kafka: next(),
            kafka_key: next(),
            cassandra: next(),
            cassandra_key: next(),
            registry: next(),
        }
    }
}

impl ProduceConfig {
    /// Seconds between two records of one sensor: resolving has set it.
    pub fn interval_s(&self) -> f64 {
        self.interval.map_or(1.0, |Seconds(seconds)| seconds)
    }
}

/// Nothing given: all defaults.
impl Default for Config {
    fn default() -> Config {
        let nowhere = PathBuf::from("/nonexistent");
        Config::resolve(&Inputs {
            directory: nowhere,
            ..Inputs::default()
        })
        .expect("the defaults are sound")
    }
}

/// The file that a flag or IOTPIPE_CONFIG names must be there; the default one may be.
fn read_file(inputs: &Inputs) -> Result<file::FileLayer, UsageError> {
    let variable = inputs.environment.get("IOTPIPE_CONFIG")?;
    let (path, named_by) = match (&inputs.file, variable) {
        (Some(path), _) => (path.as_path(), Some("--config")),
        (None, Some(path)) => (Path::new(path), Some("IOTPIPE_CONFIG")),
        (None, None) => (Path::new(DEFAULT_FILE), None),
    };
    match (std::fs::read_to_string(inputs.directory.join(path)), named_by) {
        (Ok(text), _) => file::parse(&text, path),
        (Err(error), None) if error.kind() == std::io::ErrorKind::NotFound => Ok(file::FileLayer::default()),
        (Err(error), _) => {
            let by = named_by.map(|name| format!("{name}: ")).unwrap_or_default();
            Err(UsageError(format!("{by}cannot read {}: {error}", path.display())))
        }
    }
}

fn flags(given: &[FlagSetting]) -> Layer {
    let flag = |key| setting(key).and_then(Setting::flag).unwrap_or(key);
    given
        .iter()
        .map(|it| (it.key, Given::new(it.text.as_str(), Origin::Flag(flag(it.key).into()))))
        .collect()
}

fn listing(
    effective: &Effective,
    rules: &[Listed],
    secrets: &[(&str, environment::GivenSecret)],
    properties: &BTreeMap<String, Given>,
) -> Vec<Listed> {
    let settings = SETTINGS.iter().map(|setting| {
        let given = effective.get(setting.key);
        Listed {
            key: setting.key.into(),
            value: given.text.clone(),
            origin: given.origin.clone(),
        }
    });
    let secrets = secrets.iter().filter_map(|(key, secret)| {
        let (_, origin) = secret.as_ref()?;
        Some(Listed {
            key: (*key).into(),
            value: MASK.into(),
            origin: origin.clone(),
        })
    });
    let properties = properties.iter().map(|(name, given)| Listed {
        key: format!("kafka.properties.{name}"),
        value: shown(name, &given.text).into(),
        origin: given.origin.clone(),
    });
    settings
        .chain(rules.iter().cloned())
        .chain(secrets)
        .chain(properties)
        .collect()
}
