//! From recorded data to the topic: the pauses between the records as they were recorded, or shorter or longer ones.

use std::io::Read;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::produce::{IDLE_SLEEP, IN_FLIGHT_SLEEP, ProduceProgress, ProduceSummary, RecordSink, Sender};
use crate::fleet::{Emission, FleetCounts, Replay, ReplayError};
use crate::model::TimeMs;

/// Records between two looks at the delivery reports where nothing is waited for.
const SERVE_EVERY: u64 = 512;

/// A run of recorded data.
pub struct ReplayRun<R> {
    pub replay: Replay<R>,
    /// Event time of the beginning.
    pub from: TimeMs,
    /// Seconds of event time in a second; 0 is as fast as the sink takes it.
    pub speed: f64,
    /// Stop after so many records.
    pub count: Option<u64>,
    /// Stop after so long by the wall clock.
    pub duration: Option<Duration>,
    /// As of [`super::produce::ProduceRun`].
    pub flush_timeout: Duration,
}

/// What was sent, and why it ended before its end where the file did not go on as it began.
pub struct ReplayOutcome {
    pub summary: ProduceSummary,
    pub broken: Option<ReplayError>,
}

/// Sends the records in their order. One whose time lies before that of the record before it is due at once. What was sent
/// before something breaks is waited for all the same.
pub fn replay<R: Read, S: RecordSink>(
    run: ReplayRun<R>,
    sink: &mut S,
    stop: &AtomicBool,
    progress: &ProduceProgress,
) -> Result<ReplayOutcome, S::Error> {
    let began = Instant::now();
    let mut sender = Sender::new(sink, stop, progress, run.flush_timeout);
    let (mut replay, mut emission, mut broken, mut sent) = (run.replay, Emission::default(), None, 0);
    let is_over = |sent: u64| {
        let in_time = run.duration.is_none_or(|duration| began.elapsed() < duration);
        run.count.is_some_and(|count| sent >= count) || !in_time
    };
    'records: while !is_over(sent) && !sender.is_stopped() {
        match replay.next(&mut emission) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
        let due = due(run.from, emission.event_time, run.speed);
        while let Some(wait) = due.checked_sub(began.elapsed()).filter(|wait| !wait.is_zero()) {
            sender.serve()?;
            if is_over(sent) || sender.is_stopped() {
                break 'records;
            }
            let longest = if sender.in_flight() > 0 {
                IN_FLIGHT_SLEEP
            } else {
                IDLE_SLEEP
            };
            std::thread::sleep(wait.min(longest));
        }
        sender.send_one(&emission)?;
        sent += 1;
        if sent % SERVE_EVERY == 0 {
            sender.serve()?;
        }
    }
    let summary = sender.finish(sent, FleetCounts::default())?;
    Ok(ReplayOutcome { summary, broken })
}

/// When a record is due, counted from the beginning.
fn due(from: TimeMs, time: TimeMs, speed: f64) -> Duration {
    if speed <= 0.0 {
        return Duration::ZERO;
    }
    let event_ms = time.0.saturating_sub(from.0).max(0) as f64;
    Duration::try_from_secs_f64(event_ms / 1000.0 / speed).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_due_as_it_was_recorded() {
        let due = |ms: i64, speed: f64| due(TimeMs(1000), TimeMs(ms), speed);
        assert_eq!(due(1000, 1.0), Duration::ZERO);
        assert_eq!(due(3500, 1.0), Duration::from_millis(2500));
        assert_eq!(due(3500, 10.0), Duration::from_millis(250));
        assert_eq!(due(3500, 0.5), Duration::from_secs(5));
        assert_eq!(due(3500, 0.0), Duration::ZERO);
        assert_eq!(due(0, 1.0), Duration::ZERO, "earlier than the first");
    }
}
