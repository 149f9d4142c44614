"""An ML Program as plain data: functions, blocks, operations, constants.

`const` operations are folded into the operations that use them, so what remains computes. Arrays
of constants are read when asked for.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any

from ..errors import ModelFileError
from .types import BITS, TensorType, ValueType
from .values import storable, tensor, value_type


@dataclass(frozen=True)
class Named:
    """An input of a function or an output of an operation."""

    name: str
    type: ValueType


@dataclass(frozen=True)
class Ref:
    """A use of a value computed elsewhere."""

    name: str


@dataclass(frozen=True)
class Constant:
    """A value that is in the file. `name` is empty where it has none."""

    name: str
    type: ValueType
    load: Callable[[], Any] = field(repr=False, compare=False)
    stored_bytes: int = 0
    """What it takes in the weight file; 0 for one in the program itself."""
    blob: tuple[str, int] | None = None
    """Its place in a weight file: constants of one place are in the file once."""

    @property
    def value(self) -> Any:
        """An array, or a list of values; read anew each time."""
        return self.load()


Operand = Ref | Constant


@dataclass(frozen=True)
class Operation:
    """One step. `inputs` has several operands per name only for variadic parameters."""

    type: str
    inputs: Mapping[str, tuple[Operand, ...]]
    outputs: tuple[Named, ...]
    bodies: tuple[Block, ...] = ()
    """Of control flow: the branches of `cond`, condition and body of `while_loop`."""

    @property
    def name(self) -> str:
        """That of its first output, which is unique in the function."""
        return self.outputs[0].name if self.outputs else self.type

    @property
    def blocks(self) -> int:
        """How many nested blocks it has (control flow)."""
        return len(self.bodies)

    def operands(self) -> Iterator[Operand]:
        for operands in self.inputs.values():
            yield from operands

    def constant(self, name: str) -> Any:
        """The constant given for parameter `name`; None if there is none."""
        given = self.inputs.get(name, ())
        return given[0].value if len(given) == 1 and isinstance(given[0], Constant) else None


@dataclass(frozen=True)
class Block:
    """Operations that run together. `constants` are those its outputs name directly."""

    inputs: tuple[Named, ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]
    constants: Mapping[str, Constant]

    def walk(self) -> Iterator[Operation]:
        """All its operations, those of nested blocks behind the one that holds them."""
        for operation in self.operations:
            yield operation
            for body in operation.bodies:
                yield from body.walk()


@dataclass(frozen=True)
class Function(Block):
    """One entry point."""

    name: str
    opset: str

    def types(self) -> dict[str, ValueType]:
        """Type of every value that is not a constant, by name; names are unique in a function."""
        found = {named.name: named.type for named in self.inputs}
        for operation in self.walk():
            found |= {named.name: named.type for named in operation.outputs}
            for body in operation.bodies:
                found |= {named.name: named.type for named in body.inputs}
        return found


ReadBlob = Callable[[str, int, str, tuple[int, ...]], Any]
"""(file name, offset, element type, shape) -> array."""


def read_function(name: str, message: Any, read_blob: ReadBlob) -> Function:
    """The IR of a `Function` message.

    Raises:
        ModelFileError: if it is inconsistent.
    """
    block = message.block_specializations.get(message.opset)
    if block is None:
        raise ModelFileError(f"function {name!r} has no body for its opset {message.opset!r}")
    inputs = tuple(_named(i) for i in message.inputs)
    body = _block(block, inputs, {}, frozenset(), read_blob)
    return Function(**vars(body), name=name, opset=message.opset)


def _block(
    block: Any,
    inputs: tuple[Named, ...],
    outer: Mapping[str, Constant],
    around: Set[str],
    read_blob: ReadBlob,
) -> Block:
    """A block that sees the constants `outer` and the computed values `around` it."""
    own: dict[str, Constant] = {}
    constants = ChainMap(own, *getattr(outer, "maps", [outer]))
    defined = {*around, *(named.name for named in inputs)}
    operations = []
    for operation in block.operations:
        if operation.type == "const":
            for output in operation.outputs:
                own[output.name] = _constant(
                    output.name, operation.attributes.get("val"), read_blob
                )
            continue
        read = _operation(operation, constants, defined, read_blob)
        operations.append(read)
        defined |= {named.name for named in read.outputs}
    for output in block.outputs:
        if output not in defined and output not in constants:
            raise ModelFileError(f"output {output!r} is computed nowhere")
    return Block(
        inputs=inputs,
        outputs=tuple(block.outputs),
        operations=tuple(operations),
        constants={n: constants[n] for n in block.outputs if n in constants},
    )


def _operation(
    message: Any, constants: Mapping[str, Constant], defined: set[str], read_blob: ReadBlob
) -> Operation:
    outputs = tuple(_named(o) for o in message.outputs)
    where = f"{message.type} {outputs[0].name!r}" if outputs else message.type
    # Compressed constants of iOS 16 carry their parameters as attributes.
    inputs: dict[str, tuple[Operand, ...]] = {
        key: (_constant("", value, read_blob, f"{where}, parameter {key!r},"),)
        for key, value in message.attributes.items()
        if key != "name"
    }
    for key, argument in message.inputs.items():
        operands: list[Operand] = []
        for binding in argument.arguments:
            if not binding.name:
                label = f"{where}, parameter {key!r},"
                operands.append(_constant("", binding.value, read_blob, label))
            elif binding.name in constants:
                operands.append(constants[binding.name])
            elif binding.name in defined:
                operands.append(Ref(binding.name))
            else:
                raise ModelFileError(f"{where} uses {binding.name!r}, which nothing computes")
        inputs[key] = tuple(operands)
    bodies = tuple(
        _block(block, tuple(_named(i) for i in block.inputs), constants, defined, read_blob)
        for block in message.blocks
    )
    return Operation(message.type, inputs, outputs, bodies)


def _named(message: Any) -> Named:
    return Named(message.name, value_type(message.type, f"value {message.name!r}"))


def _constant(name: str, message: Any, read_blob: ReadBlob, label: str = "") -> Constant:
    """The constant in a `Value` message; None stands for a missing one.

    Args:
        label: what errors call it; by its name if not given.
    """
    label = label or f"constant {name!r}"
    if message is None:
        raise ModelFileError(f"{label} has no value")
    kind = value_type(message.type, label)
    if message.HasField("blobFileValue"):
        dtype, shape = storable(label, kind)
        if dtype == "string":
            raise ModelFileError(f"{label} is text in a weight file, which holds none")
        file, offset = message.blobFileValue.fileName, message.blobFileValue.offset
        stored = -(-math.prod(shape) * BITS[dtype] // 8)
        return Constant(
            name, kind, lambda: read_blob(file, offset, dtype, shape), stored, (file, offset)
        )
    immediate = message.immediateValue
    if isinstance(kind, TensorType):
        return Constant(name, kind, lambda: tensor(label, kind, immediate.tensor))
    if kind.kind not in ("list", "tuple"):
        raise ModelFileError(f"{label} is a {kind}, which no constant can be")
    items = immediate.list.values or immediate.tuple.values
    return Constant(name, kind, lambda: [_constant(name, v, read_blob, label).value for v in items])
