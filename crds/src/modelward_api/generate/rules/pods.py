"""The rules of PodSettings."""

from __future__ import annotations

from modelward_api import given_environment
from modelward_api.generate.rules.rule import Rule, either, requests_within_limits
from modelward_api.resources.pods import (
    KEY_FORM,
    LABEL_KEY,
    ONE_VALUE,
    RESERVED_ENV_SENTENCE,
    RESERVED_LABELS,
    RESERVED_PREFIX,
)


def pod(path: str) -> tuple[Rule, ...]:
    """Return the rules of PodSettings."""
    labels = ", ".join(f"'{label}'" for label in RESERVED_LABELS)
    named = f"k.matches('{LABEL_KEY}') && !k.startsWith('{RESERVED_PREFIX}')"
    form = f"{KEY_FORM}; {RESERVED_PREFIX}* is reserved"
    return (
        Rule(
            f"{path}.metadata",
            f"!has(self.labels) || self.labels.all(k, {named} && !(k in [{labels}]))",
            f"{path}.metadata.labels: {form}, as are {', '.join(RESERVED_LABELS)}",
            ".labels",
        ),
        Rule(
            f"{path}.metadata",
            f"!has(self.annotations) || self.annotations.all(k, {named})",
            f"{path}.metadata.annotations: {form}",
            ".annotations",
        ),
        Rule(
            f"{path}.nodeSelector",
            f"self.all(k, k.matches('{LABEL_KEY}'))",
            f"{path}.nodeSelector: {KEY_FORM}",
        ),
        Rule(
            f"{path}.env[]",
            f"!self.name.matches('{given_environment.RESERVED}')",
            f"{path}.env: {RESERVED_ENV_SENTENCE}",
            ".name",
        ),
        Rule(
            f"{path}.env[]",
            "!has(self.value) || !has(self.valueFrom)",
            f"{path}.env: {ONE_VALUE}",
            ".value",
        ),
        either(f"{path}.env[].valueFrom", "configMapKeyRef", "secretKeyRef"),
        either(f"{path}.envFrom[]", "configMapRef", "secretRef"),
        either(f"{path}.caBundle", "configMap", "secret"),
        requests_within_limits(f"{path}.fetchResources"),
    )
