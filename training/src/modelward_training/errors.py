"""Errors with a reason, the invalid field and what to do; never with a value of the data."""

from __future__ import annotations

from modelward_api.job_errors import InvalidInputError

__all__ = ["InvalidInputError", "StoreError"]


class StoreError(OSError):
    """A store cannot be used now; a retry may help."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
