"""What the installation decides: images, store, accounts. Read once from the environment."""

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
    """A variable of the environment is missing or makes no sense."""


class Component(Document):
    """How the pods of one kind run in this installation."""

    pod: PodSettings = PodSettings()
    resources: Resources = Resources()
    """Of the main container, where the object says nothing."""


class Pods(Document):
    """How pods run in this installation: what the chart's values say, under what each object says."""

    pod_defaults: PodSettings = PodSettings()
    serving: Component = Component()
    training: Component = Component()
    batch: Component = Component()

    @classmethod
    def read(cls, written: str) -> Pods:
        """From the JSON that the chart writes.

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
    serving_service_account: str = "default"
    training_service_account: str = "default"
    pods: Pods = field(default_factory=Pods)
    """How pods run, where the objects say nothing."""
    tracing_endpoint: str | None = None
    """Where serving pods send their traces (OTLP over HTTP); None: nowhere."""
    tracing_ratio: str = "1"
    """Of the requests whose caller has not decided already, the share that is traced."""
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
            serving_service_account=environ.get("MODELWARD_SERVING_SERVICE_ACCOUNT") or "default",
            training_service_account=environ.get("MODELWARD_TRAINING_SERVICE_ACCOUNT") or "default",
            pods=Pods.read(environ.get("MODELWARD_PODS") or "{}"),
            tracing_endpoint=environ.get("MODELWARD_TRACING_ENDPOINT") or None,
            tracing_ratio=environ.get("MODELWARD_TRACING_RATIO") or "1",
            log_level=environ.get("MODELWARD_LOG_LEVEL") or "INFO",
            pod_namespace=environ.get("POD_NAMESPACE") or "default",
            pod_name=environ.get("POD_NAME") or "modelward",
        )
