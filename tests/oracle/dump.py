"""Every row of every table of a keyspace, a line each: all cells as hexadecimal bytes with their write times in µs.

Two dumps of a store that did not change are equal, line by line: rows come in the order of their tokens.

    python dump.py --cassandra HOST:PORT --keyspace K [--without TABLE.COLUMN]...

`--without` leaves a column out. Collections of several cells have no write time of their own here, only their contents.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from compare import address, keyspace_name
from findings import CannotCompare, Progress
from tables import columns_of, connected, pages

COLLECTIONS = ("map<", "set<", "list<")


def lines(session: Any, keyspace: str, without: set[str]) -> Iterator[str]:
    for table, columns in sorted(columns_of(session, keyspace).items()):
        names = sorted(name for name in columns if f"{table}.{name}" not in without)
        timed = [name for name in names
                 if columns[name][1] == "regular" and not columns[name][0].startswith(COLLECTIONS)]
        partition = sorted((name for name in columns if columns[name][1] == "partition_key"),
                           key=lambda name: columns[name][2])
        report = Progress(f"rows of {table} read")
        selected = ", ".join(names + [f"WRITETIME({name})" for name in timed])
        for page in pages(session, keyspace, table, tuple(partition), selected):
            for row in page:
                times = {name: int.from_bytes(raw, "big", signed=True)
                         for name, raw in zip(timed, row[len(names):]) if raw is not None}
                cells = (f"{name}={raw.hex()}" + (f"@{times[name]}" if name in times else "")
                         for name, raw in zip(names, row) if raw is not None)
                yield f"{table} {' '.join(cells)}"
            report(len(page))


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Print every row of every table of a keyspace with its write times.")
    parser.add_argument("--cassandra", required=True, type=address, metavar="HOST:PORT")
    parser.add_argument("--keyspace", required=True, type=keyspace_name)
    parser.add_argument("--without", action="append", default=[], metavar="TABLE.COLUMN")
    args = parser.parse_args(argv)
    try:
        with connected(args.cassandra) as session:
            for line in lines(session, args.keyspace, set(args.without)):
                print(line)
    except CannotCompare as error:
        print(f"cannot dump: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
