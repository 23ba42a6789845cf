"""What Prometheus may ask of the operator. Counts and states only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Gauge, Histogram

from modelward_api.modelversion import ModelVersionStatus
from modelward_operator.domain.decision import Decision

RECONCILES = Counter("modelward_reconciles", "Reconciles.", ["kind"])
FAILURES = Counter("modelward_reconcile_failures", "Reconciles that ended in an error.", ["kind"])
CONFLICTS = Counter("modelward_reconcile_conflicts", "Reconciles that found somebody else's write.", ["kind"])
SECONDS = Histogram("modelward_reconcile_seconds", "Duration of a reconcile.", ["kind"])
LEADER = Gauge("modelward_leader", "1 while this operator leads, 0 while it stands by.")
EPOCH = Gauge("modelward_leadership_epoch", "The epoch in which it leads; 0 while it stands by.")
QUEUED = Gauge("modelward_queue_depth", "Keys waiting for a worker.")
PHASE = Gauge(
    "modelward_modelversion_phase", "1 for the phase that a version is in.", ["namespace", "model", "name", "phase"]
)
WEIGHT = Gauge("modelward_modelversion_weight", "Requested percentage of callers.", ["namespace", "model", "name"])
EVIDENCE = Gauge(
    "modelward_evidence_log",
    "Logarithm of the evidence for harm, by signal.",
    ["namespace", "model", "name", "signal"],
)
PAIRS = Gauge("modelward_evidence_pairs", "Pairs that a signal rests on.", ["namespace", "model", "name", "signal"])
DRIFTING = Gauge("modelward_drift", "1 while a monitor calls drift.", ["namespace", "model", "monitor"])
TRANSITIONS = Counter("modelward_transitions", "Transitions of versions, by reason.", ["namespace", "model", "reason"])

_phases: dict[tuple[str, str, str], str] = {}
_signals: dict[tuple[str, str, str], set[str]] = {}
_monitors: set[tuple[str, str, str]] = set()


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


def tell(namespace: str, model: str, decision: Decision) -> None:
    """The state of a model after a decision; what is gone is no longer told."""
    for key in [k for k in _phases if k[:2] == (namespace, model) and k[2] not in decision.statuses]:
        PHASE.remove(*key, _phases.pop(key))
        WEIGHT.remove(*key)
        _forget_evidence(key)
    for name, status in decision.statuses.items():
        key, phase = (namespace, model, name), status.phase or "Pending"
        if (before := _phases.get(key)) not in (None, phase):
            PHASE.remove(*key, before)
        _phases[key] = phase
        PHASE.labels(*key, phase).set(1)
        WEIGHT.labels(*key).set(status.weight.requested if status.weight else 0)
        _tell_evidence(key, status)
    for key in [k for k in _monitors if k[:2] == (namespace, model) and k[2] not in decision.monitors]:
        _monitors.discard(key)
        DRIFTING.remove(*key)
    for name, monitor in decision.monitors.items():
        _monitors.add((namespace, model, name))
        DRIFTING.labels(namespace, model, name).set(monitor.state == "Drifting")
    for note in decision.notes:
        TRANSITIONS.labels(namespace, model, note.reason).inc()


def _tell_evidence(key: tuple[str, str, str], status: ModelVersionStatus) -> None:
    if status.phase not in ("Shadow", "Canary", "Promoting"):
        _forget_evidence(key)
        return
    for signal in status.evidence:
        _signals.setdefault(key, set()).add(signal.name)
        EVIDENCE.labels(*key, signal.name).set(signal.log_evidence or 0.0)
        PAIRS.labels(*key, signal.name).set(signal.samples)


def _forget_evidence(key: tuple[str, str, str]) -> None:
    for signal in _signals.pop(key, set()):
        EVIDENCE.remove(*key, signal)
        PAIRS.remove(*key, signal)
