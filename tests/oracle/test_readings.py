"""The winner among several readings of one key, and the comparison of rows."""

import struct
import unittest
import uuid

from findings import Findings
from readings import DAY_MS, compare_page, row_key, row_state, split_state

SENSOR = uuid.UUID("6f1c0000-0000-4000-8000-00000000000a").bytes
KAFKA_MS = 1_732_000_000_500


class Readings(unittest.TestCase):
    def test_the_winner_among_several_records_of_one_key(self):
        later_small, earlier_large = row_state(2, 1.0, 0, 0), row_state(1, 9.0, 11, 2**47)
        self.assertGreater(later_small, earlier_large)
        self.assertGreater(row_state(2, -1.0, 0, 0), row_state(2, 1e300, 3, 5))  # the sign bit is the largest, unsigned
        self.assertGreater(row_state(2, -0.0, 0, 0), row_state(2, 0.0, 3, 5))
        self.assertEqual(split_state(row_state(KAFKA_MS, -2.5, 11, 77)), (KAFKA_MS, struct.pack(">d", -2.5), 11, 77))

    def test_rows_are_compared_by_bits_day_and_write_time(self):
        at = 1_732_000_000_123
        day = struct.pack(">I", 2**31 + at // DAY_MS)

        def compare(row):
            rows, findings = {row_key(SENSOR, at, "t"): row_state(5, 0.0, 0, 0)}, Findings()
            findings.check("unexpected", "different", "writetime_different")
            compare_page([row], rows, findings, True)
            return set(findings.differences()) | ({"missing"} if rows else set())

        right = [SENSOR, day, struct.pack(">q", at), b"t", struct.pack(">d", 0.0), struct.pack(">q", 5000)]
        self.assertEqual(compare(right), set())
        self.assertEqual(compare(right[:4] + [struct.pack(">d", -0.0), right[5]]), {"different"})
        self.assertEqual(compare(right[:4] + [None, right[5]]), {"different"})
        self.assertEqual(compare(right[:5] + [struct.pack(">q", 5001)]), {"writetime_different"})
        self.assertEqual(compare(right[:3] + [b"u"] + right[4:]), {"unexpected", "missing"})
        self.assertEqual(compare(right[:1] + [struct.pack(">I", 2**31)] + right[2:]), {"unexpected", "missing"})
