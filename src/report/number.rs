//! Numbers as a person reads them, and values exactly as they are.

use std::time::Duration;

/// The shortest text that reads back as the same f64: `23.4567`, `27.0`, `1e300`.
pub fn value(value: f64) -> String {
    zmij::Buffer::new().format(value).to_owned()
}

/// With thousands separated: `12,345`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// About three digits with a decimal prefix: `950`, `3.5k`, `12.3M`.
pub fn short(number: f64) -> String {
    scaled(number, 1000.0, &["", "k", "M", "G", "T", "P"])
}

/// Per second, about three digits: `3.5k/s`.
pub fn rate(per_second: f64) -> String {
    format!("{}/s", short(per_second))
}

/// With a binary prefix: `512 B`, `1.5 MiB`.
pub fn bytes(bytes: u64) -> String {
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    // Above 2^53 the loss is far below the three digits shown.
    scaled(bytes as f64, 1024.0, &[" B", " KiB", " MiB", " GiB", " TiB", " PiB"])
}

/// The prefix is chosen after rounding: 999.96 thousand is `1.0M`, never `1000k`.
fn scaled(number: f64, base: f64, prefixes: &[&str]) -> String {
    let mut number = number;
    let mut prefix = 0;
    while number.abs() >= 999.5 && prefix + 1 < prefixes.len() {
        number /= base;
        prefix += 1;
    }
    let decimals = if number.abs() < 99.95 && (prefix > 0 || number.fract() != 0.0) {
        1
    } else {
        0
    };
    format!("{number:.decimals$}{}", prefixes[prefix])
}

/// As long as it must be: `850 µs`, `250 ms`, `12.3 s`, `2m 05s`, `1h 02m`, `3d 04h`.
pub fn duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    if micros < 1_000 {
        return format!("{micros} µs");
    }
    if micros < 999_500 {
        return format!("{:.0} ms", micros as f64 / 1e3);
    }
    if micros < 59_950_000 {
        return format!("{:.1} s", micros as f64 / 1e6);
    }
    let seconds = (micros + 500_000) / 1_000_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    if hours == 0 {
        format!("{minutes}m {:02}s", seconds % 60)
    } else if days == 0 {
        format!("{hours}h {:02}m", minutes % 60)
    } else {
        format!("{days}d {:02}h", hours % 24)
    }
}

/// At most six digits for a person; a f64's own text may have seventeen.
pub fn compact(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e9).contains(&magnitude) {
        return without_zeros(&format!("{value:.5e}"));
    }
    let decimals = usize::try_from(5 - magnitude.log10().floor() as i32).unwrap_or(0);
    without_zeros(&format!("{value:.decimals$}"))
}

/// `2.5000` is `2.5` and `1.00000e9` is `1e9`.
fn without_zeros(text: &str) -> String {
    let (number, exponent) = text
        .split_once('e')
        .map_or((text, None), |(number, exponent)| (number, Some(exponent)));
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    exponent.map_or_else(|| number.to_owned(), |exponent| format!("{number}e{exponent}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn thousands_are_separated() {
        let pairs = [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (12_345, "12,345"),
            (1_234_567, "1,234,567"),
        ];
        for (number, text) in pairs {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn rates_have_about_three_digits() {
        let pairs = [
            (0.0, "0/s"),
            (0.25, "0.2/s"),
            (9.5, "9.5/s"),
            (950.0, "950/s"),
            (999.7, "1.0k/s"),
            (3500.0, "3.5k/s"),
            (12_345.0, "12.3k/s"),
            (123_456.0, "123k/s"),
            (999_960.0, "1.0M/s"),
        ];
        for (number, text) in pairs {
            assert_eq!(rate(number), text);
        }
    }

    #[test]
    fn bytes_have_binary_prefixes() {
        let pairs = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 KiB"),
            (1024, "1.0 KiB"),
            (1_572_864, "1.5 MiB"),
        ];
        for (number, text) in pairs {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(bytes(u64::MAX), "16384 PiB");
    }

    #[test]
    fn durations_are_as_long_as_they_must_be() {
        let pairs = [
            (0, "0 µs"),
            (850, "850 µs"),
            (250_000, "250 ms"),
            (999_499, "999 ms"),
            (999_500, "1.0 s"),
            (12_345_000, "12.3 s"),
            (59_949_999, "59.9 s"),
            (59_950_000, "1m 00s"),
            (125_000_000, "2m 05s"),
            (3_725_000_000, "1h 02m"),
            (273_600_000_000, "3d 04h"),
        ];
        for (micros, text) in pairs {
            assert_eq!(duration(Duration::from_micros(micros)), text);
        }
    }

    #[test]
    fn compact_numbers_have_at_most_six_digits() {
        let pairs = [
            (0.0, "0"),
            (27.0, "27"),
            (23.456_789_012, "23.4568"),
            (-0.001_5, "-0.0015"),
            (1013.25, "1013.25"),
            (1e300, "1e300"),
            (-1.234_567_89e-10, "-1.23457e-10"),
            (123_456_789.0, "123456789"),
        ];
        for (value, text) in pairs {
            assert_eq!(compact(value), text);
        }
    }

    proptest! {
        #[test]
        fn a_value_reads_back_exactly(number in any::<f64>().prop_filter("finite", |number| number.is_finite())) {
            prop_assert_eq!(value(number).parse::<f64>().unwrap().to_bits(), number.to_bits());
        }
    }
}
