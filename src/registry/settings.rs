//! What the registry's client is told: resolved settings.

use std::time::Duration;

use super::RegistryUrl;
use crate::model::Secret;
use crate::tls::TlsSettings;

/// How to reach and use a registry.
#[derive(Clone, Debug)]
pub struct RegistrySettings {
    pub url: RegistryUrl,
    /// For basic authentication.
    pub username: Option<String>,
    pub password: Option<Secret>,
    /// Where its address says https.
    pub tls: TlsSettings,
    /// For one request, from the first byte sent to the last received.
    pub request_timeout: Duration,
    /// How long an id that the registry does not know is asked for again.
    pub unknown_schema_wait: Duration,
}
