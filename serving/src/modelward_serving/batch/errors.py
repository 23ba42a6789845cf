"""Bad input: said with a reason, the field that is wrong, and what to do. Never with a value of the data."""

from __future__ import annotations

from modelward_api.store import UNAVAILABLE


class InvalidInputError(Exception):
    """The ScoreBatch or its files cannot be scored; trying again would not help."""

    def __init__(self, reason: str, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field


class UnreachableError(Exception):
    """A store cannot be used: another try may help. No OSError, as readers take those for the file's fault."""

    def __init__(self, message: str, reason: str = UNAVAILABLE) -> None:
        super().__init__(message)
        self.reason = reason


def unreadable(told: str, form: str, why: str) -> InvalidInputError:
    """A file, as it is named for people, is not of its format."""
    message = f"{told} cannot be read as {form}: {why}: check the file and spec.input.format"
    return InvalidInputError("UnreadableFile", message, "spec.input.format")
