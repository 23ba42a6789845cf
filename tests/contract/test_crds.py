"""The CRDs against a real API server: what is let in, what is filled in, what is refused and how."""

from __future__ import annotations

import json

import pytest
import yaml

from modelward_api.crd import KINDS, render
from tests.cluster.layout import REPOSITORY

DIGEST = "sha256:" + "a" * 64


def version(**spec):
    body = {"model": "m", "version": "1.0.0", "artifact": {"uri": "store://x", "digest": DIGEST}, **spec}
    return {
        "apiVersion": "modelward.io/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {"name": "m-1", "namespace": "default"},
        "spec": {k: v for k, v in body.items() if v is not None},
    }


def training(change=lambda spec: None):
    job = yaml.safe_load((REPOSITORY / "examples/mortality/trainingjob-v2.yaml").read_text())
    job["metadata"]["namespace"] = "default"
    job = json.loads(json.dumps(job))
    change(job["spec"])
    return job


def monitor(**spec):
    return {
        "apiVersion": "modelward.io/v1alpha1",
        "kind": "DriftMonitor",
        "metadata": {"name": "m", "namespace": "default"},
        "spec": {"model": "m", **spec},
    }


def drop_label(spec):
    spec["data"]["label"]["column"] = "nobody"


def other_algorithm(spec):
    spec["estimator"]["algorithm"] = "crystal-ball"


def by_time(spec):
    spec["split"] = {"method": "time"}
    spec["data"]["columns"] = [c for c in spec["data"]["columns"] if c.get("role") != "time"]


def timestamp_feature(spec):
    spec["data"]["columns"][2]["kind"] = "timestamp"


def twice(spec):
    spec["data"]["columns"].append(dict(spec["data"]["columns"][2]))


STEPS = {"steps": [{"weight": 50}, {"weight": 10}]}
REFUSED = {
    "neither artifact nor trainingJobRef": (version(artifact=None), "give either artifact or trainingJobRef"),
    "both artifact and trainingJobRef": (
        version(trainingJobRef={"name": "t"}),
        "give either artifact or trainingJobRef",
    ),
    "a version that is no SemVer": (version(version="one"), "spec.version"),
    "a digest that is none": (version(artifact={"uri": "store://x", "digest": "md5:1"}), "spec.artifact.digest"),
    "an address of an unknown scheme": (version(artifact={"uri": "ftp://x", "digest": DIGEST}), "spec.artifact.uri"),
    "a model name that no Service could have": (version(model="My_Model"), "spec.model"),
    "weights that fall": (version(rollout=STEPS), "weights must grow"),
    "a weight beyond 100": (version(rollout={"steps": [{"weight": 101}]}), "spec.rollout.steps[0].weight"),
    "an unknown strategy": (version(rollout={"strategy": "hope"}), "spec.rollout.strategy"),
    "a duration without a unit": (version(rollout={"keepWarm": "10"}), "spec.rollout.keepWarm"),
    "a margin of zero": (version(rollout={"analysis": {"errorMargin": 0}}), "spec.rollout.analysis.errorMargin"),
    "no replicas": (version(serving={"replicas": 0}), "spec.serving.replicas"),
    "a label that is not declared": (training(drop_label), "spec.data.label.column"),
    "an unknown algorithm": (training(other_algorithm), "spec.estimator.algorithm"),
    "a split by a time that is not there": (training(by_time), "spec.split.method"),
    "a timestamp as a feature": (training(timestamp_feature), "a timestamp cannot be a feature"),
    "a column declared twice": (training(twice), "Duplicate"),
    "a monitor with an alpha of one": (monitor(tests={"alpha": 1}), "spec.tests.alpha"),
    "a monitor with an unknown action": (monitor(actions=[{"do": "pray"}]), "spec.actions[0].do"),
    "an unknown field": (version(rolout={}), "rolout"),
}


@pytest.mark.parametrize(("document", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_the_api_server_refuses(control_plane, document, said):
    done = control_plane.kubectl("create", "--validate=strict", "--filename", "-", document=document, check=False)
    assert done.returncode != 0
    assert said in done.stderr


@pytest.fixture
def created(control_plane):
    control_plane.kubectl("create", "--filename", "-", document=version())
    yield control_plane
    control_plane.kubectl("delete", "mv", "m-1")


CHANGES = {
    "model": {"model": "other"},
    "version": {"version": "2.0.0"},
    "artifact": {"artifact": {"uri": "store://y"}},
    "trainingJobRef": {"artifact": None, "trainingJobRef": {"name": "t"}},
}


@pytest.mark.parametrize(("field", "change"), CHANGES.items(), ids=CHANGES.keys())
def test_what_defines_a_version_cannot_be_changed(created, field, change):
    patch = json.dumps({"spec": change})
    done = created.kubectl("patch", "mv", "m-1", "--type=merge", "--patch", patch, check=False)
    assert f"spec.{field} is immutable" in done.stderr


def test_how_a_version_is_rolled_out_can_be_changed(created):
    created.kubectl("patch", "mv", "m-1", "--type=merge", "--patch", '{"spec":{"rollout":{"paused":true}}}')


def test_defaults_are_filled_in(created):
    spec = created.get("mv", "m-1")["spec"]
    assert spec["rollout"]["strategy"] == "canary"
    assert [step["weight"] for step in spec["rollout"]["steps"]] == [5, 20, 50]
    assert spec["rollout"]["analysis"]["alpha"] == 0.05
    assert spec["serving"]["replicas"] == 1


def test_a_training_may_be_suspended_and_nothing_else(control_plane):
    control_plane.kubectl("create", "--filename", "-", document=training())
    patch = ["patch", "tj", "mortality-v2", "--type=merge", "--patch"]
    control_plane.kubectl(*patch, '{"spec":{"suspend":true}}')
    done = control_plane.kubectl(*patch, '{"spec":{"version":"9.0.0"}}', check=False)
    assert "spec.version is immutable" in done.stderr
    control_plane.kubectl("delete", "tj", "mortality-v2")


@pytest.mark.parametrize("file", sorted((REPOSITORY / "examples/mortality").glob("*.yaml")), ids=lambda p: p.stem)
def test_the_examples_are_accepted_as_they_are(control_plane, file):
    control_plane.kubectl("create", "--dry-run=server", "--validate=strict", "--filename", str(file))


def test_explain_reads_like_documentation(control_plane):
    text = control_plane.kubectl("explain", "mv.spec.rollout").stdout
    assert "How the version takes over from the champion." in text
    assert "Never holds a rollback" in text


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
def test_printer_columns_show_what_people_look_for(control_plane, kind):
    done = control_plane.kubectl("get", kind.short, "--all-namespaces")
    crd = control_plane.get("crd", f"{kind.plural}.modelward.io")
    names = [c["name"] for c in crd["spec"]["versions"][0]["additionalPrinterColumns"]]
    assert names == [column[0] for column in kind.columns]
    assert done.returncode == 0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)
@pytest.mark.parametrize("directory", ["crds", "charts/modelward/files"])
def test_the_committed_files_are_what_the_models_say(kind, directory):
    assert (REPOSITORY / directory / f"{kind.plural}.yaml").read_text() == render(kind), "run `make generate`"
