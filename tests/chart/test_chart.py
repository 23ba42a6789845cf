"""The chart: what it renders means what it should, and the real helm installs, upgrades and uninstalls it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.cluster import binaries
from tests.cluster.layout import REPOSITORY, cache_directory
from tests.contract.conftest import control_plane  # noqa: F401

CHART = REPOSITORY / "charts" / "modelward"
VALUES = {
    "the defaults": {},
    "an object store": {"store": {"uri": "s3://bucket/prefix", "existingSecret": "keys"}},
    "all namespaces": {"watch": {"allNamespaces": True}},
    "several namespaces": {"watch": {"namespaces": ["ward-a", "ward-b"]}},
    "digests and a PodMonitor": {
        "images": {"operator": {"repository": "r/operator", "digest": "sha256:" + "a" * 64}},
        "metrics": {"podMonitor": True},
    },
}


@pytest.fixture(scope="session")
def program():
    return lambda name: str(binaries.path(cache_directory(os.environ), name))


def helm(program, *words, kubeconfig=None, values=None, check=True):
    argv = [program("helm"), *words]
    env = {**os.environ, **({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})}
    if values is not None:
        argv += ["--values", "-"]
    done = subprocess.run(argv, input=json.dumps(values or {}), text=True, capture_output=True, env=env)
    assert not check or done.returncode == 0, done.stderr + done.stdout
    return done


def rendered(program, values):
    done = helm(
        program, "template", "t", str(CHART), "--namespace", "clinic", "--kube-version", "1.35.0", values=values
    )
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def of(documents, kind):
    return [document for document in documents if document["kind"] == kind]


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_it_passes_helm_lint(program, values):
    helm(program, "lint", "--strict", str(CHART), values=values)


@pytest.fixture(scope="session")
def schemas(control_plane, tmp_path_factory) -> Path:  # noqa: F811
    """The API server's own schemas, as kubeconform reads them."""
    directory = tmp_path_factory.mktemp("schemas")
    openapi = json.loads(control_plane.kubectl("get", "--raw", "/openapi/v2").stdout)
    for name, definition in openapi["definitions"].items():
        for kind in definition.get("x-kubernetes-group-version-kind", []):
            group = f"{kind['group'].split('.')[0]}-" if kind["group"] else ""
            file = directory / f"{kind['kind']}-{group}{kind['version']}.json".lower()
            file.write_text(json.dumps({"$ref": f"#/definitions/{name}", "definitions": openapi["definitions"]}))
    return directory


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_every_object_fits_the_api_servers_schema(program, schemas, values):
    documents = [d for d in rendered(program, values) if d["kind"] not in ("PodMonitor", "CustomResourceDefinition")]
    template = str(schemas / "{{ .ResourceKind }}{{ .KindSuffix }}.json")
    argv = [program("kubeconform"), "-summary", "-schema-location", template]
    done = subprocess.run(argv, input=yaml.safe_dump_all(documents), text=True, capture_output=True)
    assert done.returncode == 0, done.stdout
    assert f"Valid: {len(documents)}" in done.stdout


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_every_pod_runs_without_privileges(program, values):
    for workload in [*of(rendered(program, values), "Deployment"), *of(rendered(program, values), "Job")]:
        pod = workload["spec"]["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"]
            assert not security["allowPrivilegeEscalation"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["requests"]


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_no_permission_is_a_wildcard_and_no_secret_is_readable(program, values):
    documents = rendered(program, values)
    for role in [*of(documents, "Role"), *of(documents, "ClusterRole")]:
        for rule in role["rules"]:
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
            assert "secrets" not in rule["resources"]


def test_by_default_nothing_reaches_beyond_the_namespace(program):
    documents = rendered(program, {})
    assert not of(documents, "ClusterRole")
    assert {d["metadata"].get("namespace", "clinic") for d in documents if d["kind"] != "CustomResourceDefinition"} == {
        "clinic"
    }


def test_each_watched_namespace_gets_what_models_need(program):
    documents = rendered(program, {"watch": {"namespaces": ["ward-a"]}})
    for kind, name in (("Role", "modelward-operator"), ("PersistentVolumeClaim", "modelward-store")):
        assert {d["metadata"]["namespace"] for d in of(documents, kind) if d["metadata"]["name"] == name} == {
            "clinic",
            "ward-a",
        }


def test_serving_and_training_have_no_credentials(program):
    accounts = {a["metadata"]["name"]: a for a in of(rendered(program, {}), "ServiceAccount")}
    assert not accounts["modelward-serving"]["automountServiceAccountToken"]
    assert not accounts["modelward-training"]["automountServiceAccountToken"]


def test_only_the_operator_reaches_the_control_port(program):
    (policy,) = of(rendered(program, {}), "NetworkPolicy")
    control = next(rule for rule in policy["spec"]["ingress"] if {"port": 8090} in rule["ports"])
    assert control["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "operator"


WRONG = {
    "an unknown value": {"wath": {}},
    "a namespace that is no name": {"watch": {"namespaces": ["Ward A"]}},
    "a store that is no object store": {"store": {"uri": "ftp://x"}},
    "a tag as a digest": {"images": {"operator": {"repository": "r", "digest": "latest"}}},
}


@pytest.mark.parametrize("values", WRONG.values(), ids=WRONG.keys())
def test_wrong_values_are_refused(program, values):
    done = helm(program, "template", str(CHART), "--kube-version", "1.35.0", values=values, check=False)
    assert done.returncode != 0
    assert "values don't meet the specifications" in done.stderr


def test_it_is_installed_upgraded_and_uninstalled_and_keeps_what_callers_and_people_need(program, control_plane):  # noqa: F811
    at = {"kubeconfig": control_plane.kubeconfig}
    control_plane.kubectl("delete", "crd", "--all")
    install = ["upgrade", "--install", "modelward", str(CHART), "--namespace", "clinic", "--create-namespace"]
    helm(program, *install, **at)
    control_plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    helm(program, *install, "--set", "operator.logLevel=DEBUG", **at)
    operator = control_plane.get("deployment", "modelward", "--namespace", "clinic")
    environment = {e["name"]: e.get("value") for e in operator["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert environment["MODELWARD_LOG_LEVEL"] == "DEBUG"
    assert environment["MODELWARD_NAMESPACES"] == "clinic"
    other = ["upgrade", "--install", "modelward", str(CHART), "--namespace", "ward", "--create-namespace"]
    helm(program, *other, **at)  # a second release uses the CRDs of the first
    helm(program, "uninstall", "modelward", "--namespace", "clinic", **at)
    assert len(control_plane.get("crd")["items"]) == 3
    claims = control_plane.get("persistentvolumeclaim", "--namespace", "clinic")["items"]
    assert [claim["metadata"]["name"] for claim in claims] == ["modelward-store"]
    assert control_plane.get("deployment", "--namespace", "clinic")["items"] == []


PERMITTED = [
    ("create", "modelversions.modelward.io", True),
    ("update", "modelversions.modelward.io/status", True),
    ("patch", "deployments.apps", True),
    ("create", "events", True),
    ("get", "secrets", False),
    ("create", "pods", False),
    ("delete", "modelversions.modelward.io", False),
    ("update", "trainingjobs.modelward.io", False),
    ("get", "nodes", False),
]


@pytest.mark.parametrize(("verb", "resource", "allowed"), PERMITTED)
def test_the_operator_may_do_what_it_needs_and_no_more(program, control_plane, verb, resource, allowed):  # noqa: F811
    at = {"kubeconfig": control_plane.kubeconfig}
    helm(program, "upgrade", "--install", "modelward", str(CHART), "--namespace", "rights", "--create-namespace", **at)
    account = "system:serviceaccount:rights:modelward-operator"
    words = ["auth", "can-i", verb, resource, "--namespace", "rights", "--as", account]
    assert control_plane.kubectl(*words, check=False).stdout.strip() == ("yes" if allowed else "no")
