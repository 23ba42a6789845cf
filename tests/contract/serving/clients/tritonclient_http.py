"""tritonclient's HTTP client, as its documentation uses it."""

import json
import sys

import numpy as np
import tritonclient.http as triton

address, model = sys.argv[1:3]
client = triton.InferenceServerClient(address)
assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready(model, "1.0.0")
metadata = client.get_model_metadata(model)


def scores(binary, outputs=None, **more):
    age = triton.InferInput("age", [2, 1], "FP32")
    age.set_data_from_numpy(np.array([[55.0], [61.5]], dtype=np.float32), binary_data=binary)
    sex = triton.InferInput("sex", [2, 1], "BYTES")
    sex.set_data_from_numpy(np.array([["f"], ["m"]], dtype=object), binary_data=binary)
    return client.infer(model, [age, sex], outputs=outputs, **more)


chosen = [triton.InferRequestedOutput("score", binary_data=False)]
answers = {
    "binary": scores(True),
    "json": scores(False),
    "chosen output": scores(True, chosen),
    "gzip": scores(True, request_compression_algorithm="gzip"),
    "deflate": scores(False, request_compression_algorithm="deflate"),
    "version and id": scores(True, model_version="1.0.0", request_id="7"),
}
assert answers["chosen output"].as_numpy("decision") is None
assert answers["version and id"].get_response()["id"] == "7"
try:
    client.infer(model, [triton.InferInput("age", [1, 1], "FP32")])
except triton.InferenceServerException as error:
    refused = error.status()
found = {what: answer.as_numpy("score").reshape(-1).tolist() for what, answer in answers.items()}
json.dump({"scores": found, "inputs": [i["name"] for i in metadata["inputs"]], "refused": refused}, sys.stdout)
