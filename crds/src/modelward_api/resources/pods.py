"""What may be set of the pods that Modelward makes: a bounded part of Kubernetes' own PodSpec, by its own names."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from modelward_api import given_environment
from modelward_api.base import Document, Quantity

RESERVED_PREFIX = "modelward.io/"
RESERVED_LABELS = (
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/component",
    "pod-template-hash",
    "controller-uid",
    "job-name",
)
"""Labels that Services, NetworkPolicies and controllers select by, beside those with the prefix."""
RESERVED_ENV_SENTENCE = (
    "MODELWARD_*, OTEL_TRACES_SAMPLER*, OTEL_EXPORTER_OTLP_ENDPOINT, SSL_CERT_*, JOB_COMPLETION_INDEX, PYTHON*, LD_*, "
    "AWS_*, AZURE_* and GOOGLE_* are reserved: for an authority use caBundle, for traces the chart's tracing, for a store its "
    "store.existingSecret"
)
LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"

ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
DataKey = Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]
Key = Annotated[str, Field(pattern=LABEL_KEY, max_length=253)]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]
Weight = Annotated[int, Field(ge=1, le=100, description="How much it counts among the preferences.")]
UserId = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Resources(Document):
    """Compute resources, as in a pod."""

    requests: Annotated[
        dict[str, Quantity], Field(description="What is reserved, such as cpu: 250m, memory: 384Mi.", max_length=16)
    ] = {}
    limits: Annotated[dict[str, Quantity], Field(description="What may be used at most.", max_length=16)] = {}


class PodMetadata(Document):
    """Labels and annotations of the pods, beside those of Modelward."""

    labels: Annotated[
        dict[str, LabelValue],
        Field(description="Labels of the pods. Those that Modelward selects by are reserved.", max_length=32),
    ] = {}
    annotations: Annotated[
        dict[str, Annotated[str, Field(max_length=4096)]], Field(description="Annotations of the pods.", max_length=32)
    ] = {}

    @model_validator(mode="after")
    def _not_ours(self) -> PodMetadata:
        for kind, given in (("labels", self.labels), ("annotations", self.annotations)):
            for key in given:
                if not re.fullmatch(LABEL_KEY[1:-1], key):
                    raise ValueError(f"{kind}: one key is no name that Kubernetes knows: use [prefix/]name")
                if key.startswith(RESERVED_PREFIX) or (kind == "labels" and key in RESERVED_LABELS):
                    raise ValueError(f"{kind}: {key} is reserved for Modelward: use another name")
        return self


class Toleration(Document):
    """A taint of nodes that the pods accept."""

    key: Annotated[Key | None, Field(description="The taint's key; absent with operator Exists: every taint.")] = None
    operator: Annotated[Literal["Exists", "Equal"], Field(description="How key and value are compared.")] = "Equal"
    value: Annotated[LabelValue | None, Field(description="The taint's value, with operator Equal.")] = None
    effect: Annotated[
        Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None,
        Field(description="The taint's effect; absent: every effect."),
    ] = None
    toleration_seconds: Annotated[
        int | None, Field(ge=0, le=2**31 - 1, description="With NoExecute: how long the taint is tolerated.")
    ] = None


class Requirement(Document):
    """A condition on one label."""

    key: Annotated[Key, Field(description="The label.")]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"],
        Field(description="How its value is compared; Gt and Lt of nodes only."),
    ]
    values: Annotated[
        tuple[LabelValue, ...], Field(description="What it is compared with; none with Exists.", max_length=32)
    ] = ()


class NodeTerm(Document):
    """Conditions on a node, all of which must hold."""

    match_expressions: Annotated[
        tuple[Requirement, ...], Field(description="Conditions on labels.", min_length=1, max_length=8)
    ]


class NodeSelector(Document):
    """Nodes."""

    node_selector_terms: Annotated[
        tuple[NodeTerm, ...], Field(description="Terms, one of which must hold.", min_length=1, max_length=8)
    ]


class PreferredNodes(Document):
    """Nodes that are preferred."""

    weight: Weight
    preference: Annotated[NodeTerm, Field(description="Which nodes.")]


class NodeAffinity(Document):
    """Which nodes."""

    required_during_scheduling_ignored_during_execution: Annotated[
        NodeSelector | None, Field(description="Nodes that alone will do.")
    ] = None
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredNodes, ...], Field(description="Nodes that are better.", max_length=8)
    ] = ()


class PodLabels(Document):
    """Pods, by their labels."""

    match_labels: Annotated[dict[str, LabelValue], Field(description="Labels and their values.", max_length=16)] = {}
    match_expressions: Annotated[tuple[Requirement, ...], Field(description="Conditions on labels.", max_length=8)] = ()


class PodTerm(Document):
    """Beside (or not beside) which pods."""

    label_selector: Annotated[PodLabels, Field(description="Which pods.")] = PodLabels()
    namespaces: Annotated[
        tuple[ObjectName, ...], Field(description="In which namespaces; none: in this one.", max_length=16)
    ] = ()
    topology_key: Annotated[Key, Field(description="The node label whose equal value means beside.")]


class PreferredPods(Document):
    """Pods beside which it is better, or worse."""

    weight: Weight
    pod_affinity_term: Annotated[PodTerm, Field(description="Which pods.")]


class PodAffinity(Document):
    """Beside which pods."""

    required_during_scheduling_ignored_during_execution: Annotated[
        tuple[PodTerm, ...], Field(description="What must hold.", max_length=8)
    ] = ()
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredPods, ...], Field(description="What is better.", max_length=8)
    ] = ()


class Affinity(Document):
    """Where pods are placed."""

    node_affinity: Annotated[NodeAffinity | None, Field(description="Which nodes.")] = None
    pod_affinity: Annotated[PodAffinity | None, Field(description="Beside which pods.")] = None
    pod_anti_affinity: Annotated[
        PodAffinity | None, Field(description="Not beside which pods; in place of the spread over zones.")
    ] = None


class KeyReference(Document):
    """One key of a ConfigMap or a Secret in the pods' namespace."""

    name: Annotated[ObjectName, Field(description="The object's name.")]
    key: Annotated[DataKey, Field(description="The key in it.")]


class EnvSource(Document):
    """Where a variable's value is."""

    config_map_key_ref: Annotated[KeyReference | None, Field(description="In a ConfigMap.")] = None
    secret_key_ref: Annotated[KeyReference | None, Field(description="In a Secret.")] = None

    @model_validator(mode="after")
    def _one(self) -> EnvSource:
        if (self.config_map_key_ref is None) == (self.secret_key_ref is None):
            raise ValueError("valueFrom: give either configMapKeyRef or secretKeyRef")
        return self


class EnvVar(Document):
    """One variable of the environment."""

    name: Annotated[
        str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128, description="Its name, such as HTTPS_PROXY.")
    ]
    value: Annotated[str | None, Field(max_length=4096, description="Its value.")] = None
    value_from: Annotated[EnvSource | None, Field(description="Or where its value is.")] = None

    @model_validator(mode="after")
    def _not_ours(self) -> EnvVar:
        if re.search(given_environment.RESERVED, self.name):
            raise ValueError(f"name: {self.name}: {RESERVED_ENV_SENTENCE}")
        if self.value is not None and self.value_from is not None:
            raise ValueError("give either value or valueFrom")
        return self


class ObjectReference(Document):
    """A ConfigMap or a Secret in the pods' namespace."""

    name: Annotated[ObjectName, Field(description="The object's name.")]


class EnvFrom(Document):
    """Variables from all keys of an object. Variables of env, of Modelward and of the image win; reserved names are dropped."""

    config_map_ref: Annotated[ObjectReference | None, Field(description="A ConfigMap.")] = None
    secret_ref: Annotated[ObjectReference | None, Field(description="A Secret.")] = None

    @model_validator(mode="after")
    def _one(self) -> EnvFrom:
        if (self.config_map_ref is None) == (self.secret_ref is None):
            raise ValueError("envFrom: give either configMapRef or secretRef")
        return self


class CaBundle(Document):
    """Certificate authorities (PEM) to believe in place of the image's own, when stores and sources are reached."""

    config_map: Annotated[KeyReference | None, Field(description="In a ConfigMap, such as trust-manager makes.")] = None
    secret: Annotated[KeyReference | None, Field(description="In a Secret.")] = None

    @model_validator(mode="after")
    def _one(self) -> CaBundle:
        if (self.config_map is None) == (self.secret is None):
            raise ValueError("caBundle: give either configMap or secret")
        return self


class PodSecurity(Document):
    """Identities of the pods' processes. None is asked for by default: the image's, or what the cluster assigns (OpenShift)."""

    run_as_user: Annotated[UserId | None, Field(description="The user.", ge=1)] = None
    run_as_group: Annotated[UserId | None, Field(description="The group.")] = None
    fs_group: Annotated[
        UserId | None, Field(description="The group that owns the volumes; 65532 where a volume belongs to root.")
    ] = None
    fs_group_change_policy: Annotated[
        Literal["OnRootMismatch", "Always"] | None, Field(description="When the volumes' files are given to fsGroup.")
    ] = None
    supplemental_groups: Annotated[tuple[UserId, ...], Field(description="Further groups.", max_length=16)] = ()


class PodSettings(Document):
    """How pods run. What an object says wins over the chart's values; maps are merged by key, lists are put together."""

    metadata: Annotated[PodMetadata, Field(description="Labels and annotations of the pods.")] = PodMetadata()
    node_selector: Annotated[
        dict[str, LabelValue], Field(description="Labels that a node must have to run the pods.", max_length=16)
    ] = {}
    tolerations: Annotated[
        tuple[Toleration, ...], Field(description="Taints that the pods accept.", max_length=16)
    ] = ()
    affinity: Annotated[
        Affinity | None, Field(description="Where the pods are placed. Each of its three parts wins as a whole.")
    ] = None
    priority_class_name: Annotated[ObjectName | None, Field(description="The pods' PriorityClass.")] = None
    runtime_class_name: Annotated[ObjectName | None, Field(description="The pods' RuntimeClass.")] = None
    env: Annotated[
        tuple[EnvVar, ...],
        Field(description="Variables of all containers, such as HTTPS_PROXY and NO_PROXY.", max_length=32),
    ] = ()
    env_from: Annotated[
        tuple[EnvFrom, ...], Field(description="Variables of all containers, from whole objects.", max_length=8)
    ] = ()
    ca_bundle: Annotated[
        CaBundle | None, Field(description="Certificate authorities for stores, sources and issuers.")
    ] = None
    security_context: Annotated[
        PodSecurity, Field(description="User and groups of the pods; by default none is asked for.")
    ] = PodSecurity()
    fetch_resources: Annotated[
        Resources,
        Field(
            description="Resources of the init container that fetches the bundle. Its limits are those of the main container "
            "by default."
        ),
    ] = Resources()


def merged(*layers: PodSettings) -> PodSettings:
    """The layers as one; a later one wins. Maps are merged by key, lists are put together, all else is replaced."""
    found = layers[0]
    for layer in layers[1:]:
        found = _over(found, layer)
    return found


def _over(under: PodSettings, over: PodSettings) -> PodSettings:
    def both(one: Document, other: Document) -> Any:
        given = {name: value for name in other.model_fields_set if (value := getattr(other, name)) not in (None, ())}
        return one.model_copy(update=given)

    names = {variable.name for variable in over.env}
    affinity = both(under.affinity or Affinity(), over.affinity or Affinity())
    return PodSettings(
        metadata=PodMetadata(
            labels={**under.metadata.labels, **over.metadata.labels},
            annotations={**under.metadata.annotations, **over.metadata.annotations},
        ),
        node_selector={**under.node_selector, **over.node_selector},
        tolerations=tuple(dict.fromkeys((*under.tolerations, *over.tolerations))),
        affinity=None if affinity == Affinity() else affinity,
        priority_class_name=over.priority_class_name or under.priority_class_name,
        runtime_class_name=over.runtime_class_name or under.runtime_class_name,
        env=(*(v for v in under.env if v.name not in names), *over.env),
        env_from=tuple(dict.fromkeys((*under.env_from, *over.env_from))),
        ca_bundle=over.ca_bundle or under.ca_bundle,
        security_context=both(under.security_context, over.security_context),
        fetch_resources=Resources(
            requests={**under.fetch_resources.requests, **over.fetch_resources.requests},
            limits={**under.fetch_resources.limits, **over.fetch_resources.limits},
        ),
    )
