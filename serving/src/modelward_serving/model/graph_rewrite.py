"""A model's graph as it is run: all its numbers as one input, where the file has an input for each column.

A run of ONNX Runtime takes longer for each input that it is given. Graphs from training begin with a Concat of the numeric
columns: without that node, what it made is the input. The model stays the same, which the golden rows prove after this.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError

from modelward_serving._generated import graph_pb2 as pb

FLOAT = 1
"""ONNX's number of float32."""
ONNX = ("", "ai.onnx")
"""The names of its own domain."""


def merged(graph: bytes, columns: Sequence[str]) -> tuple[bytes, str | None]:
    """The graph with one input [n, columns] of float32 in their place, and its name; as it was, and None, if that cannot be.

    Args:
        graph: An ONNX file.
        columns: The numeric columns in order, each an input [n, 1] of float32 of that name.
    """
    try:
        model = pb.Model.FromString(graph)
    except DecodeError:
        return graph, None  # ONNX Runtime says what is wrong
    join = _join(model.graph, columns)
    others = [value for value in model.graph.input if value.name not in columns]
    if join is None or len(others) + len(columns) != len(model.graph.input):
        return graph, None
    name: str = join.output[0]
    model.graph.node.remove(join)
    del model.graph.input[:]
    model.graph.input.extend([_matrix(name, len(columns)), *others])
    return model.SerializeToString(), name


def _join(graph: Any, columns: Sequence[str]) -> Any:
    """The node that puts the columns side by side, if nothing else in the graph reads any of them; else None."""
    known, nodes = set(columns), graph.node
    readers = [node for node in nodes if not known.isdisjoint(node.input)]
    if len(columns) < 2 or len(readers) != 1 or any(_has_graphs(node) for node in nodes):
        return None
    [node] = readers
    axis = [attribute.i for attribute in node.attribute if attribute.name == "axis"]
    is_join = (
        node.op_type == "Concat" and node.domain in ONNX and list(node.input) == list(columns) and axis in ([1], [-1])
    )
    is_told = any(value.name in (*columns, *node.output) for value in graph.output)
    return node if is_join and not is_told else None


def _has_graphs(node: Any) -> bool:
    """Whether it has a graph within, which could read the columns, too."""
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def _matrix(name: str, width: int) -> Any:
    shape = pb.Shape(dim=[pb.Dimension(dim_param="N"), pb.Dimension(dim_value=width)])
    return pb.Value(name=name, type=pb.Type(tensor_type=pb.Tensor(elem_type=FLOAT, shape=shape)))
