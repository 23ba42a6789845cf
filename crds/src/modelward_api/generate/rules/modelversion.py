"""The rules of a ModelVersion."""

from __future__ import annotations

from modelward_api.base import exactly_one
from modelward_api.generate.rules.pods import pod
from modelward_api.generate.rules.rule import (
    NAME,
    Rule,
    at_least_a_second,
    immutable,
    positive_duration,
    requests_within_limits,
)
from modelward_api.resources.modelversion import MIN_ABOVE_MAX

_NEW_VERSION = "apply a new ModelVersion instead"
_ONE_SOURCE = "has(self.artifact) != has(self.trainingJobRef)"


def settings(at: str) -> tuple[Rule, ...]:
    """Return the rules of VersionSettings, which a ModelVersion and a TrainingJob's template have."""
    steps = f"{at}.rollout.steps"
    return (
        requests_within_limits(f"{at}.serving.resources"),
        *pod(f"{at}.serving.pod"),
        Rule(
            f"{at}.serving",
            "!has(self.autoscaling) || self.replicas == 1",
            f"{at}.serving: set either replicas or autoscaling; with autoscaling, pods start at minReplicas",
            ".replicas",
        ),
        Rule(
            f"{at}.serving",
            "!has(self.countBy) || self.countBy != 'encounter' || has(self.stickyHeader)",
            f"{at}.serving.countBy: encounter needs stickyHeader, the header that identifies encounters",
            ".countBy",
        ),
        Rule(
            f"{at}.serving.autoscaling",
            "self.minReplicas <= self.maxReplicas",
            f"{at}.serving.autoscaling: {MIN_ABOVE_MAX}",
            ".minReplicas",
        ),
        Rule(
            f"{at}.serving.authentication",
            "has(self.jwksUrl) != has(self.jwksConfigMap)",
            f"{at}.serving.authentication: {exactly_one('jwksUrl', 'jwksConfigMap')}",
            ".issuer",
        ),
        positive_duration(f"{at}.serving.requestTimeout"),
        positive_duration(f"{at}.rollout.analysis.latencyObjective"),
        at_least_a_second(f"{at}.rollout.deadline"),
        Rule(
            steps,
            "self.all(a, self.exists_one(b, a.weight == b.weight))",
            f"{steps}: two steps must not have the same weight",
        ),
        Rule(steps, "self.map(s, s.weight).isSorted()", f"{steps}: weights must increase from step to step"),
    )


RULES = (
    NAME,
    *(immutable(name, _NEW_VERSION) for name in ("model", "version", "artifact", "trainingJobRef")),
    Rule("spec", _ONE_SOURCE, f"spec: {exactly_one('artifact', 'trainingJobRef')}"),
    *settings("spec"),
)
