"""Builders of observations: a test states only what matters to it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from modelward_api.bundle.documents import (
    BundleDocuments,
    Evaluation,
    FeatureReference,
    ParityReport,
    ReferenceProfile,
    Signature,
)
from modelward_api.resources.driftmonitor import DriftMonitorSpec, DriftMonitorStatus
from modelward_api.resources.modelversion import Artifact, ModelVersionSpec, ModelVersionStatus
from modelward_api.wire.exchange import PairedCounts, ProfileCounts
from modelward_operator.domain.core.clock import stamp
from modelward_operator.domain.core.record import Ledger, ModelRecord
from modelward_operator.domain.core.sealing import SealingKey
from modelward_operator.domain.drift.observation import Monitor
from modelward_operator.domain.evidence.ledger import instance_key
from modelward_operator.domain.rollout import advance
from modelward_operator.domain.rollout.decision import Decision
from modelward_operator.domain.rollout.observation import ModelService, Observation, Pod, Version, Workload

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
MODEL = "mortality"
KEY = SealingKey(bytes(range(64)))
"""The key for the counts in records."""


def digest(letter: str) -> str:
    return "sha256:" + (f"{ord(letter):02x}" * 32)


def pod(name: str, ready: bool = True) -> Pod:
    return Pod(name=name, ip="10.0.0.1", ready=ready, verified=True)


def version(
    name: str,
    phase: str | None = None,
    *,
    pods: int = 0,
    rollout: dict | None = None,
    serving: dict | None = None,
    deleting: bool = False,
    since: float = 0.0,
    created: float = 0.0,
    **status,
) -> Version:
    """A version named v1, v2 ... whose digest follows from its name."""
    spec = ModelVersionSpec.model_validate(
        {
            "model": MODEL,
            "version": f"{name[1:]}.0.0",
            "artifact": {"uri": f"store://models/{name}", "digest": digest(name[1])},
            "rollout": rollout or {},
            "serving": serving or {},
        }
    )
    written = ModelVersionStatus.model_validate(
        {"phase": phase, "phaseSince": stamp(NOW - timedelta(seconds=since)) if phase else None, **status}
    )
    return Version(
        name=name,
        uid=f"uid-{name}",
        generation=1,
        created=NOW - timedelta(days=30 - int(name[1:])) + timedelta(seconds=created),
        spec=spec,
        status=written,
        deleting=deleting,
        finalizer=True,
        artifact=Artifact(uri=f"store://models/{name}", digest=digest(name[1])),
        workload=Workload(pods) if pods else None,
        pods=tuple(pod(f"{name}-{i}") for i in range(pods)),
    )


def observed(
    *versions: Version,
    serves: str | None = None,
    paired: PairedCounts | None = None,
    strata: dict[str, PairedCounts] | None = None,
    **more,
) -> Observation:
    """An observation; ``paired`` is what the champion (first version) counted against the second, also by stratum."""
    record = more.pop("record", ModelRecord())
    if paired is not None:
        champion, challenger = versions[0].artifact.digest, versions[1].artifact.digest
        key = instance_key(champion, "i1")
        counts = {"paired": {challenger: {key: paired}}, "strata": {challenger: {key: strata}} if strata else {}}
        record = record.model_copy(update={"ledger": record.ledger.model_copy(update=counts)})
    service = ModelService(serves, ours=True) if serves else None
    return Observation("clinic", MODEL, versions, more.pop("service", service), record, **more)


def decide(observation: Observation, seconds: float = 0.0) -> Decision:
    return advance(observation, NOW + timedelta(seconds=seconds))


def phases(decision: Decision) -> dict[str, str]:
    return {name: status.phase for name, status in decision.statuses.items()}


def condition(decision: Decision, name: str, type_: str):
    return next((c for c in decision.statuses[name].conditions if c.type == type_), None)


def clean(pairs: int, **more) -> PairedCounts:
    """Pairs in which nothing went wrong."""
    return PairedCounts(pairs=pairs, compared=pairs, requests=pairs, answered=pairs // 10, opening_pairs=20, **more)


SCORE = FeatureReference(name="score", kind="numeric", edges=(0.2, 0.4, 0.6, 0.8), counts=(200,) * 5 + (0, 0, 0))
AGE = FeatureReference(name="age", kind="numeric", edges=(40, 50, 60, 70), counts=(200,) * 5 + (0, 0, 0))


def documents(name: str) -> BundleDocuments:
    return BundleDocuments(
        digest=digest(name[1]),
        signature=Signature(
            model=MODEL,
            version=f"{name[1:]}.0.0",
            inputs=({"name": "age", "kind": "numeric"},),
            label="outcome",
            positive="dead",
            operating_threshold=0.5,
        ),
        reference=ReferenceProfile(rows=1000, features=(AGE,), score=SCORE),
        evaluation=Evaluation(train_rows=1000, test_rows=100, test_events=20, metrics=()),
        parity=ParityReport(rows=100, max_abs_difference=1e-7, tolerance=1e-5, passed=True, opset=18),
    )


def monitor(name: str = "watch", status: dict | None = None, **spec) -> Monitor:
    spec = {"model": MODEL, "interval": "1m", "tests": {"minimumRows": 20}, **spec}
    return Monitor(name, 1, DriftMonitorSpec.model_validate(spec), DriftMonitorStatus.model_validate(status or {}))


def counted(age: tuple[int, ...], score: tuple[int, ...] | None = None) -> ProfileCounts:
    cells = (*age, 0, 0, 0)
    return ProfileCounts(rows=sum(age), features={"age": cells, "score": (*(score or age), 0, 0, 0)})


def with_profile(
    observation: Observation, name: str, counts: ProfileCounts, windows: dict | None = None
) -> Observation:
    ledger = Ledger(profiles={digest(name[1]): {"i1": counts}}, windows=windows or {})
    return replace(observation, record=observation.record.model_copy(update={"ledger": ledger}))


ONE_STEP = {"steps": [{"weight": 10, "minRequests": 100}]}
CANARY = {"champion": "v1", "step": 0, "stepPairs": 0, "stepSince": "2026-01-01T12:00:00Z"}


def champion(**more):
    return version("v1", "Champion", pods=more.pop("pods", 1), **more)


def canary(**more):
    return version(
        "v2",
        more.pop("phase", "Canary"),
        pods=more.pop("pods", 1),
        rollout=more.pop("rollout", ONE_STEP),
        **{**CANARY, **more},
    )
