//! What can go wrong with a registry, and what to do.

use thiserror::Error;

/// Why a request to the registry failed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum RegistryError {
    /// No answer, or one that says that there will be one later.
    #[error("the registry at {url} does not answer: {why}")]
    Unavailable { url: String, why: String },
    /// Somebody answers who does not prove to be the registry, or our own certificates cannot be used.
    #[error("the registry at {url} is not trusted: {why}")]
    Untrusted { url: String, why: String },
    /// The registry does not let us.
    #[error(
        "the registry at {url} refuses access ({status}): set registry.username and IOTPIPE_REGISTRY_PASSWORD, or ask \
         for the right to do so"
    )]
    Denied { url: String, status: u16 },
    /// A schema that the subject's compatibility does not allow.
    #[error("the registry at {url} refuses schema {subject}: {why}")]
    Refused { url: String, subject: String, why: String },
    /// An answer that no registry gives.
    #[error("what answers at {url} is no schema registry, or registry.url lacks a path: {why}")]
    Strange { url: String, why: String },
}

impl RegistryError {
    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        matches!(self, RegistryError::Unavailable { .. })
    }
}
