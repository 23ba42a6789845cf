"""Facts from a Job's own status."""

from __future__ import annotations

import pytest

from modelward_operator.engine.reconcile import jobs


def job(*types: str):
    return {"status": {"conditions": [{"type": t, "status": "True", "reason": "DeadlineExceeded"} for t in types]}}


@pytest.mark.parametrize(
    "types", [("FailureTarget",), ("Failed",), ("FailureTarget", "Failed"), ("Complete", "Failed")]
)
def test_a_job_that_fails_is_not_complete_from_the_moment_it_says_so(types):
    assert jobs.failure(job(*types)).reason == "DeadlineExceeded"
    assert not jobs.is_complete(job(*types))


def test_a_job_is_complete_when_it_says_so():
    assert jobs.is_complete(job("SuccessCriteriaMet", "Complete"))
    assert not jobs.is_complete(job("SuccessCriteriaMet"))
    assert not jobs.is_complete(None)
