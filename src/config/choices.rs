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
    /// For what servers the defaults are made.
    Profile {
        /// One node of each.
        Single = "single",
        /// Three or more of each.
        Cluster = "cluster",
    }
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
    /// How a listener of Kafka is spoken to.
    KafkaSecurity {
        /// In the open, to everybody.
        Plaintext = "plaintext",
        /// By TLS; with a client certificate where one is set.
        Ssl = "ssl",
        /// With a login, in the open.
        SaslPlaintext = "sasl_plaintext",
        /// With a login, by TLS.
        SaslSsl = "sasl_ssl",
    }
}

impl KafkaSecurity {
    pub fn has_tls(self) -> bool {
        matches!(self, KafkaSecurity::Ssl | KafkaSecurity::SaslSsl)
    }

    pub fn has_login(self) -> bool {
        matches!(self, KafkaSecurity::SaslPlaintext | KafkaSecurity::SaslSsl)
    }
}

choice! {
    /// How a login proves that it knows the password.
    SaslMechanism {
        ScramSha512 = "scram_sha_512",
        ScramSha256 = "scram_sha_256",
        /// It sends it.
        Plain = "plain",
    }
}

impl SaslMechanism {
    /// As Kafka writes it.
    pub fn name(self) -> &'static str {
        match self {
            SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
            SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
            SaslMechanism::Plain => "PLAIN",
        }
    }
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
        assert_eq!(SaslMechanism::parse("SCRAM-SHA-256"), Ok(SaslMechanism::ScramSha256));
        assert_eq!(
            Start::parse("middle"),
            Err(r#""middle" is not one of earliest|latest"#.into())
        );
    }
}
