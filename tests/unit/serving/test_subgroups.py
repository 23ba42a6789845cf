"""Assignment of rows to strata."""

from __future__ import annotations

import json

import numpy as np
import pytest

from modelward_api import names
from modelward_api.bundle.documents import MAX_STRATA, Manifest, Subgroup, UnverifiedBundleError, file_digest
from modelward_serving.counting.subgroups import Strata
from modelward_serving.model import bundle
from tests.support import bundles
from tests.support.bundles import BY_AGE, BY_SEX, COLUMNS, signature

LIMITED = ({**COLUMNS[0], "range": {"minimum": 0, "maximum": 120}}, COLUMNS[1])


def strata_of(age, sex, columns=COLUMNS):
    strata = Strata(signature(subgroups=(BY_SEX, BY_AGE), columns=columns))
    return strata.names_of_row(np.array([[age]], np.float32), [np.array([[sex]], object)])


@pytest.mark.parametrize(
    ("age", "stratum"), [(39.9, "age<40"), (40, "40<=age<65"), (64.9, "40<=age<65"), (65, "age>=65")]
)
def test_a_cut_belongs_to_what_is_above_it(age, stratum):
    assert strata_of(age, "f") == ("sex=f", stratum)


def test_what_is_missing_or_not_declared_is_in_no_stratum_and_names_none():
    assert strata_of(float("nan"), "MARK7F3A") == ()
    assert strata_of(50, "") == ("40<=age<65",)


@pytest.mark.parametrize("age", [-1, 121, float("inf")])
def test_what_is_implausible_is_in_no_stratum(age):
    assert strata_of(age, "m", LIMITED) == ("sex=m",)


def test_a_request_belongs_to_the_strata_of_its_first_row():
    strata = Strata(signature(subgroups=(BY_SEX,)))
    assert strata.names_of_row(np.array([[50], [60]], np.float32), [np.array([["m"], ["f"]], object)]) == ("sex=m",)


def with_subgroups(directory, subgroups):
    """A bundle whose signature says so, however wrong that is."""
    bundles.write(directory)
    path = directory / names.SIGNATURE_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | {"subgroups": subgroups}))
    files = {p.name: file_digest(p.read_bytes()) for p in directory.iterdir() if p.name != names.MANIFEST_FILE}
    manifest = Manifest(model="mortality", version="1.0.0", files=files)
    (directory / names.MANIFEST_FILE).write_bytes(manifest.canonical())
    return bundle.load(directory, manifest.digest)


CUTS = [float(i) for i in range(MAX_STRATA)]
WRONG = {
    "too many strata": (
        [{"column": "age", "strata": [f"age {i}" for i in range(MAX_STRATA + 1)], "cuts": CUTS}],
        "subgroups must not have more than 32 strata together, and have 33",
    ),
    "a column that is no input": (
        [{"column": "bmi", "strata": ["a", "b"], "cuts": [1]}],
        "subgroup bmi: must be an input of the model",
    ),
    "strata without a category": (
        [{"column": "sex", "strata": ["a", "b"], "categories": ["f"]}],
        "subgroup sex: must have one stratum for each category",
    ),
    "cuts that fall": ([{"column": "age", "strata": ["a", "b", "c"], "cuts": [2, 1]}], "cuts must increase"),
}


@pytest.mark.parametrize(("subgroups", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_bundle_with_subgroups_that_cannot_be_counted_is_not_loaded_and_says_why(tmp_path, subgroups, said):
    with pytest.raises(UnverifiedBundleError, match=said):
        with_subgroups(tmp_path / "b", subgroups)


def test_a_bundle_of_before_there_were_subgroups_is_loaded(tmp_path):
    digest = bundles.write(tmp_path / "b")
    path = tmp_path / "b" / names.SIGNATURE_FILE
    assert bundle.load(tmp_path / "b", digest).signature.strata == ()
    without = json.loads(path.read_text())
    del without["subgroups"]
    path.write_text(json.dumps(without))
    files = {p.name: file_digest(p.read_bytes()) for p in path.parent.iterdir() if p.name != names.MANIFEST_FILE}
    manifest = Manifest(model="mortality", version="1.0.0", files=files)
    (tmp_path / "b" / names.MANIFEST_FILE).write_bytes(manifest.canonical())
    assert Strata(bundle.load(tmp_path / "b", manifest.digest).signature).slots == [None]


def test_a_subgroup_is_what_it_says():
    with pytest.raises(ValueError, match="must have one stratum for each category"):
        Subgroup(column="age", strata=("age<40",), cuts=(40.0,))
