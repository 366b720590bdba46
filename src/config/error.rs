//! What is wrong with the way the program was called or configured.

use thiserror::Error;

/// One line that names the flag, variable or line of a file, and what is wrong with it. Ends the program with exit
/// code 2.
#[derive(Clone, PartialEq, Eq, Error, Debug)]
#[error("{0}")]
pub struct UsageError(pub String);

/// `; did you mean …?` with the known name that is nearest to the one given, or nothing where none is near.
pub fn suggestion<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let nearest = known.into_iter().map(|name| (edits(given, name), name)).min();
    match nearest {
        Some((distance, name)) if distance <= name.len().div_ceil(3) => format!("; did you mean {name}?"),
        _ => String::new(),
    }
}

/// Levenshtein distance in characters.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_and_nothing_where_none_is_near() {
        let known = ["kafka.topic", "kafka.brokers", "store.url"];
        assert_eq!(suggestion("kafka.broker", known), "; did you mean kafka.brokers?");
        assert_eq!(suggestion("kafka.tpoic", known), "; did you mean kafka.topic?");
        assert_eq!(suggestion("something.else", known), "");
        assert_eq!(
            (edits("kitten", "sitting"), edits("", "abc"), edits("abc", "abc")),
            (3, 3, 0)
        );
    }
}
