"""Settings of the installation: images, store, accounts. Read once from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from modelward_api.base import Document
from modelward_api.resources.pods import PodSettings, Resources

CHOICES = {
    "MODELWARD_IMAGE_PULL_POLICY": ("Always", "IfNotPresent", "Never"),
    "MODELWARD_LOG_LEVEL": ("DEBUG", "INFO", "WARNING", "ERROR"),
}
STORE_MOUNT = "/var/lib/modelward/store"


class InvalidSettingsError(ValueError):
    """An environment variable is missing or invalid."""


class Component(Document):
    """Settings of the pods of one kind in this installation."""

    pod: PodSettings = PodSettings()
    resources: Resources = Resources()
    """Resources of the main container, where the object sets none."""


class Pods(Document):
    """Pod settings of this installation, from the chart's values; each object may override them."""

    pod_defaults: PodSettings = PodSettings()
    serving: Component = Component()
    training: Component = Component()
    batch: Component = Component()

    @classmethod
    def read(cls, written: str) -> Pods:
        """Parse the JSON that the chart writes.

        Raises:
            InvalidSettingsError: with the path of the value that makes no sense.
        """
        try:
            return cls.model_validate_json(written)
        except ValidationError as error:
            problem = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(str(part) for part in problem["loc"])
            raise InvalidSettingsError(f"MODELWARD_PODS (the chart's values): {where}: {problem['msg']}") from error


@dataclass(frozen=True, slots=True)
class Settings:
    """The operator's settings."""

    serving_image: str
    training_image: str
    namespaces: tuple[str, ...] = ()
    """Namespaces to watch; empty means all."""
    image_pull_policy: str = "IfNotPresent"
    store_uri: str = f"file://{STORE_MOUNT}"
    store_claim: str | None = None
    """The PersistentVolumeClaim behind the store, in every watched namespace."""
    store_secret: str | None = None
    """A Secret whose keys are the environment of an object store (AWS_ACCESS_KEY_ID ...)."""
    private_hosts: str = ""
    """Private hosts that https sources may name, separated by commas."""
    serving_service_account: str = "default"
    training_service_account: str = "default"
    pods: Pods = field(default_factory=Pods)
    """Pod settings where the objects set none."""
    tracing_endpoint: str | None = None
    """The OTLP/HTTP endpoint for serving pods' traces; None for no traces."""
    tracing_ratio: str = "1"
    """The share of requests that is traced, where the client has not decided."""
    log_level: str = "INFO"
    pod_namespace: str = "default"
    pod_name: str = "modelward"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Settings:
        """Read MODELWARD_* as the chart sets them.

        Raises:
            InvalidSettingsError: an image is not set, or a value is none of those there are.
        """
        missing = [n for n in ("MODELWARD_SERVING_IMAGE", "MODELWARD_TRAINING_IMAGE") if not environ.get(n)]
        if missing:
            raise InvalidSettingsError(f"{' and '.join(missing)} must be set: the images that the operator deploys")
        for name, choices in CHOICES.items():
            if (value := environ.get(name)) and value not in choices:
                raise InvalidSettingsError(f"{name}: must be one of {', '.join(choices)}, not {value!r}")
        names = environ.get("MODELWARD_NAMESPACES", "")
        return cls(
            serving_image=environ["MODELWARD_SERVING_IMAGE"],
            training_image=environ["MODELWARD_TRAINING_IMAGE"],
            namespaces=tuple(name.strip() for name in names.split(",") if name.strip()),
            image_pull_policy=environ.get("MODELWARD_IMAGE_PULL_POLICY") or "IfNotPresent",
            store_uri=environ.get("MODELWARD_STORE_URI") or f"file://{STORE_MOUNT}",
            store_claim=environ.get("MODELWARD_STORE_CLAIM") or None,
            store_secret=environ.get("MODELWARD_STORE_SECRET") or None,
            private_hosts=environ.get("MODELWARD_PRIVATE_HOSTS", ""),
            serving_service_account=environ.get("MODELWARD_SERVING_SERVICE_ACCOUNT") or "default",
            training_service_account=environ.get("MODELWARD_TRAINING_SERVICE_ACCOUNT") or "default",
            pods=Pods.read(environ.get("MODELWARD_PODS") or "{}"),
            tracing_endpoint=environ.get("MODELWARD_TRACING_ENDPOINT") or None,
            tracing_ratio=environ.get("MODELWARD_TRACING_RATIO") or "1",
            log_level=environ.get("MODELWARD_LOG_LEVEL") or "INFO",
            pod_namespace=environ.get("POD_NAMESPACE") or "default",
            pod_name=environ.get("POD_NAME") or "modelward",
        )
