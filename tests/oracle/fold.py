"""What a source's records leave behind beside the readings: windows, sensor state, alerts.

Written from docs/windows-and-alerts.md alone. Python's floats are doubles and each operation rounds once, so what comes
out here is what must be stored, to the bit. Records of one sensor and source come in the order of their offsets.
"""

from __future__ import annotations

import struct
import uuid
from math import copysign
from typing import NamedTuple

from rules import SEVERITIES, Rule, RuleBook

ALERT_NAMESPACE = uuid.UUID("5b0c8f0e-4a7d-5c3e-9d1f-27c16a90e4b8")
MEAN_ABSOLUTE_TO_SIGMA = 1.2533141373155003
SLOWEST = 1 / 64
MAX_KINDS = 256
MAX_U32 = 2**32 - 1
STATE_VERSION, STATE_VERSION_WITH_STATUS = 1, 2

_WINDOW = struct.Struct(">iqiqi8si8si8si8si8si8siqi8siq")
_DOUBLE = struct.Struct(">d")
_NAN = bytes.fromhex("7ff8000000000000")
_STATE_HEAD = struct.Struct(">Bqq")
_MEMORY_HEAD = struct.Struct(">q8sII8s8sI8sH")
_ONSET = struct.Struct(">qq8s8s8s8sB")


def double(value: float) -> bytes:
    """The eight bytes of a double; there is one NaN."""
    return _DOUBLE.pack(value) if value == value else _NAN


def text(name: str) -> bytes:
    raw = name.encode("utf-8")
    return len(raw).to_bytes(2, "big") + raw


class Window:
    """One window of a kind: `user type aggregate` in the order of its fields."""

    __slots__ = ("last_offset", "count", "sum", "mean", "m2", "min", "max", "first", "first_at", "last", "last_at")

    def __init__(self) -> None:
        self.count = 0
        self.sum = self.mean = self.m2 = 0.0

    def take(self, offset: int, at: int, x: float) -> None:
        self.count += 1
        self.sum += x
        delta = x - self.mean
        self.mean += delta / self.count
        self.m2 += delta * (x - self.mean)
        self.last_offset = offset
        if self.count == 1:
            self.min = self.max = self.first = self.last = x
            self.first_at = self.last_at = at
            return
        if x < self.min:
            self.min = x
        if x > self.max:
            self.max = x
        if at < self.first_at:
            self.first, self.first_at = x, at
        if at >= self.last_at:
            self.last, self.last_at = x, at

    def cell(self) -> bytes:
        """The frozen user type as the server keeps it: each field behind its length."""
        return _WINDOW.pack(
            8, self.last_offset, 8, self.count, 8, double(self.sum), 8, double(self.mean), 8, double(self.m2),
            8, double(self.min), 8, double(self.max), 8, double(self.first), 8, self.first_at,
            8, double(self.last), 8, self.last_at)


class Change(NamedTuple):
    """An alert as it stands after a record that changed it."""

    event: str  # raised, updated, cleared
    offset: int
    id: bytes
    label: str | None
    kind: str
    rule: str
    severity: str
    raised_at: int
    value: float
    peak: float
    cleared_at: int | None


class StatusChange(NamedTuple):
    """The status that a sensor says differs from the one before."""

    offset: int
    label: str | None
    at: int
    status: str
    previous: str | None


class Active:
    """An active alert, as the state remembers it."""

    __slots__ = ("id", "onset", "raised_at", "value", "peak", "excess", "told", "severity")

    def __init__(self, id: bytes, onset: int, raised_at: int, measure: float, excess: float, severity: str) -> None:
        self.id, self.onset, self.raised_at, self.severity = id, onset, raised_at, severity
        self.value = self.peak = measure
        self.excess = self.told = excess


class Memory:
    """What the detectors remember of a kind."""

    __slots__ = ("newest", "last", "run", "count", "level", "spread", "intervals", "interval", "streaks", "active")

    def __init__(self, at: int, x: float) -> None:
        self.newest, self.last, self.run, self.count, self.level = at, x, 1, 1, x
        self.spread, self.intervals, self.interval = 0.0, 0, 0.0
        self.streaks: dict[str, int] = {}  # by rule, where not 0
        self.active: dict[str, Active] = {}  # by rule

    def run_with(self, x: float) -> int:
        """How many readings in a row would have the same bits, with this one."""
        if x == self.last and (x != 0.0 or copysign(1.0, x) == copysign(1.0, self.last)):
            return min(self.run + 1, MAX_U32)
        return 1

    def take(self, at: int, x: float) -> None:
        self.run = self.run_with(x)
        a = max(1 / (self.count + 1), SLOWEST)
        e = x - self.level
        if self.count >= 8 and self.spread > 0:
            e = min(max(e, -3 * self.spread), 3 * self.spread)
        self.level += a * e
        self.spread += a * (MEAN_ABSOLUTE_TO_SIGMA * abs(e) - self.spread)
        d = float(at - self.newest)
        b = max(1 / (self.intervals + 1), SLOWEST)
        if self.intervals >= 4:
            d = min(d, 4 * self.interval)
        self.interval += b * (d - self.interval)
        self.intervals = min(self.intervals + 1, MAX_U32)
        self.count = min(self.count + 1, MAX_U32)
        self.newest, self.last = at, x

    def encode(self, kind: str) -> bytes:
        rules = sorted(self.streaks.keys() | self.active.keys(), key=lambda name: name.encode("utf-8"))
        parts = [text(kind), _MEMORY_HEAD.pack(
            self.newest, double(self.last), self.run, self.count, double(self.level), double(self.spread),
            self.intervals, double(self.interval), len(rules))]
        for rule in rules:
            active = self.active.get(rule)
            parts.append(text(rule) + struct.pack(">IB", self.streaks.get(rule, 0), active is not None))
            if active:
                parts.append(_ONSET.pack(
                    active.onset, active.raised_at, double(active.value), double(active.peak), double(active.excess),
                    double(active.told), SEVERITIES.index(active.severity)))
        return b"".join(parts)


class Verdict(NamedTuple):
    holds: bool
    stays: bool
    measure: float
    excess: float


def judge(rule: Rule, at: int, x: float, memory: Memory | None) -> Verdict:
    """What the rule says of a reading, against the memory as it is before it; `None` for the first of its kind."""
    threshold, hysteresis = rule.threshold, rule.hysteresis
    if rule.test == "high":
        return Verdict(x > threshold, x > threshold - hysteresis, x, x - threshold)
    if rule.test == "low":
        return Verdict(x < threshold, x < threshold + hysteresis, x, threshold - x)
    if rule.test == "boolean":
        return Verdict(x != 0, x != 0, x, 1.0)
    if memory is None:
        return Verdict(False, False, x, 0.0)
    if rule.test == "step":
        change = x - memory.last
        holds = abs(change) > threshold
        return Verdict(holds, holds, change, abs(change) - threshold)
    if rule.test == "flatline":
        run = memory.run_with(x)
        return Verdict(run >= rule.readings, run > 1, x, float(run))
    if rule.test == "zscore":
        error, spread = abs(x - memory.level), memory.spread
        holds = memory.count >= rule.warm_up and spread > 0 and error > threshold * spread
        return Verdict(holds, error > (threshold - hysteresis) * spread, x, error)
    if rule.test == "gap":
        d = float(at - memory.newest)
        holds = memory.intervals >= rule.warm_up and d > rule.times * memory.interval
        return Verdict(holds, False, d / 1000, d / 1000)
    raise ValueError(rule.test)


class SensorFold:
    """One sensor of one source."""

    __slots__ = ("sensor", "source", "sizes", "rules", "last_offset", "newest", "windows", "memories", "changes",
                 "status", "status_changes")

    def __init__(self, sensor: bytes, source: str, sizes_s: tuple[int, ...], rules: RuleBook | None) -> None:
        self.sensor, self.source, self.rules = sensor, source, rules
        self.sizes = [(size_s, size_s * 1000) for size_s in sizes_s]
        self.last_offset, self.newest = -1, None
        self.windows: dict[tuple[str, int, int], Window] = {}  # by kind, size in s, start
        self.memories: dict[str, Memory] = {}
        self.changes: list[Change] = []
        self.status: tuple[int, str] | None = None  # when it was said last, and which
        self.status_changes: list[StatusChange] = []

    def take(self, offset: int, label: str | None, at: int, readings: list[tuple[str, float]],
             status: str | None = None) -> None:
        if offset <= self.last_offset:
            raise ValueError(f"offset {offset} after {self.last_offset}")
        self.last_offset = offset
        if self.newest is None or at > self.newest:
            self.newest = at
        for kind, x in readings:
            for size_s, size_ms in self.sizes:
                key = (kind, size_s, at - at % size_ms)
                window = self.windows.get(key)
                if window is None:
                    window = self.windows[key] = Window()
                window.take(offset, at, x)
            if self.rules is not None:
                self._detect(offset, label, kind, at, x)
        if self.rules is not None and status is not None:
            self._say(offset, label, at, status)

    def _say(self, offset: int, label: str | None, at: int, status: str) -> None:
        previous = None
        if self.status is not None:
            said_at, previous = self.status
            if at <= said_at:
                return
        self.status = at, status
        if status != previous:
            self.status_changes.append(StatusChange(offset, label, at, status, previous))

    def _detect(self, offset: int, label: str | None, kind: str, at: int, x: float) -> None:
        memory = self.memories.get(kind)
        if memory is None:
            if len(self.memories) >= MAX_KINDS:
                return
            fresh = self.memories[kind] = Memory(at, x)
            for rule in self.rules[kind]:
                self._apply(rule, judge(rule, at, x, None), fresh, offset, label, kind, at)
        elif at > memory.newest:
            for rule in self.rules[kind]:
                self._apply(rule, judge(rule, at, x, memory), memory, offset, label, kind, at)
            memory.take(at, x)

    def _apply(self, rule: Rule, verdict: Verdict, memory: Memory, offset: int, label: str | None, kind: str,
               at: int) -> None:
        def tell(event: str, alert: Active, cleared_at: int | None) -> None:
            self.changes.append(Change(event, offset, alert.id, label, kind, rule.name, alert.severity, alert.raised_at,
                                       alert.value, alert.peak, cleared_at))

        alert = memory.active.get(rule.name)
        if alert is not None:
            if not verdict.stays:
                del memory.active[rule.name]
                memory.streaks.pop(rule.name, None)
                tell("cleared", alert, at)
                return
            if verdict.excess > alert.excess:
                alert.excess, alert.peak = verdict.excess, verdict.measure
                if alert.excess >= 2 * alert.told:
                    alert.told = alert.excess
                    tell("updated", alert, None)
            return
        if not verdict.holds:
            memory.streaks.pop(rule.name, None)
            return
        streak = min(memory.streaks.get(rule.name, 0) + 1, MAX_U32)
        memory.streaks[rule.name] = streak
        if streak < rule.debounce:
            return
        id = self._alert_id(kind, rule.name, offset)
        alert = Active(id, offset, at, verdict.measure, verdict.excess, rule.severity)
        if rule.test == "gap":
            memory.streaks.pop(rule.name)
            tell("raised", alert, at)
        else:
            memory.active[rule.name] = alert
            tell("raised", alert, None)

    def _alert_id(self, kind: str, rule: str, onset: int) -> bytes:
        sensor = uuid.UUID(bytes=self.sensor)
        return uuid.uuid5(ALERT_NAMESPACE, f"{sensor}/{kind}/{rule}/{self.source}/{onset}").bytes

    def state(self) -> bytes:
        kinds = sorted(self.memories, key=lambda kind: kind.encode("utf-8"))
        version = STATE_VERSION if self.status is None else STATE_VERSION_WITH_STATUS
        head = _STATE_HEAD.pack(version, self.last_offset, self.newest)
        if self.status is not None:
            said_at, status = self.status
            head += said_at.to_bytes(8, "big", signed=True) + text(status)
        return head + len(kinds).to_bytes(2, "big") + b"".join(self.memories[kind].encode(kind) for kind in kinds)

    def active(self) -> dict[bytes, int]:
        """Ids of the alerts that are active at the end, with the time they were raised at."""
        alerts = [alert for memory in self.memories.values() for alert in memory.active.values()]
        return {alert.id: alert.raised_at for alert in alerts}
