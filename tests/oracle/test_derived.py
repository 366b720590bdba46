"""The comparison of tables and of records of alerts: each way to be wrong is seen."""

import json
import struct
import unittest
import uuid

from derived import (ACTIVE_ALERTS, ALERTS, ALERTS_BY_DAY, STATE, WINDOWS, compare_page, expected_active,
                     expected_alerts, expected_states, expected_windows, i32, i64, shard_of)
from findings import Findings
from fold import SensorFold
from letters import alert_record, compare_alert_records, header_number, same_record
from rules import Rule, RuleBook
from show import show_difference

SENSOR = uuid.UUID("6f1c0000-0000-4000-8000-00000000000a").bytes
SOURCE = "t/00000000-0000-0000-0000-000000000001/0"
DAY = struct.pack(">I", 2**31)


def fold_with_alerts():
    """`hot` was raised and is over; `on` is active since offset 1, with a label that came with it."""
    rules = RuleBook((Rule("hot", ("t",), "high", "warning", threshold=30.0), Rule("on", ("m",), "boolean", "info")))
    fold = SensorFold(SENSOR, SOURCE, (60,), rules)
    fold.take(0, None, 1000, [("t", 31.0)])
    fold.take(1, "S1", 2000, [("m", 1.0)])
    fold.take(4, None, 3000, [("t", 20.0)])
    return fold


def rows_of(expected):
    """The rows that the server would send."""
    return [list(key) + list(cells) + [None if time is None else i64(time) for time in times]
            for key, (cells, times) in expected.items()]


class Tables(unittest.TestCase):
    def differences(self, table, expected, rows):
        findings = Findings()
        findings.check(*(f"{table.name}_{kind}" for kind in ("different", "writetime", "unexpected")))
        left = dict(expected)
        compare_page(table, rows, left, findings)
        findings.first()  # what is shown can be shown
        found = {kind.removeprefix(table.name + "_"): count for kind, count in findings.differences().items()}
        return found | ({"missing": len(left)} if left else {})

    def test_every_way_to_be_wrong_is_seen_in_every_table(self):
        folds = [fold_with_alerts()]
        tables = ((WINDOWS, expected_windows(folds)), (STATE, expected_states(folds)),
                  (ALERTS, expected_alerts(folds, by_day=False)), (ALERTS_BY_DAY, expected_alerts(folds, by_day=True)),
                  (ACTIVE_ALERTS, expected_active(folds)))
        for table, expected in tables:
            with self.subTest(table.name):
                rows, keys, cells = rows_of(expected), len(table.key), len(table.values)
                self.assertEqual(self.differences(table, expected, rows), {})
                self.assertEqual(self.differences(table, expected, rows[1:]), {"missing": 1})
                elsewhere = [bytes([rows[0][0][0] ^ 1]) + rows[0][0][1:]] + rows[0][1:]
                self.assertEqual(self.differences(table, expected, rows + [elsewhere]), {"unexpected": 1})
                for at in range(keys, keys + cells):
                    cell = rows[0][at]
                    wrong = [*rows[0][:at], cell[:-1] + bytes([cell[-1] ^ 1]) if cell else i64(0), *rows[0][at + 1:]]
                    self.assertEqual(self.differences(table, expected, [wrong] + rows[1:]), {"different": 1}, at)
                    late = [*rows[0][:at + cells], i64(99), *rows[0][at + cells + 1:]]
                    self.assertEqual(self.differences(table, expected, [late] + rows[1:]), {"writetime": 1}, at)

    def test_an_alerts_row_keeps_what_a_change_has_nothing_for(self):
        fold = fold_with_alerts()
        expected = {key[3]: row for key, row in expected_alerts([fold], by_day=False).items()}
        hot, on = fold.changes[0].id, fold.changes[1].id
        cells, times = expected[hot]
        self.assertEqual(cells[:4] + cells[6:], (b"t", b"hot", b"warning", None, i64(3000), SOURCE.encode(), i64(4)))
        self.assertEqual(times, (5, 5, 5, None, 5, 5, 5, 5, 5))
        cells, times = expected[on]
        self.assertEqual((cells[3], cells[6]), (b"S1", None))
        self.assertEqual(times, (2, 2, 2, 2, 2, 2, None, 2, 2))

    def test_active_alerts_are_those_of_the_last_change(self):
        (key, (cells, times)), = expected_active([fold_with_alerts()]).items()
        on = fold_with_alerts().changes[1].id
        self.assertEqual(key, (shard_of(SENSOR, 64), SENSOR, SOURCE.encode()))
        self.assertEqual((cells, times), ((i32(1) + i32(16) + on + i32(8) + i64(2000),), (5,)))
        quiet = SensorFold(SENSOR, SOURCE, (60,), RuleBook(()))
        quiet.take(0, None, 0, [("t", 1.0)])
        self.assertEqual(expected_active([quiet]), {})

    def test_only_what_differs_is_shown(self):
        fold = fold_with_alerts()
        before = fold.state()
        fold.take(9, None, 4000, [("m", 1.0)])
        shown = show_difference(STATE, (before,), (fold.state(),))
        self.assertEqual(shown["expected"]["state"], {
            "last_offset": 4, "newest": 3000,
            "kind m": {"newest": 2000, "run": 1, "count": 1, "intervals": 0, "interval": "0.0"}})
        self.assertEqual(show_difference(STATE, (before,), (b"\x01",))["found"], {"state": "01"})

    def test_entries_of_a_map_have_no_order(self):
        expected = {(b"k",): ((i32(2) + i32(1) + b"a" + i32(1) + b"1" + i32(1) + b"b" + i32(1) + b"2",), (1,))}
        turned = i32(2) + i32(1) + b"b" + i32(1) + b"2" + i32(1) + b"a" + i32(1) + b"1"
        self.assertEqual(self.differences(ACTIVE_ALERTS, {key * 3: row for key, row in expected.items()},
                                          [[b"k", b"k", b"k", turned, i64(1)]]), {})


class Message:
    def __init__(self, value, key):
        self.value, self.key = (lambda: value), (lambda: key)
        self.partition = self.offset = lambda: 0


class Letters(unittest.TestCase):
    def differences(self, change):
        """Of the records of two alerts, after `change` was made to their list."""
        fold = fold_with_alerts()
        key = str(uuid.UUID(bytes=SENSOR)).encode()
        messages = [Message(json.dumps(alert_record(fold, each)).encode(), key) for each in fold.changes]
        change(messages)
        topic, findings = type("Topic", (), {"records": lambda self, progress: messages})(), Findings()
        compare_alert_records(topic, [fold], {SOURCE}, findings)
        return {kind.removeprefix("alert_records_"): count for kind, count in findings.differences().items()}

    def test_every_change_is_a_record_at_least_once(self):
        self.assertEqual(self.differences(lambda messages: messages.append(messages[0])), {})
        self.assertEqual(self.differences(lambda messages: messages.pop(1)), {"missing": 1})
        self.assertEqual(self.differences(lambda messages: messages.append(Message(b"x", b"k"))), {"unreadable": 1})

        def edit(old, new):
            def change(messages):
                messages.append(Message(messages[0].value().replace(old, new), messages[0].key()))
            return change

        self.assertEqual(self.differences(edit(b'"offset": 0', b'"offset": 1')), {"unexpected": 1})
        self.assertEqual(self.differences(edit(b"31.0", b"31.000000000000004")), {"different": 1})
        self.assertEqual(self.differences(edit(b'"cleared_at": null', b'"cleared_at": 0')), {"different": 1})
        self.assertEqual(self.differences(edit(b'"t/', b'"another/')), {}, "another topic's is left alone")
        self.assertEqual(self.differences(lambda messages: messages.append(Message(messages[0].value(), b"k"))),
                         {"different": 1})

    def test_numbers_are_compared_as_what_they_are(self):
        fold = fold_with_alerts()
        record = alert_record(fold, fold.changes[0])
        self.assertTrue(same_record(record, dict(record, value=31)))
        self.assertFalse(same_record(record, dict(record, raised_at=1000.0)))
        self.assertFalse(same_record(record, {name: record[name] for name in record if name != "peak"}))

    def test_dead_letter_headers(self):
        self.assertEqual(header_number({"h": b"12"}, "h"), 12)
        for wrong in ({}, {"h": None}, {"h": b""}, {"h": b"-1"}, {"h": b"\x00\x00\x00\x01"}):
            self.assertRaises(ValueError, header_number, wrong, "h")
