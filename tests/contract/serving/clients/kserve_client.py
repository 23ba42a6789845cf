"""KServe's clients, as its documentation uses them."""

import asyncio
import json
import sys

import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

rest, grpc, model = sys.argv[1:4]


def request(binary):
    age = InferInput("age", [2, 1], "FP32")
    age.set_data_from_numpy(np.array([[55.0], [61.5]], dtype=np.float32), binary_data=binary)
    sex = InferInput("sex", [2, 1], "BYTES")
    sex.set_data_from_numpy(np.array([["f"], ["m"]], dtype=object), binary_data=binary)
    return InferRequest(model_name=model, infer_inputs=[age, sex], request_id="7")


def scores(answer):
    assert answer.id == "7"
    return next(o for o in answer.outputs if o.name == "score").as_numpy().reshape(-1).tolist()


async def main():
    found = {}
    over_rest = InferenceRESTClient(RESTConfig(protocol="v2", timeout=10, retries=1))
    url = f"http://{rest}"
    assert await over_rest.is_server_ready(url)
    assert await over_rest.is_server_live(url)
    assert await over_rest.is_model_ready(url, model)
    for what, binary in (("REST binary", True), ("REST JSON", False)):
        found[what] = scores(await over_rest.infer(url, request(binary), model_name=model))
    refused = None
    try:
        await over_rest.infer(url, {"inputs": []}, model_name=model)
    except httpx.HTTPStatusError as error:
        refused = error.response.status_code
    async with InferenceGRPCClient(grpc) as over_grpc:
        assert await over_grpc.is_server_ready()
        assert await over_grpc.is_server_live()
        assert await over_grpc.is_model_ready(model)
        for what, binary in (("gRPC raw", True), ("gRPC typed", False)):
            found[what] = scores(await over_grpc.infer(request(binary)))
    json.dump({"scores": found, "refused": refused}, sys.stdout)


asyncio.run(main())
