"""The rules that raise alerts: the defaults as data, and any others from a TOML file with `[rules.NAME]`."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

TESTS = ("high", "low", "step", "flatline", "boolean", "zscore", "gap")
SEVERITIES = ("info", "warning", "critical")  # in the order of their numbers
EVERY_KIND = ("*",)


@dataclass(frozen=True)
class Rule:
    name: str
    kinds: tuple[str, ...] | None  # None: all
    test: str
    severity: str
    threshold: float = 0.0
    hysteresis: float = 0.0
    readings: int = 0  # flatline
    warm_up: int = 0  # zscore, gap
    times: float = 0.0  # gap
    debounce: int = 1

    def judges(self, kind: str) -> bool:
        return self.kinds is None or kind in self.kinds


DEFAULT_RULES = (
    Rule("humidity_high", ("humidity",), "high", "warning", threshold=80.0, hysteresis=5.0),
    Rule("light_low", ("light",), "low", "info", threshold=10.0, hysteresis=5.0),
    Rule("motion", ("motion",), "boolean", "info"),
    Rule("outlier", ("humidity", "pressure", "temperature", "voltage"), "zscore", "critical",
         threshold=8.0, hysteresis=4.0, warm_up=64),
    Rule("pressure_low", ("pressure",), "low", "warning", threshold=980.0, hysteresis=5.0),
    Rule("temperature_high", ("temperature",), "high", "warning", threshold=30.0, hysteresis=1.0),
)


def read_rules(path: str) -> tuple[Rule, ...]:
    """The enabled rules of a file, which has all there are, by name. A key that is not known here is an error: it might
    decide something.
    """
    with open(path, "rb") as file:
        tables = tomllib.load(file).get("rules", {})
    rules = []
    for name, table in tables.items():
        values = dict(table)
        if not values.pop("enabled", True):
            continue
        kinds = tuple(values.pop("kinds"))
        for key in ("threshold", "hysteresis", "times"):
            if key in values:
                values[key] = float(values[key])
        severity = values.pop("severity", "warning")
        rule = Rule(name, None if kinds == EVERY_KIND else kinds, values.pop("test"), severity, **values)
        if rule.test not in TESTS or rule.severity not in SEVERITIES:
            raise ValueError(f"{path}: rule {name}: {rule.test} or {rule.severity} is not known")
        rules.append(rule)
    return tuple(sorted(rules, key=lambda rule: rule.name.encode("utf-8")))


class RuleBook:
    """The rules of each kind in the order in which they judge: by the bytes of their names."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self.rules = sorted(rules, key=lambda rule: rule.name.encode("utf-8"))
        self.of_kind: dict[str, tuple[Rule, ...]] = {}

    def __getitem__(self, kind: str) -> tuple[Rule, ...]:
        found = self.of_kind.get(kind)
        if found is None:
            found = self.of_kind[kind] = tuple(rule for rule in self.rules if rule.judges(kind))
        return found
