//! What is asked, resolved from the arguments: no defaults, durations or names are left to interpret.

use std::ops::Range;

use crate::cli::QueryArgs;
use crate::config::UsageError;
use crate::model::{Kind, MAX_SENSOR_ID_BYTES, Order, SensorId, TimeMs};
use crate::report::Format;

/// Readings printed where neither a time nor a number was asked for.
const DEFAULT_LIMIT: u64 = 100;
pub const ALL_TIME: Range<TimeMs> = TimeMs(i64::MIN)..TimeMs(i64::MAX);

#[derive(Clone, PartialEq, Debug)]
pub struct Question {
    pub what: What,
    pub kind: Option<Kind>,
    /// Rows, or readings drawn.
    pub limit: Option<u64>,
    /// Nobody asked for the limit.
    pub is_limit_default: bool,
    pub format: Format,
}

#[derive(Clone, PartialEq, Debug)]
pub enum What {
    Readings {
        sensor: Asked,
        range: Range<TimeMs>,
        order: Order,
    },
    Plot {
        sensor: Asked,
        range: Range<TimeMs>,
        order: Order,
    },
    /// Of one sensor, or of all.
    Latest(Option<Asked>),
    Sensors,
}

/// A sensor as it was asked for.
#[derive(Clone, PartialEq, Debug)]
pub struct Asked {
    pub id: SensorId,
    /// For messages.
    pub text: String,
}

impl Asked {
    /// A sensor that is known by its id.
    pub fn of(id: SensorId) -> Asked {
        Asked {
            id,
            text: id.to_string(),
        }
    }
}

impl Question {
    /// For all kinds, as a table.
    pub fn new(what: What, limit: Option<u64>) -> Question {
        Question {
            what,
            kind: None,
            limit,
            is_limit_default: false,
            format: Format::Table,
        }
    }

    /// `now` is the moment of the question.
    pub fn of(args: &QueryArgs, now: TimeMs) -> Result<Question, UsageError> {
        let sensor = args.sensor.as_deref().map(asked).transpose()?;
        let range = range(args, now)?;
        let has_range = range != ALL_TIME;
        let order = args.order;
        let what = match sensor {
            None if args.sensors => What::Sensors,
            None if args.latest => What::Latest(None),
            None => {
                return Err(UsageError(
                    "what to query: --sensor ID, --latest or --sensors".to_owned(),
                ));
            }
            Some(sensor) if args.latest => What::Latest(Some(sensor)),
            Some(sensor) if args.plot => What::Plot { sensor, range, order },
            Some(sensor) => What::Readings { sensor, range, order },
        };
        let of_readings = matches!(what, What::Readings { .. } | What::Plot { .. });
        let is_limit_default = of_readings && !has_range && args.limit.is_none();
        Ok(Question {
            what,
            kind: args.kind.as_deref().map(Kind::new),
            limit: args.limit.or(is_limit_default.then_some(DEFAULT_LIMIT)),
            is_limit_default,
            format: args.format,
        })
    }

    pub fn wants(&self, kind: &Kind) -> bool {
        self.kind.as_ref().is_none_or(|wanted| wanted == kind)
    }
}

/// The same bounds as for an id in a record.
fn asked(text: &str) -> Result<Asked, UsageError> {
    if text.is_empty() || text.len() > MAX_SENSOR_ID_BYTES {
        return Err(UsageError(format!(
            "--sensor: an id has 1 to {MAX_SENSOR_ID_BYTES} bytes, not {}",
            text.len()
        )));
    }
    Ok(Asked {
        id: SensorId::from_text(text).0,
        text: text.to_owned(),
    })
}

/// Without an end it is open: a sensor whose clock is ahead has readings after now, and they are its last ones.
fn range(args: &QueryArgs, now: TimeMs) -> Result<Range<TimeMs>, UsageError> {
    if let Some(last) = args.last {
        let last_ms = i64::try_from(last.as_millis()).unwrap_or(i64::MAX);
        return Ok(TimeMs(now.0.saturating_sub(last_ms))..ALL_TIME.end);
    }
    let from = args.from.map_or(ALL_TIME.start, |time| time.resolve(now));
    let to = args.to.map_or(ALL_TIME.end, |time| time.resolve(now));
    if from >= to {
        return Err(UsageError(format!("--from {from} is not before --to {to}")));
    }
    Ok(from..to)
}
