"""The one door to the API server: plain dictionaries in and out, over the official asynchronous client."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import aiohttp
from kubernetes.aio import client, config

from modelward_api import API_VERSION, names

Manifest = dict[str, Any]
REQUEST_TIMEOUT = 15.0


@dataclass(frozen=True, slots=True)
class Resource:
    """Where the API server keeps a kind."""

    api_version: str
    kind: str
    plural: str

    @property
    def root(self) -> str:
        """The path of its API group and version."""
        return f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"


MODEL_VERSIONS = Resource(API_VERSION, "ModelVersion", "modelversions")
TRAINING_JOBS = Resource(API_VERSION, "TrainingJob", "trainingjobs")
DRIFT_MONITORS = Resource(API_VERSION, "DriftMonitor", "driftmonitors")
SCORE_BATCHES = Resource(API_VERSION, "ScoreBatch", "scorebatches")
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
SERVICES = Resource("v1", "Service", "services")
CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")
SECRETS = Resource("v1", "Secret", "secrets")
PODS = Resource("v1", "Pod", "pods")
EVENTS = Resource("v1", "Event", "events")
JOBS = Resource("batch/v1", "Job", "jobs")
DISRUPTION_BUDGETS = Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
AUTOSCALERS = Resource("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")


class GatewayError(Exception):
    """The API server refused (an HTTP status), or could not be reached (0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class ConflictError(GatewayError):
    """Somebody else has written meanwhile: look again, then decide again."""


class InvalidObjectError(GatewayError):
    """The schema or a rule of it refuses the object: the same object will be refused again."""


class NamespaceEndsError(GatewayError):
    """The namespace is being deleted: nothing new can be made in it."""


class Gateway(Protocol):
    """What the engine asks of an API server."""

    async def list(self, resource: Resource, namespace: str | None, selector: str = "") -> list[Manifest]:
        """All objects (with those labels) of a namespace, or of all of them."""

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        """One object, or None."""

    async def apply(self, resource: Resource, manifest: Manifest, manager: str = names.FIELD_MANAGER) -> Manifest:
        """Server-side apply under a field manager; returns the object."""

    async def create(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Create.

        Raises:
            ConflictError: it exists.
        """

    async def replace_status(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Replace the status; the manifest carries the resourceVersion that was observed.

        Raises:
            ConflictError: it has changed meanwhile.
        """

    async def replace(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Replace, at the resourceVersion observed."""

    async def patch(self, resource: Resource, namespace: str, name: str, patch: Manifest) -> Manifest | None:
        """Merge patch; None if the object is gone."""

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Delete that very object; nothing if it is gone."""


class KubernetesGateway:
    """A Gateway over kubernetes.aio. Counts its calls by verb.

    ``permit`` is asked before each write, and raises when this process must not write any more.
    """

    def __init__(self, api: client.ApiClient, permit: Callable[[], None] = lambda: None) -> None:
        self._api = api
        self._permit = permit
        self.calls: dict[str, int] = {}

    @classmethod
    async def connect(
        cls, kubeconfig: str | None = None, permit: Callable[[], None] = lambda: None
    ) -> KubernetesGateway:
        """Inside a cluster by the pod's account, else by a kubeconfig."""
        configuration = client.Configuration()
        try:
            if kubeconfig is not None:
                raise config.ConfigException("a kubeconfig was given")
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except config.ConfigException:
            await config.load_kube_config(config_file=kubeconfig, client_configuration=configuration)  # type: ignore[no-untyped-call]
        return cls(client.ApiClient(configuration), permit)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def list(self, resource: Resource, namespace: str | None, selector: str = "") -> list[Manifest]:
        """All objects of a namespace (None: of all namespaces) that have those labels."""
        answer = await self._call("GET", _path(resource, namespace), {"labelSelector": selector} if selector else {})
        items: list[Manifest] = (answer or {}).get("items", [])
        return items

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        """One object, or None."""
        return await self._call("GET", _path(resource, namespace, name), absent_is_none=True)

    async def apply(self, resource: Resource, manifest: Manifest, manager: str = names.FIELD_MANAGER) -> Manifest:
        """Server-side apply; returns the object."""
        metadata = manifest["metadata"]
        return await self._must(
            "PATCH",
            _path(resource, metadata["namespace"], metadata["name"]),
            {"fieldManager": manager, "force": "true"},
            manifest,
            "application/apply-patch+yaml",
        )

    async def create(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Create; ConflictError if it exists."""
        path = _path(resource, manifest["metadata"]["namespace"])
        return await self._must("POST", path, {"fieldManager": names.FIELD_MANAGER}, manifest)

    async def replace_status(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Replace the status at the observed resourceVersion."""
        metadata = manifest["metadata"]
        path = _path(resource, metadata["namespace"], metadata["name"]) + "/status"
        return await self._must("PUT", path, {"fieldManager": names.FIELD_MANAGER}, manifest)

    async def replace(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Replace at the observed resourceVersion."""
        metadata = manifest["metadata"]
        path = _path(resource, metadata["namespace"], metadata["name"])
        return await self._must("PUT", path, {"fieldManager": names.FIELD_MANAGER}, manifest)

    async def patch(self, resource: Resource, namespace: str, name: str, patch: Manifest) -> Manifest | None:
        """Merge patch; None if the object is gone."""
        path, query = _path(resource, namespace, name), {"fieldManager": names.FIELD_MANAGER}
        return await self._call("PATCH", path, query, patch, "application/merge-patch+json", absent_is_none=True)

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Delete that very object, its dependants in the background."""
        options = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        await self._call("DELETE", _path(resource, namespace, name), {}, options, absent_is_none=True)

    async def _must(
        self, method: str, path: str, query: Mapping[str, str], body: Manifest, content_type: str = "application/json"
    ) -> Manifest:
        answer = await self._call(method, path, query, body, content_type)
        return answer or {}

    async def _call(
        self,
        method: Literal["GET", "PUT", "POST", "PATCH", "DELETE"] | str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = "application/json",
        *,
        absent_is_none: bool = False,
    ) -> Manifest | None:
        if method != "GET":
            self._permit()
        self.calls[method] = self.calls.get(method, 0) + 1
        request = await self._api.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params={"Content-Type": content_type, "Accept": "application/json"},
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            answer = await self._api.call_api(*request, _request_timeout=REQUEST_TIMEOUT)
            content = await answer.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise GatewayError(0, f"{method} {path}: {type(error).__name__}") from error
        if answer.status == 404 and absent_is_none:
            return None
        if answer.status >= 400:
            raise _error(answer.status, content)
        found: Manifest = json.loads(content)
        return found


def _path(resource: Resource, namespace: str | None, name: str | None = None) -> str:
    inside = f"/namespaces/{namespace}" if namespace is not None else ""
    return f"{resource.root}{inside}/{resource.plural}" + (f"/{name}" if name is not None else "")


def _error(status: int, content: bytes) -> GatewayError:
    try:
        said = json.loads(content)
    except ValueError:
        said = {"message": content[:200].decode(errors="replace")}
    causes = {cause.get("reason") for cause in (said.get("details") or {}).get("causes") or ()}
    if "NamespaceTerminating" in causes:
        return NamespaceEndsError(status, said["message"])
    kind = {409: ConflictError, 422: InvalidObjectError}.get(status, GatewayError)
    return kind(status, said.get("message", ""))
