"""Operators by name, and what a kernel is given.

A kernel computes one operator in the working type. It takes an `Arguments` and returns an array
per output; rounding to the declared types is not its business. Parameters the file leaves out have
the defaults that Apple's operator reference documents, written where they are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...coreml import Operation
from ...errors import RuntimeFailure
from .numerics import AnyArray, Numerics

Value = AnyArray | list[Any]
"""An array, or a list of values (texts, arrays)."""
Kernel = Callable[["Arguments"], AnyArray | tuple[Any, ...]]

KERNELS: dict[str, Kernel] = {}


def kernel(*operators: str) -> Callable[[Kernel], Kernel]:
    """Register a kernel for one or several operators."""

    def register(function: Kernel) -> Kernel:
        for operator in operators:
            assert operator not in KERNELS, operator
            KERNELS[operator] = function
        return function

    return register


@dataclass(frozen=True)
class Arguments:
    """The inputs of one operation, by parameter name; floats are in the working type.

    Attributes:
        opset: 5 to 8 for iOS 15 to 18, where an operator's meaning changed.
    """

    operation: Operation
    values: Mapping[str, Sequence[Value]]
    numerics: Numerics
    opset: int

    def given(self, name: str) -> bool:
        return bool(self.values.get(name))

    def array(self, name: str) -> AnyArray:
        """A required input."""
        return np.asarray(self._single(name))

    def optional(self, name: str) -> AnyArray | None:
        return np.asarray(self._single(name)) if self.given(name) else None

    def arrays(self, name: str) -> list[AnyArray]:
        """A variadic input."""
        if not self.given(name):
            raise self.fault(f"lacks its input {name!r}")
        return [np.asarray(value) for value in self.values[name]]

    def integers(self, name: str, default: Sequence[int] | None = None) -> tuple[int, ...]:
        """A one-dimensional parameter, or a scalar taken as one."""
        if default is not None and not self.given(name):
            return tuple(default)
        return tuple(int(value) for value in np.atleast_1d(np.asarray(self._single(name))))

    def integer(self, name: str, default: int | None = None) -> int:
        if default is not None and not self.given(name):
            return default
        return int(self._scalar(name))

    def number(self, name: str, default: float | None = None) -> float:
        if default is not None and not self.given(name):
            return default
        return float(self._scalar(name))

    def flag(self, name: str, default: bool | None = None) -> bool:
        if default is not None and not self.given(name):
            return default
        return bool(self._scalar(name))

    def flags(self, name: str, default: Sequence[bool]) -> tuple[bool, ...]:
        return tuple(bool(f) for f in self.array(name)) if self.given(name) else tuple(default)

    def text(self, name: str, default: str | None = None) -> str:
        if default is not None and not self.given(name):
            return default
        return str(self._scalar(name))

    def fault(self, why: str) -> RuntimeFailure:
        """The error, to be raised, for an operation that cannot be run as it stands."""
        return RuntimeFailure(f"{self.operation.type} {self.operation.name!r} {why}")

    def _single(self, name: str) -> Value:
        given = self.values.get(name, ())
        if len(given) != 1:
            raise self.fault(f"has {len(given)} values for {name!r}, not one")
        return given[0]

    def _scalar(self, name: str) -> Any:
        array = np.asarray(self._single(name))
        if array.size != 1:
            raise self.fault(f"has {array.size} values for {name!r}, not one")
        return array.reshape(()).item()
