"""What a comparison finds, and how it is shown."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

SHOWN = 20


class CannotCompare(Exception):
    """No verdict is possible: a server, topic or table is not there or not as expected."""


class Findings:
    """Counts of everything, and the first few differences of each kind."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.samples: dict[str, list[dict[str, Any]]] = {}

    def count(self, name: str, more: int = 1) -> None:
        """Something that is no difference."""
        self.counts[name] += more

    def check(self, *kinds: str) -> None:
        """These differences are looked for: they show up in the result also where there are none."""
        for kind in kinds:
            self.counts[kind] += 0
            self.samples.setdefault(kind, [])

    def add(self, kind: str, detail: Callable[[], dict[str, Any]]) -> None:
        """`detail` is called only when the difference will be shown."""
        self.counts[kind] += 1
        if len(self.samples[kind]) < SHOWN:
            self.samples[kind].append(dict(kind=kind, **detail()))

    def first(self) -> list[dict[str, Any]]:
        """Up to SHOWN differences, taken in turn from each kind so that none hides another."""
        queues = [deque(samples) for samples in self.samples.values()]
        shown = []
        while len(shown) < SHOWN and any(queues):
            for queue in queues:
                if queue and len(shown) < SHOWN:
                    shown.append(queue.popleft())
        order = list(self.samples)
        return sorted(shown, key=lambda entry: order.index(entry["kind"]))

    def differences(self) -> dict[str, int]:
        return {kind: self.counts[kind] for kind in self.samples if self.counts[kind]}

    def equal(self) -> bool:
        return not self.differences()


class Progress:
    """One line on stderr every five seconds."""

    def __init__(self, what: str) -> None:
        self.what, self.done, self.started = what, 0, time.monotonic()
        self.next = self.started + 5

    def __call__(self, more: int) -> None:
        self.done += more
        now = time.monotonic()
        if now >= self.next:
            self.next = now + 5
            print(f"{self.what}: {self.done} after {now - self.started:.0f} s", file=sys.stderr, flush=True)


def show_time(ms: int) -> str:
    try:
        at = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=ms)
    except OverflowError:
        return f"{ms} ms"
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ms % 1000:03d}Z"
