"""The model, run in memory that is bound to it."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from modelward_api import names
from modelward_api.bundle.documents import Golden
from modelward_serving.model import bundle
from modelward_serving.model.session import Session
from tests.support import bundles

NUMBER = ({"name": "age", "kind": "numeric"},)


def loaded(folder, nodes, golden):
    """A bundle of one number whose graph is those nodes."""
    zero = numpy_helper.from_array(np.zeros((1,), np.float32), "zero")
    inputs = [helper.make_tensor_value_info("age", TensorProto.FLOAT, [None, 1])]
    outputs = [helper.make_tensor_value_info(names.SCORE, TensorProto.FLOAT, [None, 1])]
    model = helper.make_model(
        helper.make_graph(nodes, "model", inputs, outputs, [zero]), opset_imports=[helper.make_opsetid("", 18)]
    )
    model.ir_version = 10
    onnx.checker.check_model(model)
    return dataclasses.replace(
        bundle.load(folder, bundles.write(folder)),
        graph=model.SerializeToString(),
        signature=bundles.signature(columns=NUMBER),
        golden=Golden(inputs={"age": (0.0,)}, scores=(golden,)),
    )


def column(*values):
    return np.array(values, np.float32).reshape(-1, 1)


def test_answers_stay_as_they_were_while_others_are_made(tmp_path):
    session = Session(loaded(tmp_path, [helper.make_node("Sigmoid", ["age"], [names.SCORE])], 0.5))
    first = session.score(column(0, 1), [])
    assert session.score(column(2, 3), []).tolist() != first.tolist()
    assert first.tolist() == pytest.approx([0.5, 0.7310586])


def test_a_graph_that_leaves_rows_out_fails_and_gives_no_other_rows_score(tmp_path):
    nodes = [
        helper.make_node("Flatten", ["age"], ["flat"], axis=0),
        helper.make_node("GreaterOrEqual", ["flat", "zero"], ["wanted"]),
        helper.make_node("Flatten", ["wanted"], ["row"], axis=0),
        helper.make_node("Squeeze", ["row", "first"], ["condition"]),
        helper.make_node("Compress", ["age", "condition"], ["kept"], axis=0),
        helper.make_node("Sigmoid", ["kept"], [names.SCORE]),
    ]
    nodes.insert(
        0, helper.make_node("Constant", [], ["first"], value=helper.make_tensor("i", TensorProto.INT64, [1], [0]))
    )
    session = Session(loaded(tmp_path, nodes, 0.5))
    assert session.score(column(1, 2, 3), []).shape == (3,)
    with pytest.raises(Exception, match=r"[Ss]hape"):
        session.score(column(1, -2, 3), [])
    assert session.score(column(0, 0, 0), []).tolist() == [0.5, 0.5, 0.5]
