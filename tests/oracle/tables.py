"""Tables of Cassandra as bytes: every cell as the server sent it, so that nothing is rounded on the way."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from findings import CannotCompare

Row = list["bytes | None"]
Key = tuple[bytes, ...]
Cells = tuple["bytes | None", ...]
RANGES = 64
IN_FLIGHT = 4
_INT32 = struct.Struct(">i")


@dataclass(frozen=True)
class Table:
    """A table's key, and its other columns, as the comparison expects them: (name, type)."""

    name: str
    partition: tuple[tuple[str, str], ...]
    clustering: tuple[tuple[str, str, str], ...]  # with asc or desc
    values: tuple[tuple[str, str], ...]

    @property
    def key(self) -> tuple[str, ...]:
        return tuple(column[0] for column in self.partition + self.clustering)

    @property
    def value_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.values)

    @property
    def types(self) -> dict[str, str]:
        return {column[0]: column[1] for column in self.partition + self.clustering + self.values}

    def columns(self) -> dict[str, tuple[str, str, int, str]]:
        """As system_schema.columns has them: type, kind, position, order."""
        found = {name: (type, "partition_key", at, "none") for at, (name, type) in enumerate(self.partition)}
        found |= {name: (type, "clustering", at, order) for at, (name, type, order) in enumerate(self.clustering)}
        return found | {name: (type, "regular", -1, "none") for name, type in self.values}


def _raw_protocol() -> type:
    """A protocol handler that hands out every cell as the bytes that the server sent."""
    from cassandra.protocol import ResultMessage, _ProtocolHandler

    class RawResult(ResultMessage):
        def recv_results_rows(self, f: Any, protocol_version: int, user_type_map: Any, result_metadata: Any,
                              *_: Any) -> None:
            self.recv_results_metadata(f, user_type_map)
            columns = self.column_metadata or result_metadata
            self.column_names = [column[2] for column in columns]
            self.column_types = [column[3] for column in columns]
            body, at, width = f.read(), 4, range(len(columns))
            self.parsed_rows = rows = []
            for _ in range(_INT32.unpack_from(body, 0)[0]):
                row: Row = []
                for _ in width:
                    size = _INT32.unpack_from(body, at)[0]
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

    return RawProtocol


@contextmanager
def connected(address: str, consistency: str = "QUORUM") -> Iterator[Any]:
    """A session whose rows are lists of bytes, read at that consistency."""
    from cassandra import ConsistencyLevel, DriverException, OperationTimedOut, RequestExecutionException
    from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile, NoHostAvailable
    from cassandra.policies import WhiteListRoundRobinPolicy

    hosts = [part.rsplit(":", 1) for part in address.split(",")]
    names = [host for host, _ in hosts]
    profile = ExecutionProfile(
        load_balancing_policy=WhiteListRoundRobinPolicy(names),
        consistency_level=ConsistencyLevel.name_to_value[consistency],
        request_timeout=60, row_factory=lambda _, rows: rows)
    cluster = Cluster(names, port=int(hosts[0][1]), execution_profiles={EXEC_PROFILE_DEFAULT: profile},
                      connect_timeout=15, control_connection_timeout=15)
    try:
        session = cluster.connect()
        session.client_protocol_handler = _raw_protocol()
        session.default_fetch_size = 5000
        yield session
    except (NoHostAvailable, DriverException, OperationTimedOut, RequestExecutionException) as error:
        raise CannotCompare(f"cassandra {address}: {error}") from error
    finally:
        cluster.shutdown()


def columns_of(session: Any, keyspace: str) -> dict[str, dict[str, tuple[str, str, int, str]]]:
    """By table and column: type, kind, position, order."""
    tables: dict[str, dict[str, tuple[str, str, int, str]]] = {}
    for table, name, kind, position, order, cql_type in session.execute(
            "SELECT table_name, column_name, kind, position, clustering_order, type FROM system_schema.columns "
            "WHERE keyspace_name = %s", (keyspace,)):
        tables.setdefault(table.decode(), {})[name.decode()] = (
            cql_type.decode(), kind.decode(), int.from_bytes(position, "big", signed=True), order.decode())
    return tables


def check_table(session: Any, keyspace: str, table: Table) -> None:
    """The table is there, keyed and typed as expected; columns that are unknown here are nobody's business."""
    found = columns_of(session, keyspace).get(table.name)
    if not found:
        raise CannotCompare(f"cassandra: no table {keyspace}.{table.name}")
    expected = table.columns()
    for name, column in found.items():
        if name not in expected and column[1] != "regular":
            raise CannotCompare(f"{keyspace}.{table.name}: {name} is part of the key")
    for name, column in expected.items():
        if found.get(name) != column:
            raise CannotCompare(f"{keyspace}.{table.name}: column {name} is {found.get(name)}, expected {column}")


def check_type(session: Any, keyspace: str, name: str, fields: tuple[tuple[str, str], ...]) -> None:
    rows = session.execute("SELECT field_names, field_types FROM system_schema.types "
                           "WHERE keyspace_name = %s AND type_name = %s", (keyspace, name)).all()
    found = tuple(zip(*(map(bytes.decode, elements(part)) for part in rows[0]))) if rows else None
    if found != fields:
        raise CannotCompare(f"{keyspace}: type {name} is {found}, expected {fields}")


def elements(raw: bytes, each: int = 1) -> list[bytes]:
    """The elements of a list or, with two each, keys and values of a map."""
    count, at, found = _INT32.unpack_from(raw, 0)[0] * each, 4, []
    for _ in range(count):
        size = _INT32.unpack_from(raw, at)[0]
        found.append(raw[at + 4:at + 4 + size])
        at += 4 + size
    return found


def pages(session: Any, keyspace: str, table: str, partition: tuple[str, ...], selected: str) -> Iterator[list[Row]]:
    """Pages of rows over the whole ring, several token ranges at once."""
    token = f"token({', '.join(partition)})"
    statement = session.prepare(f'SELECT {selected} FROM "{keyspace}".{table} WHERE {token} > ? AND {token} <= ?')
    step = 2**64 // RANGES
    bounds = [-(2**63) + i * step for i in range(RANGES)] + [2**63 - 1]  # no token is -2^63
    pending: deque[Any] = deque()
    waiting = deque(zip(bounds, bounds[1:]))
    while pending or waiting:
        while waiting and len(pending) < IN_FLIGHT:
            pending.append(session.execute_async(statement, waiting.popleft()))
        result = pending.popleft().result()
        while True:
            yield result.current_rows
            if not result.has_more_pages:
                break
            result.fetch_next_page()
