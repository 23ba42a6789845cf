"""The rules of a ModelVersion."""

from __future__ import annotations

from modelward_api.generate.rules.pods import pod
from modelward_api.generate.rules.rule import (
    NAME,
    Rule,
    at_least_a_second,
    immutable,
    positive_duration,
    requests_within_limits,
)

_NEW_VERSION = "a version is what it is; apply a new ModelVersion"
_ONE_SOURCE = "has(self.artifact) != has(self.trainingJobRef)"


def settings(at: str) -> tuple[Rule, ...]:
    """The rules of VersionSettings, which a ModelVersion has and a TrainingJob's template, too."""
    steps = f"{at}.rollout.steps"
    return (
        requests_within_limits(f"{at}.serving.resources"),
        *pod(f"{at}.serving.pod"),
        Rule(
            f"{at}.serving",
            "!has(self.autoscaling) || self.replicas == 1",
            f"{at}.serving: give either replicas or autoscaling; pods start with autoscaling.minReplicas",
            ".replicas",
        ),
        Rule(
            f"{at}.serving",
            "!has(self.countBy) || self.countBy != 'encounter' || has(self.stickyHeader)",
            f"{at}.serving: countBy encounter needs stickyHeader, the header that tells encounters apart",
            ".countBy",
        ),
        Rule(
            f"{at}.serving.autoscaling",
            "self.minReplicas <= self.maxReplicas",
            f"{at}.serving.autoscaling: minReplicas must not be greater than maxReplicas",
            ".minReplicas",
        ),
        Rule(
            f"{at}.serving.authentication",
            "has(self.jwksUrl) != has(self.jwksConfigMap)",
            f"{at}.serving.authentication: give either jwksUrl or jwksConfigMap",
            ".issuer",
        ),
        positive_duration(f"{at}.serving.requestTimeout"),
        positive_duration(f"{at}.rollout.analysis.latencyObjective"),
        at_least_a_second(f"{at}.rollout.deadline"),
        Rule(
            steps, "self.all(a, self.exists_one(b, a.weight == b.weight))", f"{steps}: no two steps may have one weight"
        ),
        Rule(steps, "self.map(s, s.weight).isSorted()", f"{steps}: weights must grow from step to step"),
    )


RULES = (
    NAME,
    *(immutable(name, _NEW_VERSION) for name in ("model", "version", "artifact", "trainingJobRef")),
    Rule("spec", _ONE_SOURCE, "spec: give either artifact or trainingJobRef, and not both"),
    *settings("spec"),
)
