"""Operations of an ML Program as layers: what each stores and computes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from ..coreml import Constant, Operation, Ref, TensorType
from ..coreml.macs import (
    DECOMPRESS,
    Types,
    distinct_weights,
    operation_macs,
    operation_parameters,
    weights,
)
from ..coreml.program import Block
from ..coreml.types import BITS
from .results import Layer, by_count


def layers(block: Block, types: Types) -> Iterator[Layer]:
    """All operations, those of nested blocks too; unpacked weights belong to their user."""
    operations = list(block.walk())
    producers = {named.name: op for op in operations for named in op.outputs}
    for operation in operations:
        if operation.type.startswith(DECOMPRESS):
            continue  # counted with the operation that uses its weights
        unpacked = _unpacked(operation, producers)
        yield Layer(
            name=operation.name,
            operator=operation.type,
            bytes=_weight_bytes([operation, *unpacked]),
            parameters=operation_parameters(operation)
            + sum(operation_parameters(op) for op in unpacked if _feeds(op, operation)),
            macs=operation_macs(operation, types),
        )


def bytes_by_type(block: Block) -> dict[str, int]:
    """Of the weights as stored."""
    sizes: Counter[str] = Counter()
    for constant in distinct_weights(block.walk()):
        if isinstance(constant.type, TensorType):
            sizes[constant.type.dtype] += constant_bytes(constant)
    return by_count(sizes)


def constant_bytes(constant: Constant) -> int:
    kind = constant.type
    if not isinstance(kind, TensorType):
        return 0
    return -(-math.prod(size or 0 for size in kind.shape or ()) * BITS.get(kind.dtype, 0) // 8)


def _unpacked(operation: Operation, producers: Mapping[str, Operation]) -> list[Operation]:
    """The operations that decompress its weights, those behind each other too."""
    found: dict[str, Operation] = {}
    waiting = [operation]
    while waiting:
        for operand in waiting.pop().operands():
            producer = producers.get(operand.name) if isinstance(operand, Ref) else None
            if producer is None or producer.name in found:
                continue
            if producer.type.startswith(DECOMPRESS):
                found[producer.name] = producer
                waiting.append(producer)
    return list(found.values())


def _feeds(first: Operation, second: Operation) -> bool:
    names = {named.name for named in first.outputs}
    return any(isinstance(o, Ref) and o.name in names for o in second.operands())


def _weight_bytes(operations: Iterable[Operation]) -> int:
    return sum(
        constant_bytes(constant) for operation in operations for constant in weights(operation)
    )
