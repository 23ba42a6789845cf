"""Jobs' containers end at once at SIGTERM, whatever they are doing, and publish nothing afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import bundles
from tests.support.preloaded import Forked, loader
from tests.support.training_rows import rows, spec, text

LOADED = ("modelward_training.pipeline", "modelward_serving.batch.score")
AT_ONCE = 10.0
"""Seconds that even a busy machine does not need. The library holds the interpreter for 60, and a pod's grace is 30."""
HOLDS_THE_LOCK = """
import ctypes, sys
def hold(*_, **__):
    "A library that does not give the interpreter back: PyDLL keeps its lock during the call."
    sys.stdout.write("holding\\n"); sys.stdout.flush()
    ctypes.PyDLL(None).sleep(60)
"""
TRAINING = f"""{HOLDS_THE_LOCK}
from modelward_training import __main__ as command
from modelward_training.bundle import archive
from modelward_training.estimators import fitting
{{patch}}
sys.exit(command.main(supervised=True))
"""
BATCH = f"""{HOLDS_THE_LOCK}
from modelward_serving import __main__ as command
from modelward_serving.batch import score
score.score = hold
sys.exit(command.main(supervised=True))
"""


@pytest.fixture
def start(tmp_path):
    """Starts a process; gives it once it does what shall be interrupted, and the rest of what it says."""
    loaded = loader(*LOADED)

    def started(program, words):
        os.mkfifo(tmp_path / "output")
        process = Forked(loaded, program, [*map(str, words)], tmp_path / "output", dict(os.environ))
        output = (tmp_path / "output").open()
        said = []
        for line in output:
            if line == "holding\n":
                return process, output
            said.append(line)
        raise AssertionError("".join(said))

    return started


def stopped(process, output, number=signal.SIGTERM):
    output.close()
    begun = time.monotonic()
    process.send_signal(number)
    return process.wait(timeout=30), time.monotonic() - begun


def train_words(folder):
    (folder / "data.csv").write_text(text(rows()))
    document = spec().to_json()
    document["evaluation"]["bootstrap"] = 0
    (folder / "job").write_text(json.dumps({"name": "j", "namespace": "n", "spec": document}))
    words = ["run", "--spec", folder / "job", "--port", 0, "--store", f"file://{folder}"]
    return [*words, "--termination-log", folder / "end"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("patch", ["fitting.fit = hold", "archive.put = hold"], ids=["in a fit", "before the upload"])
def test_training_ends_at_once_and_publishes_nothing(start, tmp_path, patch, number):
    process, output = start(TRAINING.format(patch=patch), train_words(tmp_path))
    code, seconds = stopped(process, output, number)
    assert code == 128 + number
    assert seconds < AT_ONCE
    assert json.loads((tmp_path / "end").read_text())["reason"] == "Terminated"
    assert list((tmp_path / "models").rglob("*.bentomodel")) == []


def test_a_batch_ends_at_once_and_writes_nothing(start, tmp_path):
    digest = bundles.write(tmp_path / "bundle")
    (tmp_path / "in.csv").write_text("age,sex\n60,f\n")
    words = ["batch", "--bundle", tmp_path / "bundle", "--digest", digest, "--store", f"file://{tmp_path}"]
    given = ["--input", "store://in.csv", "--format", "csv", "--output", "store://out"]
    process, output = start(BATCH, [*words, *given, "--termination-log", tmp_path / "end"])
    code, seconds = stopped(process, output)
    assert code == 143
    assert seconds < AT_ONCE
    assert json.loads((tmp_path / "end").read_text())["reason"] == "Terminated"
    assert not list((tmp_path / "out").iterdir())


def children(process):
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def test_a_training_that_was_killed_leaves_its_reason_to_the_kubelet(start, tmp_path):
    process, output = start(TRAINING.format(patch="fitting.fit = hold"), train_words(tmp_path))
    (child,) = children(process)
    os.kill(child, signal.SIGKILL)
    assert process.wait(timeout=30) == 137
    assert not (tmp_path / "end").exists()
    with output:
        assert "training was killed" in output.read()


def test_no_worker_outlives_its_parent(start, tmp_path):
    process, output = start(TRAINING.format(patch="fitting.fit = hold"), train_words(tmp_path))
    (child,) = children(process)
    process.kill()
    process.wait(timeout=30)
    with output:
        assert output.read() == ""  # ends when the worker has closed it, too
    assert child


def test_the_images_commands_are_supervised(tmp_path):
    words = ["-m", "modelward_training", *map(str, train_words(tmp_path))]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    outcome = json.loads((tmp_path / "end").read_text())
    assert (outcome["reason"], done.stderr) == ("Trained", "")
    assert list((tmp_path / "models").rglob("*.bentomodel"))
