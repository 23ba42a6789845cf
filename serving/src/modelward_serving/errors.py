"""Errors of a request, whichever protocol it came by."""

from __future__ import annotations

import msgspec


class RefusedError(Exception):
    """A request that is wrong, and where."""

    def __init__(self, status: int, reason: str, field: str, rule: str) -> None:
        super().__init__(rule)
        self.status = status
        self.reason = reason
        self.field = field
        self.rule = rule

    @property
    def message(self) -> str:
        """The field and the rule that it breaks."""
        return f"{self.field}: {self.rule}" if self.field else self.rule

    def body(self) -> bytes:
        """The error as JSON."""
        return msgspec.json.encode({"error": self.message, "reason": self.reason, "field": self.field})
