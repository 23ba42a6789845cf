"""gRPC on a real server: the Open Inference Protocol's service, health, reflection, and what is refused."""

from __future__ import annotations

import json
import signal
import threading
import time

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from modelward_serving._generated import open_inference_pb2 as pb
from tests.support.calls import SERVICE, call, infer, typed
from tests.support.servers import AGE, MARK, launching, wait_for


def raw(*, age=55.0, sex="f"):
    request = pb.ModelInferRequest(model_name="mortality")
    request.inputs.add(name="age", datatype="FP64", shape=[1, 1])
    request.inputs.add(name="sex", datatype="BYTES", shape=[1, 1])
    request.raw_input_contents.append(np.array([age], dtype="<f8").tobytes())
    request.raw_input_contents.append(len(sex).to_bytes(4, "little") + sex.encode())
    return request


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with launching(tmp_path_factory.mktemp("server")) as start:
        yield start()


@pytest.fixture
def channel(server):
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as opened:
        yield opened


def test_typed_contents_are_answered_with_typed_contents(channel, server):
    answer = infer(channel, typed())
    assert [o.name for o in answer.outputs] == ["score", "decision"]
    assert answer.outputs[0].contents.fp32_contents[0] == pytest.approx(0.6225, abs=1e-3)
    assert list(answer.outputs[1].contents.bool_contents) == [True]
    assert (answer.model_name, answer.model_version, answer.id) == ("mortality", "1.0.0", "7")
    assert answer.parameters["digest"].string_param == server.digest


def test_raw_contents_are_answered_with_raw_contents(channel):
    answer = infer(channel, raw())
    assert np.frombuffer(answer.raw_output_contents[0], "<f4")[0] == pytest.approx(0.6225, abs=1e-3)
    assert answer.raw_output_contents[1] == b"\1"


def test_rest_and_grpc_give_the_same_score(channel, server):
    by_rest = server.ask(age=61.5).json()["outputs"][0]["data"]
    assert list(infer(channel, typed(age=61.5)).outputs[0].contents.fp32_contents) == by_rest


def test_metadata_and_health_are_told(channel):
    assert call(channel, "ServerLive", pb.ServerLiveRequest(), pb.ServerLiveResponse).live
    assert call(channel, "ServerReady", pb.ServerReadyRequest(), pb.ServerReadyResponse).ready
    assert call(channel, "ModelReady", pb.ModelReadyRequest(name="mortality"), pb.ModelReadyResponse).ready
    assert call(channel, "ServerMetadata", pb.ServerMetadataRequest(), pb.ServerMetadataResponse).name == "modelward"
    told = call(channel, "ModelMetadata", pb.ModelMetadataRequest(name="mortality"), pb.ModelMetadataResponse)
    assert [(i.name, i.datatype) for i in told.inputs] == [("age", "FP32"), ("sex", "BYTES")]
    health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert health.status == health_pb2.HealthCheckResponse.SERVING


def test_a_client_learns_the_service_by_reflection(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    assert "inference.GRPCInferenceService" in database.get_services()
    assert "GRPCInferenceService" in str(database.FindFileContainingSymbol("inference.GRPCInferenceService"))


def both():
    request = typed()
    request.raw_input_contents.extend(raw().raw_input_contents)
    return request


def two():
    request = typed()
    request.inputs[0].contents.int64_contents.append(56)
    return request


def shared():
    request = typed()
    request.inputs[0].ClearField("contents")
    request.inputs[0].parameters["shared_memory_region"].string_param = MARK
    return request


def shared_output():
    request = typed()
    request.outputs.add(name="score").parameters["shared_memory_region"].string_param = MARK
    return request


INVALID, UNKNOWN = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND
UNSUPPORTED = grpc.StatusCode.UNIMPLEMENTED
REFUSED = {
    "another model": (typed(model="other"), UNKNOWN, "no such model; this pod serves mortality"),
    "another version": (typed(model_version="9.9.9"), UNKNOWN, "no such version; this pod serves 1.0.0"),
    "no inputs": (pb.ModelInferRequest(model_name="mortality"), INVALID, "inputs: must have at least one input"),
    "an unknown datatype": (typed(datatype=MARK), INVALID, r"inputs\[0\].datatype"),
    "contents of another datatype": (typed(datatype="INT64"), INVALID, r"inputs\[0\].data"),
    "raw contents beside typed ones": (
        both(),
        INVALID,
        r"inputs\[0\].contents: must be empty if raw_input_contents is set",
    ),
    "contents of two datatypes": (two(), INVALID, r"inputs\[0\].contents: must have values in fp32_contents only"),
    "an input in shared memory": (
        shared(),
        UNSUPPORTED,
        "inputs.0..parameters.shared_memory_region: shared memory is not supported",
    ),
    "an output in shared memory": (shared_output(), UNSUPPORTED, "outputs.0..parameters.shared_memory_region"),
    "raw contents for one input only": (typed(raw_input_contents=[b"1"]), INVALID, "raw_input_contents"),
    "an unknown output": (
        typed(outputs=[pb.ModelInferRequest.InferRequestedOutputTensor(name=MARK)]),
        INVALID,
        r"outputs\[0\].name",
    ),
}


@pytest.mark.parametrize(("request_", "code", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_a_message_is_refused_for(channel, request_, code, said):
    with pytest.raises(grpc.RpcError, match=said) as caught:
        infer(channel, request_)
    assert caught.value.code() == code
    assert MARK not in caught.value.details()


def test_bytes_that_are_no_message_are_refused(channel):
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(SERVICE + "ModelInfer")(b"\xff\xff\xff", timeout=10)
    assert caught.value.code() == INVALID


@pytest.mark.parametrize(
    ("method", "said"),
    [("ModelStreamInfer", "no such method"), ("SystemSharedMemoryRegister", "shared memory is not supported")],
)
def test_a_method_that_is_not_there_is_refused_at_once_though_its_caller_says_more_to_come(channel, method, said):
    def messages():
        yield b""
        channel_may_end.wait(10)

    channel_may_end = threading.Event()
    started = time.monotonic()
    with pytest.raises(grpc.RpcError, match=said) as caught:
        list(channel.stream_stream(SERVICE + method)(messages(), timeout=9))
    channel_may_end.set()
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert time.monotonic() - started < 5


def test_a_health_watch_takes_one_message(channel):
    with pytest.raises(grpc.RpcError, match="exactly one message") as caught:
        list(channel.stream_stream("/grpc.health.v1.Health/Watch")(iter([b"", b""]), timeout=9))
    assert caught.value.code() == INVALID


def test_a_message_that_is_too_large_is_refused(channel):
    request = raw()
    request.raw_input_contents[0] = bytes(17 * 1024 * 1024)
    with pytest.raises(grpc.RpcError) as caught:
        infer(channel, request)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED


def test_the_challenger_is_asked_for_each_call_on_one_connection(launch):
    champion, challenger = launch(), launch("2.0.0")
    champion.exchange(champion.lease_to(challenger, 50))
    with grpc.insecure_channel(f"127.0.0.1:{champion.grpc}") as channel:
        versions = [infer(channel, request).model_version for request in (typed(), raw()) for _ in range(30)]
    assert set(versions) == {"1.0.0", "2.0.0"}
    assert champion.evidence().counts.answered == versions.count("2.0.0")
    assert champion.evidence().counts.flips == 0


def test_a_frozen_challenger_costs_no_caller_its_answer_however_short_its_deadline(launch):
    champion, challenger = launch(), launch("2.0.0")
    champion.exchange(champion.lease_to(challenger, 100, deadline=3000.0))
    challenger.process.send_signal(signal.SIGSTOP)
    with grpc.insecure_channel(f"127.0.0.1:{champion.grpc}") as channel:
        infer(channel, typed(), timeout=8)  # connects
        assert infer(channel, typed(), timeout=2).model_version == "1.0.0"
    challenger.process.send_signal(signal.SIGCONT)
    wait_for(lambda: champion.evidence().counts.pairs == 2)
    assert champion.evidence().counts.fallbacks == 2


def test_an_encounter_stays_with_its_arm_over_grpc_and_rest(launch):
    champion, challenger = launch(), launch("2.0.0")
    champion.exchange(champion.lease_to(challenger, 50, sticky="X-Encounter-Id"))
    with grpc.insecure_channel(f"127.0.0.1:{champion.grpc}") as channel:
        for encounter in map(str, range(12)):
            by_grpc = infer(channel, typed(), metadata=[("x-encounter-id", encounter)]).model_version
            assert champion.ask(**{"X-Encounter-Id": encounter}).headers["x-modelward-version"] == by_grpc


def test_callers_of_a_pod_that_the_service_selects_no_longer_connect_anew_and_lose_nothing(launch):
    before, after = launch(flags=("--grpc-connection-seconds", "2")), launch("2.0.0")
    lease = before.lease_to(after, 100)
    with grpc.insecure_channel(f"127.0.0.1:{before.grpc}") as channel:
        assert infer(channel, typed()).model_version == "1.0.0"
        states = []
        channel.subscribe(states.append)
        before.exchange(lease.model_copy(update={"drain": True}))
        wait_for(lambda: infer(channel, typed()) and grpc.ChannelConnectivity.IDLE in states)
        assert infer(channel, typed()).model_version == "2.0.0"
    answer = before.ask()
    assert (answer.headers["connection"], answer.headers["x-modelward-version"]) == ("close", "2.0.0")


def test_on_sigterm_calls_are_answered_until_their_connections_have_been_asked_to_end(launch):
    server = launch(flags=("--grpc-connection-seconds", "2"))
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        states = []
        channel.subscribe(states.append)
        infer(channel, typed())

        def status():
            return health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest()).status

        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: status() == health_pb2.HealthCheckResponse.NOT_SERVING)  # the signal takes a moment
        states.clear()
        wait_for(lambda: infer(channel, typed()) and grpc.ChannelConnectivity.IDLE in states)
        assert status() == health_pb2.HealthCheckResponse.NOT_SERVING
    assert server.process.wait(timeout=15) == 0


def test_marked_values_are_nowhere(channel, server):
    infer(channel, typed(age=AGE, sex=MARK))
    with pytest.raises(grpc.RpcError) as caught:
        infer(channel, typed(age=AGE, sex=MARK * 100))
    assert MARK not in caught.value.details()
    said = server.log.read_text() + json.dumps(server.exchange(keep=True, profile=True).to_json())
    assert MARK not in said
    assert str(AGE)[:6] not in said
