"""The rollout of one version: a chain of small checks, the first that applies decides.

Read :data:`CHECKS` from top to bottom: it is the rollout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from modelward_api.base import seconds
from modelward_api.bundle.documents import BundleDocuments
from modelward_api.resources.modelversion import Phase, RolloutStep
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.core import chain
from modelward_operator.domain.core.caller_auth import refused_for
from modelward_operator.domain.core.clock import elapsed, stamp
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.evidence.signals import Assessment
from modelward_operator.domain.rollout.observation import Version
from modelward_operator.domain.rollout.plan import Course, withdrawal
from modelward_operator.domain.rollout.size import beside, mirrored, pods

UNSERVABLE = frozenset(
    {
        "DigestMismatch",
        "ArtifactNotFound",
        "ArtifactUnreadable",
        "BadSignature",
        "ParityFailed",
        "ModelUnloadable",
        "ModelMismatch",
        "VersionMismatch",
    }
)
"""What pods say of a bundle that no retry will mend."""


@dataclass(frozen=True, slots=True)
class Case:
    """All that the checks look at."""

    version: Version
    champion: Version | None
    """The version that it is compared with; None when it is the model's first."""
    counts: PairedCounts
    """Of the requests that it and this champion both scored."""
    assessment: Assessment
    selected: bool
    """Whether the Service selects it already."""
    now: datetime
    documents: BundleDocuments | None = None
    """Of its bundle, once a pod has told them."""


Check = Callable[[Case], Course | None]


def course(case: Case) -> Course:
    """What becomes of the candidate."""
    return chain.decide(CHECKS, case)


def cannot_be_served(case: Case) -> Course | None:
    """Its bundle is missing, not what it should be, or not servable: it never answers anybody."""
    failure = mismatch(case.version, case.documents) or _lasting_failure(case.version)
    return None if failure is None else Course("Failed", failure.reason, failure.message)


def is_withdrawn(case: Case) -> Course | None:
    """A person has taken it out: before the Service turns, that costs nobody anything."""
    if not case.version.spec.rollout.withdrawn or case.selected:
        return None
    message = withdrawal(case.version)
    if case.champion is not None:
        message += f". {_champion_name(case)} answers all requests"
    return _rolled_back(case, "Withdrawn", message, quarantine=True)


def harms(case: Case) -> Course | None:
    """The evidence shows harm, or it failed hard: out at once, and not again."""
    if case.version.status.phase not in ("Canary", "Promoting") or case.selected or case.assessment.verdict != "Harm":
        return None
    message = f"{case.assessment.message}. {_champion_name(case)} answers all requests"
    return _rolled_back(case, case.assessment.reason, message, quarantine=True)


def takes_too_long(case: Case) -> Course | None:
    """Undecided at its deadline: no blame, but no promotion either."""
    rollout, status = case.version.spec.rollout, case.version.status
    if (
        case.champion is None
        or rollout.strategy == "shadow"
        or status.phase not in ("Verifying", "Deploying", "Canary")
    ):
        return None
    if elapsed(status.phase_since, case.now) < seconds(rollout.deadline):
        return None
    message = (
        f"Undecided after {rollout.deadline}: {case.assessment.message}. "
        f"Set spec.rollout.release to '{stamp(case.now)}' to try again"
    )
    return _rolled_back(case, "DeadlineExceeded", message, quarantine=False)


def has_taken_over(case: Case) -> Course | None:
    """The Service selects it: it is the champion."""
    if not case.selected or (case.champion is not None and mismatch(case.version, case.documents)):
        return None
    message = f"Answers all requests, after {_champion_name(case)}"
    return Course("Champion", "Promoted", message, replicas=_all_pods(case), serve=True)


def speaks_otherwise(case: Case) -> Course | None:
    """Callers would break at the promotion, and the champion could not ask it until then: https on one side only, or its
    callers' tokens refused.
    """
    champion, version = case.champion, case.version
    if champion is None or not version.ready_pods:
        return None
    if version.tls != champion.tls:
        with_it, without = (version, champion) if version.tls else (champion, version)
        message = f"{with_it.name} has spec.serving.tls and {without.name} has none: give both the same"
        return Course("Deploying", "TlsDiffers", message, replicas=_first_pods(case), stalled=True)
    if (why := refused_for(champion.spec.serving.authentication, version.spec.serving.authentication)) is not None:
        message = (
            f"{version.name} would refuse callers of {champion.name}: {why}. Give both the same serving.authentication"
        )
        return Course("Deploying", "AuthenticationDiffers", message, replicas=_first_pods(case), stalled=True)
    return _speaks_not_yet(case, champion)


def _speaks_not_yet(case: Case, champion: Version) -> Course | None:
    """The specs agree, but no pod of it speaks so yet, or one of the champion's from before the change still answers."""
    for version, enough in ((case.version, any), (champion, all)):
        if not enough(version.is_spoken_by(pod) for pod in version.pods if pod.ready and not pod.deleting):
            message = f"spec.serving of {version.name} was changed: waiting for pods that speak so"
            return Course("Deploying", "PodsChanging", message, replicas=_first_pods(case))
    return None


def takes_over(case: Case) -> Course | None:
    """Promoting: as many pods as it will need, all callers by lease, then the Service."""
    if case.version.status.phase != "Promoting" or case.champion is None:
        return None
    wanted = _all_pods(case)
    ready = case.version.ready_pods >= wanted
    waiting = "the Service turns to it" if ready else f"{case.version.ready_pods} of {wanted} pods are ready"
    return replace(
        _trial(case, "Promoting", "TakingOver", f"Promoting: {waiting}", 100.0), replicas=wanted, serve=ready
    )


def is_unverified(case: Case) -> Course | None:
    """Its pods have not yet fetched the bundle and found the digest right."""
    if case.version.status.phase in ("Canary", "Shadow") or any(pod.verified for pod in case.version.pods):
        return None
    return Course(
        "Verifying", *_reason(case.version, "Fetching", "Fetching the bundle and checking its digest"), replicas=1
    )


def is_not_ready(case: Case) -> Course | None:
    """Verified; the model is being loaded."""
    if case.version.status.phase in ("Canary", "Shadow") or case.version.ready_pods >= _first_pods(case):
        return None
    return Course(
        "Deploying",
        *_reason(case.version, "Starting", "The bundle is verified; waiting for its pods to be ready"),
        replicas=_first_pods(case),
    )


def is_the_first(case: Case) -> Course | None:
    """There is nothing to compare it with."""
    if case.champion is not None:
        return None
    return Course("Deploying", "TakingOver", "Ready; the Service turns to it", replicas=_first_pods(case), serve=True)


def is_paused_before_it_begins(case: Case) -> Course | None:
    """spec.rollout.paused: deployed, but nobody asks it."""
    if not case.version.spec.rollout.paused or case.version.status.phase in ("Canary", "Shadow"):
        return None
    return Course(
        "Deploying", "Paused", "Ready, and paused by spec.rollout.paused", replicas=_first_pods(case), paused=True
    )


def needs_no_evidence(case: Case) -> Course | None:
    """Strategy direct: a person vouches for it."""
    if case.version.spec.rollout.strategy != "direct":
        return None
    direct = _trial(case, "Promoting", "Direct", "Taking over without evidence, by strategy direct", 0)
    return replace(direct, replicas=_all_pods(case), decides="promote")


def is_a_shadow(case: Case) -> Course | None:
    """Strategy shadow: scored and reported, never answered from."""
    if case.version.spec.rollout.strategy != "shadow":
        return None
    return _trial(case, "Shadow", "Shadowing", f"Shadow of {_champion_name(case)}: {case.assessment.message}", 0)


def begins(case: Case) -> Course | None:
    """The first step: also when the champion has changed, as evidence against another one says nothing about this one."""
    status = case.version.status
    if status.phase == "Canary" and status.champion == _champion_name(case):
        return None
    return _at_step(case, 0, "CanaryStarted", case.counts.pairs, stamp(case.now))


def is_paused(case: Case) -> Course | None:
    """Held at its weight by a person."""
    if not case.version.spec.rollout.paused:
        return None
    held = _stay(case, "Paused")
    return replace(held, paused=True, message=f"Paused at {held.weight:g}%: {case.assessment.message}")


def stays_on_its_step(case: Case) -> Course | None:
    """Too few requests, or too little time, on this step."""
    step, status = _step(case), case.version.status
    seen = case.counts.pairs - (status.step_pairs or 0)
    if seen >= step.min_requests and elapsed(status.step_since, case.now) >= seconds(step.pause):
        return None
    return _stay(case, "InsufficientEvidence")


def steps_up(case: Case) -> Course | None:
    """The next weight."""
    step = (case.version.status.step or 0) + 1
    if step >= len(case.version.spec.rollout.steps):
        return None
    return _at_step(case, step, "SteppedUp", case.counts.pairs, stamp(case.now))


def needs_more_evidence(case: Case) -> Course | None:
    """All steps are done, and harm is not bounded yet: too little data means hold."""
    return None if case.assessment.verdict == "Pass" else _stay(case, case.assessment.reason)


def is_promoted(case: Case) -> Course | None:
    """Every bound is below its margin."""
    message = f"{case.assessment.message}. Taking over from {_champion_name(case)}"
    return replace(
        _trial(case, "Promoting", "HarmBounded", message, 100.0), replicas=_all_pods(case), decides="promote"
    )


CHECKS: tuple[Check, ...] = (
    has_taken_over,
    is_withdrawn,
    cannot_be_served,
    harms,
    takes_too_long,
    speaks_otherwise,
    takes_over,
    is_unverified,
    is_not_ready,
    is_the_first,
    is_paused_before_it_begins,
    needs_no_evidence,
    is_a_shadow,
    begins,
    is_paused,
    stays_on_its_step,
    steps_up,
    needs_more_evidence,
    is_promoted,
)


def mismatch(version: Version, documents: BundleDocuments | None) -> Failure | None:
    """Why its bundle is another one than its spec says: its callers would get 404, and its pods refuse their lease."""
    if documents is None:
        return None
    said, spec = documents.signature, version.spec
    for reason, what, is_of, wanted in (
        ("ModelMismatch", "model", said.model, spec.model),
        ("VersionMismatch", "version", said.version, spec.version),
    ):
        if is_of != wanted:
            message = (
                f"The bundle is of {what} '{is_of}', spec.{what} is '{wanted}': "
                f"apply a ModelVersion with the right spec.{what}, or with a bundle of that {what}"
            )
            return Failure(reason, message)
    return None


def _lasting_failure(version: Version) -> Failure | None:
    if version.artifact_failure is not None:
        return version.artifact_failure
    if version.ready_pods:
        return None
    return next((pod.failure for pod in version.pods if pod.failure and pod.failure.reason in UNSERVABLE), None)


def _reason(version: Version, reason: str, message: str) -> tuple[str, str]:
    """What its pods complain of, else what is being waited for."""
    failure = version.failure
    return (reason, message) if failure is None else (failure.reason, failure.message)


def _first_pods(case: Case) -> int:
    """A challenger starts with what its first step takes; what takes over without a canary has all of them at once."""
    rollout = case.version.spec.rollout
    if case.champion is None or rollout.strategy == "direct":
        return _all_pods(case)
    return beside(case.champion, case.version, 0 if rollout.strategy == "shadow" else rollout.steps[0].weight)


def _all_pods(case: Case) -> int:
    """As many as the callers need who will all come at once."""
    return pods(case.version, case.champion.ready_pods if case.champion else 0)


def _champion_name(case: Case) -> str:
    return case.champion.name if case.champion else ""


def _step(case: Case) -> RolloutStep:
    steps = case.version.spec.rollout.steps
    return steps[min(case.version.status.step or 0, len(steps) - 1)]


def _rolled_back(case: Case, reason: str, message: str, *, quarantine: bool) -> Course:
    return Course(
        "RolledBack",
        reason,
        message,
        quarantine=quarantine,
        assessment=case.assessment,
        champion=_champion_name(case) or None,
        decides="rollback",
    )


def _trial(case: Case, phase: Phase, reason: str, message: str, weight: float) -> Course:
    mirror, replicas = case.version.spec.rollout.mirror, 1
    if case.champion is not None:
        replicas = beside(case.champion, case.version, weight)
        mirror = mirrored(case.champion, replicas, weight, mirror)
    return Course(
        phase,
        reason,
        message,
        replicas=replicas,
        weight=weight,
        mirror=mirror,
        assessment=case.assessment,
        champion=_champion_name(case),
        step=case.version.status.step,
        step_since=case.version.status.step_since,
        step_pairs=case.version.status.step_pairs,
    )


def _at_step(case: Case, step: int, reason: str, pairs: int, since: str) -> Course:
    weight = case.version.spec.rollout.steps[step].weight
    message = f"{weight}% of the callers get its answers. {case.assessment.message}"
    return replace(
        _trial(case, "Canary", reason, message, float(weight)), step=step, step_pairs=pairs, step_since=since
    )


def _stay(case: Case, reason: str) -> Course:
    """On the same step. Without a ready pod the champion's answers are the only ones."""
    message = (
        case.assessment.message if case.version.ready_pods else "None of its pods is ready: " + case.assessment.message
    )
    return _trial(case, "Canary", reason, message, float(_step(case).weight))
