//! The schema registry: the only room that knows HTTP. It speaks Confluent's interface, as its own server, Apicurio, Karapace
//! and others do. Calls block: they are made by commands, and by a thread of `consume` that has nothing else to do.
//!
//! An error says whether asking again may help ([`RegistryError::is_transient`]); nobody here asks again by itself.

mod client;
mod error;
mod settings;
#[cfg(feature = "tls")]
mod transport;
mod url;

pub use client::{Compatibility, Registered, Registry};
pub use error::RegistryError;
pub use settings::RegistrySettings;
pub use url::{RegistryUrl, RegistryUrlError};
