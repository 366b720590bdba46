//! `kill -9` in the middle of a drain.

use futures::StreamExt;
use scylla::client::session::Session;
use scylla::client::session_builder::SessionBuilder;

use super::group::Group;
use super::oracle::compare;
use super::process::{Process, until, words};
use crate::servers::Place;

#[test]
#[ignore = "about five minutes"]
fn killed_ten_times_in_a_drain_of_a_million_nothing_is_missing_or_different() {
    let drain = Drain {
        records: 1_000_000,
        kills: 10,
        members: 1,
    };
    drain.run("kills");
}

#[test]
#[ignore = "about four minutes"]
fn three_consumers_killed_one_after_the_other_lose_nothing() {
    let drain = Drain {
        records: 500_000,
        kills: 5,
        members: 3,
    };
    drain.run("three");
}

struct Drain {
    records: i64,
    kills: i64,
    members: usize,
}

impl Drain {
    fn run(&self, name: &str) {
        let place = Place::new(name);
        place.ok(&["init-schema"]);
        let produce = format!(
            "produce --count {} --rate 0 --sensors 1000 --interval 10s --seed 4 --late-probability 0.05 --late-max 1h \
             --anomaly-probability 0.01",
            self.records
        );
        place.ok(&words(&produce));
        let redelivered = self.kill_in_the_middle(&place);
        println!(
            "{} kills: {redelivered} stored records were delivered again",
            self.kills
        );
        assert!(redelivered > 0, "the kills must have cost something");
        let counts = compare(&place);
        assert_eq!(counts.of("records").cast_signed(), self.records);
        assert!(counts.of("alerts_raised") > 0 && counts.of("alerts_cleared") > 0);
    }

    /// Kills all members again and again, each time after the group has committed something new and between a twentieth
    /// and nine tenths of the rows; with several, one of them is killed alone before. Answers how many records were stored
    /// but not committed when nobody was left: all of these are delivered again.
    fn kill_in_the_middle(&self, place: &Place) -> i64 {
        let group = Group::new(place);
        let start = || {
            let members = (0..self.members).map(|_| Process::start(place, "consumer", &["consume"]));
            members.collect::<Vec<Process>>()
        };
        let (mut redelivered, mut committed) = (0, 0);
        for round in 1..=self.kills {
            let mut consumers = start();
            // The last round lies at about two thirds, the first well before.
            let position = self.records * (round * 70 / self.kills - 4) / 100;
            until("the new owner commits", 90, || {
                group.committed() > committed.max(position)
            });
            if self.members > 1 {
                committed = group.committed();
                consumers.remove(0).kill();
                until("those that are left commit", 90, || group.committed() > committed);
            }
            consumers.into_iter().for_each(Process::kill);
            committed = group.committed();
            let stored = count_rows(place);
            assert!(
                (self.records / 50..=self.records * 9 / 10).contains(&stored),
                "round {round}: killed at {stored} rows"
            );
            println!("round {round}: killed at {stored} rows, {committed} committed");
            redelivered += stored - committed;
        }
        let last = start();
        until("all is committed", 240, || group.committed() == self.records);
        last.into_iter().for_each(Process::stop);
        redelivered
    }
}

fn count_rows(place: &Place) -> i64 {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let session: Session = SessionBuilder::new()
            .known_node(&place.cassandra)
            .build()
            .await
            .expect("Cassandra answers");
        let statement = format!(
            "SELECT count(*) FROM {}.sensor_readings WHERE token(sensor_id, day) > ? AND token(sensor_id, day) <= ?",
            place.keyspace
        );
        let statement = session.prepare(statement).await.expect("the table is there");
        let step = u64::MAX / 64;
        let bound = |index: u64| i64::MIN.wrapping_add((step * index).cast_signed());
        let counts = futures::stream::iter(0..64).map(|index| {
            let upper = if index == 63 { i64::MAX } else { bound(index + 1) };
            let (session, statement) = (&session, &statement);
            async move {
                let rows = session
                    .execute_unpaged(statement, (bound(index), upper))
                    .await
                    .expect("counted");
                rows.into_rows_result()
                    .expect("rows")
                    .single_row::<(i64,)>()
                    .expect("a count")
                    .0
            }
        });
        counts
            .buffer_unordered(4)
            .fold(0, |sum, count| async move { sum + count })
            .await
    })
}
