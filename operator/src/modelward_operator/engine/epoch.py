"""The leadership epoch: it grows with each start of the operator, so an older one's traffic leases are refused."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from modelward_operator.engine.gateway import LEASES, ConflictError, Gateway, GatewayError, Manifest

LEASE_NAME = "modelward-operator"
PERIOD = 20.0


class DeposedError(Exception):
    """Another operator has begun a newer epoch: this one must not write any more."""


async def begin(gateway: Gateway, namespace: str, holder: str) -> int:
    """Take the Lease over and return the new epoch."""
    while True:
        lease = await gateway.get(LEASES, namespace, LEASE_NAME)
        try:
            if lease is None:
                await gateway.create(LEASES, _lease(namespace, holder, 1))
                return 1
            epoch = _epoch(lease) + 1
            taken = _lease(namespace, holder, epoch)
            taken["metadata"]["resourceVersion"] = lease["metadata"]["resourceVersion"]
            await gateway.replace(LEASES, taken)
        except ConflictError:
            continue
        return epoch


async def hold(gateway: Gateway, namespace: str, holder: str, epoch: int, period: float = PERIOD) -> None:
    """Look at the Lease now and then, for ever; put it back when somebody has deleted it, lest the epochs begin anew.

    Raises:
        DeposedError: a newer epoch has begun.
    """
    while True:
        await asyncio.sleep(period)
        try:
            lease = await gateway.get(LEASES, namespace, LEASE_NAME)
            if lease is None:
                await gateway.create(LEASES, _lease(namespace, holder, epoch))
            elif _epoch(lease) > epoch:
                taker = lease["spec"].get("holderIdentity")
                raise DeposedError(f"{taker} has begun epoch {_epoch(lease)} after this one's {epoch}")
        except GatewayError:
            continue  # the pods' leases run out by themselves; the next look tells


def _epoch(lease: Manifest) -> int:
    return int(lease["spec"].get("leaseTransitions") or 0)


def _lease(namespace: str, holder: str, epoch: int) -> Manifest:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": {"name": LEASE_NAME, "namespace": namespace},
        "spec": {"holderIdentity": holder, "leaseTransitions": epoch, "acquireTime": now, "renewTime": now},
    }
