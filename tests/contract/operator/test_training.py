"""TrainingJobs against a real API server: what the Job controller and the kubelet say is said by the test."""

from __future__ import annotations

import pytest
from aiohttp import web

from modelward_api import names
from modelward_api.wire.exchange import TrainingOutcome, TrainingProgress
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.queue import Key
from tests.support.builders import digest
from tests.support.harness import operator_harness
from tests.support.objects import FOREIGN_JOB, training, verdict

SUCCESS = TrainingOutcome(
    succeeded=True,
    reason="Trained",
    message="ok",
    uri="store://models/m/2.0.0/x.bentomodel",
    digest=digest("2"),
    data_digest=digest("d"),
    train_rows=900,
    test_rows=300,
)
FAILURE = TrainingOutcome(
    succeeded=False, reason="UnknownColumn", message="is not in the file", field="spec.data.columns[3].name"
)
PROMOTE = {"name": "v2", "template": {"rollout": {"keepWarm": "2h"}}}


@pytest.fixture
async def harness(control_plane):
    async with operator_harness(control_plane) as found:
        yield found


async def given(harness, **spec):
    body = {**training()["spec"], **spec}
    await harness.create(api.TRAINING_JOBS, "t", {key: value for key, value in body.items() if value is not None})
    return Key("TrainingJob", harness.namespace, "t")


async def pod(harness, **status):
    labels = {names.TRAINING_JOB: "t"}
    await harness.create(
        api.PODS, "t-x", {"containers": [{"name": "training", "image": "i"}]}, metadata={"labels": labels}
    )
    await harness.say(api.PODS, "t-x", status)


def ended(outcome, code=0):
    state = {"terminated": {"exitCode": code, "message": outcome.model_dump_json(by_alias=True)}}
    container = {"name": "training", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    return {"phase": "Succeeded" if code == 0 else "Failed", "containerStatuses": [container]}


async def test_a_training_becomes_one_job_and_a_second_look_writes_nothing(harness):
    key = await given(harness)
    operate = harness.reconciler()
    await operate(key)
    job = await harness.get(api.JOBS, "t")
    assert job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [65]
    owner = job["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("TrainingJob", "t")
    document = await harness.get(api.CONFIG_MAPS, "t-training")
    assert '"name": "t"' in document["data"]["trainingjob.json"]
    await operate(key)
    harness.gateway.writes()
    assert await operate(key) is not None
    assert harness.gateway.writes() == []


async def test_progress_is_told_as_the_pod_tells_it(harness):
    key = await given(harness)
    operate = harness.reconciler()
    await operate(key)
    app = web.Application()
    told = TrainingProgress(step="fit", message="3 of 5 folds", fraction=0.5)

    async def answer(_):
        return web.json_response(told.to_json())

    app.router.add_get(names.PROGRESS_PATH, answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.9.9.9", harness.port).start()
    await pod(harness, phase="Running", podIP="127.9.9.9", podIPs=[{"ip": "127.9.9.9"}])
    await operate(key)
    status = await harness.status("t", api.TRAINING_JOBS)
    assert (status["phase"], status["step"], status["message"]) == ("Running", "fit", "fitting the model: 3 of 5 folds")
    await runner.cleanup()


async def test_an_image_that_cannot_be_pulled_is_told(harness):
    key = await given(harness)
    operate = harness.reconciler()
    await operate(key)
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    container = {"name": "training", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": waiting}
    await pod(harness, phase="Pending", containerStatuses=[container])
    await operate(key)
    assert (await harness.condition("t", "Ready", api.TRAINING_JOBS))["reason"] == "ImagePullBackOff"


async def test_what_was_trained_becomes_a_model_version_once(harness):
    key = await given(harness, promote=PROMOTE)
    operate = harness.reconciler()
    await operate(key)
    await pod(harness, **ended(SUCCESS))
    await harness.say(api.JOBS, "t", verdict("Complete"))
    for _ in range(3):
        await operate(key)
    made = await harness.get(api.MODEL_VERSIONS, "v2")
    assert made["spec"]["artifact"] == {"uri": SUCCESS.uri, "digest": SUCCESS.digest}
    assert made["spec"]["rollout"]["keepWarm"] == "2h"
    assert "ownerReferences" not in made["metadata"]
    status = await harness.status("t", api.TRAINING_JOBS)
    assert (status["phase"], status["modelVersion"]) == ("Complete", "v2")
    await harness.gateway.delete(api.MODEL_VERSIONS, harness.namespace, "v2", made["metadata"]["uid"])
    await operate(key)
    assert await harness.get(api.MODEL_VERSIONS, "v2") is None


async def test_bad_input_is_told_with_its_field(harness):
    key = await given(harness)
    operate = harness.reconciler()
    await operate(key)
    await pod(harness, **ended(FAILURE, 65))
    await harness.say(api.JOBS, "t", verdict("Failed", reason="PodFailurePolicy", message="exit 65"))
    assert await operate(key) is None
    stalled = await harness.condition("t", "Stalled", api.TRAINING_JOBS)
    assert stalled["reason"] == "UnknownColumn"
    assert stalled["message"].startswith("spec.data.columns[3].name: ")


async def test_a_model_version_of_that_name_by_somebody_else_is_left_alone(harness):
    key = await given(harness, promote=PROMOTE)
    made = await harness.version("v2")
    operate = harness.reconciler()
    await operate(key)
    await pod(harness, **ended(SUCCESS))
    await harness.say(api.JOBS, "t", verdict("Complete"))
    for _ in range(3):
        await operate(key)
    assert (await harness.condition("t", "Stalled", api.TRAINING_JOBS))["reason"] == "NameTaken"
    assert await harness.get(api.MODEL_VERSIONS, "v2") == made


class Strict:
    """A gateway before which a newer CRD has a rule that the ModelVersion breaks."""

    def __init__(self, gateway):
        self._gateway = gateway
        self.asked = 0

    def __getattr__(self, name):
        return getattr(self._gateway, name)

    async def create(self, resource, manifest):
        if resource is api.MODEL_VERSIONS:
            self.asked += 1
            manifest = {**manifest, "spec": {**manifest["spec"], "version": "no semver"}}
        return await self._gateway.create(resource, manifest)


async def test_a_model_version_that_the_api_server_refuses_is_told_and_not_tried_for_ever(harness):
    key = await given(harness, promote=PROMOTE)
    gateway = Strict(harness.gateway)
    operate = harness.reconciler(gateway=gateway)
    await operate(key)
    await pod(harness, **ended(SUCCESS))
    await harness.say(api.JOBS, "t", verdict("Complete"))
    for _ in range(4):
        await operate(key)
    stalled = await harness.condition("t", "Stalled", api.TRAINING_JOBS)
    assert stalled["reason"] == "ModelVersionRefused"
    assert "spec.version" in stalled["message"]
    assert (await harness.status("t", api.TRAINING_JOBS))["digest"] == SUCCESS.digest
    harness.gateway.writes()
    await operate(key)
    assert harness.gateway.writes() == []
    assert gateway.asked == 1


async def test_suspending_reaches_the_job_and_comes_back(harness):
    key = await given(harness)
    operate = harness.reconciler()
    await operate(key)
    for wanted in (True, False):
        await harness.gateway.patch(api.TRAINING_JOBS, harness.namespace, "t", {"spec": {"suspend": wanted}})
        await operate(key)
        assert (await harness.get(api.JOBS, "t"))["spec"]["suspend"] is wanted


async def test_a_suspended_training_makes_no_job(harness):
    key = await given(harness, suspend=True)
    await harness.reconciler()(key)
    assert await harness.get(api.JOBS, "t") is None
    assert (await harness.status("t", api.TRAINING_JOBS))["phase"] == "Suspended"


@pytest.mark.parametrize("resource", [api.JOBS, api.CONFIG_MAPS], ids=["Job", "ConfigMap"])
async def test_what_belongs_to_somebody_else_is_not_touched(harness, resource):
    name, spec = ("t", FOREIGN_JOB) if resource is api.JOBS else ("t-training", None)
    made = await harness.create(resource, name, spec)
    key = await given(harness)
    operate = harness.reconciler()
    await operate(key)
    assert (await harness.condition("t", "Stalled", api.TRAINING_JOBS))["reason"] == "NameTaken"
    assert (await harness.get(resource, name))["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_a_training_applied_anew_waits_until_the_one_before_is_collected(harness):
    key = await given(harness)
    operate = harness.reconciler()
    await operate(key)
    before = await harness.get(api.TRAINING_JOBS, "t")
    await harness.gateway.delete(api.TRAINING_JOBS, harness.namespace, "t", before["metadata"]["uid"])
    await given(harness)
    assert await operate(key) is not None
    assert (await harness.condition("t", "Reconciling", api.TRAINING_JOBS))["reason"] == "WaitingForCleanup"
    for resource, name in ((api.JOBS, "t"), (api.CONFIG_MAPS, "t-training")):  # the garbage collector's
        found = await harness.get(resource, name)
        await harness.request(
            "DELETE",
            f"{resource.root}/namespaces/{harness.namespace}/{resource.plural}/{name}",
            {},
            {"preconditions": {"uid": found["metadata"]["uid"]}, "propagationPolicy": "Background"},
        )
        assert await operate(key) is not None
    owner = (await harness.get(api.JOBS, "t"))["metadata"]["ownerReferences"][0]
    assert owner["uid"] == (await harness.get(api.TRAINING_JOBS, "t"))["metadata"]["uid"]


async def test_a_finished_training_keeps_its_word_when_its_job_is_gone(harness):
    key = await given(harness)
    operate = harness.reconciler()
    await operate(key)
    await pod(harness, **ended(SUCCESS))
    await harness.say(api.JOBS, "t", verdict("Complete"))
    await operate(key)
    for resource, name in ((api.JOBS, "t"), (api.PODS, "t-x")):
        found = await harness.get(resource, name)
        await harness.gateway.delete(resource, harness.namespace, name, found["metadata"]["uid"])
    await operate(key)
    status = await harness.status("t", api.TRAINING_JOBS)
    assert (status["phase"], status["digest"]) == ("Complete", SUCCESS.digest)
    assert await harness.get(api.JOBS, "t") is None
