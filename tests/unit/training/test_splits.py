"""Splits and folds: by time, site, group and chance, in two parts or three."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from modelward_api.resources.trainingjob import Split
from modelward_training.data import split as splits
from modelward_training.data.split import folds, nested_folds, split
from modelward_training.data.validate import validate
from modelward_training.errors import InvalidInputError
from tests.support.harmonised import NOW, ROWS, declared, table


def rows(**changes):
    spec = declared()
    return validate(spec, table(spec, **changes), NOW).data


DATA = rows(hospital=lambda i: "north" if i % 3 else "south")
ALONE = replace(DATA, group=None)


def parts(data=DATA, **how):
    made = split(Split.model_validate(how), data)
    assert sum(len(part) for part in made.by_name.values()) == len(data)
    return made


def refusal(data=DATA, **how):
    with pytest.raises(InvalidInputError) as caught:
        parts(data, **how)
    return caught.value.reason, caught.value.field


def times(part):
    return set(part.time.tolist())


def test_the_latest_rows_are_tested_on_and_those_before_calibrate():
    made = parts(ALONE, method="time", testFraction=0.25, calibrationFraction=0.15)
    assert [len(part) for part in made.by_name.values()] == [240, 60, 100]
    assert all(max(times(a)) < min(times(b)) for a, b in pairwise(made.by_name.values()))


@pytest.mark.parametrize("sites", [["north"], ["south"]])
def test_whole_sites_are_left_out(sites):
    made = parts(method="site", testSites=sites, calibrationFraction=0.1)
    assert set(made.test.breakdowns["hospital"]) == set(sites)
    assert not set(made.training.breakdowns["hospital"]) & set(sites)
    assert len(made.calibration) == pytest.approx(40, abs=10)


def test_sites_that_cannot_be_left_out_are_refused():
    assert refusal(method="site") == ("UnknownSite", "spec.split.testSites")
    assert refusal(method="site", testSites=["north", "west"]) == ("UnknownSite", "spec.split.testSites[1]")
    assert refusal(method="site", testSites=["north", "south"]) == ("EmptySplit", "spec.split")
    assert refusal(rows(outcome=lambda i: "dead" if i % 2 and i % 4 == 1 else "live"), method="site",
                   testSites=["south"])[0] == "OneClass"  # fmt: skip


def test_a_column_that_the_method_needs_must_be_there():
    bare = replace(ALONE, time=None, breakdown_columns=(), breakdowns={})
    assert refusal(bare, method="time") == ("NoTimeColumn", "spec.split.method")
    assert refusal(bare, method="site", testSites=["a"]) == ("NoSiteColumn", "spec.split.method")
    assert refusal(bare, method="group") == ("NoGroupColumn", "spec.split.method")


@pytest.mark.parametrize("method", ["random", "group"])
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.7])
def test_patients_stay_together_and_classes_keep_their_share(method, share):
    made = parts(method=method, testFraction=share, calibrationFraction=0.2)
    groups = [set(part.group.tolist()) for part in made.by_name.values()]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert len(made.test) == pytest.approx(share * ROWS, rel=0.2)
    assert len(made.calibration) == pytest.approx(0.2 * ROWS, rel=0.35)
    for part in made.by_name.values():
        assert part.label.mean() == pytest.approx(0.25, abs=0.05)


def test_many_patients_are_drawn_without_looking_at_each(monkeypatch):
    monkeypatch.setattr(splits, "MAX_STRATIFIED_GROUPS", 100)
    made = parts(method="group", testFraction=0.3)
    assert not set(made.training.group.tolist()) & set(made.test.group.tolist())
    assert len(made.test) == pytest.approx(0.3 * ROWS, rel=0.1)
    held_out = np.concatenate([outside for _, outside in folds(DATA, "group", 4, 0)])
    assert sorted(held_out.tolist()) == list(range(ROWS))
    for inside, outside in folds(DATA, "group", 4, 0):
        assert not set(DATA.group[inside]) & set(DATA.group[outside])


@pytest.mark.parametrize("method", ["random", "group"])
def test_a_seed_fixes_the_split(method):
    def test_rows(data, seed):
        return parts(data, method=method, seed=seed).test.time.tolist()

    data = DATA if method == "group" else ALONE
    assert test_rows(data, 3) == test_rows(data, 3)
    assert test_rows(data, 3) != test_rows(data, 4)


def test_a_split_of_few_patients_is_refused():
    few = replace(DATA, group=np.arange(ROWS) % 2)
    assert refusal(few, method="group", testFraction=0.2) == ("EmptySplit", "spec.split")


def test_calibration_leaves_rows_to_train_on():
    assert refusal(ALONE, method="random", testFraction=0.5, calibrationFraction=0.5) == (
        "EmptySplit",
        "spec.split.calibrationFraction",
    )


@pytest.mark.parametrize(("data", "method"), [(ALONE, "random"), (DATA, "random"), (DATA, "group")])
def test_folds_hold_out_every_row_once(data, method):
    made = folds(data, method, 5, 0)
    assert sorted(np.concatenate([held_out for _, held_out in made]).tolist()) == list(range(ROWS))
    for inside, outside in made:
        assert not set(inside) & set(outside)
        assert data.label[outside].mean() == pytest.approx(0.25, abs=0.03)
        if data.group is not None:
            assert not set(data.group[inside]) & set(data.group[outside])


def test_folds_by_time_never_look_ahead_and_never_meet_a_patient_again():
    data = replace(DATA, group=np.arange(ROWS) % 190)
    made = folds(data, "time", 4, 0)
    assert len(made) == 4
    for inside, outside in made:
        assert data.time[inside].max() < data.time[outside].min()
        assert not set(data.group[inside]) & set(data.group[outside])
        assert len(outside) == ROWS / 5


def test_folds_by_time_keep_rows_of_the_same_time_together():
    data = replace(ALONE, time=np.arange(ROWS) // 40 * 1.0)
    for inside, outside in folds(data, "time", 3, 0):
        assert not set(data.time[inside]) & set(data.time[outside])


def test_folds_by_site_hold_out_whole_sites():
    made = folds(DATA, "site", 5, 0)
    assert len(made) == 2
    for inside, outside in made:
        assert len(set(DATA.site[1][outside])) == 1
        assert not set(DATA.site[1][inside]) & set(DATA.site[1][outside])


@pytest.mark.parametrize(
    ("data", "method", "k", "reason"),
    [
        (replace(DATA, time=None), "time", 3, "NoTimeColumn"),
        (ALONE, "group", 3, "NoGroupColumn"),
        (replace(DATA, breakdown_columns=()), "site", 3, "NoSiteColumn"),
        (replace(ALONE, time=np.zeros(ROWS)), "time", 3, "EmptySplit"),
        (replace(DATA, group=np.zeros(ROWS)), "group", 3, "EmptySplit"),
        (replace(ALONE, label=(np.arange(ROWS) >= 350).astype(int)), "time", 3, "EmptySplit"),
    ],
)
def test_folds_that_cannot_be_made_are_refused(data, method, k, reason):
    with pytest.raises(InvalidInputError) as caught:
        folds(data, method, k, 0)
    assert caught.value.reason == reason


@pytest.mark.parametrize("method", ["random", "group", "time"])
def test_inner_folds_are_made_of_the_rows_that_the_outer_fold_fits_on(method):
    for (inside, outside), inner in nested_folds(DATA, method, 3, 2, 0):
        assert len(inner) == 2
        for fit, held_out in inner:
            assert set(fit) | set(held_out) <= set(inside)
            assert not set(held_out) & set(outside)
            assert not set(fit) & set(held_out)
