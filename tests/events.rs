//! Changes of the devices' status on the topic of the events.

use serde_json::{Value, json};

use crate::faults::process::{Process, until, words};
use crate::records::{all_of, end_of, send};
use crate::servers::Place;

const NOON_MS: i64 = 1_762_344_000_000;

/// A place whose events are in a topic of its own, with one partition each.
struct Fleet {
    place: Place,
    events: String,
}

impl Fleet {
    fn new(name: &str) -> Fleet {
        let place = Place::new(name);
        let events = format!("{}.events", place.topic);
        let others = ["alerts", "analytics"].map(|name| format!("{name}_topic = \"{}.{name}\"\n", place.topic));
        let file = format!(
            "[kafka]\nevents_topic = \"{events}\"\npartitions = 1\n{}",
            others.concat()
        );
        std::fs::write(place.directory().join("iotpipe.toml"), file).expect("writable");
        place.ok(&["init-schema"]);
        Fleet { place, events }
    }

    /// Sends records: seconds after noon, and what is said.
    fn say(&self, records: &[(i64, Option<&str>)]) {
        let record = |(second, status): &(i64, Option<&str>)| {
            let mut record = json!({"device_id": "pump", "timestamp": NOON_MS + second * 1000, "pressure": 3.5});
            if let Some(status) = status {
                record["status"] = (*status).into();
            }
            (0, record.to_string().into_bytes())
        };
        send(&self.place, &records.iter().map(record).collect::<Vec<_>>());
    }

    fn events(&self) -> Vec<Value> {
        let events = all_of(&self.place, &self.events).into_iter();
        events
            .map(|event| serde_json::from_slice(&event).expect("JSON"))
            .collect()
    }

    /// Second, status, the one before, offset: repeated ones once.
    fn changes(&self) -> Vec<(i64, String, Option<String>, i64)> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let mut changes: Vec<_> = self
            .events()
            .iter()
            .map(|event| {
                let second = (event["at"].as_i64().expect("a time") - NOON_MS) / 1000;
                let status = text(&event["status"]).expect("a status");
                let offset = event["offset"].as_i64().expect("an offset");
                (second, status, text(&event["previous"]), offset)
            })
            .collect();
        changes.sort_by_key(|(.., offset)| *offset);
        changes.dedup();
        changes
    }
}

fn change(second: i64, status: &str, previous: Option<&str>, offset: i64) -> (i64, String, Option<String>, i64) {
    (second, status.to_owned(), previous.map(str::to_owned), offset)
}

#[test]
fn a_status_that_differs_from_the_last_one_is_an_event() {
    let fleet = Fleet::new("events");
    fleet.say(&[
        (0, Some("active")),
        (1, None),
        (2, Some("active")),
        (5, Some("fault")),
        (3, Some("active")), // late: what it was then is no news
        (5, Some("idle")),   // not newer than what is known
        (6, Some("fault")),
    ]);
    fleet.place.ok(&["consume", "--until-end"]);
    let first = [change(0, "active", None, 0), change(5, "fault", Some("active"), 3)];
    assert_eq!(fleet.changes(), first);
    // A consumer that has seen none of it goes on where the last one stopped.
    fleet.say(&[(7, Some("fault")), (8, Some("active"))]);
    fleet.place.ok(&["consume", "--until-end"]);
    let second = change(8, "active", Some("fault"), 8);
    assert_eq!(fleet.changes(), [first[0].clone(), first[1].clone(), second]);
    let event = &fleet.events()[1];
    let source = event["source"].as_str().expect("a source");
    assert!(
        source.starts_with(&fleet.place.topic) && source.ends_with("/0"),
        "{event}"
    );
    assert_eq!(event["label"], "pump", "{event}");
    let sensor = fleet.place.ok(&words("query --sensors --format jsonl"));
    let sensor: Value = serde_json::from_str(&sensor).expect(&sensor);
    assert_eq!(
        (&sensor["sensor_id"], &sensor["status"]),
        (&event["sensor_id"], &"active".into())
    );
}

#[test]
fn after_kill_nine_no_change_of_status_is_missing_and_none_is_made_up() {
    const RECORDS: usize = 60_000;
    let fleet = Fleet::new("events_kill");
    let statuses = ["active", "active", "idle", "fault", "fault"];
    let records: Vec<(i64, Option<&str>)> = (0..RECORDS).map(|n| (n as i64, Some(statuses[n % 5]))).collect();
    fleet.say(&records);
    for _ in 0..2 {
        let before = end_of(&fleet.place, &fleet.events);
        // In small groups, so that it is killed in the middle.
        let slowly = [("IOTPIPE_CONSUME_PENDING_READINGS", "1000")];
        let consumer = Process::start_with(&fleet.place, "consumer", &["consume"], &slowly);
        until("it sends", 60, || end_of(&fleet.place, &fleet.events) > before + 500);
        consumer.kill();
    }
    let sent = end_of(&fleet.place, &fleet.events);
    assert!(sent < RECORDS as i64 / 2, "it was killed in the middle: {sent}");
    fleet.place.ok(&["consume", "--until-end"]);
    let mut expected = vec![change(0, "active", None, 0)];
    expected.extend(
        (1..RECORDS)
            .filter(|n| statuses[n % 5] != statuses[(n - 1) % 5])
            .map(|n| {
                let previous = Some(statuses[(n - 1) % 5]);
                change(n as i64, statuses[n % 5], previous, n as i64)
            }),
    );
    assert_eq!(fleet.changes(), expected);
}

#[test]
fn without_alerts_there_are_no_events_and_their_topic_may_be_missing() {
    let fleet = Fleet::new("events_off");
    fleet.say(&[(0, Some("active")), (1, Some("fault"))]);
    fleet.place.ok(&words("consume --until-end --no-alerts"));
    assert_eq!(fleet.events(), [] as [Value; 0]);
    let file = fleet.place.directory().join("iotpipe.toml");
    let settings = std::fs::read_to_string(&file).expect("readable");
    let missing = settings.replace(&fleet.events, &format!("{}.none", fleet.place.topic));
    std::fs::write(&file, missing).expect("writable");
    fleet.place.ok(&words("consume --until-end --no-alerts"));
    let (code, _, stderr) = fleet.place.run(&words("consume --until-end --group other"));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains(&format!("{}.none", fleet.place.topic)) && stderr.contains("init-schema"),
        "{stderr}"
    );
}
