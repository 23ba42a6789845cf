"""Leader election by a Lease: won, renewed, released; and the guard on all writes of a leader."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from datetime import UTC, datetime

from modelward_operator.domain.operator.leadership import (
    Claim,
    LeaseRecord,
    Sighting,
    Terms,
    decide,
    is_ours,
    may_write,
    sighted,
)
from modelward_operator.engine.kube.gateway import LEASES, ConflictError, Gateway, GatewayError, Manifest

log = logging.getLogger(__name__)

LEASE_NAME = "modelward-operator"
TERMS = Terms()
ATTEMPT = 1.5
"""Timeout in seconds of one call about the Lease."""
Clock = Callable[[], float]


def since_boot() -> float:
    """Return seconds of a clock that keeps running while the machine sleeps, where there is one."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class DeposedError(Exception):
    """This operator no longer leads, or cannot be certain that it does: it must not write."""


class Leadership:
    """One epoch of leadership. ``check`` precedes every write to the API server and to pods."""

    def __init__(
        self,
        gateway: Gateway,
        namespace: str,
        me: str,
        record: LeaseRecord,
        since: datetime,
        renewed: float,
        terms: Terms,
        clock: Clock,
    ) -> None:
        self.epoch = record.epoch
        self._gateway = gateway
        self._namespace = namespace
        self._me = me
        self._version = record.version
        self._renewed = renewed
        self._terms = terms
        self._clock = clock
        self._since = since
        self._ended: str | None = None

    def check(self) -> None:
        """Return while this operator certainly leads. Only writes already under way may still arrive later.

        Raises:
            DeposedError: it has lost the Lease, handed it back, or could not renew it in time (it may have been frozen).
        """
        if self._ended is None and not may_write(self._renewed, self._clock(), self._terms):
            self._ended = f"epoch {self.epoch} was not renewed within {self._terms.deadline:g} s"
        if self._ended is not None:
            raise DeposedError(self._ended)

    async def hold(self) -> None:
        """Renew the Lease forever.

        Raises:
            DeposedError: see ``check``.
        """
        while True:
            await asyncio.sleep(min(self._terms.period, self._left()))
            self.check()
            try:
                async with asyncio.timeout(min(ATTEMPT, self._left())):
                    await self._renew()
            except (GatewayError, TimeoutError) as error:
                log.warning("the Lease was not renewed: %s", str(error) or "no answer in time")

    async def hand_back(self) -> None:
        """Release the Lease, so that another operator can begin at once. No write may be under way."""
        try:
            self.check()
            self._ended = f"epoch {self.epoch} was handed back"
            async with asyncio.timeout(ATTEMPT):
                await self._write(holder=None)
        except (DeposedError, GatewayError, TimeoutError) as error:
            log.info("the Lease was not released: %s", str(error) or "no answer in time")

    async def _renew(self) -> None:
        asked = self._clock()
        written = await self._write(self._me)
        self._version, self._renewed = written["metadata"]["resourceVersion"], asked

    async def _write(self, holder: str | None) -> Manifest:
        try:
            return await self._gateway.replace(LEASES, self._lease(holder))
        except GatewayError as error:
            if error.status not in (404, 409):
                raise
        return await self._write_what_changed(holder)

    async def _write_what_changed(self, holder: str | None) -> Manifest:
        found = await self._gateway.get(LEASES, self._namespace, LEASE_NAME)
        if found is None:
            log.warning("the Lease was deleted: restoring it")
            return await self._gateway.create(LEASES, self._lease(holder, new=True))
        record = read(found)
        if not is_ours(record, self._me, self.epoch):
            self._ended = f"{record.holder or 'nobody'} holds the Lease in epoch {record.epoch}, after {self.epoch}"
            raise DeposedError(self._ended)
        self._version = record.version
        return await self._gateway.replace(LEASES, self._lease(holder))

    def _left(self) -> float:
        return max(0.0, self._renewed + self._terms.deadline - self._clock())

    def _lease(self, holder: str | None, new: bool = False) -> Manifest:
        return _lease(self._namespace, holder, self.epoch, None if new else self._version, self._since, self._terms)


class Standby:
    """A standby, which watches the Lease until it may take it."""

    def __init__(
        self, gateway: Gateway, namespace: str, me: str, terms: Terms = TERMS, clock: Clock = since_boot
    ) -> None:
        self._gateway = gateway
        self._namespace = namespace
        self._me = me
        self._terms = terms
        self._clock = clock
        self.leadership: Leadership | None = None
        """The leadership that was won, even after it has ended."""
        self._seen: Sighting | None = None
        self._looked: float | None = None
        self._trouble = ""

    @property
    def leader(self) -> str | None:
        """The holder of the Lease at the last look."""
        return self._seen.record.holder if self._seen is not None and self._seen.record is not None else None

    def permit(self) -> None:
        """Return only while this operator holds the Lease. Every write calls this first.

        Raises:
            DeposedError: none was won yet, or see ``Leadership.check``.
        """
        if self.leadership is None:
            raise DeposedError("a standby writes nothing")
        self.leadership.check()

    def cannot_see_lease(self) -> bool:
        """Whether the Lease could not be read recently."""
        return self._looked is None or self._clock() > self._looked + self._terms.duration

    async def win(self) -> Leadership:
        """Wait for leadership, however long it takes, even without an API server."""
        while True:
            pause = self._terms.look
            try:
                async with asyncio.timeout(ATTEMPT):
                    found = await self._look()
                if isinstance(found, Leadership):
                    self.leadership = found
                    return found
                pause = found
            except ConflictError:
                continue  # another replica was faster: look again
            except (GatewayError, TimeoutError) as error:
                self._complain(str(error) or "no answer in time")
            await asyncio.sleep(pause)

    async def _look(self) -> Leadership | float:
        manifest = await self._gateway.get(LEASES, self._namespace, LEASE_NAME)
        now = self._looked = self._clock()
        self._trouble = ""
        self._seen = sighted(self._seen, read(manifest) if manifest is not None else None, now)
        decision = decide(self._me, self._seen, now, datetime.now(UTC), self._terms)
        return await self._claim(decision, now) if isinstance(decision, Claim) else decision.seconds

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            log.warning("cannot read the Lease: %s", trouble)
        self._trouble = trouble

    async def _claim(self, claim: Claim, now: float) -> Leadership:
        since = datetime.now(UTC)
        lease = _lease(self._namespace, self._me, claim.epoch, claim.version, since, self._terms)
        write = self._gateway.create if claim.version is None else self._gateway.replace
        record = read(await write(LEASES, lease))
        return Leadership(self._gateway, self._namespace, self._me, record, since, now, self._terms, self._clock)


def read(lease: Manifest) -> LeaseRecord:
    """Parse a Lease."""
    spec = lease.get("spec") or {}
    holder, epoch = spec.get("holderIdentity") or None, int(spec.get("leaseTransitions") or 0)
    return LeaseRecord(holder, epoch, lease["metadata"]["resourceVersion"])


def _lease(
    namespace: str, holder: str | None, epoch: int, version: str | None, since: datetime, terms: Terms
) -> Manifest:
    metadata = {"name": LEASE_NAME, "namespace": namespace}
    spec = {
        "leaseTransitions": epoch,
        "leaseDurationSeconds": math.ceil(terms.duration),
        "acquireTime": _time(since),
        "renewTime": _time(datetime.now(UTC)),
    }
    return {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": metadata if version is None else metadata | {"resourceVersion": version},
        "spec": spec if holder is None else spec | {"holderIdentity": holder},
    }


def _time(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
