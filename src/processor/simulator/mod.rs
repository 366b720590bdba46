//! The processor against a model of the log, of the group and of a store of three replicas, by seed.
//!
//! A schedule is a log, a configuration and some kinds of faults ([`plan`], [`log`]); then processes come and go and one
//! small thing happens after the other ([`world`], [`faults`]): a message reaches a replica ([`store`]), one of the two
//! replicas of a read answers ([`reads`]), a commit reaches the broker ([`broker`]), a process polls ([`polls`]), hears of an
//! answer ([`life`]) and sends what it wants sent ([`writes`]).
//! Whatever happens, at the end any two replicas together, the topics and the offsets say what the log alone says
//! ([`oracle`], [`judge`]), and along the way no offset is committed before all below it is there.
//!
//! `IOTPIPE_SIMULATE_SEED=123 cargo test --lib simulator::whatever -- --nocapture` replays one schedule and prints all that
//! happens; `IOTPIPE_SIMULATE_SCHEDULES=1000000` runs so many and says how often what happened. [`teeth`] takes out one part
//! of the protocol after the other.

mod broker;
mod by_hand;
mod cells;
mod counts;
mod dice;
mod faults;
mod judge;
mod life;
mod log;
mod oracle;
mod plan;
mod polls;
mod reads;
mod runner;
mod store;
mod teeth;
mod trace;
mod world;
mod writes;

use counts::Count;
use runner::Options;

/// Schedules of a usual run of the tests.
const SCHEDULES: u64 = 100_000;

#[test]
fn whatever_happens_the_store_and_the_topics_say_what_the_log_says() {
    if let Some(seed) = runner::seed_to_replay() {
        assert_eq!(runner::replay(seed), None, "seed {seed}");
        return;
    }
    let asked_for = runner::number_of_schedules();
    let schedules = asked_for.unwrap_or(SCHEDULES);
    let report = runner::run(0..schedules, &Options::default());
    if let Some((seed, ..)) = report.failures.first() {
        let failures = report.failures.iter().take(10);
        let failures: Vec<String> = failures
            .map(|(seed, check, failure)| format!("seed {seed}: {check:?}: {failure}"))
            .collect();
        panic!(
            "{} of {schedules} schedules failed:\n{}\nto replay one: IOTPIPE_SIMULATE_SEED={seed} cargo test --lib \
             simulator::whatever -- --nocapture",
            report.failures.len(),
            failures.join("\n")
        );
    }
    for what in Count::ALL {
        let times = report.counts.get(what);
        if asked_for.is_some() {
            trace::say(format_args!("{what:?}: {times}"));
        }
        // Of a few schedules nothing can be said.
        let is_enough = times >= schedules / 500 && (times > 0 || schedules < 1_000);
        assert!(is_enough, "{what:?} happened only {times} times");
    }
}

#[test]
fn the_same_seed_makes_the_same_schedule() {
    for seed in 0..300 {
        let [first, second] = [(); 2].map(|()| runner::digest(seed));
        assert!(first.is_some());
        assert_eq!(
            first, second,
            "seed {seed}: something beside the seed decides what happens"
        );
    }
}
