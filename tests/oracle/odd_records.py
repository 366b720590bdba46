"""Writes odd but valid records to a topic: of one measure and of several, hundreds of measures in one, ids of both kinds
and in two spellings, equal and backward times, values at the ends of what a double holds, keys that scatter a sensor
over partitions.

    python odd_records.py --brokers HOST:PORT --topic T --count N --seed N
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import uuid
from typing import Any

from compare import address
from decode import DEFAULT_NAMESPACE

KINDS = ("temperature", "humidity", "pressure", "motion", "light", "voltage", "ü", "k" * 256, "z")
VALUES = (0, -0.0, 1, 5e-324, 1.7976931348623157e308, -1.7976931348623157e308, 31, 29.5, 81, 970, 984.9, 0.1, 1e-300,
          2**63, True, False)
STATUSES = ("ok", "ok", "ok", "fault", "é", "", 1, "s" * 257)
STEPS_MS = (0, 1, -1000, 1000, 1000, 1000, 1000, 5000, 5000, 90_000)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

LABELS = tuple(f"SENSOR_{n}" for n in range(12)) + ("é😀",)
SPELLINGS = LABELS + (str(uuid.UUID(int=7)), str(uuid.uuid5(DEFAULT_NAMESPACE, LABELS[3])).upper())


class Fleet:
    def __init__(self, seed: int, now_ms: int) -> None:
        self.random, self.now_ms = random.Random(seed), now_ms
        self.at_ms = dict.fromkeys(SPELLINGS, now_ms - DAY_MS)

    def value(self, is_odd: bool) -> Any:
        return self.random.choice(VALUES) if is_odd else round(self.random.gauss(20, 3), 3)

    def record(self) -> tuple[str | None, dict[str, Any]]:
        """A key and a record."""
        choose = self.random
        sensor = choose.choice(SPELLINGS)
        # Up to an hour after the record's own timestamp is a time as any other.
        self.at_ms[sensor] = min(self.at_ms[sensor] + choose.choice(STEPS_MS), self.now_ms + HOUR_MS // 2)
        at_ms = self.at_ms[sensor] - (choose.randrange(3 * DAY_MS) if choose.random() < 0.1 else 0)
        is_odd = choose.random() < 0.3
        if choose.random() < 0.5:
            record = {"sensor_id": sensor, "reading_time": at_ms,
                      "type": choose.choice(KINDS), "reading": self.value(is_odd)}
        else:
            record = {"device_id": sensor, "timestamp": at_ms, "status": choose.choice(STATUSES)}
            record |= {kind: self.value(is_odd) for kind in choose.sample(KINDS, choose.randrange(1, 5))}
            if choose.random() < 0.01:
                record |= {f"m{number:03}": 1.0 + number for number in range(300)}
        return (None if choose.random() < 0.2 else sensor), record


def main(argv: list[str]) -> int:
    from confluent_kafka import Producer

    parser = argparse.ArgumentParser(description="Write odd but valid records to a topic.")
    parser.add_argument("--brokers", required=True, type=address, metavar="HOST:PORT")
    parser.add_argument("--topic", required=True)
    parser.add_argument("--count", required=True, type=int)
    parser.add_argument("--seed", required=True, type=int)
    args = parser.parse_args(argv)
    producer = Producer({"bootstrap.servers": args.brokers, "acks": "all", "partitioner": "murmur2_random",
                         "queue.buffering.max.messages": args.count + 1})
    fleet = Fleet(args.seed, int(time.time() * 1000))
    for _ in range(args.count):
        key, record = fleet.record()
        producer.produce(args.topic, json.dumps(record).encode(), key=key)
    return 1 if producer.flush(60) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
