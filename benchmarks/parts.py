"""Some layers of a network, alone: the time that the rest cannot take away.

A network of layers of one kind, with the shapes and weights they have in the whole network. Where
shapes fit, one layer reads another's result, as in the network; else it reads an input that all
layers of that shape share. Nothing else is computed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from care_mobile.export.reparam import NetworkEditor, trace
from care_mobile.export.reparam.base import SHAPE
from care_mobile.export.reparam.classifier_heads import MERGE
from care_mobile.export.reparam.trace import run

if TYPE_CHECKING:
    from torch import fx

Shape = tuple[int, ...]
"""Of one input or result, its batch included."""


class Part(str, Enum):
    """Kinds of layers. A Linear is a 1x1 convolution of a map of one position."""

    POINTWISE = "1x1 convolutions"
    DEPTHWISE = "depthwise convolutions"
    GELU = "GELUs"


class Layer(NamedTuple):
    """A layer and the shapes it has in the network."""

    module: nn.Module
    source: Shape
    result: Shape


def layers(model: nn.Module, x: Tensor) -> dict[Part, list[Layer]]:
    """The layers that inference on `x` needs, in order of execution.

    Two averaged classifiers count as the one Linear they are equal to.
    """
    graph = MERGE(trace(model, x)).model
    with torch.no_grad():
        run(graph, x)
    network = NetworkEditor(graph)
    found: dict[Part, list[Layer]] = defaultdict(list)
    for node in graph.graph.nodes:
        module = _layer(network, node)
        part = _part(module)
        if part is not None and module is not None:
            source, result = node.args[0].meta[SHAPE], node.meta[SHAPE]
            found[part].append(Layer(module, source, result))
    return dict(found)


def _layer(network: NetworkEditor, node: fx.Node) -> nn.Module | None:
    if node.target is torch.ops.aten.gelu.default:
        return nn.GELU(approximate=str(node.kwargs.get("approximate", "none")))
    return network.module(node, (nn.Conv2d, nn.Linear, nn.GELU))


def _part(module: nn.Module | None) -> Part | None:
    if isinstance(module, nn.GELU):
        return Part.GELU
    if isinstance(module, nn.Linear):
        return Part.POINTWISE
    if not isinstance(module, nn.Conv2d):
        return None
    if module.kernel_size == (1, 1) and module.groups == 1:
        return Part.POINTWISE
    return Part.DEPTHWISE if module.groups == module.in_channels > 1 else None


class Alone(nn.Module):
    """These layers and nothing else.

    `shapes` are those of its inputs, in order. The results are those that no layer reads.
    """

    def __init__(self, chosen: Iterable[Layer]) -> None:
        super().__init__()
        chosen = list(chosen)
        self.layers = nn.ModuleList(layer.module for layer in chosen)
        self.shapes: list[Shape] = []
        self._sources: list[int | Shape] = []
        loose: dict[Shape, list[int]] = defaultdict(list)
        for number, layer in enumerate(chosen):
            if loose[layer.source]:
                self._sources.append(loose[layer.source].pop())
            else:
                self._sources.append(layer.source)
                if layer.source not in self.shapes:
                    self.shapes.append(layer.source)
            loose[layer.result].append(number)
        self._results = sorted(number for numbers in loose.values() for number in numbers)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(self.shapes, inputs, strict=True))
        values: list[Tensor] = []
        for layer, source in zip(self.layers, self._sources, strict=True):
            values.append(layer(values[source] if isinstance(source, int) else given[source]))
        return tuple(values[number] for number in self._results)

    def examples(self) -> tuple[Tensor, ...]:
        """Zeros of the inputs' shapes."""
        return tuple(torch.zeros(shape) for shape in self.shapes)
