"""MLServer's codecs over REST and gRPC, and its `infer` command, as its documentation uses them."""

import json
import pathlib
import subprocess
import sys
import tempfile
import urllib.request

import grpc
import numpy as np
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.grpc.converters import ModelInferRequestConverter, ModelInferResponseConverter
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub
from mlserver.types import InferenceRequest, InferenceResponse

rest, address, model = sys.argv[1:4]
request = InferenceRequest(
    id="7",
    inputs=[
        NumpyCodec.encode_input("age", np.array([[55.0], [61.5]], dtype=np.float32)),
        StringCodec.encode_input("sex", ["f", "m"]),
    ],
)


def scores(response):
    assert response.id == "7", response
    output = next(o for o in response.outputs if o.name == "score")
    return NumpyCodec.decode_output(output).reshape(-1).tolist()


found = {}
content = request.model_dump_json(exclude_none=True).encode()
with urllib.request.urlopen(f"http://{rest}/v2/models/{model}/infer", content) as answer:
    found["REST"] = scores(InferenceResponse.model_validate_json(answer.read()))
with grpc.insecure_channel(address) as channel:
    message = ModelInferRequestConverter.from_types(request, model_name=model, model_version="")
    found["gRPC"] = scores(ModelInferResponseConverter.to_types(GRPCInferenceServiceStub(channel).ModelInfer(message)))
with tempfile.TemporaryDirectory() as folder:
    given, made = pathlib.Path(folder) / "in", pathlib.Path(folder) / "out"
    given.write_text(request.model_dump_json(exclude_none=True) + "\n")
    command = [sys.executable, "-c", "from mlserver.cli import main; main()", "infer", "-u", rest, "-m", model]
    subprocess.run([*command, "-i", given, "-o", made], check=True, capture_output=True)
    (line,) = made.read_text().splitlines()
    found["infer command"] = scores(InferenceResponse.model_validate(json.loads(line)))
json.dump({"scores": found}, sys.stdout)
