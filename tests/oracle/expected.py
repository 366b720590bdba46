"""What the records of a topic must have left behind, taken in once from the topic's beginning to its end."""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, field

from decode import Decoder, Rejected
from findings import CannotCompare, Findings, Progress
from fold import SensorFold
from readings import DAY_MS, row_key, row_state
from rules import RuleBook
from topics import Topic


@dataclass
class Processing:
    """What the program was told to do with the records."""

    namespace: uuid.UUID
    sizes_s: tuple[int, ...]  # of windows; none: no windows
    rules: RuleBook | None  # None: no alerts

    @property
    def folds(self) -> bool:
        return bool(self.sizes_s) or self.rules is not None


@dataclass
class Expectation:
    rows: dict[bytes, int] = field(default_factory=dict)  # of readings
    rejected: dict[tuple[int, int], str] = field(default_factory=dict)  # by partition and offset
    reasons: Counter[str] = field(default_factory=Counter)
    folds: dict[tuple[int, bytes], SensorFold] = field(default_factory=dict)  # by partition and sensor


def take_topic(topic: Topic, topic_id: uuid.UUID | None, processing: Processing, findings: Findings) -> Expectation:
    """Reads all of it. The topic's id is needed where something is folded: it is part of a source's name."""
    expectation = Expectation()
    decoder = Decoder(processing.namespace)
    rows, counts = expectation.rows, findings.counts
    days = set()
    for message in topic.records(Progress("records read")):
        counts["records"] += 1
        partition, offset = message.partition(), message.offset()
        kafka_ms = message.timestamp()[1]
        try:
            record = decoder.decode(message.value() or b"", kafka_ms)
        except Rejected as reason:
            expectation.rejected[partition, offset] = str(reason)
            expectation.reasons[str(reason)] += 1
            continue
        sensor, label, time_ms, readings, status = record
        counts["readings"] += len(readings)
        days.add(time_ms // DAY_MS)
        for kind, value in readings:
            key = row_key(sensor, time_ms, kind)
            state = row_state(kafka_ms, value, partition, offset)
            known = rows.setdefault(key, state)
            if known is not state:
                counts["readings_repeated"] += 1
                rows[key] = max(known, state)
        if processing.folds:
            fold = expectation.folds.get((partition, sensor))
            if fold is None:
                source = f"{topic.name}/{topic_id}/{partition}"
                fold = SensorFold(sensor, source, processing.sizes_s, processing.rules)
                expectation.folds[partition, sensor] = fold
            elif time_ms < fold.newest:
                counts["records_late"] += 1
            fold.take(offset, label, time_ms, readings, status)
    deleted = sum(topic.starts.values())
    if not counts["records"]:
        raise CannotCompare(f"topic {topic.name}: holds no record (deleted by retention: {deleted})")
    counts["rejected"] = len(expectation.rejected)
    counts["days"] = len(days)
    counts["expected_keys"] = len(rows)
    counts["deleted_before"] = deleted
    counts["offsets_without_record"] = sum(topic.ends.values()) - deleted - counts["records"]
    return expectation
