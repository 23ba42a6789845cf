"""Writes that may be refused: each by itself, with a back-off, so that one object never stops what does not depend on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from modelward_operator.domain.rollout.withheld import Refusal
from modelward_operator.engine.kube.gateway import ConflictError, GatewayError

Made = TypeVar("Made")
What = tuple[str, str]
"""Kind and name of an object, or of a part of it."""

FIRST_WAIT, FIRST_LOOK, MAX_WAIT = 1.0, 0.05, 30.0
"""Seconds until the next try: after a refusal, after somebody else's write, and at most. Doubled each time."""
CONFLICT_RETRY = 0.05
"""Seconds until a second look after another writer has changed an object meanwhile."""
MAX_UNANSWERED = 3
"""Writes in one round without any answer: after so many the API server itself is taken to be away."""


class RefusedError(Exception):
    """That write was not made."""

    def __init__(self, refusal: Refusal, again: float) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.again = again
        """Monotonic, in seconds: then it is tried again."""


@dataclass(frozen=True, slots=True)
class _Failed:
    content: str
    refusal: Refusal
    again: float


@dataclass(slots=True)
class Attempts:
    """What was refused of one model's writes, and when it is tried again."""

    failed: dict[What, _Failed] = field(default_factory=dict)
    next: float | None = None
    """When something that this round wanted is to be tried again, monotonic."""
    conflicts: int = 0
    """In this round."""
    _unheard: int = 0

    def begin(self) -> None:
        """A round begins."""
        self.next, self.conflicts, self._unheard = None, 0, 0

    async def make(self, what: What, content: str, clock: float, write: Callable[[], Awaitable[Made]]) -> Made:
        """Write, unless the same was refused a moment ago. Another content is tried at once.

        Raises:
            RefusedError: it is not written; everything that does not depend on it can go on.
            GatewayError: the API server answers nothing any more.
        """
        before = self.failed.get(what)
        if before is not None and before.content == content and clock < before.again:
            raise self._refused(before)
        try:
            made = await write()
        except GatewayError as error:
            self.failed[what] = failed = _failed(what, content, clock, error, before)
            self.conflicts += isinstance(error, ConflictError)
            self._unheard += error.status == 0
            if self._unheard >= MAX_UNANSWERED:
                raise
            raise self._refused(failed) from error
        self.failed.pop(what, None)
        return made

    def forget(self, names: set[str]) -> None:
        """Of objects with other names nothing is wanted any more."""
        self.failed = {what: failed for what, failed in self.failed.items() if what[1] in names}

    def _refused(self, failed: _Failed) -> RefusedError:
        self.next = failed.again if self.next is None else min(self.next, failed.again)
        return RefusedError(failed.refusal, failed.again)


def _failed(what: What, content: str, clock: float, error: GatewayError, before: _Failed | None) -> _Failed:
    same = before is not None and before.content == content and before.refusal.status == error.status
    times = before.refusal.times + 1 if same and before is not None else 1
    first = FIRST_LOOK if isinstance(error, ConflictError) else FIRST_WAIT
    wait = max(min(MAX_WAIT, first * 2.0 ** min(times - 1, 20)), error.retry_after)
    kind = what[0].partition("/")[0]
    return _Failed(content, Refusal(f"{kind} {what[1]}", error.status, error.said, times), clock + wait)
