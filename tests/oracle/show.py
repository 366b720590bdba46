"""Cells as a person reads them."""

from __future__ import annotations

import struct
import uuid
from typing import Any

from findings import show_time
from fold import STATE_VERSION_WITH_STATUS
from tables import Cells, Key, Table, elements

DAY_MS = 86_400_000

# The fields of the user type `aggregate`.
AGGREGATE = (
    ("last_offset", "bigint"), ("count", "bigint"), ("sum", "double"), ("mean", "double"), ("m2", "double"),
    ("min", "double"), ("max", "double"), ("first", "double"), ("first_at", "timestamp"),
    ("last", "double"), ("last_at", "timestamp"))


def show_cell(cql_type: str, raw: bytes | None) -> Any:
    if raw is None:
        return None
    match cql_type:
        case "uuid":
            return str(uuid.UUID(bytes=raw))
        case "text":
            return raw.decode("utf-8", "replace")
        case "date":
            return show_time((int.from_bytes(raw, "big") - 2**31) * DAY_MS)[:10]
        case "timestamp":
            return show_time(int.from_bytes(raw, "big", signed=True))
        case "int" | "bigint":
            return int.from_bytes(raw, "big", signed=True)
        case "double" if len(raw) == 8:
            return {"value": repr(struct.unpack(">d", raw)[0]), "bytes": raw.hex()}
        case "frozen<aggregate>":
            fields = elements(len(AGGREGATE).to_bytes(4, "big") + raw)
            return {name: show_cell(kind, field) for (name, kind), field in zip(AGGREGATE, fields)}
        case "frozen<map<uuid, timestamp>>":
            parts = elements(raw, each=2)
            return {show_cell("uuid", id): show_cell("timestamp", at) for id, at in zip(parts[::2], parts[1::2])}
        case "blob":
            return show_state(raw)
    return raw.hex()


def show_state(raw: bytes) -> Any:
    """A sensor's state by its fields; as hexadecimal bytes where it is none."""
    try:
        return _State(raw).all()
    except (struct.error, UnicodeDecodeError, ValueError):
        return raw.hex()


class _State:
    """Reads a state from its beginning to its end."""

    def __init__(self, raw: bytes) -> None:
        self.raw, self.at = raw, 0

    def take(self, form: str) -> Any:
        (value,) = struct.unpack_from(">" + form, self.raw, self.at)
        self.at += struct.calcsize(">" + form)
        return repr(value) if form == "d" else value

    def text(self) -> str:
        length = self.take("H")
        return self.take(f"{length}s").decode("utf-8")

    def fields(self, form: str, names: str) -> dict[str, Any]:
        return {name: self.take(each) for each, name in zip(form, names.split())}

    def all(self) -> dict[str, Any]:
        state = self.fields("Bqq", "version last_offset newest")
        if state["version"] == STATE_VERSION_WITH_STATUS:
            state |= {"status_said_at": self.take("q"), "status": self.text()}
        for _ in range(self.take("H")):
            kind = self.text()
            memory = self.fields("qdIIddId", "newest last run count level spread intervals interval")
            for _ in range(self.take("H")):
                name = self.text()
                rule = self.fields("IB", "streak active")
                if rule["active"]:
                    rule |= self.fields("qqddddB", "onset raised_at value peak excess told severity")
                memory[f"rule {name}"] = rule
            state[f"kind {kind}"] = memory
        if self.at != len(self.raw):
            raise ValueError("more bytes than a state has")
        return state


def show_key(table: Table, key: Key) -> dict[str, Any]:
    return {name: show_cell(table.types[name], raw) for name, raw in zip(table.key, key)}


def show_cells(table: Table, cells: Cells) -> dict[str, Any]:
    return {name: show_cell(cql_type, raw) for (name, cql_type), raw in zip(table.values, cells)}


def show_difference(table: Table, wanted: Cells, found: Cells) -> dict[str, Any]:
    """Only the cells and fields that differ."""
    expected, got = only_different(show_cells(table, wanted), show_cells(table, found))
    return {"expected": expected, "found": got}


def only_different(expected: Any, found: Any) -> tuple[Any, Any]:
    if not (isinstance(expected, dict) and isinstance(found, dict)):
        return expected, found
    names = [name for name in expected | found if expected.get(name) != found.get(name)]
    pairs = {name: only_different(expected.get(name), found.get(name)) for name in names}
    return {name: pair[0] for name, pair in pairs.items()}, {name: pair[1] for name, pair in pairs.items()}
