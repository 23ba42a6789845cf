"""A bundle is believed only as far as its digest goes."""

from __future__ import annotations

import io
import json
import tarfile

import pytest

from modelward_api.bundle.documents import Manifest, TreeExplainer, UnverifiedBundleError, file_digest
from modelward_serving.model import bundle
from modelward_serving.model.fetch import fetch
from modelward_serving.model.fetch import run as fetched
from modelward_serving.model.predictor import Predictor
from modelward_serving.model.session import UnservableError
from tests.support import bundles


def archive(directory, *extra, prefix=""):
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for path in sorted(directory.iterdir()):
            tar.add(path, prefix + path.name)
        for member, content in extra:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return output.getvalue()


@pytest.fixture
def made(tmp_path):
    directory = tmp_path / "bundle"
    return directory, bundles.write(directory)


def test_a_good_bundle_is_loaded(made):
    assert bundle.load(*made).signature.model == "mortality"


def test_a_bundle_of_before_there_were_explanations_is_loaded(made):
    assert bundle.load(*made).explainer is None


def test_a_bundle_is_loaded_with_its_explainer(tmp_path):
    digest = bundles.write(tmp_path / "b", explainer=bundles.explains())
    assert bundle.load(tmp_path / "b", digest).explainer == bundles.explains()


def test_an_explainer_of_other_features_is_refused(tmp_path):
    other = bundles.explains().model_copy(update={"features": ("sex", "age")})
    with pytest.raises(UnverifiedBundleError, match="other features"):
        bundle.load(tmp_path / "b", bundles.write(tmp_path / "b", explainer=other))


NODES = {
    "left": (1, -1, -1), "right": (2, -1, -1), "column": (0, -1, -1), "threshold": (1.0, 0.0, 0.0),
    "category": (-1, -1, -1), "missing_left": (True, False, False), "value": (0.0, 1.0, 2.0), "cover": (2.0, 1.0, 1.0),
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"left": (0, -1, -1)}, {"right": (1, -1, -1)}, {"right": (9, -1, -1)}, {"value": ()}, {"cover": (0, 0, 0)}],
)
def test_trees_that_are_none_are_refused(change):
    TreeExplainer(offset=0, categories=((),), **NODES)
    with pytest.raises(ValueError, match="node"):
        TreeExplainer(offset=0, categories=((),), **NODES | change)


def test_another_digest_is_refused(made):
    with pytest.raises(UnverifiedBundleError, match="its digest is") as caught:
        bundle.load(made[0], "sha256:" + "0" * 64)
    assert caught.value.reason == "DigestMismatch"


def test_a_file_that_no_release_knows_is_refused_though_the_manifest_lists_it_and_its_name_is_not_told(made):
    directory, _ = made
    listed = Manifest.model_validate_json((directory / "manifest.json").read_bytes())
    (directory / "PATIENT-7f3.csv").write_text("63,f")
    files = {**listed.files, "PATIENT-7f3.csv": file_digest(b"63,f")}
    forged = listed.model_copy(update={"files": files})
    (directory / "manifest.json").write_bytes(forged.canonical())
    with pytest.raises(UnverifiedBundleError, match="1 files are unknown to this release") as caught:
        bundle.load(directory, forged.digest)
    assert "PATIENT" not in str(caught.value)
    with pytest.raises(UnverifiedBundleError, match="1 files are unknown"):
        bundle.unpack(archive(directory), forged.digest)


def test_a_changed_file_is_refused(made):
    (made[0] / "reference.json").write_text("{}")
    with pytest.raises(UnverifiedBundleError, match=r"reference\.json differs from the manifest") as caught:
        bundle.load(*made)
    assert caught.value.reason == "DigestMismatch"


def test_a_missing_file_is_refused(made):
    (made[0] / "golden.json").unlink()
    with pytest.raises(UnverifiedBundleError, match=r"golden\.json is missing") as caught:
        bundle.load(*made)
    assert caught.value.reason == "ArtifactUnreadable"


def test_an_unlisted_file_is_refused(made):
    (made[0] / "surprise.pkl").write_bytes(b"x")
    with pytest.raises(UnverifiedBundleError, match="not listed in the manifest"):
        bundle.load(*made)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../outside"])
def test_an_archive_that_would_write_outside_is_refused(made, name):
    with pytest.raises(UnverifiedBundleError, match="outside the bundle"):
        bundle.unpack(archive(made[0], (tarfile.TarInfo(name), b"x")), made[1])


def test_an_archive_with_a_link_is_refused(made):
    link = tarfile.TarInfo("model.onnx")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with pytest.raises(UnverifiedBundleError, match="outside the bundle"):
        bundle.unpack(archive(made[0], (link, b"")), made[1])


def test_what_is_no_archive_is_refused(made):
    with pytest.raises(UnverifiedBundleError, match="not a bundle archive"):
        bundle.unpack(b"not a tar" * 100, made[1])


def stored(tmp_path, made):
    (tmp_path / "m.bentomodel").write_bytes(archive(made[0]))
    return f"file://{tmp_path}"


def test_a_bundle_is_fetched_from_the_store(tmp_path, made):
    outcome = fetch("store://m.bentomodel", made[1], tmp_path / "into", stored(tmp_path, made))
    assert outcome.verified
    assert bundle.load(tmp_path / "into", made[1]).digest == made[1]


@pytest.mark.parametrize(
    ("uri", "digest", "reason"),
    [
        ("store://m.bentomodel", "sha256:" + "0" * 64, "DigestMismatch"),
        ("store://nobody", None, "ArtifactNotFound"),
        ("store://../m.bentomodel", None, "ArtifactNotFound"),
    ],
)
def test_a_fetch_that_fails_says_why_and_writes_nothing(tmp_path, made, uri, digest, reason):
    outcome = fetch(uri, digest or made[1], tmp_path / "into", stored(tmp_path, made))
    assert (outcome.verified, outcome.reason) == (False, reason)
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize(
    ("wanted", "reason"), [({"model": "safe"}, "ModelMismatch"), ({"version": "9.9.9"}, "VersionMismatch")]
)
def test_a_bundle_of_another_model_or_version_is_refused_before_it_is_unpacked(tmp_path, made, wanted, reason):
    outcome = fetch("store://m.bentomodel", made[1], tmp_path / "into", stored(tmp_path, made), **wanted)
    assert (outcome.verified, outcome.reason) == (False, reason)
    assert f"spec.{next(iter(wanted))} is '{next(iter(wanted.values()))}'" in outcome.message
    assert not (tmp_path / "into").exists()


@pytest.mark.parametrize(
    ("uri", "digest", "code"),
    [
        ("store://m.bentomodel", None, 0),
        ("store://m.bentomodel", "sha256:" + "0" * 64, 65),
        ("store://nobody", None, 65),
        ("http://127.0.0.1:9/m.bentomodel", None, 65),
        ("s3://bucket/m.bentomodel", None, 1),
    ],
)
def test_a_fetch_is_worth_another_try_only_when_the_store_is_away(tmp_path, monkeypatch, made, uri, digest, code):
    bundles.away(monkeypatch)
    log = tmp_path / "log"
    assert fetched(uri, digest or made[1], tmp_path / "into", stored(tmp_path, made), log) == code
    assert json.loads(log.read_text())["verified"] is (code == 0)


def test_scores_other_than_the_golden_ones_are_not_served(tmp_path):
    digest = bundles.write(tmp_path / "b", golden=0.123)
    with pytest.raises(UnservableError, match="golden"):
        Predictor(bundle.load(tmp_path / "b", digest))


def test_the_manifest_does_not_depend_on_the_packing(made):
    manifest = json.loads((made[0] / "manifest.json").read_text())
    assert set(manifest["files"]) == {p.name for p in made[0].iterdir()} - {"manifest.json"}
