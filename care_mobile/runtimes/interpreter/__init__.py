"""An interpreter of ML Programs: Core ML's semantics in numpy, on any machine."""

from .executor import Interpreter, Step
from .kernels import KERNELS
from .numerics import Numerics
from .registry import Arguments

__all__ = ["KERNELS", "Arguments", "Interpreter", "Numerics", "Step"]
