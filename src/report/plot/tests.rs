//! What charts look like, and what holds for any series.

use proptest::prelude::*;

use super::*;
use crate::model::Aggregate;

/// 2025-11-05T12:00:00Z.
const NOON: i64 = 1_762_344_000_000;

fn series_of(points: impl IntoIterator<Item = (i64, f64)>) -> Series {
    let mut series = Series::default();
    points
        .into_iter()
        .for_each(|(time, value)| series.push(TimeMs(time), value));
    series
}

fn drawn(width: usize, series: &Series) -> String {
    let (mut out, captured) = Out::captured(Some(width));
    draw(&mut out, "temperature", series).unwrap();
    captured.data()
}

/// The chart's rows of dots, without the value axis.
fn dots(text: &str) -> Vec<Vec<char>> {
    let rows = text.lines().skip(1).take(ROWS);
    rows.map(|row| {
        row.chars()
            .skip_while(|letter| !"┤│".contains(*letter))
            .skip(1)
            .collect()
    })
    .collect()
}

fn compare(name: &str, found: &str, expected: &str) {
    assert_eq!(found, expected, "{name} is drawn as\n{found}");
}

#[test]
fn an_hour_with_a_spike() {
    let value = |index: i64| {
        if index == 400 {
            29.0
        } else {
            20.0 + 5.0 * (index as f64 / 60.0).sin()
        }
    };
    let series = series_of((0..600).map(|index| (NOON + index * 6000, value(index))));
    compare("the hour", &drawn(72, &series), include_str!("snapshots/hour.txt"));
}

#[test]
fn a_pause_is_a_gap() {
    let minutes = (0..20).chain(40..60);
    let series = series_of(minutes.map(|minute| (NOON + minute * 60_000, (minute % 10) as f64)));
    compare("the pause", &drawn(60, &series), include_str!("snapshots/pause.txt"));
}

#[test]
fn one_reading() {
    compare(
        "one",
        &drawn(72, &series_of([(NOON, 21.5)])),
        include_str!("snapshots/one.txt"),
    );
}

#[test]
fn a_constant() {
    let series = series_of([(NOON, -3.0), (NOON + 60_000, -3.0), (NOON + 120_000, -3.0)]);
    compare(
        "the constant",
        &drawn(50, &series),
        include_str!("snapshots/constant.txt"),
    );
}

#[test]
fn all_that_a_f64_holds() {
    let series = series_of([
        (NOON, f64::MIN),
        (NOON + 86_400_000, f64::MAX),
        (NOON + 172_800_000, 0.0),
    ]);
    compare("the range", &drawn(60, &series), include_str!("snapshots/range.txt"));
}

#[test]
fn nothing_to_draw_is_said() {
    assert_eq!(drawn(80, &Series::default()), "temperature  no readings\n");
}

#[test]
fn a_name_cannot_break_the_screen() {
    let (mut out, captured) = Out::captured(Some(40));
    draw(
        &mut out,
        &format!("\u{1b}[2J{}", "長".repeat(50)),
        &series_of([(NOON, 1.0)]),
    )
    .unwrap();
    let title = captured.data().lines().next().unwrap().to_owned();
    assert!(title.starts_with("\u{fffd}[2J長") && title.ends_with('…'), "{title}");
    assert!(measure_text_width(&title) <= 40);
}

/// A day of windows, each with this many readings around its mean.
fn band_of(windows: impl IntoIterator<Item = (i64, f64, f64, f64)>) -> Band {
    let mut band = Band::new(60);
    for (minute, min, mean, max) in windows {
        band.push(TimeMs(NOON + minute * 60_000), &window(min, mean, max));
    }
    band
}

fn window(min: f64, mean: f64, max: f64) -> Aggregate {
    let (first_at, last_at) = (TimeMs(0), TimeMs(0));
    Aggregate {
        last_offset: 0,
        count: 60,
        sum: 0.0,
        mean,
        m2: 0.0,
        min,
        max,
        first: min,
        first_at,
        last: max,
        last_at,
    }
}

fn drawn_band(width: usize, band: &Band) -> String {
    let (mut out, captured) = Out::captured(Some(width));
    draw_band(&mut out, "temperature", band).unwrap();
    captured.data()
}

#[test]
fn windows_are_the_line_of_their_means_in_the_band_of_their_extremes() {
    let windows = (0..60).filter(|minute| !(35..48).contains(minute)).map(|minute| {
        let mean = 20.0 + 5.0 * (minute as f64 / 6.0).sin();
        let spike = if minute == 20 { 15.0 } else { 0.0 };
        (minute, mean - 1.5, mean, mean + 2.5 + spike)
    });
    let text = drawn_band(72, &band_of(windows));
    compare("the band", &text, include_str!("snapshots/band.txt"));
}

#[test]
fn few_windows_and_none() {
    let text = drawn_band(72, &band_of([(0, 19.0, 20.5, 24.0), (1, 19.5, 21.0, 22.0)]));
    compare("two windows", &text, include_str!("snapshots/band_of_two.txt"));
    let one = drawn_band(72, &band_of([(0, 19.0, 20.5, 24.0)]));
    assert!(
        one.starts_with("temperature  mean 20.5, ░ 19 to 24  (1 × 1m)\n"),
        "{one}"
    );
    assert_eq!(drawn_band(72, &Band::new(60)), "temperature  no windows\n");
}

#[test]
fn a_mean_that_overflowed_leaves_the_band() {
    let text = drawn_band(
        72,
        &band_of([
            (0, -1.0, f64::NAN, 1.0),
            (1, -1.0, f64::INFINITY, 1.0),
            (2, -1.0, 0.0, 1.0),
        ]),
    );
    assert!(
        text.contains('░') && !text.contains("NaN") && !text.contains("inf"),
        "{text}"
    );
}

fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![NOON..NOON + 100, NOON..NOON + 10_000_000_000, any::<i64>()]
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        (-40..40).prop_map(f64::from),
        -1e-3..1e-3,
        1e9..1.000_000_1e9,
        any::<f64>()
    ]
}

proptest! {
    #[test]
    fn any_series_fits_any_width(
        points in prop::collection::vec((any_time(), any_value()), 1..50), width in 40_usize..250,
    ) {
        let series = series_of(points);
        prop_assume!(series.count() > 0);
        let text = drawn(width, &series);
        let lines: Vec<&str> = text.lines().collect();
        prop_assert_eq!(lines.len(), 1 + ROWS + 3);
        for line in &lines {
            prop_assert!(measure_text_width(line) <= width, "{} is wider than {}", line, width);
        }
        prop_assert_eq!(measure_text_width(lines[1 + ROWS]), width, "the axis takes the whole width");
        prop_assert!(!text.contains("NaN") && !text.contains("inf"));
        prop_assert!(dots(&text).iter().flatten().any(|letter| *letter != ' '));
    }

    #[test]
    fn any_windows_fit_any_width(
        windows in prop::collection::vec((any_time(), any_value(), any_value(), any_value()), 1..50), width in 40_usize..250,
    ) {
        let mut band = Band::new(60);
        for (time, min, mean, max) in windows {
            band.push(TimeMs(time), &window(min.min(max), mean, max.max(min)));
        }
        let text = drawn_band(width, &band);
        prop_assume!(text.lines().count() > 1);
        prop_assert_eq!(text.lines().count(), 1 + ROWS + 3);
        for line in text.lines() {
            prop_assert!(measure_text_width(line) <= width, "{} is wider than {}", line, width);
        }
        prop_assert!(!text.contains("NaN") && !text.contains("inf"));
    }

    /// The least and the greatest reading of one window among very many.
    #[test]
    fn the_extremes_of_one_window_stay_in_the_band(
        count in 3_i64..20_000, at in any::<prop::sample::Index>(), up in any::<bool>(),
    ) {
        let spike = at.index(count as usize) as i64;
        let extreme = |index| if index == spike { 100.0 } else { 1.0 };
        let windows = (0..count).map(|minute| match up {
            true => (minute, -1.0, 0.0, extreme(minute)),
            false => (minute, -extreme(minute), 0.0, 1.0),
        });
        let text = drawn_band(100, &band_of(windows));
        let rows = dots(&text);
        let row = if up { &rows[0] } else { &rows[ROWS - 1] };
        let axis = text.lines().nth(1 + ROWS).unwrap().trim_start().chars().count() - 1;
        let dot = (spike as f64 / (count - 1) as f64 * (axis * DOTS_ACROSS - 1) as f64).round() as usize;
        prop_assert_eq!(row.get(dot / DOTS_ACROSS), Some(&'░'), "the extreme at {} of {}\n{}", spike, count, text);
    }

    /// One reading among very many, far above or below the others, in whatever order they come.
    #[test]
    fn a_spike_stays_where_it_is(
        count in 3_i64..30_000, at in any::<prop::sample::Index>(), up in any::<bool>(), newest_first in any::<bool>(),
    ) {
        let spike = at.index(count as usize) as i64;
        let height = if up { 100.0 } else { -100.0 };
        let point = |index: i64| (NOON + index * 250, if index == spike { height } else { (index % 7) as f64 });
        let series = if newest_first { series_of((0..count).rev().map(point)) } else { series_of((0..count).map(point)) };
        let text = drawn(100, &series);
        let rows = dots(&text);
        let row = if up { &rows[0] } else { &rows[ROWS - 1] };
        let axis = text.lines().nth(1 + ROWS).unwrap().trim_start().chars().count() - 1;
        let exact = spike as f64 / (count - 1) as f64 * (axis * DOTS_ACROSS - 1) as f64;
        // Half-way between two dots either is right.
        let columns = [exact - 1e-6, exact + 1e-6].map(|dot| dot.round() as usize / DOTS_ACROSS);
        let set: Vec<usize> = (0..row.len()).filter(|column| row[*column] != ' ').collect();
        prop_assert!(columns.iter().any(|column| set.contains(column)), "the spike at {} of {}\n{}", spike, count, text);
        prop_assert!(set.len() <= 2 + axis / count as usize, "and nowhere else\n{}", text);
    }
}
