"""Numbers read without objects: whatever is read so means what the general decoder reads, and all else is left to that."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_api.bundle.documents import Signature
from modelward_serving.errors import RefusedError
from modelward_serving.protocol.tensors import NumberTensor
from modelward_serving.rest import matrix_json
from modelward_serving.rest.codec import decode
from modelward_serving.validation.request import RequestValidator

TENSOR = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1.5, -2]}
COLUMNS = tuple({"name": name, "kind": "numeric", "nullable": True} for name in "ab")
VALIDATOR = RequestValidator(
    Signature(model="m", version="1.0.0", inputs=COLUMNS, label="o", positive="d", operating_threshold=0.5)
)


def long(content: bytes) -> bytes:
    """The same document, long enough to be tried."""
    return content + b" " * matrix_json.MIN_BYTES


def document(*tensors, **more) -> bytes:
    return json.dumps({"inputs": list(tensors), **more}).encode()


def outcome(content: bytes):
    """What becomes of a request: its columns as the model sees them, or what is said of it."""
    try:
        rows = VALIDATOR.rows(decode(content))
    except RefusedError as error:
        return error.status, error.reason, error.field, error.rule
    return rows.numbers.tobytes(), rows.count, rows.outputs, rows.id, rows.flagged


def test_one_tensor_of_numbers_is_read():
    request = matrix_json.read(long(document(TENSOR, id="7", outputs=[{"name": "score"}], parameters={"a": 1})))
    [tensor] = request.inputs
    assert isinstance(tensor, NumberTensor)
    assert tensor.numbers.tolist() == tensor.data == [1.5, -2.0]
    assert (tensor.name, tensor.shape, tensor.datatype, tensor.parameters) == ("x", [1, 2], "FP32", None)
    assert (request.id, request.outputs[0].name, request.parameters) == ("7", "score", {"a": 1})


LEFT = {
    "a missing value": document({**TENSOR, "data": [1, None]}),
    "a text": document({**TENSOR, "data": [1, "2"]}),
    "true": document({**TENSOR, "data": [1, True]}),
    "rows in rows": document({**TENSOR, "data": [[1, 2]]}),
    "a row among numbers": document({**TENSOR, "data": [1, [2]]}),
    "two tensors": document(TENSOR, TENSOR),
    "no tensor": document(),
    "no shape": document({"name": "x", "datatype": "FP32", "data": [1, 2]}),
    "a shape of texts": document({**TENSOR, "shape": ["1", "2"]}),
    "a number for a name": document({**TENSOR, "name": 1}),
    "a number for an id": document(TENSOR, id=1),
    "values given twice": document(TENSOR)[:-3] + b', "data": [3, 4]}]}',
    "inputs given twice": document(TENSOR)[:-1] + b', "inputs": [{}]}',
    "a key written otherwise": document(TENSOR)[:-3] + b', "d\\u0061ta": [3, 4]}]}',
    "a number that fits nothing": document(TENSOR).replace(b"1.5", b"1e400"),
    "NaN": document({**TENSOR, "data": [1, float("nan")]}),
    "no JSON": document(TENSOR)[:-1],
    "bytes that are no UTF-8": document(TENSOR).replace(b'"x"', b'"\xff"'),
    "brackets in brackets": b"[" * 2000,
    "a number": b"1",
    "a list": b"[[[1]]]",
}


@pytest.mark.parametrize("content", LEFT.values(), ids=LEFT)
def test_all_else_is_left_to_the_general_decoder(content):
    assert matrix_json.read(long(content)) is None
    assert outcome(long(content)) == outcome(content)


def test_very_short_and_very_long_requests_are_left_to_it_too():
    assert matrix_json.read(document(TENSOR)) is None
    assert matrix_json.read(document(TENSOR) + b" " * matrix_json.MAX_BYTES) is None


numbers = st.one_of(st.integers(), st.integers(-(2**70), 2**70), st.floats(), st.floats(width=32), st.just(1e39))
scalars = st.one_of(numbers, st.none(), st.booleans(), st.text(max_size=3))
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["x", "a"]) | scalars,
        "shape": st.sampled_from([[1, 2], [2, 2], [2, 1], [1], []]) | st.lists(numbers, max_size=3),
        "datatype": st.sampled_from(["FP32", "FP64", "INT64", "BYTES"]) | scalars,
        "data": st.lists(numbers, min_size=2, max_size=4) | st.lists(scalars, max_size=4) | st.lists(st.lists(numbers)),
    },
    optional={"parameters": st.dictionaries(st.text(max_size=3), scalars), "more": scalars},
)
requests = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, min_size=1, max_size=2)},
    optional={
        "id": st.text(max_size=3) | scalars,
        "outputs": st.just([{"name": "score"}]) | st.lists(st.dictionaries(st.just("name"), scalars), max_size=2),
        "parameters": st.dictionaries(st.text(max_size=3), scalars) | scalars,
        "more": scalars,
    },
)


@settings(max_examples=500, deadline=None)
@given(requests, st.booleans())
def test_a_long_request_means_what_a_short_one_means(request, escaped):
    content = json.dumps(request, ensure_ascii=escaped).encode(errors="surrogatepass")
    assert outcome(long(content)) == outcome(content)


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_a_damaged_request_means_the_same_too(data):
    content = bytearray(document(TENSOR, id="7"))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.binary(max_size=2) | st.sampled_from([b"[", b"]", b",", b'"'])
        )
        if not content:
            return
    assert outcome(long(bytes(content))) == outcome(bytes(content))
