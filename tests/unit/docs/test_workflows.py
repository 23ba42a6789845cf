"""The workflows run what the repository runs, with pinned actions and no more rights than reading."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.unit.docs.pages import REPOSITORY

WORKFLOWS = sorted((REPOSITORY / ".github" / "workflows").glob("*.yaml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read_and_its_actions_are_pinned(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 90
        for used in (step["uses"] for step in job["steps"] if "uses" in step):
            assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", used), f"{used}: pin a commit, a tag can be moved"


def test_a_job_that_does_not_run_as_root_keeps_its_cluster_where_it_may_write():
    jobs = [job for path in WORKFLOWS for job in yaml.safe_load(path.read_text())["jobs"].values()]
    roots = [job.get("env", {}).get("MODELWARD_CLUSTER_ROOT", "/var/lib") for job in jobs if "container" not in job]
    assert roots
    assert all(root.startswith("/tmp/") for root in roots)


def test_the_workflows_run_the_same_commands_as_people():
    steps = [
        step.get("run", "")
        for path in WORKFLOWS
        for job in yaml.safe_load(path.read_text())["jobs"].values()
        for step in job["steps"]
    ]
    assert {".ci/run", "make e2e"} <= set(steps)
    assert (REPOSITORY / ".ci" / "run").exists()
