"""ExecuTorch programs, read by executorch's own deserializer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ModelFileError
from ..quiet import quiet
from ..requirements import load
from .results import (
    Delegate,
    ExecuTorchFacts,
    Inspection,
    Port,
    by_count,
    count_macs,
    largest_first,
)
from .xnnpack import BACKEND, Partition, read_partition

_DTYPES = {
    "BYTE": "uint8", "CHAR": "int8", "SHORT": "int16", "INT": "int32", "LONG": "int64",
    "HALF": "fp16", "FLOAT": "fp32", "DOUBLE": "fp64", "BOOL": "bool", "BFLOAT16": "bf16",
}  # fmt: skip
_BITS = {"fp16": 16, "fp32": 32, "fp64": 64, "bf16": 16, "int8": 8, "uint8": 8}
_COMPUTES = ("convolution", "linear", "addmm", "::mm", "bmm", "scaled_dot_product")
"""In names of operators whose multiply-accumulates are not counted outside a delegate."""


def inspect_pte(path: Path, largest: int) -> Inspection:
    """See `inspect`.

    Operations inside XNNPACK's partitions are read from their payloads; those of other backends
    are not understood.

    Raises:
        ModelFileError: if it is no ExecuTorch program, or damaged.
        MissingDependencyError: if executorch is not installed.
    """
    program = _read(path)
    outside: Counter[str] = Counter(_kernel_calls(program))
    partitions = list(_partitions(path, program))
    layers = [layer for _, _, found in partitions if found for layer in found.layers]
    census = outside + Counter(layer.operator for layer in layers)
    sizes: Counter[str] = Counter()
    parameters = 0
    for dtype, count, stored in _constants(program, partitions):
        sizes[dtype] += stored
        parameters += count
    opaque = sorted({backend for backend, _, found in partitions if found is None})
    macs, note = count_macs(
        [layer.macs for layer in layers]
        + [None for name in outside.elements() if any(part in name for part in _COMPUTES)]
    )
    if opaque:
        macs, note = None, f"what {', '.join(opaque)} computes is not known"
    plan = _main_plan(program)
    return Inspection(
        name=path.name,
        size_bytes=path.stat().st_size,
        inputs=tuple(_port(plan, "input", i, v) for i, v in enumerate(plan.inputs)),
        outputs=tuple(_port(plan, "output", i, v) for i, v in enumerate(plan.outputs)),
        operations=census.total(),
        census=by_count(census),
        parameters=None if opaque else parameters,
        macs=macs,
        macs_note=note,
        bytes_by_type=by_count(sizes),
        layers=largest_first(layers, largest),
        facts=ExecuTorchFacts(
            methods=tuple(plan.name for plan in program.execution_plan),
            delegates=tuple(_delegates(partitions)),
            outside=by_count(outside),
        ),
    )


def _read(path: Path) -> Any:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error
    if not data[4:8].startswith(b"ET"):
        raise ModelFileError(f"{path.name} is no ExecuTorch program", "give a .pte file")
    with quiet():  # importing it logs about libraries that this needs not
        serialize: Any = load("executorch.exir._serialize._program", "export")
    try:
        program = serialize.deserialize_pte_binary(data).program
        found = bool(program.execution_plan)
    except Exception as error:  # a damaged flatbuffer breaks its reader in any way
        raise ModelFileError(
            f"{path.name} is damaged, or of a version that executorch does not read",
            "copy it again, or read it with the executorch that wrote it",
        ) from error
    if not found:
        raise ModelFileError(f"{path.name} holds no method", "export it again")
    return program


def _main_plan(program: Any) -> Any:
    plans = {plan.name: plan for plan in program.execution_plan}
    return plans.get("forward", program.execution_plan[0])


def _kernel_calls(program: Any) -> Iterator[str]:
    for plan in program.execution_plan:
        for chain in plan.chains:
            for instruction in chain.instructions:
                index = getattr(instruction.instr_args, "op_index", None)
                if index is not None:
                    operator = plan.operators[index]
                    yield ".".join(filter(None, (operator.name, operator.overload)))


Found = tuple[str, int, Partition | None]
"""Backend, bytes of the payload, what is in it."""


def _partitions(path: Path, program: Any) -> Iterator[Found]:
    for plan in program.execution_plan:
        for index, delegate in enumerate(plan.delegates):
            try:
                data = bytes(program.backend_delegate_data[delegate.processed.index].data)
            except IndexError as error:
                raise ModelFileError(f"{path.name} lacks the data of a delegate") from error
            found = read_partition(data, f"partition {index}") if delegate.id == BACKEND else None
            yield delegate.id, len(data), found


def _delegates(partitions: list[Found]) -> Iterator[Delegate]:
    for backend in sorted({name for name, _, _ in partitions}):
        own = [(size, found) for name, size, found in partitions if name == backend]
        counts = [len(found.layers) for _, found in own if found]
        yield Delegate(
            backend=backend,
            partitions=len(own),
            operations=sum(counts) if len(counts) == len(own) else None,
            bytes=sum(size for size, _ in own),
        )


def _constants(program: Any, partitions: list[Found]) -> Iterator[tuple[str, int, int]]:
    """(element type, elements, bytes) of every weight, inside partitions and out."""
    for _, _, found in partitions:
        yield from found.constants if found else ()
    for plan in program.execution_plan:
        for value in plan.values:
            tensor = value.val
            if getattr(tensor, "data_buffer_idx", 0) and tensor.allocation_info is None:
                dtype = _dtype(tensor)
                if dtype in _BITS and tensor.sizes:
                    count = math.prod(tensor.sizes)
                    yield dtype, count, count * _BITS[dtype] // 8


def _port(plan: Any, direction: str, index: int, value: int) -> Port:
    """Inputs and outputs have no names in this format, only places."""
    tensor = plan.values[value].val
    name = f"{direction} {index}"
    if not hasattr(tensor, "sizes"):
        return Port(name=name, kind=type(tensor).__name__.lower(), dtype="", shape=None)
    return Port(
        name=name,
        dtype=_dtype(tensor),
        shape=tuple(tensor.sizes),
        flexible=int(tensor.shape_dynamism) != 0,
    )


def _dtype(tensor: Any) -> str:
    name = str(tensor.scalar_type.name)
    return _DTYPES.get(name, name.lower())
