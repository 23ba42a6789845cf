"""The operator's Prometheus metrics: counts and states only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

from modelward_api.resources.modelversion import ModelVersionStatus
from modelward_api.resources.reasons import Reason
from modelward_operator.domain.rollout.decision import Decision

RECONCILES = Counter("modelward_reconciles", "Reconciles.", ["kind"])
FAILURES = Counter("modelward_reconcile_failures", "Reconciles that ended in an error.", ["kind"])
CONFLICTS = Counter("modelward_reconcile_conflicts", "Reconciles that met a conflicting write.", ["kind"])
SECONDS = Histogram("modelward_reconcile_seconds", "Duration of a reconcile.", ["kind"])
API_CALLS = Counter("modelward_api_calls", "Calls to the API server.", ["verb", "resource"])
LEADER = Gauge("modelward_leader", "1 while this operator leads, 0 while it stands by.")
EPOCH = Gauge("modelward_leadership_epoch", "The epoch in which it leads; 0 while it stands by.")
MODELS = Gauge("modelward_models", "Models that this process reconciles.")
QUEUED = Gauge("modelward_queue_depth", "Keys waiting for a worker.")
PHASE = Gauge(
    "modelward_modelversion_phase", "1 for the phase that a version is in.", ["namespace", "model", "name", "phase"]
)
WEIGHT = Gauge("modelward_modelversion_weight", "Requested percentage of requests.", ["namespace", "model", "name"])
EVIDENCE = Gauge(
    "modelward_evidence_log",
    "Logarithm of the evidence for harm, by signal.",
    ["namespace", "model", "name", "signal"],
)
PAIRS = Gauge("modelward_evidence_pairs", "Pairs that a signal rests on.", ["namespace", "model", "name", "signal"])
SUBGROUPS = Gauge(
    "modelward_subgroup_evidence_log",
    "Logarithm of the evidence for harm in a subgroup, by its worst signal; 0 while it rests on too few.",
    ["namespace", "model", "name", "stratum"],
)
LOST = Counter(
    "modelward_records_lost",
    "Records or quarantines that were deleted by others, and counts that could not be opened.",
    ["namespace", "model"],
)
DRIFTING = Gauge("modelward_drift", "1 while a monitor calls drift.", ["namespace", "model", "monitor"])
TRANSITIONS = Counter("modelward_transitions", "Transitions of versions, by reason.", ["namespace", "model", "reason"])

_phases: dict[tuple[str, str], dict[str, str]] = {}
"""By namespace and model: the phase that is exported for each version."""
_signals: dict[tuple[str, str, str], set[str]] = {}
_strata: dict[tuple[str, str, str], set[str]] = {}
_monitors: dict[tuple[str, str], set[str]] = {}


@contextmanager
def reconcile(kind: str) -> Iterator[None]:
    """Count and time one reconcile."""
    started = time.perf_counter()
    RECONCILES.labels(kind).inc()
    try:
        yield
    except Exception:
        FAILURES.labels(kind).inc()
        raise
    finally:
        SECONDS.labels(kind).observe(time.perf_counter() - started)


def export(namespace: str, model: str, decision: Decision) -> None:
    """Export the state of a model after a decision, and remove the series of what is gone."""
    exported = _phases.setdefault((namespace, model), {})
    for name in exported.keys() - decision.statuses.keys():
        PHASE.remove(namespace, model, name, exported.pop(name))
        WEIGHT.remove(namespace, model, name)
        _forget_evidence((namespace, model, name))
    for name, status in decision.statuses.items():
        key, phase = (namespace, model, name), status.phase or "Pending"
        if (before := exported.get(name)) not in (None, phase):
            PHASE.remove(*key, before)
        exported[name] = phase
        PHASE.labels(*key, phase).set(1)
        WEIGHT.labels(*key).set(status.weight.requested if status.weight else 0)
        _export_evidence(key, status)
    if not exported:
        del _phases[namespace, model]
    MODELS.set(len(_phases))
    _export_drift(namespace, model, decision)
    for note in decision.notes:
        TRANSITIONS.labels(namespace, model, note.reason).inc()
        if note.reason == Reason.RECORD_LOST:
            LOST.labels(namespace, model).inc()


def _export_drift(namespace: str, model: str, decision: Decision) -> None:
    exported = _monitors.setdefault((namespace, model), set())
    for name in exported - decision.monitors.keys():
        exported.discard(name)
        DRIFTING.remove(namespace, model, name)
    for name, monitor in decision.monitors.items():
        exported.add(name)
        DRIFTING.labels(namespace, model, name).set(monitor.state == "Drifting")


def _export_evidence(key: tuple[str, str, str], status: ModelVersionStatus) -> None:
    if status.phase not in ("Shadow", "Canary", "Promoting"):
        _forget_evidence(key)
        return
    for signal in status.evidence:
        _signals.setdefault(key, set()).add(signal.name)
        EVIDENCE.labels(*key, signal.name).set(signal.log_evidence or 0.0)
        PAIRS.labels(*key, signal.name).set(signal.samples)
    for stratum in _strata.get(key, set()) - {subgroup.stratum for subgroup in status.subgroups}:
        SUBGROUPS.remove(*key, stratum)
    _strata[key] = {subgroup.stratum for subgroup in status.subgroups}
    for subgroup in status.subgroups:
        SUBGROUPS.labels(*key, subgroup.stratum).set(subgroup.log_evidence or 0.0)


def _forget_evidence(key: tuple[str, str, str]) -> None:
    for signal in _signals.pop(key, set()):
        EVIDENCE.remove(*key, signal)
        PAIRS.remove(*key, signal)
    for stratum in _strata.pop(key, set()):
        SUBGROUPS.remove(*key, stratum)
