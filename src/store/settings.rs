//! What the store is told about itself: resolved settings, no text left to interpret.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::StoreUrl;
use crate::model::Secret;
use crate::tls::TlsSettings;

/// How to reach and use a store.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    pub url: StoreUrl,
    /// Cassandra only.
    pub username: Option<String>,
    /// Cassandra only.
    pub password: Option<Secret>,
    /// Cassandra only; in the open where absent.
    pub tls: Option<TlsSettings>,
    /// Cassandra only: of reads and writes alike.
    pub consistency: Consistency,
    /// Cassandra only: of readings, written and read. Where it is another, readings are requests of their own.
    pub readings_consistency: ReadingsConsistency,
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
            tls: None,
            consistency: Consistency::default(),
            readings_consistency: ReadingsConsistency::default(),
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

/// How many replicas answer a read or a write of readings. Nothing is computed from stored readings, so less than a majority
/// breaks nothing else; but what only one replica has is gone with its disk, and a read that asks another misses it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadingsConsistency {
    One,
    /// One in the data centre that is asked.
    LocalOne,
    /// As everything else may be.
    Majority(Consistency),
}

impl ReadingsConsistency {
    pub fn as_str(self) -> &'static str {
        match self {
            ReadingsConsistency::One => "ONE",
            ReadingsConsistency::LocalOne => "LOCAL_ONE",
            ReadingsConsistency::Majority(level) => level.as_str(),
        }
    }

    /// The level at which a read sees every write that was acknowledged at this one.
    #[must_use]
    pub fn that_misses_nothing(self) -> ReadingsConsistency {
        match self {
            ReadingsConsistency::One | ReadingsConsistency::LocalOne => ReadingsConsistency::Majority(Consistency::All),
            ReadingsConsistency::Majority(_) => self,
        }
    }
}

impl Default for ReadingsConsistency {
    fn default() -> ReadingsConsistency {
        ReadingsConsistency::Majority(Consistency::default())
    }
}

impl fmt::Display for ReadingsConsistency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ReadingsConsistency {
    type Err = String;

    fn from_str(text: &str) -> Result<ReadingsConsistency, String> {
        match text.to_ascii_uppercase().replace('-', "_").as_str() {
            "ONE" => Ok(ReadingsConsistency::One),
            "LOCAL_ONE" => Ok(ReadingsConsistency::LocalOne),
            majority => majority.parse().map(ReadingsConsistency::Majority).map_err(|_| {
                format!("{text:?} is no consistency of readings: ONE, LOCAL_ONE, LOCAL_QUORUM, QUORUM or ALL")
            }),
        }
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
    fn a_read_after_writes_at_one_must_ask_all_replicas() {
        let quorum = ReadingsConsistency::Majority(Consistency::Quorum);
        let all = ReadingsConsistency::Majority(Consistency::All);
        assert_eq!(ReadingsConsistency::One.that_misses_nothing(), all);
        assert_eq!(ReadingsConsistency::LocalOne.that_misses_nothing(), all);
        assert_eq!(quorum.that_misses_nothing(), quorum);
    }

    #[test]
    fn names_parse_in_any_case_and_print_as_cassandra_writes_them() {
        assert_eq!("local-quorum".parse(), Ok(Consistency::LocalQuorum));
        assert_eq!("ALL".parse(), Ok(Consistency::All));
        assert_eq!("one".parse(), Ok(ReadingsConsistency::One));
        assert_eq!("Local_One".parse(), Ok(ReadingsConsistency::LocalOne));
        assert_eq!("quorum".parse(), Ok(ReadingsConsistency::Majority(Consistency::Quorum)));
        assert!(
            "two"
                .parse::<ReadingsConsistency>()
                .is_err_and(|error| error.contains("\"two\""))
        );
        assert_eq!("twcs".parse(), Ok(Compaction::Twcs));
        assert!("ONE".parse::<Consistency>().expect_err("too weak").contains("may miss"));
        assert!(
            "x".parse::<Compaction>()
                .expect_err("unknown")
                .contains("TWCS, STCS, LCS or UCS")
        );
    }
}
