//! Readings and windows beside what a fleet's own payloads say, added up a second time and in another way.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::fleet::{DEFAULT_KINDS, Emission, FaultSettings, Fleet, FleetSettings, Format, Histories, Schedule};
use crate::model::SensorId;

const SENSORS: u32 = 5;
const LATE_MAX_MS: i64 = 40_000;
const SIZES_S: [u32; 2] = [60, 3_600];

/// Shortly before midnight, so that a run goes over it.
const START: TimeMs = TimeMs(1_762_386_900_000);

fn settings(format: Format, faults: FaultSettings) -> FleetSettings {
    FleetSettings {
        seed: 11,
        schedule: Schedule::new(SENSORS, Duration::from_millis(1_700), START).unwrap(),
        kinds: DEFAULT_KINDS.map(str::to_owned).to_vec(),
        format,
        faults,
        count: None,
        slots: Some(2_503),
    }
}

fn faults() -> FaultSettings {
    FaultSettings {
        anomaly: 0.005,
        late: 0.1,
        late_max: Duration::from_millis(LATE_MAX_MS as u64),
        duplicate: 0.1,
        malformed: 0.05,
        silence: 0.002,
    }
}

fn terms() -> Terms {
    Terms {
        late_max_ms: LATE_MAX_MS,
        interval_ms: 1_700,
        sizes_s: SIZES_S.to_vec(),
    }
}

/// Readings that a sensor sent, in the order in which it sent them; nothing of what cannot be decoded.
type Said = Vec<(TimeMs, Kind, f64)>;

/// What the fleet's payloads say, read by a parser of JSON.
fn payloads(settings: &FleetSettings) -> HashMap<SensorId, Said> {
    let mut fleet = Fleet::new(settings.clone()).unwrap();
    let mut emission = Emission::default();
    let mut said: HashMap<SensorId, Said> = HashMap::new();
    while fleet.next_record(&mut emission) {
        let sensor = SensorId::from_text(std::str::from_utf8(&emission.key).unwrap()).0;
        let said = said.entry(sensor).or_default();
        if matches!(emission.fault, Some(Fault::Malformed(_))) {
            continue;
        }
        let record: Value = serde_json::from_slice(&emission.payload).unwrap();
        let number = |value: &Value| {
            value
                .as_f64()
                .unwrap_or_else(|| f64::from(u8::from(value.as_bool().unwrap())))
        };
        match settings.format {
            Format::Narrow => {
                let time = TimeMs(record["reading_time"].as_i64().unwrap());
                said.push((
                    time,
                    Kind::new(record["type"].as_str().unwrap()),
                    number(&record["reading"]),
                ));
            }
            Format::Wide => {
                let time: jiff::Timestamp = record["timestamp"].as_str().unwrap().parse().unwrap();
                let time = TimeMs(time.as_millisecond());
                said.extend(DEFAULT_KINDS.map(|kind| (time, Kind::new(kind), number(&record[kind]))));
            }
        }
    }
    said
}

/// All that a sensor's expectation says, days taken as a comparison takes them.
fn all(mut expected: Expected<'_>) -> (Vec<(ReadingKey, f64)>, BTreeMap<WindowPlace, Totals>) {
    let (mut readings, mut windows) = (Vec::new(), BTreeMap::new());
    let mut day = None;
    while let Some(reading) = expected.next() {
        let reached = reading.0.0.day();
        if let Some(done) = day.filter(|day| *day != reached) {
            windows.extend(expected.take_windows(done));
        }
        day = Some(reached);
        readings.push(reading);
    }
    windows.extend(expected.take_windows(day.unwrap()));
    assert!(expected.windows.is_empty(), "windows of a day come with the day");
    (readings, windows)
}

/// From the definitions, over all values at once; sums exact enough to tell one reading more or less.
fn check_window(said: &Said, (size_s, kind, start): &WindowPlace, totals: &Totals) {
    let end = start.0 + i64::from(*size_s) * 1_000;
    let of_window = said
        .iter()
        .filter(|(time, its, _)| its == kind && (start.0..end).contains(&time.0));
    let readings: Vec<(i64, f64)> = of_window.map(|(time, _, value)| (time.0, *value)).collect();
    let count = readings.len() as f64;
    let sum: f64 = readings.iter().rev().map(|(_, value)| value).sum();
    let mean = sum / count;
    let m2: f64 = readings.iter().map(|(_, value)| (value - mean).powi(2)).sum();
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()));
    assert_eq!(totals.count, readings.len() as i64, "{size_s} s from {start}");
    assert!(
        near(totals.sum, sum) && near(totals.mean, mean) && near(totals.m2, m2),
        "{totals:?}: {sum} {mean} {m2}"
    );
    let values = || readings.iter().map(|(_, value)| *value);
    assert_eq!(totals.min, values().fold(f64::INFINITY, f64::min));
    assert_eq!(totals.max, values().fold(f64::NEG_INFINITY, f64::max));
    // Of equal times the first one sent is the first, the last one sent the last; min and max take care of the rest.
    let first = readings.iter().rev().min_by_key(|(time, _)| *time).unwrap();
    let last = readings.iter().max_by_key(|(time, _)| *time).unwrap();
    assert_eq!((totals.first, totals.last), (*first, *last));
}

#[test]
fn readings_and_windows_are_those_of_the_payloads() {
    for format in [Format::Narrow, Format::Wide] {
        for faults in [FaultSettings::NONE, faults()] {
            let settings = settings(format, faults);
            let said = payloads(&settings);
            let histories = Histories::new(settings, 2_503).unwrap();
            let terms = terms();
            for index in 0..SENSORS {
                let history = histories.of_sensor(index);
                let said = &said[&history.sensor()];
                let (readings, windows) = all(Expected::new(history, &terms));

                let rows: BTreeMap<ReadingKey, u64> = said
                    .iter()
                    .map(|(time, kind, value)| ((*time, kind.clone()), value.to_bits()))
                    .collect();
                let found: Vec<(ReadingKey, u64)> = readings
                    .into_iter()
                    .map(|(key, value)| (key, value.to_bits()))
                    .collect();
                assert!(
                    found == rows.into_iter().collect::<Vec<_>>(),
                    "sensor {index} of {format:?}"
                );

                let places = said.iter().flat_map(|(time, kind, _)| {
                    SIZES_S.map(|size_s| (size_s, kind.clone(), crate::model::window_start(size_s, *time)))
                });
                let places: std::collections::BTreeSet<WindowPlace> = places.collect();
                assert!(
                    windows.keys().eq(places.iter()),
                    "the windows that have a reading, and no other"
                );
                for (place, totals) in &windows {
                    check_window(said, place, totals);
                }
            }
        }
    }
}

#[test]
fn memory_holds_a_day_and_the_longest_delay_however_long_the_run_is() {
    let settings = FleetSettings {
        schedule: Schedule::new(1, Duration::from_secs(60), START).unwrap(),
        slots: Some(20_000),
        ..settings(Format::Narrow, faults())
    };
    let histories = Histories::new(settings, 20_000).unwrap();
    let terms = Terms {
        interval_ms: 60_000,
        ..terms()
    };
    let mut expected = Expected::new(histories.of_sensor(0), &terms);
    let (mut day, mut days) = (START.day(), 0);
    while let Some(((time, _), _)) = expected.next() {
        if time.day() != day {
            days += expected.take_windows(day).len().min(1);
            day = time.day();
        }
        assert!(expected.waiting.len() <= 3 && expected.windows.len() <= 2, "at {time}");
    }
    assert_eq!(days, 14, "every day but the last");
}

#[test]
fn anomalies_of_one_kind_are_one_only_while_they_last() {
    let settings = settings(
        Format::Narrow,
        FaultSettings {
            anomaly: 0.02,
            ..FaultSettings::NONE
        },
    );
    let histories = Histories::new(settings, 2_503).unwrap();
    let terms = terms();
    let mut lasting = 0;
    for index in 0..SENSORS {
        let mut expected = Expected::new(histories.of_sensor(index), &terms);
        while expected.next().is_some() {}
        let episodes = expected.episodes;
        assert!(
            episodes.windows(2).all(|pair| pair[0].until < pair[1].from),
            "in order, apart"
        );
        let distorted = histories.of_sensor(index).filter(|sent| {
            let covering = |episode: &&Episode| (episode.from..=episode.until).contains(&sent.event_time);
            let fault = episodes.iter().find(covering).map(|episode| episode.fault);
            assert_eq!(fault, sent.fault, "at {}", sent.event_time);
            fault.is_some()
        });
        assert!(distorted.count() > episodes.len());
        lasting += episodes.iter().filter(|episode| episode.until > episode.from).count();
    }
    assert!(lasting > 5, "{lasting}");
}

#[test]
fn a_window_tells_where_it_differs_to_the_bit() {
    let window = Totals::of(1_000, 0.0).and(2_000, 5.0);
    assert!(window.is_same(&Totals::of(1_000, 0.0).and(2_000, 5.0)));
    let other = Totals {
        count: 3,
        min: -0.0,
        ..window
    };
    assert!(!window.is_same(&other));
    assert_eq!(window.differing(&other), ["count 2, min 0", "count 3, min -0"]);
    assert_eq!(Totals::of(0, -0.0).parts()[1..3], [0, 0], "0 + -0 is 0");
}
