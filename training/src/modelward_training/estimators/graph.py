"""An ONNX graph under construction."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from modelward_api.names import SCORE
from modelward_api.resources.columns import Column

OPSET, OPSET_ML, IR_VERSION = 18, 5, 10
ML = "ai.onnx.ml"


class Graph:
    """Nodes and constants. Names of tensors begin with a slash, which no column's name does."""

    def __init__(self, features: tuple[Column, ...]) -> None:
        self.inputs = [
            helper.make_tensor_value_info(
                column.name, TensorProto.STRING if column.kind == "categorical" else TensorProto.FLOAT, [None, 1]
            )
            for column in features
        ]
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, np.ndarray] = {}

    def add(self, operator: str, *given: str, domain: str = "", **attributes: Any) -> str:
        """Append a node and return the name of its one output."""
        name = f"/{len(self._nodes)}/{operator}"
        self._nodes.append(helper.make_node(operator, list(given), [name], domain=domain, **attributes))
        return name

    def ml(self, operator: str, *given: str, **attributes: Any) -> str:
        """Append a node of ai.onnx.ml and return the name of its one output."""
        return self.add(operator, *given, domain=ML, **attributes)

    def constant(self, value: np.ndarray) -> str:
        """Return the name of a constant."""
        name = f"/constant/{len(self._constants)}"
        self._constants[name] = value
        return name

    def select(self, table: str, indices: list[int] | np.ndarray) -> str:
        """Select columns of [n, k]."""
        return self.add("Gather", table, self.constant(np.array(indices, dtype=np.int64)), axis=1)

    def join(self, tables: list[str]) -> str:
        """Join tables [n, ...] side by side."""
        return tables[0] if len(tables) == 1 else self.add("Concat", *tables, axis=1)

    def double(self, name: str) -> str:
        """Cast to FP64."""
        return self.add("Cast", name, to=TensorProto.DOUBLE)

    def float(self, name: str) -> str:
        """Cast to FP32."""
        return self.add("Cast", name, to=TensorProto.FLOAT)

    def include(self, model: ModelProto, given: str) -> list[str]:
        """Append another model, which takes the named tensor and has names of its own, and return its outputs' names."""
        self._nodes.append(helper.make_node("Identity", [given], [model.graph.input[0].name]))
        self._nodes.extend(model.graph.node)
        self._constants.update({tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer})
        return [output.name for output in model.graph.output]

    def model(self, score: str) -> ModelProto:
        """Return the model whose one output is ``score``, FP32 [n, 1], from the named tensor of FP64."""
        last = helper.make_node("Cast", [score], [SCORE], to=TensorProto.FLOAT)
        graph = helper.make_graph(
            [*self._nodes, last],
            "model",
            self.inputs,
            [helper.make_tensor_value_info(SCORE, TensorProto.FLOAT, [None, 1])],
            [numpy_helper.from_array(value, name) for name, value in self._constants.items()],
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(ML, OPSET_ML)]
        return helper.make_model(graph, producer_name="modelward", opset_imports=opsets, ir_version=IR_VERSION)
