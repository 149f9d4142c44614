"""Runs an ML Program operation by operation.

A value is dropped after its last use, and weights are read from the mapped file by the operation
that needs them, so memory stays near the largest activations.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...coreml import Constant, MLPackage, Operand, Operation, Ref, TensorType
from ...coreml.types import FLOATS, NUMPY
from ...coreml.values import MAX_ELEMENTS
from ...errors import CareError, RuntimeFailure, UsageError
from .kernels import KERNELS
from .numerics import AnyArray, Numerics
from .registry import Arguments, Value

_OPSETS = {"CoreML5": 5, "CoreML6": 6, "CoreML7": 7, "CoreML8": 8}


@dataclass(frozen=True)
class Step:
    """One operation that has been run: what went in, what came out."""

    index: int
    operation: Operation
    arguments: Arguments
    outputs: tuple[Any, ...]


class Interpreter:
    """A program ready to run. Not thread-safe: none of its runs share state, but files are mapped.

    Args:
        keep_fp32: names of operations whose results are not rounded to fp16, to find out what
            keeping them in fp32 would bring.

    Raises:
        RuntimeFailure: if the program holds an operator that is not known; it names all of them.
    """

    def __init__(
        self,
        package: MLPackage,
        numerics: Numerics = Numerics.DECLARED,
        keep_fp32: frozenset[str] = frozenset(),
    ) -> None:
        self.package = package
        self.numerics = numerics
        self.keep_fp32 = keep_fp32
        self._opset = _opset(package)
        self._operations = package.main.operations
        self._last_use = _last_uses(package)
        self._types = package.main.types()
        _check_operators(package)
        _check_results(package)

    def run(self, inputs: Mapping[str, AnyArray]) -> dict[str, Any]:
        """One inference; arrays (or a classifier's label and scores) by output name.

        Raises:
            UsageError: if the inputs do not fit the program.
            RuntimeFailure: if an operation cannot be run.
        """
        steps = self.steps(inputs)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                outputs: dict[str, Any] = end.value
                return outputs

    def steps(self, inputs: Mapping[str, AnyArray]) -> Generator[Step, None, dict[str, Any]]:
        """Run, stopping after every operation; the generator's return value is that of `run`."""
        main = self.package.main
        values: dict[str, Any] = self._accept(inputs)
        wanted = set(main.outputs)
        for index, operation in enumerate(self._operations):
            arguments = Arguments(
                operation,
                {
                    name: [self._read(operand, values) for operand in operands]
                    for name, operands in operation.inputs.items()
                },
                self.numerics,
                self._opset,
            )
            outputs = self.compute(arguments)
            values |= {
                named.name: output
                for named, output in zip(operation.outputs, outputs, strict=True)
                if named.name in self._last_use or named.name in wanted
            }
            for operand in operation.operands():
                if not isinstance(operand, Ref) or operand.name in wanted:
                    continue
                if self._last_use[operand.name] == index:
                    values.pop(operand.name, None)
            yield Step(index, operation, arguments, outputs)
        return {
            name: values[name] if name in values else self._constant(main.constants[name])
            for name in main.outputs
        }

    def repeat(self, step: Step) -> tuple[Any, ...]:
        """The outputs of another run's step in this interpreter's arithmetic.

        Its inputs are rounded to what the program declares; constants are read anew.
        """
        operation = step.operation
        values: dict[str, list[Value]] = {}
        for name, operands in operation.inputs.items():
            given = step.arguments.values[name]
            values[name] = [
                self.numerics.settle(np.asarray(value), self._types[operand.name])
                if isinstance(operand, Ref)
                else self._constant(operand)
                for operand, value in zip(operands, given, strict=True)
            ]
        return self.compute(Arguments(operation, values, self.numerics, self._opset))

    def compute(self, arguments: Arguments) -> tuple[Any, ...]:
        """The settled outputs of one operation."""
        operation = arguments.operation
        try:
            with np.errstate(all="ignore"):  # infinities and NaN are results like any other
                results = KERNELS[operation.type](arguments)
        except CareError:
            raise
        except Exception as error:  # a malformed program can break a kernel in any way
            raise arguments.fault(f"cannot be run: {type(error).__name__}: {error}") from error
        outputs = results if isinstance(results, tuple) else (results,)
        if len(outputs) != len(operation.outputs):
            raise arguments.fault(f"gave {len(outputs)} results for {len(operation.outputs)}")
        keep = operation.name in self.keep_fp32
        settled = []
        for output, named in zip(outputs, operation.outputs, strict=True):
            if isinstance(named.type, TensorType):
                array = np.asarray(output)
                if not _fits(array.shape, named.type):
                    raise arguments.fault(f"gave shape {array.shape}, declared is {named.type}")
                settled.append(self.numerics.settle(array, named.type, keep))
            else:
                settled.append(output)
        return tuple(settled)

    def _accept(self, inputs: Mapping[str, AnyArray]) -> dict[str, Any]:
        main = self.package.main
        if set(inputs) != {named.name for named in main.inputs}:
            raise UsageError(
                f"{self.package.path.name} takes inputs {[n.name for n in main.inputs]}, "
                f"got {sorted(inputs)}"
            )
        accepted = {}
        for named in main.inputs:
            array = np.asarray(inputs[named.name])
            kind = named.type
            if not isinstance(kind, TensorType) or kind.dtype == "string":
                raise RuntimeFailure(f"input {named.name!r} is a {kind}, which cannot be given")
            if not np.can_cast(array.dtype, self.numerics.working(kind.dtype), "same_kind"):
                raise UsageError(f"input {named.name!r} is {array.dtype}, not {kind.dtype}")
            if not _fits(array.shape, kind):
                raise UsageError(f"input {named.name!r} has shape {array.shape}, not {kind}")
            accepted[named.name] = self.numerics.settle(array, kind)
        return accepted

    def _read(self, operand: Operand, values: Mapping[str, Any]) -> Value:
        if isinstance(operand, Ref):
            value: Value = values[operand.name]
            return value
        return self._constant(operand)

    def _constant(self, constant: Constant) -> Value:
        value: Value = constant.value
        if isinstance(constant.type, TensorType) and constant.type.dtype in FLOATS:
            return self.numerics.settle(np.asarray(value), constant.type)
        return value


def _opset(package: MLPackage) -> int:
    try:
        return _OPSETS[package.main.opset]
    except KeyError:
        raise RuntimeFailure(
            f"{package.path.name} uses the opset {package.main.opset}; known are "
            f"{', '.join(_OPSETS)} (iOS 15 to 18)",
            "convert with minimum_deployment_target iOS 18 or earlier",
        ) from None


def _check_operators(package: MLPackage) -> None:
    unknown = [op for op in package.main.operations if op.type not in KERNELS]
    if not unknown:
        return
    first = unknown[0]
    index = package.main.operations.index(first)
    counts = Counter(operation.type for operation in unknown)
    others = [f"{name} ({count})" for name, count in counts.items() if name != first.type]
    also = f"; also unknown: {', '.join(others)}" if others else ""
    raise RuntimeFailure(
        f"the interpreter does not know the operator {first.type!r}, which computes "
        f"{first.name!r} (operation {index} of {len(package.main.operations)}){also}",
        "docs/coreml.md lists the operators it knows",
    )


def _check_results(package: MLPackage) -> None:
    """Refuse types no kernel has and sizes no memory holds before a kernel tries."""
    for operation in package.main.operations:
        for named in operation.outputs:
            if isinstance(named.type, TensorType) and named.type.dtype not in NUMPY:
                raise RuntimeFailure(
                    f"{operation.type} {named.name!r} gives {named.type}, a type the interpreter "
                    "does not compute with",
                    "convert the network in fp16 or fp32",
                )
            shape = named.type.shape if isinstance(named.type, TensorType) else None
            if math.prod(size or 1 for size in shape or ()) >= MAX_ELEMENTS:
                raise RuntimeFailure(
                    f"{operation.type} {named.name!r} claims a result of {named.type}",
                    "the file is damaged or hostile: do not use it",
                )


def _last_uses(package: MLPackage) -> dict[str, int]:
    return {
        operand.name: index
        for index, operation in enumerate(package.main.operations)
        for operand in operation.operands()
        if isinstance(operand, Ref)
    }


def _fits(shape: tuple[int, ...], declared: TensorType) -> bool:
    if declared.shape is None:
        return True
    return len(shape) == len(declared.shape) and all(
        want in (None, have) for want, have in zip(declared.shape, shape, strict=True)
    )
