"""The operator's memory of a model, which survives a restart and the deletion of its ModelVersions.

Kept in one ConfigMap a model, ``<model>-modelward``. Quarantine and decisions are for people to read. The ledger has exact
counts: it is sealed with a key that the operator alone reads (domain/core/sealing).
"""

from __future__ import annotations

import hashlib
import json

from modelward_api.base import Digest, Document, SemVer, Timestamp
from modelward_api.resources.modelversion import Analysis, Outcome, SignalEvidence, SubgroupEvidence
from modelward_api.wire.exchange import PairedCounts, ProfileCounts


class Quarantine(Document):
    """A digest that was rolled back and shall not come back by applying the same manifest again."""

    digest: Digest
    version: SemVer
    reason: str
    message: str
    time: Timestamp


class Evidence(Document):
    """The published evidence of a decision. The exact counts are in the ledger (``Ledger.decided``)."""

    challenger: Digest | None = None
    champion: Digest | None = None
    """None when there was nothing to compare with."""
    analysis: Analysis
    counts: PairedCounts
    """The numbers that stand for the exact ones (domain/evidence/publication)."""
    signals: tuple[SignalEvidence, ...] = ()
    subgroups: tuple[SubgroupEvidence, ...] = ()

    @property
    def digest(self) -> str:
        """The SHA-256 of its canonical JSON: sorted keys, no spaces."""
        canonical = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(canonical.encode()).hexdigest()


class DecisionRecord(Document):
    """One promotion, rollback or release: who, when, why, and on what evidence."""

    time: Timestamp
    outcome: Outcome
    model_version: str
    version: SemVer
    champion: str | None = None
    """The ModelVersion that answered all requests when it was decided."""
    reason: str
    message: str
    evidence: Evidence
    evidence_digest: Digest

    @property
    def key(self) -> str:
        """The key of its exact counts."""
        return f"{self.time} {self.model_version}"


class Trial(Document):
    """A challenger's trial against one champion, as it began (domain/rollout/trials)."""

    champion: Digest
    analysis: Analysis
    """It judges the whole trial, whatever becomes of the spec."""
    before: PairedCounts = PairedCounts()
    """What was counted of the two before it began."""
    strata_before: dict[str, PairedCounts] = {}


class Ledger(Document):
    """Counts by pod instance. Readings of one instance only grow: merging takes the larger, whatever the order."""

    paired: dict[Digest, dict[str, PairedCounts]] = {}
    """By challenger digest, then by the champion's digest and its pod's instance (``ledger.instance_key``)."""
    strata: dict[Digest, dict[str, dict[str, PairedCounts]]] = {}
    """By challenger and instance as above, then by stratum of the champion's declared subgroups."""
    profiles: dict[Digest, dict[str, ProfileCounts]] = {}
    """By champion digest, then by instance."""
    windows: dict[str, ProfileCounts] = {}
    """By DriftMonitor name: the champion's totals when its current window began."""
    detectors: dict[str, str] = {}
    """By DriftMonitor name: the counts of the windows before, packed (``detector.pack``): read when a window is judged only."""
    steps: dict[Digest, dict[Timestamp, int]] = {}
    """By challenger digest, then by the time at which a step of its rollout began: the pairs that were seen before."""
    trials: dict[Digest, Trial] = {}
    """By challenger digest."""
    decided: dict[str, PairedCounts] = {}
    """The exact counts of the decisions that are remembered (``DecisionRecord.key``)."""
    instances: dict[str, str] = {}
    """The instance of each existing pod. An instance ends when its pod is gone or has restarted."""
    gone: tuple[str, ...] = ()
    """The instances that are gone and not folded yet, in that order."""
    folded: tuple[str, ...] = ()
    """Instances long gone whose counts were summed into one; a reading of theirs that comes late is not counted again."""


class ModelRecord(Document):
    """The durable memory of one model."""

    quarantined: tuple[Quarantine, ...] = ()
    marked: tuple[Digest, ...] = ()
    """Digests that were also written to the second place. If one is missing there, it was deleted."""
    decisions: tuple[DecisionRecord, ...] = ()
    """The last promotions, rollbacks and releases, newest last."""
    ledger: Ledger = Ledger()
