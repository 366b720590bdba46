"""Avro as another language's client writes and reads it: confluent-kafka's serializers, with a schema registry.

    avro_records.py write --brokers B --registry URL --topic T --count N
        Writes N records of each of several schemas that follow on each other, and prints the readings that a consumer must
        make of them, one JSON object a line: sensor_id, time_ms, kind, value, status.
    avro_records.py read --brokers B --registry URL --topic T --count N
        Reads N records and prints each as a JSON object a line, times as epoch milliseconds.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import sys
import time
import uuid
from datetime import datetime, timezone
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

MICROS = {"type": "long", "logicalType": "timestamp-micros"}
OPTIONAL = {"default": None}
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def record(*fields: dict[str, Any]) -> str:
    return json.dumps({"type": "record", "name": "SensorEvent", "namespace": "com.example.iot", "fields": list(fields)})


ID = {"name": "sensor_id", "type": "string"}
TIME = {"name": "timestamp", "type": MICROS}
TEMPERATURE = {"name": "temperature", "type": ["null", "double"], **OPTIONAL}
BATTERY = {"name": "battery", "type": "float", "default": 1.0}
OPEN = {"name": "door_open", "type": ["boolean", "null"], "default": False}
UNIT = {"name": "unit", "type": {"type": "enum", "name": "Unit", "symbols": ["CELSIUS", "KELVIN"]}, "default": "CELSIUS"}
TAGS = {"name": "tags", "type": {"type": "map", "values": "string"}, "default": {}}
STATUS = {"name": "status", "type": ["null", "string"], **OPTIONAL}
HISTORY = {"name": "history", "type": {"type": "array", "items": "double"}, "default": []}

# Each can be read by whoever knows the one before: fields come with a default, and go.
VERSIONS = [
    record(ID, TIME, TEMPERATURE, OPEN),
    record(ID, TAGS, TIME, UNIT, TEMPERATURE, OPEN, STATUS),
    record(ID, HISTORY, TIME, BATTERY, TEMPERATURE, STATUS),
]


def value_of(version: int, number: int, rng: random.Random) -> dict[str, Any]:
    temperature = rng.choice([None, rng.uniform(-50.0, 50.0), rng.gauss(0.0, 1e300), 0.0])
    value = {
        "sensor_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)) if number % 2 else f"SENSOR_{number:03}",
        "timestamp": datetime.fromtimestamp(1_762_344_000 + number, timezone.utc).replace(microsecond=123_999),
        "temperature": temperature,
        "door_open": rng.choice([True, False]),
        "unit": "KELVIN",
        "tags": {f"k{n}": "ü" * n for n in range(number % 4)},
        "status": rng.choice([None, "active", "offline"]),
        "battery": struct.unpack("<f", struct.pack("<f", rng.random()))[0],
        "history": [rng.random() for _ in range(number % 5)],
    }
    names = [field["name"] for field in json.loads(VERSIONS[version])["fields"]]
    return {name: value[name] for name in names}


def readings(value: dict[str, Any]) -> list[tuple[str, float]]:
    kinds = ("temperature", "battery", "door_open")
    return [(kind, float(value[kind])) for kind in kinds if value.get(kind) is not None]


def write(arguments: argparse.Namespace) -> None:
    registry = SchemaRegistryClient({"url": arguments.registry})
    producer = Producer({"bootstrap.servers": arguments.brokers, "partitioner": "murmur2_random", "acks": "all"})
    context = SerializationContext(arguments.topic, MessageField.VALUE)
    rng = random.Random(7)
    failed: list[str] = []
    for number in range(arguments.count * len(VERSIONS)):
        version = number % len(VERSIONS)
        serializer = AvroSerializer(registry, VERSIONS[version])
        value = value_of(version, number, rng)
        if not readings(value):
            value["temperature"] = 21.5
        report = lambda error, _: failed.append(str(error)) if error else None  # noqa: E731
        producer.produce(arguments.topic, serializer(value, context), key=value["sensor_id"], on_delivery=report)
        time_ms = (value["timestamp"] - EPOCH).total_seconds() * 1000 // 1
        for kind, reading in readings(value):
            line = {"sensor_id": value["sensor_id"], "time_ms": int(time_ms), "kind": kind, "value": reading}
            print(json.dumps({**line, "status": value.get("status")}))
    if producer.flush(30) or failed:
        sys.exit(f"not delivered: {failed[:3]}")


def plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return round((value - EPOCH).total_seconds() * 1000)
    if isinstance(value, dict):
        return {name: plain(inner) for name, inner in value.items()}
    return str(value) if isinstance(value, uuid.UUID) else value


def read(arguments: argparse.Namespace) -> None:
    registry = SchemaRegistryClient({"url": arguments.registry})
    deserializer = AvroDeserializer(registry)
    context = SerializationContext(arguments.topic, MessageField.VALUE)
    consumer = Consumer({"bootstrap.servers": arguments.brokers, "group.id": "none", "enable.auto.commit": False})
    partitions = consumer.list_topics(arguments.topic, 10).topics[arguments.topic].partitions
    consumer.assign([TopicPartition(arguments.topic, partition, 0) for partition in partitions])
    left, deadline = arguments.count, time.monotonic() + 30
    while left:
        message = consumer.poll(0.2)
        if message is None:
            if time.monotonic() > deadline:
                sys.exit(f"{left} of {arguments.count} records did not come")
            continue
        if message.error():
            sys.exit(str(message.error()))
        print(json.dumps(plain(deserializer(message.value(), context))))
        left -= 1
    consumer.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["write", "read"])
    for name in ("--brokers", "--registry", "--topic"):
        parser.add_argument(name, required=True)
    parser.add_argument("--count", type=int, required=True)
    arguments = parser.parse_args()
    write(arguments) if arguments.what == "write" else read(arguments)


if __name__ == "__main__":
    main()
