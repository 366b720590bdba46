//! iotpipe: readings of IoT sensors from Apache Kafka into Apache Cassandra, exact under any crash.
//!
//! The rooms and who may import whom: `docs/architecture.md`; `tests/imports.rs` holds it.

pub mod cli;
pub mod codec;
pub mod command;
pub mod config;
pub mod fleet;
pub mod kafka;
pub mod model;
pub mod pipeline;
pub mod processor;
pub mod proof;
pub mod registry;
pub mod report;
pub mod store;
pub mod telemetry;
pub mod tls;
