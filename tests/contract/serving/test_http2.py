"""h2spec, the conformance tests of HTTP/2, against a real server."""

from __future__ import annotations

import os
import subprocess
import xml.etree.ElementTree as Xml

import pytest

from tests.support.cluster import binaries
from tests.support.cluster.layout import cache_directory
from tests.support.servers import launching

VERSION = "v2.2.1+incompatible"
NOT_FOR_US = {
    "Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded": (
        "requests that are answered at once are never that many; test_http2 of the unit tests has it with slow ones"
    ),
    "Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE": (
        "the frame is larger than the protocol's default, not than the size that we said"
    ),
}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with launching(tmp_path_factory.mktemp("server")) as start:
        yield start()


@pytest.fixture(scope="module")
def h2spec():
    """The program, built once."""
    cache = cache_directory(os.environ)
    folder = cache / "bin" / f"h2spec-{VERSION}"
    if not (folder / "h2spec").exists():
        go = binaries.find_go(cache)
        module = f"github.com/summerwind/h2spec/cmd/h2spec@{VERSION}"
        subprocess.run(
            [go, "install", module], env={**os.environ, "GOBIN": str(folder), "CGO_ENABLED": "0"}, check=True
        )
    return folder / "h2spec"


def test_all_that_a_grpc_server_can_be_asked_conforms(server, h2spec, tmp_path):
    report = tmp_path / "report.xml"
    words = ["-h", "127.0.0.1", "-p", str(server.grpc), "-o", "2", "-j", str(report)]
    subprocess.run([h2spec, *words], capture_output=True)
    written = report.read_bytes().replace(b"\0", b"")  # it quotes its own frames as they are, which is no XML
    cases = list(Xml.fromstring(written).iter("testcase"))
    failed = {case.get("classname") for case in cases if case.find("failure") is not None}
    assert len(cases) > 140
    assert failed - NOT_FOR_US.keys() == set()
    assert server.ask().status_code == 200
