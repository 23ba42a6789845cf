"""TrainingJobs against a real API server: what the Job controller and the kubelet say is said by the test."""

from __future__ import annotations

import pytest
from aiohttp import web

from modelward_api import names
from modelward_api.wire.exchange import TrainingOutcome, TrainingProgress
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.queue import Key
from tests.support.builders import digest
from tests.support.harness import ward
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
async def place(control_plane):
    async with ward(control_plane) as found:
        yield found


async def given(place, **spec):
    body = {**training()["spec"], **spec}
    await place.create(api.TRAINING_JOBS, "t", {key: value for key, value in body.items() if value is not None})
    return Key("TrainingJob", place.namespace, "t")


async def pod(place, **status):
    labels = {names.TRAINING_JOB: "t"}
    await place.create(
        api.PODS, "t-x", {"containers": [{"name": "training", "image": "i"}]}, metadata={"labels": labels}
    )
    await place.say(api.PODS, "t-x", status)


def ended(outcome, code=0):
    state = {"terminated": {"exitCode": code, "message": outcome.model_dump_json(by_alias=True)}}
    container = {"name": "training", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    return {"phase": "Succeeded" if code == 0 else "Failed", "containerStatuses": [container]}


async def test_a_training_becomes_one_job_and_a_second_look_writes_nothing(place):
    key = await given(place)
    operate = place.reconciler()
    await operate(key)
    job = await place.get(api.JOBS, "t")
    assert job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [65]
    owner = job["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("TrainingJob", "t")
    document = await place.get(api.CONFIG_MAPS, "t-training")
    assert '"name": "t"' in document["data"]["trainingjob.json"]
    await operate(key)
    place.gateway.writes()
    assert await operate(key) is not None
    assert place.gateway.writes() == []


async def test_progress_is_told_as_the_pod_tells_it(place):
    key = await given(place)
    operate = place.reconciler()
    await operate(key)
    app = web.Application()
    told = TrainingProgress(step="fit", message="3 of 5 folds", fraction=0.5)

    async def answer(_):
        return web.json_response(told.to_json())

    app.router.add_get(names.PROGRESS_PATH, answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.9.9.9", place.port).start()
    await pod(place, phase="Running", podIP="127.9.9.9", podIPs=[{"ip": "127.9.9.9"}])
    await operate(key)
    status = await place.status("t", api.TRAINING_JOBS)
    assert (status["phase"], status["step"], status["message"]) == ("Running", "fit", "fitting the model: 3 of 5 folds")
    await runner.cleanup()


async def test_an_image_that_cannot_be_pulled_is_told(place):
    key = await given(place)
    operate = place.reconciler()
    await operate(key)
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
    container = {"name": "training", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": waiting}
    await pod(place, phase="Pending", containerStatuses=[container])
    await operate(key)
    assert (await place.condition("t", "Ready", api.TRAINING_JOBS))["reason"] == "ImagePullBackOff"


async def test_what_was_trained_becomes_a_model_version_once(place):
    key = await given(place, promote=PROMOTE)
    operate = place.reconciler()
    await operate(key)
    await pod(place, **ended(SUCCESS))
    await place.say(api.JOBS, "t", verdict("Complete"))
    for _ in range(3):
        await operate(key)
    made = await place.get(api.MODEL_VERSIONS, "v2")
    assert made["spec"]["artifact"] == {"uri": SUCCESS.uri, "digest": SUCCESS.digest}
    assert made["spec"]["rollout"]["keepWarm"] == "2h"
    assert "ownerReferences" not in made["metadata"]
    status = await place.status("t", api.TRAINING_JOBS)
    assert (status["phase"], status["modelVersion"]) == ("Complete", "v2")
    await place.gateway.delete(api.MODEL_VERSIONS, place.namespace, "v2", made["metadata"]["uid"])
    await operate(key)
    assert await place.get(api.MODEL_VERSIONS, "v2") is None


async def test_bad_input_is_told_with_its_field(place):
    key = await given(place)
    operate = place.reconciler()
    await operate(key)
    await pod(place, **ended(FAILURE, 65))
    await place.say(api.JOBS, "t", verdict("Failed", reason="PodFailurePolicy", message="exit 65"))
    assert await operate(key) is None
    stalled = await place.condition("t", "Stalled", api.TRAINING_JOBS)
    assert stalled["reason"] == "UnknownColumn"
    assert stalled["message"].startswith("spec.data.columns[3].name: ")


async def test_a_model_version_of_that_name_by_somebody_else_is_left_alone(place):
    key = await given(place, promote=PROMOTE)
    made = await place.version("v2")
    operate = place.reconciler()
    await operate(key)
    await pod(place, **ended(SUCCESS))
    await place.say(api.JOBS, "t", verdict("Complete"))
    for _ in range(3):
        await operate(key)
    assert (await place.condition("t", "Stalled", api.TRAINING_JOBS))["reason"] == "NameTaken"
    assert await place.get(api.MODEL_VERSIONS, "v2") == made


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


async def test_a_model_version_that_the_api_server_refuses_is_told_and_not_tried_for_ever(place):
    key = await given(place, promote=PROMOTE)
    gateway = Strict(place.gateway)
    operate = place.reconciler(gateway=gateway)
    await operate(key)
    await pod(place, **ended(SUCCESS))
    await place.say(api.JOBS, "t", verdict("Complete"))
    for _ in range(4):
        await operate(key)
    stalled = await place.condition("t", "Stalled", api.TRAINING_JOBS)
    assert stalled["reason"] == "ModelVersionRefused"
    assert "spec.version" in stalled["message"]
    assert (await place.status("t", api.TRAINING_JOBS))["digest"] == SUCCESS.digest
    place.gateway.writes()
    await operate(key)
    assert place.gateway.writes() == []
    assert gateway.asked == 1


async def test_suspending_reaches_the_job_and_comes_back(place):
    key = await given(place)
    operate = place.reconciler()
    await operate(key)
    for wanted in (True, False):
        await place.gateway.patch(api.TRAINING_JOBS, place.namespace, "t", {"spec": {"suspend": wanted}})
        await operate(key)
        assert (await place.get(api.JOBS, "t"))["spec"]["suspend"] is wanted


async def test_a_suspended_training_makes_no_job(place):
    key = await given(place, suspend=True)
    await place.reconciler()(key)
    assert await place.get(api.JOBS, "t") is None
    assert (await place.status("t", api.TRAINING_JOBS))["phase"] == "Suspended"


@pytest.mark.parametrize("resource", [api.JOBS, api.CONFIG_MAPS], ids=["Job", "ConfigMap"])
async def test_what_belongs_to_somebody_else_is_not_touched(place, resource):
    name, spec = ("t", FOREIGN_JOB) if resource is api.JOBS else ("t-training", None)
    made = await place.create(resource, name, spec)
    key = await given(place)
    operate = place.reconciler()
    await operate(key)
    assert (await place.condition("t", "Stalled", api.TRAINING_JOBS))["reason"] == "NameTaken"
    assert (await place.get(resource, name))["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_a_training_applied_anew_waits_until_the_one_before_is_collected(place):
    key = await given(place)
    operate = place.reconciler()
    await operate(key)
    before = await place.get(api.TRAINING_JOBS, "t")
    await place.gateway.delete(api.TRAINING_JOBS, place.namespace, "t", before["metadata"]["uid"])
    await given(place)
    assert await operate(key) is not None
    assert (await place.condition("t", "Reconciling", api.TRAINING_JOBS))["reason"] == "WaitingForCleanup"
    for resource, name in ((api.JOBS, "t"), (api.CONFIG_MAPS, "t-training")):  # the garbage collector's
        found = await place.get(resource, name)
        await place.request(
            "DELETE",
            f"{resource.root}/namespaces/{place.namespace}/{resource.plural}/{name}",
            {},
            {"preconditions": {"uid": found["metadata"]["uid"]}, "propagationPolicy": "Background"},
        )
        assert await operate(key) is not None
    owner = (await place.get(api.JOBS, "t"))["metadata"]["ownerReferences"][0]
    assert owner["uid"] == (await place.get(api.TRAINING_JOBS, "t"))["metadata"]["uid"]


async def test_a_finished_training_keeps_its_word_when_its_job_is_gone(place):
    key = await given(place)
    operate = place.reconciler()
    await operate(key)
    await pod(place, **ended(SUCCESS))
    await place.say(api.JOBS, "t", verdict("Complete"))
    await operate(key)
    for resource, name in ((api.JOBS, "t"), (api.PODS, "t-x")):
        found = await place.get(resource, name)
        await place.gateway.delete(resource, place.namespace, name, found["metadata"]["uid"])
    await operate(key)
    status = await place.status("t", api.TRAINING_JOBS)
    assert (status["phase"], status["digest"]) == ("Complete", SUCCESS.digest)
    assert await place.get(api.JOBS, "t") is None
