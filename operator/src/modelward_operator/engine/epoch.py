"""The leadership epoch: it grows with each start of the operator, so an older one's traffic leases are refused."""

from __future__ import annotations

from datetime import UTC, datetime

from modelward_operator.engine.gateway import LEASES, ConflictError, Gateway, Manifest

LEASE_NAME = "modelward-operator"


async def begin(gateway: Gateway, namespace: str, holder: str) -> int:
    """Take the Lease over and return the new epoch."""
    while True:
        lease = await gateway.get(LEASES, namespace, LEASE_NAME)
        try:
            if lease is None:
                await gateway.create(LEASES, _lease(namespace, holder, 1))
                return 1
            epoch = int(lease["spec"].get("leaseTransitions") or 0) + 1
            taken = _lease(namespace, holder, epoch)
            taken["metadata"]["resourceVersion"] = lease["metadata"]["resourceVersion"]
            await gateway.replace(LEASES, taken)
        except ConflictError:
            continue
        return epoch


def _lease(namespace: str, holder: str, epoch: int) -> Manifest:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": {"name": LEASE_NAME, "namespace": namespace},
        "spec": {"holderIdentity": holder, "leaseTransitions": epoch, "acquireTime": now, "renewTime": now},
    }
