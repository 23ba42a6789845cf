"""Manifests: as the golden files say, the same every time, and with what safety asks of each."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from modelward_api import names
from modelward_api.resources.modelversion import Autoscaling, ModelVersionSpec
from modelward_api.resources.scorebatch import ScoreBatchSpec
from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_operator.manifests import batch as scoring
from modelward_operator.manifests import serving, training
from modelward_operator.manifests.settings import InvalidSettingsError, Settings
from modelward_serving.__main__ import _parser
from tests.unit.operator.manifests import golden
from tests.unit.operator.manifests.golden import (
    ARTIFACT,
    BATCH,
    CHOSEN,
    DIGEST,
    FOLDER,
    JOB,
    LARGE,
    MUTUAL,
    SETTINGS,
    SPEC,
    manifests,
    render,
)

ALL = dict(manifests())
PODS = [(name, m["spec"]["template"]["spec"]) for name, m in ALL.items() if "template" in m.get("spec", {})]


@pytest.mark.parametrize("name", ALL)
def test_a_manifest_is_as_its_golden_file_says(name):
    assert render(ALL[name]) == (FOLDER / f"{name}.yaml").read_text(), "python -m tests.unit.operator.manifests.golden"


def test_the_same_input_gives_the_same_bytes():
    assert [render(m) for _, m in manifests()] == [render(m) for _, m in manifests()]


@pytest.mark.parametrize(("name", "pod"), PODS, ids=[name for name, _ in PODS])
def test_no_container_has_privileges_a_writable_root_or_the_api_servers_token(name, pod):
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in (*pod.get("initContainers", []), *pod["containers"]):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}


def test_only_the_fetching_container_sees_the_store():
    pod = ALL["deployment"]["spec"]["template"]["spec"]
    fetch, serve = pod["initContainers"][0], pod["containers"][0]
    assert {"name": "store", "mountPath": "/var/lib/modelward/store", "readOnly": True} in fetch["volumeMounts"]
    assert "store" not in [mount["name"] for mount in serve["volumeMounts"]]
    assert "MODELWARD_STORE" not in [variable["name"] for variable in serve["env"]]
    assert "envFrom" not in serve


def test_the_serving_container_cannot_change_the_bundle_that_was_verified():
    serve = ALL["deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert next(m for m in serve["volumeMounts"] if m["name"] == "bundle")["readOnly"] is True


def test_the_selector_holds_nothing_that_could_change():
    assert set(ALL["deployment"]["spec"]["selector"]["matchLabels"]) == {names.MODEL, names.MODEL_VERSION}


def test_the_garbage_collector_takes_no_pods_from_callers_when_a_version_is_deleted():
    assert not [
        name for name in ("deployment", "autoscaler", "disruption-budget") if "ownerReferences" in ALL[name]["metadata"]
    ]


def test_a_deployment_remembers_what_its_pods_are():
    written = ALL["deployment-mtls"]["metadata"]["annotations"][names.SPEC_OF_VERSION]
    known = ModelVersionSpec.model_validate_json(written)
    assert (known.model, known.artifact, known.serving) == (MUTUAL.model, ARTIFACT, MUTUAL.serving)


def test_pods_wear_what_the_service_selects():
    labels = ALL["deployment"]["spec"]["template"]["metadata"]["labels"]
    assert ALL["service"]["spec"]["selector"].items() <= labels.items()
    assert ALL["service"]["metadata"]["name"] == "mortality"
    assert "ownerReferences" not in ALL["service"]["metadata"]


def test_a_pod_is_given_the_time_to_drain_and_to_finish_its_requests():
    pod = serving.deployment("clinic", "v1", "u", LARGE, ARTIFACT, 3, SETTINGS)["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] >= serving.DRAIN_SECONDS + 2 * 30
    assert pod["containers"][0]["command"][-2:] == ["--drain-seconds", str(serving.DRAIN_SECONDS)]


def test_a_rollout_of_pods_never_has_fewer_than_wanted():
    assert ALL["deployment"]["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}


@pytest.mark.parametrize(
    ("name", "probed"),
    [
        ("deployment", {"port": "http"}),
        ("deployment-tls", {"port": "http", "scheme": "HTTPS"}),
        ("deployment-mtls", {"port": "control"}),
    ],
)
def test_the_kubelet_asks_where_it_needs_no_certificate(name, probed):
    serve = ALL[name]["spec"]["template"]["spec"]["containers"][0]
    for probe, path in (("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
        assert serve[probe]["httpGet"] == {"path": path, **probed}


def test_a_certificate_is_for_the_services_name_and_its_absence_can_be_told():
    pod = ALL["deployment-mtls"]["spec"]["template"]["spec"]
    words = pod["containers"][0]["command"]
    assert words[words.index("--tls-server-name") + 1] == "mortality.clinic.svc"
    assert words[words.index("--tls-client-ca") + 1] == "/etc/modelward/tls/ca.crt"
    (volume,) = (v["secret"] for v in pod["volumes"] if v["name"] == "tls")
    assert (volume["secretName"], volume["optional"]) == ("mortality-tls", True)
    assert "--tls-client-ca" not in ALL["deployment-tls"]["spec"]["template"]["spec"]["containers"][0]["command"]


def test_turning_tls_on_leaves_the_selector_as_it_is():
    assert ALL["deployment-tls"]["spec"]["selector"] == ALL["deployment"]["spec"]["selector"]
    assert ALL["deployment-tls"]["spec"]["template"]["metadata"]["labels"][names.SCHEME] == "https"


def test_pods_spread_over_hosts_and_zones_and_start_all_the_same_where_they_cannot():
    pod = ALL["deployment"]["spec"]["template"]["spec"]
    (hosts,) = pod["topologySpreadConstraints"]
    assert (hosts["topologyKey"], hosts["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "ScheduleAnyway")
    (zones,) = pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    assert zones["podAffinityTerm"]["topologyKey"] == "topology.kubernetes.io/zone", (
        "nodes without one spread over hosts"
    )


def test_a_slow_start_is_not_killed_and_a_pod_is_ready_only_when_it_can_answer():
    serve = ALL["deployment"]["spec"]["template"]["spec"]["containers"][0]
    startup = serve["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 120
    assert startup["httpGet"]["path"] == serve["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_an_autoscaled_deployment_says_nothing_of_its_number_of_pods():
    assert "replicas" not in ALL["deployment-autoscaled"]["spec"]


def test_an_autoscaler_adds_pods_at_once_and_removes_them_slowly():
    spec = ALL["autoscaler"]["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "v1"}
    assert spec["behavior"]["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300


def test_the_custom_metric_is_asked_for_only_when_a_target_is_set():
    assert [m["type"] for m in ALL["autoscaler"]["spec"]["metrics"]] == ["Resource", "Pods"]
    plain = serving.autoscaler("clinic", "v1", SPEC, Autoscaling(max_replicas=3))["spec"]
    assert [m["type"] for m in plain["metrics"]] == ["Resource"]
    assert plain["metrics"][0]["resource"]["target"]["averageUtilization"] == 70


@pytest.mark.parametrize("name", ["x" * 40, "v1"])
def test_every_name_fits_a_label(name):
    spec = ModelVersionSpec.model_validate({**SPEC.to_json(), "model": "m" * 40})
    for value in serving.labels(name, spec, ARTIFACT).values():
        assert len(value) <= 63


def test_resources_that_are_given_win_over_the_defaults_one_by_one():
    pod = ALL["deployment-large"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"] == {
        "requests": {"cpu": "2", "memory": serving.DEFAULT_REQUESTS["memory"]},
        "limits": {"memory": "1Gi"},
    }


def test_a_limit_range_that_the_main_container_keeps_is_kept_by_the_fetch_too():
    for name in ("deployment", "deployment-large", "scoring-job"):
        pod = ALL[name]["spec"]["template"]["spec"]
        assert pod["initContainers"][0]["resources"] == pod["containers"][0]["resources"]


def test_bad_input_fails_the_job_at_once_and_a_drained_node_does_not_count():
    rules = ALL["training-job"]["spec"]["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["FailJob", "Ignore"]
    assert rules[0]["onExitCodes"] == {"containerName": "training", "operator": "In", "values": [65]}
    assert "ttlSecondsAfterFinished" not in ALL["training-job"]["spec"]


def test_a_batch_has_one_index_a_shard_and_its_pods_keep_no_namespace_from_ending():
    spec = ALL["scoring-job"]["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 20, 4)
    assert (spec["backoffLimit"], "backoffLimitPerIndex" in spec) == (8, False)
    rules = spec["podFailurePolicy"]["rules"]
    assert [rule["action"] for rule in rules] == ["FailJob", "Ignore"]
    assert rules[0]["onExitCodes"] == {"operator": "In", "values": [65]}, "of the fetch, too"


def test_a_batch_scores_with_the_bundle_that_was_verified_and_cannot_change_it():
    pod = ALL["scoring-job"]["spec"]["template"]["spec"]
    fetch, batch = pod["initContainers"][0], pod["containers"][0]
    serving_fetch = ALL["deployment"]["spec"]["template"]["spec"]["initContainers"][0]
    assert {**fetch, "resources": None} == {**serving_fetch, "resources": None}
    assert fetch["resources"] == batch["resources"]
    assert next(m for m in batch["volumeMounts"] if m["name"] == "bundle")["readOnly"] is True
    assert f"--digest={DIGEST}" in batch["command"]


def test_a_batchs_pods_are_none_of_the_models_service():
    assert names.MODEL not in ALL["scoring-job"]["spec"]["template"]["metadata"]["labels"]


def test_a_batchs_command_is_one_that_the_container_takes():
    words = ALL["scoring-job"]["spec"]["template"]["spec"]["containers"][0]["command"]
    assert words[:4] == ["python", "-m", "modelward_serving", "batch"]
    options = _parser().parse_args(words[3:])
    assert (options.input, options.shards, options.keep) == (BATCH.input.uri, 20, ["id", "$$(PATH)"])


@pytest.mark.parametrize("name", ["x" * 40, "v1"])
def test_every_name_of_a_batch_fits(name):
    spec = ScoreBatchSpec.model_validate({**BATCH.to_json(), "model": "m" * 40})
    made = scoring.job("n", name, "u", spec, CHOSEN, SETTINGS)
    assert len(made["metadata"]["name"]) + len("-999-abcde") <= 63
    assert all(len(value) <= 63 for value in made["metadata"]["labels"].values())


@pytest.mark.parametrize(("text", "seconds"), [("1h", 3600), ("90s", 90), ("200ms", 1)])
def test_a_deadline_is_whole_seconds_and_never_none(text, seconds):
    spec = TrainingJobSpec.model_validate({**JOB.to_json(), "activeDeadline": text})
    assert training.job("n", "t", "u", spec, SETTINGS)["spec"]["activeDeadlineSeconds"] == seconds


def test_a_training_pod_gets_the_addresses_of_its_databases_from_their_secrets():
    document = golden.JOB.to_json()
    document["data"]["sources"] = [
        {"uri": "store://a.csv"},
        {"format": "sql", "sql": {"uriSecretRef": {"name": "registry", "key": "uri"}, "query": "SELECT 1"}},
    ]
    spec, settings = TrainingJobSpec.model_validate(document), replace(SETTINGS, private_hosts="files.ward")
    container = training.job("n", "t", "u", spec, settings)["spec"]["template"]["spec"]["containers"][0]
    secret = {"secretKeyRef": {"name": "registry", "key": "uri", "optional": True}}
    assert {"name": "MODELWARD_SQL_1", "valueFrom": secret} in container["env"]
    assert {"name": "MODELWARD_PRIVATE_HOSTS", "value": "files.ward"} in container["env"]
    assert "MODELWARD_SQL_0" not in {variable["name"] for variable in container["env"]}


def test_the_training_pod_reads_the_spec_that_was_applied():
    document = json.loads(ALL["training-document"]["data"][training.SPEC_FILE])
    assert (document["name"], document["namespace"]) == ("train", "clinic")
    assert TrainingJobSpec.model_validate(document["spec"]) == JOB


def test_a_trained_version_has_no_owner_and_only_what_the_template_says():
    made = ALL["model-version"]
    assert "ownerReferences" not in made["metadata"]
    assert made["metadata"]["labels"][names.TRAINING_JOB] == "train"
    assert made["spec"]["rollout"] == {"keepWarm": "2h"}
    assert ModelVersionSpec.model_validate(made["spec"]).artifact.digest == DIGEST


IMAGES = {"MODELWARD_SERVING_IMAGE": "s", "MODELWARD_TRAINING_IMAGE": "t"}


def test_settings_come_from_the_environment():
    settings = Settings.from_environment(
        {
            **IMAGES,
            "MODELWARD_NAMESPACES": " a, b ,,",
            "MODELWARD_STORE_CLAIM": "c",
            "MODELWARD_STORE_SECRET": "",
            "POD_NAMESPACE": "n",
        }
    )
    assert settings.namespaces == ("a", "b")
    assert (settings.store_claim, settings.store_secret, settings.pod_namespace) == ("c", None, "n")
    assert Settings.from_environment(IMAGES).namespaces == ()


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({}, "MODELWARD_SERVING_IMAGE and MODELWARD_TRAINING_IMAGE must be set"),
        ({**IMAGES, "MODELWARD_TRAINING_IMAGE": ""}, "MODELWARD_TRAINING_IMAGE must be set"),
        (
            {**IMAGES, "MODELWARD_LOG_LEVEL": "chatty"},
            "MODELWARD_LOG_LEVEL: must be one of DEBUG, INFO, WARNING, ERROR, not 'chatty'",
        ),
        (
            {**IMAGES, "MODELWARD_IMAGE_PULL_POLICY": "now"},
            "MODELWARD_IMAGE_PULL_POLICY: must be one of Always, IfNotPresent, Never, not 'now'",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_their_name(environ, said):
    with pytest.raises(InvalidSettingsError, match=said):
        Settings.from_environment(environ)
