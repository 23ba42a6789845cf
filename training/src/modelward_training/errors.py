"""Bad input: said with a reason, the field that is wrong, and what to do. Never with a value of the data."""

from __future__ import annotations


class InvalidInputError(Exception):
    """The TrainingJob or its data cannot be trained on; trying again would not help."""

    def __init__(self, reason: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field


class StoreError(OSError):
    """A store cannot be used now: another try may help."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
