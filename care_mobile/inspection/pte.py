"""What an ExecuTorch program holds: its kernels, and what is inside its delegates' payloads."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..coreml.work import Work, either
from .coreml_payload import BACKEND as COREML
from .coreml_payload import read_payload
from .options import Options, check_names, check_shape
from .partition import Partition, Weight
from .pte_kernels import kernel_macs
from .pte_program import BITS, Instruction, Method, Payload, Program, Value, read_program
from .results import (
    Delegate,
    ExecuTorchFacts,
    Inspection,
    Layer,
    Port,
    by_count,
    largest_first,
    notes,
)
from .xnnpack import BACKEND as XNNPACK
from .xnnpack import read_partition

_WEIGHTS = frozenset({"fp16", "fp32", "fp64", "bf16", "int8", "uint8", "qint8", "quint8"})


def inspect_pte(path: Path, options: Options) -> Inspection:
    """See `inspect`.

    What is inside the partitions of XNNPACK and Core ML is read from their payloads; those of other
    backends are not understood, and every count is then a lower bound.

    Raises:
        ModelFileError: if it is no ExecuTorch program, damaged, or has no such method.
    """
    program = read_program(path, options.function)
    shown = program.method
    _check_shapes(shown, options)
    partitions = [_Found(p, _partition(p, i, program)) for i, p in enumerate(shown.payloads)]
    kernels = list(_kernels(shown))
    outside = Counter(layer.operator for layer in kernels)
    layers = kernels + [layer for p in partitions if p.content for layer in p.content.layers]
    opaque = sorted({p.payload.backend for p in partitions if p.content is None})
    inside = f"what {', '.join(opaque)} holds is not known" if opaque else ""
    elsewhere = sum(value.external for value in shown.values)
    beside = f"{elsewhere} weights lie in another file" if elsewhere else ""
    sizes: Counter[str] = Counter()
    weights = list(_weights(shown, partitions))
    for weight in weights:
        sizes[weight.dtype] += weight.bytes
    work = _work(shown, partitions)
    grown = any(shown.values[i].dynamic for i in shown.inputs)
    census = Counter(layer.operator for layer in layers)
    return Inspection(
        name=path.name,
        size_bytes=path.stat().st_size,
        inputs=tuple(_port("input", i, shown.values[v]) for i, v in enumerate(shown.inputs)),
        outputs=tuple(_port("output", i, shown.values[v]) for i, v in enumerate(shown.outputs)),
        operations=census.total(),
        operations_at_least=bool(opaque),
        census=by_count(census),
        parameters=_parameters(weights, partitions) if weights or not opaque else None,
        parameters_at_least=bool(opaque or elsewhere),
        parameters_note=notes(inside, beside),
        macs=None if opaque and not work.macs else work.known,
        macs_at_least=bool(opaque) or work.at_least,
        macs_note=notes(
            "for the largest inputs that the file allows" if grown else "", *work.notes(), inside
        ),
        bytes_by_type=by_count(sizes),
        layers=largest_first(layers, options.largest),
        facts=ExecuTorchFacts(
            methods=program.names,
            shown=shown.name,
            delegates=tuple(_delegates(partitions)),
            outside=by_count(outside),
        ),
    )


def _check_shapes(method: Method, options: Options) -> None:
    """The file has one shape for every value; a given one can only be the same."""
    ports = {f"input {i}": method.values[v] for i, v in enumerate(method.inputs)}
    check_names(options.shapes, ports)
    for name, shape in options.shapes.items():
        check_shape(name, shape, ports[name].shape or ())


@dataclass(frozen=True)
class _Found:
    """A payload, and what is in it; None where that is not understood."""

    payload: Payload
    content: Partition | None


def _partition(payload: Payload, index: int, program: Program) -> Partition | None:
    name = f"partition {index}"
    if payload.backend == XNNPACK:
        return read_partition(payload.data, name)
    if payload.backend == COREML:
        return read_payload(payload.data, name, program.named)
    return None


def _kernels(method: Method) -> Iterator[Layer]:
    """Every call of a kernel; a weight counts for the first that uses it."""
    seen: set[int] = set()
    for index, step in enumerate(method.instructions()):
        if step.kind != "kernel":
            continue
        own = {
            value: method.values[value]
            for value in step.arguments
            if value not in seen and _is_weight(method.values[value])
        }
        seen |= own.keys()
        yield Layer(
            name=f"instruction {index}",
            operator=step.name,
            bytes=sum(_bytes(value) for value in own.values()),
            parameters=sum(math.prod(value.shape or ()) for value in own.values()),
            macs=kernel_macs(step, method.values),
        )


def _is_weight(value: Value) -> bool:
    return bool(value.constant and value.shape and value.dtype in _WEIGHTS)


def _bytes(value: Value) -> int:
    return math.prod(value.shape or ()) * BITS.get(value.dtype, 0) // 8


def _parameters(weights: Sequence[Weight], partitions: Sequence[_Found]) -> int:
    """Compressed weights count as what they become."""
    found = [partition.content for partition in partitions if partition.content]
    stated = [content for content in found if content.parameters is not None]
    stored = sum(weight.elements for content in stated for weight in content.weights)
    become = sum(content.parameters or 0 for content in stated)
    return sum(weight.elements for weight in weights) - stored + become


def _weights(method: Method, partitions: Sequence[_Found]) -> Iterator[Weight]:
    """Every weight once, inside partitions and out."""
    seen: set[tuple[str, object]] = set()
    for index, partition in enumerate(partitions):
        for weight in partition.content.weights if partition.content else ():
            key = ("shared", weight.key) if weight.shared else (f"partition {index}", weight.key)
            if key not in seen:
                seen.add(key)
                yield weight
    for value in method.values:
        key = ("mutable" if value.mutable else "constant", value.constant)
        if _is_weight(value) and key not in seen:
            seen.add(key)
            yield Weight(value.dtype, math.prod(value.shape or ()), _bytes(value))


def _work(method: Method, partitions: Sequence[_Found]) -> Work:
    work = Work()
    for chain in method.chains:
        work += _from(chain, method, partitions)
    return work


def _from(chain: Sequence[Instruction], method: Method, partitions: Sequence[_Found]) -> Work:
    """From the end to the start: a jump ahead is a branch, a jump back a loop."""
    after = [Work()] * (len(chain) + 1)
    for index in range(len(chain) - 1, -1, -1):
        step = chain[index]
        here, following = _step(step, method, partitions), after[index + 1]
        if step.kind == "jump" and not 0 <= step.target <= len(chain):
            raise ValueError("a jump out of the program")
        if step.kind == "jump" and step.target <= index:
            here = Work(loops=1)
        elif step.kind == "jump" and method.values[step.index].flag is False:
            following = after[step.target]
        elif step.kind == "jump":
            following = either([following, after[step.target]])
        after[index] = here + following
    return after[0]


def _step(step: Instruction, method: Method, partitions: Sequence[_Found]) -> Work:
    if step.kind == "kernel":
        return Work.of(kernel_macs(step, method.values))
    if step.kind != "delegate":
        return Work()
    content = partitions[step.index].content
    return content.work if content else Work()


def _delegates(partitions: Sequence[_Found]) -> Iterator[Delegate]:
    for backend in sorted({found.payload.backend for found in partitions}):
        own = [found for found in partitions if found.payload.backend == backend]
        counts = [len(found.content.layers) for found in own if found.content]
        yield Delegate(
            backend=backend,
            partitions=len(own),
            operations=sum(counts) if len(counts) == len(own) else None,
            bytes=sum(len(found.payload.data) for found in own),
        )


def _port(direction: str, index: int, value: Value) -> Port:
    """Inputs and outputs have no names in this format, only places."""
    return Port(
        name=f"{direction} {index}",
        kind=value.kind,
        dtype=value.dtype,
        shape=value.shape,
        flexible=value.dynamic,
    )
