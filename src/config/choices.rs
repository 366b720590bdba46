//! Settings that are one of a few words.

use std::fmt;

use super::value::{Shape, Value};

/// An enum whose variants are words of the configuration; case and `-` or `_` between words make no difference.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $first:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name { $($(#[$about])* $variant),+ }

        impl $name {
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $first),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl Value for $name {
            const SHAPE: Shape = Shape::Text;
            const PLACEHOLDER: &'static str = choice!(@join $($first),+);

            fn parse(text: &str) -> Result<$name, String> {
                match text.to_ascii_lowercase().replace('-', "_").as_str() {
                    $($first => Ok($name::$variant),)+
                    _ => Err(format!("{text:?} is not one of {}", Self::PLACEHOLDER)),
                }
            }
        }
    };
    (@join $first:literal $(, $rest:literal)*) => { concat!($first $(, "|", $rest)*) };
}

choice! {
    /// Where a group starts that has committed nothing, on sources that the ledger does not know.
    Start { Earliest = "earliest", Latest = "latest" }
}

choice! {
    /// What to do where records were lost before they were read.
    OnDataLoss {
        /// Stop and say what to do.
        Refuse = "refuse",
        /// Record the hole and go on.
        Continue = "continue",
    }
}

choice! {
    /// The shape of a record's JSON.
    Payload {
        /// One measure a record.
        Narrow = "narrow",
        /// All measures of a sensor in one record.
        Wide = "wide",
    }
}

choice! {
    /// The encoding of a record.
    Codec { Json = "json", Avro = "avro" }
}

choice! {
    /// SQLite's `synchronous`: what survives a power cut.
    SqliteSynchronous { Full = "full", Normal = "normal", Off = "off" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_any_case_and_named_when_unknown() {
        assert_eq!(OnDataLoss::parse("Continue"), Ok(OnDataLoss::Continue));
        assert_eq!(SqliteSynchronous::parse("NORMAL"), Ok(SqliteSynchronous::Normal));
        assert_eq!(
            Start::parse("middle"),
            Err(r#""middle" is not one of earliest|latest"#.into())
        );
    }
}
