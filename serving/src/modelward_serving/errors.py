"""Errors of a request, independent of its protocol."""

from __future__ import annotations

import msgspec


class RefusedError(Exception):
    """An invalid request: status, CamelCase reason, field and rule."""

    def __init__(self, status: int, reason: str, field: str, rule: str) -> None:
        super().__init__(rule)
        self.status = status
        self.reason = reason
        self.field = field
        self.rule = rule

    @property
    def message(self) -> str:
        """Field and broken rule."""
        return f"{self.field}: {self.rule}" if self.field else self.rule

    def body(self) -> bytes:
        """Return the error as JSON."""
        return msgspec.json.encode({"error": self.message, "reason": self.reason, "field": self.field})
