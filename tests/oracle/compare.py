"""Independent check of the store: a Kafka topic against the tables of a keyspace, cell by cell.

Reads every record of the topic from its beginning to the end offsets seen at the start (no consumer group membership,
no commits; records of open or aborted transactions included), decides by rules of its own what they must have left
behind, and compares that with every row of the keyspace, to the bit and with its write time:
- sensor_readings always; its write times with --check-writetime (readings.py),
- window_aggregates with --windows, alerts, alerts_by_day and active_alerts with --alerts, and sensor_state with
  either of them (derived.py, fold.py),
- the records of alerts with --alerts-topic, the dead letters with --dlq-topic (letters.py).
It shares no code with the program under test on purpose: a rule understood wrongly there is not repeated here.

    pip install -r requirements.txt
    python compare.py --brokers HOST:PORT --topic T --cassandra HOST:PORT --keyspace K --check-writetime \\
        --windows 60,3600 --alerts [--rules FILE.toml] --alerts-topic alerts --dlq-topic T.dlq
    python compare.py --self-test             # decoding, folding, comparing: no servers, no packages

Run it when nothing is writing to the tables any more, on a topic that still holds all of its records: retention goes by
the records' timestamps, so it deletes old ones at once.
Exit codes: 0 equal, 1 could not compare, 2 usage, 3 differences (the first 20 are shown).
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
import unittest
import uuid
from pathlib import Path
from typing import Any

from decode import DEFAULT_NAMESPACE
from derived import (ACTIVE_ALERTS, ALERTS, ALERTS_BY_DAY, STATE, WINDOWS, compare_table, expected_active,
                     expected_alerts, expected_states, expected_windows)
from expected import Expectation, Processing, take_topic
from findings import CannotCompare, Findings
from letters import compare_alert_records, compare_dead_letters, compare_event_records
from readings import compare_readings
from rules import DEFAULT_RULES, RuleBook, read_rules
from tables import connected
from topics import Topic


def compare_tables(args: argparse.Namespace, expectation: Expectation, findings: Findings) -> None:
    folds = expectation.folds.values()
    with connected(args.cassandra, args.consistency) as session:
        compare_readings(session, args.keyspace, expectation.rows, findings, args.check_writetime)
        if args.windows:
            compare_table(session, args.keyspace, WINDOWS, expected_windows(folds), findings)
        if args.windows or args.alerts:
            compare_table(session, args.keyspace, STATE, expected_states(folds), findings)
        if args.alerts:
            compare_table(session, args.keyspace, ALERTS, expected_alerts(folds, by_day=False), findings)
            compare_table(session, args.keyspace, ALERTS_BY_DAY, expected_alerts(folds, by_day=True), findings)
            compare_table(session, args.keyspace, ACTIVE_ALERTS, expected_active(folds), findings)


def count_alerts(expectation: Expectation, findings: Findings) -> None:
    for fold in expectation.folds.values():
        for change in fold.changes:
            findings.count(f"alerts_{change.event}")
        findings.count("status_changes", len(fold.status_changes))


def run(args: argparse.Namespace) -> dict[str, Any]:
    started = time.monotonic()
    findings = Findings()
    rules = RuleBook(read_rules(args.rules) if args.rules else DEFAULT_RULES) if args.alerts else None
    processing = Processing(args.id_namespace, args.windows, rules)
    topic = Topic(args.brokers, args.topic)
    topic_id = topic.id() if processing.folds else None
    expectation = take_topic(topic, topic_id, processing, findings)
    count_alerts(expectation, findings)
    topic_read = time.monotonic()
    compare_tables(args, expectation, findings)
    tables_read = time.monotonic()
    if args.dlq_topic:
        compare_dead_letters(Topic(args.brokers, args.dlq_topic), topic, expectation.rejected, findings)
    sources = {f"{topic.name}/{topic_id}/{partition}" for partition in topic.starts}
    if args.events_topic:
        compare_event_records(Topic(args.brokers, args.events_topic), expectation.folds.values(), sources, findings)
    if args.alerts_topic:
        compare_alert_records(Topic(args.brokers, args.alerts_topic), expectation.folds.values(), sources, findings)
    return {
        "equal": findings.equal(),
        "counts": dict(findings.counts),
        "rejected_by_reason": dict(sorted(expectation.reasons.items())),
        "seconds": {"topic": round(topic_read - started, 1), "tables": round(tables_read - topic_read, 1)},
        "differences": findings.first(),
    }


def print_result(result: dict[str, Any]) -> None:
    width = max(map(len, result["counts"]))
    for name, count in result["counts"].items():
        print(f"{name:<{width}} {count}")
    for reason, count in result["rejected_by_reason"].items():
        print(f"  rejected: {reason}: {count}")
    for difference in result["differences"]:
        print(json.dumps(difference, ensure_ascii=False))
    print(f"seconds: {result['seconds']}")
    print("equal" if result["equal"] else "NOT EQUAL")


def address(text: str) -> str:
    for part in text.split(","):
        if not re.fullmatch(r"[^:,\s]+:[0-9]{1,5}", part):
            raise argparse.ArgumentTypeError(f"{part!r} is not host:port")
    return text


def keyspace_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_]{1,48}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no keyspace name")
    return text


def window_sizes(text: str) -> tuple[int, ...]:
    sizes_s = tuple(int(part) for part in text.split(",") if re.fullmatch(r"[0-9]{1,5}", part))
    if len(sizes_s) != text.count(",") + 1 or any(size == 0 or 86_400 % size for size in sizes_s):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of seconds that divide a day")
    return sizes_s


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Compare a topic of sensor records with the tables of a keyspace.",
        epilog="Exit codes: 0 equal, 1 could not compare, 2 usage, 3 differences.")
    parser.add_argument("--brokers", required=True, type=address, metavar="HOST:PORT")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--cassandra", required=True, type=address, metavar="HOST:PORT")
    parser.add_argument("--keyspace", required=True, type=keyspace_name)
    parser.add_argument("--consistency", choices=("ONE", "QUORUM", "ALL"), default="QUORUM",
                        help="how many replicas are asked for each row (default %(default)s)")
    parser.add_argument("--dlq-topic", help="dead letters: must hold exactly the records rejected here")
    parser.add_argument("--id-namespace", type=uuid.UUID, default=DEFAULT_NAMESPACE, metavar="UUID",
                        help="UUIDv5 namespace of ids that are no UUIDs (default %(default)s)")
    parser.add_argument("--check-writetime", action="store_true",
                        help="compare WRITETIME(reading) with the record's timestamp too")
    parser.add_argument("--windows", type=window_sizes, default=(), metavar="SECONDS",
                        help="sizes of windows, for example 60,3600; without it windows are not compared")
    parser.add_argument("--alerts", action="store_true", help="compare the tables of alerts")
    parser.add_argument("--rules", metavar="FILE", help="TOML with [rules.NAME] (default: the program's defaults)")
    parser.add_argument("--alerts-topic", help="must hold each change of an alert")
    parser.add_argument("--events-topic", help="must hold each change of a sensor's status")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument("--self-test", action="store_true", help="test the oracle itself and stop (alone)")
    return parser


def main(argv: list[str]) -> int:
    if argv == ["--self-test"]:
        suite = unittest.defaultTestLoader.discover(str(Path(__file__).parent))
        return 0 if unittest.TextTestRunner().run(suite).wasSuccessful() else 1
    parser = arguments()
    args = parser.parse_args(argv)
    if not args.alerts and (args.rules or args.alerts_topic or args.events_topic):
        parser.error("--rules, --alerts-topic and --events-topic need --alerts")
    try:
        result = run(args)
    except CannotCompare as error:
        print(f"cannot compare: {error}", file=sys.stderr)
        return 1
    counts = result["counts"]
    if result["rejected_by_reason"].get("first byte 0 (Avro)"):
        print("warning: some records start with byte 0; Avro is not decoded here", file=sys.stderr)
    if counts["deleted_before"] or counts["offsets_without_record"]:
        print(f"warning: {counts['deleted_before']} offsets were deleted before the topic's beginning and "
              f"{counts['offsets_without_record']} hold no record: rows of theirs show up as unexpected",
              file=sys.stderr)
    if args.json:
        print(json.dumps(result))
    else:
        print_result(result)
    return 0 if result["equal"] else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
