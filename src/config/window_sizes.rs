//! Sizes of windows.

use std::time::Duration;

use super::value::{Shape, Value, parse_duration};
use crate::model::{MILLIS_PER_DAY, WindowSize};

/// Seconds of a day.
const DAY_S: u32 = (MILLIS_PER_DAY / 1000) as u32;

/// Sizes in seconds, ascending, each once; at least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WindowSizes(pub Vec<u32>);

impl Value for WindowSizes {
    const SHAPE: Shape = Shape::List;
    const PLACEHOLDER: &'static str = "SIZE,SIZE,…";

    fn parse(text: &str) -> Result<WindowSizes, String> {
        let elements = Vec::<String>::parse(text)?;
        if elements.is_empty() {
            return Err("is empty; for no windows at all set windows.enabled = false or give --no-windows".into());
        }
        let mut sizes = Vec::with_capacity(elements.len());
        for element in &elements {
            let size_s = parse_window_size(element)?;
            if sizes.contains(&size_s) {
                return Err(format!("the size {} is there twice", WindowSize(size_s)));
            }
            sizes.push(size_s);
        }
        sizes.sort_unstable();
        Ok(WindowSizes(sizes))
    }
}

/// A window's size in seconds: `10s`, `1m`, `1h`, `1d`, or any other whole number of seconds that divides a day.
pub fn parse_window_size(text: &str) -> Result<u32, String> {
    let wrong = || format!("{text:?} is no size of a window: it must divide a day, for example 10s, 1m, 15m, 1h or 1d");
    let size = parse_duration(text).map_err(|_| wrong())?;
    let size_s = u32::try_from(size.as_secs()).map_err(|_| wrong())?;
    let divides = size == Duration::from_secs(size.as_secs()) && size_s > 0 && DAY_S.is_multiple_of(size_s);
    divides.then_some(size_s).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_divide_a_day_and_are_sorted() {
        assert_eq!(
            WindowSizes::parse("1h, 1m,1d,10s"),
            Ok(WindowSizes(vec![10, 60, 3600, 86_400]))
        );
        assert_eq!(parse_window_size("90m"), Ok(5400));
        for wrong in [
            "",
            "0s",
            "7s",
            "2d",
            "500ms",
            "1500ms",
            "60",
            "-1m",
            "5h",
            "soon",
            "99999999999s",
        ] {
            let error = parse_window_size(wrong).expect_err(wrong);
            assert!(error.contains("divide a day"), "{error}");
        }
    }

    #[test]
    fn no_size_and_a_size_twice_are_refused() {
        let empty = WindowSizes::parse("").unwrap_err();
        assert!(
            empty.contains("windows.enabled = false") && empty.contains("--no-windows"),
            "{empty}"
        );
        assert_eq!(WindowSizes::parse("1m,60s"), Err("the size 1m is there twice".into()));
        assert!(
            WindowSizes::parse("1m,7m")
                .unwrap_err()
                .starts_with("\"7m\" is no size")
        );
    }
}
