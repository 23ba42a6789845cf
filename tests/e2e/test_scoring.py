"""A file is scored by the champion on the cluster, as its requests are."""

from __future__ import annotations

import io
import json

import pyarrow.csv
import pyarrow.parquet
import pytest
import yaml

from examples.clinic import MANIFESTS
from examples.replay import request_body

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]
ASK = """
import json, sys, urllib.request
for line in sys.stdin:
    with urllib.request.urlopen("http://mortality:8080/v2/models/mortality/infer", line.encode()) as answer:
        print(json.load(answer)["outputs"][0]["data"][0])
"""


def scored(ward, **spec):
    """Apply the example, changed; its status at the end."""
    batch = yaml.safe_load((MANIFESTS / "scorebatch.yaml").read_text())
    batch["spec"].update(spec)
    name = batch["metadata"]["name"]
    ward.apply(batch)

    def ended():
        status = ward.status("scorebatch", name)
        return status if status.get("phase") in ("Complete", "Failed") else None

    return ward.wait("the scores", ended, 180)


def test_a_file_gets_the_scores_that_requests_get(ward, champion):
    status = scored(ward)
    assert status["phase"] == "Complete", status
    folder = "scores/mortality-1985-1986"
    shards = [ward.take(f"{folder}/shard-{n:05}.parquet") for n in range(4)]
    tables = [pyarrow.parquet.read_table(io.BytesIO(content)) for content in shards]
    scores = [score for table in tables for score in table["score"].to_pylist()]
    rows = pyarrow.csv.read_csv(
        io.BytesIO(ward.take("data/monica-1985-1986.csv")),
        convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=False),
    ).to_pylist()
    assert len(scores) == len(rows) == status["rows"] == status["scored"]
    bodies = [request_body({name: str(value) for name, value in row.items()}).decode() for row in rows[:200]]
    pod = ward.list("pods", "--selector", "modelward.io/modelversion=v1")[0]["metadata"]["name"]
    answers = ward.kubectl("exec", "-i", pod, "-c", "serving", "--", "python", "-c", ASK, stdin="\n".join(bodies))
    assert scores[:200] == pytest.approx([float(line) for line in answers.split()], abs=1e-6)
    assert {version for table in tables for version in table["version"].to_pylist()} == {"1.0.0"}


def test_a_file_without_a_column_fails_at_once_and_says_which(ward, champion):
    ward.put("data/without.csv", "sex,age\nf,60\n")
    status = scored(ward, input={"uri": "store://data/without.csv", "format": "csv"}, keepColumns=[])
    failed = next(c for c in status["conditions"] if c["type"] == "Failed")
    assert (status["phase"], failed["status"], failed["reason"]) == ("Failed", "True", "MissingColumn"), json.dumps(
        status
    )
