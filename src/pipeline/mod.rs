//! Joins the rooms into running pipelines. Whoever may start one may come in: the commands and the tests.

pub mod consume;
mod decode;
mod loads;
mod outputs;
pub mod pacer;
pub mod produce;
pub mod replay;
mod retry;
mod schemas;
pub mod write;
pub mod writers;
