"""TrainingJobs on the cluster: what came of the good ones, and what the bad ones say."""

from __future__ import annotations

import pytest
import yaml

from examples.clinic import MANIFESTS

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]


def apply_changed(clinic, name: str, change) -> None:
    job = yaml.safe_load((MANIFESTS / "trainingjob-v2.yaml").read_text())
    job["metadata"]["name"] = name
    job["spec"]["promote"] = None
    change(job["spec"])
    clinic.apply(job)


def missing_file(spec):
    spec["data"]["sources"][0]["uri"] = "store://data/nobody.csv"


def unknown_column(spec):
    spec["data"]["columns"].append({"name": "cholesterol", "kind": "numeric"})


def empty_file(spec):
    spec["data"]["sources"][0]["uri"] = "store://data/empty.csv"


BAD = {
    "missing-file": (missing_file, "MissingFile", "spec.data.sources[0].uri"),
    "unknown-column": (unknown_column, "UnknownColumn", "spec.data.columns[11]"),
    "empty-file": (empty_file, "EmptyData", "spec.data.sources[0]"),
}


def test_bad_input_fails_once_with_its_reason_and_field(trained):
    trained.put("data/empty.csv", "")
    for name, (change, _, _) in BAD.items():
        trained.kubectl("delete", "trainingjob", name, "--ignore-not-found")
        apply_changed(trained, name, change)
    for name, (_, reason, field) in BAD.items():

        def failed(name: str = name):
            status = trained.status("trainingjob", name)
            return status if status.get("phase") == "Failed" else None

        status = trained.wait(f"{name} fails", failed, 180)
        assert trained.condition("trainingjob", name, "Stalled")["reason"] == reason
        assert field in status["message"]
        assert trained.get("job", name)["status"].get("failed", 1) == 1, "bad input is not tried again"


def test_a_trained_version_says_how_good_it_is(trained):
    status = trained.status("trainingjob", "mortality-v2")
    names = {metric["name"] for metric in status["metrics"]}
    assert {"auroc", "brier"} <= names
    assert float(status["parity"]) <= 1e-6
    assert status["digest"] == trained.bundles["v2"].digest
