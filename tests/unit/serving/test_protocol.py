"""Requests: accepted and refused ones, with the field's path and never a value."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_api.bundle.documents import Signature
from modelward_serving.errors import RefusedError
from modelward_serving.protocol.compression import decompress
from modelward_serving.protocol.prediction import Prediction, ServedPrediction
from modelward_serving.rest.codec import decode, encode
from modelward_serving.routing.forward import parse_answer
from modelward_serving.validation.request import RequestValidator, ValidatedRows
from modelward_training.data.units import alternatives, conversion
from tests.support.bundles import COLUMNS

SIGNATURE = Signature(model="m", version="1.0.0", inputs=COLUMNS, label="o", positive="d", operating_threshold=0.5)
VALIDATOR = RequestValidator(SIGNATURE)
MARK = "MARK7F3A"


def rows_of(content: bytes, json_length: int | None = None, validator: RequestValidator = VALIDATOR) -> ValidatedRows:
    return validator.rows(decode(content, None if json_length is None else str(json_length).encode()))


def age(data, shape=None, datatype="FP32"):
    return {"name": "age", "shape": shape or [len(data), 1], "datatype": datatype, "data": data}


def sex(data, shape=None, datatype="BYTES"):
    return {"name": "sex", "shape": shape or [len(data), 1], "datatype": datatype, "data": data}


def body(*inputs, **more):
    return json.dumps({"inputs": list(inputs), **more}).encode()


def test_columns_of_mixed_types_are_read():
    rows = rows_of(body(age([61, None]), sex(["f", "m"]), id="7"))
    assert rows.count == 2
    assert np.isnan(rows.numbers[1, 0])
    assert rows.texts[0].tolist() == [["f"], ["m"]]
    assert rows.id == "7"


def test_nested_and_flat_data_are_the_same():
    rows = rows_of(body(age([[61], [62]], [2, 1]), sex(["f", "m"], [2])))
    assert rows.numbers.tolist() == [[61.0], [62.0]]


def test_a_category_that_is_not_declared_is_taken_and_counted_elsewhere():
    assert rows_of(body(age([61]), sex(["x"]))).texts[0].tolist() == [["x"]]


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
    "no rows": (body(age([], [0, 1]), sex([], [0, 1])), 422, "NoRows", "inputs[0].shape"),
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
        rows_of(content)
    error = caught.value
    assert error.status in (status, 400)
    assert error.reason in (reason, "NotJson")
    if error.reason == reason:
        assert error.field == field
    assert MARK not in error.body().decode()
    assert "41.8" not in error.body().decode()


@given(st.binary(max_size=200), st.none() | st.integers(0, 300))
def test_no_bytes_with_binary_tensors_make_it_crash(content, length):
    with pytest.raises(RefusedError):
        rows_of(content, length)


@given(st.binary(max_size=200))
def test_no_bytes_make_it_crash(content):
    with pytest.raises(RefusedError):
        rows_of(content)


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
            rows_of(json.dumps({"inputs": inputs}).encode())
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


NESTED = b'{"outputs":[{"name":"score","shape":[1],"datatype":"FP32","data":' + b"[" * 100_000


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", NESTED, answer([1.5]), answer([-0.1]), answer([None]), answer(["x"]), answer([0.1, 0.2])],
)
def test_what_is_no_probability_is_no_answer(content):
    assert parse_answer(content, 1) is None


def test_a_good_answer_is_read():
    assert parse_answer(answer([0.25], [True]), 1).decisions.tolist() == [True]


NUMERIC = tuple(
    {"name": name, "kind": "numeric", "nullable": True, "unit": "mmol/L", "range": {"minimum": 0, "maximum": 10}}
    for name in ("a", "b", "c")
)


def numeric(**first) -> RequestValidator:
    columns = ({**NUMERIC[0], **first}, *NUMERIC[1:])
    return RequestValidator(
        Signature(model="m", version="1.0.0", inputs=columns, label="o", positive="d", operating_threshold=0.5)
    )


def named(*values, **more):
    tensors = [
        {"name": n, "shape": [1, 1], "datatype": "FP32", "data": [v]} for n, v in zip("abc", values, strict=True)
    ]
    tensors[0] |= more
    return json.dumps({"inputs": tensors}).encode()


def test_one_packed_tensor_is_the_same_as_a_tensor_for_each_column():
    tensor = {"name": "x", "shape": [2, 3], "datatype": "FP64"}
    flat = json.dumps({"inputs": [{**tensor, "data": [1, 2, 3, 4, None, 6]}]}).encode()
    nested = json.dumps({"inputs": [{**tensor, "data": [[1, 2, 3], [4, None, 6]]}]}).encode()
    for content in (flat, nested):
        np.testing.assert_array_equal(rows_of(content, validator=numeric()).numbers, [[1, 2, 3], [4, np.nan, 6]])


@pytest.mark.parametrize("data", [[[1, 2], [3, 4], [5, 6]], [[1, 2], [3, 4, 5, 6]], [[1, 2, 3], 4, 5, 6]])
def test_rows_that_are_not_as_the_shape_says_are_refused(data):
    content = json.dumps({"inputs": [{"name": "x", "shape": [2, 3], "datatype": "FP64", "data": data}]}).encode()
    with pytest.raises(RefusedError, match="rows as the shape says"):
        rows_of(content, validator=numeric())


def binary(*tensors, parameters: dict[str, str] | None = None) -> tuple[bytes, int]:
    """A request with binary tensors: (name, shape, datatype, bytes), and parameters of the first."""
    inputs = [
        {"name": n, "shape": s, "datatype": d, "parameters": {"binary_data_size": len(b)}} for n, s, d, b in tensors
    ]
    inputs[0]["parameters"] |= parameters or {}
    head = json.dumps({"inputs": inputs}).encode()
    return head + b"".join(t[3] for t in tensors), len(head)


def text(*values: str) -> bytes:
    return b"".join(len(v.encode()).to_bytes(4, "little") + v.encode() for v in values)


@pytest.mark.parametrize("dtype", ["FP16", "FP32", "FP64", "INT8", "INT64", "UINT8", "UINT32"])
def test_binary_tensors_of_any_number_are_read(dtype):
    kind = {"FP": "f", "IN": "i", "UI": "u"}[dtype[:2]] + str(int("".join(filter(str.isdigit, dtype))) // 8)
    content, length = binary(
        ("age", [2, 1], dtype, np.array([61, 62], dtype="<" + kind).tobytes()), ("sex", [2], "BYTES", text("f", "m"))
    )
    rows = rows_of(content, length)
    assert rows.numbers.tolist() == [[61.0], [62.0]]
    assert rows.texts[0].tolist() == [["f"], ["m"]]


def test_a_packed_binary_tensor_is_read():
    content, length = binary(("x", [2, 3], "FP32", np.arange(6, dtype="<f4").tobytes()))
    assert rows_of(content, length, numeric()).numbers.tolist() == [[0, 1, 2], [3, 4, 5]]


F4 = np.array([61], dtype="<f4").tobytes()
BAD_BINARY = {
    "too few bytes": (binary(("age", [1], "FP32", F4[:2]), ("sex", [1], "BYTES", text("f"))), "inputs[0].data"),
    "too many values": (binary(("age", [1], "FP32", F4 * 2), ("sex", [1], "BYTES", text("f"))), "inputs[0].data"),
    "a text cut short": (binary(("age", [1], "FP32", F4), ("sex", [1], "BYTES", text("female")[:6])), "inputs[1].data"),
    "no UTF-8": (binary(("age", [1], "FP32", F4), ("sex", [1], "BYTES", b"\1\0\0\0\xff")), "inputs[1].data"),
    "bytes left over": ((binary(("age", [1], "FP32", F4))[0] + b"x", binary(("age", [1], "FP32", F4))[1]), "inputs"),
    "a JSON longer than the body": ((b"{}", 9), "Inference-Header-Content-Length"),
}


@pytest.mark.parametrize(("made", "field"), BAD_BINARY.values(), ids=BAD_BINARY.keys())
def test_a_binary_request_is_refused_for(made, field):
    with pytest.raises(RefusedError) as caught:
        rows_of(*made)
    assert caught.value.field == field


GLUCOSE = 180.156


def converting(**first) -> RequestValidator:
    """A validator that knows the other units of its column a, as training writes them."""
    columns = ({**NUMERIC[0], "molarMass": GLUCOSE, **first}, *NUMERIC[1:])
    units = {"a": alternatives(str(columns[0]["unit"]), GLUCOSE)}
    return RequestValidator(
        Signature(
            model="m", version="1.0.0", inputs=columns, label="o", positive="d", operating_threshold=0.5, units=units
        )
    )


def test_the_models_unit_may_be_named():
    assert rows_of(named(1, 2, 3, parameters={"unit": "mmol/L"}), validator=numeric()).count == 1


@pytest.mark.parametrize("as_binary", [False, True])
def test_values_in_another_unit_are_converted_by_the_factor_of_training(as_binary):
    way = conversion("mg/dL", "mmol/L", GLUCOSE)
    if as_binary:
        tensors = [(n, [1], "FP32", np.array([v], dtype="<f4").tobytes()) for n, v in (("a", 99.0), ("b", 2), ("c", 3))]
        content, length = binary(*tensors, parameters={"unit": "mg/dL"})
    else:
        content, length = named(99.0, 2, 3, parameters={"unit": "mg/dL"}), None
    rows = rows_of(content, length, converting())
    assert rows.numbers[0].tolist() == [np.float32(99.0 * way.factor + way.offset), 2, 3]
    assert rows.seen[0, 0] == rows.numbers[0, 0]


def test_an_integer_column_takes_whole_numbers_of_another_unit():
    years = RequestValidator(
        Signature(
            model="m",
            version="1.0.0",
            inputs=({"name": "a", "kind": "integer", "unit": "a"}, *NUMERIC[1:]),
            label="o",
            positive="d",
            operating_threshold=0.5,
            units={"a": alternatives("a")},
        )
    )
    assert rows_of(named(24, 2, 3, parameters={"unit": "mo"}), validator=years).numbers[0, 0] == 2
    with pytest.raises(RefusedError, match="a"):
        rows_of(named(25, 2, 3, parameters={"unit": "mo"}), validator=years)


def test_a_missing_value_stays_missing_in_any_unit():
    assert np.isnan(rows_of(named(None, 2, 3, parameters={"unit": "mg/dL"}), validator=converting()).numbers[0, 0])


def test_plausibility_is_judged_after_the_conversion():
    rows = rows_of(named(90.0, 2, 3, parameters={"unit": "mg/dL"}), validator=converting())
    assert rows.flagged == ()
    rows = rows_of(named(500.0, 2, 3, parameters={"unit": "mg/dL"}), validator=converting())
    assert rows.flagged == ("a",)


@pytest.mark.parametrize("unit", ["Cel", "mg/dl", "", 7, ["mg/dL"], {"u": 1}])
def test_a_unit_that_does_not_convert_is_refused_with_the_units_that_do(unit):
    with pytest.raises(RefusedError, match=r"a must be in mmol/L, or in one of .*mg/dL") as caught:
        rows_of(named(1, 2, 3, parameters={"unit": unit}), validator=converting())
    assert (caught.value.reason, caught.value.field) == ("WrongUnit", "inputs[0].parameters.unit")


def test_a_model_that_knows_no_other_units_says_which_it_has():
    with pytest.raises(RefusedError, match=r"a must be in mmol/L\.?$"):
        rows_of(named(1, 2, 3, parameters={"unit": "mg/dL"}), validator=numeric())


def test_a_unit_for_a_packed_tensor_is_refused():
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP64", "data": [1, 2, 3], "parameters": {"unit": "mg/dL"}}
    with pytest.raises(RefusedError, match="one input for each column"):
        rows_of(json.dumps({"inputs": [tensor]}).encode(), validator=converting())


def test_implausible_values_are_flagged_and_scored():
    rows = rows_of(named(11, 2, 3), validator=numeric())
    assert (rows.flagged, rows.abstained, rows.numbers[0, 0]) == (("a",), (), 11)


def test_implausible_values_are_clipped_for_the_model_and_counted_as_they_came():
    rows = rows_of(named(11, 12, 3), validator=numeric(outOfRange="clip"))
    assert rows.numbers.tolist() == [[10, 12, 3]]
    assert rows.seen.tolist() == [[11, 12, 3]]


def test_implausible_values_are_refused_with_the_rule_and_without_the_value():
    with pytest.raises(RefusedError, match="a must be from 0 to 10 mmol/L") as caught:
        rows_of(named(11.25, 2, 3), validator=numeric(outOfRange="reject"))
    assert (caught.value.status, caught.value.reason, caught.value.field) == (422, "OutOfRange", "inputs[0].data")
    assert b"11.25" not in caught.value.body()


def test_a_row_with_an_implausible_value_is_abstained_from():
    tensor = {"name": "x", "shape": [2, 3], "datatype": "FP32", "data": [1, 2, 3, -1, 5, 6]}
    rows = rows_of(json.dumps({"inputs": [tensor]}).encode(), validator=numeric(outOfRange="abstain"))
    assert rows.abstained == (1,)
    given = ServedPrediction(
        Prediction(np.array([0.5, np.nan], np.float32), np.array([True, False])), "m", "1.0.0", "d", "champion"
    )
    said = json.loads(encode(rows, given).content)
    assert said["outputs"][0]["data"] == [0.5, None]
    assert said["parameters"]["abstained"] == "1"
    assert said["parameters"]["abstained_because"] == "a is not from 0 to 10 mmol/L"


def test_an_undeclared_category_follows_the_columns_policy():
    columns = (COLUMNS[0], {**COLUMNS[1], "outOfRange": "reject"})
    validator = RequestValidator(
        SIGNATURE.model_copy(
            update={"inputs": Signature.model_validate({**SIGNATURE.to_json(), "inputs": columns}).inputs}
        )
    )
    with pytest.raises(RefusedError, match="sex must be one of f, m"):
        rows_of(body(age([61]), sex(["x"])), validator=validator)


@given(st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text()), max_size=3))
def test_checked_at_once_or_one_by_one_is_the_same(values):
    content = body(age(values, [2, 1]), sex(["f", "m"]))

    def outcome(validator):
        try:
            return rows_of(content, validator=validator).numbers.tobytes()
        except RefusedError as error:
            return error.body()

    slow = RequestValidator(SIGNATURE)
    slow._at_once = lambda *_: None
    assert outcome(VALIDATOR) == outcome(slow)


def test_outputs_are_as_asked_for():
    asked = [{"name": "decision", "parameters": {"binary_data": True}}, {"name": "score"}]
    rows = rows_of(body(age([61]), sex(["f"]), outputs=asked))
    given = ServedPrediction(Prediction(np.array([0.5], np.float32), np.array([True])), "m", "1.0.0", "d", "champion")
    encoded = encode(rows, given)
    head = json.loads(encoded.content[: encoded.json_length])
    assert [output["name"] for output in head["outputs"]] == ["decision", "score"]
    assert encoded.content[encoded.json_length :] == b"\1"
    assert head["outputs"][0]["parameters"] == {"binary_data_size": 1}


def test_a_compressed_body_is_unpacked_up_to_a_limit():
    import gzip
    import zlib

    assert decompress(gzip.compress(b"{}"), b"gzip") == b"{}"
    assert decompress(zlib.compress(b"{}"), b"deflate") == b"{}"
    for content, encoding, status in (
        (b"{}", b"gzip", 400),
        (b"{}", b"br", 415),
        (gzip.compress(bytes(17 * 1024 * 1024)), b"gzip", 413),
    ):
        with pytest.raises(RefusedError) as caught:
            decompress(content, encoding)
        assert caught.value.status == status
