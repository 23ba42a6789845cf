"""ModelVersion: one immutable version of a model, with its rollout and serving settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from modelward_api.base import Digest, Document, Duration, Fraction, Name, SemVer, Timestamp, Uri, exactly_one
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

MIN_ABOVE_MAX = "minReplicas must not be greater than maxReplicas"


class Artifact(Document):
    """Address and digest of a bundle."""

    uri: Annotated[
        Uri,
        Field(
            description="Address of the bundle: store://PATH in the artifact store, s3://BUCKET/KEY, or file:// below the "
            "store."
        ),
    ]
    digest: Annotated[Digest, Field(description="Digest of the bundle. Pods refuse a bundle with any other digest.")]


class TrainingJobRef(Document):
    """Reference to the TrainingJob in the same namespace that makes the bundle."""

    name: Annotated[Name, Field(description="Name of the TrainingJob.")]


class Autoscaling(Document):
    """Bounds and targets of a HorizontalPodAutoscaler."""

    min_replicas: Annotated[int, Field(ge=1, le=100, description="Minimum number of pods.")] = 1
    max_replicas: Annotated[int, Field(ge=1, le=100, description="Maximum number of pods.")]
    target_cpu_utilization_percentage: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            alias="targetCPUUtilizationPercentage",
            description="Target CPU utilization, in percent of the requested CPU. Pods are added above it and removed below "
            "it.",
        ),
    ] = 70
    target_requests_in_flight: Annotated[
        int | None,
        Field(
            ge=1,
            le=10_000,
            description="Target number of concurrent requests per pod, in addition to CPU. Needs a metrics adapter that "
            "serves modelward_requests_in_flight through the custom metrics API.",
        ),
    ] = None

    @model_validator(mode="after")
    def _ordered(self) -> Autoscaling:
        if self.min_replicas > self.max_replicas:
            raise ValueError(MIN_ABOVE_MAX)
        return self


class Tls(Document):
    """TLS on the inference port."""

    secret_name: Annotated[
        str,
        Field(
            pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
            max_length=253,
            description="Name of a Secret of type kubernetes.io/tls, such as cert-manager creates: tls.crt for "
            "MODEL.NAMESPACE.svc, tls.key and ca.crt. Pods reload it when it changes.",
        ),
    ]
    client_authentication: Annotated[
        Literal["none", "required"],
        Field(
            description="none: clients need no certificate. required: clients need a certificate signed by ca.crt of the "
            "Secret."
        ),
    ] = "none"


class Authentication(Document):
    """Bearer tokens (JWT) that clients need for inference. Health, metrics and metadata stay open."""

    issuer: Annotated[str, Field(min_length=1, max_length=512, description="Required iss claim, compared exactly.")]
    audiences: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=256)], ...],
        Field(
            min_length=1,
            max_length=8,
            description="Accepted audiences. The token's aud claim must contain at least one of them.",
        ),
    ]
    subjects: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=256)], ...],
        Field(
            max_length=64,
            description="Allowed sub claims, such as system:serviceaccount:clinic:ward. Empty: any valid token for one of the "
            "audiences.",
        ),
    ] = ()
    jwks_url: Annotated[
        str | None,
        Field(
            pattern=r"^https?://[^ ]+$",
            max_length=2048,
            description="URL from which the pods fetch the issuer's public keys, once a minute.",
        ),
    ] = None
    jwks_config_map: Annotated[
        str | None,
        Field(
            pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
            max_length=253,
            description="Name of a ConfigMap whose key jwks.json holds the issuer's public keys. For the cluster's own "
            "ServiceAccounts, kubectl get --raw /openid/v1/jwks prints them. Pods reload it when it changes.",
        ),
    ] = None

    @model_validator(mode="after")
    def _one_source(self) -> Authentication:
        if (self.jwks_url is None) == (self.jwks_config_map is None):
            raise ValueError(exactly_one("jwksUrl", "jwksConfigMap"))
        return self


class Serving(Document):
    """Serving settings of a version."""

    replicas: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            description="Number of pods while this version is the champion. A challenger gets as many of them as its weight "
            "needs, and at least 1. Leave it out with autoscaling.",
        ),
    ] = 1
    autoscaling: Annotated[
        Autoscaling | None,
        Field(
            description="Let a HorizontalPodAutoscaler set the number of pods while this version is the champion. Replaces "
            "replicas."
        ),
    ] = None
    tls: Annotated[
        Tls | None,
        Field(
            description="Serve over https only. The champion and its challenger must use the same setting: change the "
            "champion first."
        ),
    ] = None
    authentication: Annotated[
        Authentication | None,
        Field(
            description="Require a bearer token for inference. The champion forwards its clients' tokens to the challenger."
        ),
    ] = None
    resources: Annotated[Resources, Field(description="CPU and memory of each serving pod.")] = Resources()
    node_selector: Annotated[
        dict[str, str],
        Field(description="Labels that a node must have to run the pods. pod.nodeSelector adds to them."),
    ] = {}
    pod: Annotated[PodSettings, Field(description="Pod settings: placement, environment, certificate authorities.")] = (
        PodSettings()
    )
    request_timeout: Annotated[Duration, Field(description="Maximum duration of one inference request.")] = "10s"
    sticky_header: Annotated[
        str | None,
        Field(
            description="Request header whose hash chooses the model, such as X-Encounter-Id: the same encounter is always "
            "answered by the same version. Without it each request is assigned at random. The header's value is "
            "never stored or logged.",
            pattern=r"^[A-Za-z0-9-]+$",
            max_length=64,
        ),
    ] = None
    count_by: Annotated[
        Literal["request", "encounter"],
        Field(
            description="What drift monitors count. request: every row. encounter: for requests with stickyHeader, only the "
            "first row that each pod sees of an encounter within one to two weeks, divided by the number of pods. Use it where "
            "patients are scored repeatedly. Needs stickyHeader; requests without that header are counted by row.",
        ),
    ] = "request"


class RolloutStep(Document):
    """One step of a canary."""

    weight: Annotated[
        int, Field(ge=1, le=100, description="Percentage of requests whose client gets the new version's prediction.")
    ]
    min_requests: Annotated[
        int, Field(ge=0, le=1_000_000, description="Minimum number of paired requests in this step.")
    ] = 50
    pause: Annotated[Duration, Field(description="Minimum duration of this step.")] = "0s"


class Analysis(Document):
    """Margins that the evidence is tested against. Every test stays valid however often it is checked."""

    error_margin: Annotated[
        float,
        Field(
            gt=0,
            le=0.5,
            description="Promote only if the upper confidence bounds on the extra error rate and on the extra rate of missed "
            "deadlines are below this.",
        ),
    ] = 0.02
    latency_objective: Annotated[
        Duration,
        Field(
            description="Response time above which a request counts as a missed deadline. Set it below your clients' timeout."
        ),
    ] = "500ms"
    flip_allowance: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="Share of requests on which the two versions may decide differently, each at its own operating "
            "threshold. Evidence for more rolls the version back; promotion needs an upper bound below it. 1 "
            "allows any share.",
        ),
    ] = 0.1
    latency_shift: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="How much the share of responses slower than an eighth, a quarter or half of latencyObjective may "
            "grow. Evidence for more rolls the version back; promotion needs an upper bound below it. The "
            "champion's time does not include the network between the two: set latencyObjective well above that. "
            "1 allows any shift.",
        ),
    ] = 0.5
    score_shift: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="How much the share of requests with a score of at least 0.1, 0.2 ... 0.9 may differ. Evidence for "
            "more rolls the version back; promotion needs an upper bound below it. 1 allows any shift: it is only "
            "reported.",
        ),
    ] = 1.0
    alpha: Annotated[
        float,
        Field(
            gt=0,
            lt=0.5,
            description="Probability of calling harm where there is none, over the whole rollout and all signals.",
        ),
    ] = 0.05
    subgroups: Annotated[
        Literal["guard", "report"],
        Field(
            description="guard: evidence for harm in any declared subgroup rolls the version back, even if the average looks "
            "fine, and promotion needs bounded harm in each of them. report: subgroups are reported only.",
        ),
    ] = "guard"
    subgroup_margin: Annotated[
        float,
        Field(
            gt=0,
            le=0.5,
            description="Promote only if, in each declared subgroup, the upper confidence bounds on the extra error rate and "
            "on the extra rate of missed deadlines are below this, and the bound on changed decisions is below "
            "flipAllowance.",
        ),
    ] = 0.05
    subgroup_least_share: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="Promotion does not wait for a bound in a subgroup that is shown to make up less than this share of "
            "the requests; the status says so. 0: wait for every subgroup.",
        ),
    ] = 0.05
    subgroup_minimum: Annotated[
        int,
        Field(
            ge=0,
            le=1_000_000,
            description="Minimum number of paired requests in each declared subgroup before promotion, including subgroups "
            "too small for a bound. 0: only what the bounds need.",
        ),
    ] = 0


class Rollout(Document):
    """Rollout settings of a version."""

    strategy: Annotated[
        Literal["canary", "shadow", "direct"],
        Field(
            description="canary: traffic moves in steps, and the evidence promotes or rolls back. shadow: the version scores "
            "the champion's requests and is reported on; clients never get its predictions and it is never "
            "promoted. direct: takes over once it is ready, without evidence.",
        ),
    ] = "canary"
    steps: Annotated[
        tuple[RolloutStep, ...],
        Field(
            description="Steps of the canary, with increasing weights. After the last step the evidence decides.",
            min_length=1,
            max_length=20,
        ),
    ] = (RolloutStep(weight=5), RolloutStep(weight=20), RolloutStep(weight=50))
    mirror: Annotated[
        Fraction,
        Field(
            description="Fraction of the champion's other requests that the new version scores as well, for evidence only. At "
            "1 every request gives a pair, so low traffic suffices. If the new version has too few pods for "
            "that, the fraction is lowered.",
        ),
    ] = 1.0
    analysis: Annotated[Analysis, Field(description="What the evidence must show.")] = Analysis()
    keep_warm: Annotated[
        Duration,
        Field(description="How long the previous version stays ready to take over again after a promotion."),
    ] = "1h"
    deadline: Annotated[
        Duration,
        Field(description="A canary that is still undecided after this time is rolled back (and not quarantined)."),
    ] = "7d"
    paused: Annotated[bool, Field(description="Pauses the rollout at its current weight. Rollbacks still happen.")] = (
        False
    )
    supersedes: Annotated[
        bool,
        Field(
            description="Whether this version replaces an older one that is still rolling out, once its bundle is verified. "
            "If false, it waits until that rollout ends. A shadow replaces only shadows.",
        ),
    ] = True
    withdrawn: Annotated[
        bool,
        Field(
            description="Withdraws the version manually, in any phase. If it is the champion, traffic returns to the previous "
            "version: at once if that is warm, otherwise when its pods are ready. The digest is quarantined.",
        ),
    ] = False
    withdrawn_because: Annotated[
        str | None,
        Field(
            pattern=r"^[^\r\n]+$",
            max_length=256,
            description="Why the version is withdrawn, such as late outcomes. Copied to the status, the Event and the "
            "decision record: do not put patient data here.",
        ),
    ] = None
    release: Annotated[
        Timestamp | None,
        Field(
            pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$",
            description="Set this to the time in status.rolledBackAt to roll out a rolled-back or quarantined version again. "
            "It works once: another rollback has another time.",
        ),
    ] = None


class Governance(Document):
    """What people should know about the model. Modelward keeps it and does not act on it."""

    intended_use: Annotated[str, Field(description="Intended use of the model.", max_length=2048)] = ""
    population: Annotated[str, Field(description="Intended patient population.", max_length=2048)] = ""
    risks: Annotated[tuple[str, ...], Field(description="Known risks.", max_length=32)] = ()
    limitations: Annotated[tuple[str, ...], Field(description="Known limitations.", max_length=32)] = ()
    owner: Annotated[str, Field(description="Person or team responsible for the model.", max_length=253)] = ""


class VersionSettings(Document):
    """Settings of a ModelVersion that a TrainingJob's template can set."""

    serving: Annotated[Serving, Field(description="How the version is served.")] = Serving()
    rollout: Annotated[Rollout, Field(description="How the version takes over from the champion.")] = Rollout()
    governance: Annotated[
        Governance,
        Field(description="Intended use, population, risks and limitations of the model. For readers only."),
    ] = Governance()


class ModelVersionSpec(VersionSettings):
    """One immutable version of a model."""

    model: Annotated[
        Name,
        Field(description="Name of the model, and of the Service that clients use. Immutable."),
    ]
    version: Annotated[SemVer, Field(description="Version of the model, in SemVer. Immutable.")]
    artifact: Annotated[
        Artifact | None, Field(description="The bundle to serve. Immutable. Set either this or trainingJobRef.")
    ] = None
    training_job_ref: Annotated[
        TrainingJobRef | None,
        Field(description="The TrainingJob that makes the bundle. Immutable. Set either this or artifact."),
    ] = None

    @model_validator(mode="after")
    def _one_source(self) -> ModelVersionSpec:
        if (self.artifact is None) == (self.training_job_ref is None):
            raise ValueError(exactly_one("artifact", "trainingJobRef"))
        return self


class Weight(Document):
    """Share of requests that the new version answers, in percent."""

    requested: Annotated[float, Field(description="Percentage that the rollout currently requests.")] = 0
    actual: Annotated[
        float | None,
        Field(
            description="Approximate percentage of requests that the version answered since the rollout began. Absent with fewer "
            "than 50 requests."
        ),
    ] = None


class SignalEvidence(Document):
    """Evidence for one signal. The verdict is exact; figures are computed from rough counts."""

    name: Annotated[
        Literal["validity", "errors", "latency", "flips", "latency-shift", "score-shift"],
        Field(description="Name of the signal: validity, errors, latency, flips, latency-shift or score-shift."),
    ]
    verdict: Annotated[
        Verdict,
        Field(
            description="Hold: not enough evidence yet. Pass: harm is bounded below the margin. Harm: harm is shown."
        ),
    ]
    samples: Annotated[int, Field(description="Approximate number of paired requests behind this signal.")]
    estimate: Annotated[
        float | None,
        Field(description="Estimated extra rate; for flips the rate itself, for shifts the value at the worst level."),
    ] = None
    bound: Annotated[
        float | None, Field(description="Upper confidence bound on the estimate, valid at any time; rounded up.")
    ] = None
    threshold: Annotated[float, Field(description="Value that the bound must stay below.")]
    log_evidence: Annotated[float | None, Field(description="Natural logarithm of the evidence for harm.")] = None
    evidence_needed: Annotated[float | None, Field(description="Log-evidence above which harm is called.")] = None
    samples_needed: Annotated[
        int | None, Field(description="Least total number of pairs that a pass needs at the current rates.")
    ] = None


class SubgroupEvidence(Document):
    """Evidence in one group of patients, for the signal that speaks most against the version. Figures are from rough counts."""

    stratum: Annotated[str, Field(description="Group of patients, such as sex=female.")]
    state: Annotated[
        Literal["InsufficientData", "Quiet", "Bounded", "TooSmall", "Harm"],
        Field(
            description="InsufficientData: too few pairs to say anything. Quiet: harm is neither shown nor bounded yet. "
            "Bounded: harm is below subgroupMargin. TooSmall: less than subgroupLeastShare of the requests, so "
            "promotion does not wait for a bound. Harm: harm is shown."
        ),
    ]
    pairs: Annotated[
        str,
        Field(
            description="Approximate number of paired requests. 'few': fewer than 20, or not published because the "
            "column has few in total; "
            "'20 or more': not published because another stratum of the column has few."
        ),
    ]
    signal: Annotated[
        Literal["errors", "latency", "flips"] | None,
        Field(description="Signal with the most evidence against the version: errors, latency or flips."),
    ] = None
    estimate: Annotated[
        float | None,
        Field(
            description="Estimated extra rate; for flips the rate itself. Absent while a stratum of the column has fewer than 20 "
            "such failures."
        ),
    ] = None
    log_evidence: Annotated[
        float | None, Field(description="Natural logarithm of the evidence for harm. Absent while the estimate is.")
    ] = None
    evidence_needed: Annotated[
        float | None, Field(description="Log-evidence above which harm is called, over all strata and signals (e-BH).")
    ] = None


class Decided(Document):
    """Last promotion or rollback. The ConfigMap MODEL-modelward has the full record."""

    time: Annotated[Timestamp, Field(description="Time of the decision.")]
    outcome: Annotated[Outcome, Field(description="Outcome: promote, rollback or release.")]
    reason: Annotated[str, Field(description="Machine-readable reason in CamelCase; see docs/reference/reasons.md.")]
    evidence_digest: Annotated[
        Digest,
        Field(
            description="SHA-256 of the canonical JSON of what the decision was based on: both digests, counts and margins."
        ),
    ]


class Endpoints(Document):
    """Addresses at which clients reach the model."""

    rest: Annotated[str | None, Field(description="URL of the Open Inference Protocol over REST.")] = None
    grpc: Annotated[str | None, Field(description="Address of the Open Inference Protocol over gRPC.")] = None


class Transition(Document):
    """One change of phase."""

    time: Annotated[Timestamp, Field(description="Time of the transition.")]
    from_phase: Annotated[Phase | None, Field(description="Phase before the transition.")] = None
    to_phase: Annotated[Phase, Field(description="Phase after the transition.")]
    reason: Annotated[str, Field(description="Machine-readable reason in CamelCase; see docs/reference/reasons.md.")]
    message: Annotated[str, Field(description="Human-readable message.")] = ""


class ModelVersionStatus(Document):
    """Observed state of a ModelVersion."""

    observed_generation: Annotated[
        int | None, Field(description="The metadata.generation that this status was computed from.")
    ] = None
    phase: Annotated[Phase | None, Field(description="Phase of the version's life cycle.")] = None
    message: Annotated[
        str | None, Field(description="Human-readable summary in one line: what is happening and what it waits for.")
    ] = None
    phase_since: Annotated[Timestamp | None, Field(description="Time at which the phase began.")] = None
    step: Annotated[int | None, Field(description="Index of the current canary step.")] = None
    step_since: Annotated[Timestamp | None, Field(description="Time at which the step began.")] = None
    step_pairs: Annotated[
        int | None, Field(description="Approximate number of paired requests before the step began.")
    ] = None
    champion: Annotated[
        str | None, Field(description="Name of the ModelVersion that this one is or was compared with.")
    ] = None
    artifact: Annotated[Artifact | None, Field(description="Bundle that is or was deployed.")] = None
    weight: Annotated[Weight | None, Field(description="Requested and actual weight.")] = None
    verdict: Annotated[Verdict | None, Field(description="Verdict of the evidence: Hold, Pass or Harm.")] = None
    evidence: Annotated[tuple[SignalEvidence, ...], Field(description="Evidence for each signal.")] = ()
    subgroups: Annotated[
        tuple[SubgroupEvidence, ...],
        Field(
            description="Evidence in the declared subgroups; if there are more than 8 strata, the most telling ones.",
            max_length=8,
        ),
    ] = ()
    decided: Annotated[Decided | None, Field(description="Last promotion or rollback of this version.")] = None
    rolled_back_at: Annotated[
        Timestamp | None,
        Field(
            description="Time of the last rollback of this digest. Copy it to spec.rollout.release to roll the version out "
            "again."
        ),
    ] = None
    endpoints: Annotated[Endpoints | None, Field(description="Addresses at which clients reach the model.")] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            description="Ready, Reconciling and Stalled (kstatus), ArtifactVerified, ParityVerified, Available, AnalysisPassing, "
            "Promoted, Paused, RolledBack, Retired (a retired version has no pods and no condition Ready), TlsReady, LeaseTaken, "
            "RecordKept, ChampionPresent, Applied, AnalysisCurrent, SubgroupsDeclared.",
        ),
    ] = ()
    history: Annotated[
        tuple[Transition, ...], Field(description="Most recent transitions, newest last.", max_length=16)
    ] = ()
