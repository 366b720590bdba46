"""Proves that the comparison bites: breaks a store that was equal, cell by cell, and wants exactly that to be found.

In every table one cell gets another bit under its old write time, one row is written again a microsecond later, one row
is deleted and one is put where none belongs; the topic of alerts gets a record that differs and one of nobody. Takes
the arguments of compare.py with --windows, --alerts and --alerts-topic. It leaves the keyspace broken.
Exit codes: 0 all was found, 1 not.
"""

from __future__ import annotations

import json
import sys
import uuid
from argparse import Namespace
from typing import Any

from compare import arguments, run
from derived import ACTIVE_ALERTS, ALERTS, ALERTS_BY_DAY, STATE, WINDOWS
from findings import CannotCompare
from readings import READINGS
from tables import Row, Table, connected, pages
from topics import Topic

# Which column gets another bit.
BROKEN = {ALERTS: "peak", ALERTS_BY_DAY: "value", WINDOWS: "agg", STATE: "state", ACTIVE_ALERTS: "alerts",
          READINGS: "reading"}


def larger(cell: bytes) -> bytes:
    """The cell with its last byte one up: of two cells with one write time the larger one wins."""
    at = max(index for index, byte in enumerate(cell) if byte < 255)
    return cell[:at] + bytes([cell[at] + 1]) + cell[at + 1:]


def three_rows(session: Any, keyspace: str, table: Table) -> list[Row]:
    """With the write times behind the cells. The first has the most in it: an empty map has no bits to turn."""
    names = table.value_names
    selected = ", ".join(table.key + names + tuple(f"WRITETIME({name})" for name in names))
    found = pages(session, keyspace, table.name, tuple(name for name, _ in table.partition), selected)
    column = len(table.key) + names.index(BROKEN[table])
    rows = sorted((row for page in found for row in page), key=lambda row: -len(row[column] or b""))
    if len(rows) < 3:
        raise CannotCompare(f"{table.name}: {len(rows)} rows, too few to break three")
    return rows[:3]


def execute(session: Any, text: str, values: list[bytes | None]) -> None:
    """With values as they go over the wire."""
    from cassandra.query import BoundStatement

    bound = BoundStatement(session.prepare(text))
    bound.values = values
    session.execute(bound)


def put(session: Any, keyspace: str, table: Table, row: Row, written: bytes) -> None:
    """All that the row has, under one write time."""
    names = [name for name, cell in zip(table.key + table.value_names, row) if cell is not None]
    cells = [cell for cell in row[:len(table.key) + len(table.values)] if cell is not None]
    places = ", ".join("?" * len(names))
    execute(session, f'INSERT INTO "{keyspace}".{table.name} ({", ".join(names)}) VALUES ({places}) USING TIMESTAMP ?',
            cells + [written])


def break_table(session: Any, keyspace: str, table: Table) -> None:
    keys, cells = len(table.key), len(table.values)
    flipped, again, deleted = three_rows(session, keyspace, table)
    where = " AND ".join(f"{name} = ?" for name in table.key)
    column = table.value_names.index(BROKEN[table])
    execute(session, f'UPDATE "{keyspace}".{table.name} USING TIMESTAMP ? SET {BROKEN[table]} = ? WHERE {where}',
            [flipped[keys + cells + column], larger(flipped[keys + column]), *flipped[:keys]])
    newest = max(time for time in again[keys + cells:] if time is not None)
    put(session, keyspace, table, again, larger(newest))
    elsewhere = [larger(again[0]), *again[1:]]
    put(session, keyspace, table, elsewhere, newest)
    newest = max(time for time in deleted[keys + cells:] if time is not None)
    execute(session, f'DELETE FROM "{keyspace}".{table.name} USING TIMESTAMP ? WHERE {where}',
            [newest, *deleted[:keys]])


def break_event_records(brokers: str, name: str, source_topic: str) -> None:
    from confluent_kafka import Producer

    message = next(message for message in Topic(brokers, name).records(lambda _: None)
                   if json.loads(message.value())["source"].startswith(source_topic + "/"))
    record = json.loads(message.value())
    producer = Producer({"bootstrap.servers": brokers, "acks": "all"})
    for wrong in (dict(record, status=record["status"] + "?"), dict(record, offset=2**40)):
        producer.produce(name, json.dumps(wrong).encode(), key=message.key())
    if producer.flush(30):
        raise CannotCompare(f"topic {name}: records could not be written")


def break_alert_records(brokers: str, name: str, source_topic: str) -> None:
    from confluent_kafka import Producer

    def of_ours(message: Any) -> bool:
        return json.loads(message.value())["source"].startswith(source_topic + "/")

    message = next(message for message in Topic(brokers, name).records(lambda _: None) if of_ours(message))
    record = json.loads(message.value())
    producer = Producer({"bootstrap.servers": brokers, "acks": "all"})
    for wrong in (dict(record, peak=record["peak"] + 1), dict(record, id=str(uuid.uuid4()))):
        producer.produce(name, json.dumps(wrong).encode(), key=message.key())
    if producer.flush(30):
        raise CannotCompare(f"topic {name}: records could not be written")


def expected_differences() -> dict[str, int]:
    found = {"different": 1, "writetime_different": 1, "unexpected": 1, "missing": 1}
    for table in BROKEN:
        if table is not READINGS:
            found |= {f"{table.name}_{kind}": 1 for kind in ("different", "writetime", "unexpected", "missing")}
    found |= {"event_records_different": 1, "event_records_unexpected": 1}
    return found | {"alert_records_different": 1, "alert_records_unexpected": 1}


def prove(args: Namespace) -> bool:
    if not run(args)["equal"]:
        raise CannotCompare("it differs before anything was broken")
    with connected(args.cassandra) as session:
        for table in BROKEN:
            break_table(session, args.keyspace, table)
    break_alert_records(args.brokers, args.alerts_topic, args.topic)
    break_event_records(args.brokers, args.events_topic, args.topic)
    expected, result = expected_differences(), run(args)
    for difference in result["differences"]:
        print(json.dumps(difference, ensure_ascii=False))
    counts = result["counts"]
    wrong = {name: (counts.get(name, 0), count) for name, count in expected.items() if counts.get(name, 0) != count}
    print(f"{len(expected)} kinds of difference were made; found otherwise than made: {wrong or 'none'}")
    return not wrong


def main(argv: list[str]) -> int:
    args = arguments().parse_args(argv)
    if not (args.windows and args.alerts and args.alerts_topic and args.events_topic and args.check_writetime):
        print("usage: as compare.py with --windows, --alerts, --alerts-topic, --events-topic, --check-writetime", file=sys.stderr)
        return 2
    try:
        return 0 if prove(args) else 1
    except CannotCompare as error:
        print(f"cannot prove: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
