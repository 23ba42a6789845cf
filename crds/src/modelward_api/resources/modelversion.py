"""ModelVersion: one immutable version of a model, and how it is to be rolled out and served."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from modelward_api.base import Digest, Document, Duration, Fraction, Name, SemVer, Timestamp, Uri
from modelward_api.resources.conditions import Condition
from modelward_api.resources.pods import PodSettings, Resources

Phase = Literal[
    "Pending",
    "Verifying",
    "Deploying",
    "Shadow",
    "Canary",
    "Promoting",
    "Champion",
    "Standby",
    "Retired",
    "RolledBack",
    "Failed",
    "Quarantined",
]
Verdict = Literal["Hold", "Pass", "Harm"]
Outcome = Literal["promote", "rollback", "release"]


class Artifact(Document):
    """Where the bundle is, and what it must be."""

    uri: Annotated[
        Uri,
        Field(
            description="Where the bundle is: store://PATH in the artifact store, or s3://, or file:// below the store."
        ),
    ]
    digest: Annotated[Digest, Field(description="The bundle's digest. A pod whose bundle differs never becomes ready.")]


class TrainingJobRef(Document):
    """A TrainingJob in the same namespace that makes the bundle."""

    name: Annotated[Name, Field(description="The TrainingJob's name.")]


class Autoscaling(Document):
    """How many pods the version has while it is the champion."""

    min_replicas: Annotated[int, Field(ge=1, le=100, description="Never fewer pods than this.")] = 1
    max_replicas: Annotated[int, Field(ge=1, le=100, description="Never more pods than this.")]
    target_cpu_utilization_percentage: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            alias="targetCPUUtilizationPercentage",
            description="Pods are added above this use of the CPU that they request, and removed below it.",
        ),
    ] = 70
    target_requests_in_flight: Annotated[
        int | None,
        Field(
            ge=1,
            le=10_000,
            description="Pods are added above this many requests under way per pod, too. It needs an adapter that offers "
            "modelward_requests_in_flight to the custom metrics API.",
        ),
    ] = None

    @model_validator(mode="after")
    def _ordered(self) -> Autoscaling:
        if self.min_replicas > self.max_replicas:
            raise ValueError("minReplicas must not be greater than maxReplicas")
        return self


class Tls(Document):
    """TLS on the inference port."""

    secret_name: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
            max_length=253,
            description="A Secret of type kubernetes.io/tls, such as cert-manager makes: tls.crt for MODEL.NAMESPACE.svc, "
            "tls.key and ca.crt. It is read again when it changes.",
        ),
    ]
    client_authentication: Annotated[
        Literal["none", "required"],
        Field(description="required: only callers with a certificate of the Secret's ca.crt are answered."),
    ] = "none"


class Authentication(Document):
    """Whose bearer tokens (JWT) callers of inference need. Health, metrics and metadata stay open."""

    issuer: Annotated[str, Field(min_length=1, max_length=512, description="The tokens' iss, exactly.")]
    audiences: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=256)], ...],
        Field(min_length=1, max_length=8, description="One of these must be among the tokens' aud."),
    ]
    subjects: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=256)], ...],
        Field(
            max_length=64,
            description="Who alone may ask, by the tokens' sub, such as system:serviceaccount:clinic:ward. Empty: whoever has "
            "a token.",
        ),
    ] = ()
    jwks_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://[^ ]+$",
            max_length=2048,
            description="Where the pods fetch the issuer's public keys, once a minute.",
        ),
    ] = None
    jwks_config_map: Annotated[
        str | None,
        Field(
            pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
            max_length=253,
            description="A ConfigMap whose key jwks.json has them, such as kubectl get --raw /openid/v1/jwks prints for the "
            "cluster's own ServiceAccounts. It is read again when it changes.",
        ),
    ] = None

    @model_validator(mode="after")
    def _one_source(self) -> Authentication:
        if (self.jwks_url is None) == (self.jwks_config_map is None):
            raise ValueError("give either jwksUrl or jwksConfigMap")
        return self


class Serving(Document):
    """How the version is served."""

    replicas: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            description="Pods while this version is the champion; a challenger starts with 1. Left out with autoscaling.",
        ),
    ] = 1
    autoscaling: Annotated[
        Autoscaling | None,
        Field(
            description="A HorizontalPodAutoscaler sets the number of pods while this version is the champion. Instead of "
            "replicas."
        ),
    ] = None
    tls: Annotated[
        Tls | None,
        Field(
            description="Callers must use https. A version and the champion that it is compared with must agree on it: change "
            "the champion first."
        ),
    ] = None
    authentication: Annotated[
        Authentication | None,
        Field(
            description="Only callers with a bearer token are answered. The champion passes its callers' tokens on to the "
            "version that it is compared with."
        ),
    ] = None
    resources: Annotated[Resources, Field(description="Resources of each serving pod.")] = Resources()
    node_selector: Annotated[
        dict[str, str], Field(description="Labels that a node must have to run the pods; pod.nodeSelector adds to it.")
    ] = {}
    pod: Annotated[PodSettings, Field(description="How the pods run: placement, environment, authorities.")] = (
        PodSettings()
    )
    request_timeout: Annotated[Duration, Field(description="The longest that one inference request may take.")] = "10s"
    sticky_header: Annotated[
        str | None,
        Field(
            description="A request header, such as X-Encounter-Id, whose hash picks the arm: the same encounter always gets the "
            "same model's answer. Without it each request draws anew. The header's value is never stored or logged.",
            pattern=r"^[A-Za-z0-9-]+$",
            max_length=64,
        ),
    ] = None
    count_by: Annotated[
        Literal["request", "encounter"],
        Field(
            description="What drift monitors count: request: every row. encounter: of requests with the stickyHeader, the first "
            "row that each pod sees of an encounter within a week or two. Choose it where patients are scored again and again. "
            "It needs a stickyHeader; requests without it count as ever.",
        ),
    ] = "request"

    @property
    def least_replicas(self) -> int:
        """The fewest pods that the version shall have as a champion."""
        return self.autoscaling.min_replicas if self.autoscaling else self.replicas


class RolloutStep(Document):
    """One step of a canary."""

    weight: Annotated[
        int, Field(ge=1, le=100, description="Percentage of requests whose caller gets the new version's answer.")
    ]
    min_requests: Annotated[
        int, Field(ge=0, le=1_000_000, description="Pairs to see in this step before the next.")
    ] = 50
    pause: Annotated[Duration, Field(description="The least time that the step lasts.")] = "0s"


class Analysis(Document):
    """What the evidence must show. Every test may be looked at as often as one likes."""

    error_margin: Annotated[
        float,
        Field(
            gt=0,
            le=0.5,
            description="Promote only when the upper confidence bound on the extra error rate, and on the extra rate of missed "
            "deadlines, is below this.",
        ),
    ] = 0.02
    latency_objective: Annotated[Duration, Field(description="An answer later than this missed its deadline.")] = (
        "500ms"
    )
    flip_allowance: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="The share of requests on which the two versions may decide differently at their operating thresholds. "
            "Evidence for more rolls back; promotion needs an upper bound below it. 1 allows all.",
        ),
    ] = 0.1
    latency_shift: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="By how much the share of answers slower than an eighth, a quarter or half of latencyObjective may grow. "
            "Evidence for more rolls back; promotion needs an upper bound below it. The champion's time is without the network "
            "between the two: give an objective well above that. 1 allows all.",
        ),
    ] = 0.5
    score_shift: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="By how much the share of requests that score at or above 0.1, 0.2 ... 0.9 may differ. Evidence for more "
            "rolls back; promotion needs an upper bound below it. 1 allows all: the shift is then only reported.",
        ),
    ] = 1.0
    alpha: Annotated[
        float,
        Field(
            gt=0,
            lt=0.5,
            description="The chance, over the whole rollout and all signals, of calling harm where there is none.",
        ),
    ] = 0.05
    subgroups: Annotated[
        Literal["guard", "report"],
        Field(
            description="guard: evidence for harm in any declared subgroup rolls back, though the average looks fine, and "
            "promotion needs harm bounded in each of them. report: they are shown alone.",
        ),
    ] = "guard"
    subgroup_margin: Annotated[
        float,
        Field(
            gt=0,
            le=0.5,
            description="Promote only when in each declared subgroup, too, the upper confidence bounds on the extra error rate "
            "and on the extra rate of missed deadlines are below this, and that on changed decisions is below flipAllowance.",
        ),
    ] = 0.05
    subgroup_least_share: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="A subgroup that is shown to be less than this share of the requests is too small to wait for: it is "
            "promoted without a bound on its harm, and the status says so. 0: none is too small.",
        ),
    ] = 0.05
    subgroup_minimum: Annotated[
        int,
        Field(
            ge=0,
            le=1_000_000,
            description="Promote only after so many pairs in each declared subgroup, also in those that are too small for a "
            "bound. 0: no more than the bounds need.",
        ),
    ] = 0


class Rollout(Document):
    """How the version takes over from the champion."""

    strategy: Annotated[
        Literal["canary", "shadow", "direct"],
        Field(
            description="canary: weights step up and evidence promotes or rolls back. shadow: scored on the champion's requests, "
            "reported, never answered from, never promoted. direct: takes over once it is ready, without evidence.",
        ),
    ] = "canary"
    steps: Annotated[
        tuple[RolloutStep, ...],
        Field(
            description="The canary's steps, with growing weights. After the last, the evidence decides.",
            min_length=1,
            max_length=20,
        ),
    ] = (RolloutStep(weight=5), RolloutStep(weight=20), RolloutStep(weight=50))
    mirror: Annotated[
        Fraction,
        Field(
            description="The fraction of the champion's other requests that the new version scores too, for evidence only. "
            "At 1 every request is a pair, and low traffic suffices. Where the champion has more pods than the new version "
            "has at its weight, no more than its pods can score.",
        ),
    ] = 1.0
    analysis: Annotated[Analysis, Field(description="What the evidence must show.")] = Analysis()
    keep_warm: Annotated[
        Duration,
        Field(description="How long the version before stays ready to take over again after a promotion."),
    ] = "1h"
    deadline: Annotated[
        Duration,
        Field(description="A canary that is still undecided after this long is rolled back (not quarantined)."),
    ] = "7d"
    paused: Annotated[bool, Field(description="Holds the rollout at its weight. Never holds a rollback.")] = False
    supersedes: Annotated[
        bool,
        Field(
            description="Whether this version ends the unfinished rollout of an older one and takes its place, once its bundle "
            "is known. If not, it waits for that rollout to end. A shadow supersedes only shadows.",
        ),
    ] = True
    withdrawn: Annotated[
        bool,
        Field(
            description="Takes the version out by hand, whatever its phase. If it answers, the version before answers again: at "
            "once if it is warm, else as soon as its pods are ready. The digest is quarantined.",
        ),
    ] = False
    withdrawn_because: Annotated[
        str | None,
        Field(
            pattern=r"^[^\r\n]+$",
            max_length=256,
            description="Why it is withdrawn, such as outcomes that came late. Stands in the status, the Event and the record "
            "of the decision: no patient data.",
        ),
    ] = None
    release: Annotated[
        Timestamp | None,
        Field(
            pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$",
            description="Rolls out a version again that was rolled back or quarantined: the time in its status.rolledBackAt. "
            "Another rollback has another time, so it is released once.",
        ),
    ] = None


class Governance(Document):
    """What people must know about the model; copied into its card."""

    intended_use: Annotated[str, Field(description="What the model is meant for.", max_length=2048)] = ""
    population: Annotated[str, Field(description="Whom it is meant for.", max_length=2048)] = ""
    risks: Annotated[tuple[str, ...], Field(description="Known risks.", max_length=32)] = ()
    limitations: Annotated[tuple[str, ...], Field(description="Known limitations.", max_length=32)] = ()
    owner: Annotated[str, Field(description="Who answers for it.", max_length=253)] = ""


class VersionSettings(Document):
    """What a TrainingJob's template can set of the ModelVersion that it creates."""

    serving: Annotated[Serving, Field(description="How the version is served.")] = Serving()
    rollout: Annotated[Rollout, Field(description="How the version takes over from the champion.")] = Rollout()
    governance: Annotated[Governance, Field(description="What people must know about the model.")] = Governance()


class ModelVersionSpec(VersionSettings):
    """One immutable version of a model."""

    model: Annotated[
        Name,
        Field(
            description="The model that this is a version of; also the name of the Service that callers use. Immutable."
        ),
    ]
    version: Annotated[SemVer, Field(description="The version, as SemVer. Immutable.")]
    artifact: Annotated[Artifact | None, Field(description="The bundle. Immutable. Either this or trainingJobRef.")] = (
        None
    )
    training_job_ref: Annotated[
        TrainingJobRef | None,
        Field(description="The TrainingJob whose bundle this is. Immutable. Either this or artifact."),
    ] = None

    @model_validator(mode="after")
    def _one_source(self) -> ModelVersionSpec:
        if (self.artifact is None) == (self.training_job_ref is None):
            raise ValueError("spec: give either artifact or trainingJobRef")
        return self


class Weight(Document):
    """Who gets the new version's answers, in percent of requests."""

    requested: Annotated[float, Field(description="What the rollout asks for now.")] = 0
    actual: Annotated[
        float | None,
        Field(description="What callers really got since the rollout began, about; none of fewer than 50 requests."),
    ] = None


class SignalEvidence(Document):
    """What one signal says so far. The verdict is exact; figures are computed from rough counts."""

    name: Annotated[
        Literal["validity", "errors", "latency", "flips", "latency-shift", "score-shift"],
        Field(description="The signal: validity, errors, latency, flips, latency-shift or score-shift."),
    ]
    verdict: Annotated[
        Verdict, Field(description="Hold: not enough evidence. Pass: harm is bounded below the margin. Harm: shown.")
    ]
    samples: Annotated[int, Field(description="Pairs that the signal rests on, about.")]
    estimate: Annotated[
        float | None,
        Field(description="The estimated extra rate (for flips: the rate; for shifts: at the worst level)."),
    ] = None
    bound: Annotated[float | None, Field(description="Its upper confidence bound, valid at any time; at most.")] = None
    threshold: Annotated[float, Field(description="What the bound must stay below.")]
    log_evidence: Annotated[float | None, Field(description="Natural logarithm of the evidence for harm.")] = None
    evidence_needed: Annotated[float | None, Field(description="The logarithm at which harm is called.")] = None
    samples_needed: Annotated[
        int | None, Field(description="At least how many pairs in all a pass needs at the present rates.")
    ] = None


class SubgroupEvidence(Document):
    """What the signal that speaks most against the version says in one stratum of a subgroup. Figures are of rough counts."""

    stratum: Annotated[str, Field(description="Whose requests, such as sex=female.")]
    state: Annotated[
        Literal["InsufficientData", "Quiet", "Bounded", "TooSmall", "Harm"],
        Field(
            description="InsufficientData: too few pairs to say anything. Quiet: no harm is shown, nor is it known to be "
            "bounded. Bounded: harm is below subgroupMargin. TooSmall: less than subgroupLeastShare of the requests, so promotion does "
            "not wait for a bound. Harm: it is shown."
        ),
    ]
    pairs: Annotated[str, Field(description="How many pairs: a number, or '<11'.")]
    signal: Annotated[
        Literal["errors", "latency", "flips"] | None, Field(description="The signal: errors, latency or flips.")
    ] = None
    estimate: Annotated[
        float | None,
        Field(
            description="The estimated extra rate (for flips: the rate); absent while it rests on fewer than 11 events."
        ),
    ] = None
    log_evidence: Annotated[
        float | None, Field(description="Natural logarithm of the evidence for harm; absent as the estimate is.")
    ] = None
    evidence_needed: Annotated[
        float | None, Field(description="The logarithm at which harm is called, over all strata and signals (e-BH).")
    ] = None


class Decided(Document):
    """The last promotion or rollback; the ConfigMap MODEL-modelward has it in full."""

    time: Annotated[Timestamp, Field(description="When.")]
    outcome: Annotated[Outcome, Field(description="promote, rollback or release.")]
    reason: Annotated[str, Field(description="A CamelCase word for programs.")]
    evidence_digest: Annotated[
        Digest,
        Field(description="SHA-256 of the canonical JSON of what was decided on: both digests, counts, margins."),
    ]


class Endpoints(Document):
    """Where callers find the model."""

    rest: Annotated[str | None, Field(description="Open Inference Protocol over REST.")] = None
    grpc: Annotated[str | None, Field(description="Open Inference Protocol over gRPC.")] = None


class Transition(Document):
    """One change of phase."""

    time: Annotated[Timestamp, Field(description="When.")]
    from_phase: Annotated[Phase | None, Field(description="The phase before.")] = None
    to_phase: Annotated[Phase, Field(description="The phase after.")]
    reason: Annotated[str, Field(description="A CamelCase word for programs.")]
    message: Annotated[str, Field(description="A sentence for people.")] = ""


class ModelVersionStatus(Document):
    """What the operator makes of the version."""

    observed_generation: Annotated[
        int | None, Field(description="The metadata.generation that this status speaks of.")
    ] = None
    phase: Annotated[Phase | None, Field(description="Where the version is in its life.")] = None
    message: Annotated[
        str | None, Field(description="One line for people: what is happening and what it waits for.")
    ] = None
    phase_since: Annotated[Timestamp | None, Field(description="When the phase began.")] = None
    step: Annotated[int | None, Field(description="Index of the canary step in force.")] = None
    step_since: Annotated[Timestamp | None, Field(description="When the step began.")] = None
    step_pairs: Annotated[int | None, Field(description="Pairs seen before the step began, about.")] = None
    champion: Annotated[str | None, Field(description="The ModelVersion that this one is or was compared with.")] = None
    artifact: Annotated[Artifact | None, Field(description="The bundle that is or was deployed.")] = None
    weight: Annotated[Weight | None, Field(description="Requested and actual weight.")] = None
    verdict: Annotated[Verdict | None, Field(description="What the evidence says: Hold, Pass or Harm.")] = None
    evidence: Annotated[tuple[SignalEvidence, ...], Field(description="What each signal says.")] = ()
    subgroups: Annotated[
        tuple[SubgroupEvidence, ...],
        Field(
            description="What the declared subgroups show; if they have more strata, the most telling.", max_length=8
        ),
    ] = ()
    decided: Annotated[Decided | None, Field(description="The last promotion or rollback of this version.")] = None
    rolled_back_at: Annotated[
        Timestamp | None, Field(description="When its digest was last rolled back; spec.rollout.release asks for it.")
    ] = None
    endpoints: Annotated[Endpoints | None, Field(description="Where callers find the model.")] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            description="Ready, Reconciling, Stalled (kstatus), ArtifactVerified, ParityVerified, Available, AnalysisPassing, "
            "Promoted, Paused, RolledBack, Retired (then without Ready: it has no pods), TlsReady.",
        ),
    ] = ()
    history: Annotated[
        tuple[Transition, ...], Field(description="The last transitions, newest last.", max_length=16)
    ] = ()
