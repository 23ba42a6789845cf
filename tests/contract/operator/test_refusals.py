"""Writes that a real API server refuses: the status quotes it, and they are retried until they succeed."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from modelward_api import names
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.queue import Key
from modelward_operator.manifests import quarantine as marks
from modelward_operator.manifests import record as records
from modelward_operator.manifests.settings import Pods
from tests.support.builders import digest
from tests.support.harness import MODEL, SETTINGS, operator_harness
from tests.support.objects import training, verdict

POLICIES = api.Resource("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies")


@pytest.fixture
async def harness(control_plane):
    async with operator_harness(control_plane) as found:
        yield found


@pytest.fixture
def forbid(control_plane, harness):
    """Forbid objects of a kind in the test's namespace, until told otherwise."""
    made = []

    def change(group, plural, *, allowed):
        name = f"no-{plural}-{harness.namespace}"
        if allowed:
            control_plane.kubectl("delete", "validatingadmissionpolicy,validatingadmissionpolicybinding", name)
            made.remove(name)
            return
        match = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": harness.namespace}}}
        rules = [{"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE"], "resources": [plural]}]
        policy = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "matchConstraints": {"resourceRules": rules},
                "validations": [{"expression": "false", "message": "night shift: no new work", "reason": "Forbidden"}],
            },
        }
        binding = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
            "spec": {"policyName": name, "validationActions": ["Deny"], "matchResources": match},
        }
        made.append(name)
        for document in (policy, binding):
            control_plane.kubectl("create", "--filename", "-", document=document)

    yield change
    for name in made:
        control_plane.kubectl("delete", "validatingadmissionpolicy,validatingadmissionpolicybinding", name)


async def until(holds):
    """Until the API server heeds a policy that it has taken, or lost: it reads them now and then."""
    deadline = time.monotonic() + 30
    while not await holds():
        assert time.monotonic() < deadline, "the API server does not heed the policy"
        await asyncio.sleep(0.2)


async def in_force(harness, kind):
    probe = {"apiVersion": "batch/v1" if kind == "Job" else "v1", "kind": kind, "metadata": {"name": "probe"}}
    if kind == "Job":
        pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
        probe["spec"] = {"template": {"spec": pod}}
    words = ("create", "--namespace", harness.namespace, "--dry-run=server", "--filename", "-")

    async def is_refused():
        return harness.plane.kubectl(*words, document=probe, check=False).returncode != 0

    await until(is_refused)


async def a_training(harness, **spec):
    body = {**training()["spec"], **spec}
    await harness.create(api.TRAINING_JOBS, "t", {key: value for key, value in body.items() if value is not None})
    return Key("TrainingJob", harness.namespace, "t")


async def a_batch(harness, **spec):
    await harness.version("v1")
    await harness.say_phase("v1", "Champion")
    body = {"model": MODEL, "input": {"uri": "store://in"}, "output": {"uri": "store://out"}, **spec}
    await harness.create(api.SCORE_BATCHES, "b", body)
    return Key("ScoreBatch", harness.namespace, "b")


KINDS = [
    pytest.param(a_training, api.TRAINING_JOBS, "t", "t", id="TrainingJob"),
    pytest.param(a_batch, api.SCORE_BATCHES, "b", "b-scores", id="ScoreBatch"),
]


@pytest.mark.parametrize(("begin", "resource", "name", "job"), KINDS)
async def test_a_limit_below_the_default_request_makes_a_job_that_the_api_server_takes(
    harness, begin, resource, name, job
):
    key = await begin(harness, resources={"limits": {"cpu": "100m", "memory": "64Mi"}})
    await harness.reconciler()(key)
    made = await harness.get(api.JOBS, job)
    assert made["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"] == {
        "cpu": "100m",
        "memory": "64Mi",
    }


@pytest.mark.parametrize(("begin", "resource", "name", "job"), KINDS)
async def test_a_job_that_a_policy_forbids_is_told_tried_again_and_made_once_it_may_be(
    harness, forbid, begin, resource, name, job
):
    key = await begin(harness)
    forbid("batch", "jobs", allowed=False)
    await in_force(harness, "Job")
    operate = harness.reconciler()
    for _ in range(3):
        assert 2 <= await operate(key) <= 300
    ready = await harness.condition(name, "Ready", resource)
    assert (ready["status"], ready["reason"]) == ("False", "Forbidden")
    assert "night shift: no new work" in ready["message"]
    assert (await harness.condition(name, "Reconciling", resource))["status"] == "True"
    assert (await harness.status(name, resource))["phase"] == "Pending"
    harness.gateway.writes()
    await operate(key)
    assert [write for write in harness.gateway.writes() if "status" in write or "events" in write] == [], "it is said"
    forbid("batch", "jobs", allowed=True)

    async def is_made():
        await operate(key)
        return await harness.get(api.JOBS, job) is not None

    await until(is_made)
    await operate(key)
    assert (await harness.condition(name, "Ready", resource))["reason"] == "Starting"


async def test_a_config_map_that_is_refused_is_told_too(harness, forbid):
    key = await a_training(harness)
    forbid("", "configmaps", allowed=False)
    await in_force(harness, "ConfigMap")
    await harness.reconciler()(key)
    ready = await harness.condition("t", "Ready", api.TRAINING_JOBS)
    assert (ready["reason"], "ConfigMap t-training" in ready["message"]) == ("Forbidden", True)


@pytest.mark.parametrize(("begin", "resource", "name", "job"), KINDS)
async def test_a_job_that_its_schema_refuses_is_told_with_the_api_servers_words(harness, begin, resource, name, job):
    key = await begin(harness)
    operate = harness.reconciler()
    pods = Pods.model_validate({"podDefaults": {"tolerations": [{"value": "x", "operator": "Exists", "key": "k"}]}})
    operate.training.settings = operate.batch.settings = replace(SETTINGS, pods=pods)
    await operate(key)
    ready = await harness.condition(name, "Ready", resource)
    assert ready["reason"] == "ObjectRefused"
    assert "spec.template.spec.tolerations[0]" in ready["message"]


@pytest.mark.parametrize(("begin", "resource", "name", "job"), KINDS)
async def test_a_quota_that_gives_a_job_no_pods_is_told(harness, begin, resource, name, job):
    key = await begin(harness)
    operate = harness.reconciler()
    await operate(key)
    made = await harness.get(api.JOBS, job)
    said = 'Error creating: pods "x" is forbidden: failed quota: small: must specify limits.cpu for: fetch'
    event = {
        "involvedObject": {"kind": "Job", "namespace": harness.namespace, "name": job, "uid": made["metadata"]["uid"]},
        "type": "Warning",
        "reason": "FailedCreate",
        "message": said,
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    await harness.create(api.EVENTS, f"{job}.1", None, **event)
    await operate(key)
    ready = await harness.condition(name, "Ready", resource)
    assert ready["reason"] == "QuotaExceeded"
    assert "must specify limits.cpu for: fetch" in ready["message"]


def terminated(**state):
    container = {"name": "training", "image": "i", "imageID": "", "ready": False, "restartCount": 0}
    return {"phase": "Failed", "containerStatuses": [{**container, "state": {"terminated": state}}]}


ENDS = {
    "OOMKilled": (terminated(exitCode=137, reason="OOMKilled"), "memory limit"),
    "Evicted": (
        {"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."},
        "low on resource: memory",
    ),
    "PreemptionByScheduler": (
        {
            "phase": "Failed",
            "conditions": [
                {
                    "type": "DisruptionTarget",
                    "status": "True",
                    "reason": "PreemptionByScheduler",
                    "message": "default-scheduler: preempting to accommodate a higher priority pod",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }
            ],
        },
        "higher priority pod",
    ),
}
LABELS = {
    "t": {names.TRAINING_JOB: "t"},
    "b": {names.SCORE_BATCH: "b", "batch.kubernetes.io/job-completion-index": "0"},
}


@pytest.mark.parametrize("reason", ENDS)
@pytest.mark.parametrize(("begin", "resource", "name", "job"), KINDS)
async def test_what_ended_a_pod_is_told_in_place_of_a_back_off_limit(harness, begin, resource, name, job, reason):
    key = await begin(harness)
    operate = harness.reconciler()
    await operate(key)
    status, said = ENDS[reason]
    containers = [{"name": "training", "image": "i"}]
    await harness.create(api.PODS, "p", {"containers": containers}, metadata={"labels": LABELS[name]})
    await harness.say(api.PODS, "p", status)
    await operate(key)
    assert (await harness.condition(name, "Ready", resource))["reason"] == reason, "while it is tried again"
    await harness.say(api.JOBS, job, verdict("Failed", reason="BackoffLimitExceeded", message="it has tried 3 times"))
    await operate(key)
    stalled = await harness.condition(name, "Stalled", resource)
    assert stalled["reason"] == reason
    assert said in stalled["message"]


@pytest.mark.parametrize(("begin", "resource", "name", "job"), KINDS)
async def test_a_deadline_that_passes_while_no_node_fits_says_so(harness, begin, resource, name, job):
    key = await begin(harness)
    operate = harness.reconciler()
    await operate(key)
    containers = [{"name": "training", "image": "i"}]
    made = await harness.create(api.PODS, "p", {"containers": containers}, metadata={"labels": LABELS[name]})
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/2 nodes are available: 2 Insufficient memory.",
    }
    await harness.say(api.PODS, "p", {"phase": "Pending", "conditions": [condition]})
    await operate(key)
    assert (await harness.condition(name, "Ready", resource))["reason"] == "Unschedulable"
    await harness.gateway.delete(api.PODS, harness.namespace, "p", made["metadata"]["uid"])
    await harness.say(api.JOBS, job, verdict("Failed", reason="DeadlineExceeded", message="longer than its deadline"))
    await operate(key)
    stalled = await harness.condition(name, "Stalled", resource)
    assert stalled["reason"] == "DeadlineExceeded"
    assert "2 Insufficient memory" in stalled["message"]


DIRECT = {"strategy": "direct", "supersedes": False}
INVALID = {"pod": {"tolerations": [{"key": "k", "operator": "Exists", "value": "x"}]}}
"""What only the API server knows to be wrong."""


async def rounds(harness, operate, number=4):
    for _ in range(number):
        await operate(harness.key)


async def a_champion_and_a_standby(harness):
    operate = harness.reconciler()
    for name in ("v1", "v2"):
        await harness.version(name, rollout=DIRECT)
        await rounds(harness, operate)
        await harness.pod(name)
        await rounds(harness, operate, 6)
    assert [(await harness.status(name))["phase"] for name in ("v1", "v2")] == ["Standby", "Champion"]
    return operate


async def selected(harness):
    return (await harness.get(api.SERVICES, MODEL))["spec"]["selector"][names.MODEL_VERSION]


async def withdraw(harness, name):
    change = {"spec": {"rollout": {"withdrawn": True, "withdrawnBecause": "deaths"}}}
    await harness.gateway.patch(api.MODEL_VERSIONS, harness.namespace, name, change)


async def hand_back(harness, operate):
    """v2 is withdrawn: the Service turns first, and the status says so only then."""
    await withdraw(harness, "v2")
    harness.gateway.journal.clear()
    await operate(harness.key)
    journal = harness.gateway.journal
    assert journal.index(f"PATCH services {MODEL}") < journal.index("PUT modelversions v2/status")
    assert await selected(harness) == "v1"
    assert (await harness.status("v2"))["phase"] == "RolledBack"
    assert "v1 serves all traffic again" in (await harness.status("v2"))["message"]
    assert (await harness.status("v1"))["phase"] == "Champion"


async def test_a_version_whose_deployment_is_invalid_delays_neither_a_hand_back_nor_the_next_version(harness):
    operate = await a_champion_and_a_standby(harness)
    await harness.version("v3", rollout=DIRECT, serving=INVALID)
    await rounds(harness, operate)
    told = await harness.condition("v3", "Applied")
    assert (told["status"], told["reason"]) == ("False", "Invalid")
    assert "spec.template.spec.tolerations[0]" in told["message"]
    assert (await harness.status("v3"))["phase"] == "Pending"
    await hand_back(harness, operate)
    await harness.version("v4", rollout=DIRECT)
    await rounds(harness, operate)
    await harness.pod("v4")
    await rounds(harness, operate, 6)
    assert (await harness.status("v4"))["phase"] == "Champion"
    assert await selected(harness) == "v4"


async def test_a_version_that_may_not_be_deployed_delays_no_hand_back_and_goes_on_once_it_may(harness, forbid):
    operate = await a_champion_and_a_standby(harness)
    forbid("apps", "deployments", allowed=False)

    async def is_refused():
        words = ("create", "deployment", "probe", "--image=i", "--namespace", harness.namespace, "--dry-run=server")
        return harness.plane.kubectl(*words, check=False).returncode != 0

    await until(is_refused)
    await harness.version("v3", rollout=DIRECT)
    await rounds(harness, operate)
    told = await harness.condition("v3", "Applied")
    assert (told["status"], told["reason"]) == ("False", "Forbidden")
    assert "night shift: no new work" in told["message"]
    await hand_back(harness, operate)
    forbid("apps", "deployments", allowed=True)

    async def is_made():
        await operate(harness.key)
        return await harness.get(api.DEPLOYMENTS, "v3") is not None

    await until(is_made)
    await harness.pod("v3")
    await rounds(harness, operate, 6)
    assert (await harness.status("v3"))["phase"] == "Champion"
    assert await harness.condition("v3", "Applied") == {}


async def remove(harness, resource, name):
    await harness.gateway.delete(
        resource, harness.namespace, name, (await harness.get(resource, name))["metadata"]["uid"]
    )


async def losses(harness):
    found = await harness.gateway.list(api.EVENTS, harness.namespace)
    return [event["message"] for event in found if event["reason"] == "RecordLost"]


async def test_a_quarantine_outlives_the_loss_of_either_place_and_each_loss_is_told(harness):
    operate = await a_champion_and_a_standby(harness)
    await hand_back(harness, operate)
    await operate(harness.key)
    await remove(harness, api.CONFIG_MAPS, records.record_name(MODEL))
    bundle = {"uri": "store://models/v2", "digest": digest("2")}
    await harness.version("v3", rollout=DIRECT, artifact=bundle)
    await rounds(harness, operate)
    assert (await harness.status("v3"))["phase"] == "Quarantined"
    assert await selected(harness) == "v1"
    assert await harness.get(api.CONFIG_MAPS, records.record_name(MODEL)) is not None
    assert len(await losses(harness)) == 1
    assert (await harness.condition("v1", "RecordKept"))["reason"] == "RecordLost"
    await remove(harness, api.REVISIONS, marks.mark_name(MODEL, digest("2")))
    await rounds(harness, operate)
    assert await harness.get(api.REVISIONS, marks.mark_name(MODEL, digest("2"))) is not None
    assert len(await losses(harness)) == 2
    assert "ControllerRevisions" in (await harness.condition("v1", "RecordKept"))["message"]


@pytest.mark.parametrize(
    ("other", "reason"), [({"model": "other"}, "ModelMismatch"), ({"version": "9.9.9"}, "VersionMismatch")]
)
async def test_a_training_of_another_model_or_version_makes_no_bundle_for_it(harness, other, reason):
    await harness.create(api.TRAINING_JOBS, "t", {**training()["spec"], "model": MODEL, "version": "1.0.0", **other})
    await harness.version("v1", artifact=None, trainingJobRef={"name": "t"})
    await rounds(harness, harness.reconciler(), 2)
    assert (await harness.status("v1"))["phase"] == "Failed"
    assert (await harness.condition("v1", "Stalled"))["reason"] == reason
    assert "spec.trainingJobRef" in (await harness.status("v1"))["message"]


async def test_a_quota_that_gives_a_version_no_pods_is_told_delays_no_hand_back_and_can_be_lifted(harness):
    operate = await a_champion_and_a_standby(harness)
    await harness.version("v3", rollout=DIRECT)
    await rounds(harness, operate)
    said = 'pods "v3-5d8f-x" is forbidden: exceeded quota: small, requested: requests.cpu=1, used: 4, limited: 4'
    condition = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": said}
    await harness.say(api.DEPLOYMENTS, "v3", {"conditions": [condition]})
    await rounds(harness, operate, 2)
    ready = await harness.condition("v3", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "QuotaExceeded")
    assert "exceeded quota: small" in ready["message"]
    await hand_back(harness, operate)
    await harness.say(api.DEPLOYMENTS, "v3", {"conditions": []})
    await harness.pod("v3")
    await rounds(harness, operate, 6)
    assert (await harness.status("v3"))["phase"] == "Champion"
    assert await selected(harness) == "v3"
