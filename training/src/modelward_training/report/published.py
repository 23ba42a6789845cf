"""Which counts may be published, and how: in tens, without those that point to a few patients."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

from modelward_training.evaluation.breakdown import MAX_SMALL_COUNT, withheld

BASE = 10
Key = TypeVar("Key", bound=Hashable)


def published(counts: Mapping[Key, int]) -> dict[Key, int | None]:
    """Return counts that add up to a public total, in tens; None is withheld.

    A count from 1 to 10 is withheld, and so are others until no difference from the total is one
    (:func:`modelward_training.evaluation.breakdown.withheld`).
    """
    hidden = withheld([(count,) for count in counts.values()])
    return {
        key: None if is_hidden else in_tens(count)
        for (key, count), is_hidden in zip(counts.items(), hidden, strict=True)
    }


def in_tens(count: int) -> int:
    """Round to tens, halves up: what is published together does not add up to single rows."""
    return (count + BASE // 2) // BASE * BASE


def alone(count: int) -> int | None:
    """Return a count that is no part of a published total."""
    return None if 0 < count <= MAX_SMALL_COUNT else in_tens(count)
