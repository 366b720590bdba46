"""Reading of Kafka topics from end to end, without a group: nothing is joined, nothing committed."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

from findings import CannotCompare

PATIENCE_S = 60


class Topic:
    """A topic as it is now: where its partitions start and end, and its id."""

    def __init__(self, brokers: str, name: str) -> None:
        from confluent_kafka import Consumer, KafkaException, TopicPartition

        self.brokers, self.name = brokers, name
        self.starts: dict[int, int] = {}
        self.ends: dict[int, int] = {}
        self.consumer = Consumer({
            "bootstrap.servers": brokers,
            "group.id": "oracle-" + uuid.uuid4().hex,  # required by the client; never joined, never committed
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "error",
            "isolation.level": "read_uncommitted",
            "queued.max.messages.kbytes": 65536,
        })
        try:
            described = self.consumer.list_topics(name, timeout=30).topics[name]
            if described.error is not None or not described.partitions:
                raise CannotCompare(f"topic {name}: {described.error or 'no partitions'}")
            for partition in described.partitions:
                self.starts[partition], self.ends[partition] = self.consumer.get_watermark_offsets(
                    TopicPartition(name, partition), timeout=30, cached=False)
        except KafkaException as error:
            raise CannotCompare(f"topic {name}: {error}") from error

    def id(self) -> uuid.UUID:
        from confluent_kafka import KafkaException, TopicCollection
        from confluent_kafka.admin import AdminClient

        try:
            client = AdminClient({"bootstrap.servers": self.brokers, "log_level": 4})
            answers = client.describe_topics(TopicCollection([self.name]), request_timeout=30)
            topic_id = answers[self.name].result().topic_id
        except KafkaException as error:
            raise CannotCompare(f"topic {self.name}: {error}") from error
        high, low = topic_id.get_most_significant_bits(), topic_id.get_least_significant_bits()
        return uuid.UUID(int=((high % 2**64) << 64) | (low % 2**64))

    def records(self, progress: Callable[[int], None]) -> Iterator[Any]:
        """Every record up to the ends as they were, in the order of offsets within a partition. Once."""
        from confluent_kafka import KafkaError, KafkaException, TopicPartition

        waiting = {partition for partition, end in self.ends.items() if end > self.starts[partition]}
        try:
            self.consumer.assign([TopicPartition(self.name, p, self.starts[p]) for p in sorted(waiting)])
            last_seen = time.monotonic()
            while waiting:
                messages = self.consumer.consume(5000, timeout=1.0)
                if messages:
                    last_seen = time.monotonic()
                elif time.monotonic() - last_seen > PATIENCE_S:
                    raise CannotCompare(
                        f"topic {self.name}: nothing came for {PATIENCE_S} s from partitions {sorted(waiting)}")
                for message in messages:
                    error = message.error()
                    if error is not None:
                        if error.code() == KafkaError._PARTITION_EOF:
                            waiting.discard(message.partition())
                            continue
                        raise CannotCompare(f"topic {self.name}: {error}")
                    partition, offset = message.partition(), message.offset()
                    if offset < self.ends[partition]:
                        yield message
                    if offset + 1 >= self.ends[partition]:
                        waiting.discard(partition)
                progress(len(messages))
        except KafkaException as error:
            raise CannotCompare(f"topic {self.name}: {error}") from error
        finally:
            self.consumer.close()
