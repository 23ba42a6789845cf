"""How sites record columns: each conversion is applied, counted, and equal to a plain calculation by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pytest

from modelward_api.resources.data import Data
from modelward_training.data.frame import SITE
from modelward_training.data.harmonise import harmonise
from modelward_training.data.sources import read
from modelward_training.errors import InvalidInputError

LABEL = {"name": "died", "kind": "boolean", "role": "label"}
HOSPITAL = {"name": "hospital", "kind": "categorical", "role": "site", "allowedValues": ["north", "south"]}


def declared(columns, sites=(), sources=None):
    return Data.model_validate(
        {
            "sources": sources or [{"uri": "store://data.csv"}],
            "columns": [*columns, LABEL],
            "label": {"column": "died", "positive": "true"},
            "sites": list(sites),
        }
    )


def harmonised(folder, data, *files):
    """Write the values of each source's first columns, with a label, and harmonise them."""
    for name, (head, rows) in zip(("data.csv", "other.csv"), files, strict=False):
        body = [[*row, "1"] for row in rows]
        (folder / name).write_text("\n".join("\t".join(row) for row in [[*head, "died"], *body]) + "\n")
    return harmonise(data, read(data, f"file://{folder}"))


def one(folder, column, values, sites=(), **source):
    """Harmonise one column at the site north, and return its values and the rows of each rule."""
    sources = [{"uri": "store://data.csv", "site": "north", **source}]
    data = declared([{"name": "x", "nullable": True, **column}, HOSPITAL], sites, sources)
    found = harmonised(folder, data, (["x"], [[value] for value in values]))
    frame = found.frame.collect()
    rules = {
        flag.rule: frame[flag.name].to_list() for flag in found.flags if flag.column == "x" and frame[flag.name].any()
    }
    return frame["x"].to_list(), rules


def at_north(**how):
    return [{"name": "north", "columns": [{"name": "x", **how}]}]


def refusal(folder, data, *files):
    with pytest.raises(InvalidInputError) as caught:
        harmonised(folder, data, *files)
    return caught.value


def test_a_mapping_translates_local_codes_and_counts_them(tmp_path):
    column = {"kind": "categorical", "values": {"1": "m", "2": "f", "m": "m", "?": ""}}
    values, rules = one(tmp_path, column, ["1", "2", " 1 ", "m", "x", "?", ""])
    assert values == ["m", "f", "m", "m", "x", None, None]
    assert rules == {"values": [True, True, True, False, False, True, False]}


def test_a_mapping_may_ignore_case(tmp_path):
    column = {"kind": "categorical", "values": {"Männlich": "m"}, "ignoreCase": True}
    assert one(tmp_path, column, ["MÄNNLICH", "männlich", "M"])[0] == ["m", "m", "M"]
    assert one(tmp_path, {**column, "ignoreCase": False}, ["MÄNNLICH", "Männlich"])[0] == ["MÄNNLICH", "m"]


def test_a_mapping_of_a_site_replaces_the_columns(tmp_path):
    column = {"kind": "categorical", "values": {"1": "m", "2": "f"}}
    assert one(tmp_path, column, ["1", "2"], at_north(values={"1": "f"}))[0] == ["f", "2"]
    assert one(tmp_path, column, ["1", "2"], at_north(missingValues=["9"]))[0] == ["m", "f"]


def test_a_mapping_of_numbers_and_booleans_gives_numbers_and_booleans(tmp_path):
    assert one(tmp_path, {"kind": "integer", "values": {"none": "0"}}, ["none", "3"])[0] == [0.0, 3.0]
    assert one(tmp_path, {"kind": "boolean", "values": {"ja": "yes", "nein": "no"}}, ["ja", "nein", "1"])[0] == [
        1,
        0,
        1,
    ]


def test_a_mapping_is_read_from_a_file(tmp_path):
    (tmp_path / "codes.csv").write_text("value;declared\n1;m\n2;f\n2;f\n")
    column = {"kind": "categorical", "valuesFrom": {"uri": "store://codes.csv"}}
    assert one(tmp_path, column, ["1", "2"])[0] == ["m", "f"]


@pytest.mark.parametrize(
    ("content", "reason", "told"),
    [
        (None, "MissingFile", "no file"),
        ("value,declared\n1,m\n1,f\n", "InvalidMapping", "line 3 gives a second target"),
        ("value,declared\nM,m\nm,f\n", "InvalidMapping", "one value has two targets, because ignoreCase is set"),
        ("1,m\n2,f\n", "InvalidMapping", "line 1 must be the header value,declared"),
        ("value,declared\n1,m,x\n", "InvalidMapping", "line 2 has 3 fields"),
        ("value,declared\n", "InvalidMapping", "no rows"),
        (b"value,declared\n\xff,m\n", "InvalidMapping", "line 2 is not UTF-8"),
        ("value,declared\n" + "x" * 200 + ",m\n", "InvalidMapping", "line 2 has a value of more than 128 characters"),
    ],
)
def test_a_code_list_that_cannot_be_used_is_told(tmp_path, content, reason, told):
    if content is not None:
        (tmp_path / "codes.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    data = declared(
        [{"name": "x", "kind": "categorical", "ignoreCase": True, "valuesFrom": {"uri": "store://codes.csv"}}]
    )
    error = refusal(tmp_path, data, (["x"], [["1"]]))
    assert (error.reason, error.field) == (reason, "spec.data.columns[0].valuesFrom.uri")
    assert told in error.message


def test_two_targets_of_one_value_by_case_are_refused(tmp_path):
    data = declared([{"name": "x", "kind": "categorical", "ignoreCase": True, "values": {"M": "m", "m": "f"}}])
    error = refusal(tmp_path, data, (["x"], [["1"]]))
    assert (error.reason, error.field) == ("InvalidMapping", "spec.data.columns[0].values")


@pytest.mark.parametrize(
    ("how", "wanted"),
    [
        ("limit", [0.5, 0.5, 90.0, 7.0, 2.0]),
        ("half", [0.25, 0.25, 90.0, 7.0, 1.0]),
        ("missing", [None, None, None, 7.0, None]),
    ],
)
def test_censored_values_become_what_is_declared(tmp_path, how, wanted):
    column = {"kind": "numeric", "censored": how}
    values, rules = one(tmp_path, column, ["<0.5", "< 0.5", ">90", "7", "≤2", "<x", "<"])
    assert values == [*wanted, None, None]
    assert rules == {"censored": [True, True, True, False, True, False, False], "kind": [False] * 5 + [True] * 2}


def test_a_censored_value_is_an_error_unless_it_is_declared(tmp_path):
    assert one(tmp_path, {"kind": "numeric"}, ["<0.5", "7"])[1] == {"kind": [True, False]}


@pytest.mark.parametrize(
    ("column", "unit", "values", "wanted"),
    [
        ({"unit": "Cel"}, "[degF]", ["98.6", "32", ""], [37.0, 0.0, None]),
        ({"unit": "mmol/L", "molarMass": 180.156}, "mg/dL", ["90.078"], [5.0]),
        ({"unit": "kg"}, "g", ["<500"], [0.25]),
    ],
)
def test_a_unit_is_converted_and_counted(tmp_path, column, unit, values, wanted):
    column = {"kind": "numeric", **column, "censored": "half"}
    found, rules = one(tmp_path, column, values, at_north(unit=unit))
    assert found == [None if value is None else pytest.approx(value, abs=1e-9) for value in wanted]
    assert rules["unit"] == [value is not None for value in wanted]


@pytest.mark.parametrize(
    ("column", "unit", "field"),
    [
        ({"unit": "Cel"}, "kg", "spec.data.sites[0].columns[0].unit"),
        ({"unit": "mmol/L"}, "mg/dL", "spec.data.sites[0].columns[0].unit"),
        ({"unit": "kg"}, "stone", "spec.data.sites[0].columns[0].unit"),
        ({}, "kg", "spec.data.sites[0].columns[0].unit"),
    ],
)
def test_a_unit_that_does_not_convert_is_refused(tmp_path, column, unit, field):
    with pytest.raises(InvalidInputError) as caught:
        one(tmp_path, {"kind": "numeric", **column}, ["1"], at_north(unit=unit))
    assert (caught.value.reason, caught.value.field) == ("InvalidUnit", field)


WAY = {"name": "way", "kind": "categorical", "role": "context", "nullable": True}
OFFSETS = {"column": "way", "offsets": {"ear": 0.3, "core": 0}}


def test_a_qualifier_corrects_by_the_way_of_measuring_after_the_unit(tmp_path):
    temperature = {"name": "x", "kind": "numeric", "unit": "Cel", "nullable": True, "qualifier": OFFSETS}
    sites = [{"name": "north", "columns": [{"name": "x", "unit": "[degF]"}, {"name": "way", "values": {"E": "ear"}}]}]
    data = declared([temperature, WAY, HOSPITAL], sites, [{"uri": "store://data.csv", "site": "north"}])
    rows = [["98.6", "E"], ["98.6", "core"], ["98.6", "skin"], ["98.6", ""], ["", "skin"]]
    found = harmonised(tmp_path, data, (["x", "way"], rows))
    frame = found.frame.collect()
    assert frame["x"].to_list() == [pytest.approx(37.3), pytest.approx(37.0), None, None, None]
    assert frame["\x00qualifier\x00x"].to_list() == [True, False, False, False, False]
    assert frame["\x00qualifier-unknown\x00x"].to_list() == [False, False, True, True, False]
    flag = next(flag for flag in found.flags if flag.rule == "qualifier-unknown")
    assert (flag.reason, flag.effect, flag.field) == ("UnknownCategory", "breaks", "spec.data.columns[0].qualifier")


def test_a_qualifier_must_be_a_declared_category(tmp_path):
    temperature = {"name": "x", "kind": "numeric", "qualifier": OFFSETS}
    for other in ([], [{**WAY, "role": "ignore"}], [{**WAY, "kind": "numeric"}]):
        error = refusal(tmp_path, declared([temperature, *other]), (["x", "way"], [["1", "ear"]]))
        assert (error.reason, error.field) == ("UnknownColumn", "spec.data.columns[0].qualifier.column")


@pytest.mark.parametrize("how", [{"role": "label"}, {"availableAt": "outcome"}])
def test_a_qualifier_is_known_before_the_outcome(tmp_path, how):
    temperature = {"name": "x", "kind": "numeric", "qualifier": OFFSETS}
    error = refusal(tmp_path, declared([temperature, {**WAY, **how}]), (["x", "way"], [["1", "ear"]]))
    assert (error.reason, error.field) == ("InvalidSpec", "spec.data.columns[0].qualifier.column")


NAMES = [
    {"name": "north", "columns": [{"name": "x", "source": "Größe [cm]", "unit": "cm"}]},
    {"name": "south", "columns": [{"name": "x", "source": "height", "missingValues": ["-1"]}]},
]
HEIGHT = {"name": "x", "kind": "numeric", "unit": "m", "nullable": True, "missingValues": ["9"]}


def test_sites_have_names_units_and_missing_values_of_their_own(tmp_path):
    sources = [{"uri": "store://data.csv", "site": "north"}, {"uri": "store://other.csv", "site": "south"}]
    data = declared([HEIGHT, HOSPITAL], NAMES, sources)
    found = harmonised(tmp_path, data, (["Größe [cm]"], [["180"], ["9"]]), (["height"], [["1.7"], ["9"], ["-1"]]))
    frame = found.frame.collect()
    assert frame["x"].to_list() == [1.8, None, 1.7, 9.0, None]
    assert frame[SITE].to_list() == frame["hospital"].to_list() == ["north"] * 2 + ["south"] * 3
    assert frame["\x00unit\x00x"].to_list() == [True, False, False, False, False]


def test_sites_may_share_a_file(tmp_path):
    rows = [["180", "", "north"], ["", "1.7", "south"], ["", "1.7", "west"]]
    data = declared([{**HEIGHT, "source": "height"}, HOSPITAL], NAMES)
    frame = harmonised(tmp_path, data, (["Größe [cm]", "height", "hospital"], rows)).frame.collect()
    assert frame["x"].to_list() == [1.8, 1.7, 1.7]
    assert frame["\x00site\x00hospital"].to_list() == [False, False, True]


def test_rows_of_a_site_whose_column_is_not_in_the_file_break_a_rule(tmp_path):
    data = declared([{**HEIGHT, "source": "height"}, HOSPITAL], NAMES)
    frame = harmonised(tmp_path, data, (["height", "hospital"], [["1.8", "north"], ["1.7", "south"]])).frame.collect()
    assert frame["x"].to_list() == [None, 1.7]
    assert frame["\x00column\x00x"].to_list() == [True, False]


def test_sites_must_be_declared_and_be_in_the_data(tmp_path):
    north = [{"uri": "store://data.csv", "site": "north"}]
    for site, sites, sources, field in (
        ("a site without a mapping", [NAMES[1]], north, "spec.data.sources[0].site"),
        ("a misspelt site", [{"name": "nort"}, {"name": "north"}], north, "spec.data.sites[0].name"),
        ("a misspelt site of rows", [{"name": "nort"}], None, "spec.data.sites[0].name"),
    ):
        error = refusal(tmp_path, declared([HEIGHT, HOSPITAL], sites, sources), (["x"], [["1"]]))
        assert (error.reason, error.field) == ("UnknownSite", field), site


def test_names_are_declared_once(tmp_path):
    for columns, sites, field in (
        ([HEIGHT, HEIGHT], [], "spec.data.columns[1].name"),
        ([HEIGHT, HOSPITAL], [{"name": "north"}, {"name": "north"}], "spec.data.sites[1].name"),
        ([HEIGHT, HOSPITAL], [{"name": "north", "columns": [{"name": "x"}] * 2}], "spec.data.sites[0].columns[1].name"),
        ([HEIGHT, {**HEIGHT, "name": "y", "source": "x"}], [], "spec.data.columns[1].source"),
    ):
        error = refusal(tmp_path, declared(columns, sites), (["x", "hospital"], [["1", "north"]]))
        assert (error.reason, error.field) == ("DuplicateColumn", field)


STAMP = {"kind": "timestamp", "role": "time"}


def utc(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("values", "wanted", "rules"),
    [
        (["2024-02-29", "2024", "2024-02", "20240229"], [(2024, 2, 29), (2024, 1, 1), (2024, 2, 1), (2024, 2, 29)], {}),
        (
            ["2024-02-29T12:30", "2024-02-29 12:30:15.25"],
            [(2024, 2, 29, 12, 30), (2024, 2, 29, 12, 30, 15, 250_000)],
            {},
        ),
        (
            ["2024-02-30", "2024-01-01", "", "0024-01-01"],
            [None, (2024, 1, 1), None, None],
            {"kind": [True, False, False, True]},
        ),
        (["2024-01-01", "2024-01-01T00:00:00Z"], [(2024, 1, 1), None], {"offset": [False, True]}),
        (["9999-12-31", "2024-01-01"], [None, (2024, 1, 1)], {"kind": [True, False]}),
    ],
)
def test_local_times_are_read(tmp_path, values, wanted, rules):
    found = one(tmp_path, STAMP, values)
    assert found == ([None if parts is None else datetime(*parts) for parts in wanted], rules)


def test_times_with_offsets_become_utc(tmp_path):
    values = [
        "2024-03-31T02:30:00+01:00",
        "2024-03-31T02:30:00Z",
        "2024-03-31 02:30:00-0500",
        "2024-03-31 02:30:00 UTC",
        "2024",
    ]
    found, rules = one(tmp_path, STAMP, values)
    assert found == [
        utc(2024, 3, 31, 1, 30),
        utc(2024, 3, 31, 2, 30),
        utc(2024, 3, 31, 7, 30),
        utc(2024, 3, 31, 2, 30),
        None,
    ]
    assert rules == {"offset": [False] * 4 + [True]}


def test_times_are_read_by_declared_formats_only(tmp_path):
    formats = {"dialect": {"dateFormats": ["%d.%m.%Y %H:%M", "%d.%m.%Y"]}}
    values = ["01.02.2024", "01.02.2024 13:05", "30.02.2024", "01.02.24", "2024-02-01"]
    found, rules = one(tmp_path, STAMP, values, **formats)
    assert found == [datetime(2024, 2, 1), datetime(2024, 2, 1, 13, 5), None, None, None]
    assert rules == {"kind": [False, False, True, True, True]}


def test_a_site_may_lack_a_column_of_instants(tmp_path):
    sites = [{"name": "north", "columns": [{"name": "x", "source": "other"}]}, {"name": "south"}]
    data = declared([{"name": "x", "nullable": True, **STAMP}, HOSPITAL], sites)
    rows = [["2024-01-01T12:00Z", "south"], ["2024-01-01T12:00Z", "north"]]
    frame = harmonised(tmp_path, data, (["x", "hospital"], rows)).frame.collect()
    assert frame["x"].to_list() == [utc(2024, 1, 1, 12), None]
    assert frame["\x00column\x00x"].to_list() == [False, True]


@pytest.mark.parametrize(
    ("form", "value"),
    [
        ("%s", "1704103200"),
        ("%-s", "1704103200"),
        ("%+", "2024-01-01T12:00:00+02:00"),
        ("%d.%m.%Y %H:%M %z", "01.01.2024 12:00 +0200"),
    ],
)
def test_seconds_since_1970_and_formats_with_an_offset_are_instants(tmp_path, form, value):
    dialect = {"dateFormats": [form]}
    assert one(tmp_path, STAMP, [value], dialect=dialect) == ([utc(2024, 1, 1, 10)], {})
    assert one(tmp_path, STAMP, [value], dialect=dialect, timeZone="America/New_York")[0] == [utc(2024, 1, 1, 10)]


def test_an_escaped_sign_names_no_offset(tmp_path):
    found, _ = one(tmp_path, STAMP, ["%s 2024-01-01"], dialect={"dateFormats": ["%%s %Y-%m-%d"]})
    assert found == [datetime(2024, 1, 1)]


@pytest.mark.parametrize("zones", [{1: "Europe/Berlin"}, {0: "Europe/Berlin"}])
def test_a_time_zone_of_one_source_makes_the_times_of_all_instants(tmp_path, zones):
    sources = [
        {"uri": f"store://{name}.csv", **({"timeZone": zones[i]} if i in zones else {})}
        for i, name in enumerate(("data", "other"))
    ]
    data = declared([{"name": "x", "nullable": True, **STAMP}], sources=sources)
    frame = harmonised(tmp_path, data, (["x"], [["2024-01-01 12:00"]]), (["x"], [["2024-01-01 12:01"]])).frame.collect()
    assert frame["x"].to_list() == [utc(2024, 1, 1, 11, i) if i in zones else None for i in range(2)]
    assert frame["\x00offset\x00x"].to_list() == [i not in zones for i in range(2)]


def test_times_in_a_zone_are_refused_when_clocks_change(tmp_path):
    values = [
        "2024-01-01 12:00",
        "2024-07-01 12:00",
        "2024-03-31 02:30",
        "2024-10-27 02:30",
        "2024-10-27T02:30:00+01:00",
    ]
    found, rules = one(tmp_path, STAMP, values, timeZone="Europe/Berlin")
    assert found == [utc(2024, 1, 1, 11), utc(2024, 7, 1, 10), None, None, utc(2024, 10, 27, 1, 30)]
    assert rules == {"daylight": [False, False, True, True, False]}


@pytest.mark.parametrize(
    ("source", "field"),
    [
        ({"timeZone": "Berlin"}, "spec.data.sources[0].timeZone"),
        ({"dialect": {"dateFormats": ["%d.%m.%Y", "DD.MM.YYYY"]}}, "spec.data.sources[0].dialect.dateFormats[1]"),
        ({"dialect": {"dateFormats": ["%H:%M"]}}, "spec.data.sources[0].dialect.dateFormats[0]"),
        ({"dialect": {"dateFormats": ["%Y-%m-%d %H:%M %Z"]}}, "spec.data.sources[0].dialect.dateFormats[0]"),
        ({"dialect": {"decimal": ",", "thousands": ","}}, "spec.data.sources[0].dialect.thousands"),
        ({"dialect": {"separator": '"'}}, "spec.data.sources[0].dialect.quote"),
    ],
)
def test_a_dialect_that_cannot_be_is_refused(tmp_path, source, field):
    with pytest.raises(InvalidInputError) as caught:
        one(tmp_path, STAMP, ["2024-01-01"], **source)
    assert (caught.value.reason, caught.value.field) == ("InvalidSpec", field)


@pytest.mark.parametrize("value", ["inf", "nan", "NaN", "-Infinity", "1e999", "0x10", "1_000", "1,5", "one", "1 2"])
def test_what_is_not_a_finite_number_breaks_its_kind(tmp_path, value):
    assert one(tmp_path, {"kind": "numeric"}, [value, "1"]) == ([None, 1.0], {"kind": [True, False]})


def test_flags_are_never_null_and_columns_have_their_types(tmp_path):
    rows = [["", "", "", "", ""], ["1.8", "1", "ear", "2024", "north"]]
    data = declared([{**HEIGHT, "source": "height"}, WAY, {"name": "when", **STAMP}, HOSPITAL], NAMES)
    found = harmonised(tmp_path, data, (["Größe [cm]", "height", "way", "when", "hospital"], rows))
    frame = found.frame.collect()
    assert [frame[flag.name].null_count() for flag in found.flags] == [0] * len(found.flags)
    assert frame.schema["x"] == pl.Float64
    assert frame.schema["way"] == pl.String
    assert frame.schema["when"] == pl.Datetime("us")
    assert frame.schema["\x00row"] == pl.Int64


@pytest.mark.parametrize("kind", ["numeric", "integer"])
@pytest.mark.parametrize(
    "others", [["1"], ["1", "x"]], ids=["numbers alone", "with a text, so that all is read as text"]
)
def test_a_number_means_missing_however_it_is_written(tmp_path, kind, others):
    column = {"kind": kind, "missingValues": ["9999", "-1.0"]}
    values, rules = one(tmp_path, column, ["9999", "9999.0", "-1", "-1.0", *others])
    assert values[:5] == [None, None, None, None, 1.0]
    assert rules == ({"kind": [False] * 5 + [True]} if "x" in others else {})


def test_a_censored_number_is_not_the_code_of_a_missing_one(tmp_path):
    column = {"kind": "numeric", "missingValues": ["9"], "censored": "limit"}
    assert one(tmp_path, column, ["9", "9.0", "<9", ">9.0"])[0] == [None, None, 9.0, 9.0]
