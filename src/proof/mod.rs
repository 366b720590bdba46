//! Proves what a run led to. It computes from a run's manifest what the store must hold, on its own: nothing of the
//! processor is in here, so that one cannot excuse the other.

mod alerts;
pub mod bench_report;
mod compare;
mod expected;
pub mod manifest;
pub mod statistics;
pub mod verify;
