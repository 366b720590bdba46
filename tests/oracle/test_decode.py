"""The rules of decoding."""

import json
import struct
import unittest
import uuid

from decode import DEFAULT_NAMESPACE, MAX_PAYLOAD_BYTES, Decoder, Rejected

SENSOR = "6f1c0000-0000-4000-8000-00000000000a"
KAFKA_MS = 1_732_000_000_500


class DecodeRules(unittest.TestCase):
    def decode(self, text, kafka_ms=KAFKA_MS):
        payload = text if isinstance(text, bytes) else text.encode("utf-8")
        return Decoder(DEFAULT_NAMESPACE).decode(payload, kafka_ms)

    def rejects(self, text, reason, kafka_ms=KAFKA_MS):
        with self.assertRaises(Rejected, msg=text) as caught:
            self.decode(text, kafka_ms)
        self.assertIn(reason, str(caught.exception), text)

    @staticmethod
    def narrow(sensor=f'"{SENSOR}"', at="1732000000123", kind='"temperature"', reading="23.4567", more=""):
        return f'{{"sensor_id":{sensor},"reading_time":{at},"type":{kind},"reading":{reading}{more}}}'

    def value_bytes(self, literal):
        return struct.pack(">d", self.decode(self.narrow(reading=literal)).readings[0][1]).hex()

    def time_of(self, literal):
        return self.decode(self.narrow(at=literal)).time_ms

    def test_narrow_record(self):
        self.assertEqual(self.decode(self.narrow()),
                         (uuid.UUID(SENSOR).bytes, None, 1_732_000_000_123, [("temperature", 23.4567)], None))
        self.assertEqual(self.decode(self.narrow(more=',"unit":"C","n":null,"x":7')).readings, [("temperature", 23.4567)])
        self.assertEqual(self.decode(self.narrow() + " \r\n\t").readings, [("temperature", 23.4567)])

    def test_wide_record(self):
        sensor, label, at, readings, status = self.decode(
            '{"device_id":"SENSOR_001","timestamp":"2023-11-05T12:00:00Z","temperature":27.5,"motion":true,"door":false,'
            '"n":3,"location":{"latitude":52.3,"longitude":4.9},"status":"active","note":"x","gone":null,"list":[1]}')
        self.assertEqual(sensor, uuid.uuid5(DEFAULT_NAMESPACE, "SENSOR_001").bytes)
        self.assertEqual((at, label, status), (1_699_185_600_000, "SENSOR_001", "active"))
        for none in ("null", "1", '""', json.dumps("é" * 129)):
            self.assertIsNone(self.decode(self.narrow(more=f',"status":{none}')).status)
        self.assertEqual(self.decode(self.narrow(more=',"status":"on"')).status, "on")
        self.assertEqual(readings, [("temperature", 27.5), ("motion", 1.0), ("door", 0.0), ("n", 3.0)])
        self.rejects('{"device_id":"a","timestamp":1732000000123}', "no reading")
        self.rejects('{"device_id":"a","timestamp":1732000000123,"status":1,"location":2,"reading_time":3}', "time")
        self.rejects('{"device_id":"a","timestamp":1732000000123,"status":1,"location":2}', "no reading")
        self.rejects('{"device_id":"a","timestamp":1732000000123,"":1}', "kind: empty")
        self.rejects('{"device_id":"a","timestamp":1732000000123,"t":1,"u":1e999}', "out of range")

    def test_ids(self):
        # The example of RFC 9562, appendix A.4.
        dns = Decoder(uuid.NAMESPACE_DNS)
        self.assertEqual(uuid.UUID(bytes=dns.sensor("www.example.com")[0]).hex, "2ed6657de927568b95e12665a8aea6a2")
        upper = self.decode(self.narrow(sensor=f'"{SENSOR.upper()}"'))
        self.assertEqual((upper.sensor, upper.label), (uuid.UUID(SENSOR).bytes, None))
        for other in (SENSOR.replace("-", ""), "{" + SENSOR + "}", "urn:uuid:" + SENSOR, SENSOR + " ", " "):
            self.assertEqual(self.decode(self.narrow(sensor=json.dumps(other)))[:2],
                             (uuid.uuid5(DEFAULT_NAMESPACE, other).bytes, other))
        self.decode(self.narrow(sensor='"' + "é" * 128 + '"'))
        self.rejects(self.narrow(sensor='"' + "é" * 128 + 'a"'), "id: too long")
        self.rejects(self.narrow(sensor='""'), "id: empty")
        for wrong in ("7", "null", "[]", "true", "{}"):
            self.rejects(self.narrow(sensor=wrong), "id: wrong type")
        self.rejects('{"reading_time":1732000000123,"type":"t","reading":1}', "id: missing")
        both = '{"device_id":"d","sensor_id":"s","reading_time":1732000000123,"type":"t","reading":1}'
        self.assertEqual(self.decode(both).sensor, uuid.uuid5(DEFAULT_NAMESPACE, "s").bytes)

    def test_times(self):
        for literal, ms in (
                ('"2024-11-19T07:06:40.123Z"', 1_732_000_000_123), ('"2024-11-19T07:06:40.1239999999999Z"', 1_732_000_000_123),
                ('"2024-11-19T07:06:40.1Z"', 1_732_000_000_100), ('"2024-11-19t07:06:40z"', 1_732_000_000_000),
                ('"2024-11-19 07:06:40"', 1_732_000_000_000), ('"2024-11-19T07:06:40"', 1_732_000_000_000),
                ('"2024-11-19T12:36:40+05:30"', 1_732_000_000_000), ('"2024-11-18T23:06:40.5-08:00"', 1_732_000_000_500),
                ('"2024-02-29T00:00:00-00:00"', 1_709_164_800_000)):
            self.assertEqual(self.time_of(literal), ms, literal)
        for literal in ('"2024-11-19"', '"2024-11-19T07:06Z"', '"2024-11-19T07:06:40+0100"', '"2024-11-19T07:06:40.Z"',
                        '"1732000000123"', '""', '"2024-11-19T07:06:40Z "', '"20241119T070640Z"', '"2024-11-19T07:06:40+01"'):
            self.rejects(self.narrow(at=literal), "not RFC 3339")
        for literal in ('"2023-02-29T00:00:00Z"', '"2024-11-19T24:00:00Z"', '"2016-12-31T23:59:60Z"', '"2024-13-01T00:00:00Z"'):
            self.rejects(self.narrow(at=literal), "no such date")
        self.rejects(self.narrow(at='"2024-11-19T07:06:40+24:00"'), "no such offset")
        for literal in ("1732000000123.0", "1.732e12", "true", "null", "[]"):
            self.rejects(self.narrow(at=literal), "time: wrong type")

    def test_time_bounds_follow_the_record_timestamp(self):
        self.assertEqual(self.time_of("946684800000"), 946_684_800_000)
        self.rejects(self.narrow(at="946684799999"), "too old")
        self.rejects(self.narrow(at="-1"), "too old")
        self.rejects(self.narrow(at='"1999-12-31T23:59:59.999Z"'), "too old")
        self.assertEqual(self.time_of(str(KAFKA_MS + 3_600_000)), KAFKA_MS + 3_600_000)
        self.rejects(self.narrow(at=str(KAFKA_MS + 3_600_001)), "in the future")
        self.rejects(self.narrow(at="9" * 19), "in the future")
        self.rejects(self.narrow(at="9" * 30), "time")
        self.rejects(self.narrow(), "in the future", kafka_ms=-1)

    def test_values_keep_their_bits(self):
        for literal, expected in (
                ("0.1", "3fb999999999999a"), ("-0", "8000000000000000"), ("-0.0", "8000000000000000"), ("0", "0" * 16),
                ("1e-400", "0" * 16), ("5e-324", "0000000000000001"), ("1.7976931348623157e308", "7fefffffffffffff"),
                ("9007199254740993", "4340000000000000"), ("9007199254740995", "4340000000000002"),
                ("18446744073709551615", "43f0000000000000"), ("1" + "0" * 308, "7fe1ccf385ebc8a0"), ("1E+2", "4059000000000000")):
            self.assertEqual(self.value_bytes(literal), expected, literal)
        for literal in ("1e309", "-1e309", "1" + "0" * 400, "9" * 5000):
            self.rejects(self.narrow(reading=literal), "out of range")
        for literal in ("NaN", "Infinity", "-Infinity", "01", "+1", ".5", "1.", "0x10", "1_000", ""):
            self.rejects(self.narrow(reading=literal), "not JSON")
        for literal in ('"1"', "null", "[1]", "{}"):
            self.rejects(self.narrow(reading=literal), "reading: wrong type")

    def test_types(self):
        self.assertEqual(self.decode(self.narrow(kind='"\\u00e9 \\ud83d\\ude00"')).readings, [("é 😀", 23.4567)])
        self.rejects(self.narrow(kind='""'), "type: empty")
        for wrong in ("1", "null", "true"):
            self.rejects(self.narrow(kind=wrong), "type: wrong type")
        self.rejects('{"sensor_id":"a","reading_time":1732000000123,"reading":1}', "type: missing")
        self.rejects('{"sensor_id":"a","reading_time":1732000000123,"type":"t","value":1}', "reading: missing")

    def test_not_json(self):
        self.rejects(b"", "empty")
        for text in ("[]", "null", " {}", "\ufeff{}", "hello", '"x"'):
            self.rejects(text, "not an object")
        self.rejects(b"\x00\x00\x00\x00\x01abc", "Avro")
        for text in ("{", "{}{}", "{},", self.narrow() + "x", self.narrow()[:-1], self.narrow(more=","), "{'a':1}",
                     self.narrow(more=',"a":"\n"'), self.narrow(more=',"a":"\\x41"'), self.narrow(more="/**/")):
            self.rejects(text, "not JSON")
        self.rejects(self.narrow(kind='"a').encode() + b'\xff"}', "not UTF-8")
        self.rejects(self.narrow(kind='"\\ud800"'), "unpaired surrogate")
        self.rejects(self.narrow(more=',"z":"\\udc00"'), "unpaired surrogate")

    def test_duplicate_keys(self):
        self.rejects(self.narrow(more=',"reading":23.4567'), "duplicate key")
        self.rejects(self.narrow(more=',"\\u0074ype":"x"'), "duplicate key")
        self.rejects(self.narrow(more=',"location":{"a":1,"a":1}'), "duplicate key")
        self.decode(self.narrow(more=',"location":{"type":1}'))

    def test_limits(self):
        record = self.narrow(more=',"pad":""')
        full = record.replace('"pad":""', '"pad":"' + "x" * (MAX_PAYLOAD_BYTES - len(record)) + '"')
        self.assertEqual(len(full), MAX_PAYLOAD_BYTES)
        self.decode(full)
        self.rejects(full + " ", "too large")
        self.decode(self.narrow(more=',"deep":' + "[" * 31 + "]" * 31))
        self.rejects(self.narrow(more=',"deep":' + "[" * 32 + "]" * 32), "nesting")
        self.rejects(self.narrow(more=',"deep":' + "[" * 100_000 + "]" * 100_000), "nesting")
        self.decode(self.narrow(more=',"flat":"\\"' + "[{" * 50 + '"'))
        self.decode(self.narrow(more=',"flat":[' + ",".join(["[]"] * 50) + "]"))
