"""Settings of the pods that Modelward creates: a bounded part of Kubernetes' PodSpec, under the same names."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from modelward_api import given_environment
from modelward_api.base import Document, Quantity, exactly_one

RESERVED_PREFIX = "modelward.io/"
RESERVED_LABELS = (
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/component",
    "pod-template-hash",
    "controller-uid",
    "job-name",
)
"""Labels that Services, NetworkPolicies and controllers select by, in addition to those with the prefix."""
RESERVED_ENV_SENTENCE = (
    "MODELWARD_*, OTEL_TRACES_*, OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, SSL_CERT_*, SSLKEYLOGFILE, "
    "CURL_CA_BUNDLE, OPENSSL_*, PYTHON*, LD_*, GCONV_PATH, BENTOML_*, PATH, HOME, TMPDIR, JOB_COMPLETION_INDEX, AWS_*, AZURE_*, "
    "GOOGLE_*, IDENTITY_*, MSI_* and SERVICE_ACCOUNT are reserved: use caBundle for certificate authorities, the chart's tracing "
    "for traces, and its store.existingSecret for the store"
)
LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"

KEY_FORM = "keys must have the form [prefix/]name"
ONE_VALUE = "set at most one of value and valueFrom"

ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)]
DataKey = Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]
Key = Annotated[str, Field(pattern=LABEL_KEY, max_length=253)]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]
Weight = Annotated[int, Field(ge=1, le=100, description="Weight of this preference, from 1 to 100.")]
UserId = Annotated[int, Field(ge=0, le=2**31 - 1)]


class Resources(Document):
    """Compute resources, as in a pod."""

    requests: Annotated[
        dict[str, Quantity],
        Field(description="Resources that are reserved, such as cpu: 250m, memory: 384Mi.", max_length=16),
    ] = {}
    limits: Annotated[dict[str, Quantity], Field(description="Maximum resources that may be used.", max_length=16)] = {}


class PodMetadata(Document):
    """Labels and annotations of the pods, in addition to Modelward's."""

    labels: Annotated[
        dict[str, LabelValue],
        Field(description="Labels of the pods. Labels that Modelward selects by are reserved.", max_length=32),
    ] = {}
    annotations: Annotated[
        dict[str, Annotated[str, Field(max_length=4096)]], Field(description="Annotations of the pods.", max_length=32)
    ] = {}

    @model_validator(mode="after")
    def _not_ours(self) -> PodMetadata:
        for kind, given in (("labels", self.labels), ("annotations", self.annotations)):
            for key in given:
                if not re.fullmatch(LABEL_KEY[1:-1], key):
                    raise ValueError(f"{kind}: {KEY_FORM}")
                if key.startswith(RESERVED_PREFIX) or (kind == "labels" and key in RESERVED_LABELS):
                    raise ValueError(f"{kind}: {key} is reserved for Modelward: use another key")
        return self


class Toleration(Document):
    """One taint that the pods tolerate."""

    key: Annotated[Key | None, Field(description="Key of the taint. Absent with operator Exists: every taint.")] = None
    operator: Annotated[
        Literal["Exists", "Equal"], Field(description="How key and value are compared: Exists or Equal.")
    ] = "Equal"
    value: Annotated[LabelValue | None, Field(description="Value of the taint, with operator Equal.")] = None
    effect: Annotated[
        Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None,
        Field(description="Effect of the taint. Absent: every effect."),
    ] = None
    toleration_seconds: Annotated[
        int | None, Field(ge=0, le=2**31 - 1, description="How long the taint is tolerated, with NoExecute.")
    ] = None


class Requirement(Document):
    """One requirement on a label."""

    key: Annotated[Key, Field(description="Key of the label.")]
    operator: Annotated[
        Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"],
        Field(description="How the value is compared. Gt and Lt apply to nodes only."),
    ]
    values: Annotated[
        tuple[LabelValue, ...],
        Field(description="Values to compare with. Empty with Exists and DoesNotExist.", max_length=32),
    ] = ()


class NodeTerm(Document):
    """Requirements on a node, all of which must hold."""

    match_expressions: Annotated[
        tuple[Requirement, ...], Field(description="Requirements on labels.", min_length=1, max_length=8)
    ]


class NodeSelector(Document):
    """Alternative terms that select nodes."""

    node_selector_terms: Annotated[
        tuple[NodeTerm, ...],
        Field(description="Alternatives: at least one term must match.", min_length=1, max_length=8),
    ]


class PreferredNodes(Document):
    """One preference for nodes."""

    weight: Weight
    preference: Annotated[NodeTerm, Field(description="Nodes to run on.")]


class NodeAffinity(Document):
    """Affinity to nodes."""

    required_during_scheduling_ignored_during_execution: Annotated[
        NodeSelector | None, Field(description="Nodes that the pods require.")
    ] = None
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredNodes, ...], Field(description="Nodes that the pods prefer.", max_length=8)
    ] = ()


class PodLabels(Document):
    """Selector of pods by their labels."""

    match_labels: Annotated[
        dict[str, LabelValue], Field(description="Labels and the values that they must have.", max_length=16)
    ] = {}
    match_expressions: Annotated[
        tuple[Requirement, ...], Field(description="Requirements on labels.", max_length=8)
    ] = ()


class PodTerm(Document):
    """Pods, and what counts as beside them."""

    label_selector: Annotated[PodLabels, Field(description="Pods that the term refers to.")] = PodLabels()
    namespaces: Annotated[
        tuple[ObjectName, ...],
        Field(description="Namespaces of those pods. Empty: the pods' own namespace.", max_length=16),
    ] = ()
    topology_key: Annotated[Key, Field(description="Node label that defines 'beside': nodes with the same value.")]


class PreferredPods(Document):
    """One preference for running beside, or not beside, pods."""

    weight: Weight
    pod_affinity_term: Annotated[PodTerm, Field(description="Pods that the term refers to.")]


class PodAffinity(Document):
    """Affinity, or anti-affinity, to pods."""

    required_during_scheduling_ignored_during_execution: Annotated[
        tuple[PodTerm, ...], Field(description="Requirements.", max_length=8)
    ] = ()
    preferred_during_scheduling_ignored_during_execution: Annotated[
        tuple[PreferredPods, ...], Field(description="Preferences.", max_length=8)
    ] = ()


class Affinity(Document):
    """Placement of the pods."""

    node_affinity: Annotated[NodeAffinity | None, Field(description="Nodes to run on.")] = None
    pod_affinity: Annotated[PodAffinity | None, Field(description="Pods to run beside.")] = None
    pod_anti_affinity: Annotated[
        PodAffinity | None, Field(description="Pods not to run beside. Replaces the default spread over zones.")
    ] = None


class KeyReference(Document):
    """One key of a ConfigMap or a Secret in the pods' namespace."""

    name: Annotated[ObjectName, Field(description="Name of the object.")]
    key: Annotated[DataKey, Field(description="Key in the object.")]


class EnvSource(Document):
    """Source of a variable's value."""

    config_map_key_ref: Annotated[KeyReference | None, Field(description="Key of a ConfigMap.")] = None
    secret_key_ref: Annotated[KeyReference | None, Field(description="Key of a Secret.")] = None

    @model_validator(mode="after")
    def _one(self) -> EnvSource:
        if (self.config_map_key_ref is None) == (self.secret_key_ref is None):
            raise ValueError(exactly_one("configMapKeyRef", "secretKeyRef"))
        return self


class EnvVar(Document):
    """One environment variable."""

    name: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
            max_length=128,
            description="Name of the variable, such as HTTPS_PROXY.",
        ),
    ]
    value: Annotated[str | None, Field(max_length=4096, description="Value of the variable.")] = None
    value_from: Annotated[EnvSource | None, Field(description="Source of the value, instead of value.")] = None

    @model_validator(mode="after")
    def _not_ours(self) -> EnvVar:
        if re.search(given_environment.RESERVED, self.name):
            raise ValueError(f"name: {self.name}: {RESERVED_ENV_SENTENCE}")
        if self.value is not None and self.value_from is not None:
            raise ValueError(ONE_VALUE)
        return self


class ObjectReference(Document):
    """A ConfigMap or a Secret in the pods' namespace."""

    name: Annotated[ObjectName, Field(description="Name of the object.")]


class EnvFrom(Document):
    """Environment variables from all keys of an object. Those of env, Modelward and the image win; reserved names are dropped."""

    config_map_ref: Annotated[ObjectReference | None, Field(description="ConfigMap whose keys become variables.")] = (
        None
    )
    secret_ref: Annotated[ObjectReference | None, Field(description="Secret whose keys become variables.")] = None

    @model_validator(mode="after")
    def _one(self) -> EnvFrom:
        if (self.config_map_ref is None) == (self.secret_ref is None):
            raise ValueError(exactly_one("configMapRef", "secretRef"))
        return self


class CaBundle(Document):
    """Certificate authorities (PEM) to trust for stores and sources, instead of the image's."""

    config_map: Annotated[
        KeyReference | None, Field(description="Key of a ConfigMap, such as trust-manager creates.")
    ] = None
    secret: Annotated[KeyReference | None, Field(description="Key of a Secret.")] = None

    @model_validator(mode="after")
    def _one(self) -> CaBundle:
        if (self.config_map is None) == (self.secret is None):
            raise ValueError(exactly_one("configMap", "secret"))
        return self


class PodSecurity(Document):
    """Identities of the pods' processes. By default none is requested: the image's, or what the cluster assigns (OpenShift)."""

    run_as_user: Annotated[UserId | None, Field(description="User id of the processes.", ge=1)] = None
    run_as_group: Annotated[UserId | None, Field(description="Group id of the processes.")] = None
    fs_group: Annotated[
        UserId | None, Field(description="Group that owns the volumes. Use 65532 where a volume belongs to root.")
    ] = None
    fs_group_change_policy: Annotated[
        Literal["OnRootMismatch", "Always"] | None,
        Field(description="When the ownership of the volumes' files is changed to fsGroup."),
    ] = None
    supplemental_groups: Annotated[
        tuple[UserId, ...], Field(description="Additional groups of the processes.", max_length=16)
    ] = ()


class PodSettings(Document):
    """Pod settings. They take precedence over the chart's values; maps are merged by key, lists are concatenated."""

    metadata: Annotated[PodMetadata, Field(description="Labels and annotations of the pods.")] = PodMetadata()
    node_selector: Annotated[
        dict[str, LabelValue], Field(description="Labels that a node must have to run the pods.", max_length=16)
    ] = {}
    tolerations: Annotated[
        tuple[Toleration, ...], Field(description="Taints that the pods tolerate.", max_length=16)
    ] = ()
    affinity: Annotated[
        Affinity | None,
        Field(description="Where the pods are placed. Each of the three parts replaces the chart's as a whole."),
    ] = None
    priority_class_name: Annotated[ObjectName | None, Field(description="PriorityClass of the pods.")] = None
    runtime_class_name: Annotated[ObjectName | None, Field(description="RuntimeClass of the pods.")] = None
    env: Annotated[
        tuple[EnvVar, ...],
        Field(description="Environment variables of all containers, such as HTTPS_PROXY and NO_PROXY.", max_length=32),
    ] = ()
    env_from: Annotated[
        tuple[EnvFrom, ...],
        Field(description="Environment variables of all containers, from whole objects.", max_length=8),
    ] = ()
    ca_bundle: Annotated[
        CaBundle | None, Field(description="Certificate authorities for stores, sources and issuers.")
    ] = None
    security_context: Annotated[
        PodSecurity, Field(description="User and groups of the pods. Default: none is requested.")
    ] = PodSecurity()
    fetch_resources: Annotated[
        Resources,
        Field(
            description="CPU and memory of the init container that fetches the bundle. They default to those of the main "
            "container."
        ),
    ] = Resources()


def merged(*layers: PodSettings) -> PodSettings:
    """Return the layers as one. Later ones take precedence: maps are merged by key, lists concatenated, all else replaced."""
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
