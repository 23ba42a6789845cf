"""A value must be what its column declares and its datatype holds, by the same rules in training and on every way in."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

from modelward_api.bundle.documents import Signature
from modelward_api.resources.columns import Column
from modelward_serving._generated import open_inference_pb2 as pb
from modelward_serving.batch.columns import from_numbers, from_text, from_typed
from modelward_serving.batch.errors import InvalidInputError as BatchInputError
from modelward_serving.errors import RefusedError
from modelward_serving.grpc import codec as messages
from modelward_serving.protocol.tensors import DTYPES
from modelward_serving.rest.codec import decode
from modelward_serving.validation.request import RequestValidator
from modelward_training.data.harmonise import harmonise
from modelward_training.data.parts import Part, Parts
from modelward_training.data.validate import validate
from modelward_training.errors import InvalidInputError
from tests.support.harmonised import COLUMNS, NOW, declared


def column(kind, **more):
    return Column.model_validate({"name": "x", "kind": kind, "nullable": True, **more})


def validator(kind, count=1):
    return RequestValidator(signature([column(kind)] * count))


def signature(columns):
    named = [column.model_copy(update={"name": f"x{i}"}) for i, column in enumerate(columns)]
    return Signature(model="m", version="1.0.0", inputs=named, label="o", positive="d", operating_threshold=0.5)


def tensor(values, datatype="FP64", name="x0", **more):
    return {"name": name, "shape": [len(values), 1], "datatype": datatype, **more}


def taken(kind, request):
    try:
        return validator(kind).rows(request).numbers.reshape(-1).tolist()
    except RefusedError as error:
        assert (error.status, error.reason) in ((422, "WrongKind"), (422, "WrongDatatype"))
        return None


def by_json(kind, value):
    return taken(kind, decode(json.dumps({"inputs": [tensor([value], data=[value])]}).encode()))


def by_json_beside_a_null(kind, value):
    found = taken(kind, decode(json.dumps({"inputs": [tensor([1, 2], data=[value, None])]}).encode()))
    return None if found is None else found[:1]


def by_binary(kind, value):
    raw = np.array([value], "<f8").tobytes()
    head = json.dumps({"inputs": [tensor([1], parameters={"binary_data_size": len(raw)})]}).encode()
    return taken(kind, decode(head + raw, b"%d" % len(head)))


def message(**more):
    made = pb.ModelInferRequest(model_name="m", **more)
    made.inputs.add(name="x0", datatype="FP64", shape=[1, 1])
    return made


def by_grpc_raw(kind, value):
    return taken(kind, messages.decode(message(raw_input_contents=[np.array([value], "<f8").tobytes()])))


def by_grpc_typed(kind, value):
    made = message()
    made.inputs[0].contents.fp64_contents.append(value)
    return taken(kind, messages.decode(made))


def judged(found):
    values, faults = found
    return None if any(fault.rows.any() for fault in faults) else values.tolist()


def by_batch_csv_as_text(kind, value):
    return judged(from_text(column(kind), pa.array([str(value)])))


def by_batch_csv_as_numbers(kind, value):
    return judged(from_numbers(column(kind), pa.array([float(value)])))


def by_batch_parquet(kind, value):
    return judged(from_typed(column(kind), pa.array([float(value)]), "f"))


def by_training(kind, value):
    # a file's text for a boolean is 1, as 1.0 is none of its words
    return by_training_of(kind, str(int(value)) if value == int(value) else str(value))


def by_training_of(kind, text):
    spec = declared({"x": {"kind": kind, "nullable": True}, "outcome": COLUMNS["outcome"]})
    outcomes = ["dead" if i % 4 == 0 else "live" for i in range(60)]
    frame = pl.LazyFrame({"0": [text] * 60, "1": outcomes})
    part = Part(0, spec.data.sources[0], ("x", "outcome"), frame, "rows")
    try:
        return validate(spec, harmonise(spec.data, Parts((part,), "")), NOW).data.columns["x"][:1].tolist()
    except InvalidInputError as error:
        assert error.reason == "WrongKind"
        return None


WAYS = [
    by_json,
    by_json_beside_a_null,
    by_binary,
    by_grpc_raw,
    by_grpc_typed,
    by_batch_csv_as_text,
    by_batch_csv_as_numbers,
    by_batch_parquet,
    by_training,
]
VALUES = {
    "boolean": {0.0: True, 1.0: True, 7.0: False, 0.5: False, -1.0: False, 2.0: False},
    "integer": {3.0: True, -4.0: True, 3.7: False, 3.00000001: False, 0.5: False},
    "numeric": {3.7: True, -0.5: True, 7.0: True},
}


@pytest.mark.parametrize("way", WAYS, ids=[way.__name__.removeprefix("by_").replace("_", " ") for way in WAYS])
@pytest.mark.parametrize("kind", VALUES)
def test_a_column_takes_what_its_kind_says_whichever_way_it_comes(way, kind):
    for value, is_taken in VALUES[kind].items():
        assert way(kind, value) == ([np.float32(value)] if is_taken else None), value


TRUE = {
    "json": lambda kind: taken(kind, read(tensor([1], data=[True]))),
    "json beside a number": lambda kind: first(taken(kind, read(tensor([1, 2], data=[True, 0])))),
    "json beside a null": lambda kind: first(taken(kind, read(tensor([1, 2], data=[True, None])))),
    "json in rows": lambda kind: first(taken(kind, read(tensor([1, 2], data=[[True], [0]])))),
    "json of a whole number's datatype": lambda kind: taken(kind, read(tensor([1], "INT32", data=[True]))),
    "json as BOOL": lambda kind: taken(kind, read(tensor([1], "BOOL", data=[1]))),
    "json for all columns": lambda kind: taken(kind, read(tensor([1], name="all", shape=[1, 1], data=[True]))),
    "json for all columns as BOOL": lambda kind: taken(kind, read(tensor([1], "BOOL", "all", shape=[1, 1], data=[1]))),
    "json that is long": lambda kind: first(taken(kind, read(tensor(LONG, name="all", shape=[2000, 1], data=LONG)))),
    "binary": lambda kind: taken(kind, decode(*binary(b"\1", "BOOL"))),
    "gRPC, raw": lambda kind: taken(kind, messages.decode(boolean_message(raw_input_contents=[b"\1"]))),
    "gRPC, typed": lambda kind: taken(kind, messages.decode(boolean_message(typed=True))),
    "batch, CSV": lambda kind: judged(from_text(column(kind), pa.array(["true"]))),
    "batch, Parquet": lambda kind: by_batch_parquet_of(kind, pa.array([True])),
    "training": lambda kind: by_training_of(kind, "true"),
}
LONG = [True] + [0] * 1999


def read(*tensors):
    return decode(json.dumps({"inputs": tensors}).encode())


def first(found):
    return None if found is None else found[:1]


def binary(content, datatype):
    head = json.dumps({"inputs": [tensor([1], datatype, parameters={"binary_data_size": len(content)})]}).encode()
    return head + content, b"%d" % len(head)


def boolean_message(*, typed=False, **more):
    made = message(**more)
    made.inputs[0].datatype = "BOOL"
    if typed:
        made.inputs[0].contents.bool_contents.append(True)
    return made


def by_batch_parquet_of(kind, array):
    try:
        return judged(from_typed(column(kind), array, "f"))
    except BatchInputError as error:
        assert error.reason == "WrongKind"
        return None


@pytest.mark.parametrize("way", TRUE)
@pytest.mark.parametrize("kind", ["boolean", "numeric", "integer"])
def test_true_is_a_value_of_a_boolean_and_no_number_whichever_way_it_comes(way, kind):
    assert TRUE[way](kind) == ([1.0] if kind == "boolean" else None)


def test_true_in_a_packed_row_is_for_its_boolean_columns_alone():
    mixed = RequestValidator(signature([column("numeric"), column("boolean")]))
    row = {"name": "all", "shape": [1, 2], "datatype": "FP32"}
    assert mixed.rows(read({**row, "data": [7, True]})).numbers.tolist() == [[7.0, 1.0]]
    with pytest.raises(RefusedError, match="x0 is numeric") as caught:
        mixed.rows(read({**row, "data": [True, 1]}))
    assert (caught.value.reason, caught.value.field) == ("WrongKind", "inputs[0] (x0).data")


def test_true_and_false_are_a_booleans_values():
    content = {"inputs": [tensor([1, 2], "BOOL", data=[True, False])]}
    assert taken("boolean", decode(json.dumps(content).encode())) == [1.0, 0.0]
    assert judged(from_typed(column("boolean"), pa.array([True, False]), "f")) == [1.0, 0.0]
    assert judged(from_text(column("boolean"), pa.array(["True", "no"]))) == [1.0, 0.0]


BEYOND = {
    "INT8": (300, -129, 1.5),
    "INT16": (40_000,),
    "INT32": (2**31, 0.1),
    "INT64": (1e19,),
    "UINT8": (-1, 256),
    "UINT16": (-1, 65_536),
    "UINT32": (-1,),
    "UINT64": (-1, 0.5),
    "BOOL": (7, 0.5, -1),
    "FP16": (70_000,),
}


@pytest.mark.parametrize("datatype", BEYOND)
def test_what_a_datatype_cannot_hold_is_refused(datatype):
    for value in BEYOND[datatype]:
        for data in ([value], [1, value, None]):
            content = json.dumps({"inputs": [tensor(data, datatype, data=data)]}).encode()
            assert taken("boolean" if datatype == "BOOL" else "numeric", decode(content)) is None, value
    content = json.dumps({"inputs": [tensor([1], datatype, data=[1])]}).encode()
    assert taken("boolean" if datatype == "BOOL" else "numeric", decode(content)) == [1.0]


def test_what_a_datatype_cannot_hold_is_refused_in_packed_binary_and_typed_tensors():
    packed = {"name": "all", "shape": [1, 2], "datatype": "INT8", "data": [1, 300]}
    with pytest.raises(RefusedError, match="INT8 holds a whole number from -128 to 127"):
        validator("numeric", 2).rows(decode(json.dumps({"inputs": [packed]}).encode()))
    packed |= {"datatype": "FP32", "data": [1, 0.5]}
    with pytest.raises(RefusedError, match="x1 is integer"):
        validator("integer", 2).rows(decode(json.dumps({"inputs": [packed]}).encode()))
    head = json.dumps({"inputs": [tensor([1], "BOOL", parameters={"binary_data_size": 1})]}).encode()
    assert taken("boolean", decode(head + b"\7", b"%d" % len(head))) is None
    made = message()
    made.inputs[0].datatype = "INT8"
    made.inputs[0].contents.int_contents.append(300)
    assert taken("numeric", messages.decode(made)) is None
    assert set(DTYPES) == {*BEYOND, "FP32", "FP64"}


SAID = {
    "shared memory": ({"shared_memory_region": "r", "shared_memory_byte_size": 4}, "shared memory is not supported"),
    "an offset": ({"shared_memory_offset": 4}, "shared memory is not supported"),
    "base64": ({"content_type": "base64"}, "send texts unencoded"),
    "another encoding": ({"content_type": ["x"]}, "send texts unencoded"),
}


@pytest.mark.parametrize(("parameters", "rule"), SAID.values(), ids=SAID.keys())
def test_a_parameter_that_would_change_the_values_is_refused(parameters, rule):
    with pytest.raises(RefusedError, match=rule) as caught:
        validator("numeric").rows(decode(json.dumps({"inputs": [tensor([1], parameters=parameters)]}).encode()))
    assert caught.value.field.startswith("inputs[0].parameters.")


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"minimum": 0, "maximum": 16777216}, "from 0 to 16777216"),
        ({"minimum": 0.25}, "at least 0.25"),
        ({"maximum": 1234567.5}, "at most 1234567.5"),
    ],
)
def test_limits_are_told_as_they_were_declared(limits, told):
    given = column("numeric", range=limits, outOfRange="reject").model_copy(update={"name": "x0"})
    strict = RequestValidator(
        Signature(model="m", version="1.0.0", inputs=[given], label="o", positive="d", operating_threshold=0.5)
    )
    value = -1 if "minimum" in limits else 1e8
    with pytest.raises(RefusedError) as caught:
        strict.rows(decode(json.dumps({"inputs": [tensor([value], data=[value])]}).encode()))
    assert caught.value.rule == f"x0 must be {told}"
