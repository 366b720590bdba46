//! The usual record in one pass: an object of strings without escapes, numbers, booleans and nulls. It takes a quarter of
//! what a general parser takes.
//!
//! It answers only where that one would say the same, and otherwise nothing at all: escapes, nested values, numbers that do
//! not fit and whatever is wrong are left to it.

use std::borrow::Cow;
use std::ops::Range;

use super::Scalar;

/// Whether the text has neither escapes nor control characters: a string of it simply ends at the next quote.
pub(super) fn is_plain(text: &str) -> bool {
    // All bytes at once, which the compiler does many at a time.
    let is_odd = |byte: &u8| (*byte < b' ') | (*byte == b'\\');
    !text.as_bytes().iter().fold(false, |found, byte| found | is_odd(byte))
}

/// The fields of the object in their order; `None` where the text, which must be plain, is not of the usual kind.
pub(super) fn parse(text: &str) -> Option<Vec<(Cow<'_, str>, Scalar<'_>)>> {
    let mut fields = Vec::with_capacity(8);
    scan(text, |field| fields.push((Cow::Borrowed(field.name), field.value)))?;
    Some(fields)
}

/// A field as it stands in the text.
pub(super) struct Field<'a> {
    pub name: &'a str,
    pub value: Scalar<'a>,
    /// Where the value stands, without quotes.
    pub at: Range<usize>,
}

/// Hands over the fields one after the other; `None` where the text, which must be plain, is not of the usual kind.
#[inline]
pub(super) fn scan<'a>(text: &'a str, mut take: impl FnMut(Field<'a>)) -> Option<()> {
    let mut scanner = Scanner::new(text);
    scanner.token(b'{')?;
    loop {
        scanner.skip_spaces();
        let name = scanner.string()?;
        scanner.token(b':')?;
        scanner.skip_spaces();
        let from = scanner.at;
        let value = scanner.scalar()?;
        let quote = usize::from(matches!(value, Scalar::Text(_)));
        take(Field {
            name,
            value,
            at: from + quote..scanner.at - quote,
        });
        scanner.skip_spaces();
        match scanner.next()? {
            b',' => {}
            b'}' => break,
            _ => return None,
        }
    }
    scanner.skip_spaces();
    scanner.is_at_end().then_some(())
}

/// Where in a plain text it is.
pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Scanner<'a> {
        Scanner { text, at: 0 }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// Passes over exactly this.
    #[inline]
    pub(super) fn literal(&mut self, literal: &str) -> Option<()> {
        let is_there = self.text.as_bytes()[self.at..].starts_with(literal.as_bytes());
        self.at += literal.len();
        is_there.then_some(())
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    #[inline]
    fn skip_spaces(&mut self) {
        while self.peek() == Some(b' ') {
            self.at += 1;
        }
    }

    #[inline]
    fn token(&mut self, wanted: u8) -> Option<()> {
        self.skip_spaces();
        (self.next()? == wanted).then_some(())
    }

    /// The value that begins here.
    pub(super) fn scalar(&mut self) -> Option<Scalar<'a>> {
        match self.peek()? {
            b'"' => self.string().map(|text| Scalar::Text(Cow::Borrowed(text))),
            b't' => self.literal("true").map(|()| Scalar::Boolean(true)),
            b'f' => self.literal("false").map(|()| Scalar::Boolean(false)),
            b'n' => self.literal("null").map(|()| Scalar::Null),
            _ => self.number(),
        }
    }

    /// What lies between two quotes.
    #[inline]
    fn string(&mut self) -> Option<&'a str> {
        if self.next()? != b'"' {
            return None;
        }
        let text = self.until_quote()?;
        self.at += 1;
        Some(text)
    }

    /// What lies before the next quote, where it then stands: eight bytes at a time (Warren, "Hacker's Delight", 6-1).
    #[inline]
    pub(super) fn until_quote(&mut self) -> Option<&'a str> {
        const ONES: u64 = u64::from_ne_bytes([1; 8]);
        const QUOTES: u64 = u64::from_ne_bytes([b'"'; 8]);
        let rest = &self.text.as_bytes()[self.at..];
        let (words, tail) = rest.as_chunks::<8>();
        let found = words.iter().enumerate().find_map(|(index, word)| {
            let zeros_at_quotes = u64::from_le_bytes(*word) ^ QUOTES;
            let found = zeros_at_quotes.wrapping_sub(ONES) & !zeros_at_quotes & (ONES << 7);
            (found != 0).then(|| index * 8 + found.trailing_zeros() as usize / 8)
        });
        let in_tail = || Some(words.len() * 8 + tail.iter().position(|byte| *byte == b'"')?);
        let from = self.at;
        self.at += found.or_else(in_tail)?;
        // A quote is a character of its own in UTF-8.
        self.text.get(from..self.at)
    }

    /// By the grammar of RFC 8259, section 6: the standard library's parsers take more than that.
    fn number(&mut self) -> Option<Scalar<'a>> {
        let from = self.at;
        let is_negative = self.peek()? == b'-';
        self.at += usize::from(is_negative);
        let starts_with_0 = self.peek()? == b'0';
        let mut digits = Digits::default();
        let before_point = self.digits(&mut digits)?;
        if starts_with_0 && before_point > 1 {
            return None;
        }
        let after_point = match self.peek() {
            Some(b'.') => {
                self.at += 1;
                self.digits(&mut digits)?
            }
            _ => 0,
        };
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits(&mut Digits::default())?;
        } else if digits.count <= EXACT_DIGITS {
            // -0 is no integer.
            return match after_point {
                0 if is_negative && digits.value == 0 => None,
                0 => Some(Scalar::Integer(if is_negative { -digits.value } else { digits.value })),
                _ => Some(Scalar::Number(quotient(is_negative, digits.value, after_point))),
            };
        }
        let number = &self.text[from..self.at];
        let value: f64 = number.parse().ok()?;
        let is_integer = number.bytes().all(|byte| matches!(byte, b'-' | b'0'..=b'9'));
        (value.is_finite() && !is_integer).then_some(Scalar::Number(value))
    }

    /// Passes over digits, of which there must be one at least, and answers how many.
    #[inline]
    fn digits(&mut self, digits: &mut Digits) -> Option<usize> {
        let from = self.at;
        while let Some(byte @ b'0'..=b'9') = self.peek() {
            digits.value = digits.value.wrapping_mul(10).wrapping_add(i64::from(byte - b'0'));
            self.at += 1;
        }
        let count = self.at - from;
        digits.count += count;
        (count > 0).then_some(count)
    }
}

/// Digits read so far, as an integer; without meaning beyond [`EXACT_DIGITS`] of them.
#[derive(Default)]
struct Digits {
    value: i64,
    count: usize,
}

/// So many digits make an integer that a double holds exactly.
const EXACT_DIGITS: usize = 15;

/// The double nearest to a decimal fraction: digits and power of ten are exact, and one division rounds once. Clinger, "How
/// to read floating point numbers accurately" (1990).
#[expect(clippy::cast_precision_loss, reason = "15 digits are less than 2^53")]
fn quotient(is_negative: bool, digits: i64, after_point: usize) -> f64 {
    const POWERS: [f64; EXACT_DIGITS + 1] = [
        1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
    ];
    let value = digits as f64 / POWERS[after_point];
    if is_negative { -value } else { value }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::parse_any;
    use super::*;

    /// Whether it was answered; what was answered is what the general parser says.
    fn answers(text: &str) -> bool {
        let Some(fields) = is_plain(text).then(|| parse(text)).flatten() else {
            return false;
        };
        let general =
            parse_any(text, "location").unwrap_or_else(|why| panic!("{text}: answered, and is wrong: {why:?}"));
        // As text, in which -0.0 is not 0.0.
        assert_eq!(format!("{fields:?}"), format!("{:?}", general.fields), "{text}");
        true
    }

    #[test]
    fn the_usual_record_is_answered() {
        assert!(answers(
            r#"{"sensor_id":"6f1c2d3e-0000-4000-8000-00000000abcd","reading_time":1762344000000,"type":"t","reading":23.4567}"#
        ));
        assert!(answers(
            " { \"a\" : -1.5e-3 , \"b\" : true, \"c\":false, \"d\":null, \"größe\":\"é\", \"n\":-12, \"z\":0, \"f\":-0.5, \"g\":-0.0 } "
        ));
    }

    #[test]
    fn what_is_unusual_is_left_to_the_general_parser() {
        let values = [
            "-0",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "1e+",
            "1e999",
            "-1e999",
            "NaN",
            "Infinity",
            "inf",
            "nul",
            "truE",
            "t",
            "99999999999999999999",
            "18446744073709551615",
            r#""a\"b""#,
            r#""\u0041""#,
            "\"a\tb\"",
            "\"open",
            "{}",
            "[1]",
            "",
            " ",
            "1 2",
            "'a'",
            "0x10",
            "1_000",
            "-",
            "--1",
        ];
        for value in values {
            assert!(!answers(&format!("{{\"a\":{value}}}")), "{value}");
        }
        for text in [
            "",
            "{",
            "{}",
            "{\"a\"}",
            "{\"a\":1",
            "{\"a\":1,}",
            "{\"a\":1}}",
            "{\"a\":1}x",
            "{a:1}",
            "{\"a\":1;}",
            "[]",
        ] {
            assert!(!answers(text), "{text}");
        }
    }

    /// Pieces of JSON, mostly in their place.
    fn nearly_json() -> impl Strategy<Value = String> {
        let number = "-?(0|[1-9][0-9]{0,19})(\\.[0-9]{0,20})?([eE][+-]?[0-9]{0,3})?";
        let value = prop_oneof![
            4 => number,
            2 => "\"[ -~é\\\\]{0,6}\"",
            1 => prop_oneof![Just("true"), Just("false"), Just("null"), Just("{\"x\":1}"), Just("[]")].prop_map(str::to_owned),
            1 => any::<f64>().prop_map(|value| format!("{value:?}")),
            1 => any::<i64>().prop_map(|value| value.to_string()),
        ];
        let field = ("\"[a-z]{1,3}\"", "[ \n]{0,1}", value)
            .prop_map(|(name, space, value)| format!("{name}{space}:{space}{value}"));
        proptest::collection::vec(field, 0..5).prop_map(|fields| format!("{{{}}}", fields.join(", ")))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn what_is_answered_is_what_the_general_parser_says(text in nearly_json(), at in any::<prop::sample::Index>(), byte in 0_u8..0x80) {
            answers(&text);
            // One character replaced.
            let mut bytes = text.into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            if let Ok(text) = String::from_utf8(bytes) {
                answers(&text);
            }
        }
    }
}
