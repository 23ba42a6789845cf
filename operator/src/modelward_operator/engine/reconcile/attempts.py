"""Writes that may be refused, each with its own back-off: one object never stops writes that do not depend on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from modelward_operator.domain.rollout.withheld import Refusal
from modelward_operator.engine.kube.gateway import ConflictError, GatewayError

Made = TypeVar("Made")
What = tuple[str, str]
"""The kind and name of an object, or of a part of it."""

FIRST_WAIT, FIRST_LOOK, MAX_WAIT = 1.0, 0.05, 30.0
"""Seconds until the next try, doubled each time: after a refusal, after a conflict, and at most."""
CONFLICT_RETRY = 0.05
"""Seconds until a second look after another writer has changed an object meanwhile."""
MAX_UNANSWERED = 3
"""Writes without a response in one reconcile, after which the API server counts as unreachable."""


class RefusedError(Exception):
    """A write was refused."""

    def __init__(self, refusal: Refusal, again: float) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal
        self.again = again
        """Monotonic time of the next try, in seconds."""


@dataclass(frozen=True, slots=True)
class _Failed:
    content: str
    refusal: Refusal
    again: float


@dataclass(slots=True)
class Attempts:
    """The refused writes of one model, and when each is retried."""

    failed: dict[What, _Failed] = field(default_factory=dict)
    next: float | None = None
    """Monotonic time of the next retry of a write that this reconcile wanted."""
    conflicts: int = 0
    """Conflicts in this reconcile."""
    _unheard: int = 0

    def begin(self) -> None:
        """Begin a reconcile."""
        self.next, self.conflicts, self._unheard = None, 0, 0

    async def make(self, what: What, content: str, clock: float, write: Callable[[], Awaitable[Made]]) -> Made:
        """Write, unless the same write was refused a moment ago. Changed content is tried at once.

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
        """Forget refusals of all objects but those with these names."""
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
    return _Failed(content, Refusal(f"{kind} {what[1]}", error.status, error.reply, times), clock + wait)
