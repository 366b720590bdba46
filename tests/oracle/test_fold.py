"""Windows, state and detectors on examples that were computed by hand from docs/windows-and-alerts.md."""

import unittest
import uuid

from fold import SensorFold, judge, Memory
from rules import Rule, RuleBook

SENSOR = uuid.UUID("6f1c0000-0000-4000-8000-00000000000a").bytes
SOURCE = "t/00000000-0000-0000-0000-000000000001/3"
ONE = "3ff0000000000000"


def fold_of(*rules, sizes_s=()):
    return SensorFold(SENSOR, SOURCE, sizes_s, RuleBook(rules))


def events(rule, values, step_ms=1000, times=None):
    """What the rule makes of the values of kind `k`, as (event, offset, value, peak, cleared_at in s)."""
    fold = fold_of(rule)
    for offset, value in enumerate(values):
        at = times[offset] if times else offset * step_ms
        fold.take(offset, None, at, [("k", float(value))])
    return [(change.event, change.offset, change.value, change.peak,
             None if change.cleared_at is None else change.cleared_at / 1000) for change in fold.changes]


class Windows(unittest.TestCase):
    def test_a_window_takes_its_readings_in_the_order_of_offsets(self):
        fold = fold_of(sizes_s=(60,))
        fold.take(5, None, 60_500, [("k", 2.0)])
        fold.take(6, None, 60_100, [("k", 4.0)])
        fold.take(9, None, 60_500, [("k", 9.0)])
        (key, window), = fold.windows.items()
        self.assertEqual(key, ("k", 60, 60_000))
        # 2, 4, 9: mean 5, squared differences 9 + 1 + 16; the earliest is 4, the last of the latest is 9.
        fields = ("0000000000000009 0000000000000003 402e000000000000 4014000000000000 403a000000000000 4000000000000000 "
                  "4022000000000000 4010000000000000 000000000000eac4 4022000000000000 000000000000ec54")
        self.assertEqual(window.cell().hex(), "".join("00000008" + field for field in fields.split()))

    def test_windows_of_all_sizes_kinds_and_times_are_apart(self):
        fold = fold_of(sizes_s=(60, 3600))
        fold.take(0, None, 3_599_999, [("a", 1.0), ("b", 2.0)])
        fold.take(1, None, 3_600_000, [("a", 3.0)])
        starts = {("a", 60, 3_540_000), ("b", 60, 3_540_000), ("a", 60, 3_600_000),
                  ("a", 3600, 0), ("b", 3600, 0), ("a", 3600, 3_600_000)}
        self.assertEqual(set(fold.windows), starts)

    def test_what_overflows_is_infinite_and_then_the_one_nan(self):
        fold = fold_of(sizes_s=(60,))
        for offset, value in enumerate((1.7e308, -1.7e308, 0.0)):
            fold.take(offset, None, 0, [("k", value)])
        cell = fold.windows["k", 60, 0].cell().hex()
        self.assertEqual(cell[24 + 24:][:24], "00000008" + "0" * 16)  # the sum is 0 again
        self.assertEqual(cell[24 + 48:][:24], "00000008" + "7ff8000000000000")  # the mean went to minus infinity


class State(unittest.TestCase):
    def test_bytes_of_a_state_with_an_active_alert(self):
        fold = fold_of(Rule("b", None, "boolean", "info"))
        fold.take(7, None, 1000, [("m", 1.0)])
        newest, onset = "00000000000003e8", "0000000000000007"
        self.assertEqual(fold.state().hex(), "".join((
            "01", onset, newest, "0001",
            "0001", "6d", newest, ONE, "00000001", "00000001", ONE, "0" * 16, "00000000", "0" * 16, "0001",
            "0001", "62", "00000001", "01", onset, newest, ONE, ONE, ONE, ONE, "00")))

    def test_bytes_of_a_state_that_remembers_a_streak(self):
        fold = fold_of(Rule("r", None, "high", "critical", threshold=0.5, debounce=3))
        fold.take(0, None, 1000, [("m", 1.0)])
        fold.take(1, None, 3000, [("m", 1.0)])
        # Two equal values 2 s apart: level 1, spread 0, the only interval 2000 ms.
        self.assertEqual(fold.state().hex(), "".join((
            "01", "0000000000000001", "0000000000000bb8", "0001",
            "0001", "6d", "0000000000000bb8", ONE, "00000002", "00000002", ONE, "0" * 16, "00000001", "409f400000000000",
            "0001", "0001", "72", "00000002", "00")))

    def test_kinds_are_sorted_and_late_records_only_count(self):
        fold = fold_of()
        fold.take(0, None, 2000, [("é", 1.0), ("z", 1.0)])
        fold.take(1, None, 1000, [("z", 5.0)])
        state = fold.state().hex()
        self.assertEqual(state[:38], "01" + "0000000000000001" + "00000000000007d0" + "0002")
        self.assertLess(state.index("00017a"), state.index("0002c3a9"))
        self.assertEqual((fold.memories["z"].last, fold.memories["z"].count), (1.0, 1))

    def test_changes_of_status_and_the_state_that_remembers_it(self):
        fold = fold_of()
        for offset, (at, status) in enumerate([(1000, "a"), (2000, "a"), (1500, "b"), (2000, "b"), (3000, "b"), (9000, None)]):
            fold.take(offset, None, at, [("m", 1.0)], status)
        self.assertEqual(fold.status_changes, [(0, None, 1000, "a", None), (4, None, 3000, "b", "a")])
        head = "02" + "0000000000000005" + "0000000000002328" + "0000000000000bb8" + "0001" + "62" + "0001"
        self.assertEqual(fold.state().hex()[:len(head)], head)

    def test_kinds_beyond_the_limit_have_windows_alone(self):
        fold = fold_of(Rule("b", None, "boolean", "info"), sizes_s=(60,))
        fold.take(0, None, 0, [(f"k{n:03}", 1.0) for n in range(257)])
        self.assertEqual((len(fold.windows), len(fold.memories), len(fold.changes)), (257, 256, 256))
        self.assertNotIn("k256", fold.memories)

    def test_without_rules_no_kind_is_kept(self):
        fold = SensorFold(SENSOR, SOURCE, (60,), None)
        fold.take(3, None, 1000, [("k", 1.0)])
        self.assertEqual(fold.state().hex(), "01" + "0000000000000003" + "00000000000003e8" + "0000")


class Detectors(unittest.TestCase):
    def test_level_spread_and_interval(self):
        memory = Memory(0, 10.0)
        memory.take(1000, 14.0)
        # Both weigh a half: level 12; spread a half of sqrt(pi/2) * 4; the first interval weighs all.
        self.assertEqual((memory.level, memory.spread, memory.interval), (12.0, 2.5066282746310007, 1000.0))
        memory.take(4000, 12.0)
        # A third of an error of 0: two thirds of the spread are left. (1000 + 3000) / 2.
        self.assertEqual((memory.level, memory.count, memory.intervals, memory.interval), (12.0, 3, 2, 2000.0))
        self.assertAlmostEqual(memory.spread, 2.5066282746310007 * 2 / 3, places=15)

    def test_an_outlier_moves_level_spread_and_interval_little(self):
        memory = Memory(0, 0.0)
        memory.count, memory.level, memory.spread, memory.intervals, memory.interval = 99, 10.0, 2.0, 99, 1000.0
        memory.take(1_000_000, 1000.0)
        # Error 6 instead of 990, interval 4000 instead of 1,000,000, each with a weight of 1/64.
        self.assertEqual(memory.level, 10.0 + 6.0 / 64)
        self.assertEqual(memory.spread, 2.0 + (1.2533141373155003 * 6.0 - 2.0) / 64)
        self.assertEqual(memory.interval, 1000.0 + 3000.0 / 64)

    def test_bounds_begin_with_the_ninth_reading_and_the_sixth(self):
        memory = Memory(0, 0.0)
        memory.count, memory.level, memory.spread, memory.intervals, memory.interval = 7, 0.0, 1.0, 3, 1000.0
        memory.take(8000, 80.0)
        self.assertEqual((memory.level, memory.interval), (10.0, 2750.0))  # 80 / 8, 1000 + 7000 / 4

    def test_runs_are_of_equal_bits(self):
        memory = Memory(0, 0.0)
        self.assertEqual((memory.run_with(0.0), memory.run_with(-0.0)), (2, 1))
        memory.take(1, 0.0)
        self.assertEqual((memory.run, memory.run_with(0.0)), (2, 3))

    def test_high_with_hysteresis_tells_what_gets_twice_as_bad(self):
        rule = Rule("r", ("k",), "high", "warning", threshold=30.0, hysteresis=1.0)
        self.assertEqual(events(rule, (30, 31, 29.5, 32, 33, 29, 31)), [
            ("raised", 1, 31.0, 31.0, None), ("updated", 3, 31.0, 32.0, None), ("cleared", 5, 31.0, 33.0, 5.0),
            ("raised", 6, 31.0, 31.0, None)])

    def test_low_at_the_first_reading(self):
        rule = Rule("r", ("k",), "low", "warning", threshold=10.0, hysteresis=5.0)
        self.assertEqual(events(rule, (9, 14.5, 15)), [("raised", 0, 9.0, 9.0, None), ("cleared", 2, 9.0, 9.0, 2.0)])

    def test_debounce_wants_readings_in_a_row(self):
        rule = Rule("r", None, "high", "warning", threshold=0.0, debounce=2)
        self.assertEqual(events(rule, (1, 0, 2, 3)), [("raised", 3, 3.0, 3.0, None)])

    def test_step(self):
        rule = Rule("r", None, "step", "info", threshold=5.0)
        self.assertEqual(events(rule, (100, 105, 111, 111, 101)), [
            ("raised", 2, 6.0, 6.0, None), ("cleared", 3, 6.0, 6.0, 3.0), ("raised", 4, -10.0, -10.0, None)])

    def test_flatline(self):
        rule = Rule("r", None, "flatline", "info", readings=3)
        self.assertEqual(events(rule, (0, 0, -0.0, 7, 7, 7, 7, 7, 7, 8)), [
            ("raised", 5, 7.0, 7.0, None), ("updated", 8, 7.0, 7.0, None), ("cleared", 9, 7.0, 7.0, 9.0)])

    def test_boolean(self):
        rule = Rule("r", None, "boolean", "info")
        self.assertEqual(events(rule, (0, 1, 1, 0)), [("raised", 1, 1.0, 1.0, None), ("cleared", 3, 1.0, 1.0, 3.0)])

    def test_zscore_after_its_warm_up(self):
        rule = Rule("r", None, "zscore", "critical", threshold=2.0, hysteresis=1.0, warm_up=2)
        # Level 12, spread 2.5 after two: 20 is more than two spreads away, 12 within one.
        self.assertEqual(events(rule, (10, 14, 20, 12)), [
            ("raised", 2, 20.0, 20.0, None), ("cleared", 3, 20.0, 20.0, 3.0)])
        self.assertEqual(events(Rule("r", None, "zscore", "critical", threshold=2.0, warm_up=3), (10, 14, 20)), [])
        self.assertEqual(events(rule, (10, 10, 20)), [])  # no spread

    def test_gap_is_over_at_once(self):
        rule = Rule("r", None, "gap", "info", times=3.0, warm_up=2)
        self.assertEqual(events(rule, (1, 1, 1, 1, 1), times=(0, 1000, 2000, 5000, 9001)), [])
        # 1000 and 1000, then 3001 > 3 * 1000.
        self.assertEqual(events(rule, (1, 1, 1, 1), times=(0, 1000, 2000, 5001)), [("raised", 3, 3.001, 3.001, 5.001)])

    def test_a_repeated_time_is_left_out(self):
        rule = Rule("r", None, "boolean", "info")
        self.assertEqual(events(rule, (0, 1, 1), times=(1000, 1000, 999)), [])

    def test_rules_judge_in_the_order_of_their_names_and_only_their_kinds(self):
        fold = fold_of(Rule("b", None, "boolean", "info"), Rule("a", None, "boolean", "info"),
                       Rule("c", ("other",), "boolean", "info"))
        fold.take(0, "S1", 0, [("k", 1.0)])
        self.assertEqual([(change.rule, change.label) for change in fold.changes], [("a", "S1"), ("b", "S1")])

    def test_an_alerts_id(self):
        fold = fold_of(Rule("r", None, "boolean", "info"))
        fold.take(5, None, 0, [("k", 1.0)])
        name = "6f1c0000-0000-4000-8000-00000000000a/k/r/t/00000000-0000-0000-0000-000000000001/3/5"
        namespace = uuid.UUID("5b0c8f0e-4a7d-5c3e-9d1f-27c16a90e4b8")
        self.assertEqual(fold.changes[0].id, uuid.uuid5(namespace, name).bytes)
        self.assertEqual(fold.active(), {fold.changes[0].id: 0})

    def test_the_first_reading_is_judged_by_three_tests_alone(self):
        for test, holds in (("high", True), ("low", False), ("boolean", True), ("step", False), ("flatline", False),
                            ("zscore", False), ("gap", False)):
            self.assertEqual(judge(Rule("r", None, test, "info"), 0, 1.0, None).holds, holds, test)
