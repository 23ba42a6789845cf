"""Batches: each row once, with the rules and scores of requests, no value in any output, and no work done twice."""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging

import numpy as np
import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from modelward_api import names
from modelward_api.bundle.documents import Golden, ReferenceProfile
from modelward_api.resources.columns import Column
from modelward_api.wire.exchange import BatchOutcome
from modelward_serving import __main__ as command
from modelward_serving.batch import delimited, result, score, store
from modelward_serving.batch.chunk import Chunk, Wanted
from modelward_serving.batch.columns import from_text, from_typed
from modelward_serving.batch.errors import InvalidInputError, UnreachableError
from modelward_serving.counting.dictionary import DictionaryArray
from modelward_serving.counting.profile import TextCounter
from modelward_serving.errors import RefusedError
from modelward_serving.model import bundle as served
from modelward_serving.model.predictor import Predictor
from modelward_serving.rest.codec import decode
from tests.support import bundles

MARK = "MARK7F3A"
ROWS = 1000


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    return Predictor(served.load(folder, bundles.write(folder)))


@pytest.fixture
def run(tmp_path, predictor):
    """Scores all shards and gives the table of their files together, with the outcomes."""

    def scored(form="parquet", shards=1, uri="input", **how):
        task = {
            "format": form,
            "input": f"file://{tmp_path}/{uri}",
            "output": "store://scores",
            "shards": shards,
            **how,
        }
        found = Predictor(predictor.bundle)
        tasks = [score.Task(**task, shard=shard, store=f"file://{tmp_path}") for shard in range(shards)]
        outcomes = [score.run(task, found) for task in tasks]
        files = sorted((tmp_path / "scores").glob("*.parquet"))
        return pa.concat_tables([pq.read_table(file) for file in files]), outcomes

    return scored


def rows(count=ROWS, **columns):
    ages = [None if i % 50 == 0 else float(18 + i % 60) for i in range(count)]
    return pa.table(
        {"id": [f"p{i}" for i in range(count)], "age": ages, "sex": ["fm"[i % 2] for i in range(count)], **columns}
    )


def write(folder, table, parts=1, **how):
    (folder / "input").mkdir(exist_ok=True)
    size = -(-table.num_rows // parts)
    for part in range(parts):
        pq.write_table(table.slice(part * size, size), folder / "input" / f"{part}.parquet", **how)


def write_csv(folder, text, name="0.csv"):
    (folder / "input").mkdir(exist_ok=True)
    (folder / "input" / name).write_bytes(text.encode() if isinstance(text, str) else text)


@pytest.mark.parametrize("shards", [1, 3, 7, 40])
def test_each_row_is_in_exactly_one_shard_of_parquet(tmp_path, run, shards):
    write(tmp_path, rows(), parts=3, row_group_size=97)
    table, outcomes = run(shards=shards, keep=("id",))
    assert table["id"].to_pylist() == [f"p{i}" for i in range(ROWS)]
    assert sum(o.rows for o in outcomes) == sum(o.scored for o in outcomes) == ROWS


QUOTED = ['"a\nb"', '"say ""x"""', "plain", '""', '"\n\n"', '"a,b"']


@pytest.mark.parametrize("shards", [1, 5, 40])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("block", [97, 4096])
def test_each_row_is_in_exactly_one_shard_of_csv_whatever_its_quotes_hold(
    tmp_path, run, monkeypatch, shards, end, block
):
    monkeypatch.setattr(delimited, "BLOCK", block)
    lines = [f"p{i},{20 + i % 50},{QUOTED[i % 6]},f" for i in range(300)]
    head = ["\ufeffid,age,note,sex"]
    write_csv(tmp_path, end.join(head + lines[:200]) + end)
    write_csv(tmp_path, end.join(["id,age,note,sex", *lines[200:]]), "1.csv")  # no line break at its end
    table, outcomes = run("csv", shards, keep=("id",))
    assert table["id"].to_pylist() == [f"p{i}" for i in range(300)]
    assert sum(o.rows for o in outcomes) == 300


overflows = pytest.mark.filterwarnings("ignore:overflow encountered in cast")
AGES = [55.0, None, 1e39, -1e39, 3.4e38, 0, -0.0, 1e-50, 7, 2**70]
SEXES = ["f", "x", "", None, "ü" * 256, "ü" * 257, " f"]


def asked(predictor, age, sex):
    """The verdict and the score of a request with that one row."""
    inputs = [
        {"name": "age", "shape": [1, 1], "datatype": "FP64", "data": [age]},
        {"name": "sex", "shape": [1, 1], "datatype": "BYTES", "data": [sex]},
    ]
    try:
        checked = predictor.validator.rows(decode(json.dumps({"inputs": inputs}).encode()))
    except RefusedError as error:
        return error.reason, None
    return None, float(predictor.session.score(checked.numbers, checked.texts)[0])


def batched(predictor, table):
    """The same of each row of a table."""
    features = predictor.bundle.signature.inputs
    checked = {c.name: from_typed(c, table[c.name].combine_chunks(), "f") for c in features}
    told = []
    for row in range(table.num_rows):
        broken = [f.reason for _, faults in checked.values() for f in faults if f.rows[row]]
        told.append(broken[0] if broken else None)
    chunk = Chunk.of(table.num_rows, checked, [])
    scores = score.score(chunk, predictor)
    return [
        (reason, float(s) if ok else None) for reason, s, ok in zip(told, scores, chunk.valid.tolist(), strict=True)
    ]


def same(predictor, pairs):
    table = pa.table(
        {
            "age": pa.array([None if a is None else float(a) for a, _ in pairs], pa.float64()),
            "sex": pa.array([s for _, s in pairs], pa.string()),
        }
    )
    assert batched(predictor, table) == [asked(predictor, age, sex) for age, sex in pairs]


@overflows
def test_verdicts_and_scores_are_those_of_requests(predictor):
    same(predictor, [(age, sex) for age in AGES for sex in SEXES])


@overflows
@given(
    st.lists(
        st.tuples(
            st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**9), 10**9),
            st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=300),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_verdicts_and_scores_are_those_of_requests_for_any_rows(predictor, pairs):
    same(predictor, pairs)


def test_a_model_without_numbers_scores_and_counts(tmp_path):
    made = served.load(tmp_path, bundles.write(tmp_path))
    predictor = Predictor(
        dataclasses.replace(
            made,
            graph=of_sex(),
            signature=bundles.signature(columns=bundles.COLUMNS[1:]),
            reference=ReferenceProfile(rows=300, features=(bundles.SEX,), score=bundles.SCORE),
            golden=Golden(inputs={"sex": ("f",)}, scores=(0.25,)),
        )
    )
    sex = predictor.bundle.signature.inputs[0]
    chunk = Chunk.of(3, {"sex": from_typed(sex, pa.array(["f", "m", "f"]), "f")}, [])
    assert score.score(chunk, predictor).tolist() == [0.25, 0.75, 0.25]
    assert predictor.profile.read().features == {"sex": (2, 1, 0, 0, 0), "score": (2, 1, 0, 0, 0)}


def of_sex():
    """A graph: 0.25 for women, 0.75 for all others."""
    texts = helper.make_tensor_value_info("sex", TensorProto.STRING, [None, 1])
    scores = helper.make_tensor_value_info(names.SCORE, TensorProto.FLOAT, [None, 1])
    coded = helper.make_node(
        "LabelEncoder",
        ["sex"],
        [names.SCORE],
        domain="ai.onnx.ml",
        keys_strings=["f"],
        values_floats=[0.25],
        default_float=0.75,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 2)]
    model = helper.make_model(helper.make_graph([coded], "model", [texts], [scores]), opset_imports=opsets)
    model.ir_version = 10
    return model.SerializeToString()


AGE = Column(name="age", kind="numeric", nullable=True, missing_values=("nk", "9999"))
TEXTS = {
    "61": 61.0,
    " 61.5 ": 61.5,
    "+6.1e1": 61.0,
    ".5": 0.5,
    "": None,
    "  ": None,
    "nk": None,
    "9999": None,
    "9999.0": None,
    "nan": "WrongKind",
    "inf": "WrongKind",
    "1e400": "WrongKind",
    "0x10": "WrongKind",
    "6 1": "WrongKind",
    MARK: "WrongKind",
}


def test_a_text_is_a_number_or_missing_or_wrong():
    values, faults = from_text(AGE, pa.array([*TEXTS, None]))
    told = {i: fault.reason for fault in faults for i in np.flatnonzero(fault.rows)}
    found = [told.get(i, None if np.isnan(v) else float(v)) for i, v in enumerate(values)]
    assert found == [*TEXTS.values(), None]


@pytest.mark.parametrize("text", ["61", "", "nan", "-inf", "1e39", "x"])
def test_a_number_has_one_verdict_whether_its_neighbours_are_numbers_or_not(tmp_path, run, text):
    """A block of a CSV file that holds numbers only is read another way."""
    told = []
    for neighbour in ("50", "many"):
        write_csv(tmp_path, f"age,sex\n{text},f\n{neighbour},f\n")
        told.append(run("csv")[0]["score"].to_pylist()[0])
    assert told[0] == told[1]


def test_booleans_of_files_are_what_training_takes():
    column = Column(name="b", kind="boolean", nullable=True)
    values, faults = from_text(column, pa.array(["True", "y", "0", "no", "", "maybe"]))
    assert values[:4].tolist() == [1, 1, 0, 0]
    assert np.isnan(values[4])
    assert [fault.rows.tolist() for fault in faults] == [[False] * 5 + [True]]


KINDS = [pa.int8(), pa.uint64(), pa.float16(), pa.float32(), pa.decimal128(12, 2), pa.null()]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_numbers_of_any_type_are_numbers(kind):
    array = pa.array([None, None]) if kind == pa.null() else pa.array([1, None], pa.int32()).cast(kind)
    values, faults = from_typed(AGE, array, "f")
    assert values.dtype == np.float32
    assert np.isnan(values[1])
    assert kind == pa.null() or values[0] == 1
    assert not faults


INVALID = {"age": [55.0, 1e300, None], "sex": [None, "f", "f"], "id": [1, 2, 3]}


def test_an_invalid_row_has_no_score_and_is_counted(tmp_path, run):
    write(tmp_path, pa.table(INVALID))
    table, (outcome,) = run(keep=("id",))
    assert [value is None for value in table["score"].to_pylist()] == [True, True, False]
    assert table["decision"].to_pylist() == [None, None, True]
    assert table["version"].to_pylist() == ["1.0.0"] * 3
    assert table.column_names == ["id", "score", "decision", "version"]
    assert (outcome.rows, outcome.scored, outcome.invalid) == (3, 0, None), "few are not counted for people"


def test_an_invalid_row_may_be_skipped(tmp_path, run):
    write(tmp_path, pa.table(INVALID))
    table, (outcome,) = run(keep=("id",), on_invalid_row="skip")
    assert table["id"].to_pylist() == [3]
    assert (outcome.rows, outcome.invalid) == (3, None)


def test_an_invalid_row_may_fail_the_batch(tmp_path, run):
    write(tmp_path, pa.table(INVALID))
    with pytest.raises(InvalidInputError, match="age: WrongKind; sex: MissingValue") as caught:
        run(on_invalid_row="fail")
    assert caught.value.reason == "InvalidRows"
    assert not list((tmp_path / "scores").glob("*"))


def test_what_is_no_probability_is_never_written(tmp_path):
    digest = bundles.write(tmp_path / "bundle", broken=True)
    write(tmp_path, pa.table({"age": [95.0, 55.0], "sex": ["f", "f"]}))
    task = score.Task(f"file://{tmp_path}/input", "parquet", f"file://{tmp_path}/scores", store=f"file://{tmp_path}")
    outcome = score.run(task, Predictor(served.load(tmp_path / "bundle", digest)))
    assert pq.read_table(tmp_path / "scores/shard-00000.parquet")["score"].null_count == 1
    assert (outcome.scored, outcome.invalid) == (0, None)


def test_a_kept_column_has_one_type_or_it_is_told(tmp_path, run):
    write(tmp_path, rows(10))
    pq.write_table(rows(10).set_column(0, "id", pa.array([1.5] * 10)), tmp_path / "input/1.parquet")
    assert run(keep=("id",))[0]["id"].to_pylist()[-1] == "1.5"
    pq.write_table(rows(10).set_column(0, "id", pa.array([[1]] * 10)), tmp_path / "input/1.parquet")
    with pytest.raises(InvalidInputError, match="column id has different types"):
        run(keep=("id",))


@pytest.mark.parametrize("form", ["parquet", "csv"])
@pytest.mark.parametrize("after", [0, 1])
def test_a_store_that_fails_in_between_is_not_the_files_fault(tmp_path, run, monkeypatch, form, after):
    write(tmp_path, rows())
    write_csv(tmp_path, "age,sex\n" + "1,f\n" * 100)
    calls, read = itertools.count(), obstore.get_range

    def falters(*words, **how):
        if next(calls) >= after:
            raise obstore.exceptions.GenericError("the network is gone")
        return read(*words, **how)

    monkeypatch.setattr(obstore, "get_range", falters)
    with pytest.raises(UnreachableError, match="cannot be used now"):
        run(form)


def test_a_store_without_room_is_told(tmp_path, run, monkeypatch):
    write(tmp_path, rows())

    def full(*_):
        raise obstore.exceptions.GenericError("Unable to copy data to file: No space left on device (os error 28)")

    monkeypatch.setattr(obstore, "put", full)
    with pytest.raises(InvalidInputError) as caught:
        run()
    assert (caught.value.reason, caught.value.field) == ("StoreFull", "spec.output.uri")


def test_a_finished_shard_is_not_scored_again(tmp_path, run):
    write(tmp_path, rows())
    run(shards=2)
    files = {file: file.stat().st_mtime_ns for file in (tmp_path / "scores").iterdir()}
    _, outcomes = run(shards=2)
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "scores").iterdir()} == files
    assert [o.scored for o in outcomes] == [ROWS, 0]


@pytest.mark.parametrize("change", ["input", "keep", "parquet", "result"])
def test_a_shard_is_scored_again_when_anything_about_it_changed(tmp_path, run, change):
    write(tmp_path, rows())
    run()
    shard = tmp_path / "scores/shard-00000.parquet"
    before = shard.stat().st_mtime_ns
    if change == "input":
        write(tmp_path, rows(ROWS + 1))
    elif change == "parquet":
        shard.unlink()
    elif change == "result":
        (tmp_path / "scores/shard-00000.json").write_text('{"shard": 0')
    run(keep=("id",) if change == "keep" else ())
    assert shard.stat().st_mtime_ns != before


def test_small_cells_are_not_told(tmp_path, run):
    write(tmp_path, pa.table({"age": [30.0] * 100 + [50.0] * 5 + [70.0] * 20, "sex": ["f"] * 124 + [None]}))
    run()
    told = json.loads((tmp_path / "scores/shard-00000.json").read_text())
    assert told["profile"]["age"] == [100, None, None, 0, 0, 0], "19 would give away the 5"
    assert told["refused"] == [{"column": "sex", "reason": "MissingValue"}]
    assert (told["rows"], told["scored"]) == (125, 115)
    assert "invalid" not in told


def test_how_many_of_few_rows_are_invalid_is_told_nowhere(tmp_path, run):
    """Neither by the pod's message and counts, nor by the shard's result."""
    seen = set()
    for few in (1, 4, 10):
        write(tmp_path, pa.table({"age": [30.0] * 125, "sex": ["f"] * (125 - few) + [None] * few}))
        _, (outcome,) = run()
        told = json.loads((tmp_path / "scores/shard-00000.json").read_text())
        result = {name: told.get(name) for name in ("rows", "scored", "invalid", "refused")}
        seen.add((outcome.message, outcome.rows, outcome.scored, outcome.invalid, json.dumps(result)))
    assert [told[:4] for told in seen] == [("at least 115 of 125 rows scored", 125, 115, None)]


def test_counts_are_those_of_requests():
    texts = np.array([["f"], ["m"], [""], ["x"], ["f"]], dtype=object)
    plain, coded = TextCounter(bundles.SEX), TextCounter(bundles.SEX)
    places = [np.zeros(len(texts), dtype=np.intp)]
    plain.count(texts, places)
    coded.count(DictionaryArray(np.array(["x", "f", "m", ""], dtype=object), np.array([1, 2, 3, 0, 1])), places)
    assert plain.read() == coded.read() == [(2, 1, 1, 0, 1)]


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_a_file_without_rows_gives_a_file_without_rows(tmp_path, run, form):
    write(tmp_path, rows().slice(0, 0))
    write_csv(tmp_path, "id,age,sex\n")
    table, (outcome,) = run(form, keep=("id",))
    assert (table.num_rows, outcome.rows, table.column_names[0]) == (0, 0, "id")


FOUND = {
    "a file": ("input/0.csv", ["0.csv"]),
    "a folder": ("input", ["0.csv", "1.csv", "sub/2.csv"]),
    "a folder with a slash": ("input/", ["0.csv", "1.csv", "sub/2.csv"]),
    "names with an asterisk": ("input/1*.csv", ["1.csv"]),
}


@pytest.mark.parametrize(("uri", "files"), FOUND.values(), ids=FOUND.keys())
def test_the_input_may_be(tmp_path, uri, files):
    (tmp_path / "input/sub").mkdir(parents=True)
    (tmp_path / "input/scores").mkdir()
    for name in ("1.csv", "0.csv", "sub/2.csv", "0.parquet", "_SUCCESS.csv", ".hidden.csv", "scores/3.csv"):
        (tmp_path / "input" / name).write_text("age,sex\n")
    found = store.find(f"store://{uri}", "csv", "store://input/scores", f"file://{tmp_path}")
    assert [file.path for file in found.files] == files


BAD = {
    "a missing file": ({"uri": "nothing.parquet"}, "MissingFile", "spec.input.uri"),
    "a missing folder": ({"uri": "no/thing"}, "MissingFile", "spec.input.uri"),
    "names that nothing has": ({"uri": "input/x*.parquet"}, "MissingFile", "spec.input.uri"),
    "a column to keep that is not there": ({"keep": ("id", "ward")}, "MissingColumn", "spec.keepColumns[1]"),
    "an output in the place of the input": ({"uri": "scores"}, "InvalidAddress", "spec.output.uri"),
    "an address that leaves the store": ({"output": "store://../x"}, "InvalidAddress", "spec.output.uri"),
}


@pytest.mark.parametrize(("how", "reason", "field"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_told_with_its_field(tmp_path, run, how, reason, field):
    write(tmp_path, rows())
    with pytest.raises(InvalidInputError) as caught:
        run(**how)
    assert (caught.value.reason, caught.value.field) == (reason, field)


BAD_FILES = {
    "no age": (pa.table({"sex": ["f"]}), "MissingColumn"),
    "ages as text": (pa.table({"age": [MARK], "sex": ["f"]}), "WrongKind"),
    "sexes as numbers": (pa.table({"age": [1.0], "sex": [41.837]}), "WrongKind"),
    "no parquet": (f"age,sex\n{MARK},f\n".encode(), "UnreadableFile"),
    "csv: no sex": (f"age,{MARK}x\n1,f\n", "MissingColumn"),
    "csv: a column twice": ("age,sex,sex\n1,f,f\n", "DuplicateColumn"),
    "a column twice": (
        pa.Table.from_arrays([pa.array([1.0]), pa.array(["f"]), pa.array(["f"])], ["age", "sex", "sex"]),
        "DuplicateColumn",
    ),
    "csv: no header": ("", "EmptyFile"),
    "csv: other fields": (f"age,sex\n1,f\n{MARK},f,3\n", "UnreadableFile"),
    "csv: an open quote": (f'age,sex\n1,f\n"{MARK}\n' + "1,f\n" * 50, "UnreadableFile"),
    "csv: no UTF-8": (b"age,sex\n1,\xff\xfe\n", "UnreadableFile"),
}


@pytest.mark.parametrize(("content", "reason"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_told_without_a_value(tmp_path, predictor, monkeypatch, caplog, content, reason):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(delimited, "BLOCK", 100)
    (tmp_path / "input").mkdir()
    form = (
        "csv" if isinstance(content, str) or b"\xff" in (content if isinstance(content, bytes) else b"") else "parquet"
    )
    file = tmp_path / "input" / f"0.{form}"
    if isinstance(content, pa.Table):
        pq.write_table(content, file)
    else:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    task = score.Task(f"file://{file}", form, f"file://{tmp_path}/scores", store=f"file://{tmp_path}")
    with pytest.raises(InvalidInputError) as caught:
        score.run(task, predictor)
    assert caught.value.reason == reason
    told = caught.value.message + caplog.text
    assert MARK not in told.replace(f"{MARK}x", "")
    assert "41.8" not in told


MANY = "age,sex\n" + "1,f\n" * 300


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("age;sex\n1;f\n", "separator ';'"),
        ("age\tsex\n1\tf\n", "separator a tab"),
        (MANY + "2;f\n" + MANY[8:], "line 302 has one field, and the header 2: separate fields with commas"),
        (MANY + "2,5,f\n" + MANY[8:], "line 302 has 3 fields, and the header 2: use decimal points"),
        (MANY + '"2,f\n' + MANY[8:], "a quote in line 302 is not closed"),
        (MANY + "2,f\0\n" + MANY[8:], "line 302 has a NUL byte"),
        ((MANY + "2,f\u00fc\n" + MANY[8:]).encode("latin-1"), "line 302 is not UTF-8, possibly Latin-1"),
        (MANY.encode("utf-16"), "UTF-16"),
        (MANY.encode("utf-16-le"), "line 1 has a NUL byte"),
    ],
)
@pytest.mark.parametrize("shards", [1, 3])
def test_a_csv_file_that_cannot_be_read_is_told_with_its_line_and_a_remedy(tmp_path, run, content, told, shards):
    (tmp_path / "input").mkdir()
    (tmp_path / "input/0.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InvalidInputError) as caught:
        run("csv", shards=shards)
    assert caught.value.reason == "UnreadableFile"
    assert told in caught.value.message


def test_lines_that_are_no_rows_may_be_skipped_and_are_counted(tmp_path, run):
    write_csv(tmp_path, "age,sex\n1,f\n2,f,3\n4,m\n")
    table, (outcome,) = run("csv", on_invalid_row="skip")
    assert (table.num_rows, outcome.rows, outcome.invalid) == (2, 3, None)


def invoke(monkeypatch, tmp_path, *words, index="0"):
    digest = bundles.write(tmp_path / "bundle")
    log = tmp_path / "log"
    given = ["batch", "--bundle", tmp_path / "bundle", "--digest", digest, "--termination-log", log, *words]
    monkeypatch.setattr("sys.argv", ["modelward_serving", *map(str, given)])
    monkeypatch.setenv("JOB_COMPLETION_INDEX", index)
    code = command.main()
    return code, BatchOutcome.model_validate_json(log.read_text())


def test_the_command_scores_the_shard_of_its_index(monkeypatch, tmp_path):
    write(tmp_path, rows(), row_group_size=100)
    words = ["--input", "store://input", "--format", "parquet", "--output", "store://out", "--shards", "4"]
    code, outcome = invoke(monkeypatch, tmp_path, *words, "--store", f"file://{tmp_path}", index="2")
    assert (code, outcome.succeeded, outcome.shard, outcome.rows) == (0, True, 2, 300)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["shard-00002.json", "shard-00002.parquet"]
    assert outcome.input_digest.startswith("sha256:")


def test_the_command_ends_with_65_on_bad_input_and_1_when_another_try_may_help(monkeypatch, tmp_path):
    words = ["--format", "csv", "--output", "store://out", "--store", f"file://{tmp_path}", "--input"]
    code, outcome = invoke(monkeypatch, tmp_path, *words, "store://none.csv")
    assert (code, outcome.reason, outcome.field) == (65, "MissingFile", "spec.input.uri")
    bundles.away(monkeypatch)
    code, outcome = invoke(monkeypatch, tmp_path, *words, "s3://bucket/x.csv")
    assert (code, outcome.reason) == (1, "StoreUnreachable")


def test_another_bundle_scores_nothing(monkeypatch, tmp_path):
    write(tmp_path, rows())
    words = ["--input", f"file://{tmp_path}/input", "--format", "parquet", "--output", f"file://{tmp_path}/out"]
    code, outcome = invoke(monkeypatch, tmp_path, *words, "--digest", "sha256:" + "0" * 64)
    assert (code, outcome.reason) == (65, "DigestMismatch")


def test_an_interrupted_shard_leaves_no_result(tmp_path, run, monkeypatch):
    write(tmp_path, rows())

    def dies(*_):
        raise OSError("the node is gone")

    with monkeypatch.context() as during:
        during.setattr(result, "canonical", dies)
        with pytest.raises(OSError, match="gone"):
            run()
    assert [p.name for p in (tmp_path / "scores").iterdir()] == ["shard-00000.parquet"]
    _, (outcome,) = run()
    assert outcome.rows == ROWS


def test_what_is_kept_and_is_an_input_too_is_kept_as_it_stands(tmp_path, run):
    write_csv(tmp_path, "age,sex\n055.0,f\n")
    table, _ = run("csv", keep=("age",))
    assert table["age"].to_pylist() == ["055.0"]
    assert table[names.SCORE].to_pylist() == [pytest.approx(0.6225, abs=1e-3)]


def test_columns_are_wanted_once():
    assert Wanted((AGE,), ("id", "age")).names == ["age", "id"]
