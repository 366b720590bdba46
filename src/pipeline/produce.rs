//! From the fleet to the topic: paced by deadlines, nothing dropped, every delivery report accounted for.
//!
//! [`produce`] blocks: give it a thread of its own. Others watch it through [`ProduceProgress`] and end it through the
//! stop flag; it then sends what the fleet holds back and waits for the outstanding acknowledgements, with a bound.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::fleet::{Emission, FAULT_HEADER, Fleet, FleetCounts, Step};
use crate::kafka::KafkaError;
use crate::kafka::producer::{DELIVERY_TIMEOUT, Deliveries, ReadingProducer, Settled};

use super::pacer::Pacer;
use crate::model::TimeMs;

/// Slots between two looks at clock, stop flag and delivery reports: at a million records a second half a millisecond.
const BATCH_SLOTS: u64 = 512;

/// Longest sleep: how late a stop is noticed, and by how much an acknowledgement's latency may be overstated when
/// nothing else happens.
pub(super) const IDLE_SLEEP: Duration = Duration::from_millis(20);
pub(super) const IN_FLIGHT_SLEEP: Duration = Duration::from_millis(1);

/// How often the latencies that others watch are brought up to date.
const LATENCIES_EVERY: Duration = Duration::from_millis(500);

/// A paced run of a given duration may take so much longer to catch up after a stall before it is cut off.
const OVERTIME: Duration = Duration::from_secs(5);

/// Where records go.
pub trait RecordSink {
    /// What no further try mends: it ends the run.
    type Error;
    /// Takes a record; `false` where it has no room now.
    fn try_send(&mut self, emission: &Emission) -> Result<bool, Self::Error>;
    /// Takes note of what has become of the records, without waiting. Called often.
    fn serve(&mut self) -> Result<Settled, Self::Error>;
    /// The whole account. Called about once a second.
    fn deliveries(&self) -> Deliveries;
}

impl RecordSink for ReadingProducer {
    type Error = KafkaError;

    #[inline]
    fn try_send(&mut self, emission: &Emission) -> Result<bool, KafkaError> {
        let header = emission.fault.map(|fault| (FAULT_HEADER, fault.as_str()));
        ReadingProducer::try_send(self, &emission.key, &emission.payload, header)
    }

    fn serve(&mut self) -> Result<Settled, KafkaError> {
        Ok(ReadingProducer::serve(self))
    }

    fn deliveries(&self) -> Deliveries {
        ReadingProducer::deliveries(self)
    }
}

/// The same, with latencies that count from when a record was due: event times are those of the wall clock.
pub struct FromDueTime<'a> {
    pub producer: &'a mut ReadingProducer,
    /// Records that were due before have no latency taken.
    pub measured_from: TimeMs,
}

impl RecordSink for FromDueTime<'_> {
    type Error = KafkaError;

    fn try_send(&mut self, emission: &Emission) -> Result<bool, KafkaError> {
        let due = (emission.event_time >= self.measured_from).then_some(emission.event_time);
        self.producer.try_send_due(&emission.key, &emission.payload, due)
    }

    fn serve(&mut self) -> Result<Settled, KafkaError> {
        Ok(self.producer.serve())
    }

    fn deliveries(&self) -> Deliveries {
        self.producer.deliveries()
    }
}

/// A run of a fleet.
pub struct ProduceRun {
    pub fleet: Fleet,
    /// Absent: as fast as the sink takes it.
    pub slots_per_s: Option<f64>,
    /// By the wall clock. The fleet's own bounds hold besides.
    pub duration: Option<Duration>,
    /// How long the end waits for acknowledgements; [`FLUSH_TIMEOUT`] leaves no record undecided.
    pub flush_timeout: Duration,
}

/// By then librdkafka has given up on every record.
pub const FLUSH_TIMEOUT: Duration = DELIVERY_TIMEOUT.saturating_add(Duration::from_secs(5));

/// How far a run is, for whoever watches. Each number is right by itself; together they may be one step apart.
#[derive(Default, Debug)]
pub struct ProduceProgress {
    /// Records handed over, duplicates included.
    pub sent: AtomicU64,
    pub acknowledged: AtomicU64,
    pub failed: AtomicU64,
    /// Slots that are due and not begun; 0 without pacing.
    pub behind_slots: AtomicU64,
    pub ack_p50_us: AtomicU64,
    pub ack_p99_us: AtomicU64,
}

impl ProduceProgress {
    /// Records that nothing is known of yet.
    pub fn in_flight(&self) -> u64 {
        let known = self.acknowledged.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed);
        self.sent.load(Ordering::Relaxed).saturating_sub(known)
    }
}

/// A finished run.
#[derive(Clone, PartialEq, Debug)]
pub struct ProduceSummary {
    /// Records handed over, duplicates included.
    pub sent: u64,
    pub acknowledged: u64,
    /// Records that are not known to be stored: failed, without a report at the end, or never taken.
    pub failed: u64,
    /// Why the first record that failed did.
    pub first_error: Option<String>,
    /// Slots of the fleet that the run passed: with the fleet's settings all that is needed to compute it again.
    pub slots: u64,
    pub fleet: FleetCounts,
    /// From the first record to the last acknowledgement.
    pub elapsed: Duration,
    /// Records acknowledged per second of that.
    pub records_per_s: f64,
    /// What became of the records, latencies and offsets included.
    pub deliveries: Deliveries,
}

/// Runs the fleet to its end. `allowance` says how many records may be sent now, over and above the pace: a cap on
/// the lag of whoever reads them (`|| u64::MAX` for none).
///
/// An error means that the sink is broken for good; records may be undecided then.
pub fn produce<S: RecordSink>(
    run: ProduceRun,
    sink: &mut S,
    stop: &AtomicBool,
    progress: &ProduceProgress,
    allowance: impl Fn() -> u64,
) -> Result<ProduceSummary, S::Error> {
    let began = Instant::now();
    let mut sender = Sender::new(sink, stop, progress, run.flush_timeout);
    let mut fleet = run.fleet;
    let mut pacer = run.slots_per_s.map(Pacer::new);
    let deadline = run.duration.map(|duration| match pacer {
        Some(_) => duration.saturating_add(OVERTIME),
        None => duration,
    });
    let mut emission = Emission::default();
    let mut ended = false;
    while !ended {
        let now = began.elapsed();
        if sender.is_stopped() || deadline.is_some_and(|deadline| now >= deadline) {
            fleet.stop();
        }
        let paced = pacer.as_mut().map_or(u64::MAX, |pacer| {
            let room = pacer.room(now, sender.in_flight());
            pacer.allowed(now).min(room)
        });
        let slots = paced.min(allowance()).min(BATCH_SLOTS);
        // What a stopped fleet still holds back is sent at once.
        let is_stopping = sender.stopped.is_some();
        if slots == 0 && !is_stopping {
            sender.serve()?;
            let wait = pacer
                .as_ref()
                .map_or(Duration::ZERO, |pacer| pacer.wait(began.elapsed()));
            let longest = if sender.in_flight() > 0 {
                IN_FLIGHT_SLEEP
            } else {
                IDLE_SLEEP
            };
            std::thread::sleep(wait.clamp(IN_FLIGHT_SLEEP, longest));
            continue;
        }
        let first = fleet.slots();
        ended = sender.send(&mut fleet, slots, &mut emission)?;
        if let Some(pacer) = &mut pacer {
            pacer.begin(fleet.slots() - first);
            progress.behind_slots.store(pacer.behind(now), Ordering::Relaxed);
        }
        sender.serve()?;
    }
    sender.finish(fleet.slots(), fleet.counts())
}

/// One run's hand on the sink.
pub(super) struct Sender<'a, S> {
    sink: &'a mut S,
    stop: &'a AtomicBool,
    progress: &'a ProduceProgress,
    flush_timeout: Duration,
    began: Instant,
    /// When the stop flag was first seen.
    stopped: Option<Instant>,
    latencies_at: Instant,
    settled: Settled,
    sent: u64,
    /// Records that the sink had no room for until the end.
    untaken: u64,
}

impl<'a, S: RecordSink> Sender<'a, S> {
    pub(super) fn new(
        sink: &'a mut S,
        stop: &'a AtomicBool,
        progress: &'a ProduceProgress,
        flush_timeout: Duration,
    ) -> Self {
        let began = Instant::now();
        Sender {
            sink,
            stop,
            progress,
            flush_timeout,
            began,
            stopped: None,
            latencies_at: began,
            settled: Settled::default(),
            sent: 0,
            untaken: 0,
        }
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.sent - self.settled.total()
    }

    pub(super) fn is_stopped(&mut self) -> bool {
        if self.stopped.is_none() && self.stop.load(Ordering::Relaxed) {
            self.stopped = Some(Instant::now());
        }
        self.stopped.is_some()
    }

    /// Sends up to `slots` records or slots without one; `true` at the fleet's end.
    fn send(&mut self, fleet: &mut Fleet, slots: u64, emission: &mut Emission) -> Result<bool, S::Error> {
        for _ in 0..slots.max(1) {
            match fleet.step(emission) {
                Step::End => return Ok(true),
                Step::Nothing => {}
                Step::Record => self.send_one(emission)?,
            }
        }
        Ok(false)
    }

    #[inline]
    pub(super) fn send_one(&mut self, emission: &Emission) -> Result<(), S::Error> {
        if self.sink.try_send(emission)? {
            self.sent += 1;
            return Ok(());
        }
        self.insist(emission)
    }

    /// The sink is full: waits until it has room. After a stop no longer than for the acknowledgements themselves.
    #[cold]
    fn insist(&mut self, emission: &Emission) -> Result<(), S::Error> {
        loop {
            self.serve()?;
            if self.sink.try_send(emission)? {
                self.sent += 1;
                return Ok(());
            }
            if self.is_stopped() && self.stopped.is_some_and(|at| at.elapsed() >= self.flush_timeout) {
                self.untaken += 1;
                return Ok(());
            }
            std::thread::sleep(IN_FLIGHT_SLEEP);
        }
    }

    pub(super) fn serve(&mut self) -> Result<(), S::Error> {
        self.settled = self.sink.serve()?;
        self.progress.sent.store(self.sent, Ordering::Relaxed);
        self.progress
            .acknowledged
            .store(self.settled.acknowledged, Ordering::Relaxed);
        self.progress.failed.store(self.settled.failed, Ordering::Relaxed);
        if self.latencies_at.elapsed() >= LATENCIES_EVERY {
            self.latencies_at = Instant::now();
            let deliveries = self.sink.deliveries();
            self.progress.ack_p50_us.store(deliveries.ack_p50_us, Ordering::Relaxed);
            self.progress.ack_p99_us.store(deliveries.ack_p99_us, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Waits for the outstanding reports. `slots` were passed.
    pub(super) fn finish(mut self, slots: u64, fleet: FleetCounts) -> Result<ProduceSummary, S::Error> {
        let deadline = Instant::now() + self.flush_timeout;
        self.serve()?;
        while self.in_flight() > 0 && Instant::now() < deadline {
            std::thread::sleep(IN_FLIGHT_SLEEP);
            self.serve()?;
        }
        let elapsed = self.began.elapsed();
        let deliveries = self.sink.deliveries();
        Ok(ProduceSummary {
            sent: self.sent,
            acknowledged: deliveries.acknowledged,
            failed: (self.sent + self.untaken).saturating_sub(deliveries.acknowledged),
            first_error: deliveries.first_error.clone(),
            slots,
            fleet,
            elapsed,
            records_per_s: deliveries.acknowledged as f64 / elapsed.as_secs_f64().max(1e-9),
            deliveries,
        })
    }
}
