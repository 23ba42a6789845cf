"""A model trained on real clinical data scores a file as it scores requests."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import yaml

from examples import monica
from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_serving.batch import score
from modelward_serving.model import bundle as served
from modelward_serving.model.predictor import Predictor
from modelward_serving.rest.codec import decode
from modelward_training import pipeline
from modelward_training.progress import Progress
from modelward_training.report.summary import Facts
from tests.support.cluster.layout import REPOSITORY

ROWS = monica.hospitalised(85, 86)


def request(columns, row):
    """A row of the file as a service would send it."""

    def value(column):
        text = row[column.name].strip()
        if text in ("", *column.missing_values):
            return None
        return text if column.kind == "categorical" else float(text)

    inputs = [
        {
            "name": column.name,
            "shape": [1, 1],
            "datatype": "BYTES" if column.kind == "categorical" else "FP64",
            "data": [value(column)],
        }
        for column in columns
    ]
    return json.dumps({"inputs": inputs}).encode()


def test_a_file_and_requests_get_the_same_scores_and_decisions(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data/monica-1985-1986.csv").write_text(monica.as_csv(ROWS))
    document = yaml.safe_load((REPOSITORY / "examples/mortality/trainingjob-v2.yaml").read_text())["spec"]
    spec = TrainingJobSpec.model_validate({**document, "evaluation": {"bootstrap": 0}})
    outcome = pipeline.run("job", spec, f"file://{tmp_path}", Progress(), Facts())
    archive = (tmp_path / outcome.uri.removeprefix("store://")).read_bytes()
    for name, content in served.unpack(archive, outcome.digest).items():
        (tmp_path / "bundle").mkdir(exist_ok=True)
        (tmp_path / "bundle" / name).write_bytes(content)
    predictor = Predictor(served.load(tmp_path / "bundle", outcome.digest))
    batch = yaml.safe_load((REPOSITORY / "examples/mortality/scorebatch.yaml").read_text())["spec"]
    source, output, shards = batch["input"], batch["output"]["uri"], batch["shards"]
    for shard in range(shards):
        task = score.Task(source["uri"], source["format"], output, shard, shards, store=f"file://{tmp_path}")
        score.run(task, predictor)
    files = sorted((tmp_path / output.removeprefix("store://")).glob("*.parquet"))
    found = [row for file in files for row in pq.read_table(file).to_pylist()]
    assert len(found) == len(ROWS)
    for row, scored in list(zip(ROWS, found, strict=True))[::7]:
        answer = predictor.predict(predictor.validator.rows(decode(request(predictor.bundle.signature.inputs, row))))
        assert abs(scored["score"] - float(answer.scores[0])) <= 1e-6
        assert scored["decision"] == bool(answer.decisions[0])
