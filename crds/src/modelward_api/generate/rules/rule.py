"""One CEL rule, and those that several kinds share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from modelward_api.base import exactly_one


@dataclass(frozen=True)
class Rule:
    """One CEL rule at a path of the schema; `[]` steps into items."""

    path: str
    rule: str
    message: str
    field: str = ""
    """Where below the path the error is shown, such as ``.model``; by default at the path itself."""

    @property
    def schema(self) -> dict[str, Any]:
        """The rule as the API server takes it."""
        shown = {"fieldPath": self.field} if self.field else {}
        return {"rule": self.rule, "message": self.message, **shown}


NAME = Rule(
    "",
    "size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "metadata.name: must be at most 40 lower-case letters, digits and dashes, and start with a letter, because names of "
    "other objects are derived from it",
)


def immutable(name: str, remedy: str) -> Rule:
    """Return the rule that a field of spec never changes."""
    same = f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})"
    return Rule("spec", same, f"spec.{name} is immutable; {remedy}", f".{name}")


def positive_duration(path: str) -> Rule:
    """Return the rule that a duration is not zero."""
    return Rule(path, "self.matches('[1-9]')", f"{path}: must be greater than zero, for example 500ms")


def at_least_a_second(path: str) -> Rule:
    """Return the rule that a duration is at least one second."""
    whole = "(^|[a-z])0*[1-9][0-9]*([.][0-9]+)?(s|m([^s]|$)|h|d)"
    return Rule(path, f"self.matches('{whole}')", f"{path}: must be at least 1s, for example 30s or 5m")


def requests_within_limits(path: str) -> Rule:
    """Return the rule that no resource request exceeds its limit."""
    return Rule(
        path,
        "!has(self.requests) || !has(self.limits) || !self.requests.exists(r, r in self.limits && "
        "quantity(string(self.requests[r])).isGreaterThan(quantity(string(self.limits[r]))))",
        f"{path}: a request must not be greater than its limit",
    )


def either(path: str, one: str, other: str) -> Rule:
    """Return the rule that exactly one of two fields is set."""
    return Rule(path, f"has(self.{one}) != has(self.{other})", f"{path}: {exactly_one(one, other)}")
