"""The gateway and the manifests against a real API server."""

from __future__ import annotations

import pytest

from modelward_api import names
from modelward_api.base import Document
from modelward_api.resources.modelversion import Artifact, ModelVersionSpec, ModelVersionStatus
from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.core.record import Ledger, ModelRecord, Quarantine
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import (
    ConflictError,
    GatewayError,
    InvalidObjectError,
    KubernetesGateway,
    NamespaceEndsError,
)
from modelward_operator.engine.reconcile.statuses import write_status
from modelward_operator.manifests import record as records
from modelward_operator.manifests import serving, training
from modelward_operator.manifests.service import service
from tests.support.builders import KEY, digest
from tests.support.harness import MODEL, SETTINGS, operator_harness
from tests.support.objects import training as training_job
from tests.support.ports import free_port

SPEC = ModelVersionSpec.model_validate(
    {
        "model": MODEL,
        "version": "1.0.0",
        "artifact": {"uri": "store://a", "digest": digest("1")},
        "serving": {"replicas": 2, "nodeSelector": {"disk": "fast"}, "resources": {"limits": {"memory": "1Gi"}}},
    }
)
ARTIFACT = Artifact(uri="store://a", digest=digest("1"))


@pytest.fixture
async def harness(control_plane):
    async with operator_harness(control_plane) as found:
        yield found


def deployment(harness, uid="u", replicas=1):
    return serving.deployment(harness.namespace, "v1", uid, SPEC, ARTIFACT, replicas, SETTINGS)


def changed(manifest, annotation):
    metadata = {**manifest["metadata"], "annotations": {"team": annotation}}
    return {**manifest, "metadata": metadata}


async def test_applying_twice_leaves_the_resource_version_unchanged(harness):
    first = await harness.gateway.apply(api.DEPLOYMENTS, deployment(harness))
    second = await harness.gateway.apply(api.DEPLOYMENTS, deployment(harness))
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    managers = [entry["manager"] for entry in second["metadata"]["managedFields"]]
    assert managers == [names.FIELD_MANAGER]


async def test_applying_keeps_what_others_have_added_and_mends_what_they_have_changed(harness):
    await harness.gateway.apply(api.DEPLOYMENTS, deployment(harness))
    theirs = {"metadata": {"annotations": {"team": "cardiology"}}, "spec": {"replicas": 7}}
    await harness.gateway.patch(api.DEPLOYMENTS, harness.namespace, "v1", theirs)
    found = await harness.gateway.apply(api.DEPLOYMENTS, deployment(harness))
    assert found["metadata"]["annotations"]["team"] == "cardiology"
    assert found["spec"]["replicas"] == 1


async def test_applying_drops_what_is_no_longer_wanted(harness):
    await harness.gateway.apply(api.DEPLOYMENTS, deployment(harness))
    without = deployment(harness)
    del without["spec"]["template"]["spec"]["nodeSelector"]
    found = await harness.gateway.apply(api.DEPLOYMENTS, without)
    assert "nodeSelector" not in found["spec"]["template"]["spec"]


async def test_a_status_is_written_once_and_not_again_while_it_says_the_same(harness):
    manifest = await harness.version("v1")
    status = ModelVersionStatus(phase="Pending", message="waits")
    written = await write_status(harness.gateway, api.MODEL_VERSIONS, manifest, status)
    assert written["status"]["phase"] == "Pending"
    harness.gateway.writes()
    read = await harness.get(api.MODEL_VERSIONS, "v1")
    await write_status(harness.gateway, api.MODEL_VERSIONS, read, status)
    assert harness.gateway.writes() == []


async def test_a_status_comes_back_as_it_was_written(harness):
    manifest = await harness.version("v1")
    status = ModelVersionStatus.model_validate({"phase": "Canary", "weight": {"requested": 5.0, "actual": 4.9}})
    await write_status(harness.gateway, api.MODEL_VERSIONS, manifest, status)
    assert (await harness.status("v1")) == status.to_json()


async def test_a_status_on_an_old_reading_is_a_conflict(harness):
    manifest = await harness.version("v1")
    await write_status(harness.gateway, api.MODEL_VERSIONS, manifest, ModelVersionStatus(phase="Pending"))
    with pytest.raises(ConflictError):
        await write_status(harness.gateway, api.MODEL_VERSIONS, manifest, ModelVersionStatus(phase="Champion"))
    assert (await harness.status("v1"))["phase"] == "Pending"


async def test_a_status_write_never_touches_the_spec(harness):
    manifest = await harness.version("v1")
    doctored = {**manifest, "spec": {**manifest["spec"], "rollout": {"paused": True}}}
    await write_status(harness.gateway, api.MODEL_VERSIONS, doctored, ModelVersionStatus(phase="Pending"))
    assert (await harness.get(api.MODEL_VERSIONS, "v1"))["spec"] == manifest["spec"]


async def test_a_finalizer_on_an_old_reading_is_a_conflict(harness):
    manifest = await harness.version("v1")
    await write_status(harness.gateway, api.MODEL_VERSIONS, manifest, ModelVersionStatus(phase="Pending"))
    old = {"metadata": {"finalizers": [names.FINALIZER], "resourceVersion": manifest["metadata"]["resourceVersion"]}}
    with pytest.raises(ConflictError):
        await harness.gateway.patch(api.MODEL_VERSIONS, harness.namespace, "v1", old)


async def test_deleting_takes_only_the_very_object_that_was_seen(harness):
    made = await harness.gateway.apply(api.DEPLOYMENTS, deployment(harness))
    with pytest.raises(ConflictError):
        await harness.gateway.delete(api.DEPLOYMENTS, harness.namespace, "v1", "another-uid")
    assert await harness.get(api.DEPLOYMENTS, "v1") is not None
    await harness.gateway.delete(api.DEPLOYMENTS, harness.namespace, "v1", made["metadata"]["uid"])
    assert await harness.get(api.DEPLOYMENTS, "v1") is None
    await harness.gateway.delete(api.DEPLOYMENTS, harness.namespace, "v1", made["metadata"]["uid"])


async def test_creating_what_exists_is_a_conflict(harness):
    await harness.version("v1")
    with pytest.raises(ConflictError):
        await harness.version("v1")


async def test_an_object_that_the_schema_refuses_is_told_apart(harness):
    with pytest.raises(InvalidObjectError, match="weights must increase"):
        await harness.version("v1", rollout={"steps": [{"weight": 50}, {"weight": 10}]})


async def test_a_namespace_that_ends_is_told_apart(harness):
    harness.plane.kubectl("delete", "namespace", harness.namespace, "--wait=false")
    with pytest.raises(NamespaceEndsError):
        await harness.gateway.apply(api.DEPLOYMENTS, deployment(harness))


async def test_an_api_server_that_is_away_is_an_error_of_the_gateway(harness, tmp_path):
    config = harness.plane.kubeconfig.read_text()
    port = config.split("https://127.0.0.1:")[1].split('"')[0]
    away = tmp_path / "kubeconfig"
    away.write_text(config.replace(port, "1"))
    gateway = await KubernetesGateway.connect(str(away))
    with pytest.raises(GatewayError) as caught:
        await gateway.list(api.PODS, "default")
    assert caught.value.status == 0
    await gateway.close()


async def test_lists_select_by_namespace_and_label(harness):
    await harness.pod("v1", server=False)
    selector = f"{names.MODEL_VERSION}=v1"
    assert len(await harness.gateway.list(api.PODS, harness.namespace, selector)) == 1
    assert await harness.gateway.list(api.PODS, harness.namespace, f"{names.MODEL_VERSION}=v2") == []
    assert len(await harness.gateway.list(api.PODS, None, selector)) >= 1


async def test_a_record_survives_the_api_server_to_the_last_count(harness):
    ledger = Ledger(paired={digest("2"): {"a/b": PairedCounts(pairs=17, flips=3)}}, folded=("x",))
    entry = Quarantine(digest=digest("3"), version="3.0.0", reason="Flips", message="m", time="2026-01-01T00:00:00Z")
    record = ModelRecord(quarantined=(entry,), ledger=ledger)
    await harness.gateway.apply(api.CONFIG_MAPS, records.config_map(harness.namespace, MODEL, record, KEY))
    written = await harness.get(api.CONFIG_MAPS, records.record_name(MODEL))
    assert records.read(written, harness.namespace, MODEL, KEY) == records.Kept(record)


def manifests(harness, owner):
    job = TrainingJobSpec.model_validate(training_job()["spec"])
    space, uid = harness.namespace, owner["metadata"]["uid"]
    yield api.DEPLOYMENTS, deployment(harness, uid, 2)
    yield api.DISRUPTION_BUDGETS, serving.disruption_budget(space, "v1", SPEC)
    yield api.SERVICES, service(space, MODEL, "v1")
    yield api.CONFIG_MAPS, training.config_map(space, "t", uid, job)
    yield api.JOBS, training.job(space, "t", uid, job, SETTINGS)
    yield api.MODEL_VERSIONS, training.model_version(space, "v2", job, "t", "store://b", digest("2"))


async def test_the_api_server_knows_every_field_of_every_manifest(harness):
    owner = await harness.version("v1")
    for resource, manifest in manifests(harness, owner):
        path = f"{resource.root}/namespaces/{harness.namespace}/{resource.plural}"
        query = {"fieldValidation": "Strict", "dryRun": "All"}
        made = await harness.request("POST", path, query, manifest)
        assert made["kind"] == resource.kind


async def test_every_status_document_fits_its_schema(harness):
    """A status whose field the CRD does not know would be pruned, and written again for ever."""
    manifest = await harness.version("v1")
    full = _filled(ModelVersionStatus)
    await write_status(harness.gateway, api.MODEL_VERSIONS, manifest, full)
    assert (await harness.status("v1")) == full.to_json()


def _filled(model: type[Document]) -> ModelVersionStatus:
    condition = {
        "type": "Ready",
        "status": "True",
        "reason": "R",
        "message": "m",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    signal = {"name": "errors", "verdict": "Hold", "samples": 1, "estimate": 0.5, "bound": 0.1, "threshold": 0.2}
    filled = ModelVersionStatus.model_validate(
        {
            "observedGeneration": 1,
            "phase": "Canary",
            "message": "m",
            "phaseSince": "t",
            "step": 1,
            "stepSince": "t",
            "stepPairs": 3,
            "champion": "v0",
            "artifact": {"uri": "store://a", "digest": digest("1")},
            "weight": {"requested": 20, "actual": 19.5},
            "verdict": "Hold",
            "evidence": [{**signal, "logEvidence": 0.25, "evidenceNeeded": 3.5, "samplesNeeded": 100}],
            "subgroups": [
                {
                    "stratum": "sex=f",
                    "state": "Quiet",
                    "pairs": "few",
                    "signal": "flips",
                    "estimate": 0.5,
                    "logEvidence": 0.25,
                    "evidenceNeeded": 3.5,
                }
            ],
            "decided": {"time": "t", "outcome": "promote", "reason": "R", "evidenceDigest": digest("1")},
            "rolledBackAt": "t",
            "endpoints": {"rest": "http://m", "grpc": "m:9000"},
            "conditions": [condition],
            "history": [{"time": "t", "fromPhase": "Deploying", "toPhase": "Canary", "reason": "R", "message": "m"}],
        }
    )
    assert filled.model_fields_set == set(model.model_fields)
    return filled


async def test_the_api_server_is_never_asked_through_the_environments_proxy(control_plane, monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    gateway = await KubernetesGateway.connect(str(control_plane.kubeconfig))
    assert await gateway.get(api.SERVICES, "default", "kubernetes")
    await gateway.close()
