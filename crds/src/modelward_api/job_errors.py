"""Errors that end a training or a scoring Job."""

from __future__ import annotations


class InvalidInputError(Exception):
    """The spec of the Job or its data are invalid; a retry would not help.

    Args:
        reason: CamelCase.
        message: what is wrong and what to do, without a value of the data.
        field: path of the invalid field.
    """

    def __init__(self, reason: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
