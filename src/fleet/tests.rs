//! The fleet as a whole: what its users rely on.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::*;
use crate::model::SensorId;

const START: TimeMs = TimeMs(1_762_344_000_000);

fn settings(sensors: u32, count: u64) -> FleetSettings {
    FleetSettings {
        seed: 42,
        schedule: Schedule::new(sensors, Duration::from_secs(1), START).unwrap(),
        kinds: DEFAULT_KINDS.map(str::to_owned).to_vec(),
        format: Format::Narrow,
        faults: FaultSettings::NONE,
        count: Some(count),
        slots: None,
    }
}

fn all_faults() -> FaultSettings {
    FaultSettings {
        anomaly: 0.006,
        late: 0.02,
        late_max: Duration::from_secs(20),
        duplicate: 0.03,
        malformed: 0.01,
        silence: 0.001,
    }
}

fn run(settings: FleetSettings) -> (Vec<Emission>, FleetCounts) {
    let mut fleet = Fleet::new(settings).unwrap();
    let mut emission = Emission::default();
    let mut emissions = Vec::new();
    while fleet.next_record(&mut emission) {
        emissions.push(emission.clone());
    }
    (emissions, fleet.counts())
}

/// FNV-1a over everything that is sent.
fn hash(emissions: &[Emission]) -> u64 {
    let fault = |emission: &Emission| emission.fault.map_or("", Fault::as_str);
    let bytes = emissions
        .iter()
        .flat_map(|e| [e.key.as_slice(), &e.payload, fault(e).as_bytes(), b"\n"]);
    bytes.flatten().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

#[test]
fn the_first_thousand_records_of_a_seed_never_change() {
    let narrow = run(FleetSettings {
        faults: all_faults(),
        ..settings(50, 1000)
    })
    .0;
    let wide = run(FleetSettings {
        faults: all_faults(),
        format: Format::Wide,
        ..settings(50, 1000)
    })
    .0;
    // A change here makes stored manifests of runs worthless: it is a breaking change, to be said in the changelog.
    assert_eq!(
        (hash(&narrow), hash(&wide)),
        (9_373_796_797_092_740_054, 14_667_676_938_934_314_596)
    );
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let with_seed = |seed| {
        run(FleetSettings {
            seed,
            faults: all_faults(),
            ..settings(100, 20_000)
        })
        .0
    };
    let (first, again, other) = (with_seed(1), with_seed(1), with_seed(2));
    assert_eq!(first, again);
    let keys = |emissions: &[Emission]| emissions.iter().map(|e| e.key.clone()).collect::<BTreeSet<_>>();
    assert!(keys(&first).is_disjoint(&keys(&other)));
}

#[test]
fn faults_do_not_change_the_readings_that_have_none() {
    let (plain, _) = run(settings(100, 50_000));
    let (faulty, _) = run(FleetSettings {
        faults: all_faults(),
        count: None,
        slots: Some(50_000),
        ..settings(100, 0)
    });
    let by_slot: HashMap<u64, &Emission> = plain.iter().map(|e| (e.slot, e)).collect();
    for emission in faulty
        .iter()
        .filter(|e| matches!(e.fault, None | Some(Fault::Late | Fault::Duplicate)))
    {
        assert_eq!(emission.payload, by_slot[&emission.slot].payload);
    }
}

#[test]
fn the_count_is_of_scheduled_records_and_duplicates_come_on_top() {
    let (emissions, counts) = run(FleetSettings {
        faults: all_faults(),
        ..settings(100, 50_000)
    });
    let duplicates = emissions.iter().filter(|e| e.fault == Some(Fault::Duplicate)).count() as u64;
    assert_eq!(counts.scheduled, 50_000);
    assert_eq!(counts.duplicates, duplicates);
    assert!(duplicates > 0);
    assert_eq!(emissions.len() as u64, 50_000 + duplicates);
    // Every scheduled slot once, however late, and the duplicates' a second time right after.
    let mut slots = BTreeMap::<u64, u64>::new();
    emissions.iter().for_each(|e| *slots.entry(e.slot).or_default() += 1);
    assert_eq!(slots.len(), 50_000);
    assert_eq!(slots.values().filter(|&&n| n == 2).count() as u64, duplicates);
    for pair in emissions
        .windows(2)
        .filter(|pair| pair[1].fault == Some(Fault::Duplicate))
    {
        assert_eq!(
            (&pair[0].key, &pair[0].payload, pair[0].fault),
            (&pair[1].key, &pair[1].payload, None)
        );
    }
}

#[test]
fn faults_come_as_often_as_asked() {
    let slots = 400_000;
    let (emissions, counts) = run(FleetSettings {
        faults: all_faults(),
        count: None,
        slots: Some(slots),
        ..settings(500, 0)
    });
    let well = (counts.scheduled - counts.drifts - counts.stuck) as f64;
    let near = |name: &str, seen: u64, expected: f64| {
        let bound = 6.0 * expected.sqrt();
        assert!(
            (seen as f64 - expected).abs() < bound,
            "{name}: {seen}, expected {expected:.0} +- {bound:.0}"
        );
    };
    near("spike", counts.spikes, well * 0.002);
    near("late", counts.late, well * 0.02);
    near("duplicate", counts.duplicates, well * 0.03);
    near("malformed", counts.malformed, well * 0.01);
    // Episodes of 16 on average: their number scatters, and each counts 16 times.
    near("drift", counts.drifts / 16, well * 0.002);
    near("stuck", counts.stuck / 16, well * 0.002);
    near("silent", counts.silent / 30, well * 0.001);
    assert_eq!(counts.silent + counts.scheduled, slots);
    let kinds: BTreeSet<_> = emissions.iter().filter_map(|e| e.fault).collect();
    assert_eq!(kinds.len(), 5 + Malformation::ALL.len(), "{kinds:?}");
}

#[test]
fn a_late_record_keeps_its_time_and_comes_within_the_bound() {
    let (emissions, counts) = run(FleetSettings {
        faults: all_faults(),
        ..settings(100, 50_000)
    });
    let mut newest = START;
    let mut delayed = 0;
    for emission in &emissions {
        if emission.fault == Some(Fault::Late) {
            assert!(
                newest.0 - emission.event_time.0 <= 20_000 + 10,
                "{emission:?} at {newest}"
            );
            assert!(String::from_utf8_lossy(&emission.payload).contains(&emission.event_time.0.to_string()));
            delayed += u64::from(emission.event_time < newest);
        } else {
            assert!(emission.event_time >= newest);
            newest = emission.event_time;
        }
    }
    assert!(delayed > counts.late * 9 / 10, "{delayed} of {}", counts.late);
}

#[test]
fn a_stopped_fleet_still_gives_back_what_it_holds() {
    let faults = FaultSettings {
        late: 0.5,
        ..FaultSettings::NONE
    };
    let mut fleet = Fleet::new(FleetSettings {
        faults: faults.clone(),
        ..settings(10, 1_000_000)
    })
    .unwrap();
    let mut emission = Emission::default();
    let mut emissions = Vec::new();
    while fleet.slots() < 333 {
        if fleet.step(&mut emission) == Step::Record {
            emissions.push(emission.clone());
        }
    }
    fleet.stop();
    while fleet.next_record(&mut emission) {
        emissions.push(emission.clone());
    }
    assert_eq!(emissions.len(), 333);
    // And the number of slots is all that is needed to tell the same story again.
    let (again, _) = run(FleetSettings {
        faults,
        count: None,
        slots: Some(fleet.slots()),
        ..settings(10, 0)
    });
    assert_eq!(emissions, again);
}

#[test]
fn stuck_values_stay_and_silent_sensors_skip_about_thirty_slots() {
    let faults = FaultSettings {
        anomaly: 0.02,
        silence: 0.01,
        ..FaultSettings::NONE
    };
    let (emissions, _) = run(FleetSettings {
        faults,
        kinds: vec!["temperature".into()],
        ..settings(20, 100_000)
    });
    let mut last: HashMap<&[u8], (&Emission, f64)> = HashMap::new();
    let (mut repeated, mut gaps) = (0, 0);
    for emission in &emissions {
        let json: serde_json::Value = serde_json::from_slice(&emission.payload).unwrap();
        let value = json["reading"].as_f64().unwrap();
        if let Some((before, before_value)) = last.get(emission.key.as_slice()) {
            let skipped = (emission.slot - before.slot) / 20 - 1;
            assert!(skipped == 0 || (20..=40).contains(&skipped), "{skipped} slots skipped");
            gaps += u64::from(skipped > 0);
            if emission.fault == Some(Fault::Stuck) && before.fault == Some(Fault::Stuck) && skipped == 0 {
                // Unless one episode ends where the next begins.
                repeated += i64::from(value == *before_value) * 2 - 1;
            }
        }
        last.insert(&emission.key, (emission, value));
    }
    assert!(repeated > 5000 && gaps > 500, "{repeated} {gaps}");
}

#[test]
fn wide_records_have_all_kinds_and_a_label() {
    let (emissions, _) = run(FleetSettings {
        format: Format::Wide,
        ..settings(3, 30)
    });
    for emission in &emissions {
        let json: serde_json::Value = serde_json::from_slice(&emission.payload).unwrap();
        assert_eq!(json["sensor_id"].as_str().unwrap().as_bytes(), emission.key);
        assert_eq!(json["timestamp"].as_str().unwrap(), emission.event_time.to_string());
        assert!(json["motion"].is_boolean() && json["light"].is_number() && json["location"]["latitude"].is_number());
    }
    assert_eq!(emissions.iter().map(|e| &e.key).collect::<BTreeSet<_>>().len(), 3);
}

/// What a payload says, read by a parser of JSON.
fn values_of(payload: &[u8], format: Format) -> BTreeMap<String, f64> {
    let record: serde_json::Value = serde_json::from_slice(payload).expect("JSON");
    let number = |value: &serde_json::Value| value.as_f64().or(value.as_bool().map(|on| f64::from(u8::from(on))));
    match format {
        Format::Narrow => {
            let kind = record["type"].as_str().expect("a kind").to_owned();
            BTreeMap::from([(kind, number(&record["reading"]).expect("a number"))])
        }
        Format::Wide => DEFAULT_KINDS
            .map(|kind| (kind.to_owned(), number(&record[kind]).expect("a number")))
            .into(),
    }
}

#[test]
fn a_sensors_history_is_its_part_of_the_fleet() {
    for format in [Format::Narrow, Format::Wide] {
        let settings = FleetSettings {
            format,
            faults: all_faults(),
            ..settings(7, 3_000)
        };
        let mut fleet = Fleet::new(settings.clone()).unwrap();
        let mut emission = Emission::default();
        let mut sent: HashMap<Vec<u8>, Vec<Emission>> = HashMap::new();
        while fleet.next_record(&mut emission) {
            sent.entry(emission.key.clone()).or_default().push(emission.clone());
        }
        let histories = Histories::new(settings, fleet.slots()).unwrap();
        assert_eq!(histories.sensors(), 7);
        for index in 0..7 {
            let mut history = histories.of_sensor(index);
            let id = history.sensor();
            let of_fleet = sent
                .iter()
                .find(|(key, _)| SensorId::from_text(std::str::from_utf8(key).unwrap()).0 == id);
            for emission in of_fleet.expect("the sensor").1 {
                let record = history.next().expect("as many records");
                assert_eq!((record.event_time, record.fault), (emission.event_time, emission.fault));
                let mut readings = Vec::new();
                history.readings(&record, &mut readings);
                let values: BTreeMap<String, f64> = readings
                    .into_iter()
                    .map(|(kind, value)| (kind.to_string(), value))
                    .collect();
                if record.is_malformed() {
                    assert_eq!(values, BTreeMap::new());
                } else {
                    assert_eq!(values, values_of(&emission.payload, format));
                }
            }
            assert!(history.next().is_none());
        }
    }
}
