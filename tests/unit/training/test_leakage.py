"""Leakage: the target among the features, what is known too late, and patients on both sides of a split."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from modelward_api.resources.reasons import FindingCode
from modelward_training.data import leakage, rules
from modelward_training.data.findings import Finding, require_allowed, warnings
from modelward_training.data.split import split
from modelward_training.data.validate import validate
from modelward_training.errors import InvalidInputError
from tests.support.harmonised import NOW, ROWS, START, VALUES, declared, table


def found(spec=None, **changes):
    spec = spec or declared()
    validated = validate(spec, table(spec, **changes), NOW)
    return leakage.features(validated.data, validated.labels, rules.paths(spec.data), 0)


def is_dead(i):
    return VALUES["outcome"](i) == "dead"


COPIES = {
    "a number": {"age": lambda i: 1.0 if is_dead(i) else 0.0},
    "recoded": {"age": lambda i: 17.0 if is_dead(i) else 170.0},
    "a boolean": {"smoker": lambda i: float(not is_dead(i))},
    "a category": {"sex": lambda i: "fm"[is_dead(i)]},
    "present for one class": {"crp": lambda i: float(i) if is_dead(i) else None},
    "one value that is there for one class": {"crp": lambda i: 1.0 if is_dead(i) else None},
}


@pytest.mark.parametrize("changes", COPIES.values(), ids=COPIES.keys())
def test_a_copy_of_the_target_is_found_whatever_it_is_called(changes):
    [finding] = found(**changes)
    assert (finding.code, finding.severity, finding.column) == ("TargetCopy", "error", next(iter(changes)))
    assert finding.field.startswith("spec.data.columns[")


def test_a_copy_of_a_label_with_several_values_is_found():
    outcomes = ["dead", "home", "moved", "home"]
    spec = declared(
        outcome={"allowedValues": ["dead", "home", "moved"]}, ward={"kind": "categorical", "allowedValues": list("abc")}
    )
    changes = {"outcome": lambda i: outcomes[i % 4], "ward": lambda i: "abcb"[i % 4]}
    assert [(f.code, f.column) for f in found(spec, **changes)] == [("TargetCopy", "ward")]


def nearly(i):
    return is_dead(i) != (i % 200 == 1)


NEAR = {
    "numbers that a threshold separates": (lambda i: 60.0 + i / ROWS if is_dead(i) else 50.0 + i / ROWS, "AUROC 1.0"),
    "and the other way round": (lambda i: 40.0 + i / ROWS if is_dead(i) else 50.0 + i / ROWS, "AUROC 1.0"),
    "numbers that nearly do": (lambda i: (60.0 if nearly(i) else 50.0) + i / ROWS, "above 0.99"),
}


@pytest.mark.parametrize(("values", "told"), NEAR.values(), ids=NEAR.keys())
def test_a_number_that_nearly_separates_the_classes_is_found(values, told):
    [finding] = found(age=values)
    assert (finding.code, finding.severity, finding.column) == ("NearPerfectFeature", "warning", "age")
    assert told in finding.message


def test_a_category_that_nearly_separates_the_classes_is_found():
    spec = declared(ward={"kind": "categorical"})
    [finding] = found(spec, ward=lambda i: "abcdefgh"[i % 3 + (4 if is_dead(i) else 0)])
    assert (finding.code, finding.column) == ("NearPerfectFeature", "ward")


def test_missing_values_that_nearly_separate_the_classes_are_found():
    [finding] = found(crp=lambda i: float(i % 17) if nearly(i) else None)
    assert (finding.code, finding.column) == ("NearPerfectFeature", "crp")


def test_a_category_with_a_value_for_each_few_rows_is_no_leak_for_that():
    spec = declared(ward={"kind": "categorical"})
    rng = np.random.default_rng(0)
    wards = [f"w{ward}" for ward in rng.integers(0, 200, ROWS)]
    assert found(spec, ward=lambda i: wards[i]) == []


def test_of_many_rows_some_of_each_class_are_enough(monkeypatch):
    monkeypatch.setattr(leakage, "MAX_CLASS_ROWS", 30)
    [copy] = found(smoker=lambda i: float(is_dead(i)))
    [near] = found(age=lambda i: (60.0 if is_dead(i) else 50.0) + i / ROWS)
    assert (copy.code, near.code) == ("TargetCopy", "NearPerfectFeature")
    assert found() == []


def test_a_useful_feature_is_no_leak():
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1, ROWS)
    assert found(age=lambda i: 60.0 + 2 * is_dead(i) + noise[i]) == []


@pytest.mark.parametrize("seed", range(3))
def test_the_area_is_that_of_scikit_learn_with_ties(seed):
    rng = np.random.default_rng(seed)
    score, label = rng.integers(0, 12, 500).astype(float), rng.integers(0, 2, 500)
    assert leakage.auroc(score, label) == pytest.approx(roc_auc_score(label, score), abs=1e-12)


def test_a_feature_that_is_known_only_with_the_outcome_is_found():
    spec = declared(crp={"availableAt": "outcome"})
    [finding] = validate(spec, table(spec), NOW).findings
    assert (finding.code, finding.column, finding.field) == (
        "KnownAfterOutcome",
        "crp",
        "spec.data.columns[1].availableAt",
    )


def test_a_feature_that_is_known_after_the_time_of_the_row_is_found():
    spec = declared(crp={"availableAt": "discharged"})
    changes = {"discharged": lambda i: None if i < 9 else START + timedelta(days=i + (1 if 40 <= i < 60 else -1))}
    [finding] = validate(spec, table(spec, **changes), NOW).findings
    assert (finding.code, finding.column, finding.rows) == ("KnownAfterOutcome", "crp", 20)


def test_a_feature_that_is_a_time_is_refused():
    spec = declared(discharged={"role": "feature"})
    with pytest.raises(InvalidInputError, match="cannot be a feature: derive another column") as caught:
        validate(spec, table(spec), NOW)
    assert (caught.value.reason, caught.value.field.rpartition(".")[2]) == ("WrongKind", "kind")


@pytest.mark.parametrize("column", ["ghost", "age"])
def test_the_time_from_which_a_feature_is_known_is_a_column_of_timestamps(column):
    spec = declared(crp={"availableAt": column})
    with pytest.raises(InvalidInputError) as caught:
        validate(spec, table(spec), NOW)
    assert (caught.value.reason, caught.value.field) == ("UnknownColumn", "spec.data.columns[1].availableAt")


def test_a_patient_on_both_sides_of_a_split_is_found():
    spec = declared()
    data = validate(spec, table(spec, patient=lambda i: f"p{i % 390}"), NOW).data
    [finding] = leakage.both_parts(split(spec.split, data).by_name)
    assert (finding.code, finding.rows) == ("GroupInBothParts", 20)
    by_group = declared(split={"method": "group"})
    assert leakage.both_parts(split(by_group.split, data).by_name) == []
    assert leakage.both_parts(split(spec.split, replace(data, group=None)).by_name) == []


def test_a_forbidden_finding_fails_with_its_field_and_the_others_are_warnings():
    findings = (
        Finding(
            FindingCode.NEARLY_EMPTY,
            "warning",
            "column a is nearly empty: ignore it",
            "spec.data.columns[0]",
            "a",
            rows=5,
        ),
        Finding(FindingCode.TARGET_COPY, "error", "feature b is a copy: ignore it", "spec.data.columns[1]", "b"),
        Finding(FindingCode.DUPLICATE_ROW, "info", "rows repeat", "spec.data.sources", rows=30),
    )
    with pytest.raises(InvalidInputError) as caught:
        require_allowed(findings, (FindingCode.TARGET_COPY, FindingCode.FUTURE_VALUE))
    assert (caught.value.reason, caught.value.field) == ("ForbiddenFinding", "spec.data.columns[1]")
    assert "spec.data.quality.forbid" in caught.value.message
    require_allowed(findings, (FindingCode.FUTURE_VALUE,))
    assert warnings(findings, 80) == [
        "feature b is a copy: ignore it",
        "column a is nearly empty: ignore it (fewer than 11 of 80 rows)",
    ]
