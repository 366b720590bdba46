"""What the program under test writes to Kafka: dead letters, records of alerts, events. All at least once."""

from __future__ import annotations

import json
import re
import struct
import uuid
from collections import Counter
from collections.abc import Iterable
from math import isfinite
from typing import Any

from findings import Findings, Progress
from fold import Change, SensorFold, StatusChange
from topics import Topic

HEADER_PARTITION = "iotpipe.source.partition"
HEADER_OFFSET = "iotpipe.source.offset"


def header_number(headers: dict[str, bytes | None], name: str) -> int:
    value = headers.get(name)
    if value is None:
        raise ValueError("no header " + name)
    if not re.fullmatch(rb"[0-9]{1,19}", value):
        raise ValueError(f"header {name} is no decimal number: {value[:40]!r}")
    return int(value)


def compare_dead_letters(dlq: Topic, source: Topic, rejected: dict[tuple[int, int], str], findings: Findings) -> None:
    """Exactly the records that were rejected here must be in the dead-letter topic, by partition and offset."""
    findings.check("dlq_missing", "dlq_unexpected", "dlq_unreadable")
    found: Counter[tuple[int, int]] = Counter()
    for message in dlq.records(Progress("dead letters read")):
        findings.count("dlq_records")
        headers = dict(message.headers() or ())
        where = {"dlq_partition": message.partition(), "dlq_offset": message.offset()}
        try:
            found[header_number(headers, HEADER_PARTITION), header_number(headers, HEADER_OFFSET)] += 1
        except ValueError as error:
            findings.add("dlq_unreadable", lambda: dict(where, error=str(error)))
    findings.count("dlq_repeated", sum(found.values()) - len(found))
    for (partition, offset), reason in sorted(rejected.items()):
        if (partition, offset) not in found:
            findings.add("dlq_missing", lambda: dict(partition=partition, offset=offset, reason=reason))
    for partition, offset in sorted(found):
        if (partition, offset) in rejected:
            continue
        if partition in source.starts and not source.starts[partition] <= offset < source.ends[partition]:
            findings.count("dlq_outside_snapshot")  # deleted by retention, or written since
        else:
            findings.add("dlq_unexpected", lambda: dict(partition=partition, offset=offset))


# What tells a record on the topic of the alerts from all others: alert, offset, event; on that of the events: source, offset.
Mark = tuple[Any, ...]


def json_double(value: float) -> float | None:
    """JSON has no infinities."""
    return value if isfinite(value) else None


def alert_record(fold: SensorFold, change: Change) -> dict[str, Any]:
    record = {
        "id": str(uuid.UUID(bytes=change.id)),
        "sensor_id": str(uuid.UUID(bytes=fold.sensor)),
        "type": change.kind,
        "rule": change.rule,
        "severity": change.severity,
        "event": change.event,
        "raised_at": change.raised_at,
        "value": json_double(change.value),
        "peak": json_double(change.peak),
        "cleared_at": change.cleared_at,
        "source": fold.source,
        "offset": change.offset,
    }
    return record if change.label is None else dict(record, label=change.label)


def event_record(fold: SensorFold, change: StatusChange) -> dict[str, Any]:
    record = {
        "sensor_id": str(uuid.UUID(bytes=fold.sensor)),
        "at": change.at,
        "status": change.status,
        "previous": change.previous,
        "source": fold.source,
        "offset": change.offset,
    }
    return record if change.label is None else dict(record, label=change.label)


def same_record(expected: dict[str, Any], found: dict[str, Any]) -> bool:
    """Numbers that are doubles by their bits, all else as it is: 1 is neither 1.0 nor true."""
    def normal(record: dict[str, Any]) -> dict[str, Any]:
        doubles = {name: record[name] if record[name] is None else struct.pack(">d", record[name])
                   for name in ("value", "peak") if name in record}
        return {name: (type(value), value) for name, value in dict(record, **doubles).items()}

    try:
        return normal(expected) == normal(found)
    except (KeyError, struct.error):
        return False


def compare_alert_records(topic: Topic, folds: Iterable[SensorFold], sources: set[str], findings: Findings) -> None:
    """Each change of an alert is a record, under the sensor's id as key."""
    records = [alert_record(fold, change) for fold in folds for change in fold.changes]
    compare_records(topic, "alert_records", ("id", "offset", "event"), records, sources, findings)


def compare_event_records(topic: Topic, folds: Iterable[SensorFold], sources: set[str], findings: Findings) -> None:
    """Each change of a status is a record, under the sensor's id as key."""
    records = [event_record(fold, change) for fold in folds for change in fold.status_changes]
    compare_records(topic, "event_records", ("source", "offset"), records, sources, findings)


def compare_records(topic: Topic, what: str, mark_names: tuple[str, ...], records: list[dict[str, Any]],
                    sources: set[str], findings: Findings) -> None:
    """Records of other sources are left alone."""
    findings.check(f"{what}_missing", f"{what}_unexpected", f"{what}_different", f"{what}_unreadable")

    def mark_of(record: dict[str, Any]) -> Mark:
        return tuple(record[name] for name in mark_names)

    expected = {mark_of(record): record for record in records}
    findings.count(f"{what}_expected", len(expected))
    seen: set[Mark] = set()
    for message in topic.records(Progress(f"{what} read")):
        where = {"partition": message.partition(), "offset": message.offset()}
        try:
            record = json.loads(message.value() or b"")
            source, mark = record["source"], mark_of(record)
        except (ValueError, KeyError, TypeError) as error:
            findings.add(f"{what}_unreadable", lambda: dict(where, error=repr(error)))
            continue
        if source not in sources:
            findings.count(f"{what}_of_others")
            continue
        findings.count(f"{what}_found")
        findings.count(f"{what}_repeated", int(mark in seen))
        seen.add(mark)
        if mark not in expected:
            findings.add(f"{what}_unexpected", lambda: dict(where, found=record))
        elif not same_record(expected[mark], record) or message.key() != expected[mark]["sensor_id"].encode():
            findings.add(f"{what}_different", lambda: dict(
                where, key=repr(message.key()), expected=expected[mark], found=record))
    for mark, record in expected.items():
        if mark not in seen:
            findings.add(f"{what}_missing", lambda: dict(expected=record))
