"""The rules of a ScoreBatch."""

from __future__ import annotations

from pydantic.alias_generators import to_camel

from modelward_api.generate.rules.pods import pod
from modelward_api.generate.rules.rule import NAME, Rule, at_least_a_second, immutable, requests_within_limits
from modelward_api.resources.scorebatch import ScoreBatchSpec

_NEW_BATCH = "apply a new ScoreBatch instead (only suspend and parallelism may change)"
_FIELDS = tuple(to_camel(name) for name in ScoreBatchSpec.model_fields if name not in ("suspend", "parallelism"))
_KEPT_NAMES = Rule(
    "spec.keepColumns",
    "!self.exists(c, c in ['score', 'decision', 'version'])",
    "spec.keepColumns: must not contain score, decision or version, which are columns of the output: rename the input's column",
)

RULES = (
    NAME,
    *(immutable(name, _NEW_BATCH) for name in _FIELDS),
    _KEPT_NAMES,
    requests_within_limits("spec.resources"),
    *pod("spec.pod"),
    at_least_a_second("spec.activeDeadline"),
)
