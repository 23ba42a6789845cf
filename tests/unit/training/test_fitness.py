"""Fitness of the data: age, maturity, size, classes, sites; statistics against scipy's."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from scipy.stats import binomtest

from modelward_training.data import fitness, rules
from modelward_training.data.validate import validate
from modelward_training.errors import InvalidInputError
from tests.support.harmonised import COLUMNS, NOW, ROWS, START, VALUES, declared, table

LAST = START + timedelta(days=ROWS - 1)


def validated(spec=None, now=NOW, **changes):
    spec = spec or declared()
    return validate(spec, table(spec, **changes), now)


def refusal(spec=None, now=NOW, **changes):
    with pytest.raises(InvalidInputError) as caught:
        validated(spec, now, **changes)
    return caught.value


@pytest.mark.parametrize(("limit", "fails"), [("26d", False), ("25d", True), ("1h", True)])
def test_data_whose_latest_row_is_too_old_fail(limit, fails):
    spec = declared(quality={"maxAge": limit})
    assert (NOW.replace(tzinfo=None) - LAST).days == 26
    if not fails:
        validated(spec, now=NOW)
        return
    error = refusal(spec)
    assert (error.reason, error.field) == ("DataTooOld", "spec.data.quality.maxAge")
    assert "is older than spec.data.quality.maxAge" in error.message
    assert "26" not in error.message


@pytest.mark.parametrize(
    ("quality", "told"), [({"minRows": 401}, "at least 401 rows"), ({"minEvents": 101}, "101 events")]
)
def test_too_few_rows_or_events_fail(quality, told):
    error = refusal(declared(quality=quality))
    assert error.reason == "TooFewRows"
    assert told in error.message
    assert "400 rows with 100 events" in error.message


def test_rows_whose_outcome_cannot_be_known_yet_are_excluded_and_counted_and_need_no_label():
    spec, told = declared(label={"horizon": "30d"}), []
    rows = table(spec, outcome=lambda i: None if i >= ROWS - 30 else VALUES["outcome"](i))
    found = validate(spec, rows, NOW, lambda _, tallies: told.extend(tallies))
    assert len(found.data) == ROWS - 30
    assert [(t.flag.rule, t.flag.effect, t.site, t.rows) for t in told] == [
        ("horizon", "excluded", "north", 15),
        ("horizon", "excluded", "south", 15),
    ]


def test_the_horizon_is_counted_from_the_time_of_the_extraction():
    later = (LAST + timedelta(days=10)).isoformat()
    assert len(validated(declared(label={"horizon": "30d", "extracted": later})).data) == ROWS - 20


@pytest.mark.parametrize(
    ("label", "reason"), [({"extracted": "31.01.2024"}, "InvalidTime"), ({"extracted": "2024-02-04Z"}, "InvalidTime"),
                          ({"extracted": "2024-02-05T00:00:00Z"}, "MixedOffsets")],
)  # fmt: skip
def test_the_time_of_the_extraction_is_one_as_the_column_has(label, reason):
    error = refusal(declared(label={"horizon": "30d", **label}))
    assert (error.reason, error.field) == (reason, "spec.data.label.extracted")


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"label": {"horizon": "30d"}}, "label.horizon"), ({"quality": {"maxAge": "30d"}}, "quality.maxAge")],
)
@pytest.mark.parametrize("time", [{"role": "context"}, {"kind": "numeric"}])
def test_lengths_of_time_need_a_column_of_timestamps(changes, field, time):
    error = refusal(declared(admitted=time, **changes), admitted=lambda i: float(i) if "kind" in time else START)
    assert (error.reason, error.field) == ("NoTimeColumn", f"spec.data.{field}")


def test_rows_from_the_future_are_told():
    found = validated(now=NOW - timedelta(days=60))
    [finding] = found.findings
    assert (finding.code, finding.column, finding.rows) == ("FutureValue", "admitted", 34)
    extracted = (LAST - timedelta(days=20)).isoformat()
    [finding] = validated(declared(label={"extracted": extracted})).findings
    assert (finding.code, finding.rows) == ("FutureValue", 20)


@pytest.mark.parametrize(("events", "rows"), [(0, 20), (1, 20), (7, 30), (20, 20), (300, 1000), (5, 100_000)])
def test_intervals_of_rates_are_those_of_scipy(events, rows):
    expected = binomtest(events, rows).proportion_ci(0.99, method="wilson")
    assert fitness.wilson(events, rows, fitness.SITE_Z) == pytest.approx((expected.low, expected.high), abs=1e-9)


def data(label, **changes):
    found = validated(**changes).data
    return replace(found, label=np.array([label(i) for i in range(len(found))], dtype=np.int8))


def test_a_rare_class_is_told():
    assert fitness.balance(data(lambda i: i % 4 == 0)) == []
    [finding] = fitness.balance(data(lambda i: i < 7))
    assert (finding.code, finding.rows, "are events" in finding.message) == ("ClassImbalance", 7, True)
    assert "without an event" in fitness.balance(data(lambda i: i >= 7))[0].message


def test_event_rates_by_site_have_intervals():
    rates = fitness.site_rates(data(lambda i: i % 4 == 0))
    assert [(rate.site, rate.rows, rate.events) for rate in rates] == [("north", 200, 0), ("south", 200, 100)]
    assert rates[1].lower < 0.5 < rates[1].upper


def labels_of(found):
    return found.label.copy()


@pytest.mark.parametrize(
    ("label", "told"),
    [
        (lambda i: i % 8 < 2, False),  # the same rate
        (lambda i: i % 8 < 2 or (i % 2 and i % 8 == 3 and i < 80), False),  # a little more: it may be chance
        (lambda i: i % 2 or i % 8 == 0, True),
        (lambda i: i % 2 == 0, True),  # each site has one class: coded the other way round
    ],
)
def test_sites_whose_event_rates_differ_are_told(label, told):
    found = data(label)
    findings = fitness.site_labels(found, labels_of(found))
    assert {finding.site for finding in findings} == ({"north", "south"} if told else set())
    assert {finding.code for finding in findings} <= {"SiteLabelDiffers"}


def test_a_site_that_never_uses_a_label_is_told():
    found = data(lambda i: i % 8 < 2)
    codes = np.array([1 if i % 8 < 2 else 2 if i % 8 < 4 and i % 2 else 3 for i in range(ROWS)])
    [finding] = fitness.site_labels(found, codes)
    assert (finding.site, "never uses" in finding.message) == ("south", True)


def test_many_rows_with_a_small_difference_between_sites_are_no_finding():
    rng = np.random.default_rng(0)
    found = validated().data.take(np.arange(200_000) % ROWS)
    rate = np.where(found.site[1] == found.site[1][0], 0.30, 0.33)
    found = replace(found, label=(rng.random(len(found)) < rate).astype(np.int8))
    assert fitness.site_labels(found, found.label) == []


def test_a_site_of_few_rows_is_not_judged():
    found = data(lambda i: i % 8 < 2, hospital=lambda i: "north" if i < 40 else "south")
    mixed = replace(found, label=np.where(np.arange(ROWS) < 40, 1, found.label))
    assert fitness.site_labels(mixed, mixed.label) == []


def test_features_with_one_value_or_hardly_any_are_told():
    spec = declared()
    found = validate(
        spec,
        table(
            spec,
            age=lambda i: 3.0,
            crp=lambda i: float(i) if i % 50 == 0 else None,
            smoker=lambda i: 1.0,
            sex=lambda i: "m",
        ),
        NOW,
    ).data
    findings = fitness.variety(found, rules.paths(spec.data))
    assert [(f.code, f.column, f.rows) for f in findings] == [
        ("ConstantFeature", "age", ROWS),
        ("NearlyEmpty", "crp", ROWS - 8),
        ("ConstantFeature", "smoker", ROWS),
        ("ConstantFeature", "sex", ROWS),
    ]
    assert findings[0].field == "spec.data.columns[0]"


def test_without_sites_nothing_is_said_about_them():
    spec = declared({name: how for name, how in COLUMNS.items() if name != "hospital"})
    found = validate(spec, table(spec), NOW)
    assert fitness.site_rates(found.data) == ()
    assert fitness.site_labels(found.data, found.labels) == []
