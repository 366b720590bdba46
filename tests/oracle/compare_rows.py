"""Independent check of stored readings: a Kafka topic against a Cassandra table, value by value.

Reads every record of the topic from its beginning to the end offsets seen at the start
(no consumer group membership, no commits; records of open or aborted transactions
included), decides by rules of its own which rows they must have left behind, and compares
those with every row of <keyspace>.sensor_readings: bits of the double, day of the
partition and, with --check-writetime, the cell's write time. With --dlq-topic it also
checks that exactly the records it rejects were dead-lettered. It shares no code with the
program under test on purpose: a rule understood wrongly there is not repeated here.

    pip install -r requirements.txt
    python compare_rows.py --brokers HOST:PORT --topic T --cassandra HOST:PORT --keyspace K \\
        [--dlq-topic T.dlq] [--check-writetime] [--id-namespace UUID] [--json]
    python compare_rows.py --self-test        # the decode rules alone: no servers, no packages

Run it when nothing is writing to the table any more, on a topic that still holds all of its
records: retention goes by the records' timestamps, so it deletes old ones at once.
Exit codes: 0 equal, 1 could not compare, 2 usage, 3 differences (the first 20 are shown).

Rules of decoding (JSON; decode() below is the only place that has them)
- The value is 1 byte to 1 MiB, starts with `{`, and is one strict JSON text in UTF-8: no NaN
  or Infinity, no byte order mark, no duplicate key in any object, no number anywhere that
  overflows a double, no unpaired surrogate escape, at most 32 levels of nesting (the
  record itself is the first).
- id: the first of sensor_id, device_id that is there; a string of 1 to 256 bytes. The
  36-character hyphenated form of a UUID, in either case, is that UUID; any other string is
  UUIDv5 in the namespace.
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
Of several readings for one (sensor, time, kind) the one with the larger Kafka timestamp wins;
of those with the same timestamp, the one whose big-endian IEEE bytes are larger.
Avro records (first byte 0) are not decoded here; they count as rejected and are reported.
"""
import argparse
import json
import re
import struct
import sys
import time
import unittest
import uuid
from collections import Counter, deque
from datetime import datetime, timedelta, timezone

DEFAULT_NAMESPACE = "b2c5a1b0-6f0e-5d0a-9c53-1f0c7d3a0e11"
ID_NAMES = ("sensor_id", "device_id")
TIME_NAMES = ("reading_time", "timestamp")
IGNORED_NAMES = ("location", "status")
MAX_PAYLOAD_BYTES = 1 << 20
MAX_ID_BYTES = 256
MAX_NESTING = 32
MIN_TIME_MS = 946_684_800_000  # 2000-01-01T00:00:00Z
MAX_AHEAD_MS = 3_600_000
DAY_MS = 86_400_000
SHOWN = 20
HEADER_PARTITION = "iotpipe.source.partition"
HEADER_OFFSET = "iotpipe.source.offset"

COLUMNS = {  # name: (type, kind, position, clustering order) as in system_schema.columns
    "sensor_id": ("uuid", "partition_key", 0, "none"),
    "day": ("date", "partition_key", 1, "none"),
    "reading_time": ("timestamp", "clustering", 0, "desc"),
    "type": ("text", "clustering", 1, "asc"),
    "reading": ("double", "regular", -1, "none"),
}


class Rejected(Exception):
    """The record is a dead letter; the argument is a short reason."""


class CannotCompare(Exception):
    """No verdict is possible: a server, topic or table is not there or not as expected."""


# ---------------------------------------------------------------- decoding

_UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")
_RFC3339 = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))?"
)
_EPOCH = datetime(1970, 1, 1)
_DOUBLE = struct.Struct(">d")
_KEY_HEAD = struct.Struct(">16sq")


def _float(text):
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise Rejected("number out of range")
    return value


def _int(text):
    if text == "-0":
        return -0.0
    return int(text) if len(text) < 20 else _float(text)  # beyond any time; exact enough for a double


def _constant(text):
    raise Rejected("not JSON: " + text)


def _object(pairs):
    result = dict(pairs)
    if len(result) != len(pairs):
        raise Rejected("duplicate key")
    return result


_parse = json.JSONDecoder(
    parse_float=_float, parse_int=_int, parse_constant=_constant, object_pairs_hook=_object
).decode


def _nesting(payload):
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


def parse_object(payload):
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


def parse_time_ms(value):
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


def _first(record, names, what):
    for name in names:
        if name in record:
            return record[name]
    raise Rejected(what + ": missing")


def _is_number(value):
    return type(value) is int or type(value) is float


class Decoder:
    def __init__(self, namespace):
        self.namespace = namespace
        self.known_ids = {}

    def sensor(self, text):
        """16 bytes of the sensor's UUID."""
        if type(text) is not str:
            raise Rejected("id: wrong type")
        known = self.known_ids.get(text)
        if known is not None:
            return known
        if not text:
            raise Rejected("id: empty")
        if len(text.encode("utf-8")) > MAX_ID_BYTES:
            raise Rejected("id: too long")
        sensor = uuid.UUID(text) if _UUID.fullmatch(text) else uuid.uuid5(self.namespace, text)
        if len(self.known_ids) >= 500_000:
            self.known_ids.clear()
        self.known_ids[text] = sensor.bytes
        return sensor.bytes

    def decode(self, payload, kafka_ms):
        """(sensor bytes, time in ms, [(kind, value)]), or Rejected."""
        record = parse_object(payload)
        sensor = self.sensor(_first(record, ID_NAMES, "id"))
        time_ms = parse_time_ms(_first(record, TIME_NAMES, "time"))
        if time_ms < MIN_TIME_MS:
            raise Rejected("time: too old")
        if time_ms > kafka_ms + MAX_AHEAD_MS:
            raise Rejected("time: in the future")
        if "type" in record or "reading" in record:
            return sensor, time_ms, [_narrow(record)]
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
        return sensor, time_ms, readings


def _narrow(record):
    kind = _first(record, ("type",), "type")
    if type(kind) is not str:
        raise Rejected("type: wrong type")
    if not kind:
        raise Rejected("type: empty")
    value = _first(record, ("reading",), "reading")
    if not _is_number(value) and type(value) is not bool:
        raise Rejected("reading: wrong type")
    return _kind(kind), float(value)


def _kind(name):
    if len(name.encode("utf-8")) > MAX_ID_BYTES:
        raise Rejected("kind: too long")
    return name


# ---------------------------------------------------------------- expected rows
#
# A million rows are kept as one dict of bytes -> int. The key is the row's key as Cassandra
# sends it: 16 bytes sensor, 8 bytes time, kind. The int is Kafka timestamp, bits of the
# value, partition, offset (64, 64, 16, 48 bits): the winner among several is the largest,
# and the last two say where it came from.


def row_key(sensor, time_ms, kind):
    return _KEY_HEAD.pack(sensor, time_ms) + kind.encode("utf-8")


def row_state(kafka_ms, value, partition, offset):
    bits = int.from_bytes(_DOUBLE.pack(value), "big")
    return (((kafka_ms << 64) | bits) << 64) | (partition << 48) | offset


def split_state(state):
    """(Kafka timestamp in ms, 8 bytes of the value, partition, offset)"""
    low = state & ((1 << 64) - 1)
    bits = (state >> 64) & ((1 << 64) - 1)
    return state >> 128, bits.to_bytes(8, "big"), low >> 48, low & ((1 << 48) - 1)


def show_time(ms):
    try:
        at = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=ms)
    except OverflowError:
        return f"{ms} ms"
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"


def show_key(key):
    sensor, time_ms = _KEY_HEAD.unpack_from(key)
    return {
        "sensor_id": str(uuid.UUID(bytes=sensor)),
        "reading_time": show_time(time_ms),
        "reading_time_ms": time_ms,
        "type": key[24:].decode("utf-8", "replace"),
    }


def show_value(raw):
    if raw is None:
        return None
    if len(raw) != 8:
        return {"bytes": raw.hex()}
    return {"value": repr(_DOUBLE.unpack(raw)[0]), "bytes": raw.hex()}


def show_expected(state):
    kafka_ms, raw, partition, offset = split_state(state)
    return dict(show_value(raw), kafka_timestamp_ms=kafka_ms, partition=partition, offset=offset)


class Findings:
    """Counts of everything, and the first few differences of each kind."""

    KINDS = ("different", "writetime_different", "unexpected", "missing",
             "dlq_missing", "dlq_unexpected", "dlq_unreadable")

    def __init__(self):
        self.counts = Counter()
        self.samples = {kind: [] for kind in self.KINDS}

    def add(self, kind, detail):
        """detail is a function: it is called only when the difference will be shown."""
        self.counts[kind] += 1
        if len(self.samples[kind]) < SHOWN:
            self.samples[kind].append(dict(kind=kind, **detail()))

    def first(self):
        """Up to SHOWN differences, taken in turn from each kind so that none hides another."""
        queues = [deque(self.samples[kind]) for kind in self.KINDS]
        shown = []
        while len(shown) < SHOWN and any(queues):
            for queue in queues:
                if queue and len(shown) < SHOWN:
                    shown.append(queue.popleft())
        return sorted(shown, key=lambda entry: self.KINDS.index(entry["kind"]))

    def equal(self):
        return not any(self.counts[kind] for kind in self.KINDS)


# ---------------------------------------------------------------- Kafka


def read_topic(brokers, topic, starts, ends, progress):
    """Every record of the topic up to ends; fills starts and ends (partition -> offset) first."""
    from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

    consumer = Consumer({
        "bootstrap.servers": brokers,
        "group.id": "compare-rows-" + uuid.uuid4().hex,  # required by the client; never joined, never committed
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
        "auto.offset.reset": "error",
        "isolation.level": "read_uncommitted",
        "queued.max.messages.kbytes": 65536,
    })
    try:
        described = consumer.list_topics(topic, timeout=30).topics[topic]
        if described.error is not None or not described.partitions:
            raise CannotCompare(f"topic {topic}: {described.error or 'no partitions'}")
        for partition in described.partitions:
            starts[partition], ends[partition] = consumer.get_watermark_offsets(
                TopicPartition(topic, partition), timeout=30, cached=False)
        open_partitions = {p for p in starts if ends[p] > starts[p]}
        consumer.assign([TopicPartition(topic, p, starts[p]) for p in sorted(open_partitions)])
        last_seen = time.monotonic()
        while open_partitions:
            messages = consumer.consume(5000, timeout=1.0)
            if messages:
                last_seen = time.monotonic()
            elif time.monotonic() - last_seen > 60:
                raise CannotCompare(f"topic {topic}: nothing came for 60 s from partitions {sorted(open_partitions)}")
            for message in messages:
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:
                        open_partitions.discard(message.partition())
                        continue
                    raise CannotCompare(f"topic {topic}: {error}")
                partition, offset = message.partition(), message.offset()
                if offset < ends[partition]:
                    yield message
                if offset + 1 >= ends[partition]:
                    open_partitions.discard(partition)
            progress(len(messages))
    except KafkaException as error:
        raise CannotCompare(f"topic {topic}: {error}") from error
    finally:
        consumer.close()


def expected_from_topic(args, findings, report):
    """(rows, rejected (partition, offset) -> reason, starts, ends)"""
    rows, rejected, reasons, starts, ends = {}, {}, Counter(), {}, {}
    decoder = Decoder(args.id_namespace)
    counts = findings.counts
    for message in read_topic(args.brokers, args.topic, starts, ends, report):
        counts["records"] += 1
        partition, offset = message.partition(), message.offset()
        kafka_ms = message.timestamp()[1]
        try:
            sensor, time_ms, readings = decoder.decode(message.value() or b"", kafka_ms)
        except Rejected as reason:
            rejected[partition, offset] = str(reason)
            reasons[str(reason)] += 1
            continue
        counts["readings"] += len(readings)
        for kind, value in readings:
            key = row_key(sensor, time_ms, kind)
            state = row_state(kafka_ms, value, partition, offset)
            if rows.setdefault(key, state) < state:
                rows[key] = state
    if not counts["records"]:
        raise CannotCompare(f"topic {args.topic}: holds no record (deleted by retention: {sum(starts.values())})")
    counts["rejected"] = len(rejected)
    counts["expected_keys"] = len(rows)
    counts["deleted_before"] = sum(starts.values())
    counts["offsets_without_record"] = sum(ends.values()) - sum(starts.values()) - counts["records"]
    return rows, rejected, reasons, starts, ends


def compare_dead_letters(args, findings, rejected, starts, ends, report):
    found = Counter()
    for message in read_topic(args.brokers, args.dlq_topic, {}, {}, report):
        findings.counts["dlq_records"] += 1
        headers = dict(message.headers() or ())
        where = {"dlq_partition": message.partition(), "dlq_offset": message.offset()}
        try:
            found[header_number(headers, HEADER_PARTITION), header_number(headers, HEADER_OFFSET)] += 1
        except ValueError as error:
            findings.add("dlq_unreadable", lambda: dict(where, error=str(error)))
    findings.counts["dlq_repeated"] = sum(found.values()) - len(found)
    for (partition, offset), reason in sorted(rejected.items()):
        if (partition, offset) not in found:
            findings.add("dlq_missing", lambda: dict(partition=partition, offset=offset, reason=reason))
    for partition, offset in sorted(found):
        if (partition, offset) in rejected:
            continue
        if partition in starts and not starts[partition] <= offset < ends[partition]:
            findings.counts["dlq_outside_snapshot"] += 1  # deleted by retention, or written since
        else:
            findings.add("dlq_unexpected", lambda: dict(partition=partition, offset=offset))


def header_number(headers, name):
    value = headers.get(name)
    if value is None:
        raise ValueError("no header " + name)
    if not re.fullmatch(rb"[0-9]{1,19}", value):
        raise ValueError(f"header {name} is no decimal number: {value[:40]!r}")
    return int(value)


# ---------------------------------------------------------------- Cassandra


def connect(address):
    """A session that hands out every cell as the bytes the server sent."""
    from cassandra import ConsistencyLevel
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
    from cassandra.policies import WhiteListRoundRobinPolicy
    from cassandra.protocol import ResultMessage, _ProtocolHandler

    int32 = struct.Struct(">i")

    class RawResult(ResultMessage):
        def recv_results_rows(self, f, protocol_version, user_type_map, result_metadata, *_):
            self.recv_results_metadata(f, user_type_map)
            columns = self.column_metadata or result_metadata
            self.column_names = [column[2] for column in columns]
            self.column_types = [column[3] for column in columns]
            body, at, width = f.read(), 4, range(len(columns))
            self.parsed_rows = rows = []
            for _ in range(int32.unpack_from(body, 0)[0]):
                row = []
                for _ in width:
                    size = int32.unpack_from(body, at)[0]
                    at += 4
                    if size < 0:
                        row.append(None)
                    else:
                        row.append(body[at:at + size])
                        at += size
                rows.append(row)

    class RawProtocol(_ProtocolHandler):
        message_types_by_opcode = dict(_ProtocolHandler.message_types_by_opcode)
        message_types_by_opcode[ResultMessage.opcode] = RawResult

    hosts = [part.rsplit(":", 1) for part in address.split(",")]
    names = [host for host, _ in hosts]
    profile = ExecutionProfile(
        load_balancing_policy=WhiteListRoundRobinPolicy(names), consistency_level=ConsistencyLevel.QUORUM,
        request_timeout=60, row_factory=lambda _, rows: rows)
    cluster = Cluster(names, port=int(hosts[0][1]), execution_profiles={EXEC_PROFILE_DEFAULT: profile},
                      connect_timeout=15, control_connection_timeout=15)
    try:
        session = cluster.connect()
    except NoHostAvailable as error:
        cluster.shutdown()
        raise CannotCompare(f"cassandra {address}: {error}") from error
    session.client_protocol_handler = RawProtocol
    session.default_fetch_size = 5000
    return cluster, session


def check_table(session, keyspace):
    found = {}
    for name, kind, position, order, cql_type in session.execute(
            "SELECT column_name, kind, position, clustering_order, type FROM system_schema.columns "
            "WHERE keyspace_name = %s AND table_name = 'sensor_readings'", (keyspace,)):
        found[name.decode()] = (
            cql_type.decode(), kind.decode(), int.from_bytes(position, "big", signed=True), order.decode())
    if not found:
        raise CannotCompare(f"cassandra: no table {keyspace}.sensor_readings")
    for name, expected in COLUMNS.items():
        if found.get(name) != expected:
            raise CannotCompare(f"{keyspace}.sensor_readings: column {name} is {found.get(name)}, expected {expected}")


def read_rows(session, keyspace, with_writetime, ranges=256, in_flight=4):
    """Pages of [sensor_id, day, reading_time, type, reading(, writetime)], over the whole ring."""
    extra = ", WRITETIME(reading)" if with_writetime else ""
    statement = session.prepare(
        f'SELECT sensor_id, day, reading_time, type, reading{extra} FROM "{keyspace}".sensor_readings '
        "WHERE token(sensor_id, day) > ? AND token(sensor_id, day) <= ?")
    step = 2 ** 64 // ranges
    bounds = [-2 ** 63 + i * step for i in range(ranges)] + [2 ** 63 - 1]  # no token is -2^63
    pending, waiting = deque(), deque(zip(bounds, bounds[1:]))
    while pending or waiting:
        while waiting and len(pending) < in_flight:
            pending.append(session.execute_async(statement, waiting.popleft()))
        result = pending.popleft().result()
        while True:
            yield result.current_rows
            if not result.has_more_pages:
                break
            result.fetch_next_page()


def compare_page(page, rows, findings, check_writetime):
    """Takes the rows found out of rows: what stays there in the end is missing."""
    findings.counts["rows_found"] += len(page)
    for row in page:
        sensor, day, at, kind, raw = row[:5]
        key = sensor + at + kind
        day_number = int.from_bytes(day, "big") - 2 ** 31
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


def compare_table(args, findings, rows, report):
    from cassandra import DriverException, OperationTimedOut, RequestExecutionException

    cluster, session = connect(args.cassandra)
    try:
        check_table(session, args.keyspace)
        for page in read_rows(session, args.keyspace, args.check_writetime):
            compare_page(page, rows, findings, args.check_writetime)
            report(len(page))
    except (DriverException, OperationTimedOut, RequestExecutionException) as error:
        raise CannotCompare(f"cassandra {args.cassandra}: {error}") from error
    finally:
        cluster.shutdown()
    for key, state in rows.items():
        findings.add("missing", lambda: dict(show_key(key), expected=show_expected(state)))


# ---------------------------------------------------------------- command line


class Progress:
    """One line on stderr every five seconds."""

    def __init__(self, what):
        self.what, self.done, self.started = what, 0, time.monotonic()
        self.next = self.started + 5

    def __call__(self, more):
        self.done += more
        now = time.monotonic()
        if now >= self.next:
            self.next = now + 5
            print(f"{self.what}: {self.done} after {now - self.started:.0f} s", file=sys.stderr, flush=True)


def run(args):
    started = time.monotonic()
    findings = Findings()
    rows, rejected, reasons, starts, ends = expected_from_topic(args, findings, Progress("records read"))
    topic_read = time.monotonic()
    compare_table(args, findings, rows, Progress("rows read"))
    table_read = time.monotonic()
    if args.dlq_topic:
        compare_dead_letters(args, findings, rejected, starts, ends, Progress("dead letters read"))
    names = ["records", "deleted_before", "offsets_without_record", "rejected", "readings", "expected_keys",
             "rows_found", "missing", "unexpected", "different"]
    if args.check_writetime:
        names.append("writetime_different")
    if args.dlq_topic:
        names += ["dlq_records", "dlq_repeated", "dlq_outside_snapshot", "dlq_missing", "dlq_unexpected",
                  "dlq_unreadable"]
    return {
        "equal": findings.equal(),
        "counts": {name: findings.counts[name] for name in names},
        "rejected_by_reason": dict(sorted(reasons.items())),
        "seconds": {"topic": round(topic_read - started, 1), "table": round(table_read - topic_read, 1)},
        "differences": findings.first(),
    }


def print_result(result):
    width = max(map(len, result["counts"]))
    for name, count in result["counts"].items():
        print(f"{name:<{width}} {count}")
    for reason, count in result["rejected_by_reason"].items():
        print(f"  rejected: {reason}: {count}")
    for difference in result["differences"]:
        print(json.dumps(difference, ensure_ascii=False))
    print("equal" if result["equal"] else "NOT EQUAL")


def address(text):
    for part in text.split(","):
        if not re.fullmatch(r"[^:,\s]+:[0-9]{1,5}", part):
            raise argparse.ArgumentTypeError(f"{part!r} is not host:port")
    return text


def keyspace_name(text):
    if not re.fullmatch(r"[A-Za-z0-9_]{1,48}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no keyspace name")
    return text


def main(argv):
    if argv == ["--self-test"]:
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(DecodeRules)
        return 0 if unittest.TextTestRunner().run(suite).wasSuccessful() else 1
    parser = argparse.ArgumentParser(
        description="Compare a topic of sensor records with the rows of <keyspace>.sensor_readings.",
        epilog="Exit codes: 0 equal, 1 could not compare, 2 usage, 3 differences.")
    parser.add_argument("--brokers", required=True, type=address, metavar="HOST:PORT")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--cassandra", required=True, type=address, metavar="HOST:PORT")
    parser.add_argument("--keyspace", required=True, type=keyspace_name)
    parser.add_argument("--dlq-topic", help="dead letters: must hold exactly the records rejected here")
    parser.add_argument("--id-namespace", type=uuid.UUID, default=uuid.UUID(DEFAULT_NAMESPACE), metavar="UUID",
                        help="UUIDv5 namespace of ids that are no UUIDs (default %(default)s)")
    parser.add_argument("--check-writetime", action="store_true",
                        help="compare WRITETIME(reading) with the record's timestamp too")
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument("--self-test", action="store_true", help="test the decode rules and stop (alone)")
    args = parser.parse_args(argv)
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
              f"{counts['offsets_without_record']} hold no record: rows of theirs show up as unexpected", file=sys.stderr)
    if args.json:
        print(json.dumps(result))
    else:
        print_result(result)
    return 0 if result["equal"] else 3


# ---------------------------------------------------------------- self-test

SENSOR = "6f1c0000-0000-4000-8000-00000000000a"
KAFKA_MS = 1_732_000_000_500


class DecodeRules(unittest.TestCase):
    def decode(self, text, kafka_ms=KAFKA_MS):
        payload = text if isinstance(text, bytes) else text.encode("utf-8")
        return Decoder(uuid.UUID(DEFAULT_NAMESPACE)).decode(payload, kafka_ms)

    def rejects(self, text, reason, kafka_ms=KAFKA_MS):
        with self.assertRaises(Rejected, msg=text) as caught:
            self.decode(text, kafka_ms)
        self.assertIn(reason, str(caught.exception), text)

    @staticmethod
    def narrow(sensor=f'"{SENSOR}"', at="1732000000123", kind='"temperature"', reading="23.4567", more=""):
        return f'{{"sensor_id":{sensor},"reading_time":{at},"type":{kind},"reading":{reading}{more}}}'

    def value_bytes(self, literal):
        return struct.pack(">d", self.decode(self.narrow(reading=literal))[2][0][1]).hex()

    def time_of(self, literal):
        return self.decode(self.narrow(at=literal))[1]

    def test_narrow_record(self):
        self.assertEqual(self.decode(self.narrow()),
                         (uuid.UUID(SENSOR).bytes, 1_732_000_000_123, [("temperature", 23.4567)]))
        self.assertEqual(self.decode(self.narrow(more=',"unit":"C","n":null,"x":7'))[2], [("temperature", 23.4567)])
        self.assertEqual(self.decode(self.narrow() + " \r\n\t")[2], [("temperature", 23.4567)])

    def test_wide_record(self):
        sensor, at, readings = self.decode(
            '{"device_id":"SENSOR_001","timestamp":"2023-11-05T12:00:00Z","temperature":27.5,"motion":true,"door":false,'
            '"n":3,"location":{"latitude":52.3,"longitude":4.9},"status":"active","note":"x","gone":null,"list":[1]}')
        self.assertEqual(sensor, uuid.uuid5(uuid.UUID(DEFAULT_NAMESPACE), "SENSOR_001").bytes)
        self.assertEqual(at, 1_699_185_600_000)
        self.assertEqual(readings, [("temperature", 27.5), ("motion", 1.0), ("door", 0.0), ("n", 3.0)])
        self.rejects('{"device_id":"a","timestamp":1732000000123}', "no reading")
        self.rejects('{"device_id":"a","timestamp":1732000000123,"status":1,"location":2,"reading_time":3}', "time")
        self.rejects('{"device_id":"a","timestamp":1732000000123,"status":1,"location":2}', "no reading")
        self.rejects('{"device_id":"a","timestamp":1732000000123,"":1}', "kind: empty")
        self.rejects('{"device_id":"a","timestamp":1732000000123,"t":1,"u":1e999}', "out of range")

    def test_ids(self):
        # The example of RFC 9562, appendix A.4.
        dns = Decoder(uuid.NAMESPACE_DNS)
        self.assertEqual(uuid.UUID(bytes=dns.sensor("www.example.com")).hex, "2ed6657de927568b95e12665a8aea6a2")
        upper = self.decode(self.narrow(sensor=f'"{SENSOR.upper()}"'))[0]
        self.assertEqual(upper, uuid.UUID(SENSOR).bytes)
        for other in (SENSOR.replace("-", ""), "{" + SENSOR + "}", "urn:uuid:" + SENSOR, SENSOR + " ", " "):
            self.assertEqual(self.decode(self.narrow(sensor=json.dumps(other)))[0],
                             uuid.uuid5(uuid.UUID(DEFAULT_NAMESPACE), other).bytes, other)
        self.decode(self.narrow(sensor='"' + "é" * 128 + '"'))
        self.rejects(self.narrow(sensor='"' + "é" * 128 + 'a"'), "id: too long")
        self.rejects(self.narrow(sensor='""'), "id: empty")
        for wrong in ("7", "null", "[]", "true", "{}"):
            self.rejects(self.narrow(sensor=wrong), "id: wrong type")
        self.rejects('{"reading_time":1732000000123,"type":"t","reading":1}', "id: missing")
        both = '{"device_id":"d","sensor_id":"s","reading_time":1732000000123,"type":"t","reading":1}'
        self.assertEqual(self.decode(both)[0], uuid.uuid5(uuid.UUID(DEFAULT_NAMESPACE), "s").bytes)

    def test_times(self):
        for literal, ms in (
                ('"2024-11-19T07:06:40.123Z"', 1_732_000_000_123), ('"2024-11-19T07:06:40.1239999999999Z"', 1_732_000_000_123),
                ('"2024-11-19T07:06:40.1Z"', 1_732_000_000_100), ('"2024-11-19t07:06:40z"', 1_732_000_000_000),
                ('"2024-11-19 07:06:40"', 1_732_000_000_000), ('"2024-11-19T07:06:40"', 1_732_000_000_000),
                ('"2024-11-19T12:36:40+05:30"', 1_732_000_000_000), ('"2024-11-18T23:06:40.5-08:00"', 1_732_000_000_500),
                ('"2024-02-29T00:00:00-00:00"', 1_709_164_800_000)):
            self.assertEqual(self.time_of(literal), ms, literal)
        for literal in ('"2024-11-19"', '"2024-11-19T07:06Z"', '"2024-11-19T07:06:40+0100"', '"2024-11-19T07:06:40.Z"',
                        '"1732000000123"', '""', '"2024-11-19T07:06:40Z "', '"20241119T070640Z"', '"2024-11-19T07:06:40+01"'):
            self.rejects(self.narrow(at=literal), "not RFC 3339")
        for literal in ('"2023-02-29T00:00:00Z"', '"2024-11-19T24:00:00Z"', '"2016-12-31T23:59:60Z"', '"2024-13-01T00:00:00Z"'):
            self.rejects(self.narrow(at=literal), "no such date")
        self.rejects(self.narrow(at='"2024-11-19T07:06:40+24:00"'), "no such offset")
        for literal in ("1732000000123.0", "1.732e12", "true", "null", "[]"):
            self.rejects(self.narrow(at=literal), "time: wrong type")

    def test_time_bounds_follow_the_record_timestamp(self):
        self.assertEqual(self.time_of("946684800000"), 946_684_800_000)
        self.rejects(self.narrow(at="946684799999"), "too old")
        self.rejects(self.narrow(at="-1"), "too old")
        self.rejects(self.narrow(at='"1999-12-31T23:59:59.999Z"'), "too old")
        self.assertEqual(self.time_of(str(KAFKA_MS + 3_600_000)), KAFKA_MS + 3_600_000)
        self.rejects(self.narrow(at=str(KAFKA_MS + 3_600_001)), "in the future")
        self.rejects(self.narrow(at="9" * 19), "in the future")
        self.rejects(self.narrow(at="9" * 30), "time")
        self.rejects(self.narrow(), "in the future", kafka_ms=-1)

    def test_values_keep_their_bits(self):
        for literal, expected in (
                ("0.1", "3fb999999999999a"), ("-0", "8000000000000000"), ("-0.0", "8000000000000000"), ("0", "0" * 16),
                ("1e-400", "0" * 16), ("5e-324", "0000000000000001"), ("1.7976931348623157e308", "7fefffffffffffff"),
                ("9007199254740993", "4340000000000000"), ("9007199254740995", "4340000000000002"),
                ("18446744073709551615", "43f0000000000000"), ("1" + "0" * 308, "7fe1ccf385ebc8a0"), ("1E+2", "4059000000000000")):
            self.assertEqual(self.value_bytes(literal), expected, literal)
        for literal in ("1e309", "-1e309", "1" + "0" * 400, "9" * 5000):
            self.rejects(self.narrow(reading=literal), "out of range")
        for literal in ("NaN", "Infinity", "-Infinity", "01", "+1", ".5", "1.", "0x10", "1_000", ""):
            self.rejects(self.narrow(reading=literal), "not JSON")
        for literal in ('"1"', "null", "[1]", "{}"):
            self.rejects(self.narrow(reading=literal), "reading: wrong type")

    def test_types(self):
        self.assertEqual(self.decode(self.narrow(kind='"\\u00e9 \\ud83d\\ude00"'))[2], [("é 😀", 23.4567)])
        self.rejects(self.narrow(kind='""'), "type: empty")
        for wrong in ("1", "null", "true"):
            self.rejects(self.narrow(kind=wrong), "type: wrong type")
        self.rejects('{"sensor_id":"a","reading_time":1732000000123,"reading":1}', "type: missing")
        self.rejects('{"sensor_id":"a","reading_time":1732000000123,"type":"t","value":1}', "reading: missing")

    def test_not_json(self):
        self.rejects(b"", "empty")
        for text in ("[]", "null", " {}", "\ufeff{}", "hello", '"x"'):
            self.rejects(text, "not an object")
        self.rejects(b"\x00\x00\x00\x00\x01abc", "Avro")
        for text in ("{", "{}{}", "{},", self.narrow() + "x", self.narrow()[:-1], self.narrow(more=","), "{'a':1}",
                     self.narrow(more=',"a":"\n"'), self.narrow(more=',"a":"\\x41"'), self.narrow(more="/**/")):
            self.rejects(text, "not JSON")
        self.rejects(self.narrow(kind='"a').encode() + b'\xff"}', "not UTF-8")
        self.rejects(self.narrow(kind='"\\ud800"'), "unpaired surrogate")
        self.rejects(self.narrow(more=',"z":"\\udc00"'), "unpaired surrogate")

    def test_duplicate_keys(self):
        self.rejects(self.narrow(more=',"reading":23.4567'), "duplicate key")
        self.rejects(self.narrow(more=',"\\u0074ype":"x"'), "duplicate key")
        self.rejects(self.narrow(more=',"location":{"a":1,"a":1}'), "duplicate key")
        self.decode(self.narrow(more=',"location":{"type":1}'))

    def test_limits(self):
        record = self.narrow(more=',"pad":""')
        full = record.replace('"pad":""', '"pad":"' + "x" * (MAX_PAYLOAD_BYTES - len(record)) + '"')
        self.assertEqual(len(full), MAX_PAYLOAD_BYTES)
        self.decode(full)
        self.rejects(full + " ", "too large")
        self.decode(self.narrow(more=',"deep":' + "[" * 31 + "]" * 31))
        self.rejects(self.narrow(more=',"deep":' + "[" * 32 + "]" * 32), "nesting")
        self.rejects(self.narrow(more=',"deep":' + "[" * 100_000 + "]" * 100_000), "nesting")
        self.decode(self.narrow(more=',"flat":"\\"' + "[{" * 50 + '"'))
        self.decode(self.narrow(more=',"flat":[' + ",".join(["[]"] * 50) + "]"))

    def test_the_winner_among_several_records_of_one_key(self):
        later_small, earlier_large = row_state(2, 1.0, 0, 0), row_state(1, 9.0, 11, 2 ** 47)
        self.assertGreater(later_small, earlier_large)
        self.assertGreater(row_state(2, -1.0, 0, 0), row_state(2, 1e300, 3, 5))  # the sign bit is the largest, unsigned
        self.assertGreater(row_state(2, -0.0, 0, 0), row_state(2, 0.0, 3, 5))
        self.assertEqual(split_state(row_state(KAFKA_MS, -2.5, 11, 77)), (KAFKA_MS, struct.pack(">d", -2.5), 11, 77))

    def test_rows_are_compared_by_bits_day_and_write_time(self):
        at, sensor = 1_732_000_000_123, uuid.UUID(SENSOR).bytes
        day = struct.pack(">I", 2 ** 31 + at // DAY_MS)

        def compare(row):
            rows, findings = {row_key(sensor, at, "t"): row_state(5, 0.0, 0, 0)}, Findings()
            compare_page([row], rows, findings, True)
            found = {kind for kind in Findings.KINDS if findings.counts[kind]}
            return found | ({"missing"} if rows else set())

        right = [sensor, day, struct.pack(">q", at), b"t", struct.pack(">d", 0.0), struct.pack(">q", 5000)]
        self.assertEqual(compare(right), set())
        self.assertEqual(compare(right[:4] + [struct.pack(">d", -0.0), right[5]]), {"different"})
        self.assertEqual(compare(right[:4] + [None, right[5]]), {"different"})
        self.assertEqual(compare(right[:5] + [struct.pack(">q", 5001)]), {"writetime_different"})
        self.assertEqual(compare(right[:3] + [b"u"] + right[4:]), {"unexpected", "missing"})
        self.assertEqual(compare(right[:1] + [struct.pack(">I", 2 ** 31)] + right[2:]), {"unexpected", "missing"})

    def test_dead_letter_headers(self):
        self.assertEqual(header_number({"h": b"12"}, "h"), 12)
        for wrong in ({}, {"h": None}, {"h": b""}, {"h": b"-1"}, {"h": b"\x00\x00\x00\x01"}):
            self.assertRaises(ValueError, header_number, wrong, "h")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
