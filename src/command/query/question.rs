//! What is asked, resolved from the arguments: no defaults, durations or names are left to interpret.

use std::ops::Range;
use std::time::Duration;

use crate::cli::QueryArgs;
use crate::config::UsageError;
use crate::model::{Kind, MAX_SENSOR_ID_BYTES, MILLIS_PER_DAY, Order, SensorId, TimeMs, WindowSize};
use crate::report::{Format, Out};

/// Rows printed where neither a time nor a number was asked for.
const DEFAULT_LIMIT: u64 = 100;
pub const ALL_TIME: Range<TimeMs> = TimeMs(i64::MIN)..TimeMs(i64::MAX);

#[derive(Clone, PartialEq, Debug)]
pub struct Question {
    pub what: What,
    pub kind: Option<Kind>,
    /// Rows, or readings or windows drawn.
    pub limit: Option<u64>,
    /// Nobody asked for the limit.
    pub is_limit_default: bool,
    pub format: Format,
    /// The moment of the question.
    pub now: TimeMs,
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
    Windows(WindowsAsked),
    /// Of one sensor, or of all.
    Latest(Option<Asked>),
    Alerts(AlertsAsked),
    Sensors(SensorsAsked),
}

/// Windows of one sensor.
#[derive(Clone, PartialEq, Debug)]
pub struct WindowsAsked {
    pub sensor: Asked,
    /// Of event times; the sensor's newest day where absent.
    pub range: Option<Range<TimeMs>>,
    /// Seconds.
    pub size_s: u32,
    /// Size of the stored windows that they are put together from, seconds; it divides `size_s`.
    pub stored_s: u32,
    pub order: Order,
    pub is_plot: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub struct AlertsAsked {
    /// All sensors where absent.
    pub sensor: Option<Asked>,
    /// Of the times they were raised at.
    pub range: Option<Range<TimeMs>>,
    pub only_active: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub struct SensorsAsked {
    /// A sensor that lies further behind the fleet is silent.
    pub silent_after: Duration,
    pub only_silent: bool,
    pub only_alerting: bool,
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
    /// Whether no more than these `count` rows are wanted.
    pub fn is_full(&self, count: u64) -> bool {
        self.limit.is_some_and(|limit| count >= limit)
    }

    /// Notes that there may be more than these rows, where nobody asked for so few.
    pub fn note_default_limit(&self, out: &mut Out, count: u64, rows: &str) {
        if count > 0 && self.is_limit_default && self.is_full(count) {
            out.note(&format!(
                "stopped after {count} {rows}; --limit, --last or --from asks for more"
            ));
        }
    }

    /// For all kinds, as a table.
    pub fn new(what: What, limit: Option<u64>, now: TimeMs) -> Question {
        Question {
            what,
            kind: None,
            limit,
            is_limit_default: false,
            format: Format::Table,
            now,
        }
    }

    /// `stored_sizes_s` are the sizes of the windows that the store holds, `now` is the moment of the question.
    pub fn of(args: &QueryArgs, stored_sizes_s: &[u32], now: TimeMs) -> Result<Question, UsageError> {
        let has_range = args.last.is_some() || args.from.is_some() || args.to.is_some();
        let what = what(args, stored_sizes_s, has_range, now)?;
        let is_long = match &what {
            What::Readings { .. } | What::Plot { .. } => true,
            What::Windows(asked) => !asked.is_plot,
            What::Alerts(asked) => !asked.only_active,
            What::Latest(_) | What::Sensors(_) => false,
        };
        let is_limit_default = is_long && !has_range && args.limit.is_none();
        Ok(Question {
            what,
            kind: args.kind.as_deref().map(Kind::new),
            limit: args.limit.or(is_limit_default.then_some(DEFAULT_LIMIT)),
            is_limit_default,
            format: args.format,
            now,
        })
    }

    pub fn wants(&self, kind: &Kind) -> bool {
        self.kind.as_ref().is_none_or(|wanted| wanted == kind)
    }
}

fn what(args: &QueryArgs, stored_sizes_s: &[u32], has_range: bool, now: TimeMs) -> Result<What, UsageError> {
    let sensor = args.sensor.as_deref().map(asked).transpose()?;
    let range = range(args, now)?;
    let order = args.order;
    if args.alerts {
        return Ok(What::Alerts(AlertsAsked {
            sensor,
            range: has_range.then(|| within_reason(range, now)),
            only_active: args.active,
        }));
    }
    Ok(match sensor {
        None if args.sensors => What::Sensors(SensorsAsked {
            silent_after: args.silent_after,
            only_silent: args.silent,
            only_alerting: args.alerting,
        }),
        None if args.latest => What::Latest(None),
        None => {
            return Err(UsageError(
                "what to query: --sensor ID, --latest, --alerts or --sensors".to_owned(),
            ));
        }
        Some(sensor) if args.latest => What::Latest(Some(sensor)),
        Some(sensor) => match args.window {
            Some(size_s) => What::Windows(WindowsAsked {
                sensor,
                range: has_range.then_some(range),
                size_s,
                stored_s: stored_size(size_s, stored_sizes_s)?,
                order,
                is_plot: args.plot,
            }),
            None if args.plot => What::Plot { sensor, range, order },
            None => What::Readings { sensor, range, order },
        },
    })
}

/// The largest stored size that divides the one asked for: the fewest rows.
pub fn stored_size(size_s: u32, stored_sizes_s: &[u32]) -> Result<u32, UsageError> {
    let divides = stored_sizes_s
        .iter()
        .filter(|stored_s| size_s.is_multiple_of(**stored_s));
    divides.max().copied().ok_or_else(|| {
        let sizes: Vec<String> = stored_sizes_s
            .iter()
            .map(|size_s| WindowSize(*size_s).to_string())
            .collect();
        UsageError(format!(
            "--window {}: windows of {} are stored (windows.sizes), and none of these sizes divides it",
            WindowSize(size_s),
            sizes.join(" and ")
        ))
    })
}

/// No event time that was accepted lies before the year 2000, or a day ahead of the clock: for a fleet of which the days are
/// not known, every day in between costs requests.
fn within_reason(range: Range<TimeMs>, now: TimeMs) -> Range<TimeMs> {
    range.start.max(TimeMs::OLDEST)..range.end.min(TimeMs(now.0.saturating_add(MILLIS_PER_DAY)))
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
