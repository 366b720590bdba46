//! What a person or a program sees on standard output: tables, plots, JSON, CSV and numbers as text.
//!
//! The only room that writes there. Everything goes through [`Out`], whose writes return their error, so that a reader
//! that went away (`| head`) ends a command quietly. It knows the model's words and nothing of stores, brokers or flags.

mod alerts;
mod csv;
mod format;
mod json;
mod number;
mod out;
pub mod plot;
mod readings;
mod rows;
mod sensors;
mod sparkline;
mod summary;
mod table;
mod windows;

pub use alerts::Alerts;
pub use format::Format;
pub use json::JsonRows;
pub use number::{bytes, duration, grouped, rate, short, value};
pub use out::{Captured, Out, Tint, is_broken_pipe, printable};
pub use readings::{ReadingLine, Readings};
pub use sensors::{SensorLine, Sensors};
pub use sparkline::sparkline;
pub use summary::summary;
pub use table::{Align, Column, Table};
pub use windows::{WindowLine, WindowTotal, Windows, window_totals};
