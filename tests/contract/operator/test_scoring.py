"""ScoreBatches on a real API server. The test writes the statuses of the Job controller and the kubelet."""

from __future__ import annotations

import pytest

from modelward_api import names
from modelward_api.wire.exchange import BatchOutcome, FetchOutcome
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.watch_cache import WatchCache
from modelward_operator.engine.queue import Key
from modelward_operator.engine.watch import resync
from tests.support.builders import digest
from tests.support.harness import MODEL, operator_harness
from tests.support.objects import FOREIGN_JOB, verdict

SPEC = {
    "model": MODEL,
    "input": {"uri": "store://in", "format": "csv"},
    "output": {"uri": "store://out"},
    "shards": 3,
    "parallelism": 2,
}
SCORED = {"succeeded": True, "reason": "Scored", "message": "", "input_digest": digest("i"), "seconds": 1.0}


@pytest.fixture
async def harness(control_plane):
    async with operator_harness(control_plane) as found:
        yield found


async def given(harness, **spec):
    await harness.create(api.SCORE_BATCHES, "b", {**SPEC, **spec})
    return Key("ScoreBatch", harness.namespace, "b")


async def champion(harness, name="v1"):
    await harness.version(name)
    await harness.say_phase(name, "Champion")


async def ended(harness, shard, code=0, **outcome):
    """A pod of that shard with this termination message."""
    name = f"b-scores-{shard}-{code}"
    labels = {names.SCORE_BATCH: "b", "batch.kubernetes.io/job-completion-index": str(shard)}
    containers = [{"name": "batch", "image": "i"}]
    await harness.create(api.PODS, name, {"containers": containers}, metadata={"labels": labels})
    told = BatchOutcome(shard=shard, **{**SCORED, **outcome}).model_dump_json(by_alias=True)
    state = {"terminated": {"exitCode": code, "message": told}}
    container = {"name": "batch", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    await harness.say(api.PODS, name, {"phase": "Failed" if code else "Succeeded", "containerStatuses": [container]})


async def test_a_batch_becomes_one_indexed_job_and_a_second_look_writes_nothing(harness):
    await champion(harness)
    key = await given(harness)
    operate = harness.reconciler()
    await operate(key)
    job = await harness.get(api.JOBS, "b-scores")
    assert (job["spec"]["completionMode"], job["spec"]["completions"], job["spec"]["parallelism"]) == ("Indexed", 3, 2)
    assert job["spec"]["backoffLimit"] == 4, "2 for each of the 2 pods that work at the same time"
    owner = job["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("ScoreBatch", "b")
    status = await harness.status("b", api.SCORE_BATCHES)
    assert (status["phase"], status["modelVersion"], status["digest"]) == ("Pending", "v1", digest("1"))
    await operate(key)
    harness.gateway.writes()
    assert await operate(key) is not None
    assert harness.gateway.writes() == []


async def test_the_version_is_written_down_before_its_job_is_made(harness):
    await champion(harness)
    key = await given(harness)
    await harness.reconciler()(key)
    writes = [entry.partition(" ")[2] for entry in harness.gateway.writes()]
    assert writes[:2] == ["scorebatches b/status", "jobs b-scores"]
    assert writes[2].startswith("events")


async def test_the_version_stays_whatever_becomes_of_the_status_and_the_champion(harness):
    await champion(harness)
    key = await given(harness)
    operate = harness.reconciler()
    await operate(key)
    await harness.say_phase("v1", "Standby")
    await champion(harness, "v2")
    await harness.say(
        api.SCORE_BATCHES, "b", {"digest": None, "version": None, "modelVersion": None, "bundleUri": None}
    )
    await operate(key)
    status = await harness.status("b", api.SCORE_BATCHES)
    assert (status["version"], status["digest"]) == ("1.0.0", digest("1"))
    job = await harness.get(api.JOBS, "b-scores")
    assert f"--digest={digest('1')}" in job["spec"]["template"]["spec"]["containers"][0]["command"]


async def test_a_batch_without_a_champion_waits_and_says_so(harness):
    await harness.version("v1")
    key = await given(harness)
    operate = harness.reconciler()
    assert await operate(key) is not None
    assert (await harness.condition("b", "Reconciling", api.SCORE_BATCHES))["reason"] == "NoChampion"
    assert await harness.get(api.JOBS, "b-scores") is None
    await harness.say_phase("v1", "Champion")
    await operate(key)
    assert await harness.get(api.JOBS, "b-scores") is not None
    assert await harness.condition("b", "Stalled", api.SCORE_BATCHES) == {}


async def test_a_batch_is_complete_with_the_counts_of_its_shards(harness):
    await champion(harness)
    key = await given(harness)
    operate = harness.reconciler()
    await operate(key)
    for shard in range(3):
        await ended(harness, shard, rows=100 + shard, scored=100, invalid=None if shard else 0)
    await harness.say(api.JOBS, "b-scores", {**verdict("Complete"), "succeeded": 3, "completedIndexes": "0-2"})
    assert await operate(key) is None
    status = await harness.status("b", api.SCORE_BATCHES)
    told = [
        status.get(field) for field in ("phase", "shardsDone", "rows", "scored", "rowsPerSecond", "output", "invalid")
    ]
    assert told == ["Complete", 3, 303, 300, 101, "store://out", None]
    assert status["message"].startswith("at least 300 of 303 rows scored")
    assert (await harness.condition("b", "Complete", api.SCORE_BATCHES))["status"] == "True"
    events = await harness.gateway.list(api.EVENTS, harness.namespace)
    assert [e["reason"] for e in events if e["involvedObject"]["kind"] == "ScoreBatch"].count("Scored") == 1
    harness.gateway.writes()
    await operate(key)
    assert harness.gateway.writes() == []


async def test_bad_input_is_told_with_its_field(harness):
    await champion(harness)
    key = await given(harness)
    operate = harness.reconciler()
    await operate(key)
    said = {"succeeded": False, "reason": "MissingColumn", "message": "no column age", "field": "spec.input.uri"}
    await ended(harness, 1, 65, **said)
    await harness.say(api.JOBS, "b-scores", verdict("Failed", reason="PodFailurePolicy", message="exit 65"))
    assert await operate(key) is None
    stalled = await harness.condition("b", "Stalled", api.SCORE_BATCHES)
    assert (stalled["reason"], stalled["message"]) == ("MissingColumn", "spec.input.uri: no column age")


async def test_a_bundle_that_cannot_be_fetched_is_told(harness):
    await champion(harness)
    key = await given(harness)
    operate = harness.reconciler()
    await operate(key)
    labels = {names.SCORE_BATCH: "b", "batch.kubernetes.io/job-completion-index": "0"}
    containers = {"initContainers": [{"name": "fetch", "image": "i"}], "containers": [{"name": "batch", "image": "i"}]}
    await harness.create(api.PODS, "b-scores-0", containers, metadata={"labels": labels})
    told = FetchOutcome(verified=False, reason="DigestMismatch", message="another bundle").model_dump_json()
    state = {"terminated": {"exitCode": 65, "message": told}}
    fetch = {"name": "fetch", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    await harness.say(api.PODS, "b-scores-0", {"phase": "Failed", "initContainerStatuses": [fetch]})
    await harness.say(api.JOBS, "b-scores", verdict("Failed", reason="PodFailurePolicy", message="exit 65"))
    assert await operate(key) is None
    stalled = await harness.condition("b", "Stalled", api.SCORE_BATCHES)
    assert (stalled["reason"], stalled["message"]) == ("DigestMismatch", "ModelVersion v1: another bundle")


async def test_suspension_and_parallelism_reach_the_job(harness):
    await champion(harness)
    key = await given(harness)
    operate = harness.reconciler()
    await operate(key)
    for suspend, parallelism in ((True, 1), (False, 3)):
        change = {"spec": {"suspend": suspend, "parallelism": parallelism}}
        await harness.gateway.patch(api.SCORE_BATCHES, harness.namespace, "b", change)
        await operate(key)
        spec = (await harness.get(api.JOBS, "b-scores"))["spec"]
        assert (spec["suspend"], spec["parallelism"]) == (suspend, parallelism)


async def test_a_job_of_somebody_else_is_not_touched(harness):
    await champion(harness)
    made = await harness.create(api.JOBS, "b-scores", FOREIGN_JOB)
    key = await given(harness)
    await harness.reconciler()(key)
    assert (await harness.condition("b", "Stalled", api.SCORE_BATCHES))["reason"] == "NameTaken"
    assert (await harness.get(api.JOBS, "b-scores"))["metadata"]["resourceVersion"] == made["metadata"][
        "resourceVersion"
    ]


async def test_a_batch_applied_anew_waits_until_the_one_before_is_collected(harness):
    await champion(harness)
    key = await given(harness)
    operate = harness.reconciler()
    await operate(key)
    before = await harness.get(api.SCORE_BATCHES, "b")
    await harness.gateway.delete(api.SCORE_BATCHES, harness.namespace, "b", before["metadata"]["uid"])
    await given(harness)
    assert await operate(key) is not None
    assert (await harness.condition("b", "Reconciling", api.SCORE_BATCHES))["reason"] == "WaitingForCleanup"


async def test_batches_and_their_jobs_are_found_again(harness):
    await champion(harness)
    key = await given(harness)
    assert key in set().union(*await resync.look(harness.gateway, WatchCache(), harness.namespace))
    await harness.reconciler()(key)
    job = await harness.get(api.JOBS, "b-scores")
    assert list(resync.keys_of(job, api.JOBS)) == [key]
