"""Training data that would give a wrong model silently: it is refused, with the fault, its place and a remedy."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from modelward_training.data.harmonise import harmonise
from modelward_training.data.sources import read
from modelward_training.data.split import split
from modelward_training.data.validate import validate, validate_variation
from modelward_training.errors import InvalidInputError
from tests.support.training_rows import HEAD, ROWS, rows, spec, text

NOW = datetime(2024, 1, 1, tzinfo=UTC)


def prepared(folder, content, wanted):
    (folder / "data.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    rows = harmonise(wanted.data, read(wanted.data, f"file://{folder}"))
    parts = split(wanted.split, validate(wanted, rows, NOW).data)
    validate_variation(wanted, parts.training)
    return parts.training, parts.test


def refusal(folder, content, wanted):
    with pytest.raises(InvalidInputError) as caught:
        prepared(folder, content, wanted)
    return caught.value


def test_the_rows_as_they_are_can_be_trained_on(tmp_path):
    train, test = prepared(tmp_path, text(rows()), spec())
    assert (len(train), len(test)) == (60, 20)


OPEN = {"allowedValues": []}


@pytest.mark.parametrize(
    ("label", "changes", "field"),
    [
        (lambda i: "dea" if i == 5 else "dead" if i % 4 == 0 else "live", {}, "columns[3].allowedValues"),
        (
            lambda i: "dea" if i == 5 else "dead" if i % 4 == 0 else "live",
            {"outcome": OPEN},
            "columns[3].allowedValues",
        ),
        (
            lambda i: "Dead" if i == 8 else "dead" if i % 4 == 0 else "live",
            {"outcome": OPEN},
            "columns[3].allowedValues",
        ),
        (
            lambda i: "9" if i == 5 else str(int(i % 4 == 0)),
            {"outcome": {**OPEN, "kind": "integer"}, "positive": "1"},
            "columns[3].allowedValues",
        ),
        (
            lambda i: "9" if i == 5 else str(int(i % 4 == 0)),
            {"outcome": {**OPEN, "kind": "boolean"}, "positive": "1"},
            "columns[3].kind",
        ),
        (
            lambda i: str(int(i % 4 == 0)),
            {"outcome": {**OPEN, "kind": "integer"}, "positive": "dead"},
            "label.positive",
        ),
    ],
)
def test_a_label_that_is_neither_the_positive_nor_a_negative_is_refused(tmp_path, label, changes, field):
    error = refusal(tmp_path, text(rows(outcome=label)), spec(**changes))
    assert error.reason in ("UnknownLabel", "WrongKind")
    assert error.field.endswith(field)
    assert "'9'" not in error.message
    assert "dea " not in error.message


def test_all_declared_values_but_the_positive_are_negatives(tmp_path):
    values = ["dead", "home", "transferred", "home"]
    wanted = spec(outcome={"allowedValues": ["dead", "home", "transferred"]})
    train, test = prepared(tmp_path, text(rows(outcome=lambda i: values[i % 4])), wanted)
    assert train.label.sum() + test.label.sum() == ROWS / 4


@pytest.mark.parametrize(
    ("kind", "positive", "values"),
    [("boolean", "true", ["1", "no"]), ("integer", "1", ["1.0", "0"]), ("categorical", "1", ["1", "0"])],
)
def test_a_label_is_compared_as_its_kind_is(tmp_path, kind, positive, values):
    wanted = spec(outcome={"kind": kind, **OPEN}, positive=positive)
    train, test = prepared(tmp_path, text(rows(outcome=lambda i: values[i % 4 > 0])), wanted)
    assert train.label.sum() + test.label.sum() == ROWS / 4


STAMP = {"kind": "timestamp"}


@pytest.mark.parametrize(
    "when", [lambda i: f"{i % 28 + 1:02d}.03.{2000 + i}", lambda i: "soon" if i == 6 else "2016-01-01"]
)
def test_a_timestamp_that_is_not_iso_8601_is_refused_with_its_row(tmp_path, when):
    error = refusal(tmp_path, text(rows(when=when)), spec(when=STAMP))
    assert (error.reason, error.field) == ("InvalidTime", "spec.data.columns[2]")
    assert ("row 1:" in error.message) != ("row 7:" in error.message)
    assert "soon" not in error.message
    assert ".03." not in error.message


def test_times_with_and_without_an_offset_are_not_compared(tmp_path):
    def when(i):
        return f"20{i:02d}-01-01T00:00:00" + ("Z" if i == 3 else "")

    error = refusal(tmp_path, text(rows(when=when)), spec(when=STAMP))
    assert error.reason == "MixedOffsets"
    assert "fewer than 11 of 80 rows" in error.message


def test_a_split_by_time_sorts_instants_and_not_texts(tmp_path):
    """By their texts the first half would be the later one."""

    def when(i):
        return (
            f"2016-01-01T{12 + i // 8:02d}:{i % 8:02d}:00+14:00" if i < ROWS / 2 else f"2016-01-01T0{i % 8}:00:00-10:00"
        )

    train, test = prepared(tmp_path, text(rows(when=when)), spec(when=STAMP, split={"testFraction": 0.5}))
    assert train.time.max() < test.time.min()
    assert (len(train), len(test)) == (40, 40)
    assert train.time.max() < np.datetime64("2016-01-01T05:00")


@pytest.mark.parametrize("form", ["%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y%m%d"])
def test_iso_8601_of_any_precision_is_a_time(tmp_path, form):
    def when(i):
        return np.datetime64(f"{2000 + i // 4}-01-01").astype(object).strftime(form.replace("%H:%M", "00:00"))

    train, test = prepared(tmp_path, text(rows(when=when)), spec(when=STAMP, split={"testFrom": "2015"}))
    assert (len(train), len(test)) == (60, 20)


@pytest.mark.parametrize(("start", "reason"), [("01.04.2015", "InvalidTime"), ("2015-04-01T00:00:00Z", "MixedOffsets")])
def test_the_start_of_the_test_part_is_a_time_as_the_column_has(tmp_path, start, reason):
    wanted = spec(when=STAMP, split={"testFrom": start})
    error = refusal(tmp_path, text(rows(when=lambda i: f"{2000 + i // 4}-01-01")), wanted)
    assert (error.reason, error.field) == (reason, "spec.split.testFrom")


def test_a_time_that_is_a_category_would_sort_as_text_and_is_refused(tmp_path):
    error = refusal(tmp_path, text(rows()), spec(when={"kind": "categorical"}))
    assert (error.reason, error.field) == ("WrongKind", "spec.data.columns[2].kind")


def parquet(**columns):
    buffer = io.BytesIO()
    found = dict(zip(HEAD, zip(*rows(), strict=True), strict=True))
    pl.DataFrame({name: columns.get(name, list(values)) for name, values in found.items()}).write_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(("zone", "has_offset"), [(None, False), ("UTC", True), ("Europe/Berlin", True)])
def test_timestamps_of_parquet_are_times(tmp_path, zone, has_offset):
    moments = pl.Series([datetime(2000, 1, 1) + timedelta(hours=i) for i in range(ROWS)], dtype=pl.Datetime("ns"))
    content = parquet(when=moments if zone is None else moments.dt.replace_time_zone(zone))
    train, test = prepared(tmp_path, content, spec("parquet", when=STAMP))
    assert (len(train), len(test), train.has_offset) == (60, 20, has_offset)


def test_lists_in_parquet_are_refused(tmp_path):
    error = refusal(tmp_path, parquet(age=[[1]] * ROWS), spec("parquet"))
    assert (error.reason, error.field) == ("WrongKind", "spec.data.columns[0].kind")


def test_two_columns_of_one_name_are_refused(tmp_path):
    error = refusal(tmp_path, text([[*row, row[0]] for row in rows()], [*HEAD, "age"]), spec())
    assert (error.reason, error.field) == ("DuplicateColumn", "spec.data.columns[0].name")


def test_two_declared_columns_of_one_name_are_refused(tmp_path):
    wanted = spec()
    columns = (*wanted.data.columns, wanted.data.columns[0])
    twice = wanted.model_copy(update={"data": wanted.data.model_copy(update={"columns": columns})})
    error = refusal(tmp_path, text(rows()), twice)
    assert (error.reason, error.field) == ("DuplicateColumn", "spec.data.columns[4].name")


@pytest.mark.parametrize(
    ("value", "kind", "reason"),
    [
        ("1e39", "numeric", "TooLarge"),
        ("-1e39", "numeric", "TooLarge"),
        ("1e39", "integer", "TooLarge"),
        ("inf", "numeric", "WrongKind"),
        ("-Infinity", "numeric", "WrongKind"),
        ("nan", "numeric", "WrongKind"),
        ("NaN", "integer", "WrongKind"),
        ("1e999", "numeric", "WrongKind"),
        ("3.7", "integer", "WrongKind"),
    ],
)
def test_a_number_that_no_model_can_take_is_refused_with_its_column_and_count(tmp_path, value, kind, reason):
    body = rows(age=lambda i: value if i in (3, 9) else str(40 + i % 30))
    error = refusal(tmp_path, text(body), spec(age={"kind": kind}))
    assert error.reason == reason
    assert "column age" in error.message
    assert "fewer than 11 of 80 rows, first in row 4" in error.message


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("age", lambda i: "60"),
        ("age", lambda i: "16777216" if i % 2 else "16777216.5"),
        ("age", lambda i: "60" if i < 60 else "70"),
        ("age", lambda i: "60" if i % 2 else ""),
        ("sex", lambda i: "m"),
    ],
)
def test_a_feature_with_one_value_is_refused(tmp_path, column, values):
    error = refusal(tmp_path, text(rows(**{column: values})), spec(age={"nullable": True}))
    assert error.reason == "Constant"
    assert f"column {column} " in error.message
    assert "set role: ignore" in error.message


def test_a_feature_that_is_missing_in_the_training_part_is_refused(tmp_path):
    body = rows(age=lambda i: "" if i < 60 else str(i))
    assert refusal(tmp_path, text(body), spec(age={"nullable": True})).reason == "AllMissing"


GOOD = text(rows())
LINES = GOOD.splitlines()


def at(line, content):
    return "\n".join([*LINES[: line - 1], content, *LINES[line:]])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (at(2, "60;m;2000;live"), "line 2 has one field, and the header 4: is separator ';'?"),
        (at(5, "60,5,m,2000,live"), "line 5 has 5 fields, and the header 4: use decimal points"),
        (at(5, "60,m"), "line 5 has 2 fields, and the header 4"),
        (at(7, '"60,m,2000,live'), "a quote in line 7 is not closed"),
        (at(7, '"60"x,m,2000,live'), "a quote in line 7 is not closed"),
        (at(4, "60,m\0,2000,live"), "line 4 has a NUL byte"),
        (at(4, "60,m,2000,l\u00efve").encode("latin-1"), "line 4 is not UTF-8, possibly Latin-1"),
        (GOOD.encode("utf-16-le"), "line 1 has a NUL byte; the file may be UTF-16"),
        (GOOD.replace("\n", "\r"), "carriage return"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_with_its_line_and_a_remedy(tmp_path, content, told):
    error = refusal(tmp_path, content, spec())
    assert error.reason == "UnreadableFile"
    assert told in error.message


@pytest.mark.parametrize(
    "content",
    [
        text(rows(), separator=";"),
        text(rows(), separator="\t"),
        text(rows(), separator="|"),
        GOOD.encode("utf-16"),
        ("\ufeff" + GOOD).encode("utf-16-be"),
    ],
)
def test_a_separator_and_a_byte_order_mark_are_recognised(tmp_path, content):
    assert sum(map(len, prepared(tmp_path, content, spec()))) == ROWS


@pytest.mark.parametrize("content", ["", " \n\n", "age,sex,when,outcome\n"])
def test_a_file_without_rows_is_told(tmp_path, content):
    assert refusal(tmp_path, content, spec()).reason == "EmptyData"


def test_a_byte_order_mark_of_utf_8_and_line_breaks_in_quotes_are_read(tmp_path):
    content = ("\ufeff" + GOOD).replace(",m,", ',"m\n",').replace("\n40", "\r\n40")
    assert sum(map(len, prepared(tmp_path, content, spec()))) == ROWS


@pytest.mark.parametrize(
    ("name", "told"),
    [("Age ", "differs in case"), ("agee", "similar"), ("63", "of 4 columns 3 are declared")],
)
def test_a_missing_column_is_told_by_what_was_declared(tmp_path, name, told):
    error = refusal(tmp_path, text(rows(), [name, *HEAD[1:]]), spec())
    assert error.reason == "UnknownColumn"
    assert told in error.message
    assert name not in error.message.replace("'age'", "")


def test_a_file_without_its_header_tells_nothing_of_its_first_row(tmp_path):
    error = refusal(tmp_path, text(rows(age=lambda i: "847261")[1:], ["847261", "f", "2000", "live"]), spec())
    assert "check that the file has a header line" in error.message
    assert not any(value in error.message for value in ("847261", "2000", "live"))
