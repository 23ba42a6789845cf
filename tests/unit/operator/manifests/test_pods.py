"""How pods run: resources that never contradict each other, no fixed identities, and what may be set of them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from modelward_api.resources.pods import PodSettings, Resources, merged
from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_operator.manifests import training
from modelward_operator.manifests.pod import resources
from modelward_operator.manifests.quantity import amount
from modelward_operator.manifests.settings import InvalidSettingsError, Pods
from tests.unit.operator.manifests.golden import JOB, SETTINGS, manifests

PODS = {n: m["spec"]["template"] for n, m in manifests() if "template" in m.get("spec", {})}
DEFAULTS = {"cpu": "250m", "memory": "512Mi"}
NONE = Resources()


def containers(pod):
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def all_containers(pods):
    """Of the manifests that are made with these settings of the installation."""
    for name, manifest in manifests(replace(SETTINGS, pods=Pods.model_validate(pods))):
        if name in ("deployment", "deployment-tls", "training-job", "scoring-job"):
            yield from containers(manifest["spec"]["template"])


@pytest.mark.parametrize(
    ("smaller", "larger"),
    [("999m", "1"), ("1", "1k"), ("1k", "1Ki"), ("1023Mi", "1Gi"), ("0.5", "501m"), ("1G", "1Gi")],
)
def test_quantities_are_compared_as_kubernetes_does(smaller, larger):
    assert amount(smaller) < amount(larger)


def test_a_limit_below_the_default_request_lowers_the_request():
    found = resources(DEFAULTS, NONE, Resources(limits={"memory": "256Mi"}))
    assert found == {"requests": {"cpu": "250m", "memory": "256Mi"}, "limits": {"memory": "256Mi"}}


def test_a_limit_of_the_installation_gives_way_to_the_request_of_an_object():
    found = resources(DEFAULTS, Resources(limits={"memory": "256Mi"}), Resources(requests={"memory": "1Gi"}))
    assert found == {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}


@pytest.mark.parametrize("limit", [{"cpu": "10m"}, {"memory": "16Mi"}, {"cpu": "1m", "memory": "1Mi"}])
@pytest.mark.parametrize("name", ["serving", "training", "batch"])
def test_no_container_ever_asks_for_more_than_its_limit(name, limit):
    for container in all_containers({name: {"resources": {"limits": limit}}}):
        asked, most = container["resources"]["requests"], container["resources"].get("limits", {})
        assert all(amount(asked[key]) <= amount(most[key]) for key in asked.keys() & most.keys())


def test_a_quota_that_asks_for_limits_is_met_by_limits_of_the_main_containers():
    limits = {"limits": {"cpu": "1", "memory": "1Gi"}}
    for container in all_containers({name: {"resources": limits} for name in ("serving", "training", "batch")}):
        assert container["resources"]["limits"].keys() == {"cpu", "memory"}, container["name"]


@pytest.mark.parametrize("name", [name for name in PODS if "placed" not in name])
def test_no_user_or_group_is_asked_for_unless_it_is_set(name):
    assert PODS[name]["spec"]["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for container in containers(PODS[name]):
        assert not {"runAsUser", "runAsGroup"} & container["securityContext"].keys()


@pytest.mark.parametrize("name", ["deployment-placed", "training-job-placed", "scoring-job-placed"])
def test_what_is_set_for_all_and_for_one_reaches_every_container(name):
    pod = PODS[name]
    assert pod["metadata"]["labels"]["team"] == "ward", "the object's word is the last"
    assert pod["metadata"]["annotations"] == {"example.com/scan": "no"}
    assert pod["spec"]["tolerations"] == [{"key": "models", "operator": "Exists", "effect": "NoSchedule"}]
    assert (pod["spec"]["priorityClassName"], pod["spec"]["runtimeClassName"]) == ("clinical", "gvisor")
    assert pod["spec"]["nodeSelector"]["disk"] == "fast"
    assert "nodeAffinity" in pod["spec"]["affinity"]
    [authorities] = [volume for volume in pod["spec"]["volumes"] if volume["name"] == "authorities"]
    assert authorities["secret"] == {
        "secretName": "own",
        "items": [{"key": "ca.crt", "path": "ca.crt"}],
        "optional": True,
    }
    for container in containers(pod):
        variables = {variable["name"]: variable.get("value") for variable in container["env"]}
        assert variables["HTTPS_PROXY"] == "http://proxy.corp:3128"
        assert variables["SSL_CERT_FILE"] == "/etc/modelward-authorities/ca.crt"
        assert "NO_PROXY" in variables
        assert {"prefix": "GIVEN_", "configMapRef": {"name": "proxies"}} in container["envFrom"]
        assert "authorities" in [mount["name"] for mount in container["volumeMounts"]]


def test_a_node_affinity_does_not_end_the_spread_over_zones():
    assert PODS["deployment-placed"]["spec"]["affinity"].keys() == {"nodeAffinity", "podAntiAffinity"}


def test_variables_and_labels_of_ours_win():
    pods = Pods.model_validate({"podDefaults": {"metadata": {"labels": {"a": "b"}}}})
    made = training.job("n", "t", "u", JOB, replace(SETTINGS, pods=pods))["spec"]["template"]
    assert made["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "modelward"
    for refused in ("MODELWARD_STORE", "PYTHONPATH", "LD_PRELOAD", "SSL_CERT_FILE"):
        with pytest.raises(ValidationError, match="reserved"):
            PodSettings.model_validate({"env": [{"name": refused, "value": "x"}]})
    for refused in ("modelward.io/model", "app.kubernetes.io/component"):
        with pytest.raises(ValidationError, match="reserved"):
            PodSettings.model_validate({"metadata": {"labels": {refused: "x"}}})


def test_the_same_variable_is_said_once_and_by_the_object():
    under = PodSettings.model_validate({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]})
    over = PodSettings.model_validate({"env": [{"name": "A", "value": "2"}]})
    assert {v.name: v.value for v in merged(under, over).env} == {"A": "2", "B": "1"}


def test_merging_nothing_changes_nothing():
    given = PodSettings.model_validate({"securityContext": {"fsGroup": 5}, "tolerations": [{"operator": "Exists"}]})
    assert merged(given, PodSettings()) == merged(PodSettings(), given) == merged(given, given)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('{"podDefaults": {"tolerations": [{"operator": "Perhaps"}]}}', r"podDefaults.tolerations.0.operator"),
        ('{"training": {"resources": {"limits": {"cpu": "lots"}}}}', r"training.resources.limits.cpu"),
        ("{", "MODELWARD_PODS"),
    ],
)
def test_values_of_the_chart_that_make_no_sense_are_refused_with_their_path(written, said):
    with pytest.raises(InvalidSettingsError, match=said):
        Pods.read(written)


@pytest.mark.parametrize("text", ["99999999999999999d", "10000d", "9999999999s", "1s1d"])
def test_a_duration_that_no_integer_field_holds_is_refused_here_too(text):
    with pytest.raises(ValidationError, match="at most 9999d"):
        TrainingJobSpec.model_validate({**JOB.to_json(), "activeDeadline": text})
