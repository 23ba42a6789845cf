"""A ScoreBatch's life, sentence by sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelward_api.resources.modelversion import Artifact
from modelward_api.resources.scorebatch import ScoreBatchSpec, ScoreBatchStatus
from modelward_api.wire.exchange import BatchOutcome
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.core.record import ModelRecord, Quarantine
from modelward_operator.domain.jobs.batch import BatchJob, BatchObservation, Chosen, score
from tests.support.builders import NOW, digest, observed, version

SPEC = {
    "model": "mortality",
    "input": {"uri": "store://in", "format": "csv"},
    "output": {"uri": "store://out"},
    "shards": 2,
}
V1 = Chosen("v1", "1.0.0", Artifact(uri="store://models/v1", digest=digest("1")))
MODEL = observed(version("v1", "Champion"), version("v2", "Canary"), serves="v1")
PINNED = {"modelVersion": "v1", "version": "1.0.0", "digest": digest("1"), "bundleUri": "store://models/v1"}
JOB = BatchJob(V1)


def given(**more) -> BatchObservation:
    spec = ScoreBatchSpec.model_validate({**SPEC, **more.pop("spec", {})})
    status = ScoreBatchStatus.model_validate(more.pop("status", {}))
    return BatchObservation("clinic", "batch", "uid", 1, spec, status, **more)


def shard(number, **more) -> BatchOutcome:
    counts = {"rows": 100, "scored": 80, "invalid": 20, "seconds": 0.5, "input_digest": digest("i")}
    return BatchOutcome(**{"succeeded": True, "reason": "Scored", "message": "", "shard": number, **counts, **more})


def failed(reason, **more) -> BatchOutcome:
    return BatchOutcome(succeeded=False, reason=reason, message="what is wrong", **more)


def reason(decision, type_):
    return next((c.reason for c in decision.status.conditions if c.type == type_ and c.status == "True"), None)


def test_the_champion_scores_and_is_written_down_with_the_job():
    decision = score(given(model=MODEL), NOW)
    assert decision.create_job == V1
    assert decision.status.phase == "Pending"
    told = decision.status
    assert (told.model_version, told.version, told.digest, told.bundle_uri) == tuple(PINNED.values())


def test_a_version_that_is_named_scores_champion_or_not():
    decision = score(given(model=MODEL, spec={"version": "2.0.0"}), NOW)
    assert (decision.create_job.model_version, decision.status.version) == ("v2", "2.0.0")


def test_a_promotion_in_between_changes_nothing():
    later = observed(version("v1", "Standby"), version("v2", "Champion"), serves="v2")
    assert score(given(model=later, status=PINNED), NOW).create_job == V1
    running = score(given(model=later, job=JOB, running=True), NOW)
    assert running.create_job is None
    assert running.status.version == "1.0.0"


NONE = {
    "no such model": (observed(), {}, "ModelNotFound", "spec.model", "Reconciling"),
    "no champion": (observed(version("v1", "Canary")), {}, "NoChampion", "has no champion", "Reconciling"),
    "no such version": (MODEL, {"version": "9.0.0"}, "VersionNotFound", "it has 1.0.0, 2.0.0", "Reconciling"),
    "a version that was rolled back": (
        observed(version("v1", "RolledBack")),
        {"version": "1.0.0"},
        "VersionRefused",
        "v1 is RolledBack",
        "Stalled",
    ),
    "a record that cannot be read": (
        Failure("RecordUnreadable", "mend it"),
        {},
        "RecordUnreadable",
        "mend it",
        "Stalled",
    ),
}


@pytest.mark.parametrize(("model", "spec", "why", "said", "state"), NONE.values(), ids=NONE.keys())
def test_without_a_version_it_says_why_and_looks_again(model, spec, why, said, state):
    decision = score(given(model=model, spec=spec), NOW)
    assert decision.create_job is None
    assert decision.status.phase == "Pending"
    assert reason(decision, state) == why
    assert {c.type for c in decision.status.conditions} & {"Stalled", "Reconciling"} == {state}
    assert said in decision.status.message
    assert decision.requeue_after is not None
    assert [note.reason for note in decision.notes] == [why]


def test_a_digest_that_was_rolled_back_does_not_score_under_another_name():
    record = ModelRecord(
        quarantined=(Quarantine(digest=digest("1"), version="0.9.0", reason="Flips", message="", time="2026"),)
    )
    decision = score(given(model=observed(version("v1", "Pending"), record=record), spec={"version": "1.0.0"}), NOW)
    assert reason(decision, "Stalled") == "VersionRefused"


def test_a_bundle_that_is_being_trained_is_waited_for():
    waiting = replace(version("v1", "Pending"), artifact=None)
    decision = score(given(model=observed(waiting), spec={"version": "1.0.0"}), NOW)
    assert reason(decision, "Reconciling") == "ArtifactAwaited"


def test_nothing_is_chosen_while_it_is_suspended():
    decision = score(given(model=MODEL, spec={"suspend": True}), NOW)
    assert decision.create_job is None
    assert decision.status.digest is None
    assert decision.status.conditions[0].reason == "Suspended"


def test_suspension_and_parallelism_reach_the_job():
    stopped = score(given(job=JOB, running=True, spec={"suspend": True}), NOW)
    resumed = score(given(job=replace(JOB, suspended=True)), NOW)
    wider = score(given(job=JOB, spec={"parallelism": 50}), NOW)
    assert (stopped.suspend_job, resumed.suspend_job) == (True, False)
    assert wider.parallelism == 2, "there are two shards"
    assert score(given(job=JOB), NOW).parallelism is None


def test_shards_are_counted_as_they_end_each_once():
    outcomes = (failed("StoreUnavailable", shard=1), shard(1), shard(1))
    decision = score(given(job=replace(JOB, done=1), outcomes=outcomes, running=True), NOW)
    told = decision.status
    assert (told.phase, told.message) == ("Running", "1 of 2 shards done")
    assert (told.rows, told.scored, told.invalid, told.rows_per_second, told.shards_done) == (100, 80, 20, 200, 1)


def test_where_a_shard_has_few_invalid_rows_the_status_says_at_least_how_many_were_scored():
    few = replace_counts(shard(1), scored=90, invalid=None)
    told = score(given(job=replace(JOB, done=2, complete=True), outcomes=(shard(0), few)), NOW).status
    assert (told.rows, told.scored, told.invalid) == (200, 170, None)
    assert told.message == "at least 170 of 200 rows scored"


def replace_counts(outcome, **counts):
    return outcome.model_copy(update=counts)


def test_counts_never_fall_when_pods_are_removed():
    before = {**PINNED, "phase": "Running", "rows": 200, "scored": 160, "invalid": 40}
    decision = score(given(job=replace(JOB, done=2, complete=True), outcomes=(shard(0),), status=before), NOW)
    assert (decision.status.rows, decision.status.phase) == (200, "Complete")
    assert "removed before" in decision.status.message


def test_a_finished_batch_says_what_came_of_it_and_stays_so():
    job = replace(JOB, done=2, complete=True, started="2026-01-01T11:00:00Z", finished="2026-01-01T11:30:00Z")
    first = score(given(job=job, outcomes=(shard(0), shard(1))), NOW)
    told = first.status
    assert (told.phase, told.rows, told.scored, told.shards_done) == ("Complete", 200, 160, 2)
    assert (told.started, told.finished, told.output) == (job.started, job.finished, "store://out")
    assert (reason(first, "Ready"), reason(first, "Complete"), reason(first, "Reconciling")) == (
        "Scored",
        "Scored",
        None,
    )
    assert [note.type for note in first.notes] == ["Normal"]
    again = score(replace(given(), status=told), NOW)
    assert (again.status, again.create_job, again.notes, again.requeue_after) == (told, None, (), None)


def test_bad_input_fails_with_what_the_pod_said():
    job = replace(JOB, failure=Failure("PodFailurePolicy", "exit 65"))
    outcomes = (
        failed("MissingColumn", field="spec.keepColumns[0]"),
        failed("InternalError", shard=1),
        failed("Terminated", shard=2),
    )
    decision = score(given(job=job, outcomes=outcomes), NOW)
    assert reason(decision, "Stalled") == reason(decision, "Failed") == "MissingColumn"
    assert decision.status.message == "spec.keepColumns[0]: what is wrong"
    assert decision.status.finished is not None


@pytest.mark.parametrize(
    ("job", "problem", "said"),
    [
        ("BackoffLimitExceeded", Failure("DigestMismatch", "another bundle"), "DigestMismatch"),
        ("BackoffLimitExceeded", None, "BackoffLimitExceeded"),
        ("DeadlineExceeded", Failure("ImagePullBackOff", "no image"), "DeadlineExceeded"),
    ],
)
def test_a_job_that_gave_up_fails_with_what_is_known(job, problem, said):
    failing = replace(JOB, failure=Failure(job, "it gave up"))
    assert reason(score(given(job=failing, pod_problem=problem), NOW), "Failed") == said


def test_a_bundle_that_is_not_what_it_should_be_fails_it_with_whose_it_is():
    failing = replace(JOB, failure=Failure("PodFailurePolicy", "exit 65"))
    decision = score(given(job=failing, pod_problem=Failure("DigestMismatch", "another bundle")), NOW)
    assert reason(decision, "Failed") == reason(decision, "Stalled") == "DigestMismatch"
    assert decision.status.message == "ModelVersion v1: another bundle"


def test_input_that_changed_under_way_fails_and_stops_the_job():
    decision = score(given(job=JOB, outcomes=(shard(0), shard(1, input_digest=digest("j")))), NOW)
    assert reason(decision, "Failed") == "InputChanged"
    assert decision.suspend_job is True


def test_a_job_of_somebody_else_is_said():
    decision = score(given(model=MODEL, taken=Failure("NameTaken", "it exists")), NOW)
    assert reason(decision, "Stalled") == "NameTaken"
    assert decision.create_job is None


def test_an_image_that_cannot_be_pulled_is_said():
    decision = score(given(job=JOB, pod_problem=Failure("ImagePullBackOff", "no such image")), NOW)
    assert reason(decision, "Reconciling") == "ImagePullBackOff"
