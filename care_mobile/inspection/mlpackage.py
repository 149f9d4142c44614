"""Core ML packages, read by our own reader."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..coreml import Constant, Feature, Function, Operation, Ref, TensorType, open_package
from ..coreml.compute_plan import compare, compute_plan
from ..coreml.forecast import forecast
from ..coreml.macs import (
    DECOMPRESS,
    Types,
    function_parameters,
    operation_macs,
    operation_parameters,
    weights,
)
from ..coreml.types import BITS
from .results import CoreMLFacts, Inspection, Layer, Port, by_count, count_macs, largest_first

_IOS = {6: 15, 7: 16, 8: 17, 9: 18}


def inspect_mlpackage(path: Path, largest: int, with_plan: bool) -> Inspection:
    """See `inspect`; the Neural Engine forecast is part of it."""
    package = open_package(path)
    main = package.main
    types = main.types()
    macs, note = count_macs(operation_macs(operation, types) for operation in main.operations)
    predicted = forecast(package)
    return Inspection(
        name=path.name,
        size_bytes=package.size_bytes,
        inputs=tuple(_port(feature) for feature in package.inputs),
        outputs=tuple(_port(feature) for feature in package.outputs),
        operations=len(main.operations),
        census=by_count(Counter(operation.type for operation in main.operations)),
        parameters=function_parameters(main),
        macs=macs,
        macs_note=note,
        bytes_by_type=_bytes_by_type(main),
        layers=largest_first(_layers(main, types), largest),
        facts=CoreMLFacts(
            specification=package.specification,
            ios=_IOS.get(package.specification),
            opset=main.opset,
            metadata=dict(sorted(package.metadata.items())),
        ),
        forecast=predicted,
        comparison=compare(predicted, compute_plan(path)) if with_plan else None,
    )


def _port(feature: Feature) -> Port:
    return Port(
        name=feature.name,
        kind=feature.kind,
        dtype=feature.dtype,
        shape=feature.shape or None,
        flexible=feature.flexible,
    )


def _bytes_by_type(main: Function) -> dict[str, int]:
    seen: set[str] = set()
    sizes: Counter[str] = Counter()
    for operation in main.operations:
        for constant in weights(operation):
            if not constant.name or constant.name not in seen:
                seen.add(constant.name)
                assert isinstance(constant.type, TensorType)
                sizes[constant.type.dtype] += _bytes(constant)
    return by_count(sizes)


def _bytes(constant: Constant) -> int:
    kind = constant.type
    assert isinstance(kind, TensorType)
    return math.prod(size or 0 for size in kind.shape or ()) * BITS.get(kind.dtype, 0) // 8


def _layers(main: Function, types: Types) -> Iterator[Layer]:
    producers = {named.name: op for op in main.operations for named in op.outputs}
    for operation in main.operations:
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
    return sum(_bytes(constant) for operation in operations for constant in weights(operation))
