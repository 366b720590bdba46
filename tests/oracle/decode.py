"""Decoding of records: which readings a record of the topic holds, or why it is a dead letter.

- The value is 1 byte to 1 MiB, starts with `{`, and is one strict JSON text in UTF-8: no NaN
  or Infinity, no byte order mark, no duplicate key in any object, no number anywhere that
  overflows a double, no unpaired surrogate escape, at most 32 levels of nesting (the
  record itself is the first).
- id: the first of sensor_id, device_id that is there; a string of 1 to 256 bytes. The
  36-character hyphenated form of a UUID, in either case, is that UUID; any other string is
  UUIDv5 in the namespace, and the sensor's label.
- time: the first of reading_time, timestamp that is there; an integer (no fraction, no
  exponent) of epoch milliseconds, or an RFC 3339 string (`T`, `t` or a space between date and
  time; no offset means UTC; digits after the millisecond are cut; no leap second).
  2000-01-01T00:00:00Z <= time <= the record's Kafka timestamp + 1 h.
- A record with a key `type` or `reading` is narrow: `type` is a non-empty string and `reading`
  a number or a boolean (0 or 1). Other keys are ignored.
- Any other record is wide: each top-level number or boolean is one reading (0 or 1 for a
  boolean), its kind is the key, unless the key is an id or time name or ignored (location,
  status). Strings, nulls, arrays and objects are no readings; an empty key on a number and a
  record without any reading are errors.
- A record is right or wrong as a whole. `-0` is minus zero; an underflow is a zero.
Avro records (first byte 0) are not decoded here; they count as rejected and are reported.
"""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime
from typing import Any, NamedTuple

DEFAULT_NAMESPACE = uuid.UUID("b2c5a1b0-6f0e-5d0a-9c53-1f0c7d3a0e11")
ID_NAMES = ("sensor_id", "device_id")
TIME_NAMES = ("reading_time", "timestamp")
IGNORED_NAMES = ("location", "status")
MAX_PAYLOAD_BYTES = 1 << 20
MAX_ID_BYTES = 256
MAX_NESTING = 32
MIN_TIME_MS = 946_684_800_000  # 2000-01-01T00:00:00Z
MAX_AHEAD_MS = 3_600_000


class Rejected(Exception):
    """The record is a dead letter; the argument is a short reason."""


class Record(NamedTuple):
    sensor: bytes  # 16 bytes of the UUID
    label: str | None  # the id as it was written, where that is no UUID
    time_ms: int
    readings: list[tuple[str, float]]  # kind and value
    status: str | None = None


_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))?"
)
_EPOCH = datetime(1970, 1, 1)


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Rejected("number out of range")
    return value


def _int(text: str) -> int | float:
    if text == "-0":
        return -0.0
    return int(text) if len(text) < 20 else _float(text)  # beyond any time; exact enough for a double


def _constant(text: str) -> None:
    raise Rejected("not JSON: " + text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Rejected("duplicate key")
    return result


_parse = json.JSONDecoder(
    parse_float=_float, parse_int=_int, parse_constant=_constant, object_pairs_hook=_object
).decode


def _nesting(payload: bytes) -> int:
    deepest = depth = 0
    in_string = escaped = False
    for byte in payload:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest


def parse_object(payload: bytes) -> dict[str, Any]:
    if not payload:
        raise Rejected("empty")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise Rejected("too large")
    if payload[0] == 0:
        raise Rejected("first byte 0 (Avro)")
    if payload[0] != 0x7B:
        raise Rejected("not an object")
    if payload.count(b"{") + payload.count(b"[") > MAX_NESTING and _nesting(payload) > MAX_NESTING:
        raise Rejected("nesting")
    try:
        record = _parse(payload.decode("utf-8"))
        if b"\\u" in payload:
            json.dumps(record, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError:
        raise Rejected("not UTF-8") from None
    except UnicodeEncodeError:
        raise Rejected("unpaired surrogate") from None
    except (json.JSONDecodeError, RecursionError):
        raise Rejected("not JSON") from None
    return record


def parse_time_ms(value: Any) -> int:
    if type(value) is int:
        return value
    if type(value) is not str:
        raise Rejected("time: wrong type")
    match = _RFC3339.fullmatch(value)
    if not match:
        raise Rejected("time: not RFC 3339")
    year, month, day, hour, minute, second, fraction, sign, off_hour, off_minute = match.groups()
    try:
        local = datetime(int(year), int(month), int(day), int(hour), int(minute), int(second))
    except ValueError:
        raise Rejected("time: no such date or time") from None
    since = local - _EPOCH
    ms = (since.days * 86_400 + since.seconds) * 1000 + int((fraction or "0")[:3].ljust(3, "0"))
    if sign:
        if int(off_hour) > 23 or int(off_minute) > 59:
            raise Rejected("time: no such offset")
        offset_ms = (int(off_hour) * 60 + int(off_minute)) * 60_000
        ms += -offset_ms if sign == "+" else offset_ms
    return ms


def _first(record: dict[str, Any], names: tuple[str, ...], what: str) -> Any:
    for name in names:
        if name in record:
            return record[name]
    raise Rejected(what + ": missing")


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


class Decoder:
    def __init__(self, namespace: uuid.UUID) -> None:
        self.namespace = namespace
        self.known_ids: dict[str, tuple[bytes, str | None]] = {}

    def sensor(self, text: Any) -> tuple[bytes, str | None]:
        """The sensor's UUID and, where the text is none, the text as its label."""
        if type(text) is not str:
            raise Rejected("id: wrong type")
        known = self.known_ids.get(text)
        if known is not None:
            return known
        if not text:
            raise Rejected("id: empty")
        if len(text.encode("utf-8")) > MAX_ID_BYTES:
            raise Rejected("id: too long")
        if _UUID.fullmatch(text):
            known = uuid.UUID(text).bytes, None
        else:
            known = uuid.uuid5(self.namespace, text).bytes, text
        if len(self.known_ids) >= 500_000:
            self.known_ids.clear()
        self.known_ids[text] = known
        return known

    def decode(self, payload: bytes, kafka_ms: int) -> Record:
        """What the record says; Rejected where it is a dead letter."""
        record = parse_object(payload)
        sensor, label = self.sensor(_first(record, ID_NAMES, "id"))
        time_ms = parse_time_ms(_first(record, TIME_NAMES, "time"))
        if time_ms < MIN_TIME_MS:
            raise Rejected("time: too old")
        if time_ms > kafka_ms + MAX_AHEAD_MS:
            raise Rejected("time: in the future")
        if "type" in record or "reading" in record:
            return Record(sensor, label, time_ms, [_narrow(record)], _status(record))
        readings = []
        for name, value in record.items():
            if name in ID_NAMES or name in TIME_NAMES or name in IGNORED_NAMES:
                continue
            if _is_number(value) or type(value) is bool:
                if not name:
                    raise Rejected("kind: empty")
                readings.append((_kind(name), float(value)))
        if not readings:
            raise Rejected("no reading")
        return Record(sensor, label, time_ms, readings, _status(record))


def _status(record: dict[str, Any]) -> str | None:
    status = record.get("status")
    is_one = type(status) is str and status and len(status.encode("utf-8")) <= MAX_ID_BYTES
    return status if is_one else None


def _narrow(record: dict[str, Any]) -> tuple[str, float]:
    kind = _first(record, ("type",), "type")
    if type(kind) is not str:
        raise Rejected("type: wrong type")
    if not kind:
        raise Rejected("type: empty")
    value = _first(record, ("reading",), "reading")
    if not _is_number(value) and type(value) is not bool:
        raise Rejected("reading: wrong type")
    return _kind(kind), float(value)


def _kind(name: str) -> str:
    if len(name.encode("utf-8")) > MAX_ID_BYTES:
        raise Rejected("kind: too long")
    return name
