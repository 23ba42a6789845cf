"""What the operator must remember about a model when its ModelVersions are gone or it is restarted itself.

Kept in one ConfigMap a model, ``<model>-modelward``. The counts are machine state: they stand in no status.
"""

from __future__ import annotations

from modelward_api.base import Digest, Document, SemVer, Timestamp
from modelward_api.wire import PairedCounts, ProfileCounts


class Quarantine(Document):
    """A digest that was rolled back and shall not come back by applying the same manifest again."""

    digest: Digest
    version: SemVer
    reason: str
    message: str
    time: Timestamp


class Ledger(Document):
    """Counts by pod instance. Readings of one instance only grow: merging takes the larger, whatever the order."""

    paired: dict[Digest, dict[str, PairedCounts]] = {}
    """By challenger digest, then by the champion's digest and its pod's instance (``ledger.instance_key``)."""
    profiles: dict[Digest, dict[str, ProfileCounts]] = {}
    """By champion digest, then by instance."""
    windows: dict[str, ProfileCounts] = {}
    """By DriftMonitor name: the champion's totals when its current window began."""
    folded: tuple[str, ...] = ()
    """Instances long gone whose counts were summed into one; a reading of theirs that comes late is not counted again."""


class ModelRecord(Document):
    """The durable memory of one model."""

    quarantined: tuple[Quarantine, ...] = ()
    ledger: Ledger = Ledger()
