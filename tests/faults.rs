//! Faults on real servers. Each test asserts that its fault fired. Afterwards the store is compared with the topic, cell by
//! cell and with the write times, by a program in another language with other clients (`tests/oracle/`): readings, windows,
//! sensor state, alerts, the records of alerts and the dead letters. The long ones are ignored (`cargo test -- --ignored`).

mod disorder;
pub mod group;
mod kills;
mod membership;
mod odd;
pub mod oracle;
mod outages;
pub mod process;
mod redelivery;
pub mod relay;
mod stall;
mod zombie;
