"""The check of a TrainingJob's data on a desk: what is printed, what is written, and how it ends."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass

import pytest
import yaml

from modelward_training.__main__ import main
from modelward_training.checking import read_spec
from tests.support.training_rows import rows, spec, text

MARK = "MARK7F3A"


@dataclass
class Done:
    """How the command ended."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def check(monkeypatch, capsys):
    """The command line, in this process: its libraries take seconds to import."""

    def run(folder, *words):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, "argv", ["modelward_training", "check", *words])
        code = main()
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run


@pytest.fixture
def desk(tmp_path):
    """A folder with a manifest and its data."""
    manifest = {
        "apiVersion": "modelward.io/v1",
        "kind": "TrainingJob",
        "metadata": {"name": "m"},
        "spec": spec().to_json(),
    }
    other = {"apiVersion": "v1", "kind": "ConfigMap", "data": {}}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump_all([other, manifest]))
    (tmp_path / "data.csv").write_text(text(rows()))
    return tmp_path


def test_data_that_a_job_would_train_on_are_accepted_and_reported(desk, check):
    done = check(desk, "--spec", "job.yaml", "--store", ".", "--report", "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert "accepted: training" in done.stdout
    assert json.loads((desk / "out" / "validation.json").read_text())["outcome"] == "accepted"
    assert "The data were accepted" in (desk / "out" / "validation.html").read_text()


def test_data_that_a_job_would_refuse_are_refused_with_the_same_reason_and_a_report(desk, check):
    (desk / "data.csv").write_text(text(rows()).replace("dead", MARK, 1))
    done = check(desk, "--spec", "job.yaml", "--store", ".")
    assert done.returncode == 65
    assert "refused: UnknownLabel" in done.stdout
    assert "at spec.data.columns[3].allowedValues" in done.stdout
    written = (desk / "validation.json").read_text() + (desk / "validation.html").read_text()
    assert json.loads((desk / "validation.json").read_text())["reason"] == "UnknownLabel"
    assert MARK not in written + done.stdout + done.stderr


@pytest.mark.parametrize("content", ["", "nothing: here", "- 1\n- 2", "{", "kind: TrainingJob\nspec: []"])
def test_a_file_that_is_no_manifest_is_refused_without_a_traceback(desk, check, content):
    (desk / "job.yaml").write_text(content)
    done = check(desk, "--spec", "job.yaml", "--store", ".")
    assert done.returncode == 65
    assert "Traceback" not in done.stderr
    assert done.stderr


def test_a_time_without_quotes_is_read_as_kubectl_reads_it(desk):
    text_of = (desk / "job.yaml").read_text()
    assert "\n    label:\n" in text_of
    changed = text_of.replace("\n    label:\n", "\n    label:\n      extracted: 2024-06-01T00:00:00Z\n")
    (desk / "job.yaml").write_text(changed)
    assert read_spec(desk / "job.yaml").data.label.extracted == "2024-06-01T00:00:00Z"


def test_a_report_folder_that_is_a_file_is_refused_with_a_sentence(desk, check):
    done = check(desk, "--spec", "job.yaml", "--store", ".", "--report", "data.csv")
    assert done.returncode == 1
    assert done.stderr.startswith("--report must be a folder")


def test_every_invalid_field_of_a_manifest_is_named(desk, check):
    wrong = spec().to_json() | {"model": "Not A Name", "version": "one"}
    (desk / "job.yaml").write_text(yaml.safe_dump({"kind": "TrainingJob", "spec": wrong}))
    done = check(desk, "--spec", "job.yaml", "--store", ".")
    assert done.returncode == 65
    assert {line.partition(":")[0] for line in done.stderr.splitlines()} == {"spec.model", "spec.version"}


def test_a_missing_file_is_invalid_input_and_a_manifest_that_is_not_there_too(desk, check):
    (desk / "data.csv").unlink()
    assert "MissingFile" in check(desk, "--spec", "job.yaml", "--store", ".").stdout
    assert check(desk, "--spec", "none.yaml", "--store", ".").returncode == 65
