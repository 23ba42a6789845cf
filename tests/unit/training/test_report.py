"""The report on the data: what it shows, and what it withholds."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from modelward_api.resources.columns import Column
from modelward_api.resources.reasons import FindingCode, Reason
from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_training.data.dataset import Dataset
from modelward_training.data.findings import Finding
from modelward_training.data.frame import Flag, Tally
from modelward_training.errors import InvalidInputError
from modelward_training.report.page import page
from modelward_training.report.published import alone, published
from modelward_training.report.summary import Facts, summarise

ROWS = 300
SPEC = TrainingJobSpec.model_validate(
    {
        "model": "mortality",
        "version": "1.0.0",
        "data": {
            "sources": [{"uri": "store://v.csv"}],
            "columns": [{"name": "age", "kind": "numeric"}, {"name": "died", "kind": "boolean", "role": "label"}],
            "label": {"column": "died", "positive": "1"},
        },
        "output": {"uri": "store://models"},
    }
)
FLAG = Flag("temperature", "unit", "changed", "spec.data.sites[0].columns[0].unit")


def dataset() -> Dataset:
    """Three sites of 150, 145 and 5 rows, of which the smallest must not be seen."""
    rng = np.random.default_rng(3)
    site = np.array(["north"] * 150 + ["south"] * 145 + ["islet"] * 5, dtype=object)
    age = rng.integers(20, 95, ROWS).astype(float)
    age[:4] = np.nan
    return Dataset(
        features=(Column(name="age", kind="numeric", unit="a"), Column(name="sex", kind="categorical")),
        columns={"age": age, "sex": rng.choice(np.array(["MARKf", "MARKm"], dtype=object), ROWS)},
        label=rng.integers(0, 2, ROWS),
        time=np.datetime64("2020-01-01", "us") + rng.integers(0, 700, ROWS) * np.timedelta64(1, "D"),
        group=None,
        breakdown_columns=(
            Column(name="site", kind="categorical", role="site", allowed_values=("north", "south", "islet")),
        ),
        breakdowns={"site": site},
    )


def facts(**changes) -> Facts:
    data = dataset()
    found = [
        Finding(FindingCode.CLASS_IMBALANCE, "info", "one class is rare", "spec.data.label"),
        Finding(
            FindingCode.SUSPECTED_UNIT, "error", "values fit [degF]", "spec.data.columns[0].unit", "age", "north", 140
        ),
        Finding(FindingCode.BEYOND_RANGE, "warning", "outside", "spec.data.columns[0].range", "age", None, 3),
    ]
    known = Facts(
        rows={"north": 150, "south": 145, "islet": 5},
        tallies=(Tally(FLAG, "north", 148), Tally(FLAG, "islet", 5), Tally(FLAG, "south", 0)),
        findings=found,
        data=data,
        parts={"training": data.take(np.arange(0, ROWS, 2)), "test": data.take(np.arange(1, ROWS, 2))},
    )
    return replace(known, **changes)


@pytest.mark.parametrize("counts", [[150, 145, 5], [3], [20, 4, 7], [0, 9, 40], [12, 12, 12], [100, 11, 1, 1]])
def test_neither_a_small_count_nor_its_difference_from_the_total_is_published(counts):
    shown = published(dict(enumerate(counts)))
    hidden = sum(counts[i] for i, rows in shown.items() if rows is None)
    assert all(rows is None or rows == 0 or (rows >= 10 and rows % 10 == 0) for rows in shown.values())
    assert all(shown[i] is None for i, count in enumerate(counts) if 0 < count <= 10)
    assert sum(counts) <= 10 or not 0 < hidden <= 10


@pytest.mark.parametrize(("count", "told"), [(0, 0), (1, None), (10, None), (11, 10), (14, 10), (15, 20), (1234, 1230)])
def test_a_count_alone_is_told_in_tens(count, told):
    assert alone(count) == told


def test_the_worst_finding_comes_first():
    assert [found.code for found in summarise(SPEC, facts()).findings] == [
        "SuspectedUnit",
        "BeyondRange",
        "ClassImbalance",
    ]


def test_few_rows_are_withheld_wherever_they_stand():
    report = summarise(SPEC, facts())
    assert {entry.site: entry.rows for entry in report.rows} == {"north": 150, "south": None, "islet": None}
    assert [(entry.site, entry.rows) for entry in report.rules[0].sites] == [("north", 150), ("islet", None)]
    assert report.findings[1].rows is None
    islet = next(entry for entry in report.columns[0].sites if entry.site == "islet")
    assert all(count in (None, 0) for count in (*islet.counts, islet.missing))


@pytest.mark.parametrize(
    ("times", "named"),
    [
        ([2019] * 100 + [2020] * 189 + [2021] * 11, ["2019", "2020", "2021"]),
        ([2019] * 100 + [2020] * 199 + [4711], []),
        (list(range(ROWS)), []),
    ],
)
def test_numeric_times_are_named_only_if_no_period_has_few_rows(times, named):
    data = replace(dataset(), time=np.array(times, dtype=np.float32))
    assert [entry.period for entry in summarise(SPEC, facts(data=data)).time] == named


def test_the_first_and_the_last_period_are_not_named_if_their_rows_are_withheld():
    days = ["2019-01-05"] * 6 + ["2019-05-05"] * 140 + ["2019-06-05"] * 4 + ["2019-07-05"] * 144 + ["2019-12-05"] * 6
    data = replace(dataset(), time=np.array(days, dtype="datetime64[us]"))
    shown = [(entry.period, entry.rows) for entry in summarise(SPEC, facts(data=data)).time]
    assert shown == [("2019-05", 140), ("2019-06", None), ("2019-07", 140)]


def test_categories_that_are_not_declared_are_data_and_are_not_named():
    text = summarise(SPEC, facts()).model_dump_json()
    assert "MARK" not in text
    assert "category 1" in text


def test_a_job_that_failed_early_reports_what_it_has():
    error = InvalidInputError(Reason.TOO_FEW_ROWS, "too few rows", "spec.data.sources")
    report = summarise(SPEC, Facts(rows={None: 40}), error)
    assert (report.outcome, report.reason, report.message) == ("refused", "TooFewRows", "too few rows")
    assert "refused" in page(report)


class Elements(HTMLParser):
    """The tags of a page, and addresses that it would load."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loads: list[str] = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "link", "br", "img"):
            self.open.append(tag)
        self.loads += [value for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing():
    elements = Elements()
    elements.feed(page(summarise(SPEC, facts())))
    assert (elements.open, elements.loads) == ([], [])


def test_what_was_declared_cannot_become_markup():
    hostile = Finding(FindingCode.NEARLY_EMPTY, "warning", "<script>alert(1)</script>", "spec.data.columns[0]")
    assert "<script>" not in page(summarise(SPEC, facts(findings=[hostile])))


def test_equal_facts_give_equal_pages():
    assert page(summarise(SPEC, facts())) == page(summarise(SPEC, facts()))


def test_the_report_is_read_back_as_it_was_written():
    report = summarise(SPEC, facts())
    assert type(report).model_validate(json.loads(json.dumps(report.to_json()))) == report
