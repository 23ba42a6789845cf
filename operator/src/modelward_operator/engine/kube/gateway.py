"""The only access to the API server: plain dictionaries in and out, over the official asynchronous client."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import aiohttp
from kubernetes.aio import client, config

from modelward_api import API_VERSION, names
from modelward_api.resources import kinds
from modelward_api.resources.kinds import Kind
from modelward_operator.engine.telemetry import metrics

Manifest = dict[str, Any]
Page = list[Manifest]
REQUEST_TIMEOUT = 15.0
PAGE = 500
"""Objects in one page of a list: this bounds the memory for decoding."""

OURS = f"{names.MANAGED_BY}={names.MANAGER}"
"""The label selector of all objects that the operator creates."""
_OURS_OF, _ON_MODEL = f"{OURS},{names.MODEL}=", "spec.model="


def ours_of(model: str) -> str:
    """Return the label selector of the objects that the operator creates for a model."""
    return _OURS_OF + model


def on_model(model: str) -> str:
    """Return the field selector of the custom resources of a model; the CRDs declare the field as selectable."""
    return _ON_MODEL + model


def model_of(selector: str, fields: str) -> str | None:
    """Return the model that one of these two selectors names; None for any other selector."""
    if selector.startswith(_OURS_OF):
        return selector.removeprefix(_OURS_OF)
    return fields.removeprefix(_ON_MODEL) if fields.startswith(_ON_MODEL) else None


@dataclass(frozen=True, slots=True)
class Resource:
    """The location of a kind in the API."""

    api_version: str
    kind: str
    plural: str

    @property
    def root(self) -> str:
        """The URL path of its API group and version."""
        return f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"

    @property
    def group_version(self) -> tuple[str, str]:
        """Its API group, empty for the core group, and its version."""
        group, _, version = self.api_version.rpartition("/")
        return group, version


def _of(kind: Kind) -> Resource:
    """Return the location of a kind of Modelward's API."""
    return Resource(API_VERSION, kind.name, kind.plural)


MODEL_VERSIONS = _of(kinds.MODEL_VERSION)
TRAINING_JOBS = _of(kinds.TRAINING_JOB)
DRIFT_MONITORS = _of(kinds.DRIFT_MONITOR)
SCORE_BATCHES = _of(kinds.SCORE_BATCH)
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
SERVICES = Resource("v1", "Service", "services")
CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")
SECRETS = Resource("v1", "Secret", "secrets")
PODS = Resource("v1", "Pod", "pods")
EVENTS = Resource("v1", "Event", "events")
JOBS = Resource("batch/v1", "Job", "jobs")
REVISIONS = Resource("apps/v1", "ControllerRevision", "controllerrevisions")
DISRUPTION_BUDGETS = Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
AUTOSCALERS = Resource("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")


class GatewayError(Exception):
    """The API server refused a call (an HTTP status), or could not be reached (0)."""

    def __init__(self, status: int, message: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.reply = message
        self.retry_after = retry_after
        """Seconds that the API server asks to wait."""


class ConflictError(GatewayError):
    """Another writer has changed the object: read again, then decide again."""


class InvalidObjectError(GatewayError):
    """The schema or one of its rules refuses the object, and will refuse it again."""


class NamespaceEndsError(GatewayError):
    """The namespace is being deleted: nothing can be created in it."""


class Gateway(Protocol):
    """The calls that the engine makes to an API server."""

    async def list(
        self, resource: Resource, namespace: str | None, selector: str = "", fields: str = ""
    ) -> list[Manifest]:
        """List the objects of a namespace, or of all, that match the selectors."""

    def pages(self, resource: Resource, namespace: str | None, selector: str = "") -> AsyncIterator[Page]:
        """List in pages, all of the same resourceVersion."""

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        """Return one object, or None."""

    async def apply(self, resource: Resource, manifest: Manifest, manager: str = names.FIELD_MANAGER) -> Manifest:
        """Apply server-side under a field manager; return the object."""

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
        """Replace the object at the observed resourceVersion."""

    async def patch(self, resource: Resource, namespace: str, name: str, patch: Manifest) -> Manifest | None:
        """Apply a merge patch; return None if the object is gone."""

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Delete the object with that uid; do nothing if it is gone."""


class KubernetesGateway:
    """A Gateway over kubernetes.aio. ``permit`` is called before each write, and raises when this process must not write."""

    def __init__(self, api: client.ApiClient, permit: Callable[[], None] = lambda: None) -> None:
        self._api = api
        self._permit = permit

    @classmethod
    async def connect(
        cls, kubeconfig: str | None = None, permit: Callable[[], None] = lambda: None
    ) -> KubernetesGateway:
        """Connect with the pod's service account, else with a kubeconfig.

        Only a kubeconfig's proxy-url is used. The environment's proxies are for other servers, and kopf's watches ignore them.
        """
        configuration = client.Configuration(client_session_kwargs={"trust_env": False})
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

    async def list(
        self, resource: Resource, namespace: str | None, selector: str = "", fields: str = ""
    ) -> list[Manifest]:
        """List the objects of a namespace (None: of all) that match the selectors."""
        found: list[Manifest] = []
        async for page in self.pages(resource, namespace, selector, fields):
            found += page
        return found

    async def pages(
        self, resource: Resource, namespace: str | None, selector: str = "", fields: str = ""
    ) -> AsyncIterator[Page]:
        """List in pages, all of the first page's resourceVersion."""
        query = {"labelSelector": selector, "fieldSelector": fields, "limit": str(PAGE)}
        query = {key: value for key, value in query.items() if value}
        while True:
            _count("list", resource)
            answer = await self._call("GET", _path(resource, namespace), query) or {}
            yield answer.get("items") or []
            if not (more := (answer.get("metadata") or {}).get("continue")):
                return
            query["continue"] = more

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        """Return one object, or None."""
        _count("get", resource)
        return await self._call("GET", _path(resource, namespace, name), absent_is_none=True)

    async def apply(self, resource: Resource, manifest: Manifest, manager: str = names.FIELD_MANAGER) -> Manifest:
        """Apply server-side; return the object."""
        _count("apply", resource)
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
        _count("create", resource)
        path = _path(resource, manifest["metadata"]["namespace"])
        return await self._must("POST", path, {"fieldManager": names.FIELD_MANAGER}, manifest)

    async def replace_status(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Replace the status at the observed resourceVersion."""
        _count("update", resource)
        metadata = manifest["metadata"]
        path = _path(resource, metadata["namespace"], metadata["name"]) + "/status"
        return await self._must("PUT", path, {"fieldManager": names.FIELD_MANAGER}, manifest)

    async def replace(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Replace at the observed resourceVersion."""
        _count("update", resource)
        metadata = manifest["metadata"]
        path = _path(resource, metadata["namespace"], metadata["name"])
        return await self._must("PUT", path, {"fieldManager": names.FIELD_MANAGER}, manifest)

    async def patch(self, resource: Resource, namespace: str, name: str, patch: Manifest) -> Manifest | None:
        """Apply a merge patch; return None if the object is gone."""
        _count("patch", resource)
        path, query = _path(resource, namespace, name), {"fieldManager": names.FIELD_MANAGER}
        return await self._call("PATCH", path, query, patch, "application/merge-patch+json", absent_is_none=True)

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Delete the object with that uid, and its dependants in the background."""
        _count("delete", resource)
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
            raise _error(answer.status, content, answer.getheader("Retry-After"))  # type: ignore[no-untyped-call]
        found: Manifest = json.loads(content)
        return found


def _count(verb: str, resource: Resource) -> None:
    metrics.API_CALLS.labels(verb, resource.plural).inc()


def _path(resource: Resource, namespace: str | None, name: str | None = None) -> str:
    inside = f"/namespaces/{namespace}" if namespace is not None else ""
    return f"{resource.root}{inside}/{resource.plural}" + (f"/{name}" if name is not None else "")


def _error(status: int, content: bytes, retry_after: str | None = None) -> GatewayError:
    try:
        document = json.loads(content)
    except ValueError:
        document = {"message": content[:200].decode(errors="replace")}
    causes = {cause.get("reason") for cause in (document.get("details") or {}).get("causes") or ()}
    if "NamespaceTerminating" in causes:
        return NamespaceEndsError(status, document["message"])
    kind = {409: ConflictError, 422: InvalidObjectError}.get(status, GatewayError)
    wait = float(retry_after) if retry_after is not None and retry_after.isascii() and retry_after.isdigit() else 0.0
    return kind(status, document.get("message", ""), wait)
