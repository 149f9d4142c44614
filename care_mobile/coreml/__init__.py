"""Core ML's files, read without Apple's framework and without coremltools."""

from .features import Feature
from .package import MLPackage, open_package
from .program import Constant, Function, Named, Operand, Operation, Ref
from .types import OpaqueType, TensorType, ValueType

__all__ = [
    "Constant",
    "Feature",
    "Function",
    "MLPackage",
    "Named",
    "OpaqueType",
    "Operand",
    "Operation",
    "Ref",
    "TensorType",
    "ValueType",
    "open_package",
]
