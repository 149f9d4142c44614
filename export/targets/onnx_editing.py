"""Reading and editing an ONNX graph (onnx_ir); what the rewrites of this target stand on.

A map is a tensor (batch, channels, height, width).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx_ir as ir

FloatArray = NDArray[np.float32]

BLOCK = 16
"""Channels per block of ONNX Runtime's layout with AVX-512, the most of any machine."""

ORIGINS = "care_mobile.origins"
"""Metadata of a node: the operations of the captured program it stands for, comma-separated."""


@dataclass(frozen=True)
class Convolution:
    """A two-dimensional Conv whose weights are known; nothing dilated."""

    node: ir.Node
    weight: FloatArray
    bias: FloatArray
    group: int
    pads: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def source(self) -> ir.Value:
        value = self.node.inputs[0]
        assert value is not None
        return value

    @property
    def kernel(self) -> tuple[int, int]:
        return int(self.weight.shape[2]), int(self.weight.shape[3])

    @property
    def is_pointwise(self) -> bool:
        """Whether every output channel is a sum of input channels at the same place."""
        plain = set(self.strides) == {1} and not any(self.pads)
        return self.group == 1 and self.kernel == (1, 1) and plain

    @property
    def is_depthwise(self) -> bool:
        """Whether every channel is filtered by itself, with an odd kernel that keeps the size."""
        height, width = self.kernel
        same = self.pads == (height // 2, width // 2, height // 2, width // 2)
        alone = self.weight.shape[1] == 1 and len(self.weight) == self.group
        return alone and same and bool(height % 2 and width % 2) and set(self.strides) == {1}


class Graph:
    """An ONNX graph being edited by one rewrite; `changed` counts its places."""

    def __init__(self, model: ir.Model) -> None:
        self.graph = model.graph
        self.places = 0
        self._names = {v.name for node in self.graph for v in node.outputs}
        self._names |= set(self.graph.initializers)

    def changed(self) -> None:
        self.places += 1

    # Reading ------------------------------------------------------------------------------

    def nodes(self, *types: str) -> Iterator[ir.Node]:
        """Nodes of these types, in order, as they were when asked for."""
        yield from [node for node in self.graph if node.op_type in types and not node.domain]

    def constant(self, value: ir.Value | None) -> NDArray[Any] | None:
        """The value of an initializer, else None."""
        if value is None or value.const_value is None or value.is_graph_input():
            return None
        return value.const_value.numpy()

    def made_by(self, value: ir.Value | None, *types: str) -> ir.Node | None:
        """The node of one of these types that yields `value`, else None."""
        node = value.producer() if value is not None else None
        return node if node is not None and node.op_type in types and not node.domain else None

    def convolution(self, value: ir.Value | None) -> Convolution | None:
        """The convolution that yields `value`, else None."""
        node = self.made_by(value, "Conv")
        weight = self.constant(node.inputs[1]) if node is not None else None
        if node is None or weight is None or weight.ndim != 4 or weight.dtype != np.float32:
            return None
        pads, strides = ints(node, "pads", (0,) * 4), ints(node, "strides", (1, 1))
        auto = node.attributes.get("auto_pad")
        if set(ints(node, "dilations", (1, 1))) != {1} or (auto and auto.as_string() != "NOTSET"):
            return None
        bias = np.zeros(len(weight), np.float32)
        if len(node.inputs) > 2 and node.inputs[2] is not None:
            given = self.constant(node.inputs[2])
            if given is None:
                return None
            bias = given
        return Convolution(node, weight, bias, number(node, "group", 1), pads, strides)

    def only_reader(self, value: ir.Value | None) -> ir.Node | None:
        """The one node that reads `value` once, if nothing else needs it, else None."""
        if value is None or value.is_graph_output():
            return None
        uses = tuple(value.uses())
        return uses[0].node if len(uses) == 1 else None

    # Editing ------------------------------------------------------------------------------

    def add(
        self,
        before: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value],
        name: str,
        attributes: dict[str, Any] | None = None,
        outputs: Sequence[Sequence[Any]] = (),
        origins: Iterable[ir.Node] = (),
    ) -> list[ir.Value]:
        """A new node in front of `before`; its outputs have the shapes `outputs`."""
        import onnx_ir as ir

        node = ir.node(op_type, inputs, attributes, num_outputs=len(outputs))
        for index, (value, shape) in enumerate(zip(node.outputs, outputs, strict=True)):
            value.name = self._fresh(name if len(outputs) == 1 else f"{name}_{index}")
            value.dtype = ir.DataType.FLOAT
            value.shape = ir.Shape(shape)
        node.name = f"node_{node.outputs[0].name}"
        found = [origin for source in origins for origin in origins_of(source)]
        if found:
            node.metadata_props[ORIGINS] = ",".join(dict.fromkeys(found))
        self.graph.insert_before(before, node)
        return list(node.outputs)

    def depthwise(
        self,
        before: ir.Node,
        source: ir.Value,
        weight: FloatArray,
        bias: FloatArray,
        name: str,
        origins: Iterable[ir.Node] = (),
    ) -> ir.Value:
        """A depthwise convolution of `source` (C, 1, h, w) that keeps the map's size."""
        height, width = weight.shape[2:]
        pads = [height // 2, width // 2] * 2
        inputs = [source, self.weights(f"{name}.weight", weight)]
        if bias.any():
            inputs.append(self.weights(f"{name}.bias", bias))
        attributes = {"group": len(weight), "kernel_shape": [height, width], "pads": pads}
        shape = shape_of(source)
        return self.add(before, "Conv", inputs, name, attributes, [shape], origins)[0]

    def weights(self, name: str, array: NDArray[Any]) -> ir.Value:
        """A new initializer."""
        import onnx_ir as ir

        name = self._fresh(name)
        tensor = ir.tensor(np.array(array, order="C"), name=name)
        value = ir.Value(name=name, const_value=tensor)
        value.shape, value.dtype = ir.Shape(array.shape), tensor.dtype
        self.graph.register_initializer(value)
        return value

    def replace(self, old: ir.Value, new: ir.Value) -> None:
        """Let `new` stand for `old` everywhere and drop what nobody reads any more.

        An output of the graph keeps its name.
        """
        import onnx_ir as ir

        if old.is_graph_output():
            old.name, new.name = f"{old.name}_before", old.name
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        self.drop(old.producer())

    def drop(self, node: ir.Node | None) -> None:
        """Remove `node` if nobody reads it, then likewise whatever it alone read."""
        if node is None or node.graph is None:
            return
        if any(v.uses() or v.is_graph_output() for v in node.outputs):
            return
        sources = [value for value in node.inputs if value is not None]
        self.graph.remove(node, safe=True)
        for value in sources:
            self.drop(value.producer())
            if value.is_initializer() and not value.uses() and value.name is not None:
                self.graph.initializers.pop(value.name, None)

    def _fresh(self, name: str) -> str:
        fresh, count = name, 1
        while fresh in self._names:
            count += 1
            fresh = f"{name}_{count}"
        self._names.add(fresh)
        return fresh


def ints(node: ir.Node, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """An attribute that holds integers."""
    found = node.attributes.get(name)
    return tuple(found.as_ints()) if found is not None else default


def number(node: ir.Node, name: str, default: int) -> int:
    """An attribute that holds an integer."""
    found = node.attributes.get(name)
    return found.as_int() if found is not None else default


def shape_of(value: ir.Value | None) -> tuple[Any, ...]:
    """The shape; empty where it is not known. A free batch is no integer."""
    return tuple(value.shape) if value is not None and value.shape is not None else ()


def channels_of(value: ir.Value | None) -> int:
    """The channels of a map, zero if `value` is none or has an unknown number."""
    shape = shape_of(value)
    return shape[1] if len(shape) == 4 and isinstance(shape[1], int) else 0


def origins_of(node: ir.Node) -> list[str]:
    """The operations of the captured program that `node` stands for."""
    recorded = node.metadata_props.get(ORIGINS)
    return recorded.split(",") if recorded else [str(node.outputs[0].name)]
