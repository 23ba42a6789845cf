"""Errors of invalid input: a reason, the field, and what to do; never a value of the data."""

from __future__ import annotations

from modelward_api.job_errors import InvalidInputError
from modelward_api.resources.reasons import Reason

__all__ = ["InvalidInputError", "UnreachableError", "unreadable"]


class UnreachableError(Exception):
    """A store cannot be used; a retry may help. Not an OSError, because readers take those as an invalid file."""

    def __init__(self, message: str, reason: str = Reason.STORE_UNAVAILABLE) -> None:
        super().__init__(message)
        self.reason = reason


def unreadable(told: str, form: str, why: str) -> InvalidInputError:
    """Return the error of a file that is not in its format."""
    message = f"{told} cannot be read as {form}: {why}. Check the file and spec.input.format"
    return InvalidInputError(Reason.UNREADABLE_FILE, message, "spec.input.format")
