//! What a command did, as an aligned block of names and values.

use console::measure_text_width;

/// One line a pair, the values in one column; every line ends with a newline.
pub fn summary(pairs: &[(&str, String)]) -> String {
    let width = pairs
        .iter()
        .map(|(name, _)| measure_text_width(name))
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for (name, value) in pairs {
        let padding = " ".repeat(width - measure_text_width(name));
        text.extend(["  ", name, &padding, "  ", value, "\n"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_one_column() {
        let pairs = [("records", "12,345".to_owned()), ("rate", "3.5k/s".to_owned())];
        assert_eq!(summary(&pairs), "  records  12,345\n  rate     3.5k/s\n");
        assert_eq!(summary(&[]), "");
    }
}
