"""The oracle's copy of the default rules, against the configuration that the program shows as its own."""

import tempfile
import unittest
from pathlib import Path

from rules import DEFAULT_RULES, Rule, read_rules

EXAMPLE = Path(__file__).parents[2] / "iotpipe.example.toml"  # held to the program's defaults by its own tests


class Rules(unittest.TestCase):
    def test_the_defaults_are_those_of_the_program(self):
        self.assertEqual(read_rules(str(EXAMPLE)), DEFAULT_RULES)

    def test_rules_are_read_from_a_file(self):
        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write('[rules.z]\nkinds = ["*"]\ntest = "gap"\ntimes = 5\nwarm_up = 8\n'
                       '[rules.a]\nkinds = ["x"]\ntest = "high"\nthreshold = 1\nseverity = "critical"\ndebounce = 3\n'
                       '[rules.off]\nenabled = false\ntest = "boolean"\nseverity = "info"\n')
            file.flush()
            self.assertEqual(read_rules(file.name), (
                Rule("a", ("x",), "high", "critical", threshold=1.0, debounce=3),
                Rule("z", None, "gap", "warning", times=5.0, warm_up=8)))
