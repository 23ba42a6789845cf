"""Declared rules over harmonised rows: what is set aside, what fails, and what is counted."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from modelward_training.data.validate import validate
from modelward_training.errors import InvalidInputError
from tests.support.harmonised import COLUMNS, NOW, ROWS, START, VALUES, declared, table


def validated(spec=None, **changes):
    spec = spec or declared()
    return validate(spec, table(spec, **changes), NOW)


def refusal(spec=None, **changes):
    with pytest.raises(InvalidInputError) as caught:
        validated(spec, **changes)
    return caught.value


def counted(spec=None, **changes):
    """The rows that were read, by site, and what each rule counted, also if the data are refused."""
    spec, told = spec or declared(), []
    with suppress(InvalidInputError):
        validate(spec, table(spec, **changes), NOW, lambda rows, tallies: told.append((rows, tallies)))
    [(rows, tallies)] = told
    return rows, [(t.flag.rule, t.flag.column, t.flag.effect, t.site, t.rows) for t in tallies]


def test_rows_that_hold_what_is_declared_all_remain_as_serving_receives_them():
    found = validated()
    assert (len(found.data), found.findings) == (ROWS, ())
    assert {name: values.dtype for name, values in found.data.columns.items()} == {
        "age": np.float32,
        "crp": np.float32,
        "smoker": np.float32,
        "sex": object,
    }
    assert found.data.columns["age"].tolist() == [VALUES["age"](i) for i in range(ROWS)]
    assert np.isnan(found.data.columns["crp"]).sum() == ROWS / 10
    assert found.data.columns["sex"].tolist() == [VALUES["sex"](i) for i in range(ROWS)]
    assert found.data.breakdowns["hospital"].tolist() == [VALUES["hospital"](i) for i in range(ROWS)]
    assert found.data.label.tolist() == [int(VALUES["outcome"](i) == "dead") for i in range(ROWS)]
    assert found.data.time.dtype == np.dtype("datetime64[us]")
    assert len(np.unique(found.data.group)) == ROWS / 2
    assert counted() == ({"north": ROWS // 2, "south": ROWS // 2}, [])


def some(i):
    """Rows 40 to 59: enough to be told exactly, half of them at each site."""
    return 40 <= i < 60


def instead(column, value):
    return {column: lambda i: value if some(i) else VALUES[column](i)}


BROKEN = {
    "a missing value": ({}, instead("age", None), "MissingValues", "columns[0].nullable", "is missing in 20 of 400 rows"),
    "infinity": ({}, instead("age", float("inf")), "WrongKind", "columns[0].kind", "is not a number in 20 of 400 rows"),
    "no number": ({}, instead("age", float("nan")), "WrongKind", "columns[0].kind", "is not a number in 20 of 400 rows"),
    "beyond float32": ({}, instead("age", 1e39), "TooLarge", "columns[0]", "the limit of float32, in 20 of 400 rows"),
    "no integer": ({"age": {"kind": "integer"}}, instead("age", 0.5), "WrongKind", "columns[0].kind", "not an integer"),
    "a category": ({}, instead("sex", "x"), "UnknownCategory", "columns[3].allowedValues", "in 20 of 400 rows"),
    "no site": ({}, instead("hospital", None), "MissingValues", "columns[7].nullable", "in 20 of 400 rows"),
    "no patient": ({}, instead("patient", None), "MissingValues", "columns[4].nullable", "in 20 of 400 rows"),
    "no time": ({}, instead("admitted", None), "MissingValues", "columns[5]", "with the role time is missing in 20"),
    "one number twice": (
        {"patient": {"unique": True}},
        {"patient": lambda i: f"p{i - i % 2 if some(i) else i}"},
        "DuplicateKey",
        "columns[4].unique",
        "other rows have as well in 20 of 400 rows",
    ),
    "a key twice": (
        {"quality": {"key": ["patient", "admitted"]}},
        {"admitted": lambda i: START + timedelta(days=i - i % 2 if some(i) else i)},
        "DuplicateKey",
        "quality.key",
        "it repeats in 20 of 400 rows",
    ),
    "a time that decreases": (
        {"admitted": {"increasing": True}},
        {"admitted": lambda i: START + timedelta(days=i - 2 * (i % 2) if 40 <= i < 80 else i)},
        "NotIncreasing",
        "columns[5].increasing",
        "decreases in 20 of 400 rows",
    ),
    "a rule": (
        {"quality": {"rules": [{"name": "stay", "check": "discharged >= admitted"}]}},
        {"discharged": lambda i: START + timedelta(days=i - 1 if some(i) else i)},
        "RuleBroken",
        "quality.rules[0].check",
        "rule stay does not hold in 20 of 400 rows",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "rows", "reason", "field", "told"), BROKEN.values(), ids=BROKEN.keys())
def test_rows_that_break_a_rule_fail_the_job_with_the_rule_its_field_and_a_remedy(changes, rows, reason, field, told):
    error = refusal(declared(**changes), **rows)
    assert (error.reason, error.field) == (reason, f"spec.data.{field}")
    assert told in error.message
    assert re.search(r"first in row \d+: \w+", error.message)


@pytest.mark.parametrize(("changes", "rows", "reason", "field", "told"), BROKEN.values(), ids=BROKEN.keys())
def test_rows_that_break_a_rule_are_set_aside_and_counted_by_rule_and_site(changes, rows, reason, field, told):
    quality = {**changes.get("quality", {}), "maxQuarantined": 0.05}
    found = validated(declared(**{**changes, "quality": quality}), **rows)
    assert len(found.data) == ROWS - 20
    tallies = counted(declared(**changes), **rows)[1]
    assert sum(count for _, _, effect, _, count in tallies if effect == "breaks") == 20
    assert len({(rule, column) for rule, column, *_ in tallies}) == 1
    [finding] = [finding for finding in found.findings if finding.code == "RowsQuarantined"]
    assert (finding.rows, finding.field) == (20, f"spec.data.{field}")
    assert "20" not in finding.message


UNUSABLE = {
    "categories of numbers": ({"age": {"allowedValues": ["40"]}}, "WrongKind", "columns[0].allowedValues"),
    "a category twice": ({"sex": {"allowedValues": ["f", "m", "f"]}}, "InvalidSpec", "columns[3].allowedValues"),
    "two times": ({"discharged": {"role": "time"}}, "InvalidSpec", "columns[6].role"),
    "two groups": ({"sex": {"role": "group"}}, "InvalidSpec", "columns[4].role"),
    "two sites": ({"sex": {"role": "site"}}, "InvalidSpec", "columns[7].role"),
    "two labels": ({"smoker": {"role": "label"}}, "InvalidSpec", "columns[8].role"),
    "a label to ignore": ({"outcome": {"role": "ignore"}}, "InvalidSpec", "label.column"),
    "a label as context": ({"outcome": {"role": "context"}}, "InvalidSpec", "label.column"),
}


@pytest.mark.parametrize(("changes", "reason", "field"), UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_declaration_that_contradicts_itself_is_refused_with_its_field(changes, reason, field):
    spec = declared(**changes)
    with pytest.raises(InvalidInputError) as caught:
        validate(spec, table(declared()), NOW)
    assert (caught.value.reason, caught.value.field) == (reason, f"spec.data.{field}")


def test_counts_are_told_by_site():
    _, tallies = counted(sex=lambda i: "x" if 0 < i < 40 and i % 2 else VALUES["sex"](i))
    assert tallies == [("allowed", "sex", "breaks", "north", 20)]


def test_a_site_that_is_not_declared_is_counted_without_its_name():
    rows, tallies = counted(hospital=lambda i: "MARK" if some(i) else VALUES["hospital"](i))
    assert rows == {None: 20, "north": 190, "south": 190}
    assert tallies == [("allowed", "hospital", "breaks", None, 20)]


def test_more_broken_rows_than_may_be_set_aside_fail_with_the_worst_rule():
    spec = declared(quality={"maxQuarantined": 0.05})
    error = refusal(spec, **instead("age", None), sex=lambda i: "x" if i < 100 else VALUES["sex"](i))
    assert (error.reason, error.field) == ("UnknownCategory", "spec.data.columns[3].allowedValues")
    assert "in 100 of 400 rows" in error.message
    assert "Some rule is broken by 100 of 400 rows, more than the fraction 0.05" in error.message


def test_a_row_that_breaks_two_rules_is_set_aside_once():
    spec = declared(quality={"maxQuarantined": 0.05})
    found = validated(spec, **instead("age", None), **instead("sex", "x"))
    assert len(found.data) == ROWS - 20
    assert [(finding.column, finding.rows) for finding in found.findings] == [("age", 20), ("sex", 20)]


def test_a_few_rows_are_not_told_exactly():
    error = refusal(age=lambda i: None if i == 6 else VALUES["age"](i))
    assert "fewer than 11 of 400 rows, first in row 7" in error.message


def test_all_rows_set_aside_are_refused():
    spec = declared(quality={"maxQuarantined": 1.0})
    error = refusal(spec, sex=lambda i: "x")
    assert (error.reason, error.field) == ("NoRowsLeft", "spec.data.columns[3].allowedValues")


@pytest.mark.parametrize(
    ("outcome", "reason"), [("dea", "UnknownLabel"), ("Dead", "UnknownLabel"), (None, "MissingLabel")]
)
def test_a_row_without_a_declared_label_fails_however_many_may_be_set_aside(outcome, reason):
    spec = declared(quality={"maxQuarantined": 1.0})
    error = refusal(spec, outcome=lambda i: outcome if i == 3 else VALUES["outcome"](i))
    assert error.reason == reason
    assert "row 4" in error.message
    assert "quality.cohort" in error.message


def test_rows_are_excluded_by_a_cohort_with_a_name_before_their_rules_are_checked():
    conditions = [{"name": "decided", "where": "outcome <> 'moved'"}, {"name": "adult", "where": "age >= 45"}]
    spec, rows = (
        declared(quality={"cohort": conditions}),
        {
            "outcome": lambda i: "moved" if some(i) else VALUES["outcome"](i),
            "age": lambda i: 17.0 if 100 <= i < 140 else 60.0 + i % 9,
            "crp": lambda i: float("inf") if 100 <= i < 140 else VALUES["crp"](i),
        },
    )
    assert len(validated(spec, **rows).data) == ROWS - 20 - 40
    assert counted(spec, **rows)[1] == [
        ("cohort", "decided", "excluded", "north", 10),
        ("cohort", "decided", "excluded", "south", 10),
        ("cohort", "adult", "excluded", "north", 20),
        ("cohort", "adult", "excluded", "south", 20),
    ]


def test_unknown_is_not_in_the_cohort_but_a_value_that_cannot_be_read_is_an_error():
    spec = declared(quality={"cohort": [{"name": "adult", "where": "age >= 18"}]})
    assert len(validated(spec, **instead("age", None)).data) == ROWS - 20
    error = refusal(spec, **instead("age", None), unread={"age": some})
    assert (error.reason, "is not a number in 20 of 400 rows" in error.message) == ("WrongKind", True)


def test_a_cohort_of_nobody_is_refused():
    error = refusal(declared(quality={"cohort": [{"name": "old", "where": "age > 400"}]}))
    assert (error.reason, error.field) == ("NoRowsLeft", "spec.data.quality.cohort")


@pytest.mark.parametrize(
    ("quality", "field"),
    [
        ({"cohort": [{"name": "a", "where": "agee > 1"}]}, "quality.cohort[0].where"),
        ({"rules": [{"name": "a", "check": "age > 1"}, {"name": "b", "check": "age >"}]}, "quality.rules[1].check"),
    ],
)
def test_a_predicate_that_cannot_be_used_is_refused_with_its_field(quality, field):
    error = refusal(declared(quality=quality))
    assert (error.reason, error.field) == ("InvalidRule", f"spec.data.{field}")


@pytest.mark.parametrize("key", ["ghost", "note"])
def test_a_key_of_a_column_that_is_not_read_is_refused(key):
    spec = declared(quality={"key": [key]}, note={"kind": "categorical", "role": "ignore"})
    error = refusal(spec)
    assert (error.reason, error.field) == ("UnknownColumn", "spec.data.quality.key[0]")


def test_a_missing_part_of_a_key_is_a_value_and_a_key_without_any_is_not_compared():
    spec = declared(quality={"key": ["patient", "crp"]}, patient={"nullable": True})

    def nobody(i):
        return None if i < 60 else f"p{i}"

    error = refusal(spec, patient=lambda i: "p1" if i < 20 else nobody(i), crp=lambda i: None if i < 20 else float(i))
    assert (error.reason, "in 20 of 400 rows" in error.message) == ("DuplicateKey", True)
    assert len(validated(spec, patient=nobody, crp=lambda i: None if i < 60 else float(i)).data) == ROWS


def test_a_column_increases_within_its_group_and_skips_missing_values():
    spec = declared(crp={"increasing": True})
    assert len(validated(spec, crp=lambda i: None if i % 10 == 0 else float(i % 2)).data) == ROWS
    without = {name: how for name, how in COLUMNS.items() if name != "patient"}
    assert refusal(declared(without, crp={"increasing": True}), crp=lambda i: float(i % 2)).reason == "NotIncreasing"
    gap = {"patient": lambda i: "p", "crp": lambda i: {0: 5.0, 1: None, 2: 4.0}.get(i, 10.0 + i)}
    assert "row 3" in refusal(spec, **gap).message


def test_patients_without_a_number_are_patients_of_their_own():
    found = validated(declared(patient={"nullable": True}), **instead("patient", None))
    assert len(np.unique(found.data.group)) == (ROWS - 20) / 2 + 20


def test_values_outside_the_range_are_told_and_stay():
    spec = declared(age={"range": {"minimum": 18, "maximum": 60}})
    found = validated(spec, **instead("age", 17.5))
    assert len(found.data) == ROWS
    [finding] = found.findings
    outside = sum(not 18 <= (17.5 if some(i) else VALUES["age"](i)) <= 60 for i in range(ROWS))
    assert (finding.code, finding.column, finding.rows) == ("BeyondRange", "age", outside)
    assert sum(count for *_, count in counted(spec, **instead("age", 17.5))[1]) == outside


def test_repeated_rows_are_told():
    def first(column):
        return lambda i: VALUES[column](i - 20 if some(i) else i)

    found = validated(**{name: first(name) for name in VALUES})
    assert [(f.code, f.severity, f.rows) for f in found.findings] == [("DuplicateRow", "warning", 20)]
    others = {name: first(name) for name in VALUES if name != "patient"}
    assert [(f.code, f.rows) for f in validated(**others).findings] == [("DuplicateGroup", 20)]


def test_times_with_an_offset_are_told_apart_from_local_ones():
    spec = declared()
    rows = table(spec)
    in_utc = rows.frame.with_columns(pl.col("admitted", "discharged").dt.replace_time_zone("UTC"))
    found = validate(spec, type(rows)(in_utc, rows.flags, rows.digest), NOW)
    assert found.data.has_offset
    assert found.data.time.dtype == np.dtype("datetime64[us]")
    assert not validated().data.has_offset
