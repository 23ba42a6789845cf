"""A graph that is run with all its numbers as one input is the same model; one that cannot be stays as it is."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from modelward_serving.model.graph_rewrite import merged

COLUMNS = ["age", "weight", "height"]


def value(name, width=1, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, [None, width])


def concat(*names, axis=1, to="all"):
    return helper.make_node("Concat", list(names or COLUMNS), [to], axis=axis)


SUM = helper.make_node("ReduceSum", ["all"], ["score"], axes=[1], keepdims=1)


def graph(*nodes, inputs=(), outputs=("score",)):
    """An ONNX file with the columns as inputs, and others."""
    values = [value(name) for name in COLUMNS] + list(inputs)
    made = helper.make_graph(list(nodes), "g", values, [value(name) for name in outputs])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def run(content, inputs):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(["score"], inputs)[0]


@pytest.mark.parametrize("axis", [1, -1])
def test_the_model_gives_the_same_from_one_input(axis):
    content = graph(concat(axis=axis), SUM)
    changed, name = merged(content, COLUMNS)
    rows = np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)
    by_name = {column: rows[:, [i]] for i, column in enumerate(COLUMNS)}
    assert name == "all"
    assert np.array_equal(run(changed, {name: rows}), run(content, by_name))


def test_other_inputs_stay_and_what_is_not_read_is_passed_through():
    texts = value("sex", kind=TensorProto.STRING)
    content = graph(concat(), SUM, helper.make_node("Identity", ["sex"], ["same"]), inputs=[texts])
    changed = onnx.load_model_from_string(merged(content, COLUMNS)[0])
    onnx.checker.check_model(changed)
    assert [node.name for node in changed.graph.input] == ["all", "sex"]
    assert changed.opset_import == onnx.load_model_from_string(content).opset_import
    assert [node.op_type for node in changed.graph.node] == ["ReduceSum", "Identity"]
    assert changed.graph.node[0].attribute == SUM.attribute


def branch(name, reads):
    """One side of an If, which reads a value of the graph around it."""
    node = helper.make_node("Identity", [reads], [name])
    return helper.make_graph([node], name, [], [value(name)])


ALWAYS = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
LEFT_ALONE = {
    "the columns come in another order": [concat("weight", "age", "height"), SUM],
    "it leaves a column out": [concat("age", "weight"), SUM],
    "they are put below each other": [concat(axis=0), helper.make_node("Identity", ["all"], ["score"])],
    "somebody else reads a column": [concat(), helper.make_node("Add", ["all", "age"], ["more"]), SUM],
    "a graph within reads a column": [
        concat(),
        SUM,
        ALWAYS,
        helper.make_node("If", ["yes"], ["any"], then_branch=branch("a", "age"), else_branch=branch("b", "weight")),
    ],
}


@pytest.mark.parametrize("nodes", LEFT_ALONE.values(), ids=LEFT_ALONE.keys())
def test_a_graph_is_left_alone_if(nodes):
    content = graph(*nodes)
    assert merged(content, COLUMNS) == (content, None)


def test_a_graph_that_tells_what_it_put_together_is_left_alone():
    content = graph(concat(to="score"))
    assert merged(content, COLUMNS) == (content, None)


def test_what_is_no_graph_is_left_to_onnx_runtime():
    assert merged(b"\xff\xff", COLUMNS) == (b"\xff\xff", None)


def test_one_column_needs_no_merging():
    one = helper.make_node("Concat", ["age"], ["all"], axis=1)
    content = graph(one, SUM)
    assert merged(content, ["age"]) == (content, None)
