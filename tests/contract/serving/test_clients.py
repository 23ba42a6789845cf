"""Other projects' clients, as they are, against a real server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import grpc
import pytest
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.support.cluster import binaries
from tests.support.cluster.layout import REPOSITORY, cache_directory
from tests.support.environments import jars_of, node_modules_of, program_of, python_of
from tests.support.servers import launching

CLIENTS = Path(__file__).parent / "clients"
PROTO = REPOSITORY / "serving" / "proto" / "open_inference.proto"
TRITON = ("tritonclient[http,grpc]",)
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with launching(tmp_path_factory.mktemp("server")) as start:
        yield start()


@pytest.fixture(scope="module")
def wanted(server):
    return [server.ask(*row).json()["outputs"][0]["data"][0] for row in ((55.0, "f"), (61.5, "m"))]


def told(client, requirements, *arguments):
    python = python_of(cache_directory(os.environ), client.partition("_")[0], requirements)
    done = subprocess.run([python, CLIENTS / f"{client}.py", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def assert_scores(found, wanted):
    assert {what: pytest.approx(wanted, abs=1e-6) for what in found} == found


def test_tritonclient_over_http(server, wanted):
    found = told("tritonclient_http", TRITON, f"127.0.0.1:{server.port}", "mortality")
    assert_scores(found["scores"], wanted)
    assert (found["inputs"], found["refused"]) == (["age", "sex"], "422")


def test_tritonclient_over_grpc(server, wanted):
    found = told("tritonclient_grpc", TRITON, f"127.0.0.1:{server.grpc}", "mortality")
    assert_scores(found["scores"], wanted)
    assert (found["inputs"], found["refused"]) == (["age", "sex"], "StatusCode.NOT_FOUND")


def test_kserves_clients_over_both(server, wanted):
    addresses = f"127.0.0.1:{server.port}", f"127.0.0.1:{server.grpc}"
    found = told("kserve_client", ("onnxruntime", "kserve"), *addresses, "mortality")
    assert_scores(found["scores"], wanted)
    assert found["refused"] == 422


def test_mlservers_client_over_both(server, wanted):
    addresses = f"127.0.0.1:{server.port}", f"127.0.0.1:{server.grpc}"
    assert_scores(told("mlserver_client", ("onnxruntime", "mlserver"), *addresses, "mortality")["scores"], wanted)


def said(*argv):
    done = subprocess.run([str(word) for word in argv], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def need(*programs):
    """Node and Java are no part of what the project needs: where they are missing, their clients are not tried."""
    if missing := [program for program in programs if shutil.which(program) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")


def test_grpc_go(server, wanted):
    cache = cache_directory(os.environ)
    program = program_of(cache, CLIENTS / "grpc_go", binaries.find_go(cache))
    found = said(program, f"127.0.0.1:{server.grpc}", "mortality")
    assert_scores(found["scores"], wanted)
    assert (found["health"], found["refused"]) == ("SERVING", "NotFound")


def test_grpc_js(server, wanted):
    need("node", "npm")
    folder = CLIENTS / "grpc_js"
    modules = node_modules_of(cache_directory(os.environ), folder / "package.json")
    found = said("node", folder / "client.cjs", modules, PROTO, f"127.0.0.1:{server.grpc}", "mortality")
    assert_scores(found["scores"], wanted)
    assert found["refused"] == "NOT_FOUND"


def test_grpc_java(server, wanted):
    need("java", "mvn")
    folder = CLIENTS / "grpc_java"
    jars = jars_of(cache_directory(os.environ), folder / "pom.xml")
    found = said("java", "-cp", f"{jars}/*", folder / "Client.java", f"127.0.0.1:{server.grpc}", "mortality")
    assert_scores(found["scores"], wanted)
    assert (found["health"], found["refused"]) == ("SERVING", "NOT_FOUND")


def test_curl_as_the_documentation_has_it(server, wanted):
    body = {"inputs": [{"name": "age", "shape": [2, 1], "datatype": "FP32", "data": [55.0, 61.5]}]}
    body["inputs"].append({"name": "sex", "shape": [2, 1], "datatype": "BYTES", "data": ["f", "m"]})
    url = f"http://127.0.0.1:{server.port}/v2/models/mortality/infer"
    done = subprocess.run(["curl", "-sf", url, "-d", json.dumps(body)], capture_output=True, check=True)
    assert json.loads(done.stdout)["outputs"][0]["data"] == wanted
    missing = subprocess.run(["curl", "-sf", f"{url}/nothing"], capture_output=True)
    assert missing.returncode == 22


def test_a_client_that_knows_no_proto_asks_by_reflection(server, wanted):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        service = pool.FindServiceByName("inference.GRPCInferenceService")
        method = service.FindMethodByName("ModelInfer")
        message = json_format.ParseDict(
            {
                "modelName": "mortality",
                "inputs": [
                    {"name": "age", "datatype": "FP32", "shape": [2, 1], "contents": {"fp32Contents": [55.0, 61.5]}},
                    {
                        "name": "sex",
                        "datatype": "BYTES",
                        "shape": [2, 1],
                        "contents": {"bytesContents": ["Zg==", "bQ=="]},
                    },
                ],
            },
            message_factory.GetMessageClass(method.input_type)(),
        )
        ask = channel.unary_unary(
            f"/{service.full_name}/{method.name}",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(method.output_type).FromString,
        )
        answer = json_format.MessageToDict(ask(message, timeout=10))
    assert answer["outputs"][0]["contents"]["fp32Contents"] == pytest.approx(wanted, abs=1e-6)
