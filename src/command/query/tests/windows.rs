//! Windows: which are read, how parts become a whole, what is said of a range.

use super::*;
use crate::model::{Aggregate, MILLIS_PER_DAY, WindowKey};

const MINUTE_MS: i64 = 60_000;

/// The window of readings in the order given, as docs/windows-and-alerts.md says.
fn fold(readings: &[(i64, f64)]) -> Aggregate {
    let (at, value) = (TimeMs(readings[0].0), readings[0].1);
    let mut all = Aggregate {
        last_offset: 0,
        count: 0,
        sum: 0.0,
        mean: 0.0,
        m2: 0.0,
        min: value,
        max: value,
        first: value,
        first_at: at,
        last: value,
        last_at: at,
    };
    for (time, value) in readings {
        all.count += 1;
        all.sum += value;
        let delta = value - all.mean;
        all.mean += delta / all.count as f64;
        all.m2 += delta * (value - all.mean);
        (all.min, all.max) = (all.min.min(*value), all.max.max(*value));
        (all.last, all.last_at) = (*value, TimeMs(*time));
    }
    all
}

fn stored(source: &str, kind: &str, size_s: u32, readings: &[(i64, f64)]) -> StoredWindow {
    StoredWindow {
        key: WindowKey::of(Kind::new(kind), size_s, TimeMs(readings[0].0)),
        source: source.to_owned(),
        aggregate: fold(readings),
    }
}

/// Minutes of the attic's temperature on its newest day, one reading each, of one source.
fn minutes(count: i64) -> FakeStore {
    let mut store = FakeStore::new();
    let attic = store.sensors[0].sensor;
    for minute in 0..count {
        let time = DAY.next().start().0 + minute * MINUTE_MS;
        let window = stored("t/1/0", "temperature", 60, &[(time, minute as f64)]);
        store.windows.push((attic, window));
    }
    store
}

/// `hh:mm kind count mean min max state` of each CSV line.
fn windows(store: &FakeStore, arguments: &str) -> Vec<String> {
    let text = ask(store, &format!("--sensor attic {arguments} --format csv")).data();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let rest = [5, 6, 8, 9, 10, 18].map(|column| cells[column]).join(" ");
        format!("{} {rest}", &cells[1][11..16])
    };
    text.lines().skip(1).map(row).collect()
}

fn asked_ranges(store: &FakeStore) -> Vec<(i64, i64)> {
    let midnight = DAY.next().start().0;
    let asked = store.asked_windows.lock().unwrap();
    let range = |query: &WindowsQuery| {
        (
            (query.range.start.0 - midnight) / MINUTE_MS,
            (query.range.end.0 - midnight) / MINUTE_MS,
        )
    };
    asked.iter().map(range).collect()
}

#[test]
fn parts_of_several_sources_and_stored_windows_become_one() {
    let mut store = FakeStore::new();
    let (attic, midnight) = (store.sensors[0].sensor, DAY.next().start().0);
    for (source, minute, value) in [
        ("b/1/0", 0, 9.0),
        ("a/1/0", 4, 1.0),
        ("a/1/0", 0, 3.0),
        ("b/1/0", 5, 50.0),
    ] {
        let time = midnight + minute * MINUTE_MS;
        store.windows.push((
            attic,
            stored(source, "light", 60, &[(time, value), (time + 1, value + 1.0)]),
        ));
    }
    let expected = [
        "00:05 light 2 50.5 50.0 51.0 complete",
        "00:00 light 6 4.833333333333333 1.0 10.0 complete",
    ];
    assert_eq!(windows(&store, "--window 5m"), expected);
    let minutes = windows(&store, "--window 1m --order oldest");
    assert_eq!(minutes[0], "00:00 light 4 6.5 3.0 10.0 complete");
    assert_eq!(minutes.len(), 3);
    assert_eq!(
        windows(&store, "--window 30m")[0],
        "00:00 light 8 16.25 1.0 51.0 complete"
    );
}

#[test]
fn parts_are_put_together_by_source_then_by_start() {
    let mut store = FakeStore::new();
    let (attic, midnight) = (store.sensors[0].sensor, DAY.next().start().0);
    let part =
        |source: &str, minute: i64, value: f64| stored(source, "light", 60, &[(midnight + minute * MINUTE_MS, value)]);
    // Values of which the sum says in which order they came.
    let parts = [
        part("b", 0, 1e16),
        part("a", 1, 0.6),
        part("b", 1, -1e16),
        part("a", 0, 0.6),
    ];
    let in_order = |order: [usize; 4]| {
        let [first, rest @ ..] = order.map(|index| parts[index].aggregate);
        rest.iter().fold(first, |whole, part| whole.merged(part))
    };
    let (by_source, by_start) = (in_order([3, 1, 0, 2]), in_order([3, 0, 1, 2]));
    assert_ne!(
        by_source.sum.to_bits(),
        by_start.sum.to_bits(),
        "the test can tell them apart"
    );
    store.windows.extend(parts.map(|part| (attic, part)));
    let text = ask(&store, "--sensor attic --window 5m --format jsonl").data();
    let row: serde_json::Value = serde_json::from_str(&text).unwrap();
    let bits = |name: &str| row[name].as_f64().unwrap().to_bits();
    assert_eq!(
        (bits("sum"), bits("mean")),
        (by_source.sum.to_bits(), by_source.mean.to_bits())
    );
}

#[test]
fn the_largest_stored_size_that_divides_is_read() {
    let stored_s = |arguments: &str| match question(&format!("--sensor attic --window {arguments}")).unwrap().what {
        What::Windows(asked) => (asked.size_s, asked.stored_s),
        _ => panic!("no windows"),
    };
    assert_eq!(stored_s("1m"), (60, 60));
    assert_eq!(stored_s("90m"), (5400, 60));
    assert_eq!(stored_s("2h"), (7200, 3600));
    assert_eq!(stored_s("1d"), (86_400, 3600));
    let error = question("--sensor attic --window 90s").unwrap_err().to_string();
    let expected = "--window 90s: windows of 1m and 1h are stored (windows.sizes), and none of these sizes divides it";
    assert_eq!(error, expected);
}

#[test]
fn without_a_range_it_is_the_newest_day_with_totals_of_all_of_it() {
    let store = minutes(1440);
    let captured = ask(&store, "--sensor attic --window 1m");
    let lines: Vec<String> = captured.data().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 2 + 100 + 1 + 3);
    assert!(lines[2].starts_with("2024-10-05T23:59:00.000Z  2024-10-06T00:00:00.000Z  temperature      1  1439 "));
    let total = "2024-10-05T00:00:00.000Z  2024-10-06T00:00:00.000Z  temperature  1,440  719.5  0.0  1439.0    415.692    1,440";
    assert_eq!(lines[105], total);
    assert!(
        captured.notes().contains("stopped after 100 windows; --limit"),
        "{}",
        captured.notes()
    );
    assert_eq!(asked_ranges(&store), [(0, 1440)]);
    assert_eq!(ask(&store, "--sensor attic --window 1m --limit 100").notes(), "");
    assert_eq!(
        windows(&store, "--window 1m --last 1d").len(),
        1440,
        "a range has no default limit"
    );
}

#[test]
fn a_range_takes_every_window_that_it_touches_whole() {
    let store = minutes(60);
    let range = "--from 2024-10-05T00:07:30Z --to 2024-10-05T00:15:00Z --order oldest";
    let expected = [
        "00:05 temperature 5 7.0 5.0 9.0 complete",
        "00:10 temperature 5 12.0 10.0 14.0 complete",
    ];
    assert_eq!(windows(&store, &format!("--window 5m {range}")), expected);
    assert_eq!(asked_ranges(&store), [(5, 15)]);
    let over = "--from 2024-10-05T00:14:59Z --to 2024-10-05T00:15:00.001Z --order oldest";
    assert_eq!(windows(&store, &format!("--window 5m {over}")).len(), 2);
    assert_eq!(windows(&store, &format!("--window 5m {over} --kind light")).len(), 0);
}

#[test]
fn a_range_over_days_is_a_query_a_day_in_the_order_asked_for() {
    let mut store = minutes(2);
    let attic = store.sensors[0].sensor;
    store.sensors[0].first_day = Day(DAY.0 - 100);
    let late = DAY.next().start().0 - MINUTE_MS;
    store
        .windows
        .push((attic, stored("t/1/0", "humidity", 60, &[(late, 7.0)])));
    store
        .windows
        .push((attic, stored("t/1/0", "temperature", 60, &[(late, 8.0)])));
    let newest = [
        "00:01 temperature 1",
        "00:00 temperature 1",
        "23:59 humidity 1",
        "23:59 temperature 1",
    ];
    let short = |arguments: &str| -> Vec<String> {
        let rows = windows(&store, arguments);
        rows.iter()
            .map(|row| row.split(' ').take(3).collect::<Vec<_>>().join(" "))
            .collect()
    };
    let all = "--window 1m --from 2000-01-01T00:00:00Z";
    assert_eq!(short(all), newest);
    assert_eq!(asked_ranges(&store).len(), 102, "the sensor's days and no others");
    let oldest = [
        "23:59 humidity 1",
        "23:59 temperature 1",
        "00:00 temperature 1",
        "00:01 temperature 1",
    ];
    assert_eq!(short(&format!("{all} --order oldest")), oldest);
    store.asked_windows.lock().unwrap().clear();
    assert_eq!(short(&format!("{all} --limit 3")), newest[..3]);
    assert!(asked_ranges(&store).len() < 10, "what is not wanted is not read");
    let nothing = ask(&store, "--sensor attic --window 1m --from 2030-01-01T00:00:00Z");
    assert!(
        nothing.notes().contains("no such windows of sensor attic"),
        "{}",
        nothing.notes()
    );
}

#[test]
fn totals_are_the_same_to_the_bit_in_either_order() {
    let mut store = FakeStore::new();
    let attic = store.sensors[0].sensor;
    for minute in 0..2 * 1440 {
        let value = if minute == 77 { 1e17 } else { minute as f64 / 7.0 };
        let window = stored("t/1/0", "light", 60, &[(DAY.start().0 + minute * MINUTE_MS, value)]);
        store.windows.push((attic, window));
    }
    let total = |order: &str| {
        let text = ask(
            &store,
            &format!("--sensor attic --window 1m --from 2000-01-01T00:00:00Z --order {order}"),
        )
        .data();
        text.lines().last().unwrap().to_owned()
    };
    assert_eq!(total("newest"), total("oldest"));
    assert!(total("newest").ends_with("2,880"), "{}", total("newest"));
    assert!(total("newest").starts_with("2024-10-04T00:00:00.000Z  2024-10-06T00:00:00.000Z  light  2,880  "));
}

#[test]
fn a_window_is_open_until_a_reading_has_passed_its_end() {
    // The directory knows readings until 02:00, the newest stored one is at 04:00.
    let mut store = FakeStore::new();
    let attic = store.sensors[0].sensor;
    for hour in [2, 3, 4] {
        let time = DAY.next().start().0 + hour * HOUR_MS;
        store
            .windows
            .push((attic, stored("t/1/0", "humidity", 3600, &[(time, 1.0)])));
    }
    let states = |store: &FakeStore| -> Vec<String> {
        let rows = windows(store, "--window 1h");
        rows.iter()
            .map(|row| format!("{} {}", &row[..5], row.rsplit(' ').next().unwrap()))
            .collect()
    };
    assert_eq!(states(&store), ["04:00 open", "03:00 complete", "02:00 complete"]);
    assert_eq!(store.asked().last().unwrap().limit, Some(1));
    store.readings.clear();
    assert_eq!(
        states(&store),
        ["04:00 open", "03:00 open", "02:00 open"],
        "without readings the directory says it"
    );
}

#[test]
fn what_is_not_there_is_said() {
    let store = minutes(1);
    let notes = |arguments: &str| ask(&store, &format!("--window 1h {arguments}")).notes();
    assert!(notes("--sensor cellar").contains("no sensor cellar"));
    assert_eq!(ask(&store, "--sensor cellar --window 1h --format json").data(), "[]\n");
    assert!(notes("--sensor attic --kind light").contains("has no light"));
    let expected = "iotpipe: no such windows of sensor attic, put together from those of 1h; it has readings from \
        2024-10-04 to 2024-10-05 (UTC)\n";
    assert_eq!(notes("--sensor attic"), expected);
    assert_eq!(notes("--sensor attic --plot"), expected);
}

#[test]
fn a_plot_of_windows_is_a_band_for_each_kind() {
    let mut store = minutes(300);
    let attic = store.sensors[0].sensor;
    let time = DAY.next().start().0;
    store.windows.push((
        attic,
        stored("t/1/0", "humidity", 60, &[(time, 40.0), (time + 1, 50.0)]),
    ));
    let text = ask(&store, "--sensor attic --window 1m --plot").data();
    let titles: Vec<&str> = text.lines().filter(|line| line.contains(" × 1m)")).collect();
    let expected = [
        "humidity  mean 45, ░ 40 to 50  (1 × 1m)",
        "temperature  mean 0 to 299, ░ 0 to 299  (300 × 1m)",
    ];
    assert_eq!(titles, expected, "the whole day: a chart has no default limit");
    let five = ask(&store, "--sensor attic --window 5m --plot --kind temperature --limit 2").data();
    assert!(
        five.starts_with("temperature  mean 292 to 297, ░ 290 to 299  (2 × 5m)\n"),
        "{five}"
    );
}

#[test]
fn a_day_long_window_lies_within_its_day() {
    let store = minutes(1440);
    let row = windows(
        &store,
        "--window 1d --from 2024-10-05T12:00:00Z --to 2024-10-05T13:00:00Z",
    );
    assert_eq!(row, Vec::<String>::new(), "hours are stored for none of these minutes");
    assert_eq!(asked_ranges(&store), [(0, MILLIS_PER_DAY / MINUTE_MS)]);
}

#[test]
fn the_windows_can_be_printed_and_drawn_into_any_output() {
    let store = minutes(3);
    let attic = store.sensors[0].sensor;
    let (mut out, captured) = Out::captured(Some(80));
    block_on(print_windows(&store, &mut out, attic, 60, &[60], 2)).unwrap();
    block_on(print_window_plot(&store, &mut out, attic, 60, &[60])).unwrap();
    let text = captured.data();
    assert!(
        text.contains(
            "00:02:00.000Z  2024-10-05T00:03:00.000Z  temperature      1     2  2.0  2.0          0  complete"
        ),
        "{text}"
    );
    assert!(text.contains("(3 × 1m)"), "{text}");
    let error = block_on(print_windows(&store, &mut out, attic, 90, &[60], 2)).unwrap_err();
    assert!(error.to_string().contains("--window 90s"));
}
