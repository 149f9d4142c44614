"""An ExecuTorch program as plain data, read from its flatbuffer without ExecuTorch or torch.

Slots are those of `schema/program.fbs` in executorch, which only ever appends to them. The file is
mapped: weights are never read.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import ModelFileError
from .flatbuffer import Table

MAGIC = b"ET"
_MAGIC_AT = 4
_EXTENDED_AT = 8
_EXTENDED = struct.Struct("<4sIQQ")
_DTYPES = {
    0: "uint8", 1: "int8", 2: "int16", 3: "int32", 4: "int64", 5: "fp16", 6: "fp32", 7: "fp64",
    11: "bool", 12: "qint8", 13: "quint8", 14: "qint32", 15: "bf16", 23: "fp8e5m2",
    24: "fp8e4m3fn", 25: "fp8e5m2fnuz", 26: "fp8e4m3fnuz", 27: "uint16", 28: "uint32",
    29: "uint64",
}  # fmt: skip
BITS = {
    "uint8": 8, "int8": 8, "int16": 16, "int32": 32, "int64": 64, "fp16": 16, "fp32": 32,
    "fp64": 64, "bool": 8, "qint8": 8, "quint8": 8, "qint32": 32, "bf16": 16, "uint16": 16,
    "uint32": 32, "uint64": 64,
} | dict.fromkeys(("fp8e5m2", "fp8e4m3fn", "fp8e5m2fnuz", "fp8e4m3fnuz"), 8)  # fmt: skip
_KINDS = (
    "none", "none", "int", "bool", "double", "tensor", "string", "int list", "double list",
    "bool list", "tensor list", "optional tensor list",
)  # fmt: skip
_BOOL, _TENSOR = 3, 5
_SEGMENT = 1
_EXTERNAL = 1
_UNBOUND = 2
_KERNEL, _DELEGATE, _MOVE, _JUMP, _FREE = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Value:
    """An input, output or step in between.

    Attributes:
        shape: of a tensor; its largest where it is dynamic, None where it has no bound.
        constant: number of its data in the file; 0 if it has none before the first run.
        mutable: whether a run may change it.
        external: whether its data are in another file.
        flag: of a boolean.
    """

    kind: str
    dtype: str = ""
    shape: tuple[int, ...] | None = None
    dynamic: bool = False
    constant: int = 0
    mutable: bool = False
    external: bool = False
    flag: bool | None = None


@dataclass(frozen=True)
class Instruction:
    """`kind` is kernel, delegate, jump (if a value is false) or other.

    Attributes:
        name: of a kernel.
        index: of a delegate; of the value that a jump tests.
        arguments: numbers of values.
        target: where a jump leads.
    """

    kind: str
    name: str = ""
    index: int = 0
    arguments: tuple[int, ...] = ()
    target: int = 0


@dataclass(frozen=True)
class Payload:
    """What a backend was given; `data` is a view of the file."""

    backend: str
    data: memoryview


@dataclass(frozen=True)
class Method:
    name: str
    values: tuple[Value, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    chains: tuple[tuple[Instruction, ...], ...]
    payloads: tuple[Payload, ...]

    def instructions(self) -> Iterator[Instruction]:
        for chain in self.chains:
            yield from chain


@dataclass(frozen=True)
class Program:
    """`names` are those of all methods, in the file's order; `method` is the one that was read.

    Attributes:
        named: blobs that delegates share, by key; views of the file.
    """

    names: tuple[str, ...]
    method: Method
    named: dict[str, memoryview]


def read_program(path: Path, wanted: str | None = None) -> Program:
    """Read one method of a `.pte` file.

    Args:
        wanted: its name; by default `forward`, else the first.

    Raises:
        ModelFileError: if it is no program, is damaged, or has no such method.
    """
    data = _map(path)
    magic = bytes(data[_MAGIC_AT : _MAGIC_AT + 2])
    if magic != MAGIC:
        raise ModelFileError(f"{path.name} is no ExecuTorch program", _other(bytes(data[4:8])))
    try:
        program = _read(path, data, wanted)
    except (struct.error, ValueError, IndexError, OverflowError, MemoryError) as error:
        raise ModelFileError(
            f"{path.name} is damaged, or of a version that is not known",
            "copy it again, or export it with a current executorch",
        ) from error
    return program


def _map(path: Path) -> memoryview:
    try:
        with path.open("rb") as stream:
            if path.stat().st_size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror}") from error


def _other(magic: bytes) -> str:
    """What to do with a file of ExecuTorch that is no program."""
    if magic.startswith(b"FT"):
        return "it holds the weights of another program: give the .pte file beside it"
    if magic.startswith(b"BP"):
        return "it is a bundled program with test inputs: give the .pte file it was made from"
    return "give a .pte file"


def _read(path: Path, data: memoryview, wanted: str | None) -> Program:
    size, base = len(data), 0
    if len(data) >= _EXTENDED_AT + _EXTENDED.size:
        mark, _, program_size, segment_base = _EXTENDED.unpack_from(data, _EXTENDED_AT)
        if mark == b"eh00":
            size, base = program_size, segment_base
    if size > len(data) or base > len(data):
        raise ValueError("the file ends before its program does")
    root = Table.root(data[:size])
    segments = [_slice(data, base, segment) for segment in root.tables(4)]
    inline = [memoryview(entry.blob(0)) for entry in root.tables(3)]
    plans = list(root.tables(1))
    names = tuple(plan.text(0) for plan in plans)
    if not plans:
        raise ModelFileError(f"{path.name} holds no method", "export it again")
    plan = plans[_index(path, names, wanted)]
    named = {entry.text(0): segments[entry.scalar(1, "I")] for entry in root.tables(7)}
    return Program(names, _method(path, plan, segments, inline), named)


def _slice(data: memoryview, base: int, segment: Table) -> memoryview:
    start = base + segment.scalar(0, "Q")
    end = start + segment.scalar(1, "Q")
    if end > len(data):
        raise ValueError("a segment ends behind the file")
    return data[start:end]


def _index(path: Path, names: tuple[str, ...], wanted: str | None) -> int:
    if wanted is None:
        return names.index("forward") if "forward" in names else 0
    if wanted not in names:
        raise ModelFileError(
            f"{path.name} has no method {wanted!r}", f"it has {', '.join(map(repr, names))}"
        )
    return names.index(wanted)


def _method(
    path: Path, plan: Table, segments: list[memoryview], inline: list[memoryview]
) -> Method:
    operators = [".".join(filter(None, (o.text(0), o.text(1)))) for o in plan.tables(6)]
    payloads = []
    for delegate in plan.tables(7):
        place = delegate.table(1)
        holders = segments if place.scalar(0, "b") == _SEGMENT else inline
        index = place.scalar(1, "I")
        if index >= len(holders):
            raise ModelFileError(f"{path.name} lacks the data of a delegate", "copy it again")
        payloads.append(Payload(delegate.text(0), holders[index]))
    method = Method(
        name=plan.text(0),
        values=tuple(_value(value) for value in plan.tables(2)),
        inputs=plan.integers(3, "i"),
        outputs=plan.integers(4, "i"),
        chains=tuple(
            tuple(_instruction(step, operators) for step in chain.tables(2))
            for chain in plan.tables(5)
        ),
        payloads=tuple(payloads),
    )
    used = [*method.inputs, *method.outputs]
    for step in method.instructions():
        used += step.arguments
        if step.kind == "delegate" and not 0 <= step.index < len(payloads):
            raise ValueError("a call of a delegate that is not there")
    if any(not 0 <= index < len(method.values) for index in used):
        raise ValueError("a value that is not there")
    return method


def _value(value: Table) -> Value:
    code = value.scalar(0, "B")
    kind = _KINDS[code] if code < len(_KINDS) else f"kind {code}"
    if code == _BOOL:
        return Value(kind, flag=bool(value.table(1).scalar(0, "B")))
    if code != _TENSOR:
        return Value(kind)
    tensor = value.table(1)
    scalar_type = tensor.scalar(0, "b")
    shape = tensor.integers(2, "i")
    if any(size < 0 for size in shape):
        raise ValueError("a tensor with a negative size")
    dynamism = tensor.scalar(8, "b")
    external = tensor.has(9) and tensor.table(9).scalar(2, "b") == _EXTERNAL
    return Value(
        kind,
        _DTYPES.get(scalar_type, f"type{scalar_type}"),
        None if dynamism == _UNBOUND else shape,
        dynamism != 0,
        tensor.scalar(5, "I"),
        tensor.has(6),  # memory is set aside for it
        external,
    )


def _instruction(step: Table, operators: list[str]) -> Instruction:
    code = step.scalar(0, "B")
    if code not in (_KERNEL, _DELEGATE, _JUMP):
        return Instruction("other")
    body = step.table(1)
    first = body.scalar(0, "i")
    if code == _JUMP:
        return Instruction("jump", index=first, target=body.scalar(1, "i"))
    arguments = tuple(a for a in body.integers(1, "i") if a >= 0)
    if code == _DELEGATE:
        return Instruction("delegate", index=first, arguments=arguments)
    if first < 0:
        raise ValueError("an operator that is not there")
    return Instruction("kernel", operators[first], arguments=arguments)
