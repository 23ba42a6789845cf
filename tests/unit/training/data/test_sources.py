"""Files as hospitals have them: read as they are where that is safe, and else refused with what to set."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from decimal import Decimal

import polars as pl
import pytest

from modelward_api.resources.data import Data
from modelward_training.data.harmonise import harmonise
from modelward_training.data.sources import compression, delimited, read, spool
from modelward_training.errors import InvalidInputError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def packed(content):
    """The same bytes in every process, as they name the tests."""
    return gzip.compress(content, mtime=0)


COLUMNS = [
    {"name": "age", "kind": "numeric", "nullable": True},
    {"name": "sex", "kind": "categorical", "nullable": True},
    {"name": "died", "kind": "boolean", "role": "label"},
]
PLAIN = "age,sex,died\n40.5,m,yes\n1200,f,no\n"
ROWS = {"age": [40.5, 1200.0], "sex": ["m", "f"], "died": [1.0, 0.0]}


def declared(columns=COLUMNS, uri="store://data.csv", **source):
    return Data.model_validate(
        {"sources": [{"uri": uri, **source}], "columns": columns, "label": {"column": "died", "positive": "yes"}}
    )


def parts(folder, content, data):
    (folder / "data.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    return read(data, f"file://{folder}")


def harmonised(folder, content, data):
    found = harmonise(data, parts(folder, content, data))
    return found.frame.collect(engine="streaming"), found


def values(folder, content, data):
    frame, _ = harmonised(folder, content, data)
    return frame.select(c.name for c in data.columns).to_dict(as_series=False)


def refusal(folder, content, data):
    with pytest.raises(InvalidInputError) as caught:
        harmonised(folder, content, data)
    return caught.value


GERMAN = "age;sex;died\n40,5;m;yes\n1.200;f;no\n"
COMMA = {"decimal": ",", "thousands": "."}


@pytest.mark.parametrize(
    ("content", "dialect"),
    [
        (PLAIN, {}),
        (PLAIN.replace("\n", "\r\n"), {}),
        (PLAIN.rstrip("\n"), {}),
        (PLAIN.replace(",", ";"), {}),
        (PLAIN.replace(",", "\t"), {}),
        (PLAIN.replace(",", "|"), {}),
        (PLAIN.replace(",", "~"), {"separator": "~"}),
        (GERMAN, COMMA),
        (GERMAN.replace("1.200", "1200"), COMMA),
        (GERMAN.replace(";", ",").replace("40,5", '"40,5"'), COMMA),
        (PLAIN.replace("1200", "1 200"), {"thousands": " "}),
        (PLAIN.replace("1200", "1\u202f200"), {"thousands": " "}),
        (PLAIN.replace("1200", "1'200"), {"thousands": "'"}),
        (PLAIN.replace("40.5", "'40.5'"), {"quote": "'"}),
        (PLAIN.replace("m,", '"m",'), {}),
        (PLAIN.replace("\n1200", "\n\n\n1200") + "\n", {}),
        (PLAIN.replace("died\n", "died\n\n"), {}),
        ("\n" + PLAIN, {}),
        ("# extract of 2024, with commas\n" + PLAIN.replace("\n1200", "\n# more\n1200"), {"comment": "#"}),
        (PLAIN.replace("m,", " m ,"), {}),
        (PLAIN.encode("utf-16"), {}),
        (PLAIN.encode("utf-16"), {"encoding": "utf-16"}),
        (b"\xef\xbb\xbf" + PLAIN.encode(), {}),
        (packed(PLAIN.encode()), {}),
        (packed(PLAIN[:20].encode()) + packed(PLAIN[20:].encode()), {}),
        (zstd.compress(PLAIN.encode()), {}),
        (zstd.compress(PLAIN[:20].encode()) + zstd.compress(PLAIN[20:].encode()), {}),
        (packed(GERMAN.encode("utf-16")), COMMA),
    ],
)
def test_a_file_is_read_in_its_dialect(tmp_path, content, dialect):
    assert values(tmp_path, content, declared(dialect=dialect)) == ROWS


@pytest.mark.parametrize(("encoding", "codec"), [("windows-1252", "cp1252"), ("iso-8859-1", "latin-1")])
def test_an_encoding_is_read_as_declared(tmp_path, encoding, codec):
    columns = [COLUMNS[0], {**COLUMNS[1], "source": "Geschlecht (ü)"}, COLUMNS[2]]
    content = PLAIN.replace("sex", "Geschlecht (ü)").replace("m,", "männlich,").encode(codec)
    found = values(tmp_path, content, declared(columns, dialect={"encoding": encoding}))
    assert found["sex"] == ["männlich", "f"]


def test_a_file_without_a_header_has_numbered_columns(tmp_path):
    columns = [{**column, "source": str(place)} for place, column in enumerate(COLUMNS, 1)]
    assert values(tmp_path, PLAIN.split("\n", 1)[1], declared(columns, dialect={"header": False})) == ROWS


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_carriage_return_in_a_quoted_header_costs_no_row(tmp_path, end):
    content = PLAIN.replace("died", 'died,"other\r(mg)\r(old)"').replace("yes", "yes,1").replace("no", "no,2")
    assert values(tmp_path, content.replace("\n", end), declared()) == ROWS


def test_a_file_of_which_polars_reads_another_number_of_rows_is_refused(tmp_path, monkeypatch):
    exact = delimited.Scan.frame
    monkeypatch.setattr(delimited.Scan, "frame", lambda self, *numbers: exact(self, *numbers).head(1))
    error = refusal(tmp_path, PLAIN, declared())
    assert (error.reason, error.field) == ("UnreadableFile", "spec.data.sources[0].uri")


def test_what_was_recognised_is_told(tmp_path):
    _, found = harmonised(tmp_path, PLAIN.replace(",", ";").encode("utf-16"), declared())
    assert found.notes == (
        "store://data.csv: the separator ';' was recognised",
        "store://data.csv: the encoding utf-16 was recognised by the byte-order mark",
    )


def lines(*wrong):
    return "age,sex,died\n40,m,yes\n" + "".join(wrong)


@pytest.mark.parametrize(
    ("content", "dialect", "told"),
    [
        (lines("40;m;yes\n"), {}, "line 3 has one field, and the header 3: is separator ';'? Set dialect.separator"),
        (PLAIN.replace(",", ";"), {"separator": "\t"}, None),
        (
            lines("40,m\n"),
            {},
            "line 3 has 2 fields, and the header 3: separate fields with commas, and complete the line",
        ),
        (lines("40,5,m,yes\n"), {}, "line 3 has 4 fields, and the header 3: use decimal points, or quote values"),
        ("40,m\n40,m,yes\n", {"header": False}, "line 2 has 3 fields, and the first line 2"),
        (lines('40,"m,yes\n41,f,no\n'), {}, "a quote in line 3 is not closed"),
        (lines('40,m"x,yes\n'), {}, "a quote in line 3 is not closed, or text follows it"),
        (lines('"a\nb",m,yes\n', "40\n"), {}, "line 5 has one field"),
        (lines("\n\n", "40\n"), {}, "line 5 has one field"),
        (lines("# note\n", "40\n"), {"comment": "#"}, "line 4 has one field"),
        (lines("\u00e4,m,yes\n").encode("latin-1"), {}, "line 3 is not UTF-8, possibly Latin-1: set dialect.encoding"),
        (PLAIN.encode("utf-16"), {"encoding": "utf-8"}, "set dialect.encoding: utf-16"),
        (PLAIN.encode("utf-16-le"), {}, "set dialect.encoding"),
        (PLAIN.encode(), {"encoding": "utf-16"}, "is not utf-16: set dialect.encoding"),
        (lines("\x81,m,yes\n").encode("latin-1"), {"encoding": "windows-1252"}, "is not windows-1252"),
        ("a;b,c\n1;2,3\n", {}, "the separator may be ',' or ';': set dialect.separator"),
        (packed(PLAIN.encode() * 99)[:-20], {}, "damaged or incomplete"),
        (zstd.compress(bytes(range(256)) * 4)[:-20], {}, "damaged or incomplete"),
    ],
)
def test_a_wrong_dialect_is_told_with_the_place_and_what_to_set(tmp_path, content, dialect, told):
    error = refusal(tmp_path, content, declared(dialect=dialect))
    if told is None:
        assert (error.reason, error.field) == ("UnknownColumn", "spec.data.columns[0].name")
        return
    assert (error.reason, error.field) == ("UnreadableFile", "spec.data.sources[0].uri")
    assert "store://data.csv" in error.message
    assert told in error.message


def test_a_point_where_commas_are_declared_is_no_decimal_point(tmp_path):
    content = "age;sex;died\n1.5;m;yes\n12.34,5;f;no\n"
    for dialect in (COMMA, {"decimal": ","}):
        frame, _ = harmonised(tmp_path, content, declared(dialect=dialect))
        assert frame["\x00kind\x00age"].to_list() == [True, True]


def test_one_endless_line_is_refused_before_it_is_kept(tmp_path):
    """Bytes are made while they are read, so a test that kept them would run out of memory."""
    (tmp_path / "data.csv").touch()
    os.truncate(tmp_path / "data.csv", 3 * 1024**3)  # a hole of NULs takes no room
    assert "line 1" in refusal_of(tmp_path, declared()).message
    (tmp_path / "data.csv").write_bytes(packed(b"x" * (64 * 1024**2)))
    assert "line 1 is longer than 16777216 bytes" in refusal_of(tmp_path, declared()).message
    (tmp_path / "data.csv").write_bytes(packed(PLAIN.encode() + b"x" * (64 * 1024**2)))
    assert "line 4 is longer than 16777216 bytes" in refusal_of(tmp_path, declared()).message
    (tmp_path / "data.csv").write_bytes(packed(b"x" * (64 * 1024**2)))
    assert "line 1 is longer than 16777216 bytes" in refusal_of(tmp_path, declared(format="ndjson")).message


def refusal_of(folder, data):
    with pytest.raises(InvalidInputError) as caught:
        read(data, f"file://{folder}")
    return caught.value


def bomb(kind, size):
    if kind == "zstd":
        return zstd.compress(b"1,2,3\n" * (size // 6))
    made = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([*(made.compress(b"1,2,3\n" * 100_000) for _ in range(size // 600_000)), made.flush()])


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_bomb_is_refused(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(compression, "FREE_BYTES", 1024**2)
    (tmp_path / "data.csv").write_bytes(bomb(kind, 30 * 1024**2))
    error = refusal_of(tmp_path, declared(dialect={"header": False}))
    assert (error.reason, error.field) == ("TooLarge", "spec.data.sources[0].uri")
    assert "store it uncompressed" in error.message


def test_a_file_that_does_not_fit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(spool, "MIN_FREE", 2**60)
    (tmp_path / "data.csv").write_bytes(packed(PLAIN.encode()))
    error = refusal_of(tmp_path, declared())
    assert error.reason == "TooLarge"
    assert "temporary folder" in error.message


def test_the_files_of_a_folder_and_of_a_pattern_are_read_in_the_order_of_their_names(tmp_path):
    (tmp_path / "visits" / "deep").mkdir(parents=True)
    for name, age in (
        ("2024-2.csv", 2),
        ("2024-1.csv", 1),
        ("2023.csv", 0),
        ("deep/z.csv", 3),
        ("_SUCCESS", 9),
        (".x.csv", 9),
    ):
        (tmp_path / "visits" / name).write_text(f"age,sex,died\n{age},m,yes\n")
    store = f"file://{tmp_path}"

    def ages(uri):
        data = declared(uri=uri)
        frame = harmonise(data, read(data, store)).frame.collect()
        assert frame["\x00row"].to_list() == list(range(1, frame.height + 1))
        return frame["age"].to_list()

    assert ages("store://visits/") == [0, 1, 2, 3]
    assert ages("store://visits/2024-*.csv") == [1, 2]
    assert ages("store://visits/*.csv") == [0, 1, 2]
    assert ages(f"file://{tmp_path}/visits/*/*.csv") == [3]


@pytest.mark.parametrize("uri", ["store://nowhere/", "store://visits/2025-*.csv", "store://no*where/*.csv"])
def test_an_empty_folder_or_pattern_is_told(tmp_path, uri):
    (tmp_path / "visits").mkdir()
    error = refusal_of(tmp_path, declared(uri=uri))
    assert (error.reason, error.field) == ("MissingFile", "spec.data.sources[0].uri")


@pytest.mark.parametrize("second", ["store://a.csv", "store://copy.csv", "store://*.csv"])
def test_the_rows_of_one_file_are_not_read_twice(tmp_path, second):
    for name in ("a.csv", "copy.csv"):
        (tmp_path / name).write_text(PLAIN)
    data = declared(uri="store://a.csv")
    error = refusal_of(tmp_path, data.model_copy(update={"sources": [*data.sources, *declared(uri=second).sources]}))
    assert (error.reason, error.field) == ("InvalidSpec", "spec.data.sources[1].uri")
    assert "rows would count twice" in error.message


def test_files_without_rows_may_be_equal(tmp_path):
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("age,sex,died\n")
    (tmp_path / "c.csv").write_text(PLAIN)
    assert len(read(declared(uri="store://*.csv"), f"file://{tmp_path}").parts) == 3


def test_a_pattern_of_many_stars_is_matched_at_once(tmp_path):
    (tmp_path / ("a" * 200)).write_text(PLAIN)
    (tmp_path / ("a" * 200 + "b")).write_text(PLAIN)
    assert len(read(declared(uri="store://" + "*a" * 30 + "b"), f"file://{tmp_path}").parts) == 1


def test_a_linked_folder_of_the_store_is_read_and_a_loop_ends(tmp_path):
    for name in ("visits", "old"):
        (tmp_path / name).mkdir()
    (tmp_path / "old" / "a.csv").write_text(PLAIN)
    (tmp_path / "visits" / "linked").symlink_to(tmp_path / "old")
    (tmp_path / "old" / "loop").symlink_to(tmp_path / "visits")
    assert len(read(declared(uri="store://visits/"), f"file://{tmp_path}").parts) == 1
    assert len(read(declared(uri="store://visits/*/a.csv"), f"file://{tmp_path}").parts) == 1


def test_a_folder_that_leads_out_of_the_store_is_refused(tmp_path):
    (tmp_path / "store" / "visits").mkdir(parents=True)
    (tmp_path / "store" / "visits" / "a.csv").write_text(PLAIN)
    (tmp_path / "store" / "visits" / "linked").symlink_to(tmp_path)
    with pytest.raises(InvalidInputError) as caught:
        read(declared(uri="store://visits/"), f"file://{tmp_path}/store")
    assert (caught.value.reason, caught.value.field) == ("InvalidAddress", "spec.data.sources[0].uri")


def test_a_link_out_of_the_store_is_not_followed(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "secret.csv").write_text(PLAIN)
    (tmp_path / "store" / "link.csv").symlink_to(tmp_path / "secret.csv")
    for uri in ("store://link.csv", "store://*.csv", f"file://{tmp_path}/store/*.csv", f"file://{tmp_path}/"):
        assert refusal_of(tmp_path / "store", declared(uri=uri)).reason == "InvalidAddress"


def test_files_may_have_their_columns_in_another_order_and_others_beside_them(tmp_path):
    (tmp_path / "a.csv").write_text(PLAIN)
    (tmp_path / "b.csv").write_text("extra;died;sex;age\n0;no;f;7\n")
    data = declared(uri="store://*.csv")
    frame = harmonise(data, read(data, f"file://{tmp_path}")).frame.collect()
    assert frame["age"].to_list() == [40.5, 1200.0, 7.0]
    assert frame["died"].to_list() == [1.0, 0.0, 0.0]


def test_a_file_that_lacks_a_column_is_told_by_its_place_and_not_its_name(tmp_path):
    (tmp_path / "a.csv").write_text(PLAIN)
    (tmp_path / "Mueller-Anna.csv").write_text("age,died\n1,no\n")
    data = declared(uri="store://*.csv")
    with pytest.raises(InvalidInputError) as caught:
        harmonise(data, read(data, f"file://{tmp_path}"))
    assert caught.value.reason == "UnknownColumn"
    assert "file 1 of 2 at store://*.csv" in caught.value.message
    assert "Mueller" not in caught.value.message


def parquet(**columns):
    buffer = io.BytesIO()
    pl.DataFrame({**ROWS, **columns}).write_parquet(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"age": pl.Series([Decimal("40.50"), Decimal("1200.00")], dtype=pl.Decimal(8, 2))},
        {"age": ["40.5", "1200"]},
        {"age": pl.Series([40.5, 1200], dtype=pl.Float32)},
        {"died": [True, False]},
        {"died": [1, 0]},
        {"sex": pl.Series(["m", "f"], dtype=pl.Categorical)},
    ],
)
def test_parquet_is_read_whatever_its_types(tmp_path, columns):
    assert values(tmp_path, parquet(**columns), declared(format="parquet")) == ROWS


@pytest.mark.parametrize(
    "column",
    [[[1], [2]], [{"a": 1}, {"a": 2}], pl.Series([b"\xff", b"1"])],
)
def test_nested_columns_and_bytes_are_refused(tmp_path, column):
    error = refusal(tmp_path, parquet(age=column), declared(format="parquet"))
    assert (error.reason, error.field) == ("WrongKind", "spec.data.columns[0].kind")


def test_a_typed_number_is_in_no_dialect(tmp_path):
    columns = [{**COLUMNS[0], "values": {"none": ""}}, *COLUMNS[1:]]
    found = values(tmp_path, parquet(age=[40.5, 1.234]), declared(columns, format="parquet", dialect=COMMA))
    assert found["age"] == [40.5, 1.234]


@pytest.mark.parametrize("mapping", [{}, {"values": {"none": ""}}])
def test_a_number_of_json_is_in_no_dialect_and_a_text_is(tmp_path, mapping):
    columns = [{**COLUMNS[0], **mapping}, *COLUMNS[1:]]
    content = '{"age": 1.234, "sex": "m", "died": true}\n{"age": 1234, "sex": "f", "died": false}\n'
    data = declared(columns, format="ndjson", dialect=COMMA)
    assert values(tmp_path, content, data)["age"] == [1.234, 1234.0]
    texts = content.replace("1.234", '"1.234"').replace(" 1234", ' "1,5"')
    assert values(tmp_path, texts, data)["age"] == [1234.0, 1.5]


def test_numbers_beside_texts_in_a_dialect_are_refused(tmp_path):
    content = '{"age": 1.234, "sex": "m", "died": true}\n\n{"age": "1,5", "sex": "f", "died": false}\n'
    error = refusal(tmp_path, content, declared(format="ndjson", dialect=COMMA))
    assert (error.reason, error.field) == ("UnreadableFile", "spec.data.sources[0].uri")
    assert "line 3 has a text where another line has a number" in error.message


def test_a_float_that_is_no_number_is_no_category(tmp_path):
    content = parquet(sex=[2.0, float("nan")])
    frame, _ = harmonised(tmp_path, content, declared(format="parquet"))
    assert frame["sex"].to_list() == ["2", None]
    assert frame["\x00kind\x00sex"].to_list() == [False, True]
    columns = [COLUMNS[0], {**COLUMNS[1], "missingValues": ["NaN"]}, COLUMNS[2]]
    frame, _ = harmonised(tmp_path, content, declared(columns, format="parquet"))
    assert frame["sex"].to_list() == ["2", None]
    assert not frame["\x00kind\x00sex"].any()


def test_ndjson_may_begin_with_a_byte_order_mark(tmp_path):
    content = '{"age": 40.5, "sex": "m", "died": true}\n{"age": 1200, "sex": "f", "died": false}\n'
    assert values(tmp_path, b"\xef\xbb\xbf" + content.encode(), declared(format="ndjson")) == ROWS


def test_durations_are_refused(tmp_path):
    column = pl.Series([1, 2], dtype=pl.Duration("us"))
    for name, index in (("age", 0), ("sex", 1)):
        error = refusal(tmp_path, parquet(**{name: column}), declared(format="parquet"))
        assert (error.reason, error.field) == ("WrongKind", f"spec.data.columns[{index}].kind")


def test_files_of_one_source_may_have_other_types(tmp_path):
    (tmp_path / "a.parquet").write_bytes(parquet())
    (tmp_path / "b.parquet").write_bytes(parquet(age=["7", "old"], sex=[1, None]))
    data = declared(uri="store://*.parquet", format="parquet")
    frame = harmonise(data, read(data, f"file://{tmp_path}")).frame.collect()
    assert frame["age"].to_list() == [40.5, 1200.0, 7.0, None]
    assert frame["\x00kind\x00age"].to_list() == [False, False, False, True]
    assert frame["sex"].to_list() == ["m", "f", "1", None]


@pytest.mark.parametrize("content", [parquet()[:-30], parquet()[:200], b"PAR1", PLAIN.encode()])
def test_a_torn_parquet_is_told(tmp_path, content):
    error = refusal(tmp_path, content, declared(format="parquet"))
    assert (error.reason, error.field) == ("UnreadableFile", "spec.data.sources[0].format")


def test_ndjson_is_read_by_names(tmp_path):
    content = '{"age": 40.5, "sex": "m", "died": true, "more": [1]}\n\n{"died": "no", "age": "1200", "sex": "f"}\n{"died": 1}\n'
    found = values(tmp_path, content, declared(format="ndjson"))
    assert found == {"age": [40.5, 1200.0, None], "sex": ["m", "f", None], "died": [1.0, 0.0, 1.0]}
    assert values(tmp_path, zstd.compress(content.encode()), declared(format="ndjson")) == found


@pytest.mark.parametrize(
    ("content", "reason", "field"),
    [
        ('{"age": 1, "sex": "m", "died": true}\n{"age": 1, "sex"\n', "UnreadableFile", "spec.data.sources[0].format"),
        ('{"age": [1], "sex": "m", "died": true}\n', "WrongKind", "spec.data.columns[0].kind"),
        ('{"age": 1, "died": true}\n', "UnknownColumn", "spec.data.columns[1].name"),
        ("\n", "EmptyData", "spec.data.sources[0].uri"),
        (b'{"age": "\xff"}\n', "UnreadableFile", "spec.data.sources[0].uri"),
    ],
)
def test_ndjson_that_cannot_be_read_is_told(tmp_path, content, reason, field):
    error = refusal(tmp_path, content, declared(format="ndjson"))
    assert (error.reason, error.field) == (reason, field)


def test_the_digest_is_over_the_bytes_as_they_are_stored(tmp_path):
    plain, smaller = (parts(tmp_path, content, declared()).digest for content in (PLAIN, packed(PLAIN.encode())))
    assert plain != smaller
    assert parts(tmp_path, PLAIN, declared()).digest == plain
