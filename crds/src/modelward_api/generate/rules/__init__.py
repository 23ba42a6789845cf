"""Rules that a schema cannot express, as CEL: one module for each kind."""

from __future__ import annotations

from modelward_api.generate.rules import driftmonitor, modelversion, scorebatch, trainingjob
from modelward_api.generate.rules.rule import Rule

RULES: dict[str, tuple[Rule, ...]] = {
    "ModelVersion": modelversion.RULES,
    "TrainingJob": trainingjob.RULES,
    "DriftMonitor": driftmonitor.RULES,
    "ScoreBatch": scorebatch.RULES,
}
"""By the kind's name."""
