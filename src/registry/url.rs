//! Where the registry is: `http://host:8081` or `https://…`, with the path where its interface begins.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::tls;

/// A registry's address, checked; without a slash at its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegistryUrl(String);

/// What is wrong with the text of a registry's address. It never repeats what may hold a password.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{0}")]
pub struct RegistryUrlError(String);

impl RegistryUrl {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is reached by TLS.
    pub fn is_secure(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl fmt::Display for RegistryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for RegistryUrl {
    type Err = RegistryUrlError;

    fn from_str(text: &str) -> Result<RegistryUrl, RegistryUrlError> {
        let fail = |why: String| Err(RegistryUrlError(why));
        if text.contains('@') {
            return fail("a registry's address holds no user and password: they have settings of their own".to_owned());
        }
        if text.starts_with("https://") && !tls::IS_BUILT_IN {
            return fail(format!(
                "{text:?} needs TLS, which this build does not have: build it with the feature tls"
            ));
        }
        let schemes = ["http://", "https://"];
        let rest = schemes
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .unwrap_or_default();
        let host = rest.split('/').next().unwrap_or_default();
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._~:/[]%".contains(c);
        if host.is_empty() || !rest.chars().all(is_plain) {
            return fail(format!(
                "{text:?} is no registry: use http://host[:port] or https://host[:port], with the path where its interface begins"
            ));
        }
        Ok(RegistryUrl(text.trim_end_matches('/').to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_keeps_its_path_and_loses_the_slash_at_its_end() {
        for (text, expected) in [
            ("http://127.0.0.1:8081", "http://127.0.0.1:8081"),
            ("http://r:8080/apis/ccompat/v7/", "http://r:8080/apis/ccompat/v7"),
            ("http://[::1]:8081", "http://[::1]:8081"),
        ] {
            assert_eq!(
                text.parse::<RegistryUrl>().map(|url| url.to_string()),
                Ok(expected.to_owned())
            );
        }
    }

    #[test]
    fn what_is_no_address_is_refused_and_a_password_never_shown() {
        for text in [
            "",
            "registry:8081",
            "http://",
            "http:///x",
            "http://a b",
            "ftp://x",
            "https://",
            "http://x?a=b",
        ] {
            assert!(text.parse::<RegistryUrl>().is_err(), "{text}");
        }
        assert_eq!(
            "https://x".parse::<RegistryUrl>().is_ok_and(|url| url.is_secure()),
            tls::IS_BUILT_IN
        );
        let error = "http://me:canary@host".parse::<RegistryUrl>().unwrap_err().to_string();
        assert!(!error.contains("canary"), "{error}");
    }
}
