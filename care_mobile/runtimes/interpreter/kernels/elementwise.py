"""Operators of one input, element by element, and the arithmetic of two with broadcasting.

Integers: a result that is no integer (a quotient, 2^-1) is truncated towards zero where the
program declares an integer, and sums wrap around.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import special

from ....coreml import TensorType
from ....coreml.types import NUMPY
from ..numerics import AnyArray, to_integer
from ..registry import Arguments, Kernel, kernel

_UNARY: dict[str, Callable[[AnyArray], AnyArray]] = {
    "abs": np.abs,
    "acos": np.arccos,
    "asin": np.arcsin,
    "atan": np.arctan,
    "atanh": np.arctanh,
    "ceil": np.ceil,
    "cos": np.cos,
    "cosh": np.cosh,
    "erf": special.erf,
    "exp": np.exp,
    "exp2": np.exp2,
    "floor": np.floor,
    "round": np.rint,  # halves to the even neighbour: "0.5 is rounded to 0"
    "sign": np.sign,
    "sin": np.sin,
    "sinh": np.sinh,
    "sqrt": np.sqrt,
    "square": np.square,
    "tan": np.tan,
    "tanh": np.tanh,
}

_BINARY: dict[str, Callable[[AnyArray, AnyArray], AnyArray]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "real_div": np.true_divide,
    "floor_div": np.floor_divide,
    # The sign of the dividend, as C's %: so its runtime was seen to answer
    # (kasper0406/stablehlo-coreml PR #70), though coremltools evaluates Python's %.
    "mod": np.fmod,
    "maximum": np.maximum,
    "minimum": np.minimum,
}

_CAST = ("fp16", "fp32", "int32", "bool")
_CAST_IOS17 = (*_CAST, "int8", "uint8", "int16", "uint16")


def _unary(function: Callable[[AnyArray], AnyArray]) -> Kernel:
    return lambda arguments: function(arguments.array("x"))


def _binary(function: Callable[[AnyArray, AnyArray], AnyArray]) -> Kernel:
    return lambda arguments: function(arguments.array("x"), arguments.array("y"))


for _name, _function in _UNARY.items():
    kernel(_name)(_unary(_function))
for _name, _operator in _BINARY.items():
    kernel(_name)(_binary(_operator))


@kernel("pow")
def power(arguments: Arguments) -> AnyArray:
    x, y = arguments.array("x"), arguments.array("y")
    if np.issubdtype(x.dtype, np.integer) and np.any(y < 0):
        x = x.astype(np.float64)
    if y.ndim == 0 and y == 2:  # the exponent of most programs, many times faster
        return np.square(x)
    return np.power(x, y)


@kernel("inverse")
def inverse(arguments: Arguments) -> AnyArray:
    return np.reciprocal(arguments.array("x") + _epsilon(arguments, 1e-4))


@kernel("rsqrt")
def rsqrt(arguments: Arguments) -> AnyArray:
    return np.reciprocal(np.sqrt(arguments.array("x") + _epsilon(arguments, 1e-12)))


@kernel("log")
def log(arguments: Arguments) -> AnyArray:
    return np.log(arguments.array("x") + _epsilon(arguments, 1e-45))


@kernel("clip")
def clip(arguments: Arguments) -> AnyArray:
    low, high = arguments.number("alpha"), arguments.number("beta")
    if arguments.opset >= 7 and low >= high:
        raise arguments.fault(f"clips to [{low:g}, {high:g}], which is empty")
    return np.minimum(np.maximum(arguments.array("x"), low), high)


@kernel("threshold")
def threshold(arguments: Arguments) -> AnyArray:
    return np.maximum(arguments.array("x"), arguments.array("alpha"))


@kernel("identity")
def identity(arguments: Arguments) -> AnyArray:
    return arguments.array("x")


@kernel("cast")
def cast(arguments: Arguments) -> AnyArray:
    """To another element type; floats lose their fraction on the way to integers.

    Integers wrap around.
    """
    x, name = arguments.array("x"), arguments.text("dtype")
    if name not in (_CAST_IOS17 if arguments.opset >= 7 else _CAST):
        since = " before iOS 17" if name in _CAST_IOS17 else ""
        raise arguments.fault(f"has the dtype {name!r}, which is not known{since}")
    dtype = arguments.numerics.working(name)
    if np.issubdtype(x.dtype, np.floating) and np.issubdtype(dtype, np.integer):
        return to_integer(x, dtype)
    return x.astype(dtype)


def _epsilon(arguments: Arguments, default: float) -> float:
    """The number added to x. Its default has the type of x, so 1e-12 and 1e-45 are 0 in fp16."""
    if arguments.given("epsilon"):
        return arguments.number("epsilon")
    declared = arguments.operation.outputs[0].type
    assert isinstance(declared, TensorType)
    return float(np.asarray(default).astype(NUMPY[declared.dtype]))
