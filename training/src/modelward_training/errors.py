"""Errors with a reason, the invalid field and what to do; never with a value of the data."""

from __future__ import annotations


class InvalidInputError(Exception):
    """The TrainingJob or its data are invalid; a retry would not help."""

    def __init__(self, reason: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field


class StoreError(OSError):
    """A store cannot be used now; a retry may help."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
