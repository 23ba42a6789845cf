"""Clumsy but honest callers over HTTP, BentoML's own paths, and the control port: right answers, and no value in any other."""

from __future__ import annotations

import gzip
import json
import pickle
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.contract.serving.hostile.http1_attack import answered, connected, document
from tests.support import bundles
from tests.support.servers import launching

CLIENTS = Path(__file__).parent.parent / "clients"
MARK = "MARK7F3A"
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with launching(tmp_path_factory.mktemp("server")) as start:
        yield start(as_users_do=True, explainer=bundles.explains())


def url(server, path="/v2/models/mortality/infer"):
    return f"http://127.0.0.1:{server.port}{path}"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("java") is None, reason="no Java here")
def test_javas_client_is_answered(server):
    argv = ["java", str(CLIENTS / "Http.java"), url(server), document().decode()]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    lines = done.stdout.splitlines()
    assert len(lines) == 3, done.stderr[-2000:]
    for line in lines:
        assert line.startswith("200 ")
        assert json.loads(line[4:])["outputs"][0]["data"] == [pytest.approx(0.6225, abs=1e-3)]


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
def test_curl_that_would_like_http_2_is_answered(server):
    argv = ["curl", "--silent", "--http2", "--data-binary", document().decode(), url(server), url(server)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20)
    assert done.stdout.count('"model_name":"mortality"') == 2


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "x-gzip", "X-GZip", "deflate", "identity", "Identity"])
def test_an_encoding_is_known_by_all_its_names(server, encoding):
    import zlib

    pack = {"g": gzip.compress, "d": zlib.compress, "i": bytes}[encoding.lower().removeprefix("x-")[0]]
    for path in ("/v2/models/mortality/infer", "/v2/models/mortality/explain"):
        answer = httpx.post(url(server, path), content=pack(document()), headers={"content-encoding": encoding})
        assert answer.status_code == 200


def test_a_body_that_ends_too_early_is_no_gzip(server):
    answer = httpx.post(url(server), content=gzip.compress(document())[:-9], headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["field"]) == (400, "Content-Encoding")


READ = [
    "/livez",
    "/readyz",
    "/metrics",
    "/v2",
    "/v2/openapi.json",
    "/v2/models/mortality",
    "/v2/health/live",
    "/docs.json",
]


@pytest.mark.parametrize("path", READ)
def test_a_path_that_is_read_says_so_to_who_writes(server, path):
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = httpx.request(method, url(server, path), content=b"{}")
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert httpx.get(url(server, path), timeout=30).status_code == 200


def test_a_path_that_takes_requests_says_so_to_who_reads(server):
    for path in ("/v2/models/mortality/infer", "/v2/models/mortality/explain", "/predict", "/signature"):
        for method in ("GET", "PUT", "DELETE"):
            answer = httpx.request(method, url(server, path))
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


BODIES = {
    "text": MARK.encode(),
    "JSON of another kind": json.dumps({"inputs": MARK}).encode(),
    "a name": json.dumps({"inputs": {MARK: [1]}}).encode(),
    "a key": json.dumps({MARK: 1}).encode(),
    "a value": json.dumps({"inputs": {"age": [MARK], "sex": ["f"]}}).encode(),
    "a nested value": json.dumps({"inputs": {"age": [[MARK]], "sex": [{MARK: MARK}]}}).encode(),
    "a pickle": pickle.dumps(MARK),
    "a form": b'--x\r\ncontent-disposition: form-data; name="inputs"\r\n\r\n' + MARK.encode() + b"\r\n--x--\r\n",
    "an address": b"inputs=http%3A%2F%2F127.0.0.1%3A1%2F" + MARK.encode(),
    "no UTF-8": b"\xff\xfe" + MARK.encode(),
    "nothing": b"",
    "a bomb": gzip.compress(b'{"inputs":{"age":[' + b"[]," * 500_000 + b"1]}}"),
}
KINDS = [
    "application/json",
    "text/plain",
    "application/octet-stream",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded",
    "application/vnd.bentoml+pickle",
    "application/msgpack",
    f"application/{MARK}",
    f"application/json; {MARK}",
]
PATHS = [
    "/predict",
    "/signature",
    f"/{MARK}",
    f"/docs.json?{MARK}",
    f"/static_content/{MARK}",
    f"/predict/{MARK}?{MARK}",
]


def test_nothing_that_is_sent_to_bentomls_paths_is_repeated_or_logged_or_fails(server):
    client = httpx.Client(timeout=30)
    asked = [(path, kind, name) for path in PATHS[:2] for kind in KINDS for name in BODIES]
    for path, kind, name in [*asked, *((path, KINDS[0], "text") for path in PATHS[2:])]:
        encoding = {"content-encoding": "gzip"} if name == "a bomb" else {}
        headers = {"content-type": kind, "cookie": MARK, "x-a": MARK, **encoding}
        answer = client.post(url(server, path), content=BODIES[name], headers=headers)
        assert answer.status_code < 500, (path, kind, name)
        assert MARK not in answer.text + str(answer.headers), (path, kind, name)
        assert path != "/predict" or answer.status_code in (400, 413, 415, 422)
    for path in PATHS:
        for method in ("GET", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "HEAD"):
            answer = client.request(method, url(server, path), headers={"x-a": MARK})
            assert answer.status_code < 500
            assert MARK not in answer.text + str(answer.headers)
    log = server.log.read_text()
    assert MARK not in log
    assert "Traceback" not in log


def test_bentomls_paths_have_the_rules_of_all_requests(server):
    def asked(inputs):
        return httpx.post(url(server, "/predict"), json={"inputs": inputs}, timeout=30)

    assert asked({"age": [55], "sex": ["f"]}).json()["decision"] == [True]
    assert asked({"age": [55] * 10_001, "sex": ["f"] * 10_001}).json()["reason"] == "TooManyRows"
    assert asked({"age": [], "sex": []}).json()["reason"] == "NoRows"
    assert asked({"age": [55], "sex": [1]}).json()["field"] == "inputs[1].data"
    assert asked({}).json()["reason"] == "MissingInput"
    assert httpx.post(url(server, "/signature"), timeout=30).json()["model"] == "mortality"
    for path in ("/", "/docs.json", "/schema.json", "/healthz"):
        assert httpx.get(url(server, path), timeout=30).status_code == 200


def test_the_control_port_refuses_what_no_token_can_be(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guarded")
    (folder / "keys.json").write_text('{"keys": []}')
    with launching(folder) as start:
        server = start(flags=["--control-keys", str(folder / "keys.json"), "--pod-uid", "u"])
        for token in (b"Bearer \xff\xfe", "Bearer ü.ü.ü".encode(), b"Bearer " + b"a" * 60_000, b"Bearer e30.e30.e30"):
            caller = connected(server.control)
            caller.sendall(b"GET /v1/bundle HTTP/1.1\r\nhost: a\r\nauthorization: " + token + b"\r\n\r\n")
            status, told = answered(caller)
            assert (status, json.loads(told)["reason"]) in ((401, "BadToken"), (401, "UnknownKey"))
        assert "Traceback" not in server.log.read_text()
