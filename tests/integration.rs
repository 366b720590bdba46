//! All integration tests, one binary: it links once, and the servers are started once.

mod avro;
mod bench;
mod cluster;
mod config;
mod containers;
mod dlq;
mod doctor;
mod ended;
mod events;
mod faults;
mod imports;
mod main_job;
mod produce;
mod python;
mod query;
mod records;
mod replay;
#[cfg(feature = "tls")]
mod security;
mod servers;
mod store_conformance;
mod systems;
mod verify;
