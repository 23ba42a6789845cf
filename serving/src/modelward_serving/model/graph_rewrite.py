"""Rewriting of a model's graph: one input for all numeric columns, instead of one per column.

Each input makes a run of ONNX Runtime slower. Graphs from training start with a Concat of the numeric columns; without that node,
its output becomes the input. The model stays the same, which the golden rows prove.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError

from modelward_serving._generated import graph_pb2 as pb

FLOAT = 1
"""ONNX's enum value of float32."""
ONNX = ("", "ai.onnx")
"""Names of ONNX's default domain."""


def merged(graph: bytes, columns: Sequence[str]) -> tuple[bytes, str | None]:
    """Return the graph with one input [n, columns] of float32, and its name; unchanged, with None, if it cannot be rewritten.

    Args:
        graph: An ONNX file.
        columns: The numeric columns in order, each an input [n, 1] of float32 of that name.
    """
    try:
        model = pb.Model.FromString(graph)
    except DecodeError:
        return graph, None  # ONNX Runtime reports the error
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
    """Return the node that concatenates the columns, if no other node reads them; else None."""
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
    """Return whether the node has a subgraph, which could also read the columns."""
    return any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute)


def _matrix(name: str, width: int) -> Any:
    shape = pb.Shape(dim=[pb.Dimension(dim_param="N"), pb.Dimension(dim_value=width)])
    return pb.Value(name=name, type=pb.Type(tensor_type=pb.Tensor(elem_type=FLOAT, shape=shape)))
