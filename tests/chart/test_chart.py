"""The chart: its rendered objects, and its installation, upgrade and removal by the real helm."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
import yaml

from modelward_operator.manifests.settings import Settings
from tests.contract.conftest import control_plane  # noqa: F401
from tests.support.cluster import binaries
from tests.support.cluster.layout import REPOSITORY, cache_directory
from tests.support.control_plane import api_server

CHART = REPOSITORY / "charts" / "modelward"
VALUES = {
    "the defaults": {},
    "an object store": {"store": {"uri": "s3://bucket/prefix", "existingSecret": "keys"}},
    "all namespaces": {"watch": {"allNamespaces": True}},
    "pods as a platform team has them": {
        "podDefaults": {
            "metadata": {"labels": {"team": "icu"}, "annotations": {"example.com/scan": "no"}},
            "tolerations": [{"key": "models", "operator": "Exists"}],
            "env": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}, {"name": "ODD", "value": "$(POD_NAME)"}],
            "caBundle": {"configMap": {"name": "corporate", "key": "ca.crt"}},
            "securityContext": {"fsGroup": 65532},
        },
        "store": {"shell": True},
        "serving": {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
        "operator": {
            "priorityClassName": "system",
            "podLabels": {"team": "icu"},
            "tolerations": [{"operator": "Exists"}],
        },
    },
    "several namespaces": {"watch": {"namespaces": ["ward-a", "ward-b"]}},
    "digests and a PodMonitor": {
        "images": {"operator": {"repository": "r/operator", "digest": "sha256:" + "a" * 64}},
        "metrics": {"podMonitor": True},
    },
}
VARIABLES = {
    f"MODELWARD_{name}"
    for name in (
        *("NAMESPACES", "SERVING_IMAGE", "TRAINING_IMAGE", "IMAGE_PULL_POLICY", "LOG_LEVEL"),
        *("STORE_URI", "STORE_CLAIM", "STORE_SECRET", "SERVING_SERVICE_ACCOUNT", "TRAINING_SERVICE_ACCOUNT"),
        *("TRACING_ENDPOINT", "TRACING_RATIO", "PODS", "PRIVATE_HOSTS"),
    )
} | {"POD_NAME", "POD_NAMESPACE"}


@pytest.fixture(scope="session")
def program():
    """Where a program is; made here, as what a bare machine needs to build them is no test's time."""
    return {name: str(binaries.path(cache_directory(os.environ), name)) for name in ("helm", "kubeconform")}.__getitem__


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
    for either in ("util.intstr.IntOrString", "api.resource.Quantity"):  # OpenAPI 2 cannot say it
        openapi["definitions"][f"io.k8s.apimachinery.pkg.{either}"] = {"type": ["string", "number"]}
    # OpenAPI v2 has no unions: it says string where a number will do.
    openapi["definitions"]["io.k8s.apimachinery.pkg.util.intstr.IntOrString"] = {"type": ["integer", "string"]}
    openapi["definitions"]["io.k8s.apimachinery.pkg.api.resource.Quantity"] = {"type": ["number", "string"]}
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
def test_no_permission_is_a_wildcard_and_the_operator_reads_no_secret_but_its_keys(program, values):
    documents = rendered(program, values)
    for role in [*of(documents, "Role"), *of(documents, "ClusterRole")]:
        for rule in role["rules"]:
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
            if "secrets" in rule["resources"]:
                assert role["kind"] == "Role"
                named = rule.get("resourceNames")
                assert rule["verbs"] == ["create"] or named in (["modelward-control-key"], ["modelward-record-key"])


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


@pytest.mark.parametrize("component", ["serving", "training"])
def test_only_the_operator_reaches_the_control_port(program, component):
    policies = {p["metadata"]["name"]: p["spec"] for p in of(rendered(program, {}), "NetworkPolicy")}
    policy = policies[f"modelward-{component}"]
    assert policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == component
    (control,) = (rule for rule in policy["ingress"] if {"port": 8090} in rule["ports"])
    (source,) = control["from"]
    assert source["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "operator"
    assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "clinic"}
    open_ports = {port["port"] for rule in policy["ingress"] if "from" not in rule for port in rule["ports"]}
    assert open_ports == ({8080, 9000} if component == "serving" else set())


def test_nobody_reaches_a_batch(program):
    policies = {p["metadata"]["name"]: p["spec"] for p in of(rendered(program, {}), "NetworkPolicy")}
    policy = policies["modelward-batch"]
    assert policy["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "batch"
    assert (policy["policyTypes"], policy["ingress"]) == (["Ingress"], [])


def environment(documents):
    (operator,) = (d for d in of(documents, "Deployment") if d["metadata"]["name"] == "modelward")
    return {e["name"]: e.get("value") for e in operator["spec"]["template"]["spec"]["containers"][0]["env"]}


def test_there_are_two_operators_on_two_nodes_of_which_a_drain_and_an_upgrade_leave_one(program):
    documents = rendered(program, {})
    (operator,) = of(documents, "Deployment")
    assert operator["spec"]["replicas"] == 2
    assert operator["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    (spread,) = operator["spec"]["template"]["spec"]["topologySpreadConstraints"]
    (budget,) = of(documents, "PodDisruptionBudget")
    labels = operator["spec"]["template"]["metadata"]["labels"].items()
    for selector in (spread["labelSelector"], budget["spec"]["selector"]):
        assert selector["matchLabels"].items() <= labels
    assert (spread["topologyKey"], spread["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    assert budget["spec"]["maxUnavailable"] == 1


def test_a_single_operator_needs_no_disruption_budget(program):
    documents = rendered(program, {"operator": {"replicas": 1}})
    assert of(documents, "Deployment")[0]["spec"]["replicas"] == 1
    assert of(documents, "PodDisruptionBudget") == []


def test_the_operator_understands_the_environment_that_the_chart_gives_it(program):
    given = {name: value for name, value in environment(rendered(program, {})).items() if value is not None}
    settings = Settings.from_environment(given)
    assert settings.namespaces == ("clinic",)
    assert settings.serving_image == "modelward/serving:0.1.0"
    assert (settings.store_claim, settings.store_secret) == ("modelward-store", None)
    assert settings.serving_service_account == "modelward-serving"
    assert set(given) | {"POD_NAME", "POD_NAMESPACE"} == VARIABLES


def test_traces_go_where_the_values_say(program):
    documents = rendered(program, {"tracing": {"endpoint": "http://collector:4318", "ratio": 0.1}})
    settings = Settings.from_environment({n: v for n, v in environment(documents).items() if v is not None})
    assert (settings.tracing_endpoint, settings.tracing_ratio) == ("http://collector:4318", "0.1")


def test_with_all_namespaces_it_watches_all_and_pods_need_no_account_of_their_own(program):
    documents = rendered(program, VALUES["all namespaces"])
    given = {name: value for name, value in environment(documents).items() if value is not None}
    settings = Settings.from_environment(given)
    assert settings.namespaces == ()
    assert (settings.serving_service_account, settings.training_service_account) == ("default", "default")
    (binding,) = of(documents, "ClusterRoleBinding")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "modelward-operator", "namespace": "clinic"}]


def test_how_pods_run_reaches_the_operator_as_it_is_written(program):
    documents = rendered(program, VALUES["pods as a platform team has them"])
    deployments = {document["metadata"]["name"]: document for document in of(documents, "Deployment")}
    pod = deployments["modelward"]["spec"]["template"]
    (written,) = (v["value"] for v in pod["spec"]["containers"][0]["env"] if v["name"] == "MODELWARD_PODS")
    assert "$$(POD_NAME)" in written, "the kubelet would put its own value there"
    pods = Settings.from_environment({k: v for k, v in environment(documents).items() if v is not None}).pods
    assert pods.pod_defaults.security_context.fs_group == 65532
    assert pods.pod_defaults.ca_bundle.config_map.name == "corporate"
    assert pods.serving.resources.limits == {"cpu": "1", "memory": "1Gi"}
    assert (pod["spec"]["priorityClassName"], pod["metadata"]["labels"]["team"]) == ("system", "icu")
    assert "fsGroup" not in pod["spec"]["securityContext"], "the operator has no volume"
    for of_chart in (*of(documents, "Job"), deployments["modelward-store-shell"]):
        pod = of_chart["spec"]["template"]
        assert pod["spec"]["securityContext"]["fsGroup"] == 65532
        assert pod["spec"]["tolerations"] == [{"key": "models", "operator": "Exists"}]
        assert pod["metadata"]["annotations"] == {"example.com/scan": "no"}


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_no_user_or_group_is_asked_for_unless_it_is_set_and_the_store_check_fits_a_quota(program, values):
    documents = rendered(program, values)
    for workload in [*of(documents, "Deployment"), *of(documents, "Job")]:
        security = workload["spec"]["template"]["spec"]["securityContext"]
        is_operator = workload["metadata"]["name"] == "modelward"
        given = {} if is_operator else values.get("podDefaults", {}).get("securityContext", {})
        assert security == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **given}
        if not is_operator:
            container = workload["spec"]["template"]["spec"]["containers"][0]
            assert container["resources"]["limits"].keys() == {"cpu", "memory"}


@pytest.mark.parametrize(
    "values",
    [{"podDefaults": {"toleration": []}}, {"serving": {"pods": {}}}, {"podDefaults": {"caBundle": {"configMap": {}}}}],
)
def test_a_value_that_is_mistyped_is_refused_by_helm(program, values):
    assert helm(program, "lint", str(CHART), values=values, check=False).returncode != 0


def test_an_object_store_needs_no_claim(program):
    documents = rendered(program, VALUES["an object store"])
    settings = Settings.from_environment({k: v for k, v in environment(documents).items() if v is not None})
    assert (settings.store_uri, settings.store_claim, settings.store_secret) == ("s3://bucket/prefix", None, "keys")
    assert not of(documents, "PersistentVolumeClaim")


def test_an_object_store_is_checked_as_pods_use_it(program):
    platform = VALUES["pods as a platform team has them"]["podDefaults"]
    pods = {**platform, "envFrom": [{"configMapRef": {"name": "proxies"}}]}
    (job,) = of(rendered(program, {**VALUES["an object store"], "podDefaults": pods}), "Job")
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    given = {variable["name"]: variable["value"] for variable in container["env"]}
    assert given["MODELWARD_STORE"] == "s3://bucket/prefix"
    assert given["HTTPS_PROXY"] == "http://proxy:3128"
    assert container["envFrom"] == [
        {"configMapRef": {"name": "proxies"}, "prefix": "GIVEN_"},
        {"secretRef": {"name": "keys"}},
    ]
    authorities = next(volume for volume in pod["volumes"] if volume["name"] == "authorities")
    assert authorities["configMap"]["name"] == "corporate"
    assert given["SSL_CERT_FILE"] == "/etc/modelward-authorities/ca.crt"


def test_a_store_that_may_only_be_read_is_not_checked(program):
    assert not of(rendered(program, {"storeCheck": {"enabled": False}}), "Job")


def test_a_digest_is_used_instead_of_a_tag(program):
    (operator,) = of(rendered(program, VALUES["digests and a PodMonitor"]), "Deployment")
    assert operator["spec"]["template"]["spec"]["containers"][0]["image"] == "r/operator@sha256:" + "a" * 64


ROLE = {
    "modelversions": {"get", "list", "watch", "create", "patch"},
    "trainingjobs": {"get", "list", "watch"},
    "driftmonitors": {"get", "list", "watch"},
    "scorebatches": {"get", "list", "watch"},
    "modelversions/status": {"update", "patch"},
    "trainingjobs/status": {"update", "patch"},
    "driftmonitors/status": {"update", "patch"},
    "scorebatches/status": {"update", "patch"},
    "trainingjobs/finalizers": {"update"},
    "scorebatches/finalizers": {"update"},
    "deployments": {"get", "list", "watch", "create", "patch", "delete"},
    "controllerrevisions": {"list", "create", "delete"},
    "jobs": {"get", "list", "watch", "create", "patch"},
    "horizontalpodautoscalers": {"list", "watch", "create", "patch", "delete"},
    "poddisruptionbudgets": {"get", "create", "patch", "delete"},
    "services": {"get", "list", "watch", "create", "patch", "delete"},
    "configmaps": {"get", "create", "patch"},
    "pods": {"get", "list", "watch"},
    "events": {"create", "list"},
}


@pytest.mark.parametrize("kind", ["Role", "ClusterRole"])
def test_the_operators_role_is_exactly_this(program, kind):
    documents = rendered(program, VALUES["all namespaces"] if kind == "ClusterRole" else {})
    (role,) = (r for r in of(documents, kind) if not r["metadata"]["name"].endswith(("-lease", "-key")))
    granted = {resource: set(rule["verbs"]) for rule in role["rules"] for resource in rule["resources"]}
    assert granted == ROLE


WRONG = {
    "an unknown value": {"wath": {}},
    "a namespace that is no name": {"watch": {"namespaces": ["Ward A"]}},
    "no number of operators": {"operator": {"replicas": -1}},
    "a store that is no object store": {"store": {"uri": "ftp://x"}},
    "a tag as a digest": {"images": {"operator": {"repository": "r", "digest": "latest"}}},
}


@pytest.mark.parametrize("values", WRONG.values(), ids=WRONG.keys())
def test_wrong_values_are_refused(program, values):
    done = helm(program, "template", str(CHART), "--kube-version", "1.35.0", values=values, check=False)
    assert done.returncode != 0
    assert "values don't meet the specifications" in done.stderr


SYNCED = (
    *("NetworkPolicy", "PodDisruptionBudget", "ServiceAccount", "PersistentVolumeClaim", "CustomResourceDefinition"),
    *("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "Deployment", "Job"),
)
"""The order in which Argo CD applies kinds within a wave (gitops-engine, pkg/sync/sync_tasks.go)."""


def test_a_sync_of_argo_cd_is_one_pass_over_the_kinds_and_can_be_repeated(program, bare):
    """Imitated: Argo CD's order, kubectl apply, and kubectl replace --force for what says Force and Replace."""
    documents = sorted(rendered(program, {}), key=lambda d: SYNCED.index(d["kind"]))
    bare.kubectl("create", "namespace", "clinic")
    for again in (False, True):
        for document in documents:
            notes = document["metadata"].get("annotations") or {}
            assert "argocd.argoproj.io/hook" not in notes
            anew = notes.get("argocd.argoproj.io/sync-options") == "Force=true,Replace=true"
            assert anew == (document["kind"] == "Job")
            words = ["replace", "--force"] if anew and again else ["create"] if anew else ["apply"]
            bare.kubectl(*words, "--namespace", "clinic", "--filename", "-", document=document)
    assert "ttlSecondsAfterFinished" not in of(documents, "Job")[0]["spec"], "a Job that is gone is out of sync"


@pytest.fixture
def bare(tmp_path):
    """An API server without CRDs."""
    with api_server(tmp_path) as plane:
        yield plane


@pytest.fixture
def past(tmp_path):
    """A chart of the past, whose ModelVersions knew no rollout."""
    chart = tmp_path / "modelward"
    shutil.copytree(CHART, chart)
    file = chart / "files" / "modelversions.yaml"
    crd = yaml.safe_load(file.read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"]["rollout"]
    file.write_text(yaml.safe_dump(crd))
    return chart


def release(program, plane, chart, namespace, *words):
    command = ["upgrade", "--install", "modelward", str(chart), "--namespace", namespace, "--create-namespace"]
    return helm(program, *command, *words, kubeconfig=plane.kubeconfig)


def owner(plane):
    crd = plane.get("crd", "modelversions.modelward.io")
    return crd["metadata"]["annotations"]["meta.helm.sh/release-namespace"]


def knows_rollouts(plane):
    crd = plane.get("crd", "modelversions.modelward.io")
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return "rollout" in schema["properties"]["spec"]["properties"]


def test_an_upgrade_upgrades_the_operator_and_the_crds(program, bare, past):
    release(program, bare, past, "clinic")
    bare.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    assert not knows_rollouts(bare)
    release(program, bare, CHART, "clinic", "--set", "operator.logLevel=DEBUG")
    assert knows_rollouts(bare)
    operator = bare.get("deployment", "modelward", "--namespace", "clinic")
    assert environment([operator])["MODELWARD_LOG_LEVEL"] == "DEBUG"


def test_a_second_release_uses_the_crds_of_the_first_until_it_is_told_to_adopt_them(program, bare, past):
    release(program, bare, past, "clinic")
    said = release(program, bare, CHART, "ward").stdout
    assert "The CRDs belong to the release in namespace clinic" in said
    assert (owner(bare), knows_rollouts(bare)) == ("clinic", False)
    release(program, bare, CHART, "ward", "--set", "crds.adopt=true", "--take-ownership")
    assert (owner(bare), knows_rollouts(bare)) == ("ward", True)


def test_uninstalling_removes_the_operator_and_keeps_models_and_their_data(program, bare):
    release(program, bare, CHART, "clinic")
    bare.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    monitor = {
        "apiVersion": "modelward.io/v1alpha1",
        "kind": "DriftMonitor",
        "metadata": {"name": "m", "namespace": "clinic"},
        "spec": {"model": "m"},
    }
    bare.kubectl("create", "--filename", "-", document=monitor)
    helm(program, "uninstall", "modelward", "--namespace", "clinic", kubeconfig=bare.kubeconfig)
    assert bare.get("deployment", "--namespace", "clinic")["items"] == []
    assert [item["metadata"]["name"] for item in bare.get("dm", "--namespace", "clinic")["items"]] == ["m"]
    claims = bare.get("persistentvolumeclaim", "--namespace", "clinic")["items"]
    assert [claim["metadata"]["name"] for claim in claims] == ["modelward-store"]
    accounts = {item["metadata"]["name"] for item in bare.get("serviceaccount", "--namespace", "clinic")["items"]}
    assert accounts - {"default"} == {"modelward-serving", "modelward-training"}
    policies = {item["metadata"]["name"] for item in bare.get("networkpolicy", "--namespace", "clinic")["items"]}
    assert policies == {"modelward-serving", "modelward-training", "modelward-batch"}
    release(program, bare, CHART, "clinic")  # and it can come back


PERMITTED = {
    "create modelversions.modelward.io": True,
    "update modelversions.modelward.io --subresource=status": True,
    "update modelversions.modelward.io --subresource=finalizers": False,
    "watch trainingjobs.modelward.io": True,
    "patch deployments.apps": True,
    "patch jobs.batch": True,
    "create events": True,
    "update leases.coordination.k8s.io/modelward-operator": True,
    "update leases.coordination.k8s.io/another": False,
    "get secrets": False,
    "list secrets": False,
    "get secrets/modelward-control-key": True,
    "get secrets/modelward-record-key": True,
    "update secrets/modelward-record-key": False,
    "update secrets/another": False,
    "create pods": False,
    "get pods --subresource=log": False,
    "create pods --subresource=exec": False,
    "delete modelversions.modelward.io": False,
    "update trainingjobs.modelward.io": False,
    "patch customresourcedefinitions.apiextensions.k8s.io": False,
    "create roles.rbac.authorization.k8s.io": False,
    "get nodes": False,
}


@pytest.fixture(scope="module")
def may(program, control_plane):  # noqa: F811
    """What the operator's account is answered once the API server knows of its role."""
    release(program, control_plane, CHART, "rights", "--set", "crds.install=false")
    account = "system:serviceaccount:rights:modelward-operator"

    def asked(question: str, namespace: str = "rights") -> bool:
        words = ["auth", "can-i", *question.split(), "--namespace", namespace, "--as", account]
        return control_plane.kubectl(*words, check=False).stdout.strip() == "yes"

    deadline = time.monotonic() + 30
    while not asked("get pods"):
        assert time.monotonic() < deadline
    return asked


@pytest.mark.parametrize(("question", "allowed"), PERMITTED.items(), ids=PERMITTED.keys())
def test_the_operator_may_do_what_it_needs_and_no_more(may, question, allowed):
    assert may(question) == allowed


def test_the_operator_may_do_nothing_in_another_namespace(may):
    assert not may("get pods", "default")
