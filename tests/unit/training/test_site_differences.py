"""Sites whose features are unlike those of the others."""

from __future__ import annotations

import numpy as np

from modelward_api.bundle.shift import drift_effect
from modelward_training.data import rules
from modelward_training.data.validate import validate
from modelward_training.reference.sites import site_differences
from tests.support.harmonised import COLUMNS, NOW, declared, table

ROWS = 2000
AGES = np.random.default_rng(0).normal(60, 10, ROWS)
CRPS = np.random.default_rng(1).lognormal(1, 1, ROWS)


def found(columns=None, **changes):
    spec = declared(columns)
    values = {"age": lambda i: AGES[i], "crp": lambda i: CRPS[i], **changes}
    data = validate(spec, table(spec, rows=ROWS, **values), NOW).data
    return site_differences(data, rules.paths(spec.data))


def test_sites_that_are_alike_are_no_finding():
    assert found() == []


def test_a_site_that_records_a_feature_in_another_unit_is_told_and_so_is_the_other_of_two():
    findings = found(crp=lambda i: CRPS[i] * (10 if i % 2 else 1))
    assert [(f.code, f.column, f.site, f.rows) for f in findings] == [
        ("SiteDiffers", "crp", "north", 1000),
        ("SiteDiffers", "crp", "south", 1000),
    ]
    assert findings[0].field == "spec.data.columns[1]"


def test_a_site_that_codes_a_category_otherwise_or_lacks_a_feature_is_told():
    assert {f.column for f in found(sex=lambda i: "m" if i % 2 else "fm"[i // 2 % 2])} == {"sex"}
    assert {f.column for f in found(crp=lambda i: None if i % 2 else CRPS[i])} == {"crp"}


def test_a_small_site_and_a_small_difference_are_no_finding():
    assert found(hospital=lambda i: "north" if i < 60 else "south", crp=lambda i: CRPS[i] * (10 if i < 60 else 1)) == []
    assert found(age=lambda i: AGES[i] + 2 * (i % 2)) == []


def test_without_a_column_of_sites_there_is_nothing_to_compare():
    assert found({name: how for name, how in COLUMNS.items() if name != "hospital"}) == []


def test_the_formula_is_the_monitors():
    from modelward_operator.domain.evidence import statistics

    assert statistics.drift_effect is drift_effect
