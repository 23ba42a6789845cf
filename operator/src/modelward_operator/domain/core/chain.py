"""A chain of checks: small pure functions in a fixed order, of which the first that applies decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

Context = TypeVar("Context")
Result = TypeVar("Result")


def first(checks: Iterable[Callable[[Context], Result | None]], context: Context) -> Result | None:
    """Return the result of the first check that applies, or None if none does."""
    return next((found for check in checks if (found := check(context)) is not None), None)


def decide(checks: Iterable[Callable[[Context], Result | None]], context: Context) -> Result:
    """Return the result of the first check that applies.

    Raises:
        LookupError: none does. The last check of a chain that must decide applies always.
    """
    found = first(checks, context)
    if found is None:
        raise LookupError("no check of the chain applies")
    return found
