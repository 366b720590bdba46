//! TLS: whom to believe, and who to say one is. The only room that knows OpenSSL; without the feature `tls` its settings
//! are all there is of it. Who opens connections by itself (the store's driver, the registry's client) gets its contexts
//! from here; librdkafka has OpenSSL built in and is told by properties.
//!
//! A server's certificate is always verified: that somebody trusted signed it, that it is valid now, and that it was
//! made for the server that is talked to. Why one was refused is said in words, with what to do.

mod settings;

#[cfg(feature = "tls")]
mod connector;
#[cfg(feature = "tls")]
mod context;
#[cfg(feature = "tls")]
mod refusal;

#[cfg(feature = "tls")]
pub use connector::{Connector, HandshakeError, TlsStream, why_refused};
#[cfg(feature = "tls")]
pub use context::context;
#[cfg(feature = "tls")]
pub use refusal::Refusal;
pub use settings::{Identity, TlsError, TlsSettings, system_ca_file};

/// Whether this build speaks TLS.
pub const IS_BUILT_IN: bool = cfg!(feature = "tls");
