"""What the operator, the serving pods and the training pods say to each other. Counts only: never a patient's value."""

from __future__ import annotations

from collections.abc import Callable
from operator import add
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from modelward_api.base import Digest, Document, Fraction, Name, SemVer
from modelward_api.bundle.documents import MAX_STRATA, Metric
from modelward_api.resources.reasons import FETCHED, Reason


class Challenger(Document):
    """Whom the champion asks."""

    version: SemVer
    digest: Digest
    endpoints: Annotated[tuple[str, ...], Field(max_length=256)]
    """``ip:port`` of the REST port of each ready challenger pod; empty while none is ready."""
    tls: bool = False
    """Whether they speak TLS. A pod that does not, or the other way round, refuses the lease."""


class TrafficLease(Document):
    """For how long, and for which requests, a champion pod asks the challenger.

    A lease replaces the one before it when (epoch, sequence) is greater; the same pair renews it. It runs ``ttl_seconds`` from
    its receipt on the pod's own monotonic clock; then the pod answers alone.
    """

    epoch: int
    """The operator's leadership epoch: a deposed leader's leases are refused."""
    sequence: int
    """Grows with each change of the lease's content."""
    model: Name
    champion: Digest
    """The digest of the pod that this lease is for: another pod refuses it."""
    challenger: Challenger
    weight: Annotated[float, Field(ge=0, le=100)]
    """Percentage of requests whose caller gets the challenger's answer."""
    mirror: Fraction = 1.0
    """Fraction of the other requests that the challenger scores too, for evidence only; nobody waits for it."""
    sticky_header: str | None = None
    deadline_ms: float
    """The latency objective, and how long the champion waits before it gives its own answer."""
    ttl_seconds: float
    proof: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=1024)] | None = None
    """What the champion shows the challenger's pods, so that they know its requests (see control.ROUTED). An older operator gives
    none: they are answered all the same, and counted there, too."""
    turn_away: bool = False
    """The Service selects these pods no longer: callers with an old connection are asked to connect anew."""


OPENING_PAIRS = 20
"""The first pairs of each champion pod. A pod in which the challenger fails more than half of them stops using it by itself."""
LATENCY_LEVELS = (0.125, 0.25, 0.5)
"""Fractions of the latency objective at which slower answers are counted, beside the objective itself."""
SCORE_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Scores at which crossings are counted: pairs in which one model's score is at or above and the other's below."""


class PairedCounts(Document):
    """What happened on the requests that both scored. Cumulative since the pod started; every field only grows.

    ``*_challenger`` counts pairs where only the challenger failed (b in STATISTICS), ``*_champion`` where only the champion
    did (c), ``*_both`` where both did.
    """

    pairs: int = 0
    errors_challenger: int = 0
    errors_champion: int = 0
    errors_both: int = 0
    late_challenger: int = 0
    late_champion: int = 0
    late_both: int = 0
    invalid: int = 0
    """Pairs where only the challenger's answer was no answer: NaN, a wrong shape, or not a probability. Also counted as
    errors."""
    compared: int = 0
    """Pairs in which both gave a valid answer."""
    flips: int = 0
    """Compared pairs in which at least one row's decision, each at its own model's operating threshold, differs."""
    slower_challenger: tuple[int, ...] = (0,) * len(LATENCY_LEVELS)
    """By level: pairs that both answered, in which only the challenger took longer than that part of the objective."""
    slower_champion: tuple[int, ...] = (0,) * len(LATENCY_LEVELS)
    higher_challenger: tuple[int, ...] = (0,) * len(SCORE_LEVELS)
    """By level: compared pairs in which only the challenger's score (of the request's first row) reaches it."""
    higher_champion: tuple[int, ...] = (0,) * len(SCORE_LEVELS)
    opening_pairs: int = 0
    """Pairs among the first :data:`OPENING_PAIRS`."""
    opening_errors: int = 0
    """Of these, the pairs in which only the challenger failed."""
    answered: int = 0
    """Requests whose caller got the challenger's answer."""
    fallbacks: int = 0
    """Requests that were the challenger's by weight, and were answered by the champion as it failed or was late."""
    requests: int = 0
    """All requests seen while this challenger held a lease."""

    def __add__(self, other: PairedCounts) -> PairedCounts:
        return self._fieldwise(other, add)

    def merge(self, other: PairedCounts) -> PairedCounts:
        """The later of two readings of one pod's counters: duplicates and reordering change nothing."""
        return self._fieldwise(other, max)

    def _fieldwise(self, other: PairedCounts, combine: Callable[[int, int], int]) -> PairedCounts:
        def both(one: Any, another: Any) -> Any:
            return tuple(map(combine, one, another)) if isinstance(one, tuple) else combine(one, another)

        return PairedCounts(**{f: both(getattr(self, f), getattr(other, f)) for f in PairedCounts.model_fields})


class PairedEvidence(Document):
    """One pod's counters for one challenger."""

    challenger: Digest
    counts: PairedCounts
    strata: Annotated[dict[str, PairedCounts], Field(max_length=MAX_STRATA)] = {}
    """The same counts by stratum of each declared subgroup, such as ``sex=female``; by the request's first row."""
    tripped: str | None = None
    """Why this pod stopped giving callers the challenger's answers on its own (a hard failure), or None."""


class ProfileCounts(Document):
    """How many served rows fell into each cell of the reference profile, since the pod started."""

    rows: int = 0
    features: dict[str, tuple[int, ...]] = {}
    """By feature name, the score included under ``score``; cells in the order of FeatureReference.counts."""
    strata: Annotated[dict[str, dict[str, tuple[int, ...]]], Field(max_length=MAX_STRATA)] = {}
    """By stratum of each declared subgroup, such as ``sex=female``: the same of its rows."""


class ExchangeRequest(Document):
    """Operator to champion pod: POST /v1/exchange."""

    epoch: int
    lease: TrafficLease | None = None
    """The lease to hold from now on; None ends any lease that was given before."""
    sequence: int | None = None
    """The place of an end among the leases of its epoch: one that comes late ends none that was given after it. None: now."""
    keep: bool = False
    """Leave the lease as it is, not renewed: an operator that has just started reads the counts before it decides."""
    profile: bool = False
    """Whether the answer shall hold the profile counts."""


class LeaseState(Document):
    """What the pod does with its lease now."""

    epoch: int
    sequence: int
    challenger: Digest
    weight: float
    """In force: 0 when the pod tripped on a hard failure."""


class ExchangeResponse(Document):
    """Champion pod to operator: what it counted. Cumulative, so a lost or repeated answer changes nothing."""

    pod: str
    instance: str
    """Random at each start of the process: counters of another instance are other counters."""
    model: Name
    version: SemVer
    digest: Digest
    refused: str | None = None
    """Why the lease in the request was not taken (StaleEpoch, WrongDigest, WrongModel, TlsDiffers), or None."""
    lease: LeaseState | None = None
    evidence: tuple[PairedEvidence, ...] = ()
    requests: int = 0
    failures: int = 0
    """Requests that ended in a 5xx."""
    profile: ProfileCounts | None = None


Step = Literal["load", "check", "split", "fit", "calibrate", "evaluate", "export", "bundle", "done"]


class TrainingProgress(Document):
    """Training pod to operator: GET /v1/progress."""

    step: Step
    message: str = ""
    fraction: Fraction = 0.0


class TrainingOutcome(Document):
    """How a training pod ended; its termination message, at most 4096 bytes of JSON."""

    succeeded: bool
    reason: str
    """CamelCase: Trained, or why not: UnknownColumn, MissingFile, EmptyData, OneClass, AllMissing, ParityFailed ..."""
    message: str
    """A sentence without any patient's value."""
    field: str | None = None
    """The path in the TrainingJob that is wrong, such as spec.data.columns[3].unit."""
    uri: str | None = None
    digest: Digest | None = None
    data_digest: Digest | None = None
    train_rows: int = 0
    test_rows: int = 0
    metrics: tuple[Metric, ...] = ()
    parity_max_abs_difference: float | None = None
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0


INVALID_INPUT_EXIT_CODE = 65
"""A training or scoring pod that failed for its input or its bundle (EX_DATAERR): the Job is not tried again."""


TERMINATED_EXIT_CODE = 143
"""A training or scoring pod that was told to end, for a reason that the Job names."""


class BatchOutcome(Document):
    """How the scoring of one shard ended; its pod's termination message."""

    succeeded: bool
    reason: str
    """CamelCase: Scored, or why not: MissingFile, MissingColumn, UnreadableFile, InvalidRows ..."""
    message: str
    """A sentence without any patient's value."""
    field: str | None = None
    """The path in the ScoreBatch that is wrong, such as spec.keepColumns[0]."""
    shard: int = 0
    input_digest: Digest | None = None
    """What the input files were: all shards must have seen the same."""
    rows: int = 0
    scored: int = 0
    invalid: int = 0
    seconds: float = 0.0
    """That reading, scoring and writing took, without the start."""


def _ends_a_fetch(reason: Reason) -> Reason:
    if reason not in FETCHED:
        raise ValueError("reason: must be one with which a fetch ends")
    return reason


class FetchOutcome(Document):
    """How the fetch of a bundle ended; the init container's termination message."""

    verified: bool
    reason: Annotated[Reason, AfterValidator(_ends_a_fetch)]
    message: str
    digest: Digest | None = None
