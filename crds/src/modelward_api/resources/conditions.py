"""Kubernetes conditions (metav1.Condition), read by kstatus, Argo CD, Helm and people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

from pydantic import Field

from modelward_api.base import Document, Timestamp


class Condition(Document):
    """One aspect of an object's state, with the reason for it."""

    type: Annotated[str, Field(description="Type of the condition, such as Ready.", max_length=64)]
    status: Annotated[
        Literal["True", "False", "Unknown"], Field(description="True, False, or Unknown while it cannot be determined.")
    ]
    observed_generation: Annotated[
        int | None, Field(description="The metadata.generation that this condition was set for.")
    ] = None
    last_transition_time: Annotated[Timestamp, Field(description="Time of the last change of status.")]
    reason: Annotated[str, Field(description="Machine-readable reason in CamelCase.", max_length=64)]
    message: Annotated[
        str, Field(description="Human-readable message: what happened, where, and what to do.", max_length=1024)
    ] = ""


def find(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """Return the condition of that type, or None."""
    return next((c for c in conditions if c.type == type_), None)


def upsert(conditions: Sequence[Condition], new: Condition) -> tuple[Condition, ...]:
    """Return the conditions with ``new``. Its transition time changes only if its status does."""
    old = find(conditions, new.type)
    if old is None:
        return (*conditions, new)
    if old.status == new.status:
        new = new.model_copy(update={"last_transition_time": old.last_transition_time})
    return tuple(new if c.type == new.type else c for c in conditions)


def without(conditions: Sequence[Condition], type_: str) -> tuple[Condition, ...]:
    """Return the conditions without that type: kstatus expects Reconciling and Stalled to be absent unless True."""
    return tuple(c for c in conditions if c.type != type_)
