"""What one reconcile of a model sees: frozen values, read once, decided on by pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from modelward_api.base import Digest
from modelward_api.bundle.documents import BundleDocuments
from modelward_api.resources.modelversion import Artifact, ModelVersionSpec, ModelVersionStatus
from modelward_operator.domain.core import caller_auth
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.core.record import ModelRecord
from modelward_operator.domain.drift.observation import Monitor


@dataclass(frozen=True, slots=True)
class Pod:
    """One serving pod."""

    name: str
    uid: str = ""
    ip: str | None = None
    ready: bool = False
    tls: bool = False
    """Whether it speaks TLS."""
    callers: str = ""
    """The fingerprint of whose tokens it takes."""
    verified: bool = False
    """The init container fetched the bundle and found its digest right."""
    failure: Failure | None = None
    """What its containers said when they ended badly (DigestMismatch ...), or why it cannot start (ImagePullBackOff)."""
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class Workload:
    """The Deployment of one version."""

    replicas: int
    """Wanted by its spec now."""
    deleting: bool = False
    failure: Failure | None = None
    """Why its controller gets no pods: a quota, a policy."""


@dataclass(frozen=True, slots=True)
class Version:
    """One ModelVersion with all that belongs to it."""

    name: str
    uid: str
    generation: int
    created: datetime
    spec: ModelVersionSpec
    status: ModelVersionStatus
    deleting: bool = False
    """Its object is deleted, or is about to be; its pods may answer all the same."""
    finalizer: bool = False
    """Whether the finalizer of an earlier release is on it."""
    artifact: Artifact | None = None
    """spec.artifact, or what the TrainingJob it refers to has made."""
    artifact_failure: Failure | None = None
    """Why there will be no artifact (TrainingJobFailed, TrainingJobNotFound); None while it is merely awaited."""
    workload: Workload | None = None
    pods: tuple[Pod, ...] = ()

    @property
    def digest(self) -> Digest | None:
        """Its bundle's digest, once that is known."""
        return self.artifact.digest if self.artifact else None

    @property
    def failure(self) -> Failure | None:
        """What its pods complain of, or why there are none."""
        said = next((pod.failure for pod in self.pods if pod.failure), None)
        return said or (self.workload.failure if self.workload else None)

    @property
    def ready_pods(self) -> int:
        """How many of its pods answer."""
        return sum(pod.ready and not pod.deleting for pod in self.pods)

    @property
    def tls(self) -> bool:
        """Whether its pods shall speak TLS."""
        return self.spec.serving.tls is not None

    @property
    def callers(self) -> str:
        """Whose tokens its pods shall take, as a fingerprint."""
        return caller_auth.fingerprint(self.spec.serving.authentication)

    def is_current(self, pod: Pod) -> bool:
        """Whether a pod of it speaks to callers as its spec says now: it may be older than the spec."""
        return pod.tls == self.tls and pod.callers == self.callers

    @property
    def is_autoscaled(self) -> bool:
        """Whether an autoscaler sets its number of pods while it is the champion."""
        return self.spec.serving.autoscaling is not None


@dataclass(frozen=True, slots=True)
class InvalidVersion:
    """A ModelVersion whose spec the models refuse though the schema let it through."""

    name: str
    generation: int
    status: ModelVersionStatus
    error: str
    deleting: bool = False
    finalizer: bool = False


@dataclass(frozen=True, slots=True)
class ModelService:
    """The model's Service as it is."""

    selects: str | None
    """The ModelVersion whose pods it selects."""
    ours: bool


@dataclass(frozen=True, slots=True)
class Observation:
    """All that one reconcile of one model knows."""

    namespace: str
    model: str
    versions: tuple[Version, ...]
    service: ModelService | None
    record: ModelRecord
    """The durable record, with this round's counters already merged in."""
    tripped: Mapping[Digest, str] = field(default_factory=dict)
    """By challenger digest: why a champion pod stopped answering from it."""
    documents: Mapping[Digest, BundleDocuments] = field(default_factory=dict)
    """By bundle digest, for those whose pods could be asked."""
    monitors: tuple[Monitor, ...] = ()
    invalid: tuple[InvalidVersion, ...] = ()
    lost: str | None = None
    """What somebody has deleted of the record or the quarantine."""
    refused: Mapping[str, Failure] = field(default_factory=dict)
    """By ModelVersion name: why one of its pods refused its lease when it was last told."""
