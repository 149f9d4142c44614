"""Branches of a block as few depthwise convolutions over many channels.

Splits and concatenations leave ONNX Runtime's blocked layout: a map is reordered before and after
each. Groups narrower than a block of it are padded besides. For such groups, where every branch is
depthwise, `local_branches_over_all_channels` needs no split. With kernels K_a, K_b, ... embedded
in a common size, identity and zero kernels for other channels::

    [memory, K_a a, K_b b, K_c c] = [I, K_a, K_b, K_c] * x

and the first interaction carries the memory along by zeros in its 1x1 convolutions, where padding
had zeros anyway. Kernels of one group that are added stay convolutions of their own. For wider
groups the zeros would be work: 2 % slower on CARE-S0's second stage.

`adjacent_branches_together` joins the depthwise branches of the last groups: one split part,
one reordering and one convolution instead of two.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .onnx_blocks import Block, blocks
from .onnx_editing import BLOCK, Convolution, FloatArray, Graph, shape_of

if TYPE_CHECKING:
    import onnx_ir as ir


def local_branches_over_all_channels(graph: Graph) -> None:
    """Rewrite every block of depthwise branches whose groups do not fill layout blocks."""
    for block in blocks(graph):
        kernels = _kernels(graph, block)
        if kernels is None or not any(size % BLOCK for size in block.sizes):
            continue
        mixed = _mix(graph, block, kernels)
        memory = block.sizes[0]
        widened = _with_weights(
            graph,
            block.widen,
            mixed,
            np.pad(block.widen.weight, ((0, 0), (memory, 0), (0, 0), (0, 0))),
            block.widen.bias,
        )
        graph.replace(block.widen.node.outputs[0], widened)
        narrowed = _with_weights(
            graph,
            block.narrow,
            block.narrow.source,
            np.pad(block.narrow.weight, ((memory, 0), (0, 0), (0, 0), (0, 0))),
            np.pad(block.narrow.bias, (memory, 0)),
        )
        name = f"{block.joined.outputs[0].name}_sum"
        shape = shape_of(block.joined.outputs[0])
        (total,) = graph.add(block.joined, "Add", [narrowed, mixed], name, None, [shape])
        graph.replace(block.joined.outputs[0], total)
        graph.changed()


def _kernels(graph: Graph, block: Block) -> list[list[Convolution]] | None:
    """Per group after the memory its depthwise convolutions, to be added; None if any is not."""
    if len(block.branches) != len(block.groups) - 1:
        return None
    found = []
    for group, branch in zip(block.groups[1:], block.branches, strict=True):
        total = graph.made_by(branch, "Add")
        values = list(total.inputs) if total is not None else [branch]
        convs = [conv for value in values if (conv := _depthwise_of(graph, value, group))]
        if len(convs) != len(values) or len(group.uses()) != len(convs):
            return None
        found.append(convs)
    return found


def _depthwise_of(graph: Graph, value: ir.Value | None, group: ir.Value) -> Convolution | None:
    conv = graph.convolution(value)
    if conv is None or not conv.is_depthwise or conv.source is not group:
        return None
    return conv if graph.only_reader(value) is not None else None


def _mix(graph: Graph, block: Block, kernels: list[list[Convolution]]) -> ir.Value:
    """[memory, branches] from x. Groups with one kernel share a convolution of the common size."""
    memory, *widths = block.sizes
    singles = [convs[0] for convs in kernels if len(convs) == 1]
    name = str(block.features.outputs[0].name)
    size = _common_size(singles) if singles else (1, 1)
    parts = [_identity(memory, size)]
    bias = [np.zeros(memory, np.float32)]
    for width, convs in zip(widths, kernels, strict=True):
        alone = convs[0] if len(convs) == 1 else None
        parts.append(_embed(alone.weight, size) if alone else _zeros(width, size))
        bias.append(alone.bias if alone else np.zeros(width, np.float32))
    before = block.features
    origins = [conv.node for conv in singles]
    mixed = graph.depthwise(
        before, block.x, np.concatenate(parts), np.concatenate(bias), f"{name}_all", origins
    )
    start = memory
    for width, convs in zip(widths, kernels, strict=True):
        for conv in convs if len(convs) > 1 else ():
            around = ((start, sum(block.sizes) - start - width), (0, 0), (0, 0), (0, 0))
            whole = np.pad(conv.weight, around)
            term = graph.depthwise(
                before,
                block.x,
                whole,
                np.pad(conv.bias, around[0]),
                f"{conv.node.outputs[0].name}_all",
                [conv.node],
            )
            shape = shape_of(mixed)
            (mixed,) = graph.add(before, "Add", [mixed, term], f"{name}_sum", None, [shape])
        start += width
    return mixed


def _with_weights(
    graph: Graph, conv: Convolution, source: ir.Value, weight: FloatArray, bias: FloatArray
) -> ir.Value:
    """`conv`, 1x1, on another source with other weights."""
    name = f"{conv.node.outputs[0].name}_wide"
    inputs = [source, graph.weights(f"{name}.weight", weight), graph.weights(f"{name}.bias", bias)]
    shape = shape_of(conv.node.outputs[0])
    shape = (shape[0], len(weight), *shape[2:])
    return graph.add(
        conv.node, "Conv", inputs, name, {"kernel_shape": [1, 1]}, [shape], [conv.node]
    )[0]


def adjacent_branches_together(graph: Graph) -> None:
    """Join the depthwise branches of neighbouring groups of one split."""
    for block in blocks(graph):
        run = _run(graph, block)
        if run is None:
            continue
        first, convs = run
        size = _common_size(convs)
        index = first + 1  # the memory comes first
        sizes = [*block.sizes[:index], sum(block.sizes[index:])]
        shape = shape_of(block.x)
        lengths = graph.weights("group_sizes", np.array(sizes, np.int64))
        groups = graph.add(
            block.split,
            "Split",
            [block.x, lengths],
            f"{block.split.outputs[0].name}_regrouped",
            {"axis": 1},
            [(shape[0], width, *shape[2:]) for width in sizes],
        )
        joined = graph.depthwise(
            block.features,
            groups[-1],
            np.concatenate([_embed(conv.weight, size) for conv in convs]),
            np.concatenate([conv.bias for conv in convs]),
            f"{convs[0].node.outputs[0].name}_joined",
            [conv.node for conv in convs],
        )
        (concat,) = graph.add(
            block.features,
            "Concat",
            [*block.branches[:first], joined],
            f"{block.features.outputs[0].name}_joined",
            {"axis": 1},
            [shape_of(block.features.outputs[0])],
        )
        graph.replace(block.features.outputs[0], concat)
        for old, new in zip(block.groups[:index], groups[:index], strict=True):
            graph.replace(old, new)
        graph.changed()


def _run(graph: Graph, block: Block) -> tuple[int, list[Convolution]] | None:
    """The first of the depthwise branches that end the block's list, and all of them."""
    if len(block.branches) != len(block.groups) - 1:
        return None
    convs: list[Convolution] = []
    for group, branch in zip(block.groups[:0:-1], block.branches[::-1], strict=True):
        conv = _depthwise_of(graph, branch, group)
        if conv is None or graph.only_reader(group) is None:
            break
        convs.insert(0, conv)
    first = len(block.branches) - len(convs)
    return (first, convs) if len(convs) > 1 and first > 0 else None


def _common_size(convs: list[Convolution]) -> tuple[int, int]:
    return max(c.kernel[0] for c in convs), max(c.kernel[1] for c in convs)


def _embed(weight: FloatArray, size: tuple[int, int]) -> FloatArray:
    """A kernel in the middle of a larger one."""
    margins = [(want - have) // 2 for want, have in zip(size, weight.shape[2:], strict=True)]
    return np.pad(weight, ((0, 0), (0, 0), *((margin, margin) for margin in margins)))


def _zeros(channels: int, size: tuple[int, int]) -> FloatArray:
    return np.zeros((channels, 1, *size), np.float32)


def _identity(channels: int, size: tuple[int, int]) -> FloatArray:
    kernel = _zeros(channels, size)
    kernel[:, :, size[0] // 2, size[1] // 2] = 1
    return kernel
