//! What the store is told about itself: resolved settings, no text left to interpret.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::StoreUrl;
use crate::model::Secret;

/// How to reach and use a store.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    pub url: StoreUrl,
    /// Cassandra only.
    pub username: Option<String>,
    /// Cassandra only.
    pub password: Option<Secret>,
    /// Cassandra only: of reads and writes alike.
    pub consistency: Consistency,
    /// Cassandra only: the data centre whose nodes are asked. Needed by `LOCAL_QUORUM` where there are several: reads and
    /// writes that go to different ones do not see each other.
    pub data_centre: Option<String>,
    /// SQLite only: an acknowledged write outlives a power cut. Without, it outlives the process.
    pub sqlite_synchronous_full: bool,
    /// For all of the first connection, with finding the hosts.
    pub connect_timeout: Duration,
    /// For one request. Longer than the server's own timeouts (write 2 s, read 5 s), whose errors say more.
    pub request_timeout: Duration,
}

impl StoreSettings {
    /// The defaults for a store: durable, `LOCAL_QUORUM`.
    pub fn new(url: StoreUrl) -> StoreSettings {
        StoreSettings {
            url,
            username: None,
            password: None,
            consistency: Consistency::default(),
            data_centre: None,
            sqlite_synchronous_full: true,
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(10),
        }
    }
}

/// How many replicas answer a read or a write. Only levels at which a read sees every acknowledged write: what was stored
/// must stay visible, since its records are never folded again.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Consistency {
    /// A majority of the replicas in one data centre.
    #[default]
    LocalQuorum,
    /// A majority of all replicas.
    Quorum,
    All,
}

impl Consistency {
    pub fn as_str(self) -> &'static str {
        match self {
            Consistency::LocalQuorum => "LOCAL_QUORUM",
            Consistency::Quorum => "QUORUM",
            Consistency::All => "ALL",
        }
    }
}

impl fmt::Display for Consistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Consistency {
    type Err = String;

    fn from_str(text: &str) -> Result<Consistency, String> {
        let wanted = text.to_ascii_uppercase().replace('-', "_");
        [Consistency::LocalQuorum, Consistency::Quorum, Consistency::All]
            .into_iter()
            .find(|level| level.as_str() == wanted)
            .ok_or_else(|| {
                format!(
                    "{text:?} is no consistency to use here: LOCAL_QUORUM, QUORUM or ALL \
                     (with less, a read may miss what an acknowledged write stored)"
                )
            })
    }
}

/// What `init-schema` makes beyond the shape of the tables. SQLite has none of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SchemaSettings {
    pub replication: Replication,
    /// Readings older than so many seconds vanish. Kept for ever where absent.
    pub readings_ttl_s: Option<u32>,
    pub readings_compaction: Compaction,
}

impl Default for SchemaSettings {
    fn default() -> SchemaSettings {
        SchemaSettings {
            replication: Replication::Factor(1),
            readings_ttl_s: None,
            readings_compaction: Compaction::default(),
        }
    }
}

/// Copies of each row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Replication {
    /// So many on any nodes (SimpleStrategy): for one data centre.
    Factor(u32),
    /// So many in each data centre (NetworkTopologyStrategy).
    PerDataCentre(BTreeMap<String, u32>),
}

impl Replication {
    /// The options of `CREATE KEYSPACE … WITH replication`, as Cassandra shows them too.
    pub(super) fn options(&self) -> BTreeMap<String, String> {
        let mut options = BTreeMap::new();
        match self {
            Replication::Factor(factor) => {
                options.insert("class".to_owned(), "SimpleStrategy".to_owned());
                options.insert("replication_factor".to_owned(), factor.to_string());
            }
            Replication::PerDataCentre(factors) => {
                options.insert("class".to_owned(), "NetworkTopologyStrategy".to_owned());
                options.extend(factors.iter().map(|(name, factor)| (name.clone(), factor.to_string())));
            }
        }
        options
    }
}

/// How Cassandra merges the files of readings.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum Compaction {
    /// By day: what is written on one day is never merged with another's, and expires as whole files.
    #[default]
    Twcs,
    Stcs,
    Lcs,
    Ucs,
}

impl Compaction {
    pub fn as_str(self) -> &'static str {
        match self {
            Compaction::Twcs => "TWCS",
            Compaction::Stcs => "STCS",
            Compaction::Lcs => "LCS",
            Compaction::Ucs => "UCS",
        }
    }

    /// The options of `CREATE TABLE … WITH compaction`.
    pub(super) fn options(self) -> BTreeMap<String, String> {
        let options: &[(&str, &str)] = match self {
            Compaction::Twcs => &[
                ("class", "TimeWindowCompactionStrategy"),
                ("compaction_window_unit", "DAYS"),
                ("compaction_window_size", "1"),
            ],
            Compaction::Stcs => &[("class", "SizeTieredCompactionStrategy")],
            Compaction::Lcs => &[("class", "LeveledCompactionStrategy")],
            Compaction::Ucs => &[("class", "UnifiedCompactionStrategy")],
        };
        options
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

impl fmt::Display for Compaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Compaction {
    type Err = String;

    fn from_str(text: &str) -> Result<Compaction, String> {
        [Compaction::Twcs, Compaction::Stcs, Compaction::Lcs, Compaction::Ucs]
            .into_iter()
            .find(|strategy| strategy.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("{text:?} is no compaction strategy: TWCS, STCS, LCS or UCS"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        let mut settings = StoreSettings::new("cassandra://db/k".parse().expect("a good address"));
        settings.password = Some(Secret::new("s3cret"));
        let shown = format!("{settings:?}");
        assert!(shown.contains("***") && !shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn names_parse_in_any_case_and_print_as_cassandra_writes_them() {
        assert_eq!("local-quorum".parse(), Ok(Consistency::LocalQuorum));
        assert_eq!("ALL".parse(), Ok(Consistency::All));
        assert_eq!("twcs".parse(), Ok(Compaction::Twcs));
        assert!("ONE".parse::<Consistency>().expect_err("too weak").contains("may miss"));
        assert!(
            "x".parse::<Compaction>()
                .expect_err("unknown")
                .contains("TWCS, STCS, LCS or UCS")
        );
    }
}
