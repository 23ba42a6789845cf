"""The rules of a DriftMonitor."""

from __future__ import annotations

from modelward_api.generate.rules.rule import NAME, at_least_a_second

RULES = (NAME, at_least_a_second("spec.interval"))
