"""A ScoreBatch: the choice of a version, the Job, and the results of its shards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from modelward_api.resources.modelversion import Artifact
from modelward_api.resources.reasons import RETRIED, UNFETCHABLE, ConditionType, Reason
from modelward_api.resources.scorebatch import ScoreBatchSpec, ScoreBatchStatus
from modelward_api.wire.exchange import BatchOutcome
from modelward_operator.domain.core import chain
from modelward_operator.domain.core.clock import stamp
from modelward_operator.domain.core.conditions import Detail, Summary, conclude
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.core.note import Note
from modelward_operator.domain.jobs.refusal import again, remembered
from modelward_operator.domain.rollout.observation import Observation, Version
from modelward_operator.domain.rollout.plan import REFUSED
from modelward_operator.domain.rollout.roles import assign_roles, quarantined

UNTIL_CHOSEN = 10.0
"""Seconds between two looks for a version: a model's events do not reach the ScoreBatches that wait for it."""
WHILE_RUNNING = 15.0
"""Seconds between two reconciles of a running Job without an event."""

BatchPhase = Literal["Pending", "Running", "Complete", "Failed"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The version that a ScoreBatch scores with. It never changes."""

    model_version: str
    version: str
    artifact: Artifact


@dataclass(frozen=True, slots=True)
class BatchJob:
    """The Job of a ScoreBatch."""

    chosen: Chosen | None
    """The version that it was created with; None if its annotations are gone."""
    suspended: bool = False
    parallelism: int = 1
    done: int = 0
    """The number of finished shards."""
    started: str | None = None
    finished: str | None = None
    complete: bool = False
    failure: Failure | None = None
    """The Job's own verdict: BackoffLimitExceeded, DeadlineExceeded, PodFailurePolicy."""


@dataclass(frozen=True, slots=True)
class BatchObservation:
    """The input of one reconcile of one ScoreBatch."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: ScoreBatchSpec
    status: ScoreBatchStatus
    model: Observation | Failure | None = None
    """The model and its versions, while none is chosen; or why the model's record cannot be used."""
    job: BatchJob | None = None
    taken: Failure | None = None
    """Why a foreign Job has the name of this one."""
    running: bool = False
    """Whether a pod is running."""
    outcomes: tuple[BatchOutcome, ...] = ()
    """The outcomes of the pods that ended, in the order of their creation."""
    pod_problem: Failure | None = None
    """Why pods cannot run, or why the newest failed one failed, among the last pods of each shard."""


@dataclass(frozen=True, slots=True)
class BatchDecision:
    """The desired state after one reconcile of one ScoreBatch. The status is written first: it fixes the version."""

    status: ScoreBatchStatus
    create_job: Chosen | None = None
    """The version to create the Job with."""
    suspend_job: bool | None = None
    """The new spec.suspend of the Job, if it must change."""
    parallelism: int | None = None
    """The new spec.parallelism of the Job, if it must change."""
    notes: tuple[Note, ...] = ()
    requeue_after: float | None = None


@dataclass(frozen=True, slots=True)
class BatchStage:
    """The next state of a ScoreBatch, and the reason for it."""

    phase: BatchPhase
    reason: str
    message: str
    stalled: bool = False
    again: float | None = None
    """Seconds until the next reconcile."""


Check = Callable[[BatchObservation], BatchStage | None]

MENDS_ITSELF = (Reason.ARTIFACT_AWAITED, Reason.MODEL_NOT_FOUND, Reason.VERSION_NOT_FOUND, Reason.NO_CHAMPION)
"""Reasons for having no version that applying or promoting one resolves."""


def score(observation: BatchObservation, now: datetime) -> BatchDecision:
    """Return the desired state for an observation."""
    chosen = choice(observation)
    stage = chain.decide(CHECKS, observation)
    active = stage.phase in ("Pending", "Running")
    wanted = observation.spec
    job = observation.job if observation.job and not (observation.job.complete or observation.job.failure) else None
    suspend = wanted.suspend or stage.phase == "Failed"
    create = active and observation.job is None and isinstance(chosen, Chosen) and not wanted.suspend
    parallelism = min(wanted.parallelism, wanted.shards)
    return BatchDecision(
        status=_status(observation, stage, chosen if isinstance(chosen, Chosen) else None, now),
        create_job=chosen if create and isinstance(chosen, Chosen) else None,
        suspend_job=suspend if job is not None and job.suspended != suspend else None,
        parallelism=parallelism if active and job is not None and job.parallelism != parallelism else None,
        notes=_notes(observation, stage),
        requeue_after=stage.again,
    )


def refused(observation: BatchObservation, failure: Failure, now: datetime) -> BatchDecision:
    """Return the decision after the API server refused the Job, or a change of it. It is retried."""
    chosen = choice(observation)
    phase: BatchPhase = observation.status.phase if observation.job and observation.status.phase else "Pending"
    ready = next((c for c in observation.status.conditions if c.type == ConditionType.READY), None)
    news = ready is None or ready.reason != failure.reason
    note = Note("ScoreBatch", observation.name, "Warning", failure.reason, failure.message)
    stage = BatchStage(phase, failure.reason, failure.message)
    return BatchDecision(
        status=_status(observation, stage, chosen if isinstance(chosen, Chosen) else None, now),
        notes=(note,) if news else (),
        requeue_after=again(observation.status.conditions, now),
    )


def choice(observation: BatchObservation) -> Chosen | Failure | None:
    """Return the version: the Job's, else the status', else the one to choose now; or why there is none."""
    if observation.job is not None and observation.job.chosen is not None:
        return observation.job.chosen
    status = observation.status
    if status.model_version and status.version and status.digest and status.bundle_uri:
        return Chosen(status.model_version, status.version, Artifact(uri=status.bundle_uri, digest=status.digest))
    if observation.model is None or observation.spec.suspend:
        return None
    if isinstance(observation.model, Failure):
        return observation.model
    return _choose(observation.model, observation.spec.version)


def _choose(model: Observation, version: str | None) -> Chosen | Failure:
    present = [v for v in model.versions if not v.deleting]
    if not present:
        message = f"spec.model: no ModelVersion of {model.model} exists in this namespace: apply one, or train one"
        return Failure(Reason.MODEL_NOT_FOUND, message)
    if version is None:
        champion = assign_roles(model).champion
        if champion is None or champion.deleting:
            message = f"model {model.model} has no champion: promote a version, or set spec.version"
            return Failure(Reason.NO_CHAMPION, message)
        return _usable(model, champion, "spec.model")
    named = [v for v in present if v.spec.version == version]
    if not named:
        known = ", ".join(sorted(v.spec.version for v in present)[:10])
        return Failure(
            Reason.VERSION_NOT_FOUND, f"spec.version: {model.model} has no version {version}; it has {known}"
        )
    # Two ModelVersions may have the same version: take the one that serves, else the first.
    named.sort(key=lambda v: (v.status.phase in REFUSED, v.status.phase != "Champion", v.created, v.name))
    return _usable(model, named[0], "spec.version")


def _usable(model: Observation, version: Version, field: str) -> Chosen | Failure:
    """Return the version if it may score: a version that was rolled back may not."""
    artifact, phase = version.artifact, version.status.phase
    if phase in REFUSED or (artifact is not None and quarantined(model, artifact.digest) is not None):
        message = f"{field}: ModelVersion {version.name} is {phase or 'quarantined'}: choose another version"
        return Failure(Reason.VERSION_REFUSED, message)
    if artifact is None:
        return version.artifact_failure or Failure(
            Reason.ARTIFACT_AWAITED, f"ModelVersion {version.name} has no bundle yet: waiting for it"
        )
    return Chosen(version.name, version.spec.version, artifact)


def has_ended(observation: BatchObservation) -> BatchStage | None:
    """It is complete or has failed: a ScoreBatch never runs twice."""
    status = observation.status
    if status.phase not in ("Complete", "Failed"):
        return None
    ended = next((c for c in status.conditions if c.type == status.phase), None)
    reason = ended.reason if ended else status.phase
    return BatchStage(status.phase, reason, status.message or "", stalled=status.phase == "Failed")


def is_in_the_way(observation: BatchObservation) -> BatchStage | None:
    """A foreign Job has its Job's name."""
    if observation.taken is None:
        return None
    return BatchStage("Failed", observation.taken.reason, observation.taken.message, stalled=True)


def saw_different_inputs(observation: BatchObservation) -> BatchStage | None:
    """The files changed while the shards read them: rows may be duplicated or missing."""
    if len({o.input_digest for o in observation.outcomes if o.succeeded}) <= 1:
        return None
    message = (
        "spec.input.uri: the files changed while they were scored: apply a new ScoreBatch once all files are in place"
    )
    return BatchStage("Failed", Reason.INPUT_CHANGED, message, stalled=True)


def fails(observation: BatchObservation) -> BatchStage | None:
    """The Job has failed: report the pod's reason, else the Job's."""
    if observation.job is None or observation.job.failure is None:
        return None
    # Pods that were stopped because another had bad input report nothing of their own.
    lasting = [o for o in observation.outcomes if not o.succeeded and o.reason not in RETRIED]
    failure = reported_failure(lasting[-1]) if lasting else _of_bundle(observation.pod_problem, observation.job)
    if failure is None or observation.job.failure.reason == Reason.DEADLINE_EXCEEDED:
        failure = _late(observation, observation.job.failure)
    return BatchStage("Failed", failure.reason, failure.message, stalled=True)


def _late(observation: BatchObservation, verdict: Failure) -> Failure:
    """Return the Job's verdict; for an exceeded deadline, with the last problem."""
    before = next((c for c in observation.status.conditions if c.type == ConditionType.READY), None)
    last = observation.pod_problem or (Failure(before.reason, before.message) if before else None)
    if (
        verdict.reason != Reason.DEADLINE_EXCEEDED
        or last is None
        or last.reason in (Reason.STARTING, Reason.SCORING, Reason.SUSPENDED)
    ):
        return verdict
    return Failure(verdict.reason, f"spec.activeDeadline was exceeded; the last problem: {last.message}")


def is_complete(observation: BatchObservation) -> BatchStage | None:
    """All shards are finished."""
    if observation.job is None or not observation.job.complete:
        return None
    counts = _counts(observation)
    least = "" if counts["invalid"] is not None else "at least "
    message = f"{least}{counts['scored']} of {counts['rows']} rows scored"
    if _heard(observation) < observation.spec.shards:
        message += "; some pods were removed before their counts were read: see the shards' results for all"
    return BatchStage("Complete", Reason.SCORED, message)


def is_suspended(observation: BatchObservation) -> BatchStage | None:
    """spec.suspend is set."""
    if not observation.spec.suspend:
        return None
    return BatchStage("Pending", Reason.SUSPENDED, "Suspended by spec.suspend. Set it to false to continue")


def has_no_version(observation: BatchObservation) -> BatchStage | None:
    """No version is chosen yet."""
    chosen = choice(observation)
    if isinstance(chosen, Chosen):
        return None
    if chosen is None:
        return BatchStage("Pending", Reason.CHOOSING_VERSION, "Choosing the version to score with", again=UNTIL_CHOSEN)
    waits = chosen.reason in MENDS_ITSELF
    return BatchStage("Pending", chosen.reason, chosen.message, stalled=not waits, again=UNTIL_CHOSEN)


def is_starting(observation: BatchObservation) -> BatchStage | None:
    """No pod has started yet."""
    job = observation.job
    if job is not None and (observation.running or observation.outcomes or job.done):
        return None
    if observation.pod_problem is not None:
        return BatchStage(
            "Pending", observation.pod_problem.reason, observation.pod_problem.message, again=WHILE_RUNNING
        )
    if job is None and (refusal := remembered(observation.status.conditions)) is not None:
        return BatchStage("Pending", refusal.reason, refusal.message, again=WHILE_RUNNING)  # it is being retried
    message = "Creating the Job" if job is None else "Waiting for the pods to start"
    return BatchStage("Pending", Reason.STARTING, message, again=WHILE_RUNNING)


def is_running(observation: BatchObservation) -> BatchStage:
    """Its shards are being scored."""
    done = observation.job.done if observation.job else 0
    message = f"{done} of {observation.spec.shards} shards done"
    if observation.pod_problem is not None:
        message += f"; {observation.pod_problem.message}"
    return BatchStage("Running", Reason.SCORING, message, again=WHILE_RUNNING)


CHECKS: tuple[Check, ...] = (
    has_ended,
    is_in_the_way,
    saw_different_inputs,
    fails,
    is_complete,
    is_suspended,
    has_no_version,
    is_starting,
    is_running,
)


def reported_failure(outcome: BatchOutcome) -> Failure:
    """Return the failure that a pod reported."""
    where = f"{outcome.field}: " if outcome.field and not outcome.message.startswith(outcome.field) else ""
    return Failure(outcome.reason, f"{where}{outcome.message}")


def _of_bundle(failure: Failure | None, job: BatchJob) -> Failure | None:
    """Return the failure, naming the ModelVersion if it is about fetching the bundle."""
    if failure is None or failure.reason not in UNFETCHABLE or job.chosen is None:
        return failure
    return Failure(failure.reason, f"ModelVersion {job.chosen.model_version}: {failure.message}")


def _finished(observation: BatchObservation) -> dict[int, BatchOutcome]:
    return {o.shard: o for o in observation.outcomes if o.succeeded}


def _heard(observation: BatchObservation) -> int:
    """Return the number of shards whose counts are known."""
    return len(_finished(observation))


def _counts(observation: BatchObservation) -> dict[str, int | None]:
    """Return the sums over the finished shards. They never decrease, though pods may be removed."""
    shards, old = _finished(observation).values(), observation.status
    rows = sum(o.rows for o in shards)
    if rows < (old.rows or 0):
        return {"rows": old.rows, "scored": old.scored, "invalid": old.invalid, "rows_per_second": old.rows_per_second}
    seconds = sum(o.seconds for o in shards)
    return {
        "rows": rows,
        "scored": sum(o.scored for o in shards),
        "invalid": None if None in (told := [o.invalid for o in shards]) else sum(i or 0 for i in told),
        "rows_per_second": int(rows / seconds) if seconds else old.rows_per_second,
    }


def _status(observation: BatchObservation, stage: BatchStage, chosen: Chosen | None, now: datetime) -> ScoreBatchStatus:
    old, job = observation.status, observation.job
    update: dict[str, object] = {
        "observed_generation": observation.generation,
        "phase": stage.phase,
        "message": stage.message,
        "conditions": conclude(old.conditions, observation.generation, now, _summary(stage)),
    }
    if chosen is not None:
        update |= {
            "model_version": chosen.model_version,
            "version": chosen.version,
            "digest": chosen.artifact.digest,
            "bundle_uri": chosen.artifact.uri,
            "output": observation.spec.output.uri,
        }
    if old.phase not in ("Complete", "Failed") and job is not None:
        over = stage.phase in ("Complete", "Failed")
        update |= {
            **_counts(observation),
            "shards_done": max(job.done, old.shards_done or 0),
            "started": old.started or job.started,
            "finished": (job.finished or stamp(now)) if over else None,
            "input_digest": next((o.input_digest for o in _finished(observation).values()), old.input_digest),
        }
    return old.model_copy(update=update)


def _summary(stage: BatchStage) -> Summary:
    def state(phase: BatchPhase) -> Detail:
        holds = stage.phase == phase
        return Detail(phase, "True" if holds else "False", stage.reason, stage.message if holds else "")

    return Summary(
        "True" if stage.phase == "Complete" else "False",
        stage.reason,
        stage.message,
        reconciling=stage.phase in ("Pending", "Running") and not stage.stalled and stage.reason != Reason.SUSPENDED,
        stalled=stage.stalled,
        others=(state("Complete"), state("Failed")),
    )


def _notes(observation: BatchObservation, stage: BatchStage) -> tuple[Note, ...]:
    """Return Events for a new phase, and when a person must act."""
    ready = next((c for c in observation.status.conditions if c.type == ConditionType.READY), None)
    complains = stage.stalled and (ready is None or ready.reason != stage.reason)
    if observation.status.phase == stage.phase and not complains:
        return ()
    kind: Literal["Normal", "Warning"] = "Warning" if stage.stalled else "Normal"
    return (Note("ScoreBatch", observation.name, kind, stage.reason, f"{stage.phase}: {stage.message}"),)
