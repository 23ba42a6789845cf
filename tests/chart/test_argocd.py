"""The chart in Argo CD: its health script, in the Lua of Argo CD's version (5.1), and a sync without hooks."""

from __future__ import annotations

import itertools
import re

import pytest
import yaml
from lupa import lua51

from tests.support.builders import clean, decide, monitor, observed, version
from tests.support.cluster.layout import REPOSITORY
from tests.unit.operator.domain import test_by_hand, test_drift, test_scoring, test_training

SCRIPT = (REPOSITORY / "charts/modelward/argocd/health.lua").read_text()
KINDS = {
    "ModelVersion": ("phase", "Canary"),
    "TrainingJob": ("phase", "Running"),
    "DriftMonitor": ("state", "Quiet"),
    "ScoreBatch": ("phase", "Running"),
}


def health(status, **metadata):
    """As Argo CD asks: the object is the global `obj`, and a table comes back."""
    lua = lua51.LuaRuntime(unpack_returned_tuples=True)
    document = {"metadata": {"generation": 2, **metadata}, **({"status": status} if status is not None else {})}
    lua.globals().obj = lua.table_from(document, recursive=True)
    told = lua.execute(SCRIPT)
    assert isinstance(told["message"], str)
    return told["status"]


def conditions(**said):
    return [{"type": t, "status": s, "reason": "Because", "message": "m"} for t, s in said.items()]


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_operator_has_not_seen_is_awaited(kind):
    field, value = KINDS[kind]
    ready = {field: value, "conditions": conditions(Ready="True")}
    assert health(None) == "Progressing"
    assert health({"observedGeneration": -1}) == "Progressing"
    assert health({**ready, "observedGeneration": -1}) == "Progressing"
    assert health({**ready, "observedGeneration": 1}) == "Progressing"
    assert health({**ready, "observedGeneration": 2}) == "Healthy"
    assert health({**ready, "observedGeneration": 2}, deletionTimestamp="2026-01-01T00:00:00Z") == "Progressing"


@pytest.mark.parametrize("kind", KINDS)
def test_each_set_of_conditions_has_the_grade_of_kstatus(kind):
    field, value = KINDS[kind]
    for ready, reconciling, stalled, suspended in itertools.product(("True", "False", "Unknown"), *[(False, True)] * 3):
        flags = {"Reconciling": reconciling, "Stalled": stalled, "Suspended": suspended}
        said = conditions(Ready=ready, **{name: "True" for name, holds in flags.items() if holds})
        expected = (
            "Degraded" if stalled
            else "Suspended" if suspended
            else "Progressing" if reconciling or ready != "True"
            else "Healthy"
        )  # fmt: skip
        assert health({field: value, "observedGeneration": 2, "conditions": said}) == expected, said


def graded(status):
    return health({**status.to_json(), "observedGeneration": 2})


PHASES = {
    "answers": (observed(version("v1", "Champion", pods=1), serves="v1"), "v1", "Healthy"),
    "is rolled out": (
        observed(version("v1", "Champion", pods=1), version("v2", "Canary", pods=1), serves="v1", paired=clean(10)),
        "v2",
        "Progressing",
    ),
    "is paused": (
        observed(version("v1", "Champion", pods=1), test_by_hand.canary(paused=True), serves="v1", paired=clean(10)),
        "v2",
        "Suspended",
    ),
    "stands by": (
        observed(version("v2", "Champion", pods=1), version("v1", "Standby", pods=1), serves="v2"),
        "v1",
        "Healthy",
    ),
    "has no pod yet": (observed(version("v1")), "v1", "Progressing"),
    "was withdrawn": (
        observed(version("v1", "Champion", pods=1), version("v2", "Canary", rollout={"withdrawn": True}), serves="v1"),
        "v2",
        "Degraded",
    ),
}


@pytest.mark.parametrize(("seen", "name", "grade"), PHASES.values(), ids=PHASES.keys())
def test_a_version_has_a_grade_that_argo_cd_can_wait_for_when_it(seen, name, grade):
    assert graded(decide(seen).statuses[name]) == grade


def test_a_retired_version_is_as_it_should_be():
    for ready in ("True", "False"):
        assert health({"phase": "Retired", "observedGeneration": 2, "conditions": conditions(Ready=ready)}) == "Healthy"


def test_what_mends_itself_within_the_same_sync_is_awaited():
    without = decide(observed(monitors=(monitor(),))).monitors["watch"]
    batch = test_scoring.score(test_scoring.given(model=observed()), test_scoring.NOW).status
    assert (graded(without), graded(batch)) == ("Progressing", "Progressing")


def test_what_a_person_has_suspended_is_suspended():
    job = test_training.train(test_training.given(spec={"suspend": True}), test_training.NOW).status
    batch = test_scoring.score(test_scoring.given(spec={"suspend": True}), test_scoring.NOW).status
    assert (graded(job), graded(batch)) == ("Suspended", "Suspended")


def test_a_monitor_that_watches_is_healthy():
    _, status = test_drift.judged(test_drift.watching(test_drift.SHIFTED))
    assert graded(status) == "Healthy"


def test_the_guide_shows_the_script_as_it_is():
    shown = re.search(r"```yaml\n(# argocd-cm.*?)```", (REPOSITORY / "docs/gitops.md").read_text(), re.S)
    document = yaml.safe_load(shown[1])
    (customisation,) = yaml.safe_load(document["data"]["resource.customizations"]).values()
    assert customisation["health.lua"].strip() == SCRIPT.strip()
