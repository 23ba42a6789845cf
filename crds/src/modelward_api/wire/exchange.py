"""Documents that operator, serving pods and training pods exchange. They hold counts, never a patient's value."""

from __future__ import annotations

from collections.abc import Callable
from operator import add
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from modelward_api.base import Digest, Document, Fraction, Name, SemVer
from modelward_api.bundle.documents import MAX_STRATA, Metric
from modelward_api.resources.reasons import FETCHED, Reason
from modelward_api.resources.trainingjob import DataFinding


class Challenger(Document):
    """The version that the champion sends requests to."""

    version: SemVer
    digest: Digest
    endpoints: Annotated[tuple[str, ...], Field(max_length=256)]
    """``ip:port`` of the REST port of each ready challenger pod; empty while none is ready."""
    tls: bool = False
    """Whether they serve TLS. A champion pod with the other setting refuses the lease."""


class TrafficLease(Document):
    """How long, and for which requests, a champion pod sends requests to the challenger.

    A lease replaces the one before it when (epoch, sequence) is greater; the same pair renews it. It runs ``ttl_seconds`` from
    its receipt on the pod's own monotonic clock; then the pod answers alone.
    """

    epoch: int
    """The operator's leadership epoch. Pods refuse leases of a former leader."""
    sequence: int
    """Grows with each change of the lease's content."""
    model: Name
    champion: Digest
    """Digest of the bundle that the pod must serve. Any other pod refuses the lease."""
    challenger: Challenger
    weight: Annotated[float, Field(ge=0, le=100)]
    """Percentage of requests whose client gets the challenger's prediction."""
    mirror: Fraction = 1.0
    """Fraction of the other requests that the challenger scores as well, for evidence only. No client waits for it."""
    sticky_header: str | None = None
    deadline_ms: float
    """The latency objective. The champion waits this long before it returns its own prediction."""
    ttl_seconds: float
    proof: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$", max_length=1024)] | None = None
    """What the champion shows the challenger's pods, so that they know its requests (see control.ROUTED). An older operator gives
    none: they are answered all the same, and counted there, too."""
    drain: bool = Field(default=False, alias="turnAway")
    """Whether to ask clients to reconnect, because the Service no longer selects these pods. On the wire it keeps its first name:
    operators and pods of neighbouring versions exchange leases during an upgrade."""


OPENING_PAIRS = 20
"""The first pairs of each champion pod. A pod in which the challenger fails more than half of them stops using it by itself."""
LATENCY_LEVELS = (0.125, 0.25, 0.5)
"""Fractions of the latency objective at which slower responses are counted, in addition to the objective itself."""
SCORE_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Scores at which crossings are counted: pairs in which one model's score is at or above and the other's below."""


Count = Annotated[int, Field(ge=0, le=2**53)]
"""A number of requests or rows, as JSON holds it exactly."""
ByLatencyLevel = Annotated[tuple[Count, ...], Field(min_length=len(LATENCY_LEVELS), max_length=len(LATENCY_LEVELS))]
ByScoreLevel = Annotated[tuple[Count, ...], Field(min_length=len(SCORE_LEVELS), max_length=len(SCORE_LEVELS))]


class PairedCounts(Document):
    """Counts of the requests that both versions scored. Cumulative since the pod started; every field only grows.

    ``*_challenger`` counts pairs where only the challenger failed (b in STATISTICS), ``*_champion`` where only the champion
    did (c), ``*_both`` where both did.
    """

    pairs: Count = 0
    errors_challenger: Count = 0
    errors_champion: Count = 0
    errors_both: Count = 0
    late_challenger: Count = 0
    late_champion: Count = 0
    late_both: Count = 0
    invalid: Count = 0
    """Pairs where only the challenger's score was invalid: NaN, a wrong shape, or not a probability. Also counted as
    errors."""
    compared: Count = 0
    """Pairs in which both scores were valid."""
    flips: Count = 0
    """Compared pairs in which at least one row's decision, each at its own model's operating threshold, differs."""
    slower_challenger: ByLatencyLevel = (0,) * len(LATENCY_LEVELS)
    """By level: pairs that both answered, in which only the challenger took longer than that part of the objective."""
    slower_champion: ByLatencyLevel = (0,) * len(LATENCY_LEVELS)
    higher_challenger: ByScoreLevel = (0,) * len(SCORE_LEVELS)
    """By level: compared pairs in which only the challenger's score (of the request's first row) reaches it."""
    higher_champion: ByScoreLevel = (0,) * len(SCORE_LEVELS)
    opening_pairs: Count = 0
    """Pairs among the first :data:`OPENING_PAIRS`."""
    opening_errors: Count = 0
    """Of these, the pairs in which only the challenger failed."""
    answered: Count = 0
    """Requests whose client got the challenger's prediction."""
    fallbacks: Count = 0
    """Requests assigned to the challenger that the champion answered, because the challenger failed or was late."""
    requests: Count = 0
    """All requests seen while this challenger held a lease."""

    def __add__(self, other: PairedCounts) -> PairedCounts:
        return self._fieldwise(other, add)

    def __sub__(self, earlier: PairedCounts) -> PairedCounts:
        """Return what was counted since; nothing of counters that were lost meanwhile."""
        return self._fieldwise(earlier, lambda now, before: max(0, now - before))

    def merge(self, other: PairedCounts) -> PairedCounts:
        """Return the later of two readings of one pod's counters. Duplicates and reordering change nothing."""
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
    """Reason why this pod stopped using the challenger by itself (a hard failure), or None."""


class ProfileCounts(Document):
    """Number of served rows in each cell of the reference profile, since the pod started."""

    rows: Count = 0
    features: dict[str, tuple[Count, ...]] = {}
    """By feature name, with the score as ``score``. Cells are in the order of FeatureReference.counts."""
    strata: Annotated[dict[str, dict[str, tuple[Count, ...]]], Field(max_length=MAX_STRATA)] = {}
    """By stratum of each declared subgroup, such as ``sex=female``: the same for its rows."""


class ExchangeRequest(Document):
    """Operator to champion pod: POST /v1/exchange."""

    epoch: int
    lease: TrafficLease | None = None
    """The lease to hold from now on. None ends any earlier lease."""
    sequence: int | None = None
    """Sequence of an end of a lease within its epoch. A late end does not affect newer leases. None: end now."""
    keep: bool = False
    """Keep the lease without renewing it: an operator that has just started reads the counts before it decides."""
    profile: bool = False
    """Whether the response includes the profile counts."""


class LeaseState(Document):
    """The lease that the pod holds now."""

    epoch: int
    sequence: int
    challenger: Digest
    weight: float
    """Weight in force; 0 after a hard failure."""


class ExchangeResponse(Document):
    """Champion pod to operator: its counts. They are cumulative, so a lost or repeated response changes nothing."""

    pod: str
    instance: str
    """Random at each start of the process. Counters of different instances are independent."""
    model: Name
    version: SemVer
    digest: Digest
    refused: str | None = None
    """Reason why the lease was refused (StaleEpoch, WrongDigest, WrongModel, TlsDiffers), or None."""
    lease: LeaseState | None = None
    evidence: tuple[PairedEvidence, ...] = ()
    requests: int = 0
    failures: int = 0
    """Requests that ended in a 5xx."""
    profile: ProfileCounts | None = None
    certificate: str | None = None
    """Reason why the pod's TLS files cannot be used (TlsSecretMissing, TlsSecretUnusable), or None. It serves with the last
    usable ones."""


Step = Literal["load", "check", "split", "fit", "calibrate", "evaluate", "export", "bundle", "done"]


class TrainingProgress(Document):
    """Training pod to operator: GET /v1/progress."""

    step: Step
    message: str = ""
    fraction: Fraction = 0.0


class TrainingOutcome(Document):
    """Outcome of a training pod: its termination message, at most 4096 bytes of JSON."""

    succeeded: bool
    reason: str
    """Trained, or the reason of the failure; see :mod:`modelward_api.resources.reasons`."""
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
    findings: tuple[DataFinding, ...] = ()
    """The worst, at most :data:`MAX_FINDINGS`."""
    report: str | None = None
    """Address of the report on the data, as a page."""
    seconds: float = 0.0


MAX_FINDINGS = 5
INVALID_INPUT_EXIT_CODE = 65
"""Exit code for invalid input or an invalid bundle (EX_DATAERR). The Job is not retried."""


TERMINATED_EXIT_CODE = 143
"""Exit code of a pod that was terminated by a signal. The Job has the reason."""


class BatchOutcome(Document):
    """Outcome of one shard: its pod's termination message."""

    succeeded: bool
    reason: str
    """Scored, or the reason of the failure; see :mod:`modelward_api.resources.reasons`."""
    message: str
    """A sentence without any patient's value."""
    field: str | None = None
    """The path in the ScoreBatch that is wrong, such as spec.keepColumns[0]."""
    shard: int = 0
    input_digest: Digest | None = None
    """Digest of the list of input files. All shards must have seen the same."""
    rows: int = 0
    scored: int = 0
    """The least, if it is not exact."""
    invalid: int | None = 0
    """None where few rows are invalid, or few are not (modelward_api.small_counts)."""
    seconds: float = 0.0
    """Seconds of reading, scoring and writing, without the start."""


def _ends_a_fetch(reason: Reason) -> Reason:
    if reason not in FETCHED:
        raise ValueError("reason: must be one with which a fetch ends")
    return reason


class FetchOutcome(Document):
    """Outcome of the fetch of a bundle: the init container's termination message."""

    verified: bool
    reason: Annotated[Reason, AfterValidator(_ends_a_fetch)]
    message: str
    digest: Digest | None = None
