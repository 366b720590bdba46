//! Members of the group that come and go.

use super::group::Group;
use super::oracle::compare;
use super::process::{Process, until, words};
use crate::servers::Place;

/// Joins and leaves under load, in turn.
const CHANGES: usize = 8;

#[test]
#[ignore = "about two minutes"]
fn members_that_join_and_leave_lose_and_double_nothing() {
    let place = Place::new("members");
    place.ok(&["init-schema"]);
    let produce = words("produce --rate 8000 --duration 100s --seed 8 --anomaly-probability 0.01");
    let mut producer = Process::start(&place, "producer", &produce);
    let group = Group::new(&place);
    let start = |number: usize| Process::start(&place, &format!("consumer-{number}"), &["consume"]);
    let stays = start(0);
    let mut come_and_go = vec![start(1), start(2)];
    for change in 1..=CHANGES {
        let has_partitions = |member: &Process| member.said("partitions assigned") > 0;
        until("all members have partitions", 60, || {
            come_and_go.iter().all(has_partitions)
        });
        let before = group.committed();
        until("they commit", 60, || group.committed() > before + 10_000);
        let (given, taken) = (stays.said("partitions revoked"), stays.said("partitions assigned"));
        // Each change has a rebalance of its own: a join that comes while a leave is being made up for takes what that left.
        if change % 2 == 1 {
            come_and_go.remove(0).stop();
            until("who stays takes over", 60, || stays.said("partitions assigned") > taken);
        } else {
            come_and_go.push(start(2 + change));
            until("who stays gives some back", 60, || {
                stays.said("partitions revoked") > given
            });
        }
    }
    assert!(producer.is_running(), "all changes were under load");
    producer.ends_well(120);
    until("all is committed", 120, || group.committed() == group.end());
    let (given, taken) = (stays.said("partitions revoked"), stays.said("partitions assigned"));
    println!("the member that stayed was assigned partitions {taken} times and gave some back {given} times");
    assert!(
        given >= 2 && taken >= 3,
        "joins took from it, leaves gave to it: {}",
        stays.log()
    );
    come_and_go.into_iter().chain([stays]).for_each(Process::stop);
    compare(&place);
}
