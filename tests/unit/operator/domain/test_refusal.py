"""Why a Job or a Deployment has no pods, in words that say what to do."""

from __future__ import annotations

from modelward_operator.domain.jobs import refusal

ABOVE = (
    'Pod "t-2wm47" is invalid: spec.containers[0].resources.requests: Invalid value: "384Mi": must be less than or equal '
    "to memory limit of 64Mi"
)


def test_a_limit_that_nobody_set_in_the_object_is_told_as_the_limit_ranges():
    failure = refusal.without_pods(ABOVE)
    assert failure.reason == "PodsRefused"
    assert "the default of the namespace's LimitRange: set limits in resources" in failure.message


def test_a_quota_is_told_apart_from_a_policy():
    assert (
        refusal.without_pods("forbidden: failed quota: q: must specify limits.cpu for: training").reason
        == "QuotaExceeded"
    )
    assert refusal.without_pods("forbidden: restricted: a container as root").reason == "PodsRefused"
