"""Windows, sensor state and alerts in their tables: every cell and its write time, against what the topic says.

Expected rows are made as the server keeps them, key and cells as bytes. The write time of a cell is the offset of the
last record that decided it, plus one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from findings import Findings, Progress
from fold import SensorFold, double
from readings import DAY_MS
from show import AGGREGATE, show_cells, show_difference, show_key
from tables import Cells, Key, Row, Table, check_table, check_type, elements, pages

WINDOWS = Table(
    "window_aggregates",
    (("sensor_id", "uuid"), ("day", "date")),
    (("type", "text", "asc"), ("size_s", "int", "asc"), ("window_start", "timestamp", "desc"),
     ("source", "text", "asc")),
    (("agg", "frozen<aggregate>"),))

STATE = Table("sensor_state", (("sensor_id", "uuid"),), (("source", "text", "asc"),), (("state", "blob"),))

_ALERT = (
    ("type", "text"), ("rule", "text"), ("severity", "text"), ("label", "text"), ("value", "double"),
    ("peak", "double"), ("cleared_at", "timestamp"), ("source", "text"), ("last_offset", "bigint"))
_RAISED = (("raised_at", "timestamp", "desc"), ("alert_id", "uuid", "asc"))

ALERTS = Table("alerts", (("sensor_id", "uuid"), ("day", "date")), _RAISED, _ALERT)

ALERTS_BY_DAY = Table(
    "alerts_by_day", (("day", "date"), ("shard", "int")), _RAISED, (("sensor_id", "uuid"),) + _ALERT)

ACTIVE_ALERTS = Table(
    "active_alerts", (("shard", "int"),), (("sensor_id", "uuid", "asc"), ("source", "text", "asc")),
    (("alerts", "frozen<map<uuid, timestamp>>"),))

SHARDS = 64  # of the active alerts
SHARDS_OF_A_DAY = 16

Expected = dict[Key, tuple[Cells, tuple["int | None", ...]]]  # cells and their write times


def i32(number: int) -> bytes:
    return number.to_bytes(4, "big", signed=True)


def i64(number: int) -> bytes:
    return number.to_bytes(8, "big", signed=True)


def day_of(ms: int) -> bytes:
    """A date as Cassandra keeps it: days since -5877641-06-23."""
    return (ms // DAY_MS + 2**31).to_bytes(4, "big")


def shard_of(sensor: bytes, shards: int) -> bytes:
    """The upper bits of the id's FNV-1a hash, mixed once more; shards is a power of two."""
    hashed = 0xCBF29CE484222325
    for byte in sensor:
        hashed = (hashed ^ byte) * 0x100000001B3 % 2**64
    return i32((hashed ^ (hashed >> 32)) * 0x9E3779B97F4A7C15 % 2**64 * shards >> 64)


def expected_windows(folds: Iterable[SensorFold]) -> Expected:
    expected: Expected = {}
    for fold in folds:
        source = fold.source.encode()
        for (kind, size_s, start), window in fold.windows.items():
            key = (fold.sensor, day_of(start), kind.encode(), i32(size_s), i64(start), source)
            expected[key] = ((window.cell(),), (window.last_offset + 1,))
    return expected


def expected_states(folds: Iterable[SensorFold]) -> Expected:
    return {(fold.sensor, fold.source.encode()): ((fold.state(),), (fold.last_offset + 1,)) for fold in folds}


def expected_alerts(folds: Iterable[SensorFold], by_day: bool) -> Expected:
    """The rows as they stand after the last change. A cell that a change has nothing for keeps what it had."""
    expected: Expected = {}
    for fold in folds:
        source = fold.source.encode()
        for change in fold.changes:
            day = day_of(change.raised_at)
            partition = (day, shard_of(fold.sensor, SHARDS_OF_A_DAY)) if by_day else (fold.sensor, day)
            key = partition + (i64(change.raised_at), change.id)
            cells: Cells = (
                change.kind.encode(), change.rule.encode(), change.severity.encode(),
                None if change.label is None else change.label.encode(), double(change.value), double(change.peak),
                None if change.cleared_at is None else i64(change.cleared_at), source, i64(change.offset))
            if by_day:
                cells = (fold.sensor,) + cells
            before = expected.get(key, ((None,) * len(cells), (None,) * len(cells)))
            merged = [(old, time) if new is None else (new, change.offset + 1)
                      for new, old, time in zip(cells, *before)]
            expected[key] = (tuple(cell for cell, _ in merged), tuple(time for _, time in merged))
    return expected


def expected_active(folds: Iterable[SensorFold]) -> Expected:
    """A row for each sensor and source that ever had an alert, also where none is active any more."""
    expected: Expected = {}
    for fold in folds:
        if not fold.changes:
            continue
        active = sorted(fold.active().items())
        cell = i32(len(active)) + b"".join(i32(16) + id + i32(8) + i64(raised_at) for id, raised_at in active)
        key = (shard_of(fold.sensor, SHARDS), fold.sensor, fold.source.encode())
        expected[key] = ((cell,), (fold.changes[-1].offset + 1,))
    return expected


def _normal(cql_type: str, raw: bytes | None) -> bytes | None:
    """Maps in one order: the server's own order of UUIDs is none of our business."""
    if raw is None or not cql_type.startswith("frozen<map"):
        return raw
    parts = elements(raw, each=2)
    entries = sorted(zip(parts[::2], parts[1::2]))
    return i32(len(entries)) + b"".join(i32(len(part)) + part for entry in entries for part in entry)


def compare_page(table: Table, page: list[Row], expected: Expected, findings: Findings) -> None:
    """Takes the rows found out of expected: what stays there in the end is missing."""
    keys, cells = len(table.key), len(table.values)
    types = [cql_type for _, cql_type in table.values]
    for row in page:
        key = tuple(row[:keys])
        found = tuple(map(_normal, types, row[keys:keys + cells]))
        known = expected.pop(key, None)
        if known is None:
            findings.add(f"{table.name}_unexpected", lambda: dict(
                show_key(table, key), found=show_cells(table, found)))
            continue
        wanted, times_us = known
        if found != wanted:
            findings.add(f"{table.name}_different", lambda: dict(
                show_key(table, key), **show_difference(table, wanted, found)))
        found_us = tuple(None if raw is None else int.from_bytes(raw, "big", signed=True) for raw in row[keys + cells:])
        if found_us != times_us:
            findings.add(f"{table.name}_writetime", lambda: dict(
                show_key(table, key), expected_us=times_us, found_us=found_us))


def compare_table(session: Any, keyspace: str, table: Table, expected: Expected, findings: Findings) -> None:
    """Empties expected."""
    check_table(session, keyspace, table)
    if table is WINDOWS:
        check_type(session, keyspace, "aggregate", AGGREGATE)
    name = table.name
    findings.check(*(f"{name}_{kind}" for kind in ("different", "writetime", "unexpected", "missing")))
    findings.count(f"{name}_expected", len(expected))
    report = Progress(f"rows of {name} read")
    names = table.value_names
    selected = ", ".join(table.key + names + tuple(f"WRITETIME({name})" for name in names))
    for page in pages(session, keyspace, name, tuple(column for column, _ in table.partition), selected):
        findings.count(f"{name}_found", len(page))
        compare_page(table, page, expected, findings)
        report(len(page))
    for key, (cells, _) in expected.items():
        findings.add(f"{name}_missing", lambda: dict(show_key(table, key), expected=show_cells(table, cells)))
    expected.clear()
