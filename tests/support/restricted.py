"""A policy that refuses what OpenShift's restricted-v2 refuses, for any API server."""

from __future__ import annotations

from typing import Any

LOWEST, HIGHEST = 1000650000, 1000659999
"""The user and group IDs of the namespace, as OpenShift gives each one a range of its own."""
NAME = "restricted-v2"
_POD = "object.kind == 'Pod' ? object.spec : object.spec.template.spec"
_CONTAINERS = "variables.pod.containers + (has(variables.pod.initContainers) ? variables.pod.initContainers : [])"


def _in_range(value: str) -> str:
    return f"(!has({value}) || ({value} >= {LOWEST} && {value} <= {HIGHEST}))"


def _every(rule: str) -> str:
    return f"variables.containers.all(c, {rule})"


RULES = {
    "host namespaces": " && ".join(
        f"(!has(variables.pod.{name}) || !variables.pod.{name})" for name in ("hostNetwork", "hostPID", "hostIPC")
    ),
    "a user outside of the namespace's range": _in_range("variables.security.runAsUser")
    + " && "
    + _every(f"!has(c.securityContext) || {_in_range('c.securityContext.runAsUser')}"),
    "an fsGroup outside of the namespace's range": _in_range("variables.security.fsGroup"),
    "a container as root": "has(variables.security.runAsNonRoot) && variables.security.runAsNonRoot",
    "a seccomp profile that is not the runtime's": "has(variables.security.seccompProfile) && "
    "variables.security.seccompProfile.type == 'RuntimeDefault'",
    "privileges": _every(
        "has(c.securityContext) && !(has(c.securityContext.privileged) && c.securityContext.privileged) && "
        "has(c.securityContext.allowPrivilegeEscalation) && !c.securityContext.allowPrivilegeEscalation"
    ),
    "capabilities": _every(
        "has(c.securityContext) && has(c.securityContext.capabilities) && has(c.securityContext.capabilities.drop) && "
        "'ALL' in c.securityContext.capabilities.drop && !has(c.securityContext.capabilities.add)"
    ),
    "a volume of the host's": "!has(variables.pod.volumes) || variables.pod.volumes.all(v, "
    + " && ".join(f"!has(v.{kind})" for kind in ("hostPath", "nfs", "iscsi", "rbd", "cephfs", "glusterfs"))
    + ")",
}


def objects(namespace: str) -> list[dict[str, Any]]:
    """The policy, and its binding to a namespace."""
    version, name = "admissionregistration.k8s.io/v1", f"{NAME}-{namespace}"
    kinds = {"": ["pods"], "apps": ["deployments"], "batch": ["jobs"]}
    rules = [
        {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": plural}
        for group, plural in kinds.items()
    ]
    variables = {
        "pod": _POD,
        "security": "has(variables.pod.securityContext) ? dyn(variables.pod.securityContext) : dyn({})",
        "containers": _CONTAINERS,
    }
    policy = {
        "apiVersion": version,
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": rules},
            "variables": [{"name": key, "expression": value} for key, value in variables.items()],
            "validations": [{"expression": rule, "message": f"restricted: {what}"} for what, rule in RULES.items()],
        },
    }
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    binding = {
        "apiVersion": version,
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {
            "policyName": name,
            "validationActions": ["Deny"],
            "matchResources": {"namespaceSelector": selector},
        },
    }
    return [policy, binding]
