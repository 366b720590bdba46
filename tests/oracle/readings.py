"""The table of readings: which rows the topic's records must have left behind, and whether they are there.

Of several readings for one (sensor, time, kind) the one with the larger Kafka timestamp wins; of those with the same
timestamp, the one whose big-endian IEEE bytes are larger.

A million rows are kept as one dict of bytes -> int. The key is the row's key as Cassandra sends it: 16 bytes sensor,
8 bytes time, kind. The int is Kafka timestamp, bits of the value, partition, offset (64, 64, 16, 48 bits): the winner
among several is the largest, and the last two say where it came from.
"""

from __future__ import annotations

import struct
import uuid
from typing import Any

from findings import Findings, Progress, show_time
from tables import Row, Table, check_table, pages

DAY_MS = 86_400_000
_DOUBLE = struct.Struct(">d")
_KEY_HEAD = struct.Struct(">16sq")

READINGS = Table(
    "sensor_readings",
    (("sensor_id", "uuid"), ("day", "date")),
    (("reading_time", "timestamp", "desc"), ("type", "text", "asc")),
    (("reading", "double"),))


def row_key(sensor: bytes, time_ms: int, kind: str) -> bytes:
    return _KEY_HEAD.pack(sensor, time_ms) + kind.encode("utf-8")


def row_state(kafka_ms: int, value: float, partition: int, offset: int) -> int:
    bits = int.from_bytes(_DOUBLE.pack(value), "big")
    return (((kafka_ms << 64) | bits) << 64) | (partition << 48) | offset


def split_state(state: int) -> tuple[int, bytes, int, int]:
    """Kafka timestamp in ms, 8 bytes of the value, partition, offset."""
    low = state & ((1 << 64) - 1)
    bits = (state >> 64) & ((1 << 64) - 1)
    return state >> 128, bits.to_bytes(8, "big"), low >> 48, low & ((1 << 48) - 1)


def show_key(key: bytes) -> dict[str, Any]:
    sensor, time_ms = _KEY_HEAD.unpack_from(key)
    return {
        "sensor_id": str(uuid.UUID(bytes=sensor)),
        "reading_time": show_time(time_ms),
        "reading_time_ms": time_ms,
        "type": key[24:].decode("utf-8", "replace"),
    }


def show_value(raw: bytes | None) -> dict[str, Any] | None:
    if raw is None:
        return None
    if len(raw) != 8:
        return {"bytes": raw.hex()}
    return {"value": repr(_DOUBLE.unpack(raw)[0]), "bytes": raw.hex()}


def show_expected(state: int) -> dict[str, Any]:
    kafka_ms, raw, partition, offset = split_state(state)
    return dict(show_value(raw) or {}, kafka_timestamp_ms=kafka_ms, partition=partition, offset=offset)


def compare_page(page: list[Row], rows: dict[bytes, int], findings: Findings, check_writetime: bool) -> None:
    """Takes the rows found out of rows: what stays there in the end is missing."""
    findings.count("rows_found", len(page))
    for row in page:
        sensor, day, at, kind, raw = row[:5]
        key = sensor + at + kind
        day_number = int.from_bytes(day, "big") - 2**31
        if day_number != int.from_bytes(at, "big", signed=True) // DAY_MS:
            findings.add("unexpected", lambda: dict(
                show_key(key), found=show_value(raw), why=f"in the partition of {show_time(day_number * DAY_MS)[:10]}"))
            continue
        state = rows.pop(key, None)
        if state is None:
            findings.add("unexpected", lambda: dict(show_key(key), found=show_value(raw)))
            continue
        kafka_ms, expected_raw, _, _ = split_state(state)
        if raw != expected_raw:
            findings.add("different", lambda: dict(
                show_key(key), expected=show_expected(state), found=show_value(raw)))
        if check_writetime:
            written_us = int.from_bytes(row[5], "big", signed=True) if row[5] is not None else None
            if written_us != kafka_ms * 1000:
                findings.add("writetime_different", lambda: dict(
                    show_key(key), expected_us=kafka_ms * 1000, found_us=written_us))


def compare_readings(session: Any, keyspace: str, rows: dict[bytes, int], findings: Findings,
                     check_writetime: bool) -> None:
    """Empties rows."""
    check_table(session, keyspace, READINGS)
    findings.check("different", "unexpected", "missing", *(["writetime_different"] if check_writetime else []))
    report = Progress("rows read")
    selected = "sensor_id, day, reading_time, type, reading" + (", WRITETIME(reading)" if check_writetime else "")
    for page in pages(session, keyspace, READINGS.name, ("sensor_id", "day"), selected):
        compare_page(page, rows, findings, check_writetime)
        report(len(page))
    for key, state in rows.items():
        findings.add("missing", lambda: dict(show_key(key), expected=show_expected(state)))
    rows.clear()
