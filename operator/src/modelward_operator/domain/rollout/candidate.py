"""The rollout of one version: a chain of small checks, of which the first that applies decides.

Read :data:`CHECKS` from top to bottom: it is the rollout.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from modelward_api.base import seconds
from modelward_api.bundle.documents import BundleDocuments
from modelward_api.resources.modelversion import Phase, RolloutStep
from modelward_api.resources.reasons import STORE_TROUBLES, UNSERVABLE, Reason
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.core import chain
from modelward_operator.domain.core.caller_auth import refused_for
from modelward_operator.domain.core.clock import elapsed, stamp
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.evidence import publication
from modelward_operator.domain.evidence.signals import Assessment
from modelward_operator.domain.rollout.observation import Version
from modelward_operator.domain.rollout.plan import VersionPlan, withdrawal
from modelward_operator.domain.rollout.size import beside, mirrored, pods


@dataclass(frozen=True, slots=True)
class CandidateContext:
    """The input of the checks."""

    version: Version
    champion: Version | None
    """The version to compare with; None for the model's first version."""
    counts: PairedCounts
    """Counts of the requests that both it and the champion scored."""
    assessment: Assessment
    selected: bool
    """Whether the Service already selects it."""
    now: datetime
    documents: BundleDocuments | None = None
    """The documents of its bundle, once a pod has returned them."""
    pairs_before: int = 0
    """Exact number of pairs seen before the current step began."""


Check = Callable[[CandidateContext], VersionPlan | None]


def plan(context: CandidateContext) -> VersionPlan:
    """Return the candidate's next plan."""
    return chain.decide(CHECKS, context)


def cannot_be_served(context: CandidateContext) -> VersionPlan | None:
    """Its bundle is missing, has the wrong digest, or cannot be served."""
    failure = mismatch(context.version, context.documents) or _lasting_failure(context.version)
    return None if failure is None else VersionPlan("Failed", failure.reason, failure.message)


def is_withdrawn(context: CandidateContext) -> VersionPlan | None:
    """A person has withdrawn it before the Service selects it, so no request is affected."""
    if not context.version.spec.rollout.withdrawn or context.selected:
        return None
    message = withdrawal(context.version)
    if context.champion is not None:
        message += f". All traffic stays on {_champion_name(context)}"
    return _rolled_back(context, Reason.WITHDRAWN, message, quarantine=True)


def harms(context: CandidateContext) -> VersionPlan | None:
    """The evidence shows harm, or it failed hard: roll it back and quarantine its digest."""
    if (
        context.version.status.phase not in ("Canary", "Promoting")
        or context.selected
        or context.assessment.verdict != "Harm"
    ):
        return None
    message = f"{context.assessment.message}. All traffic stays on {_champion_name(context)}"
    return _rolled_back(context, context.assessment.reason, message, quarantine=True)


def takes_too_long(context: CandidateContext) -> VersionPlan | None:
    """It is undecided at its deadline: roll it back, but do not quarantine its digest."""
    rollout, status = context.version.spec.rollout, context.version.status
    if (
        context.champion is None
        or rollout.strategy == "shadow"
        or status.phase not in ("Verifying", "Deploying", "Canary")
    ):
        return None
    if elapsed(status.phase_since, context.now) < seconds(rollout.deadline):
        return None
    message = (
        f"Undecided after {rollout.deadline}: {context.assessment.message}. "
        f"Set spec.rollout.release to '{stamp(context.now)}' to try again"
    )
    return _rolled_back(context, Reason.DEADLINE_EXCEEDED, message, quarantine=False)


def has_taken_over(context: CandidateContext) -> VersionPlan | None:
    """The Service selects it, so it is the champion."""
    if not context.selected or (context.champion is not None and mismatch(context.version, context.documents)):
        return None
    message = "Serves all traffic" + (f", after {_champion_name(context)}" if context.champion else "")
    return VersionPlan("Champion", Reason.PROMOTED, message, replicas=_all_pods(context), serve=True)


def has_protocol_mismatch(context: CandidateContext) -> VersionPlan | None:
    """Its protocol or authentication differs from the champion's, so the promotion would break clients."""
    champion, version = context.champion, context.version
    if champion is None or not version.ready_pods:
        return None
    if version.tls != champion.tls:
        with_it, without = (version, champion) if version.tls else (champion, version)
        message = f"{with_it.name} sets spec.serving.tls, {without.name} does not: use the same TLS setting on both"
        return VersionPlan("Deploying", Reason.TLS_DIFFERS, message, replicas=_first_pods(context), stalled=True)
    if (why := refused_for(champion.spec.serving.authentication, version.spec.serving.authentication)) is not None:
        message = (
            f"{version.name} would reject clients of {champion.name}: {why}. "
            "Use the same spec.serving.authentication on both"
        )
        return VersionPlan(
            "Deploying", Reason.AUTHENTICATION_DIFFERS, message, replicas=_first_pods(context), stalled=True
        )
    return _pods_are_changing(context, champion)


def _pods_are_changing(context: CandidateContext, champion: Version) -> VersionPlan | None:
    """The specs agree, but pods of one of the two still run with older settings."""
    for version, enough in ((context.version, any), (champion, all)):
        if not enough(version.is_current(pod) for pod in version.pods if pod.ready and not pod.deleting):
            message = f"spec.serving of {version.name} was changed: waiting for pods with the new settings"
            return VersionPlan("Deploying", Reason.PODS_CHANGING, message, replicas=_first_pods(context))
    return None


def takes_over(context: CandidateContext) -> VersionPlan | None:
    """It is being promoted: scale it up, send it all traffic by lease, then switch the Service."""
    if context.version.status.phase != "Promoting" or context.champion is None:
        return None
    wanted = _all_pods(context)
    ready = context.version.ready_pods >= wanted
    waiting = "switching the Service to it" if ready else f"{context.version.ready_pods} of {wanted} pods are ready"
    return replace(
        _trial(context, "Promoting", Reason.TAKING_OVER, f"Promoting: {waiting}", 100.0), replicas=wanted, serve=ready
    )


def is_unverified(context: CandidateContext) -> VersionPlan | None:
    """None of its pods has fetched the bundle and verified the digest yet."""
    if context.version.status.phase in ("Canary", "Shadow") or any(pod.verified for pod in context.version.pods):
        return None
    return VersionPlan(
        "Verifying",
        *_reason(context.version, Reason.FETCHING, "Fetching the bundle and verifying its digest"),
        replicas=1,
    )


def is_not_ready(context: CandidateContext) -> VersionPlan | None:
    """The bundle is verified, and the model is being loaded."""
    if context.version.status.phase in ("Canary", "Shadow") or context.version.ready_pods >= _first_pods(context):
        return None
    return VersionPlan(
        "Deploying",
        *_reason(context.version, Reason.STARTING, "The bundle is verified; waiting for its pods to be ready"),
        replicas=_first_pods(context),
    )


def is_the_first(context: CandidateContext) -> VersionPlan | None:
    """It is the model's first version: there is nothing to compare it with."""
    if context.champion is not None:
        return None
    return VersionPlan(
        "Deploying", Reason.TAKING_OVER, "Ready; switching the Service to it", replicas=_first_pods(context), serve=True
    )


def is_paused_before_it_begins(context: CandidateContext) -> VersionPlan | None:
    """spec.rollout.paused is set: it is deployed and gets no requests."""
    if not context.version.spec.rollout.paused or context.version.status.phase in ("Canary", "Shadow"):
        return None
    return VersionPlan(
        "Deploying",
        Reason.PAUSED,
        "Ready; paused by spec.rollout.paused. Set it to false to continue",
        replicas=_first_pods(context),
        paused=True,
    )


def needs_no_evidence(context: CandidateContext) -> VersionPlan | None:
    """The strategy is direct: promote it without evidence."""
    if context.version.spec.rollout.strategy != "direct":
        return None
    direct = _trial(
        context, "Promoting", Reason.DIRECT, "Taking over without evidence: spec.rollout.strategy is direct", 0
    )
    return replace(direct, replicas=_all_pods(context), decides="promote")


def is_a_shadow(context: CandidateContext) -> VersionPlan | None:
    """The strategy is shadow: score and report, and never return its predictions."""
    if context.version.spec.rollout.strategy != "shadow":
        return None
    return _trial(
        context, "Shadow", Reason.SHADOWING, f"Shadow of {_champion_name(context)}: {context.assessment.message}", 0
    )


def begins(context: CandidateContext) -> VersionPlan | None:
    """It starts its first step, or starts again because the champion has changed: evidence belongs to a pair of versions."""
    status = context.version.status
    if status.phase == "Canary" and status.champion == _champion_name(context):
        return None
    return _at_step(context, 0, Reason.CANARY_STARTED, context.counts.pairs, stamp(context.now))


def is_paused(context: CandidateContext) -> VersionPlan | None:
    """A person has paused it at its weight."""
    if not context.version.spec.rollout.paused:
        return None
    held = _stay(context, Reason.PAUSED)
    return replace(held, paused=True, message=f"Paused at {held.weight:g}%: {context.assessment.message}")


def stays_on_its_step(context: CandidateContext) -> VersionPlan | None:
    """It has had too few requests, or too little time, on this step."""
    step, status = _step(context), context.version.status
    seen = context.counts.pairs - context.pairs_before
    if seen >= step.min_requests and elapsed(status.step_since, context.now) >= seconds(step.pause):
        return None
    return _stay(context, Reason.INSUFFICIENT_EVIDENCE)


def steps_up(context: CandidateContext) -> VersionPlan | None:
    """It moves on to the next weight."""
    step = (context.version.status.step or 0) + 1
    if step >= len(context.version.spec.rollout.steps):
        return None
    return _at_step(context, step, Reason.STEPPED_UP, context.counts.pairs, stamp(context.now))


def needs_more_evidence(context: CandidateContext) -> VersionPlan | None:
    """All steps are done, and harm is not bounded yet: hold."""
    return None if context.assessment.verdict == "Pass" else _stay(context, context.assessment.reason)


def is_promoted(context: CandidateContext) -> VersionPlan | None:
    """Every bound is below its margin: promote it."""
    message = f"{context.assessment.message}. Taking over from {_champion_name(context)}"
    return replace(
        _trial(context, "Promoting", Reason.HARM_BOUNDED, message, 100.0),
        replicas=_all_pods(context),
        decides="promote",
    )


CHECKS: tuple[Check, ...] = (
    has_taken_over,
    is_withdrawn,
    cannot_be_served,
    harms,
    takes_too_long,
    has_protocol_mismatch,
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
    """Return how its bundle contradicts its spec: clients would get 404, and pods would refuse their lease."""
    if documents is None:
        return None
    said, spec = documents.signature, version.spec
    for reason, field, is_of, wanted in (
        (Reason.MODEL_MISMATCH, "model", said.model, spec.model),
        (Reason.VERSION_MISMATCH, "version", said.version, spec.version),
    ):
        if is_of != wanted:
            message = (
                f"The bundle belongs to {field} '{is_of}', but spec.{field} is '{wanted}': "
                f"apply a ModelVersion with the right spec.{field}, or with a bundle of that {field}"
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
    """Return reason and message: what its pods report, else what it waits for."""
    failure = version.failure
    if failure is None:
        return reason, message
    # The pods of a version try for ever. The same report from a Job's pod may be its last.
    again = "; the fetch is retried" if failure.reason in STORE_TROUBLES else ""
    return failure.reason, f"{failure.message}{again}"


def _first_pods(context: CandidateContext) -> int:
    """Return the pods for its first step; all of them if it takes over without a canary."""
    rollout = context.version.spec.rollout
    if context.champion is None or rollout.strategy == "direct":
        return _all_pods(context)
    return beside(context.champion, context.version, 0 if rollout.strategy == "shadow" else rollout.steps[0].weight)


def _all_pods(context: CandidateContext) -> int:
    """Return the pods that all traffic needs."""
    return pods(context.version, context.champion.ready_pods if context.champion else 0)


def _champion_name(context: CandidateContext) -> str:
    return context.champion.name if context.champion else ""


def _step(context: CandidateContext) -> RolloutStep:
    steps = context.version.spec.rollout.steps
    return steps[min(context.version.status.step or 0, len(steps) - 1)]


def _rolled_back(context: CandidateContext, reason: str, message: str, *, quarantine: bool) -> VersionPlan:
    return VersionPlan(
        "RolledBack",
        reason,
        message,
        quarantine=quarantine,
        assessment=context.assessment,
        champion=_champion_name(context) or None,
        decides="rollback",
    )


def _trial(context: CandidateContext, phase: Phase, reason: str, message: str, weight: float) -> VersionPlan:
    mirror, replicas = context.version.spec.rollout.mirror, 1
    if context.champion is not None:
        replicas = beside(context.champion, context.version, weight)
        mirror = mirrored(context.champion, replicas, weight, mirror)
    return VersionPlan(
        phase,
        reason,
        message,
        replicas=replicas,
        weight=weight,
        mirror=mirror,
        assessment=context.assessment,
        champion=_champion_name(context),
        step=context.version.status.step,
        step_since=context.version.status.step_since,
        step_pairs=context.version.status.step_pairs,
    )


def _at_step(context: CandidateContext, step: int, reason: str, pairs: int, since: str) -> VersionPlan:
    weight = context.version.spec.rollout.steps[step].weight
    message = f"Answers {weight}% of requests. {context.assessment.message}"
    trial = _trial(context, "Canary", reason, message, float(weight))
    return replace(trial, step=step, step_pairs=publication.requests(pairs), step_since=since)


def _stay(context: CandidateContext, reason: str) -> VersionPlan:
    """Stay on the same step. Without a ready pod, clients get the champion's predictions only."""
    message = (
        context.assessment.message if context.version.ready_pods else "No pod is ready: " + context.assessment.message
    )
    return _trial(context, "Canary", reason, message, float(_step(context).weight))
