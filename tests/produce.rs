//! The producing path against librdkafka's in-process cluster: what was sent is there, once, and counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use iotpipe::fleet::{
    DEFAULT_KINDS, Emission, FAULT_HEADER, FaultSettings, Fleet, FleetSettings, Format, Schedule, Timing,
};
use iotpipe::kafka::KafkaSettings;
use iotpipe::kafka::producer::{Deliveries, ReadingProducer, Settled};
use iotpipe::model::TimeMs;
use iotpipe::pipeline::produce::{ProduceProgress, ProduceRun, RecordSink, produce};
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Headers;
use rdkafka::mocking::MockCluster;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};

const TOPIC: &str = "readings";
const PARTITIONS: i32 = 4;
const DEADLINE: Duration = Duration::from_secs(30);

fn fleet(count: Option<u64>) -> FleetSettings {
    FleetSettings {
        seed: 7,
        schedule: Schedule::new(100, Duration::from_secs(1), TimeMs(1_762_344_000_000)).unwrap(),
        kinds: DEFAULT_KINDS.map(str::to_owned).to_vec(),
        format: Format::Narrow,
        faults: FaultSettings {
            anomaly: 0.01,
            late: 0.01,
            late_max: Duration::from_secs(10),
            duplicate: 0.02,
            malformed: 0.01,
            silence: 0.001,
        },
        count,
        slots: None,
    }
}

fn run(fleet: FleetSettings) -> ProduceRun {
    ProduceRun {
        fleet: Fleet::new(fleet).unwrap(),
        slots_per_s: None,
        duration: None,
        flush_timeout: DEADLINE,
    }
}

/// All that a fleet emits: key, payload and fault.
fn emissions(settings: FleetSettings) -> Vec<Sent> {
    let mut fleet = Fleet::new(settings).unwrap();
    let mut emission = Emission::default();
    let mut all = Vec::new();
    while fleet.next_record(&mut emission) {
        all.push(Sent::of(&emission));
    }
    all
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Sent {
    key: Vec<u8>,
    payload: Vec<u8>,
    fault: Option<String>,
}

impl Sent {
    fn of(emission: &Emission) -> Sent {
        let fault = emission.fault.map(|fault| fault.as_str().to_owned());
        Sent {
            key: emission.key.clone(),
            payload: emission.payload.clone(),
            fault,
        }
    }
}

struct Cluster {
    mock: MockCluster<'static, rdkafka::producer::DefaultProducerContext>,
}

impl Cluster {
    fn new() -> Cluster {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic(TOPIC, PARTITIONS, 1).unwrap();
        Cluster { mock }
    }

    fn producer(&self) -> ReadingProducer {
        let kafka = KafkaSettings {
            brokers: self.mock.bootstrap_servers(),
            properties: Default::default(),
        };
        let producer = ReadingProducer::new(&kafka, TOPIC, None).unwrap();
        assert_eq!(producer.check_topic().unwrap(), PARTITIONS as usize);
        producer
    }

    /// Reads until `count` records are there, or the deadline: partition by partition in offset order.
    fn read(&self, count: usize) -> Vec<Vec<Sent>> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.mock.bootstrap_servers())
            .set("group.id", "reader")
            .set("fetch.wait.max.ms", "10")
            .create()
            .unwrap();
        let mut assignment = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            assignment
                .add_partition_offset(TOPIC, partition, Offset::Beginning)
                .unwrap();
        }
        consumer.assign(&assignment).unwrap();
        let mut partitions = vec![Vec::new(); PARTITIONS as usize];
        let deadline = Instant::now() + DEADLINE;
        let mut read = 0;
        // One more poll at the end shows whether there is more than there should be.
        while Instant::now() < deadline {
            let Some(message) = consumer.poll(Duration::from_millis(if read < count { 1000 } else { 200 })) else {
                if read < count { continue } else { break }
            };
            let message = message.unwrap();
            let header = message.headers().map(|headers| headers.get(0));
            let fault = header.map(|header| {
                assert_eq!(header.key, FAULT_HEADER);
                String::from_utf8(header.value.unwrap().to_vec()).unwrap()
            });
            let (key, payload) = (
                message.key().unwrap().to_vec(),
                message.payload().unwrap_or_default().to_vec(),
            );
            partitions[message.partition() as usize].push(Sent { key, payload, fault });
            read += 1;
        }
        partitions
    }
}

#[test]
fn every_record_arrives_once_and_in_its_sensors_order() {
    let cluster = Cluster::new();
    let progress = ProduceProgress::default();
    let summary = produce(
        run(fleet(Some(30_000))),
        &mut cluster.producer(),
        &AtomicBool::new(false),
        &progress,
        || u64::MAX,
    )
    .unwrap();

    let expected = emissions(fleet(Some(30_000)));
    assert_eq!(
        (summary.sent, summary.acknowledged, summary.failed),
        (expected.len() as u64, expected.len() as u64, 0)
    );
    assert_eq!(summary.sent, 30_000 + summary.fleet.duplicates);
    assert!(summary.fleet.malformed > 0 && summary.fleet.late > 0 && summary.fleet.anomalies() > 0);
    assert_eq!(progress.acknowledged.load(Ordering::Relaxed), summary.acknowledged);
    assert!(summary.deliveries.ack_p50_us > 0 && summary.deliveries.ack_max_us >= summary.deliveries.ack_p99_us);

    let partitions = cluster.read(expected.len());
    // The offsets that were acknowledged are all there are.
    for offsets in &summary.deliveries.offsets {
        let records = partitions[offsets.partition as usize].len() as i64;
        assert_eq!(
            (offsets.first, offsets.last),
            (0, records - 1),
            "partition {}",
            offsets.partition
        );
    }
    let by_sensor = |records: &mut dyn Iterator<Item = Sent>| {
        let mut sensors: HashMap<Vec<u8>, Vec<Sent>> = HashMap::new();
        records.for_each(|record| sensors.entry(record.key.clone()).or_default().push(record));
        sensors
    };
    let arrived = by_sensor(&mut partitions.into_iter().flatten());
    assert_eq!(arrived, by_sensor(&mut expected.into_iter()));
}

#[test]
fn a_missing_topic_and_a_broker_that_is_down_are_said_in_one_line() {
    let cluster = Cluster::new();
    let kafka = |brokers: String| KafkaSettings {
        brokers,
        properties: Default::default(),
    };
    let missing = ReadingProducer::new(&kafka(cluster.mock.bootstrap_servers()), "elsewhere", None).unwrap();
    let error = missing.check_topic().unwrap_err().to_string();
    assert!(error.contains("elsewhere") && error.contains("init-schema"), "{error}");
    // And asking did not make it.
    assert!(missing.check_topic().is_err());

    let began = Instant::now();
    let down = ReadingProducer::new(&kafka("127.0.0.1:1".into()), TOPIC, None).unwrap();
    let error = down.check_topic().unwrap_err().to_string();
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
    assert!(
        error.contains("127.0.0.1:1") && error.contains("Connection refused") && !error.contains('\n'),
        "{error}"
    );
}

#[test]
fn records_that_the_broker_refuses_are_counted_with_the_reason() {
    let cluster = Cluster::new();
    let mut producer = cluster.producer();
    let refusal = RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    cluster.mock.request_errors(RDKafkaApiKey::Produce, &[refusal]);
    let settings = FleetSettings {
        faults: FaultSettings::NONE,
        ..fleet(Some(500))
    };
    let summary = produce(
        run(settings),
        &mut producer,
        &AtomicBool::new(false),
        &ProduceProgress::default(),
        || u64::MAX,
    )
    .unwrap();
    assert_eq!(summary.acknowledged + summary.failed, 500);
    assert!(summary.failed > 0);
    let reason = summary.first_error.unwrap();
    assert!(reason.contains("authorization"), "{reason}");
}

#[test]
fn a_stopped_run_sends_what_the_fleet_holds_back_and_can_be_computed_again() {
    let cluster = Cluster::new();
    let stop = AtomicBool::new(false);
    let progress = ProduceProgress::default();
    let endless = FleetSettings {
        faults: FaultSettings {
            late: 0.3,
            ..fleet(None).faults
        },
        ..fleet(None)
    };
    // Stops itself once some records are on their way; the lag cap keeps the mock from dropping its oldest.
    let allowance = || {
        let sent = progress.sent.load(Ordering::Relaxed);
        stop.store(sent > 5_000, Ordering::Relaxed);
        20_000u64.saturating_sub(sent)
    };
    let summary = produce(
        run(endless.clone()),
        &mut cluster.producer(),
        &stop,
        &progress,
        allowance,
    )
    .unwrap();

    assert_eq!(summary.failed, 0);
    assert_eq!(summary.acknowledged, summary.fleet.scheduled + summary.fleet.duplicates);
    let again = emissions(FleetSettings {
        slots: Some(summary.slots),
        ..endless
    });
    assert_eq!(cluster.read(again.len()).concat().len(), again.len());
    assert_eq!(summary.sent as usize, again.len());
}

/// A sink that takes records only now and then, and never acknowledges the last.
#[derive(Default)]
struct Reluctant {
    room: u64,
    taken: Vec<Sent>,
    serves: u64,
    withheld: u64,
}

impl RecordSink for Reluctant {
    type Error = std::convert::Infallible;

    fn try_send(&mut self, emission: &Emission) -> Result<bool, Self::Error> {
        let has_room = self.room > 0;
        if has_room {
            self.room -= 1;
            self.taken.push(Sent::of(emission));
        }
        Ok(has_room)
    }

    fn serve(&mut self) -> Result<Settled, Self::Error> {
        self.serves += 1;
        if self.serves.is_multiple_of(3) {
            self.room = 100;
        }
        let acknowledged = self.deliveries().acknowledged;
        Ok(Settled {
            acknowledged,
            failed: 0,
        })
    }

    fn deliveries(&self) -> Deliveries {
        let acknowledged = (self.taken.len() as u64).saturating_sub(self.withheld);
        Deliveries {
            acknowledged,
            ..Deliveries::default()
        }
    }
}

#[test]
fn a_full_queue_delays_records_and_drops_none() {
    let mut sink = Reluctant::default();
    let summary = produce(
        run(fleet(Some(2_000))),
        &mut sink,
        &AtomicBool::new(false),
        &ProduceProgress::default(),
        || u64::MAX,
    )
    .unwrap();
    assert_eq!(sink.taken, emissions(fleet(Some(2_000))));
    assert_eq!(summary.failed, 0);
}

#[test]
fn a_record_without_an_acknowledgement_is_a_failure() {
    let mut sink = Reluctant {
        withheld: 1,
        ..Reluctant::default()
    };
    let run = ProduceRun {
        flush_timeout: Duration::from_millis(50),
        ..run(fleet(Some(500)))
    };
    let summary = produce(
        run,
        &mut sink,
        &AtomicBool::new(false),
        &ProduceProgress::default(),
        || u64::MAX,
    )
    .unwrap();
    assert_eq!((summary.failed, summary.acknowledged), (1, summary.sent - 1));
}

#[test]
fn a_stopped_run_gives_up_on_a_sink_that_never_has_room() {
    /// Stops the run once it is waited for.
    struct Wall<'a>(&'a AtomicBool);
    impl RecordSink for Wall<'_> {
        type Error = std::convert::Infallible;
        fn try_send(&mut self, _: &Emission) -> Result<bool, Self::Error> {
            self.0.store(true, Ordering::Relaxed);
            Ok(false)
        }
        fn serve(&mut self) -> Result<Settled, Self::Error> {
            Ok(Settled::default())
        }
        fn deliveries(&self) -> Deliveries {
            Deliveries::default()
        }
    }
    let stop = AtomicBool::new(false);
    let run = ProduceRun {
        flush_timeout: Duration::from_millis(50),
        ..run(fleet(None))
    };
    let began = Instant::now();
    let summary = produce(run, &mut Wall(&stop), &stop, &ProduceProgress::default(), || u64::MAX).unwrap();
    assert_eq!((summary.sent, summary.acknowledged), (0, 0));
    assert!(summary.failed > 0 && began.elapsed() < DEADLINE);
}

#[test]
fn a_paced_run_keeps_its_rate_and_its_event_times_follow_the_clock() {
    let now = TimeMs(1_762_344_000_000);
    let plan = Timing {
        sensors: 100,
        rate: Some(4_000.0),
        count: Some(2_000),
        ..Timing::default()
    }
    .plan(now)
    .unwrap();
    let settings = FleetSettings {
        schedule: plan.schedule,
        faults: FaultSettings::NONE,
        ..fleet(Some(2_000))
    };
    let run = ProduceRun {
        slots_per_s: plan.slots_per_s,
        ..run(settings)
    };
    let mut sink = Reluctant::default();
    let summary = produce(
        run,
        &mut sink,
        &AtomicBool::new(false),
        &ProduceProgress::default(),
        || u64::MAX,
    )
    .unwrap();
    // The last of 2,000 is due after 499.75 ms; how late it may be depends on the machine, how early does not.
    assert!(
        summary.elapsed >= Duration::from_micros(499_750),
        "{:?}",
        summary.elapsed
    );
    assert_eq!(plan.schedule.event_time(1_999), TimeMs(now.0 + 499));
}
