"""What fp16 costs an ONNX file, and which of its nodes to keep in fp32.

The file runs in its declared types (`care_mobile.runtimes.onnx_declared`) and without rounding.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from care_mobile.agreement import MAX_DB, psnr_db
from care_mobile.half_precision import (
    HalfPrecision,
    OperationDivergence,
    Traced,
    advise,
    combined,
)
from care_mobile.inputs import Array
from care_mobile.runtimes.onnx_declared import in_declared_types, session_of

if TYPE_CHECKING:
    import onnx

_SMALLEST_NORMAL = 2.0**-14


def onnx_half_precision(
    model: onnx.ModelProto, inputs: Sequence[Mapping[str, Array]], count: int = 5
) -> HalfPrecision:
    """Rank the nodes of a model in half precision on some inputs.

    Raises:
        RuntimeFailure: if onnxruntime refuses the model.
    """
    outputs = [value.name for value in model.graph.output]
    exact = session_of(in_declared_types(model, None))
    wanted = [exact.run(outputs, x) for x in inputs]
    graph = _Graph(model)
    runs = [_entries(graph, *_both(model, x)) for x in inputs]
    traced = [
        Traced(entry, graph.producers(entry.operation), graph.consumers(entry.operation))
        for entry in combined(runs)
    ]

    def agreement(kept: Collection[str]) -> float:
        session = session_of(in_declared_types(model, frozenset(kept)))
        pairs = [
            (want, have)
            for x, row in zip(inputs, wanted, strict=True)
            for want, have in zip(row, session.run(outputs, x), strict=True)
            if np.issubdtype(want.dtype, np.floating)
        ]
        return round(min((_psnr(want, have) for want, have in pairs), default=MAX_DB), 2)

    return advise(traced, agreement, count)


class _Graph:
    """Who makes and who reads the values of a graph, casts left out."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.nodes = {node.name: node for node in model.graph.node if node.op_type != "Cast"}
        casts = [node for node in model.graph.node if node.op_type == "Cast"]
        self._origin = {node.output[0]: node.input[0] for node in casts}
        self._rounded = {node.input[0]: node.output[0] for node in casts}
        maker = {o: node.name for node in self.nodes.values() for o in node.output}
        self._producers = {
            name: tuple(dict.fromkeys(maker[s] for s in self._sources(node) if s in maker))
            for name, node in self.nodes.items()
        }
        self._consumers: dict[str, list[str]] = {name: [] for name in self.nodes}
        for name, producers in self._producers.items():
            for producer in producers:
                self._consumers[producer].append(name)
        for value in model.graph.output:
            origin = self._through_casts(value.name)
            if origin in maker:
                self._consumers[maker[origin]].append("output")

    def producers(self, name: str) -> tuple[str, ...]:
        return self._producers[name]

    def consumers(self, name: str) -> tuple[str, ...]:
        """Nodes, and "output" where the network returns the result."""
        return tuple(self._consumers[name])

    def result(self, name: str, held: Collection[str]) -> str | None:
        """The value of half precision that a node yields, by itself or by the cast behind it."""
        value = self.nodes[name].output[0]
        for candidate in (value, self._rounded.get(value)):
            if candidate in held:
                return candidate
        return None

    def _sources(self, node: onnx.NodeProto) -> list[str]:
        return [self._through_casts(value) for value in node.input]

    def _through_casts(self, value: str) -> str:
        while value in self._origin:
            value = self._origin[value]
        return value


def _both(
    model: onnx.ModelProto, x: Mapping[str, Array]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Every result without rounding and with it, by name."""
    found = []
    for keep in (None, ()):
        session = session_of(in_declared_types(model, keep, show=True))
        names = [value.name for value in session.get_outputs()]
        found.append(dict(zip(names, session.run(names, x), strict=True)))
    return found[0], found[1]


def _entries(
    graph: _Graph, exact: Mapping[str, Array], half: Mapping[str, Array]
) -> list[OperationDivergence]:
    results = {name: graph.result(name, exact.keys()) for name in graph.nodes}
    return [
        _entry(index, graph.nodes[name], exact[value], half[value])
        for index, (name, value) in enumerate(results.items())
        if value is not None and np.issubdtype(exact[value].dtype, np.floating)
    ]


def _entry(index: int, node: onnx.NodeProto, want: Array, have: Array) -> OperationDivergence:
    size, finite = np.abs(want.astype(np.float64)), np.isfinite(want)
    nonzero = finite & (want != 0)
    return OperationDivergence(
        index=index,
        operation=node.name,
        operator=node.op_type,
        dtype="fp16",
        psnr_db=round(_psnr(want, have), 2),
        largest=float(size[finite].max(initial=0.0)),
        overflows=int(np.count_nonzero(finite & np.isinf(have))),
        subnormals=int(np.count_nonzero(nonzero & (size < _SMALLEST_NORMAL))),
        underflows=int(np.count_nonzero(nonzero & (have == 0))),
        nans=int(np.count_nonzero(np.isnan(have) & ~np.isnan(want))),
    )


def _psnr(want: Array, have: Array) -> float:
    """The lowest there is where one is finite and the other not, or another infinity."""
    finite = np.isfinite(want)
    if not np.array_equal(want[~finite], have[~finite], equal_nan=True):
        return -MAX_DB
    return psnr_db(want[finite].astype(np.float64), have[finite].astype(np.float64))
