"""Sites, subgroups that are not features, and sensitive columns: counts, withheld counts and refusals."""

from __future__ import annotations

import json
from itertools import product

import pytest

from modelward_api import names
from modelward_api.bundle.documents import Evaluation
from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_serving.model import bundle as served
from modelward_training import pipeline
from modelward_training.errors import InvalidInputError
from modelward_training.evaluation.breakdown import withheld
from modelward_training.evaluation.subgroups import declared_subgroups
from modelward_training.progress import Progress
from modelward_training.report.summary import Facts
from tests.support.training_rows import HEAD, rows, spec, text

SITES = {"kind": "categorical", "role": "site", "allowedValues": ["north", "south", "west"]}
SPLIT = {"method": "random", "testFraction": 0.5, "seed": 1}


def changed(declared, change):
    document = declared.to_json()
    change(document)
    document["evaluation"]["bootstrap"] = 0
    return TrainingJobSpec.model_validate(document)


def run(store, declared):
    return pipeline.run("job", changed(declared, lambda _: None), f"file://{store}", Progress(), Facts())


def counted(store, outcome):
    files = served.unpack((store / outcome.uri.removeprefix("store://")).read_bytes(), outcome.digest)
    evaluation = Evaluation.model_validate_json(files[names.EVALUATION_FILE])
    return {group.value: (group.train_rows, group.test_rows, group.test_events) for group in evaluation.breakdown}


def varied(repeat=4):
    """Enough rows that no count by site is small: each fourth row is an event, whatever its site."""
    return [row for _ in range(repeat) for row in rows()]


def sited(folder, site_of):
    body = [[*row, site_of(i)] for i, row in enumerate(varied())]
    (folder / "data.csv").write_text(text(body, [*HEAD, "hospital"]))


def test_the_evaluation_counts_rows_and_events_by_site(tmp_path):
    sited(tmp_path, lambda i: "north" if i % 8 < 4 else "south")
    outcome = run(tmp_path, spec(hospital=SITES, split=SPLIT))
    found = counted(tmp_path, outcome)
    assert found["north"][0] + found["south"][0] == outcome.train_rows
    assert found["north"][1] + found["south"][1] == outcome.test_rows
    assert found["west"] == (0, 0, 0)
    assert "hospital=west has no test rows: the evaluation does not cover it" in outcome.warnings


def test_a_small_site_and_what_would_give_it_away_are_withheld(tmp_path):
    sited(tmp_path, lambda i: "west" if i < 8 else "north" if i % 8 < 4 else "south")
    outcome = run(tmp_path, spec(hospital=SITES, split=SPLIT))
    found = counted(tmp_path, outcome)
    assert found["west"] == (None, None, None)
    assert sum(counts[0] is None for counts in found.values()) == 2
    assert "hospital=west" not in json.dumps(outcome.to_json())


def test_totals_less_published_counts_are_no_small_count():
    for counts in product([0, 1, 2, 9, 10, 11, 30], repeat=3):
        hidden = [n for n, is_hidden in zip(counts, withheld([(n,) for n in counts]), strict=True) if is_hidden]
        assert all(count in hidden or not 0 < count <= 10 for count in counts), counts
        if hidden and sum(counts) > 10:
            assert sum(hidden) > 10, counts
            assert len(hidden) > 1 or sum(count > 0 for count in counts) == 1, counts


def test_files_of_different_sites_declare_their_site(tmp_path):
    (tmp_path / "data.csv").write_text(text(varied(2)))
    (tmp_path / "south.csv").write_text(text(varied(2)[::-1]))

    def two(document):
        document["data"]["sources"] = [
            {"uri": "store://data.csv", "site": "north"},
            {"uri": "store://south.csv", "site": "south"},
        ]

    outcome = run(tmp_path, changed(spec(hospital=SITES, split=SPLIT), two))
    found = counted(tmp_path, outcome)
    assert found["north"][0] + found["north"][1] == found["south"][0] + found["south"][1] == 160


def refusal(store, declared):
    with pytest.raises(InvalidInputError) as caught:
        run(store, declared)
    return caught.value.reason, caught.value.field


def with_site(declared, site):
    return changed(declared, lambda document: document["data"]["sources"][0].update(site=site))


def test_sites_that_cannot_be_counted_are_refused(tmp_path):
    sited(tmp_path, lambda i: "north" if i % 8 < 4 else "elsewhere")
    assert refusal(tmp_path, spec(hospital=SITES)) == ("UnknownCategory", "spec.data.columns[4].allowedValues")
    open_names = spec(hospital={**SITES, "allowedValues": []})
    assert refusal(tmp_path, open_names) == ("InvalidSubgroup", "spec.data.columns[4].allowedValues")
    assert refusal(tmp_path, with_site(spec(), "north")) == ("UnknownColumn", "spec.data.sources[0].site")
    assert refusal(tmp_path, with_site(spec(hospital=SITES), "north")) == (
        "DuplicateColumn",
        "spec.data.sources[0].site",
    )


def test_a_sensitive_feature_must_be_a_tested_subgroup(tmp_path):
    sensitive = spec(sex={"sensitive": True})
    with pytest.raises(InvalidInputError) as caught:
        declared_subgroups(sensitive)
    assert (caught.value.reason, caught.value.field) == ("InvalidSubgroup", "spec.data.columns[1].sensitive")
    tested = changed(sensitive, lambda document: document["evaluation"].update(subgroups=[{"column": "sex"}]))
    assert [subgroup.column for subgroup in declared_subgroups(tested)] == ["sex"]
    assert declared_subgroups(spec(sex={"sensitive": True, "role": "ignore"})) == ()
