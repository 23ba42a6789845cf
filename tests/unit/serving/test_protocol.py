"""Requests: what is taken, what is refused, where, and never with a value."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_api.bundle import Signature
from modelward_serving.protocol import Checker, RefusedError, parse_answer
from tests.unit.serving.bundles import COLUMNS

SIGNATURE = Signature(model="m", version="1.0.0", inputs=COLUMNS, label="o", positive="d", operating_threshold=0.5)
CHECKER = Checker(SIGNATURE)
MARK = "MARK7F3A"


def age(data, shape=None, datatype="FP32"):
    return {"name": "age", "shape": shape or [len(data), 1], "datatype": datatype, "data": data}


def sex(data, shape=None, datatype="BYTES"):
    return {"name": "sex", "shape": shape or [len(data), 1], "datatype": datatype, "data": data}


def body(*inputs, **more):
    return json.dumps({"inputs": list(inputs), **more}).encode()


def test_columns_of_mixed_types_are_read():
    rows = CHECKER.rows(body(age([61, None]), sex(["f", "m"]), id="7"))
    assert rows.count == 2
    assert np.isnan(rows.columns["age"][1, 0])
    assert rows.columns["sex"].tolist() == [["f"], ["m"]]
    assert rows.id == "7"


def test_nested_and_flat_data_are_the_same():
    rows = CHECKER.rows(body(age([[61], [62]], [2, 1]), sex(["f", "m"], [2])))
    assert rows.columns["age"].tolist() == [[61.0], [62.0]]


def test_a_category_that_is_not_declared_is_taken_and_counted_elsewhere():
    assert CHECKER.rows(body(age([61]), sex(["x"]))).columns["sex"].tolist() == [["x"]]


REFUSED = {
    "no JSON": (b"{", 400, "NotJson", ""),
    "no inputs": (b"{}", 400, "NotARequest", ""),
    "empty inputs": (body(), 422, "MissingInput", "inputs"),
    "an unknown input": (body(age([1]), sex(["f"]), {**age([1]), "name": MARK}), 422, "UnknownInput", "inputs[2].name"),
    "an input twice": (body(age([1]), age([1]), sex(["f"])), 422, "DuplicateInput", "inputs[1].name"),
    "a missing input": (body(age([1])), 422, "MissingInput", "inputs"),
    "a text for a number": (body(age([MARK]), sex(["f"])), 422, "WrongKind", "inputs[0].data"),
    "a number for a text": (body(age([1]), sex([41.837465])), 422, "WrongKind", "inputs[1].data"),
    "a wrong datatype": (body(age([1], datatype="BYTES"), sex(["f"])), 422, "WrongDatatype", "inputs[0].datatype"),
    "fewer values than the shape": (body(age([1], [2, 1]), sex(["f"])), 422, "WrongShape", "inputs[0].data"),
    "different rows": (body(age([1]), sex(["f", "m"])), 422, "WrongShape", "inputs[1].shape"),
    "missing where it must not": (body(age([1]), sex([None])), 422, "MissingValue", "inputs[1].data"),
    "no rows": (body(age([], [0, 1]), sex([], [0, 1])), 422, "TooManyRows", "inputs[0].shape"),
    "an infinite number": (body(age([1e999]), sex(["f"])), 422, "WrongKind", "inputs[0].data"),
    "an unknown output": (
        body(age([1]), sex(["f"]), outputs=[{"name": MARK}]),
        422,
        "UnknownOutput",
        "outputs[0].name",
    ),
}


@pytest.mark.parametrize(("content", "status", "reason", "field"), REFUSED.values(), ids=REFUSED.keys())
def test_a_request_is_refused_for(content, status, reason, field):
    with pytest.raises(RefusedError) as caught:
        CHECKER.rows(content)
    error = caught.value
    assert error.status in (status, 400)
    assert error.reason in (reason, "NotJson")
    if error.reason == reason:
        assert error.field == field
    assert MARK not in error.body().decode()
    assert "41.8" not in error.body().decode()


@given(st.binary(max_size=200))
def test_no_bytes_make_it_crash(content):
    with pytest.raises(RefusedError):
        CHECKER.rows(content)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)


@given(JSON, JSON, JSON)
def test_no_document_makes_it_crash(data, shape, more):
    tensor = {"name": "age", "shape": shape, "datatype": "FP32", "data": data}
    for inputs in ([tensor], [{**tensor, "shape": [1, 1]}, sex(["f"])], more):
        try:
            CHECKER.rows(json.dumps({"inputs": inputs}).encode())
        except RefusedError as error:
            assert error.status in (400, 422)


def answer(scores, decisions=None, shape=None):
    shape = shape or [len(scores), 1]
    return json.dumps(
        {
            "outputs": [
                {"name": "score", "shape": shape, "datatype": "FP32", "data": scores},
                {"name": "decision", "shape": shape, "datatype": "BOOL", "data": decisions or [False] * len(scores)},
            ]
        }
    ).encode()


@pytest.mark.parametrize(
    "content", [b"", b"{}", answer([1.5]), answer([-0.1]), answer([None]), answer(["x"]), answer([0.1, 0.2])]
)
def test_what_is_no_probability_is_no_answer(content):
    assert parse_answer(content, 1) is None


def test_a_good_answer_is_read():
    assert parse_answer(answer([0.25], [True]), 1).decisions.tolist() == [True]
