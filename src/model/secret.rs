//! Texts that must show up nowhere.

use std::fmt;

/// What is shown instead of a secret.
pub const MASK: &str = "***";

/// A password or the like: it prints as `***` however it is printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself: only for the client that must send it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Whether a client's property of that name holds a secret, going by the name.
pub fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // `sasl.oauthbearer.config` may hold a token; `ssl.key.pem` is a private key.
    ["password", "secret", "key", "jaas", "token", "oauthbearer.config"]
        .iter()
        .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_prints_masked() {
        let secret = Secret::new("canary");
        assert_eq!(
            (format!("{secret}"), format!("{secret:?}"), secret.expose()),
            ("***".into(), "***".into(), "canary")
        );
    }

    #[test]
    fn names_of_secrets_are_recognised() {
        for name in [
            "sasl.password",
            "SSL.Key.PEM",
            "sasl.oauthbearer.client.secret",
            "sasl.jaas.config",
        ] {
            assert!(is_secret_name(name), "{name}");
        }
        assert!(!is_secret_name("security.protocol"));
    }
}
