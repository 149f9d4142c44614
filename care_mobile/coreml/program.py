"""An ML Program as plain data: functions, blocks, operations, constants.

`const` operations are folded into the operations that use them, so what remains computes. Arrays
of constants are read when asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
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
    blocks: int = 0
    """How many nested blocks it has (control flow)."""

    @property
    def name(self) -> str:
        """That of its first output, which is unique in the function."""
        return self.outputs[0].name if self.outputs else self.type

    def operands(self) -> Iterator[Operand]:
        for operands in self.inputs.values():
            yield from operands

    def constant(self, name: str) -> Any:
        """The constant given for parameter `name`; None if there is none."""
        given = self.inputs.get(name, ())
        return given[0].value if len(given) == 1 and isinstance(given[0], Constant) else None


@dataclass(frozen=True)
class Function:
    """One entry point. `constants` are those its outputs name directly."""

    name: str
    opset: str
    inputs: tuple[Named, ...]
    outputs: tuple[str, ...]
    operations: tuple[Operation, ...]
    constants: Mapping[str, Constant]

    def types(self) -> dict[str, ValueType]:
        """Type of every value that is not a constant, by name."""
        found = {named.name: named.type for named in self.inputs}
        for operation in self.operations:
            found |= {named.name: named.type for named in operation.outputs}
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
    constants: dict[str, Constant] = {}
    defined = {named.name for named in inputs}
    operations = []
    for operation in block.operations:
        if operation.type == "const":
            for output in operation.outputs:
                constants[output.name] = _constant(
                    output.name, operation.attributes.get("val"), read_blob
                )
            continue
        read = _operation(operation, constants, defined, read_blob)
        operations.append(read)
        defined |= {named.name for named in read.outputs}
    for output in block.outputs:
        if output not in defined and output not in constants:
            raise ModelFileError(f"output {output!r} is computed nowhere")
    return Function(
        name=name,
        opset=message.opset,
        inputs=inputs,
        outputs=tuple(block.outputs),
        operations=tuple(operations),
        constants={n: c for n, c in constants.items() if n in block.outputs},
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
    return Operation(message.type, inputs, outputs, len(message.blocks))


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
        return Constant(name, kind, lambda: read_blob(file, offset, dtype, shape), stored)
    immediate = message.immediateValue
    if isinstance(kind, TensorType):
        return Constant(name, kind, lambda: tensor(label, kind, immediate.tensor))
    if kind.kind not in ("list", "tuple"):
        raise ModelFileError(f"{label} is a {kind}, which no constant can be")
    items = immediate.list.values or immediate.tuple.values
    return Constant(name, kind, lambda: [_constant(name, v, read_blob, label).value for v in items])
