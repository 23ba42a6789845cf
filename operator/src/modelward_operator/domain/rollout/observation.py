"""The observation of one model: frozen values, read once, for pure functions to decide on."""

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
    """Whether it serves TLS."""
    callers: str = ""
    """The fingerprint of the tokens that it accepts."""
    verified: bool = False
    """Whether the init container has fetched the bundle and verified its digest."""
    failure: Failure | None = None
    """The failure that its containers reported when they ended (DigestMismatch ...), or why it cannot start
    (ImagePullBackOff).
    """
    deleting: bool = False


@dataclass(frozen=True, slots=True)
class Workload:
    """The Deployment of one version."""

    replicas: int
    """The replicas in its spec."""
    deleting: bool = False
    failure: Failure | None = None
    """Why its controller cannot create pods, such as a quota or a policy."""


@dataclass(frozen=True, slots=True)
class Version:
    """One ModelVersion with its Deployment and pods."""

    name: str
    uid: str
    generation: int
    created: datetime
    spec: ModelVersionSpec
    status: ModelVersionStatus
    deleting: bool = False
    """Whether its object is being deleted or is gone; its pods may still serve."""
    finalizer: bool = False
    """Whether it carries the finalizer of an earlier Modelward release."""
    artifact: Artifact | None = None
    """spec.artifact, or the artifact of the TrainingJob in spec.trainingJobRef."""
    artifact_failure: Failure | None = None
    """Why there will be no artifact (TrainingJobFailed, TrainingJobNotFound); None while there may still be one."""
    workload: Workload | None = None
    pods: tuple[Pod, ...] = ()

    @property
    def digest(self) -> Digest | None:
        """The digest of its bundle, once known."""
        return self.artifact.digest if self.artifact else None

    @property
    def failure(self) -> Failure | None:
        """The failure that a pod reports, or why there are no pods."""
        reported = next((pod.failure for pod in self.pods if pod.failure), None)
        return reported or (self.workload.failure if self.workload else None)

    @property
    def ready_pods(self) -> int:
        """The number of its ready pods."""
        return sum(pod.ready and not pod.deleting for pod in self.pods)

    @property
    def tls(self) -> bool:
        """Whether its spec asks for TLS."""
        return self.spec.serving.tls is not None

    @property
    def callers(self) -> str:
        """The fingerprint of the tokens that its spec accepts."""
        return caller_auth.fingerprint(self.spec.serving.authentication)

    def is_current(self, pod: Pod) -> bool:
        """Whether a pod has the TLS and authentication settings of the current spec."""
        return pod.tls == self.tls and pod.callers == self.callers

    @property
    def is_autoscaled(self) -> bool:
        """Whether an autoscaler sets its replicas while it is the champion."""
        return self.spec.serving.autoscaling is not None


@dataclass(frozen=True, slots=True)
class InvalidVersion:
    """A ModelVersion whose spec passed the schema and fails validation."""

    name: str
    generation: int
    status: ModelVersionStatus
    error: str
    deleting: bool = False
    finalizer: bool = False


@dataclass(frozen=True, slots=True)
class ModelService:
    """The model's Service."""

    selects: str | None
    """The ModelVersion whose pods it selects."""
    ours: bool
    owner: str = "not managed by Modelward"
    """The owner of a foreign Service, in words."""


@dataclass(frozen=True, slots=True)
class Observation:
    """The input of one reconcile of one model."""

    namespace: str
    model: str
    versions: tuple[Version, ...]
    service: ModelService | None
    record: ModelRecord
    """The durable record, with the counts of this reconcile merged in."""
    tripped: Mapping[Digest, str] = field(default_factory=dict)
    """By challenger digest: why a champion pod stopped forwarding to it."""
    documents: Mapping[Digest, BundleDocuments] = field(default_factory=dict)
    """By bundle digest, for those whose pods could be reached."""
    monitors: tuple[Monitor, ...] = ()
    invalid: tuple[InvalidVersion, ...] = ()
    lost: str | None = None
    """The part of the record or the quarantine that was deleted by others."""
    refused: Mapping[str, Failure] = field(default_factory=dict)
    """By ModelVersion name: why one of its pods refused its last lease."""
    certificates: Mapping[str, Failure] = field(default_factory=dict)
    """By ModelVersion name: why one of its pods cannot use its TLS files any more."""
