//! The checks of alerts, each on a store with empty tables.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};
use iotpipe::model::{
    Alert, AlertChange, AlertEvent, AlertId, AlertWrite, AlertsQuery, Day, Kind, MILLIS_PER_DAY, SensorId, SensorRow,
    SensorWrite, Severity, Sighting, Source, TimeMs, WriteId,
};
use iotpipe::store::Store;
use uuid::Uuid;

use super::checks::{NOON, a_source, new_sensor, permutations, write_of};

fn an_alert(sensor: SensorId, source: &Source, raised_at: i64, onset_offset: i64) -> Alert {
    let kind = Kind::new("temperature");
    Alert {
        id: AlertId::new(sensor, &kind, "too hot", &source.to_string(), onset_offset),
        sensor,
        label: None,
        kind,
        rule: Arc::from("too hot"),
        severity: Severity::Warning,
        raised_at: TimeMs(raised_at),
        value: 31.5,
        peak: 31.5,
        cleared_at: None,
    }
}

fn change(event: AlertEvent, offset: i64, alert: &Alert) -> AlertChange {
    let alert = alert.clone();
    AlertChange { event, offset, alert }
}

fn write_of_changes(source: &Source, changes: Vec<AlertChange>, active: &[&Alert]) -> AlertWrite {
    AlertWrite {
        id: WriteId(1),
        partition: source.partition,
        sensor: changes[0].alert.sensor,
        source: Arc::new(source.clone()),
        changes,
        statuses: Vec::new(),
        active: active.iter().map(|alert| (alert.id, alert.raised_at)).collect(),
    }
}

fn of_days(sensor: Option<SensorId>, days: i64) -> AlertsQuery {
    let range = TimeMs(NOON - days * MILLIS_PER_DAY)..TimeMs(NOON + days * MILLIS_PER_DAY);
    AlertsQuery { sensor, range }
}

async fn alerts(store: &impl Store, query: AlertsQuery) -> Vec<Alert> {
    store.alerts(query).try_collect().await.expect("alerts are read")
}

type Active = BTreeMap<SensorId, BTreeMap<AlertId, TimeMs>>;

async fn active(store: &impl Store) -> Active {
    let listed: Vec<_> = store
        .active_alerts()
        .try_collect()
        .await
        .expect("active alerts are read");
    let count = listed.len();
    let active: Active = listed.into_iter().collect();
    assert_eq!(active.len(), count, "each sensor once");
    assert!(
        active.values().all(|alerts| !alerts.is_empty()),
        "sensors with none are left out"
    );
    active
}

/// An alert as it goes on: raised at offset 5, worse at 9, over at 14; another one is raised at 9 and stays. The changes of
/// each record, with what is active after it.
fn a_story(sensor: SensorId, source: &Source) -> [AlertWrite; 3] {
    let raised = Alert {
        label: Some(Arc::from("attic")),
        severity: Severity::Critical,
        ..an_alert(sensor, source, NOON, 5)
    };
    let worse = Alert {
        peak: 99.0,
        ..raised.clone()
    };
    // A smaller peak than before, so that no rule about values can stand in for the offset.
    let cleared = Alert {
        peak: 40.0,
        cleared_at: Some(TimeMs(NOON + MILLIS_PER_DAY)),
        ..raised.clone()
    };
    let other = an_alert(sensor, source, NOON + 60_000, 9);
    let (update, raise) = (
        change(AlertEvent::Updated, 9, &worse),
        change(AlertEvent::Raised, 9, &other),
    );
    [
        write_of_changes(source, vec![change(AlertEvent::Raised, 5, &raised)], &[&raised]),
        write_of_changes(source, vec![update, raise], &[&raised, &other]),
        write_of_changes(source, vec![change(AlertEvent::Cleared, 14, &cleared)], &[&other]),
    ]
}

pub async fn an_alert_ends_as_its_last_change_says_in_every_order(store: &impl Store) {
    let source = a_source(0);
    let mut fleet: Active = Active::new();
    for order in permutations(&[0, 1, 2]) {
        let sensor = new_sensor();
        let story = a_story(sensor, &source);
        // Each twice, the second time late: a replay, or a write that was held up.
        for n in order.iter().chain(&order) {
            store.write_alerts(&story[*n]).await.expect("written");
        }
        let (cleared, other) = (&story[2].changes[0].alert, &story[1].changes[1].alert);
        let expected = [other.clone(), cleared.clone()];
        assert_eq!(alerts(store, of_days(Some(sensor), 2)).await, expected, "{order:?}");
        let all = alerts(store, of_days(None, 2)).await;
        let of_sensor: Vec<Alert> = all.into_iter().filter(|alert| alert.sensor == sensor).collect();
        assert_eq!(of_sensor, expected, "{order:?}");
        for alert in &expected {
            let one = store.alert(sensor, alert.raised_at, alert.id).await.expect("read");
            assert_eq!(one.as_ref(), Some(alert), "{order:?}");
        }
        fleet.insert(sensor, BTreeMap::from([(other.id, other.raised_at)]));
        assert_eq!(active(store).await, fleet, "{order:?}");
    }
}

pub async fn one_write_may_have_many_changes_of_many_days(store: &impl Store) {
    let (sensor, source) = (new_sensor(), a_source(0));
    let [first, second, third] = a_story(sensor, &source);
    let mut changes = [first.changes, second.changes, third.changes.clone()].concat();
    let mut expected = vec![changes[2].alert.clone(), third.changes[0].alert.clone()];
    // More than a page of some stores on one day, and some on the days around.
    for n in 0..5_600 {
        let raised_at = if n < 5_500 { NOON - 1 - n } else { NOON - n * 4_000_000 };
        let alert = Alert {
            cleared_at: Some(TimeMs(raised_at)),
            ..an_alert(sensor, &source, raised_at, 100 + n)
        };
        changes.push(change(AlertEvent::Raised, 100 + n, &alert));
        expected.push(alert);
    }
    let write = write_of_changes(&source, changes, &[]);
    store.write_alerts(&write).await.expect("written");
    assert_eq!(alerts(store, of_days(Some(sensor), 400)).await, expected);
    assert_eq!(alerts(store, of_days(None, 400)).await, expected);
    assert_eq!(active(store).await, Active::new());
}

pub async fn alerts_survive_to_the_bit(store: &impl Store) {
    let (sensor, source) = (new_sensor(), a_source(0));
    let values = [-0.0, 0.0, 5e-324, f64::MIN, f64::INFINITY, 1.0 / 3.0];
    let expected: Vec<Alert> = (0..values.len())
        .map(|n| {
            let kind = Kind::new(["light", "Größe", "a/b"][n % 3]);
            let rule: Arc<str> = Arc::from(["too hot", "zu groß", "x"][n / 2]);
            Alert {
                id: AlertId::new(sensor, &kind, &rule, &source.to_string(), n as i64),
                label: (n % 2 == 0).then(|| Arc::from("Gerät \"1\"")),
                kind,
                rule,
                severity: Severity::ALL[n % 3],
                value: values[n],
                peak: values[(n + 1) % values.len()],
                cleared_at: (n % 3 == 0).then_some(TimeMs(NOON + 5)),
                ..an_alert(sensor, &source, NOON - n as i64, 0)
            }
        })
        .collect();
    for (n, alert) in expected.iter().enumerate() {
        let write = write_of_changes(&source, vec![change(AlertEvent::Raised, n as i64, alert)], &[]);
        store.write_alerts(&write).await.expect("written");
    }
    // Printed, for 0.0 equals -0.0 and only the text tells them apart.
    let expected_text = format!("{expected:?}");
    for sensor in [Some(sensor), None] {
        assert_eq!(format!("{:?}", alerts(store, of_days(sensor, 1)).await), expected_text);
    }
    for alert in &expected {
        let one = store.alert(sensor, alert.raised_at, alert.id).await.expect("read");
        assert_eq!(format!("{one:?}"), format!("{:?}", Some(alert)));
    }
    let absent = [
        (new_sensor(), expected[0].raised_at, expected[0].id),
        (sensor, TimeMs(NOON + 1), expected[0].id),
        (sensor, expected[0].raised_at, expected[1].id),
    ];
    for (sensor, raised_at, id) in absent {
        assert_eq!(store.alert(sensor, raised_at, id).await.expect("read"), None);
    }
}

pub async fn alerts_of_the_fleet_come_newest_first(store: &impl Store) {
    let source = a_source(0);
    let midnight = TimeMs(NOON).day().start().0;
    let sensors: Vec<SensorId> = (0..60).map(|_| new_sensor()).collect();
    // Every time is that of several sensors, so the order within one counts too.
    let mut all: Vec<Alert> = Vec::new();
    for (n, sensor) in sensors.iter().enumerate() {
        for step in -3..3_i64 {
            let raised_at = midnight + step * 30_000_000 + (n % 4) as i64;
            all.push(an_alert(*sensor, &source, raised_at, step));
        }
    }
    let writes: Vec<AlertWrite> = all
        .iter()
        .map(|alert| write_of_changes(&source, vec![change(AlertEvent::Raised, 7, alert)], &[alert]))
        .collect();
    stream::iter(&writes)
        .map(|write| store.write_alerts(write))
        .buffer_unordered(16)
        .try_collect::<Vec<()>>()
        .await
        .expect("written");
    all.sort_by_key(|alert| (Reverse(alert.raised_at), alert.id));
    let ranges: [Range<i64>; 8] = [
        midnight - 2 * MILLIS_PER_DAY..midnight + 2 * MILLIS_PER_DAY,
        midnight..midnight + 3,
        midnight..midnight + 4,
        midnight + 1..midnight + 30_000_001,
        midnight - 30_000_000..midnight,
        midnight - 1..midnight,
        midnight..midnight,
        midnight + 30_000_000..midnight,
    ];
    for range in ranges {
        for sensor in [None, Some(sensors[0]), Some(sensors[7]), Some(new_sensor())] {
            let query = AlertsQuery {
                sensor,
                range: TimeMs(range.start)..TimeMs(range.end),
            };
            let expected: Vec<Alert> = all
                .iter()
                .filter(|alert| range.contains(&alert.raised_at.0))
                .filter(|alert| sensor.is_none_or(|sensor| alert.sensor == sensor))
                .cloned()
                .collect();
            assert_eq!(alerts(store, query.clone()).await, expected, "{query:?}");
        }
    }
    let first: Vec<Alert> = store
        .alerts(of_days(None, 3))
        .take(1)
        .try_collect()
        .await
        .expect("read");
    assert_eq!(first, all[..1]);
}

fn first_sighting(sensor: SensorId) -> SensorWrite {
    let sighting = Sighting {
        label: None,
        status: None,
        location: None,
        first_day: Day(20_000),
        last_day: Day(20_001),
        last_values: BTreeMap::new(),
    };
    SensorWrite {
        sighting: Some(Box::new(sighting)),
        ..write_of(sensor, Vec::new())
    }
}

/// The whole directory by sensor, with what is active; each sensor asked for by itself must say the same.
async fn active_in_directory(store: &impl Store) -> Active {
    let rows: Vec<SensorRow> = store.sensors().try_collect().await.expect("listed");
    let mut active = Active::new();
    for row in rows {
        let alone = store.sensor(row.sensor).await.expect("read");
        assert_eq!(alone.as_ref(), Some(&row));
        assert_eq!(active.insert(row.sensor, row.active_alerts), None, "each sensor once");
    }
    active
}

pub async fn active_alerts_are_those_of_all_sources_together(store: &impl Store) {
    let sources = [a_source(0), a_source(1)];
    let raise = |sensor: SensorId, source: &Source, offset: i64| {
        let alert = an_alert(sensor, source, NOON + offset, offset);
        write_of_changes(source, vec![change(AlertEvent::Raised, offset, &alert)], &[&alert])
    };
    let active_of = |write: &AlertWrite| write.active.iter().copied().collect::<BTreeMap<AlertId, TimeMs>>();
    // More than a page of some stores. Of every three sensors one has an alert of one source, one of both, and one of the
    // second only, since that of the first is over.
    let mut expected = Active::new();
    let mut writes = Vec::new();
    for n in 1..=2_400_u128 {
        let sensor = SensorId(Uuid::from_u128(n));
        let (first, second) = (raise(sensor, &sources[0], 100), raise(sensor, &sources[1], 3));
        let mut alerts = active_of(&first);
        match n % 3 {
            0 => {}
            1 => alerts.extend(active_of(&second)),
            _ => alerts = active_of(&second),
        }
        expected.insert(sensor, alerts);
        if n % 3 == 2 {
            let over = change(AlertEvent::Cleared, 200, &first.changes[0].alert);
            writes.push(write_of_changes(&sources[0], vec![over], &[]));
        }
        if n % 3 != 0 {
            writes.push(second);
        }
        writes.push(first);
    }
    stream::iter(&writes)
        .map(|write| store.write_alerts(write))
        .buffer_unordered(16)
        .try_collect::<Vec<()>>()
        .await
        .expect("written");
    assert_eq!(active(store).await, expected);
    assert_eq!(active_in_directory(store).await, Active::new(), "alerts make no sensor");
    assert_eq!(store.sensor(SensorId(Uuid::from_u128(1))).await.expect("read"), None);

    // Some sensors are seen then, and one that never had an alert.
    let quiet = new_sensor();
    let mut seen: Active = expected.into_iter().step_by(50).collect();
    seen.insert(quiet, BTreeMap::new());
    for sensor in seen.keys() {
        store.write(&first_sighting(*sensor)).await.expect("written");
    }
    assert_eq!(active_in_directory(store).await, seen);
}

pub async fn what_is_active_is_what_the_largest_offset_says(store: &impl Store) {
    let source = a_source(0);
    let sensor = new_sensor();
    let alert = |n: i64| an_alert(sensor, &source, NOON + n, n);
    // After offset n the alert n is active, and after an odd one none is.
    let writes: Vec<AlertWrite> = (0..48)
        .map(|n| n * 7 % 48)
        .map(|n| {
            let (alert, changed) = (alert(n), change(AlertEvent::Raised, n, &alert(n)));
            let active = [&alert];
            write_of_changes(&source, vec![changed], if n % 2 == 0 { &active } else { &[] })
        })
        .collect();
    let last_is = async |expected: &[i64]| {
        let expected: BTreeMap<_, _> = expected.iter().map(|n| (alert(*n).id, alert(*n).raised_at)).collect();
        let active = active(store).await;
        assert_eq!(active.get(&sensor).cloned().unwrap_or_default(), expected);
    };
    let mut largest = -1;
    for write in &writes {
        store.write_alerts(write).await.expect("written");
        largest = largest.max(write.last_offset());
        last_is(if largest % 2 == 0 {
            std::slice::from_ref(&largest)
        } else {
            &[]
        })
        .await;
    }
    stream::iter(&writes)
        .map(|write| store.write_alerts(write))
        .buffer_unordered(16)
        .try_collect::<Vec<()>>()
        .await
        .expect("written again");
    last_is(&[]).await;
}
