"""ScoreBatches against a real API server: what the Job controller and the kubelet say is said by the test."""

from __future__ import annotations

import pytest

from modelward_api import names
from modelward_api.wire.exchange import BatchOutcome, FetchOutcome
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.watch_cache import WatchCache
from modelward_operator.engine.queue import Key
from modelward_operator.engine.watch import resync
from tests.support.builders import digest
from tests.support.harness import MODEL, ward
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
async def place(control_plane):
    async with ward(control_plane) as found:
        yield found


async def given(place, **spec):
    await place.create(api.SCORE_BATCHES, "b", {**SPEC, **spec})
    return Key("ScoreBatch", place.namespace, "b")


async def champion(place, name="v1"):
    await place.version(name)
    await place.say_phase(name, "Champion")


async def ended(place, shard, code=0, **outcome):
    """A pod of that shard that has said this."""
    name = f"b-scores-{shard}-{code}"
    labels = {names.SCORE_BATCH: "b", "batch.kubernetes.io/job-completion-index": str(shard)}
    containers = [{"name": "batch", "image": "i"}]
    await place.create(api.PODS, name, {"containers": containers}, metadata={"labels": labels})
    told = BatchOutcome(shard=shard, **{**SCORED, **outcome}).model_dump_json(by_alias=True)
    state = {"terminated": {"exitCode": code, "message": told}}
    container = {"name": "batch", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    await place.say(api.PODS, name, {"phase": "Failed" if code else "Succeeded", "containerStatuses": [container]})


async def test_a_batch_becomes_one_indexed_job_and_a_second_look_writes_nothing(place):
    await champion(place)
    key = await given(place)
    operate = place.reconciler()
    await operate(key)
    job = await place.get(api.JOBS, "b-scores")
    assert (job["spec"]["completionMode"], job["spec"]["completions"], job["spec"]["parallelism"]) == ("Indexed", 3, 2)
    assert (job["spec"]["backoffLimitPerIndex"], job["spec"]["maxFailedIndexes"]) == (2, 0)
    owner = job["metadata"]["ownerReferences"][0]
    assert (owner["kind"], owner["name"]) == ("ScoreBatch", "b")
    status = await place.status("b", api.SCORE_BATCHES)
    assert (status["phase"], status["modelVersion"], status["digest"]) == ("Pending", "v1", digest("1"))
    await operate(key)
    place.gateway.writes()
    assert await operate(key) is not None
    assert place.gateway.writes() == []


async def test_the_version_is_written_down_before_its_job_is_made(place):
    await champion(place)
    key = await given(place)
    await place.reconciler()(key)
    writes = [entry.partition(" ")[2] for entry in place.gateway.writes()]
    assert writes[:2] == ["scorebatches b/status", "jobs b-scores"]
    assert writes[2].startswith("events")


async def test_the_version_stays_whatever_becomes_of_the_status_and_the_champion(place):
    await champion(place)
    key = await given(place)
    operate = place.reconciler()
    await operate(key)
    await place.say_phase("v1", "Standby")
    await champion(place, "v2")
    await place.say(api.SCORE_BATCHES, "b", {"digest": None, "version": None, "modelVersion": None, "bundleUri": None})
    await operate(key)
    status = await place.status("b", api.SCORE_BATCHES)
    assert (status["version"], status["digest"]) == ("1.0.0", digest("1"))
    job = await place.get(api.JOBS, "b-scores")
    assert f"--digest={digest('1')}" in job["spec"]["template"]["spec"]["containers"][0]["command"]


async def test_a_batch_without_a_champion_waits_and_says_so(place):
    await place.version("v1")
    key = await given(place)
    operate = place.reconciler()
    assert await operate(key) is not None
    assert (await place.condition("b", "Reconciling", api.SCORE_BATCHES))["reason"] == "NoChampion"
    assert await place.get(api.JOBS, "b-scores") is None
    await place.say_phase("v1", "Champion")
    await operate(key)
    assert await place.get(api.JOBS, "b-scores") is not None
    assert await place.condition("b", "Stalled", api.SCORE_BATCHES) == {}


async def test_a_batch_is_complete_with_the_counts_of_its_shards(place):
    await champion(place)
    key = await given(place)
    operate = place.reconciler()
    await operate(key)
    for shard in range(3):
        await ended(place, shard, rows=100 + shard, scored=100, invalid=shard)
    await place.say(api.JOBS, "b-scores", {**verdict("Complete"), "succeeded": 3, "completedIndexes": "0-2"})
    assert await operate(key) is None
    status = await place.status("b", api.SCORE_BATCHES)
    told = [status[field] for field in ("phase", "shardsDone", "rows", "scored", "invalid", "rowsPerSecond", "output")]
    assert told == ["Complete", 3, 303, 300, 3, 101, "store://out"]
    assert (await place.condition("b", "Complete", api.SCORE_BATCHES))["status"] == "True"
    events = await place.gateway.list(api.EVENTS, place.namespace)
    assert [e["reason"] for e in events if e["involvedObject"]["kind"] == "ScoreBatch"].count("Scored") == 1
    place.gateway.writes()
    await operate(key)
    assert place.gateway.writes() == []


async def test_bad_input_is_told_with_its_field(place):
    await champion(place)
    key = await given(place)
    operate = place.reconciler()
    await operate(key)
    said = {"succeeded": False, "reason": "MissingColumn", "message": "no column age", "field": "spec.input.uri"}
    await ended(place, 1, 65, **said)
    await place.say(api.JOBS, "b-scores", verdict("Failed", reason="PodFailurePolicy", message="exit 65"))
    assert await operate(key) is None
    stalled = await place.condition("b", "Stalled", api.SCORE_BATCHES)
    assert (stalled["reason"], stalled["message"]) == ("MissingColumn", "spec.input.uri: no column age")


async def test_a_bundle_that_cannot_be_fetched_is_told(place):
    await champion(place)
    key = await given(place)
    operate = place.reconciler()
    await operate(key)
    labels = {names.SCORE_BATCH: "b", "batch.kubernetes.io/job-completion-index": "0"}
    containers = {"initContainers": [{"name": "fetch", "image": "i"}], "containers": [{"name": "batch", "image": "i"}]}
    await place.create(api.PODS, "b-scores-0", containers, metadata={"labels": labels})
    told = FetchOutcome(verified=False, reason="DigestMismatch", message="another bundle").model_dump_json()
    state = {"terminated": {"exitCode": 65, "message": told}}
    fetch = {"name": "fetch", "image": "i", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    await place.say(api.PODS, "b-scores-0", {"phase": "Failed", "initContainerStatuses": [fetch]})
    await place.say(api.JOBS, "b-scores", verdict("Failed", reason="PodFailurePolicy", message="exit 65"))
    assert await operate(key) is None
    stalled = await place.condition("b", "Stalled", api.SCORE_BATCHES)
    assert (stalled["reason"], stalled["message"]) == ("DigestMismatch", "ModelVersion v1: another bundle")


async def test_suspension_and_parallelism_reach_the_job(place):
    await champion(place)
    key = await given(place)
    operate = place.reconciler()
    await operate(key)
    for suspend, parallelism in ((True, 1), (False, 3)):
        change = {"spec": {"suspend": suspend, "parallelism": parallelism}}
        await place.gateway.patch(api.SCORE_BATCHES, place.namespace, "b", change)
        await operate(key)
        spec = (await place.get(api.JOBS, "b-scores"))["spec"]
        assert (spec["suspend"], spec["parallelism"]) == (suspend, parallelism)


async def test_a_job_of_somebody_else_is_not_touched(place):
    await champion(place)
    made = await place.create(api.JOBS, "b-scores", FOREIGN_JOB)
    key = await given(place)
    await place.reconciler()(key)
    assert (await place.condition("b", "Stalled", api.SCORE_BATCHES))["reason"] == "NameTaken"
    assert (await place.get(api.JOBS, "b-scores"))["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


async def test_a_batch_applied_anew_waits_until_the_one_before_is_collected(place):
    await champion(place)
    key = await given(place)
    operate = place.reconciler()
    await operate(key)
    before = await place.get(api.SCORE_BATCHES, "b")
    await place.gateway.delete(api.SCORE_BATCHES, place.namespace, "b", before["metadata"]["uid"])
    await given(place)
    assert await operate(key) is not None
    assert (await place.condition("b", "Reconciling", api.SCORE_BATCHES))["reason"] == "WaitingForCleanup"


async def test_batches_and_their_jobs_are_found_again(place):
    await champion(place)
    key = await given(place)
    assert key in set().union(*await resync.look(place.gateway, WatchCache(), place.namespace))
    await place.reconciler()(key)
    job = await place.get(api.JOBS, "b-scores")
    assert list(resync.keys_of(job, api.JOBS)) == [key]
