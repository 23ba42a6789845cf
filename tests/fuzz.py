"""Bytes that a fuzzer finds, against the decoders of REST and gRPC and the checks behind them: `make fuzz`, or for longer
`uv run --all-packages --with atheris python -m tests.fuzz -max_total_time=3600`.

Each input is refused or checked, and nothing else happens; and a long JSON request means what a short one means, though numbers
are read in another way there. Whatever does not hold is written to a file crash-... by libFuzzer, to be run again by its name.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["modelward_serving"]):
    from modelward_serving._generated import open_inference_pb2 as pb
    from modelward_serving.errors import RefusedError
    from modelward_serving.grpc import codec as messages
    from modelward_serving.rest import codec, matrix_json
    from modelward_serving.validation.request import RequestValidator

from modelward_api.bundle.documents import Signature
from tests.support.bundles import COLUMNS

NUMBERS = tuple({"name": name, "kind": "numeric", "nullable": True} for name in "ab")


def validator(columns) -> RequestValidator:
    return RequestValidator(
        Signature(model="m", version="1.0.0", inputs=columns, label="o", positive="d", operating_threshold=0.5)
    )


VALIDATORS = (validator(COLUMNS), validator(NUMBERS))


def outcome(validator: RequestValidator, decode, *content):
    """What becomes of a request: its columns, or what is said of it."""
    try:
        rows = validator.rows(decode(*content))
    except RefusedError as error:
        assert 400 <= error.status < 500
        return error.body()
    return rows.count, rows.numbers.tobytes(), [texts.tolist() for texts in rows.texts], rows.outputs, rows.id


def as_json(validator: RequestValidator, content: bytes) -> None:
    assert outcome(validator, codec.decode, content) == outcome(
        validator, codec.decode, content + b" " * matrix_json.MIN_BYTES
    )


def as_json_and_bytes(validator: RequestValidator, content: bytes) -> None:
    outcome(validator, codec.decode, content[1:], str(content[0] if content else 0).encode())


def as_message(validator: RequestValidator, content: bytes) -> None:
    outcome(validator, lambda given: messages.decode(messages.parse(given)), content)


WAYS = (as_json, as_json_and_bytes, as_message)


def once(data: bytes) -> None:
    """The first byte says which decoder, and which model."""
    if data:
        WAYS[data[0] % len(WAYS)](VALIDATORS[data[0] // len(WAYS) % len(VALIDATORS)], data[1:])


def seeds() -> list[bytes]:
    """Good requests, to begin with."""
    age = {"name": "age", "shape": [1, 1], "datatype": "FP32", "data": [61]}
    sex = {"name": "sex", "shape": [1, 1], "datatype": "BYTES", "data": ["f"], "parameters": {"unit": "1"}}
    two = {"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [1.5, -2, 3e7, None]}
    asked = {"id": "7", "outputs": [{"name": "score"}], "parameters": {"binary_data_output": True}}
    behind = json.dumps({"inputs": [{**age, "data": None, "parameters": {"binary_data_size": 4}}]}).encode()
    message = pb.ModelInferRequest(model_name="m", raw_input_contents=[b"0" * 8])
    message.inputs.add(name="x", datatype="FP32", shape=[1, 2])
    typed = pb.ModelInferRequest(model_name="m")
    typed.inputs.add(name="age", datatype="FP32", shape=[1, 1]).contents.fp32_contents.extend([61])
    typed.inputs.add(name="sex", datatype="BYTES", shape=[1, 1]).contents.bytes_contents.extend([b"f"])
    return [
        b"\0" + json.dumps({"inputs": [age, sex], **asked}).encode(),
        b"\3" + json.dumps({"inputs": [two], **asked}).encode(),
        b"\3" + json.dumps({"inputs": [{**two, "data": [1, 2, 3, 4]}]}).encode(),
        b"\3" + json.dumps({"inputs": [{**two, "data": [[1, 2], [3, 4]]}]}).encode(),
        b"\1" + bytes([len(behind)]) + behind + b"0000",
        b"\5" + message.SerializeToString(),
        b"\2" + typed.SerializeToString(),
    ]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(seeds()):
            (Path(folder) / str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, folder], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
