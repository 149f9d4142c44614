"""Walks over the parts of an ONNX model: graphs inside graphs, tensors, ports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from ..errors import ModelFileError
from .onnx_weights import DTYPES
from .results import Port

_FLOAT = 1
_MOST_NODES = 1_000_000
"""With every call of a function written out; more is no network."""


def subgraphs(node: Any) -> Iterator[Any]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def graphs(graph: Any) -> Iterator[Any]:
    """The graph and all inside it."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from graphs(inner)


def operations(graph: Any) -> Iterator[Any]:
    """All operations, those of branches and loops too; constants are none."""
    for inner in graphs(graph):
        for node in inner.node:
            if node.op_type != "Constant":
                yield node


def tensors(model: Any) -> Iterator[Any]:
    """Initializers and constants, of functions too; the latter get the name of what they define."""
    for graph in graphs(model.graph):
        yield from _of_graph(graph)
    for function in model.functions:
        yield from _of_nodes(function.node)
        for node in function.node:
            for inner in subgraphs(node):
                for graph in graphs(inner):
                    yield from _of_graph(graph)


def graph_tensors(graph: Any) -> Iterator[Any]:
    """The same of a graph and all inside it."""
    for inner in graphs(graph):
        yield from _of_graph(inner)


def _of_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield sparse.values  # which has the name; the indices only place them
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[Any]) -> Iterator[Any]:
    for node in nodes:
        constant = node.op_type == "Constant" and len(node.output) > 0
        for attribute in node.attribute:
            if attribute.HasField("t"):
                if constant:
                    attribute.t.name = node.output[0]
                yield attribute.t
            elif constant and attribute.floats:
                made = type(attribute.t)(
                    name=node.output[0], data_type=_FLOAT, dims=[len(attribute.floats)]
                )
                made.float_data.extend(attribute.floats)
                yield made


def operator(node: Any) -> str:
    standard = node.domain in ("", "ai.onnx")
    return str(node.op_type) if standard else f"{node.domain}::{node.op_type}"


def inputs(graph: Any) -> list[Any]:
    """Those that a caller gives; old files list initializers too."""
    constants = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in constants]


def port(value: Any) -> Port:
    kind = str(value.type.WhichOneof("value") or "unknown").removesuffix("_type")
    if kind != "tensor":
        return Port(name=value.name, kind=kind, dtype="", shape=None)
    tensor = value.type.tensor_type
    shape = tuple(_size(dim) for dim in tensor.shape.dim)
    dtype = DTYPES.get(tensor.elem_type, f"type{tensor.elem_type}")
    return Port(name=value.name, dtype=dtype, shape=shape if tensor.HasField("shape") else None)


def _size(dim: Any) -> int | str | None:
    """A negative size is how some tools write one that is not known."""
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    return dim.dim_param or None


def check_functions(name: str, model: Any) -> None:
    """Refuse functions that call themselves, or each other so often that nothing could run them.

    Raises:
        ModelFileError: if there are any.
    """
    bodies = {(f.domain, f.name): f.node for f in model.functions}
    sizes: dict[tuple[str, str], int] = {}
    calls = {key: Counter(_calls(nodes, bodies)) for key, nodes in bodies.items()}
    waiting = set(bodies)
    while waiting:
        ready = {key for key in waiting if not calls[key].keys() & waiting}
        if not ready:
            raise ModelFileError(
                f"{name} has functions that call themselves", "the file is damaged: do not use it"
            )
        for key in ready:
            inside = sum(count * sizes[called] for called, count in calls[key].items())
            sizes[key] = min(len(bodies[key]) + inside, _MOST_NODES + 1)
        waiting -= ready
    used = Counter(_calls(operations(model.graph), bodies))
    if sum(count * sizes[key] for key, count in used.items()) > _MOST_NODES:
        raise ModelFileError(
            f"{name} has functions that call each other more than {_MOST_NODES:,} times",
            "the file is damaged or hostile: do not use it",
        )


def _calls(nodes: Iterable[Any], bodies: Any) -> Iterator[tuple[str, str]]:
    for node in nodes:
        if (node.domain, node.op_type) in bodies:
            yield node.domain, node.op_type
        for inner in subgraphs(node):
            yield from _calls(inner.node, bodies)
