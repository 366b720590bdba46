//! Each part of the protocol is there for a reason: without it some schedule fails.

use super::super::teeth::Tooth;
use super::runner::{self, Options};
use super::trace::say;
use super::world::{Check, StoreTooth};

const OF_PROCESSOR: [Tooth; 10] = [
    Tooth::LastOffsetPerCell,
    Tooth::RewriteCovered,
    Tooth::WindowsWithState,
    Tooth::OutputsBeforeState,
    Tooth::GateOnAllCovered,
    Tooth::OffsetsLast,
    Tooth::InFlightEviction,
    Tooth::NewestInStateCell,
    Tooth::NewestStrictly,
    Tooth::Ledger,
];

const OF_STORE: [StoreTooth; 4] = [
    StoreTooth::FencingTimestamp,
    StoreTooth::QuorumRead,
    StoreTooth::QuorumWrite,
    StoreTooth::ReadRepair,
];

/// Schedules in which each must be missed once.
const SCHEDULES: u64 = 20_000;

/// With its name; judged by what the store holds and by the topics alone, not by what is sent.
fn teeth() -> Vec<(String, Options)> {
    let options = Options {
        judges_what_is_sent: false,
        ..Options::default()
    };
    let of_processor = OF_PROCESSOR.map(|tooth| {
        (
            format!("{tooth:?}"),
            Options {
                processor_tooth: Some(tooth),
                ..options
            },
        )
    });
    let of_store = OF_STORE.map(|tooth| {
        (
            format!("{tooth:?}"),
            Options {
                store_tooth: Some(tooth),
                ..options
            },
        )
    });
    of_processor.into_iter().chain(of_store).collect()
}

#[test]
fn without_any_one_part_of_the_protocol_some_schedule_fails() {
    for (name, options) in teeth() {
        let options = Options {
            stops_at_first: true,
            ..options
        };
        let report = runner::run(0..SCHEDULES, &options);
        assert!(
            !report.failures.is_empty(),
            "nobody misses {name} in {SCHEDULES} schedules"
        );
    }
}

#[test]
#[ignore = "prints a table and takes minutes"]
fn table_of_teeth() {
    let checks = [
        Check::Sent,
        Check::Commit,
        Check::End,
        Check::StateInTheEnd,
        Check::Driver,
        Check::Panic,
    ];
    let heads = checks.map(|check| format!("{check:?}").to_lowercase());
    say(format_args!(
        "{:<20} {:>8} {:>6} {}",
        "without",
        "failures",
        "first",
        heads.map(|head| format!("{head:>14}")).join(" ")
    ));
    for (name, options) in teeth() {
        let failures = runner::run(0..SCHEDULES, &options).failures;
        let first = failures.first().map_or(0, |(seed, ..)| *seed);
        let counted = checks.map(|check| failures.iter().filter(|(_, at, _)| *at == check).count());
        let counted = counted.map(|count| format!("{count:>14}")).join(" ");
        say(format_args!("{name:<20} {:>8} {first:>6} {counted}", failures.len()));
    }
}
