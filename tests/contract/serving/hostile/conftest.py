"""A server to attack, and the proof that it serves the next caller as before."""

from __future__ import annotations

import grpc
import pytest

from modelward_serving._generated import open_inference_pb2 as pb
from tests.contract.serving.hostile.attack import INFER, request
from tests.support.servers import launching


@pytest.fixture(scope="package")
def target(tmp_path_factory):
    with launching(tmp_path_factory.mktemp("target")) as start:
        yield start()


@pytest.fixture
def server(target):
    yield target
    with grpc.insecure_channel(f"127.0.0.1:{target.grpc}") as channel:
        answer = channel.unary_unary(INFER.decode())(request(), timeout=10)
    assert pb.ModelInferResponse.FromString(answer).model_version == "1.0.0"
