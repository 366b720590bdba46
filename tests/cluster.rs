//! Profile `cluster`: readings at ONE, all else at QUORUM, on three nodes of each server. The tests that start these are
//! ignored (`cargo test -- --ignored`).

mod killed;
mod levels;
