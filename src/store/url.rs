//! Where the store is, as one line: `cassandra://host[:port][,host[:port]]/keyspace` or `sqlite:path`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

/// Cassandra's port for clients.
pub const DEFAULT_CASSANDRA_PORT: u16 = 9042;

/// Cassandra's own limit on names.
const MAX_KEYSPACE_BYTES: usize = 48;

/// A store's address, checked: what parses can be put into CQL and into an error message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreUrl {
    Cassandra {
        /// Where to find the cluster, each `host:port`; never empty.
        hosts: Vec<String>,
        keyspace: String,
    },
    Sqlite {
        path: PathBuf,
    },
}

/// What is wrong with the text of a store's address. It never repeats what stands before an `@`: that may be a password.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{0}")]
pub struct StoreUrlError(String);

impl StoreUrl {
    /// Name of the Cassandra keyspace; `None` for SQLite.
    pub fn keyspace(&self) -> Option<&str> {
        match self {
            StoreUrl::Cassandra { keyspace, .. } => Some(keyspace),
            StoreUrl::Sqlite { .. } => None,
        }
    }
}

impl FromStr for StoreUrl {
    type Err = StoreUrlError;

    fn from_str(text: &str) -> Result<StoreUrl, StoreUrlError> {
        if let Some(rest) = text.strip_prefix("cassandra://") {
            parse_cassandra(rest)
        } else if let Some(rest) = text.strip_prefix("sqlite:") {
            parse_sqlite(rest)
        } else {
            let shown = if text.contains('@') { "store" } else { text };
            Err(StoreUrlError(format!(
                "{shown:?} is no store: use cassandra://host[:port][,host[:port]]/keyspace or sqlite:path"
            )))
        }
    }
}

fn parse_cassandra(rest: &str) -> Result<StoreUrl, StoreUrlError> {
    let fail = |why: String| Err(StoreUrlError(why));
    if rest.contains('@') {
        return fail("a store's address holds no user and password: they have settings of their own".to_owned());
    }
    let Some((hosts, keyspace)) = rest.split_once('/') else {
        return fail(format!(
            "cassandra://{rest} names no keyspace: use cassandra://host[:port]/keyspace"
        ));
    };
    check_keyspace(keyspace)?;
    let hosts = hosts.split(',').map(parse_host).collect::<Result<Vec<_>, _>>()?;
    Ok(StoreUrl::Cassandra {
        hosts,
        keyspace: keyspace.to_owned(),
    })
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`, made into `host:port`.
fn parse_host(text: &str) -> Result<String, StoreUrlError> {
    let bad = |why: &str| StoreUrlError(format!("bad host {text:?} in the store's address: {why}"));
    let (host, port) = match text.strip_prefix('[') {
        Some(v6) => {
            let (inside, after) = v6
                .split_once(']')
                .ok_or_else(|| bad("the closing bracket is missing"))?;
            inside
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| bad("no IPv6 address between the brackets"))?;
            let port = match after {
                "" => None,
                _ => Some(
                    after
                        .strip_prefix(':')
                        .ok_or_else(|| bad("only :port may follow the bracket"))?,
                ),
            };
            (&text[..inside.len() + 2], port)
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    if host.is_empty() {
        return Err(bad("the name is empty"));
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if !host.starts_with('[') && !host.chars().all(is_name) {
        return Err(bad("a host is a name or an address (IPv6 in brackets)"));
    }
    let port = match port {
        None => DEFAULT_CASSANDRA_PORT,
        Some(port) => match port.parse::<u16>() {
            Ok(port) if port > 0 => port,
            _ => return Err(bad("the port is a number from 1 to 65535")),
        },
    };
    Ok(format!("{host}:{port}"))
}

/// The keyspace's name goes into CQL unquoted, where nothing can be bound: hence the strict rule.
fn check_keyspace(name: &str) -> Result<(), StoreUrlError> {
    let fits = name.len() <= MAX_KEYSPACE_BYTES
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if fits {
        return Ok(());
    }
    Err(StoreUrlError(format!(
        "bad keyspace {name:?}: it starts with a letter a-z and has letters a-z, digits and underscores only, \
         at most {MAX_KEYSPACE_BYTES}"
    )))
}

fn parse_sqlite(rest: &str) -> Result<StoreUrl, StoreUrlError> {
    // Many tools write sqlite://path and sqlite:///path; the two slashes mean nothing.
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() {
        return Err(StoreUrlError("sqlite: names no file: use sqlite:path".to_owned()));
    }
    if path.starts_with(':') || path.starts_with("file:") {
        // Several connections share the database, which a database in memory does not allow.
        return Err(StoreUrlError(format!("sqlite:{path} is no file: use sqlite:path")));
    }
    Ok(StoreUrl::Sqlite {
        path: PathBuf::from(path),
    })
}

impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreUrl::Cassandra { hosts, keyspace } => write!(f, "cassandra://{}/{keyspace}", hosts.join(",")),
            StoreUrl::Sqlite { path } => write!(f, "sqlite:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(text: &str) -> String {
        text.parse::<StoreUrl>().expect_err(text).to_string()
    }

    #[test]
    fn hosts_get_the_default_port_and_print_as_they_are_used() {
        let printed = |text: &str| text.parse::<StoreUrl>().expect(text).to_string();
        assert_eq!(printed("cassandra://db/iot_data"), "cassandra://db:9042/iot_data");
        assert_eq!(printed("cassandra://a:1,10.0.0.2/k"), "cassandra://a:1,10.0.0.2:9042/k");
        assert_eq!(
            printed("cassandra://[::1],[::2]:99/k"),
            "cassandra://[::1]:9042,[::2]:99/k"
        );
        assert_eq!(printed("sqlite:data/x.db"), "sqlite:data/x.db");
        assert_eq!(printed("sqlite:///tmp/x.db"), "sqlite:/tmp/x.db");
        for text in ["cassandra://a:1,b:2/k", "sqlite:/tmp/x.db"] {
            let url: StoreUrl = text.parse().expect(text);
            assert_eq!(url.to_string().parse(), Ok(url), "what is printed parses to the same");
        }
    }

    #[test]
    fn a_bad_address_is_named_with_what_to_write_instead() {
        assert!(error_of("postgres://db/x").contains("cassandra://host[:port][,host[:port]]/keyspace or sqlite:path"));
        assert!(error_of("cassandra://db").contains("names no keyspace"));
        assert!(error_of("cassandra://db/Iot").contains("bad keyspace \"Iot\""));
        assert!(error_of("cassandra://db/1x").contains("starts with a letter"));
        assert!(error_of("cassandra://db/a;drop").contains("bad keyspace"));
        assert!(error_of(&format!("cassandra://db/{}", "a".repeat(49))).contains("at most 48"));
        assert!(error_of("cassandra:///k").contains("the name is empty"));
        assert!(error_of("cassandra://a,,b/k").contains("the name is empty"));
        assert!(error_of("cassandra://a:0/k").contains("1 to 65535"));
        assert!(error_of("cassandra://a:x/k").contains("1 to 65535"));
        assert!(error_of("cassandra://::1/k").contains("the name is empty"));
        assert!(error_of("cassandra://fe80::1/k").contains("1 to 65535"));
        assert!(error_of("cassandra://[::1/k").contains("closing bracket"));
        assert!(error_of("sqlite:").contains("names no file"));
        assert!(error_of("sqlite::memory:").contains("is no file"));
    }

    #[test]
    fn a_password_in_the_address_is_refused_and_never_repeated() {
        for text in ["cassandra://me:s3cret@db/k", "cassandr://me:s3cret@db/k"] {
            assert!(!error_of(text).contains("s3cret"), "{}", error_of(text));
        }
    }
}
