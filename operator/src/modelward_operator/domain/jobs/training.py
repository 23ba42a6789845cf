"""A TrainingJob: the Job, its progress, its outcome, and the ModelVersion that it creates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from modelward_api.bundle.documents import Metric
from modelward_api.resources.conditions import find
from modelward_api.resources.reasons import ConditionType, Reason
from modelward_api.resources.trainingjob import TrainingJobSpec, TrainingJobStatus
from modelward_api.wire.exchange import Step, TrainingOutcome, TrainingProgress
from modelward_operator.domain.core import chain
from modelward_operator.domain.core.clock import stamp
from modelward_operator.domain.core.conditions import Detail, State, Summary, conclude
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.core.note import Note
from modelward_operator.domain.jobs.refusal import again, remembered

PROGRESS_PERIOD = 2.0
"""Seconds between two requests for a training pod's progress."""

STEPS: Mapping[Step, str] = {
    "load": "loading the data",
    "check": "checking the data",
    "split": "splitting the data",
    "fit": "fitting the model",
    "calibrate": "calibrating the model",
    "evaluate": "evaluating the model",
    "export": "exporting the model to ONNX",
    "bundle": "writing the bundle",
    "done": "done",
}
"""The text for each step."""

TrainingPhase = Literal["Pending", "Suspended", "Running", "Complete", "Failed"]


@dataclass(frozen=True, slots=True)
class TrainingObservation:
    """The input of one reconcile of one TrainingJob."""

    namespace: str
    name: str
    uid: str
    generation: int
    spec: TrainingJobSpec
    status: TrainingJobStatus
    job_exists: bool = False
    job_suspended: bool = False
    job_failure: Failure | None = None
    """The Job's own verdict: BackoffLimitExceeded, DeadlineExceeded, PodFailurePolicy."""
    job_complete: bool = False
    pod_problem: Failure | None = None
    """Why the newest pod does not run: ImagePullBackOff, OOMKilled, Evicted ..., or its termination message."""
    progress: TrainingProgress | None = None
    outcome: TrainingOutcome | None = None
    """The termination message of the newest pod that ended, if it could be read."""
    model_version: str | None = None
    """The name of the ModelVersion that this job created, if it exists."""
    name_taken: bool = False
    """Whether a ModelVersion with that name exists that this job did not create."""
    version_refused: Failure | None = None
    """Why the API server refused the ModelVersion of spec.promote."""


@dataclass(frozen=True, slots=True)
class TrainingDecision:
    """The desired state after one reconcile of one TrainingJob."""

    status: TrainingJobStatus
    create_job: bool = False
    suspend_job: bool | None = None
    """The new spec.suspend of the Job, if it must change."""
    create_version: str | None = None
    """The name of the ModelVersion to create from spec.promote and the outcome."""
    notes: tuple[Note, ...] = ()
    requeue_after: float | None = None


@dataclass(frozen=True, slots=True)
class TrainingStage:
    """The next state of a TrainingJob, and the reason for it."""

    phase: TrainingPhase
    reason: str
    message: str
    stalled: bool = False


Check = Callable[[TrainingObservation], TrainingStage | None]


def train(observation: TrainingObservation, now: datetime) -> TrainingDecision:
    """Return the desired state for an observation."""
    stage = chain.decide(CHECKS, observation)
    running = stage.phase in ("Pending", "Running")
    suspend = observation.spec.suspend
    return TrainingDecision(
        status=_status(observation, stage, now),
        create_job=running and not observation.job_exists,
        suspend_job=suspend
        if observation.job_exists and running_or_suspended(stage) and _differs(observation)
        else None,
        create_version=_version_to_create(observation, stage),
        notes=_notes(observation, stage),
        requeue_after=PROGRESS_PERIOD if running else None,
    )


def refused(observation: TrainingObservation, failure: Failure, now: datetime) -> TrainingDecision:
    """Return the decision after the API server refused an object. It is retried."""
    stage = TrainingStage("Pending", failure.reason, failure.message)
    if observation.job_exists and (phase := observation.status.phase) is not None:
        stage = TrainingStage(phase, failure.reason, failure.message, stalled=phase == "Complete")
    ready = next((c for c in observation.status.conditions if c.type == ConditionType.READY), None)
    news = ready is None or ready.reason != failure.reason
    note = Note("TrainingJob", observation.name, "Warning", failure.reason, failure.message)
    return TrainingDecision(
        status=_status(observation, stage, now),
        notes=(note,) if news else (),
        requeue_after=again(observation.status.conditions, now),
    )


def version_name(spec: TrainingJobSpec) -> str:
    """Return the name of the ModelVersion that the job creates."""
    if spec.promote is not None and spec.promote.name:
        return spec.promote.name
    return f"{spec.model}-{spec.version}".replace(".", "-").replace("+", "-").lower()


def running_or_suspended(stage: TrainingStage) -> bool:
    """Whether the Job may still run."""
    return stage.phase in ("Pending", "Running", "Suspended")


def has_failed(observation: TrainingObservation) -> TrainingStage | None:
    """It has failed: a TrainingJob never runs twice."""
    if observation.status.phase != "Failed":
        return None
    ready = next((c for c in observation.status.conditions if c.type == ConditionType.FAILED), None)
    reason = ready.reason if ready else Reason.FAILED
    return TrainingStage("Failed", reason, observation.status.message or "", stalled=True)


def is_complete(observation: TrainingObservation) -> TrainingStage | None:
    """The Job has succeeded and the bundle exists: create the ModelVersion."""
    if observation.status.phase != "Complete" and not (observation.job_complete and _says_done(observation)):
        return None
    if observation.spec.promote is None or observation.model_version is not None:
        return TrainingStage("Complete", Reason.TRAINED, _complete_message(observation))
    name = version_name(observation.spec)
    if observation.name_taken:
        message = (
            f"Trained, but ModelVersion {name} exists and was not created by this job: "
            "set spec.promote.name to another name"
        )
        return TrainingStage("Complete", Reason.NAME_TAKEN, message, stalled=True)
    if (refused := observation.version_refused) is not None:
        return TrainingStage("Complete", refused.reason, refused.message, stalled=True)
    if (refusal := remembered(observation.status.conditions)) is not None and observation.status.phase == "Complete":
        return TrainingStage("Complete", refusal.reason, refusal.message, stalled=True)  # it is being retried
    return TrainingStage("Complete", Reason.TRAINED, f"Trained; creating ModelVersion {name}")


def fails(observation: TrainingObservation) -> TrainingStage | None:
    """The Job has failed: report the pod's reason, else the Job's. A pod that finishes too late changes nothing."""
    failure = observation.job_failure
    if failure is None or (observation.status.phase == "Complete" and failure.reason == Reason.NAME_TAKEN):
        return None  # a foreign Job that appeared after this one had succeeded
    outcome = observation.outcome
    if outcome is not None and not outcome.succeeded and outcome.reason != Reason.TERMINATED:
        where = f"{outcome.field}: " if outcome.field and not outcome.message.startswith(outcome.field) else ""
        return TrainingStage("Failed", outcome.reason, f"{where}{outcome.message}", stalled=True)
    failure = _cause(failure, observation)
    late = ". Its pod produced a bundle after that, which is not used" if _says_done(observation) else ""
    return TrainingStage("Failed", failure.reason, f"{failure.message}{late}", stalled=True)


def _cause(verdict: Failure, observation: TrainingObservation) -> Failure:
    """Return why the Job failed: its own reason says only how often, or for how long, it tried."""
    problem = observation.pod_problem
    if verdict.reason == Reason.BACKOFF_LIMIT_EXCEEDED and problem is not None:
        return problem
    if verdict.reason == Reason.DEADLINE_EXCEEDED:
        before = find(observation.status.conditions, ConditionType.READY)
        last = problem or (Failure(before.reason, before.message) if before else None)
        if last is not None and last.reason not in (Reason.STARTING, Reason.TRAINING, Reason.SUSPENDED):
            return Failure(verdict.reason, f"spec.activeDeadline was exceeded; the last problem: {last.message}")
    return verdict


def lost_its_outcome(observation: TrainingObservation) -> TrainingStage | None:
    """The Job is complete, and no pod is left to report the outcome."""
    if not observation.job_complete:
        return None
    message = (
        "The training pod ended and was removed before its outcome was read: delete this TrainingJob and apply it again"
    )
    return TrainingStage("Failed", Reason.OUTCOME_LOST, message, stalled=True)


def is_ending(observation: TrainingObservation) -> TrainingStage | None:
    """Its pod has finished, and the Job is not complete yet: its deadline may have passed meanwhile."""
    if not _says_done(observation) or not observation.job_exists:
        return None
    return TrainingStage("Running", Reason.ENDING, "The pod has produced a bundle; waiting for the Job to complete")


def is_suspended(observation: TrainingObservation) -> TrainingStage | None:
    """spec.suspend is set."""
    if not observation.spec.suspend:
        return None
    return TrainingStage("Suspended", Reason.SUSPENDED, "Suspended by spec.suspend. Set it to false to continue")


def is_starting(observation: TrainingObservation) -> TrainingStage | None:
    """No pod is running yet."""
    problem = observation.pod_problem
    if problem is None and not observation.job_exists:
        problem = remembered(observation.status.conditions)  # it is being retried
    if problem is not None:
        return TrainingStage("Pending", problem.reason, problem.message)
    if observation.job_exists and observation.progress is not None:
        return None
    return TrainingStage(
        "Running" if observation.status.phase == "Running" and observation.job_exists else "Pending",
        Reason.STARTING,
        "Waiting for the training pod to start" if observation.job_exists else "Creating the Job",
    )


def is_running(observation: TrainingObservation) -> TrainingStage | None:
    """Its pod reports progress."""
    progress = observation.progress
    if progress is None:
        return None
    words = STEPS[progress.step]
    return TrainingStage("Running", Reason.TRAINING, f"{words}: {progress.message}" if progress.message else words)


CHECKS: tuple[Check, ...] = (
    has_failed,
    fails,
    is_complete,
    is_ending,
    lost_its_outcome,
    is_suspended,
    is_starting,
    is_running,
)


def _says_done(observation: TrainingObservation) -> bool:
    return observation.outcome is not None and observation.outcome.succeeded


def _differs(observation: TrainingObservation) -> bool:
    return observation.job_suspended != observation.spec.suspend


def _version_to_create(observation: TrainingObservation, stage: TrainingStage) -> str | None:
    wanted = stage.phase == "Complete" and observation.spec.promote is not None
    if not wanted or observation.model_version is not None or observation.name_taken or observation.version_refused:
        return None
    if observation.status.model_version is not None:
        return None  # it was created once; whoever deleted it wants it gone
    return version_name(observation.spec)


def _complete_message(observation: TrainingObservation) -> str:
    made = observation.model_version or observation.status.model_version
    return (
        f"Trained; ModelVersion {made} created" if made else "Trained; apply a ModelVersion with the bundle to serve it"
    )


def _status(observation: TrainingObservation, stage: TrainingStage, now: datetime) -> TrainingJobStatus:
    old = observation.status
    begun = stage.phase not in ("Pending", "Suspended")
    over = stage.phase in ("Complete", "Failed")
    update: dict[str, object] = {
        "observed_generation": observation.generation,
        "phase": stage.phase,
        "message": stage.message,
        "started": old.started or (stamp(now) if begun else None),
        "finished": old.finished or (stamp(now) if over else None),
        "step": observation.progress.step if observation.progress else old.step,
        "model_version": observation.model_version or old.model_version,
        "conditions": conclude(old.conditions, observation.generation, now, _summary(stage)),
    }
    if observation.outcome is not None and over and old.phase not in ("Complete", "Failed"):
        update |= _results(observation.outcome)
    return old.model_copy(update=update)


def _results(outcome: TrainingOutcome) -> dict[str, object]:
    auroc = next((m for m in outcome.metrics if m.name == "auroc"), None)
    parity = outcome.parity_max_abs_difference
    return {
        "metrics": outcome.metrics,
        "auroc": _with_interval(auroc) if auroc else None,
        "train_rows": outcome.train_rows or None,
        "test_rows": outcome.test_rows or None,
        "parity": None if parity is None else f"{parity:.2g}",
        "warnings": outcome.warnings,
        "findings": outcome.findings,
        "report": outcome.report,
        "data_digest": outcome.data_digest,
        "uri": outcome.uri,
        "digest": outcome.digest,
        **({"step": "done"} if outcome.succeeded else {}),
    }


def _with_interval(metric: Metric) -> str:
    interval = "" if metric.lower is None or metric.upper is None else f" ({metric.lower:.3f} to {metric.upper:.3f})"
    return f"{metric.estimate:.3f}{interval}"


def _summary(stage: TrainingStage) -> Summary:
    def state(holds: bool) -> State:
        return "True" if holds else "False"

    return Summary(
        state(stage.phase == "Complete" and not stage.stalled),
        stage.reason,
        stage.message,
        reconciling=stage.phase in ("Pending", "Running"),
        stalled=stage.stalled,
        others=(
            Detail(ConditionType.SUSPENDED, state(stage.phase == "Suspended"), stage.reason),
            *(
                Detail(phase, state(stage.phase == phase), stage.reason, stage.message if stage.phase == phase else "")
                for phase in ("Complete", "Failed")
            ),
        ),
    )


def _notes(observation: TrainingObservation, stage: TrainingStage) -> tuple[Note, ...]:
    if observation.status.phase == stage.phase:
        return ()
    kind: Literal["Normal", "Warning"] = "Warning" if stage.phase == "Failed" else "Normal"
    return (Note("TrainingJob", observation.name, kind, stage.reason, f"{stage.phase}: {stage.message}"),)
