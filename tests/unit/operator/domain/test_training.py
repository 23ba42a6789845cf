"""A TrainingJob's life, sentence by sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

from modelward_api.resources.trainingjob import TrainingJobSpec, TrainingJobStatus
from modelward_api.wire.exchange import Step, TrainingOutcome, TrainingProgress
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.jobs.training import STEPS, TrainingObservation, train
from tests.support.builders import NOW, digest

SPEC = {
    "model": "mortality",
    "version": "1.0.0",
    "data": {
        "sources": [{"uri": "store://data.csv"}],
        "columns": [{"name": "age", "kind": "numeric"}, {"name": "died", "kind": "boolean", "role": "label"}],
        "label": {"column": "died", "positive": "true"},
    },
    "output": {"uri": "store://models"},
    "promote": {},
}
TRAINED = TrainingOutcome(
    succeeded=True,
    reason="Trained",
    message="ok",
    uri="store://models/x",
    digest=digest("1"),
    train_rows=900,
    test_rows=100,
    metrics=({"name": "auroc", "estimate": 0.8, "lower": 0.75, "upper": 0.85},),
    parity_max_abs_difference=1e-7,
)


def given(**more) -> TrainingObservation:
    spec = TrainingJobSpec.model_validate({**SPEC, **more.pop("spec", {})})
    status = TrainingJobStatus.model_validate(more.pop("status", {}))
    return TrainingObservation("clinic", "train", "uid", 1, spec, status, **more)


def reason(decision, type_):
    return next((c.reason for c in decision.status.conditions if c.type == type_ and c.status == "True"), None)


def test_a_new_job_is_created():
    decision = train(given(), NOW)
    assert decision.create_job
    assert decision.status.phase == "Pending"


def test_a_suspended_job_is_not_created():
    decision = train(given(spec={"suspend": True}), NOW)
    assert not decision.create_job
    assert decision.status.phase == "Suspended"


def test_suspending_stops_the_running_job_and_resuming_starts_it_again():
    stopped = train(given(spec={"suspend": True}, job_exists=True, status={"phase": "Running"}), NOW)
    resumed = train(given(job_exists=True, job_suspended=True, status={"phase": "Suspended"}), NOW)
    assert (stopped.suspend_job, resumed.suspend_job) == (True, False)


def test_progress_is_shown():
    decision = train(given(job_exists=True, progress=TrainingProgress(step="fit", message="3300 rows")), NOW)
    assert (decision.status.phase, decision.status.message) == ("Running", "fitting the model: 3300 rows")


def test_a_trained_job_says_how_good_it_is_and_creates_its_version():
    decision = train(given(job_exists=True, job_complete=True, outcome=TRAINED), NOW)
    assert decision.status.phase == "Complete"
    assert decision.status.auroc == "0.800 (0.750 to 0.850)"
    assert decision.create_version == "mortality-1-0-0"
    assert reason(decision, "Complete") == "Trained"


def test_a_version_that_was_deleted_afterwards_is_not_made_again():
    decision = train(given(status={"phase": "Complete", "modelVersion": "mortality-1-0-0"}), NOW)
    assert decision.create_version is None


def test_a_name_that_is_taken_is_said_and_nothing_is_overwritten():
    decision = train(given(job_exists=True, job_complete=True, outcome=TRAINED, name_taken=True), NOW)
    assert decision.create_version is None
    assert reason(decision, "Stalled") == "NameTaken"


def test_bad_input_fails_with_its_reason_and_field():
    outcome = TrainingOutcome(
        succeeded=False, reason="UnknownColumn", message="no column agee", field="spec.data.columns[0]"
    )
    decision = train(given(job_exists=True, outcome=outcome, job_failure=Failure("PodFailurePolicy", "")), NOW)
    assert decision.status.phase == "Failed"
    assert decision.status.message == "spec.data.columns[0]: no column agee"
    assert reason(decision, "Stalled") == "UnknownColumn"


def test_a_pod_that_was_told_to_end_leaves_the_verdict_to_the_job():
    outcome = TrainingOutcome(succeeded=False, reason="Terminated", message="it was stopped")
    late = Failure("DeadlineExceeded", "took longer than 1h")
    decision = train(given(job_exists=True, outcome=outcome, job_failure=late), NOW)
    assert (reason(decision, "Failed"), decision.status.message) == ("DeadlineExceeded", "took longer than 1h")


def test_a_crash_that_the_job_still_retries_is_no_failure():
    outcome = TrainingOutcome(succeeded=False, reason="InternalError", message="")
    decision = train(given(job_exists=True, outcome=outcome), NOW)
    assert decision.status.phase == "Pending"


def test_a_failed_job_stays_failed_and_is_written_once():
    first = train(given(job_exists=True, job_failure=Failure("DeadlineExceeded", "took longer than 1h")), NOW)
    observation = given(job_exists=True)
    second = train(replace(observation, status=first.status), NOW)
    assert second.status == first.status
    assert not second.create_job


def test_a_job_whose_outcome_is_lost_says_what_to_do():
    decision = train(given(job_exists=True, job_complete=True), NOW)
    assert reason(decision, "Failed") == "OutcomeLost"
    assert "apply it again" in decision.status.message


def test_an_image_that_cannot_be_pulled_is_said():
    decision = train(given(job_exists=True, pod_problem=Failure("ImagePullBackOff", "no such image")), NOW)
    assert reason(decision, "Reconciling") == "ImagePullBackOff"


LATE = Failure("DeadlineExceeded", "Job was active longer than specified deadline")


def test_a_job_that_exceeded_its_deadline_never_promotes_though_its_pod_says_done():
    decision = train(given(job_exists=True, outcome=TRAINED, job_failure=LATE), NOW)
    assert (decision.status.phase, decision.create_version) == ("Failed", None)
    assert reason(decision, "Failed") == "DeadlineExceeded"
    assert decision.status.message.startswith("Job was active longer than specified deadline. Its pod produced")


def test_a_pod_that_says_done_is_no_success_before_its_job_says_so():
    decision = train(given(job_exists=True, outcome=TRAINED), NOW)
    assert (decision.status.phase, decision.create_version) == ("Running", None)
    assert reason(decision, "Reconciling") == "Ending"


def test_a_bundle_whose_job_failed_after_all_is_not_promoted_later_either():
    decision = train(given(status={"phase": "Complete"}, job_exists=True, job_failure=LATE), NOW)
    assert (decision.status.phase, decision.create_version) == ("Failed", None)


def test_somebody_elses_job_of_that_name_takes_nothing_from_a_success():
    taken = Failure("NameTaken", "Job train exists")
    decision = train(given(status={"phase": "Complete"}, job_exists=True, job_failure=taken, model_version="v"), NOW)
    assert decision.status.phase == "Complete"


def test_people_read_what_each_step_does():
    assert STEPS.keys() == set(get_args(Step))
