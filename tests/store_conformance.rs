//! What every store must do, as one suite that both run: the same checks on Cassandra and on SQLite.
//!
//! `checks`, `windows` and `alerts` hold the behaviour, generic over the trait; `schema` and `foreign` how tables are made and
//! judged, `raw` what lies in them; this file gives each test a store of its own and takes it away afterwards.

mod alerts;
mod checks;
mod foreign;
mod raw;
mod schema;
mod windows;

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use iotpipe::store::{AnyStore, SchemaSettings, StoreSettings, StoreUrl};
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;
use tempfile::TempDir;

/// `host:port` of the Cassandra that tests may make keyspaces in.
fn cassandra_address() -> String {
    crate::servers::servers().cassandra.clone()
}

/// A place for one store, empty at first.
struct Site {
    settings: StoreSettings,
    /// SQLite: goes away with the site.
    directory: Option<TempDir>,
}

impl Site {
    fn cassandra() -> Site {
        let keyspace = format!("t_{}", uuid::Uuid::new_v4().simple());
        let url: StoreUrl = format!("cassandra://{}/{keyspace}", cassandra_address())
            .parse()
            .expect("an address");
        Site {
            settings: StoreSettings::new(url),
            directory: None,
        }
    }

    fn sqlite() -> Site {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let url = StoreUrl::Sqlite {
            path: directory.path().join("store.db"),
        };
        Site {
            settings: StoreSettings::new(url),
            directory: Some(directory),
        }
    }

    fn keyspace(&self) -> &str {
        self.settings.url.keyspace().expect("a Cassandra site")
    }

    /// A connection past our own code, to look at what it left or to leave something for it to find.
    async fn raw_cassandra(&self) -> Session {
        SessionBuilder::new()
            .known_node(cassandra_address())
            .build()
            .await
            .expect("a session")
    }

    fn raw_sqlite(&self) -> rusqlite::Connection {
        let StoreUrl::Sqlite { path } = &self.settings.url else {
            panic!("a SQLite site")
        };
        rusqlite::Connection::open(path).expect("a connection")
    }

    /// Runs a test here and cleans up, however it ends.
    fn run(self, test: impl AsyncFnOnce(&Site)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let outcome = AssertUnwindSafe(test(&self)).catch_unwind().await;
            if self.directory.is_none() {
                let statement = format!("DROP KEYSPACE IF EXISTS {}", self.keyspace());
                self.raw_cassandra()
                    .await
                    .query_unpaged(statement, ())
                    .await
                    .expect("the keyspace is dropped");
            }
            if let Err(panic) = outcome {
                std::panic::resume_unwind(panic);
            }
        });
    }

    /// Runs a test on a store with all its tables.
    fn with_store(self, test: impl AsyncFnOnce(&AnyStore)) {
        self.run(async |site| {
            let schema = SchemaSettings::default();
            let report = iotpipe::store::schema::apply(&site.settings, &schema)
                .await
                .expect("the schema is applied");
            assert_eq!(report.differences, []);
            let store = AnyStore::open(&site.settings).await.expect("the store opens");
            test(&store).await;
        });
    }
}

/// Each check of the suite becomes one test a store.
macro_rules! conformance {
    ($($file:ident: { $($check:ident),+ $(,)? })+) => {
        mod cassandra {
            $($(#[test]
            fn $check() {
                super::Site::cassandra().with_store(async |store| super::$file::$check(store).await);
            })+)+
        }
        mod sqlite {
            $($(#[test]
            fn $check() {
                super::Site::sqlite().with_store(async |store| super::$file::$check(store).await);
            })+)+
        }
    };
}

conformance! {
    checks: {
        the_newer_cell_wins_in_every_order,
        values_survive_to_the_bit,
        a_replay_changes_nothing,
        a_write_may_span_days_and_be_large,
        readings_come_by_order_limit_kind_and_range,
        answers_are_longer_than_a_page,
        sightings_merge_in_any_order,
        the_directory_lists_every_sensor_once,
        of_two_that_open_a_source_both_see_the_winner,
        an_acknowledged_offset_never_goes_back,
        a_run_is_kept_as_it_was_saved,
        an_empty_store_answers_with_nothing,
    }
    windows: {
        the_cell_with_the_largest_offset_wins_in_every_order,
        cells_that_are_written_at_once_end_in_the_largest_offset,
        a_load_answers_what_was_written_and_none_for_the_rest,
        loads_of_several_sensors_at_once_are_each_answered,
        cells_survive_to_the_bit,
        a_write_may_have_any_number_of_readings_and_windows,
        writes_of_several_sensors_at_once_are_each_stored_whole,
        windows_come_by_day_kind_start_and_source,
        answers_of_windows_are_longer_than_a_page,
    }
    alerts: {
        an_alert_ends_as_its_last_change_says_in_every_order,
        one_write_may_have_many_changes_of_many_days,
        alerts_survive_to_the_bit,
        alerts_of_the_fleet_come_newest_first,
        active_alerts_are_those_of_all_sources_together,
        what_is_active_is_what_the_largest_offset_says,
    }
}
