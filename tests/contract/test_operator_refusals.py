"""What a cluster refuses, against a real API server: said in the status with its words, tried again, and done once it may be."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import pytest

from modelward_api import names
from modelward_operator.desired.settings import Pods
from modelward_operator.engine import gateway as api
from modelward_operator.engine.queue import Key
from tests.contract.test_crds import training
from tests.contract.test_operator_training import verdict
from tests.contract.ward import MODEL, SETTINGS, ward

POLICIES = api.Resource("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy", "validatingadmissionpolicies")


@pytest.fixture
async def place(control_plane):
    async with ward(control_plane) as found:
        yield found


@pytest.fixture
def forbid(control_plane, place):
    """Forbid objects of a kind in the test's namespace, until told otherwise."""
    made = []

    def change(group, plural, *, allowed):
        name = f"no-{plural}-{place.namespace}"
        if allowed:
            control_plane.kubectl("delete", "validatingadmissionpolicy,validatingadmissionpolicybinding", name)
            made.remove(name)
            return
        match = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": place.namespace}}}
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


async def in_force(place, kind):
    probe = {"apiVersion": "batch/v1" if kind == "Job" else "v1", "kind": kind, "metadata": {"name": "probe"}}
    if kind == "Job":
        pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
        probe["spec"] = {"template": {"spec": pod}}
    words = ("create", "--namespace", place.namespace, "--dry-run=server", "--filename", "-")

    async def is_refused():
        return place.plane.kubectl(*words, document=probe, check=False).returncode != 0

    await until(is_refused)


async def a_training(place, **spec):
    body = {**training()["spec"], **spec}
    await place.create(api.TRAINING_JOBS, "t", {key: value for key, value in body.items() if value is not None})
    return Key("TrainingJob", place.namespace, "t")


async def a_batch(place, **spec):
    await place.version("v1")
    await place.say_phase("v1", "Champion")
    body = {"model": MODEL, "input": {"uri": "store://in"}, "output": {"uri": "store://out"}, **spec}
    await place.create(api.SCORE_BATCHES, "b", body)
    return Key("ScoreBatch", place.namespace, "b")


KINDS = [
    pytest.param(a_training, api.TRAINING_JOBS, "t", "t", id="TrainingJob"),
    pytest.param(a_batch, api.SCORE_BATCHES, "b", "b-scores", id="ScoreBatch"),
]


@pytest.mark.parametrize(("begin", "resource", "name", "job"), KINDS)
async def test_a_limit_below_the_default_request_makes_a_job_that_the_api_server_takes(
    place, begin, resource, name, job
):
    key = await begin(place, resources={"limits": {"cpu": "100m", "memory": "64Mi"}})
    await place.reconciler()(key)
    made = await place.get(api.JOBS, job)
    assert made["spec"]["template"]["spec"]["containers"][0]["resources"]["requests"] == {
        "cpu": "100m",
        "memory": "64Mi",
    }


@pytest.mark.parametrize(("begin", "resource", "name", "job"), KINDS)
async def test_a_job_that_a_policy_forbids_is_told_tried_again_and_made_once_it_may_be(
    place, forbid, begin, resource, name, job
):
    key = await begin(place)
    forbid("batch", "jobs", allowed=False)
    await in_force(place, "Job")
    operate = place.reconciler()
    for _ in range(3):
        assert 2 <= await operate(key) <= 300
    ready = await place.condition(name, "Ready", resource)
    assert (ready["status"], ready["reason"]) == ("False", "Forbidden")
    assert "night shift: no new work" in ready["message"]
    assert (await place.condition(name, "Reconciling", resource))["status"] == "True"
    assert (await place.status(name, resource))["phase"] == "Pending"
    place.gateway.writes()
    await operate(key)
    assert [write for write in place.gateway.writes() if "status" in write or "events" in write] == [], "it is said"
    forbid("batch", "jobs", allowed=True)

    async def is_made():
        await operate(key)
        return await place.get(api.JOBS, job) is not None

    await until(is_made)
    await operate(key)
    assert (await place.condition(name, "Ready", resource))["reason"] == "Starting"


async def test_a_config_map_that_is_refused_is_told_too(place, forbid):
    key = await a_training(place)
    forbid("", "configmaps", allowed=False)
    await in_force(place, "ConfigMap")
    await place.reconciler()(key)
    ready = await place.condition("t", "Ready", api.TRAINING_JOBS)
    assert (ready["reason"], "ConfigMap t-training" in ready["message"]) == ("Forbidden", True)


@pytest.mark.parametrize(("begin", "resource", "name", "job"), KINDS)
async def test_a_job_that_its_schema_refuses_is_told_with_the_api_servers_words(place, begin, resource, name, job):
    key = await begin(place)
    operate = place.reconciler()
    pods = Pods.model_validate({"podDefaults": {"tolerations": [{"value": "x", "operator": "Exists", "key": "k"}]}})
    operate.settings = replace(SETTINGS, pods=pods)
    await operate(key)
    ready = await place.condition(name, "Ready", resource)
    assert ready["reason"] == "ObjectRefused"
    assert "spec.template.spec.tolerations[0]" in ready["message"]


@pytest.mark.parametrize(("begin", "resource", "name", "job"), KINDS)
async def test_a_quota_that_gives_a_job_no_pods_is_told(place, begin, resource, name, job):
    key = await begin(place)
    operate = place.reconciler()
    await operate(key)
    made = await place.get(api.JOBS, job)
    said = 'Error creating: pods "x" is forbidden: failed quota: small: must specify limits.cpu for: fetch'
    event = {
        "involvedObject": {"kind": "Job", "namespace": place.namespace, "name": job, "uid": made["metadata"]["uid"]},
        "type": "Warning",
        "reason": "FailedCreate",
        "message": said,
        "lastTimestamp": "2026-01-01T00:00:00Z",
    }
    await place.create(api.EVENTS, f"{job}.1", None, **event)
    await operate(key)
    ready = await place.condition(name, "Ready", resource)
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
async def test_what_ended_a_pod_is_told_in_place_of_a_back_off_limit(place, begin, resource, name, job, reason):
    key = await begin(place)
    operate = place.reconciler()
    await operate(key)
    status, said = ENDS[reason]
    containers = [{"name": "training", "image": "i"}]
    await place.create(api.PODS, "p", {"containers": containers}, metadata={"labels": LABELS[name]})
    await place.say(api.PODS, "p", status)
    await operate(key)
    assert (await place.condition(name, "Ready", resource))["reason"] == reason, "while it is tried again"
    await place.say(api.JOBS, job, verdict("Failed", reason="BackoffLimitExceeded", message="it has tried 3 times"))
    await operate(key)
    stalled = await place.condition(name, "Stalled", resource)
    assert stalled["reason"] == reason
    assert said in stalled["message"]


@pytest.mark.parametrize(("begin", "resource", "name", "job"), KINDS)
async def test_a_deadline_that_passes_while_no_node_fits_says_so(place, begin, resource, name, job):
    key = await begin(place)
    operate = place.reconciler()
    await operate(key)
    containers = [{"name": "training", "image": "i"}]
    made = await place.create(api.PODS, "p", {"containers": containers}, metadata={"labels": LABELS[name]})
    condition = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/2 nodes are available: 2 Insufficient memory.",
    }
    await place.say(api.PODS, "p", {"phase": "Pending", "conditions": [condition]})
    await operate(key)
    assert (await place.condition(name, "Ready", resource))["reason"] == "Unschedulable"
    await place.gateway.delete(api.PODS, place.namespace, "p", made["metadata"]["uid"])
    await place.say(api.JOBS, job, verdict("Failed", reason="DeadlineExceeded", message="longer than its deadline"))
    await operate(key)
    stalled = await place.condition(name, "Stalled", resource)
    assert stalled["reason"] == "DeadlineExceeded"
    assert "2 Insufficient memory" in stalled["message"]
