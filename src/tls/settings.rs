//! What a client is told about TLS.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::model::Secret;

/// Whom to believe, and who to say one is. All files are PEM.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TlsSettings {
    /// Certificates of the authorities that are trusted; those of the system where absent.
    pub ca_file: Option<PathBuf>,
    /// For servers that want to know who asks.
    pub identity: Option<Identity>,
    /// Believe every certificate: for laboratories.
    pub insecure_skip_verify: bool,
}

/// A client certificate with its key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The certificate, followed by those of intermediate authorities.
    pub certificate_file: PathBuf,
    pub key_file: PathBuf,
    /// Of a key that is encrypted.
    pub key_password: Option<Secret>,
}

/// A file that cannot be used: which, why, and what to do.
#[derive(Clone, PartialEq, Eq, Error, Debug)]
#[error("{0}")]
pub struct TlsError(pub String);

/// Where systems keep the authorities that they trust: Debian, Red Hat, SUSE, Alpine.
const SYSTEM_CA_FILES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The file of the authorities that this system trusts; `SSL_CERT_FILE` names another, as elsewhere.
pub fn system_ca_file() -> Option<PathBuf> {
    let given = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty());
    let known = SYSTEM_CA_FILES.iter().map(Path::new).find(|path| path.exists());
    given.map(PathBuf::from).or_else(|| known.map(Path::to_owned))
}
