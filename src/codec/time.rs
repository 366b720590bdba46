//! Times as text.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::model::TimeMs;

/// RFC 3339 with or without an offset (none means UTC), cut to whole milliseconds towards the past.
pub fn parse_rfc3339(text: &str) -> Option<TimeMs> {
    // jiff accepts more than RFC 3339 does (zones in brackets, a lone date): the shape is checked first.
    let bytes = text.as_bytes();
    if bytes.len() < 19 || !matches!(bytes[10], b'T' | b't' | b' ') || text.contains('[') || !bytes[0].is_ascii_digit()
    {
        return None;
    }
    let timestamp = match text.parse::<Timestamp>() {
        Ok(timestamp) => timestamp,
        Err(_) => {
            let civil: DateTime = text.parse().ok()?;
            civil.to_zoned(TimeZone::UTC).ok()?.timestamp()
        }
    };
    Some(TimeMs(timestamp.as_nanosecond().div_euclid(1_000_000).try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_with_and_without_an_offset() {
        let noon = Some(TimeMs(1_762_344_000_000));
        for text in [
            "2025-11-05T12:00:00Z",
            "2025-11-05T12:00:00",
            "2025-11-05 12:00:00",
            "2025-11-05T13:00:00+01:00",
            "2025-11-05T12:00:00.000999Z",
        ] {
            assert_eq!(parse_rfc3339(text), noon, "{text}");
        }
        assert_eq!(
            parse_rfc3339("2025-11-05T12:00:00.123456"),
            Some(TimeMs(1_762_344_000_123))
        );
        assert_eq!(
            parse_rfc3339("1969-12-31T23:59:59.9995Z"),
            Some(TimeMs(-1)),
            "cut towards the past"
        );
    }

    #[test]
    fn other_texts_are_no_time() {
        for text in [
            "",
            "now",
            "2025-11-05",
            "1732000000123",
            "2025-13-05T12:00:00Z",
            "2025-11-05T12:00:00[UTC]",
        ] {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
    }
}
