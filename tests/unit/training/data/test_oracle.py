"""Reading and harmonising by polars equals a plain calculation in Python, cell by cell, on random small tables."""

from __future__ import annotations

import csv
import io
import math
import re
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward_api.csv_errors import MalformedError
from modelward_api.resources.columns import BOOLEANS
from modelward_api.resources.data import Data
from modelward_training.data.harmonise import harmonise
from modelward_training.data.sources import read
from modelward_training.data.sources.structure import Structure
from modelward_training.data.units import conversion
from modelward_training.errors import InvalidInputError

TEXTS = st.one_of(
    st.sampled_from(
        [
            "",
            " ",
            "nk",
            "NK",
            "9999",
            "1",
            "0",
            "1.0",
            "2",
            "-3.5",
            "+4",
            "1e3",
            "1E-2",
            ".5",
            "5.",
            "1,5",
            "1.234,5",
            "1.234",
            "12.34",
            "1.23.456",
            "1 234",
            "1 234,5",
            "<0.5",
            "< 1,5",
            ">90",
            "≤2",
            "<",
            "<x",
            "inf",
            "nan",
            "yes",
            "No",
            "TRUE",
            "m",
            "M",
            "männlich",
            "Männlich ",
            "f\u00a0",
            "x;y",
            'say "a"',
            "two\nlines",
            "true",
            "-",
            "1_0",
            "0x1",
            "1e400",
        ]
    ),
    st.text(alphabet='01.,- <>eä"\n;', max_size=5),
)
MAPPINGS = st.dictionaries(
    st.sampled_from(["1", "m", "M", "männlich", "nk", "yes", "<0.5", "x"]), st.sampled_from(["m", "2", "true", "", "nk", "7"]),
    max_size=4,
)  # fmt: skip
DIALECTS = st.sampled_from(
    [{}, {"decimal": ","}, {"decimal": ",", "thousands": "."}, {"decimal": ",", "thousands": " "}, {"thousands": ","}]
)
KINDS = ("numeric", "integer", "boolean", "categorical")


@st.composite
def columns(draw, name):
    kind = draw(st.sampled_from(KINDS))
    column = {
        "name": name,
        "kind": kind,
        "nullable": True,
        "missingValues": draw(st.sampled_from([[], ["nk"], ["nk", "9999", "1"]])),
    }
    mapping = draw(MAPPINGS)
    if kind == "boolean":
        mapping = {value: target for value, target in mapping.items() if target in ("true", "")}
    column |= {"values": mapping, "ignoreCase": draw(st.booleans())}
    if len({value.lower() for value in mapping}) < len(mapping):
        column["ignoreCase"] = False
    if kind in ("numeric", "integer"):
        column["censored"] = draw(st.sampled_from([None, "limit", "half", "missing"]))
        column["unit"] = "Cel"
    return {key: value for key, value in column.items() if value is not None}


@st.composite
def tables(draw):
    declared = [draw(columns("a")), draw(columns("b"))]
    rows = draw(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=12))
    return declared, rows, draw(DIALECTS), draw(st.booleans()), draw(st.booleans())


def number(text, dialect):
    """What a text means as a number, or None; the same rule as documented, written in another way."""
    decimal, thousands = dialect.get("decimal", "."), dialect.get("thousands")
    if (decimal, thousands) == (".", None):
        plain = text
    else:
        found = re.fullmatch(r"([+-]?)(.*?)([eE][+-]?[0-9]+)?", text, re.DOTALL)
        sign, body, exponent = found.group(1), found.group(2), found.group(3) or ""
        whole, mark, rest = body.partition(decimal)
        if thousands is not None and thousands in whole:
            groups = whole.split(thousands)
            if not (1 <= len(groups[0]) <= 3 and all(len(group) == 3 for group in groups[1:])):
                return None
            whole = "".join(groups)
        if not re.fullmatch("[0-9]*", whole) or not re.fullmatch("[0-9]*", rest) or not (whole or rest):
            return None
        plain = f"{sign}{whole}{'.' if mark else ''}{rest}{exponent}"
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", plain):
        return None
    value = float(plain)
    return value if math.isfinite(value) else None


def harmonised_by_hand(text, column, dialect, is_fahrenheit):
    """Return the value, and whether it is wrong."""
    missing = {"", *column["missingValues"]}
    text = text.strip()
    if text in missing:
        return None, False
    mapping = {k.lower() if column["ignoreCase"] else k: v for k, v in column["values"].items()}
    text = mapping.get(text.lower() if column["ignoreCase"] else text, text)
    if text in missing:
        return None, False
    kind, value, sign = column["kind"], None, ""
    if kind == "categorical":
        return text, False
    if kind == "boolean":
        value = BOOLEANS.get(text.lower())
        return value, value is None
    if column.get("censored") and text[0] in "<>≤≥":
        sign = text[0]
        text = re.sub(r"^.=?\s*", "", text)
    value = number(text, dialect)
    if value is None or (kind == "integer" and value != round(value)):
        return None, True
    if sign and column["censored"] == "missing":
        return None, False
    if sign in ("<", "≤") and column["censored"] == "half":
        value /= 2
    if is_fahrenheit:
        way = conversion("[degF]", "Cel")
        value = value * way.factor + way.offset
    return value, False


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(tables())
def test_harmonising_equals_a_calculation_by_hand(table):
    declared, rows, dialect, is_fahrenheit, is_quoted = table
    made = io.StringIO(newline="")
    writer = csv.writer(made, delimiter=";", quoting=csv.QUOTE_ALL if is_quoted else csv.QUOTE_MINIMAL)
    writer.writerows([("a", "b", "died"), *((*row, "1") for row in rows)])
    site = {
        "name": "north",
        "columns": [{"name": c["name"], "unit": "[degF]"} for c in declared if is_fahrenheit and "unit" in c],
    }
    data = Data.model_validate(
        {
            "sources": [{"uri": "store://data.csv", "site": "north", "dialect": {**dialect, "separator": ";"}}],
            "columns": [
                *declared,
                {"name": "s", "kind": "categorical", "role": "site", "allowedValues": ["north"]},
                {"name": "died", "kind": "boolean", "role": "label"},
            ],
            "label": {"column": "died", "positive": "1"},
            "sites": [site],
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data.csv").write_bytes(made.getvalue().encode())
        frame = harmonise(data, read(data, f"file://{folder}")).frame.collect(engine="streaming")
    assert frame.height == len(rows)
    for place, column in enumerate(declared):
        wanted = [harmonised_by_hand(row[place], column, dialect, is_fahrenheit and "unit" in column) for row in rows]
        found = frame[column["name"]].to_list()
        assert found == [v if isinstance(v, str) or v is None else pytest.approx(v, rel=1e-12) for v, _ in wanted], (
            column
        )
        flag = f"\x00kind\x00{column['name']}"
        assert (frame[flag].to_list() if flag in frame.columns else [False] * len(rows)) == [w for _, w in wanted], (
            column
        )


FILES = st.text(alphabet='a,"\n', max_size=24)


@settings(max_examples=400, deadline=None)
@given(FILES, st.integers(1, 7))
def test_the_structure_of_a_file_is_checked_as_the_csv_module_reads_it(content, size):
    """Except that a quote in a field that does not begin with one is refused: readers disagree about it."""
    raw = content.encode()
    try:
        records = list(csv.reader(io.StringIO(content, newline=""), strict=True))
    except csv.Error:
        records = None
    width = next((len(record) for record in records or [] if record), 1)
    structure = Structure(",", '"', width)
    try:
        for start in range(0, len(raw), size):
            structure.feed(raw[start : start + size])
        structure.finish()
        is_accepted = True
    except MalformedError:
        is_accepted = False
    if records is None or any(record and len(record) != width for record in records):
        assert not is_accepted
    elif not re.search(r'(^|[,\n])[^,"\n]+"', content):
        assert is_accepted
        assert structure.blank == [place for place, record in enumerate(records) if not record]
        assert structure.records == len(records)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(st.text(alphabet='a1," \n\r', max_size=4), st.sampled_from(["", "x", " y ", "ä"])),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(["\n", "\r\n"]),
    st.lists(st.integers(0, 8), max_size=3),
)
def test_what_is_accepted_is_read_as_the_csv_module_reads_it(rows, end, blanks):
    made = io.StringIO(newline="")
    csv.writer(made, lineterminator=end).writerows([("a", "b", "died"), *((*row, "1") for row in rows)])
    content = made.getvalue()
    if '"' not in content:
        lines = content.split(end)
        for place in blanks:
            lines.insert(place, "")
        content = end.join(lines)
    wanted = [record for record in csv.reader(io.StringIO(content, newline="")) if record][1:]
    kinds = [{"name": name, "kind": "categorical", "nullable": True} for name in "ab"]
    data = Data.model_validate(
        {
            "sources": [{"uri": "store://data.csv"}],
            "columns": [*kinds, {"name": "died", "kind": "boolean", "role": "label"}],
            "label": {"column": "died", "positive": "1"},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "data.csv").write_bytes(content.encode())
        try:
            frame = harmonise(data, read(data, f"file://{folder}")).frame.collect(engine="streaming")
        except InvalidInputError as error:
            assert "\r" in "".join(row[0] for row in rows), error.message
            return
    assert frame.select("a", "b").rows() == [tuple(text.strip() or None for text in record[:2]) for record in wanted]
