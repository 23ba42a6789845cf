"""No output reveals a file's content:

malformed inputs of all kinds contain a mark, and all outputs of Jobs are searched for it.
"""

from __future__ import annotations

import io
import json
import random
import socket
import subprocess
import sys

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from modelward_serving.__main__ import main as serve
from modelward_training.__main__ import main as train
from modelward_training.progress import Progress
from tests.support import bundles
from tests.support.cluster.layout import REPOSITORY
from tests.support.training_rows import HEAD, rows, spec, text

MARK = "PATIENT7F3"
TIMESTAMPS = {"when": {"kind": "timestamp"}}


def parquet(table):
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


def marked(place):
    """Rows with the mark in one column."""
    return text(rows(**{place: lambda i: MARK if i == 7 else str(i)}))


GOOD = text(rows())
WHOLE = parquet(pa.table({name: [row[i] for row in rows()] for i, name in enumerate(HEAD)}))
STRUCT = pa.array([{MARK: 1}] * 80)
CASES = {
    "no header": text(rows()[1:], [MARK, "f", "2000", "live"]),
    "another header": text(rows(), [f"{MARK} x", *HEAD[1:]]),
    "a column twice": text([[*row, MARK] for row in rows()], [*HEAD, "age"]),
    "a number": marked("age"),
    "a category": marked("sex"),
    "a time": marked("when"),
    "a label": marked("outcome"),
    "a ragged line": GOOD + f"{MARK},m,2000,live,{MARK}\n",
    "a short line": GOOD + f"{MARK}\n",
    "an open quote": GOOD + f'"{MARK},m,2000,live\n',
    "text behind a quote": GOOD + f'"{MARK}"{MARK},m,2000,live\n',
    "a NUL byte": GOOD + f"{MARK}\0,m,2000,live\n",
    "Latin-1": GOOD.encode() + f"{MARK}\u00ef,m,2000,live\n".encode("latin-1"),
    "UTF-16": (GOOD + f"{MARK},m,2000,live\n").encode("utf-16"),
    "semicolons": text(rows(age=lambda i: MARK), [MARK, *HEAD], separator=";"),
    "JSON": json.dumps({MARK: {MARK: MARK}}),
    "SQL": f"SELECT {MARK} FROM {MARK};\n{GOOD}",
    "no Parquet": MARK * 100,
    "Parquet without its end": WHOLE[:-20] + MARK.encode(),
    "Parquet with another footer": WHOLE.replace(b"age", b"agf"),
    "Parquet of structures": parquet(pa.table({"age": STRUCT, **dict.fromkeys(HEAD[1:], STRUCT)})),
    "Parquet with a field of another name": parquet(pa.table({MARK: [1.0] * 80, "sex": ["m"] * 80})),
    "Parquet of other types": parquet(pa.table({"age": [MARK] * 80, **{n: [1.5] * 80 for n in HEAD[1:]}})),
    "Parquet with a column twice": parquet(pa.Table.from_arrays([pa.array([MARK])] * 3, ["age", "age", "sex"])),
    "Parquet with a time zone": parquet(
        pa.table({**{n: [MARK] * 80 for n in HEAD}, "age": pa.array([0] * 80, pa.timestamp("s", "Nowhere/PATIENT7F3"))})
    ),
}


def torn():
    """Good files with bytes changed at random: libraries say whatever they please about those."""
    chance = random.Random(7)
    for number in range(20):
        content = bytearray(WHOLE if number % 2 else GOOD.encode())
        for _ in range(3):
            place = chance.randrange(len(content))
            content[place : place + 10] = MARK.encode()
        yield bytes(content)


INPUTS = [*CASES.items(), *((f"torn {i}", content) for i, content in enumerate(torn()))]


@pytest.fixture
def heard(tmp_path, capfd):
    """All that a command left behind: its output, its last words, and the files that people may read."""

    def listen():
        out, err = capfd.readouterr()
        logs = "".join(p.read_text() for p in tmp_path.glob("*.log"))
        documents = "".join(str(p) + p.read_text(errors="replace") for p in (tmp_path / "out").rglob("*.json"))
        return out + err + logs + documents

    return listen


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("content", [c for _, c in INPUTS], ids=[name for name, _ in INPUTS])
def test_training_and_batches_tell_nothing_of_a_malformed_file(tmp_path, monkeypatch, heard, content, form):
    raw = content if isinstance(content, bytes) else content.encode()
    folder = tmp_path / "input"
    folder.mkdir()
    (folder / f"{MARK}-0.{form}").write_bytes(raw)
    (folder / f"{MARK}-1.{form}").write_bytes(raw)
    (tmp_path / "data.csv").write_bytes(raw)
    wanted = spec(form, **(TIMESTAMPS if content == CASES["a time"] else {}))
    document = {"name": "j", "namespace": "n", "spec": wanted.to_json()}
    document["spec"]["evaluation"]["bootstrap"] = 0
    (tmp_path / "job").write_text(json.dumps(document))
    words = ["run", "--spec", tmp_path / "job", "--port", 0, "--store", f"file://{tmp_path}"]
    monkeypatch.setattr("sys.argv", ["x", *map(str, [*words, "--termination-log", tmp_path / "train.log"])])
    train()
    digest = bundles.write(tmp_path / "bundle")
    for uri in ("store://input", "store://input/*"):
        words = ["--digest", digest, "--bundle", tmp_path / "bundle", "--store", f"file://{tmp_path}", "--input", uri]
        given = ["batch", *words, "--output", "store://out", "--format", form]
        monkeypatch.setattr("sys.argv", ["x", *map(str, [*given, "--termination-log", tmp_path / "batch.log"])])
        serve()
    said = heard()
    assert len(json.loads((tmp_path / "batch.log").read_text())["message"]) > 10
    assert MARK not in said
    assert MARK[:6] not in said


SPECS = {
    "a key": {"estimator": {"params": {MARK: {"x": 1}}}},
    "a value": {"split": {"method": MARK}},
    "a duration": {"activeDeadline": MARK},
    "a query": {"data": {"sources": [{"uri": f"store://x?{MARK}"}]}},
    "a password": {"data": {"sources": [{"uri": f"s3://{MARK}@bucket/x"}]}},
    "an output": {"output": {"uri": f"s3://{MARK}@bucket/x"}},
}


@pytest.mark.parametrize("changes", SPECS.values(), ids=SPECS.keys())
def test_a_wrong_spec_is_told_without_what_it_holds(tmp_path, monkeypatch, heard, changes):
    (tmp_path / "data.csv").write_text(GOOD)
    document = spec().to_json()
    for part, change in changes.items():
        document[part] = {**document[part], **change} if isinstance(change, dict) else change
    document["evaluation"]["bootstrap"] = 0
    (tmp_path / "job").write_text(json.dumps({"name": "j", "namespace": "n", "spec": document}))
    words = ["run", "--spec", tmp_path / "job", "--port", 0, "--store", f"file://{tmp_path}"]
    monkeypatch.setattr("sys.argv", ["x", *map(str, [*words, "--termination-log", tmp_path / "train.log"])])
    assert train() == 65
    assert MARK not in heard()


class PanicError(BaseException):
    """As native libraries raise them: no Exception."""


@pytest.mark.parametrize("error", [PanicError(MARK), ValueError(MARK), OSError(MARK), pl.exceptions.ComputeError(MARK)])
def test_a_librarys_exception_is_told_by_its_type(tmp_path, monkeypatch, heard, error):
    from modelward_training import pipeline

    def fails(*_):
        raise error

    (tmp_path / "data.csv").write_text(GOOD)
    (tmp_path / "job").write_text(json.dumps({"name": "j", "namespace": "n", "spec": spec().to_json()}))
    monkeypatch.setattr(pipeline, "split", fails)
    words = ["run", "--spec", tmp_path / "job", "--port", 0, "--store", f"file://{tmp_path}"]
    monkeypatch.setattr("sys.argv", ["x", *map(str, [*words, "--termination-log", tmp_path / "train.log"])])
    assert train() == 1
    said = heard()
    assert MARK not in said
    assert f"{type(error).__name__} at modelward_training/pipeline.py:" in said


@pytest.mark.parametrize(
    "request_line",
    [f"GET /{MARK} HTTP/1.1", f"{MARK} / HTTP/1.1", f"{MARK}", f"GET / HTTP/{MARK}", f"GET / {MARK} {MARK}"],
)
def test_the_progress_port_repeats_nothing_of_a_request(heard, request_line):
    server = Progress().serve(0)
    with socket.create_connection(server.server_address) as connection:
        connection.sendall(f"{request_line}\r\nhost: {MARK}\r\nconnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b""))
    server.shutdown()
    server.server_close()
    assert len(answer) < 200
    assert MARK.encode() not in answer
    assert MARK not in heard()


@pytest.mark.parametrize("package", ["modelward_training", "modelward_serving"])
def test_an_error_that_nobody_caught_is_told_without_its_text(package):
    program = f"""
import sys, threading
from modelward_api import job_process
job_process.keep_silent_of_errors()
def fails():
    raise ValueError("{MARK}")
thread = threading.Thread(target=fails); thread.start(); thread.join()
fails()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert MARK not in done.stderr
    assert done.stderr.count("InternalError: ValueError") == 2
    main = (REPOSITORY / package.removeprefix("modelward_") / f"src/{package}/__main__.py").read_text()
    assert "job_process.keep_silent_of_errors()\n" in main
