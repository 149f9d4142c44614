"""Half precision for ONNX: weights and maps in fp16, inputs and outputs in fp32.

On CARE-S0 keeping the attention's sums and divisions, or its exponentials, in fp32 changes the
PSNR by 0.1 dB of 76 and costs up to 230 casts: they compute in half precision too.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

from care_mobile.half_precision import LARGEST_HALF

if TYPE_CHECKING:
    import onnx

BLOCKED = ("LayerNormalization",)
"""Stay float: an epsilon of 1e-6 is below fp16's normal numbers, and some devices flush it."""


def halve(
    model: onnx.ModelProto, keep: Collection[str] = ()
) -> tuple[onnx.ModelProto, dict[str, int]]:
    """`model` in half precision, and how many operators of each type compute in it.

    Nodes with a weight that half precision cannot hold stay in fp32 too.

    Args:
        model: float32; not changed.
        keep: names of nodes whose results stay in fp32 on their way to those that read them, which
            compute in fp32 too.
    """
    import onnx
    import onnx_ir as ir
    from onnxruntime.transformers.float16 import (
        DEFAULT_OP_BLOCK_LIST,
        convert_float_to_float16,
    )

    blocked = [*DEFAULT_OP_BLOCK_LIST, *BLOCKED]
    single = _with_readers(model, keep) | _too_wide(model)
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    with warnings.catch_warnings():
        # Of weights below 6e-8, which become that: nothing a user could act on.
        warnings.simplefilter("ignore")
        half = convert_float_to_float16(
            copy, keep_io_types=True, op_block_list=blocked, node_block_list=single
        )
    _drop_needless_casts(half.graph)
    # The converter puts casts at the end and leaves shapes with the types from before.
    del half.graph.value_info[:]
    ordered = ir.serde.deserialize_model(half)
    ordered.graph.sort()
    result = ir.to_proto(ordered)
    counts = Counter(
        n.op_type for n in model.graph.node if n.op_type not in blocked and n.name not in single
    )
    return result, dict(counts)


def _with_readers(model: onnx.ModelProto, keep: Collection[str]) -> set[str]:
    """`keep` and the nodes that read a result of theirs."""
    results = {o for node in model.graph.node if node.name in keep for o in node.output}
    readers = {n.name for n in model.graph.node if results.intersection(n.input)}
    return set(keep) | readers


def _too_wide(model: onnx.ModelProto) -> set[str]:
    """Nodes that read a finite weight beyond half precision, which the converter would clip."""
    import numpy as np
    import onnx

    wide = set()
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = np.abs(onnx.numpy_helper.to_array(tensor))
            if values[np.isfinite(values)].max(initial=0.0) > LARGEST_HALF:
                wide.add(tensor.name)
    return {node.name for node in model.graph.node if wide.intersection(node.input)}


def _drop_needless_casts(graph: onnx.GraphProto) -> None:
    """Two casts between nodes in fp32 would round what was to be kept."""
    from onnx import TensorProto

    casts = {node.output[0]: node for node in graph.node if node.op_type == "Cast"}
    targets = {
        name: next(a.i for a in node.attribute if a.name == "to") for name, node in casts.items()
    }
    made = {o for node in graph.node for o in node.output} | {v.name for v in graph.input}
    shortcuts = {}
    for name, node in casts.items():
        narrow = casts.get(node.input[0])
        if narrow is None or targets[name] != TensorProto.FLOAT:
            continue
        if targets[narrow.output[0]] == TensorProto.FLOAT16 and narrow.input[0] in made:
            shortcuts[name] = narrow.input[0]
    returned = {value.name for value in graph.output}
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in shortcuts:
                node.input[index] = shortcuts[name]
        if node.op_type == "Cast" and node.output[0] in shortcuts and node.output[0] in returned:
            node.input[0] = shortcuts[node.output[0]]
    read = {name for node in graph.node for name in node.input} | returned
    kept = [n for n in graph.node if n.op_type != "Cast" or n.output[0] in read]
    del graph.node[:]
    graph.node.extend(kept)


def _target(cast: onnx.NodeProto) -> int:
    return next(int(attribute.i) for attribute in cast.attribute if attribute.name == "to")
