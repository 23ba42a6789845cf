"""A file is scored by the champion on the cluster, as its requests are."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import yaml

from examples.clinic import MANIFESTS, STORE
from examples.replay import request_body

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]
ASK = """
import json, sys, urllib.request
for line in sys.stdin:
    with urllib.request.urlopen("http://mortality:8080/v2/models/mortality/infer", line.encode()) as answer:
        print(json.load(answer)["outputs"][0]["data"][0])
"""


NAME = "mortality-1985-1986"
INDEX = "batch.kubernetes.io/job-completion-index"
MANY = """
import csv, itertools
header, *rows = csv.reader(open("/var/lib/modelward/store/data/monica-1985-1986.csv"))
with open("/var/lib/modelward/store/data/many.csv", "w") as out:
    out.write(",".join(["number", *header]) + "\\n")
    lines = [",".join(row) + "\\n" for row in rows]
    out.writelines(f"{n},{line}" for n, line in zip(range(%d), itertools.cycle(lines)))
"""
"""The same patients over and over, each row with a number of its own."""


def apply(clinic, **spec):
    """The example, changed."""
    batch = yaml.safe_load((MANIFESTS / "scorebatch.yaml").read_text())
    batch["spec"].update(spec)
    clinic.apply(batch)


def ended(clinic):
    """Its status at the end."""

    def over():
        status = clinic.status("scorebatch", NAME)
        return status if status.get("phase") in ("Complete", "Failed") else None

    return clinic.wait("the scores", over, 180)


def scored(clinic, **spec):
    apply(clinic, **spec)
    return ended(clinic)


def running_shards(clinic):
    """The pods that score, by their shard's file."""
    pods = clinic.list("pods", "--selector", f"modelward.io/scorebatch={NAME}")
    running = (pod["metadata"] for pod in pods if pod["status"].get("phase") == "Running")
    return {f"shard-{int(pod['labels'][INDEX]):05}.json": pod["name"] for pod in running}


def test_a_file_gets_the_scores_that_requests_get(clinic, champion):
    status = scored(clinic)
    assert status["phase"] == "Complete", status
    folder = "scores/mortality-1985-1986"
    shards = [clinic.take(f"{folder}/shard-{n:05}.parquet") for n in range(4)]
    tables = [pyarrow.parquet.read_table(io.BytesIO(content)) for content in shards]
    scores = [score for table in tables for score in table["score"].to_pylist()]
    rows = pyarrow.csv.read_csv(
        io.BytesIO(clinic.take("data/monica-1985-1986.csv")),
        convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=False),
    ).to_pylist()
    assert len(scores) == len(rows) == status["rows"] == status["scored"]
    bodies = [request_body({name: str(value) for name, value in row.items()}).decode() for row in rows[:200]]
    pod = clinic.list("pods", "--selector", "modelward.io/modelversion=v1")[0]["metadata"]["name"]
    answers = clinic.kubectl("exec", "-i", pod, "-c", "serving", "--", "python", "-c", ASK, stdin="\n".join(bodies))
    assert scores[:200] == pytest.approx([float(line) for line in answers.split()], abs=1e-6)
    assert {version for table in tables for version in table["version"].to_pylist()} == {"1.0.0"}


def test_a_file_without_a_column_fails_at_once_and_says_which(clinic, champion):
    clinic.put("data/without.csv", "sex,age\nf,60\n")
    status = scored(clinic, input={"uri": "store://data/without.csv", "format": "csv"}, keepColumns=[])
    failed = next(c for c in status["conditions"] if c["type"] == "Failed")
    assert (status["phase"], failed["status"], failed["reason"]) == ("Failed", "True", "MissingColumn"), json.dumps(
        status
    )


def test_a_bundle_that_is_not_the_champions_any_more_fails_at_once_and_says_so(clinic, champion):
    path = clinic.bundles["v1"].uri.removeprefix("store://")
    kept = clinic.take(path)
    clinic.put_bytes(path, clinic.take(clinic.bundles["v2"].uri.removeprefix("store://")))
    try:
        status = scored(clinic, parallelism=1, backoffLimit=6)
    finally:
        clinic.put_bytes(path, kept)
    failed = next(c for c in status["conditions"] if c["type"] == "Failed")
    assert (status["phase"], failed["reason"]) == ("Failed", "DigestMismatch"), json.dumps(status)
    assert failed["message"].startswith("ModelVersion v1: ")
    assert len(clinic.list("pods", "--selector", f"modelward.io/scorebatch={NAME}")) == 1


def test_a_shard_that_is_killed_is_scored_again_and_no_other(clinic, champion):
    rows, folder = 4_000_000, "scores/killed"
    clinic.kubectl("exec", "store", "--", "python", "-c", MANY % rows)
    given = {"uri": "store://data/many.csv", "format": "csv"}
    slow = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "300m", "memory": "1Gi"}}
    changes = {"keepColumns": ["number"], "parallelism": 1, "resources": slow}
    apply(clinic, input=given, output={"uri": f"store://{folder}"}, **changes)

    def written():
        """When each shard was written."""
        script = f"cd {STORE}/{folder} && find . -name '*.json' -printf '%f %T+\\n' || true"
        return dict(line.split() for line in clinic.kubectl("exec", "store", "--", "sh", "-c", script).splitlines())

    def under_way():
        """A pod in mid-work, once another shard is done."""
        running, done = running_shards(clinic), written()
        return next(((pod, shard) for shard, pod in running.items() if done and shard not in done), None)

    pod, killed = clinic.wait("a shard that is done, and one that is not", under_way, 120)
    clinic.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
    before = written()
    assert killed not in before, "it was killed in mid-work"
    status = ended(clinic)
    assert (status["phase"], status["rows"], status["scored"]) == ("Complete", rows, rows), json.dumps(status)
    after = written()
    assert {shard: after[shard] for shard in before} == before
    assert len(after) == 4
    shards = [clinic.take(f"{folder}/shard-{n:05}.parquet") for n in range(4)]
    numbers = [pyarrow.parquet.read_table(io.BytesIO(content))["number"] for content in shards]
    assert all(len(column) for column in numbers)
    found = np.sort(np.concatenate([column.cast("int64").to_numpy() for column in numbers]))
    assert np.array_equal(found, np.arange(rows))
