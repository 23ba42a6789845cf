"""Calls of the Open Inference Protocol over gRPC."""

from __future__ import annotations

from modelward_serving._generated import open_inference_pb2 as pb

SERVICE = "/inference.GRPCInferenceService/"


def call(channel, method, request, answer, **more):
    stub = channel.unary_unary(
        SERVICE + method, request_serializer=lambda m: m.SerializeToString(), response_deserializer=answer.FromString
    )
    return stub(request, **{"timeout": 10, **more})


def typed(*, age=55.0, sex="f", datatype="FP32", model="mortality", **more):
    request = pb.ModelInferRequest(model_name=model, id="7", **more)
    request.inputs.add(name="age", datatype=datatype, shape=[1, 1]).contents.fp32_contents.append(age)
    request.inputs.add(name="sex", datatype="BYTES", shape=[1, 1]).contents.bytes_contents.append(sex.encode())
    return request


def infer(channel, request, **more):
    return call(channel, "ModelInfer", request, pb.ModelInferResponse, **more)
