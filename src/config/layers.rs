//! Layers of settings, one over the other, and where each value came from.

use std::collections::BTreeMap;
use std::fmt;

use super::choices::Profile;
use super::error::UsageError;
use super::settings::SETTINGS;
use super::value::Value;

/// Where a value came from, in the order of the layers: a later one wins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    Default,
    /// A default too, of the profile that was chosen.
    Profile(Profile),
    File {
        path: String,
        line: usize,
    },
    Variable(String),
    Flag(String),
}

impl Origin {
    /// The layer, without the place in it.
    pub(super) fn layer(&self) -> u8 {
        match self {
            Origin::Default | Origin::Profile(_) => 0,
            Origin::File { .. } => 1,
            Origin::Variable(_) => 2,
            Origin::Flag(_) => 3,
        }
    }

    /// How an error about the setting begins.
    pub(super) fn subject(&self, key: &str) -> String {
        match self {
            Origin::Default | Origin::Profile(_) => format!("default of {key}"),
            Origin::File { path, line } => format!("{path}:{line}: {key}"),
            Origin::Variable(name) | Origin::Flag(name) => name.clone(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::Profile(profile) => write!(f, "profile {profile}"),
            Origin::File { path, line } => write!(f, "file {path}:{line}"),
            Origin::Variable(name) => write!(f, "env {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A setting's text and its origin.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Given {
    pub text: String,
    pub origin: Origin,
}

impl Given {
    pub fn new(text: impl Into<String>, origin: Origin) -> Given {
        Given {
            text: text.into(),
            origin,
        }
    }
}

/// The settings that one layer gives, by key.
pub(super) type Layer = BTreeMap<&'static str, Given>;

/// What is in effect: every setting has a text.
#[derive(Debug)]
pub(super) struct Effective(Layer);

impl Effective {
    pub fn defaults() -> Effective {
        Effective(
            SETTINGS
                .iter()
                .map(|s| (s.key, Given::new(s.default, Origin::Default)))
                .collect(),
        )
    }

    /// Lays a layer over what is in effect.
    pub fn cover(&mut self, layer: Layer) {
        self.0.extend(layer);
    }

    pub fn set(&mut self, key: &'static str, given: Given) {
        self.0.insert(key, given);
    }

    pub fn get(&self, key: &str) -> &Given {
        // Keys come from the table that filled the map.
        self.0.get(key).unwrap_or_else(|| panic!("{key} is no setting"))
    }

    /// Lays the profile's defaults over all others: under everything that anybody has set.
    pub fn apply_profile(&mut self) -> Result<(), UsageError> {
        let profile: Profile = self.value("profile")?;
        for setting in SETTINGS {
            if let Some(text) = setting.default_of(profile)
                && self.get(setting.key).origin == Origin::Default
            {
                self.set(setting.key, Given::new(text, Origin::Profile(profile)));
            }
        }
        Ok(())
    }

    /// Puts the effective values of other settings into defaults that name them.
    pub fn expand_defaults(&mut self) {
        for setting in SETTINGS {
            let given = self.get(setting.key);
            if given.origin == Origin::Default
                && let Some((head, rest)) = given.text.split_once('{')
                && let Some((other, tail)) = rest.split_once('}')
            {
                let text = format!("{head}{}{tail}", self.get(other).text);
                self.set(setting.key, Given::new(text, Origin::Default));
            }
        }
    }

    pub fn value<T: Value>(&self, key: &str) -> Result<T, UsageError> {
        T::parse(&self.get(key).text).map_err(|error| self.wrong(key, &error))
    }

    pub fn check<T>(&self, key: &str, value: &T, check: impl Fn(&T) -> Result<(), String>) -> Result<(), UsageError> {
        check(value).map_err(|error| self.wrong(key, &error))
    }

    /// An error about a setting's value, beginning with where it stands.
    pub fn wrong(&self, key: &str, error: &str) -> UsageError {
        UsageError(format!("{}: {error}", self.get(key).origin.subject(key)))
    }
}
