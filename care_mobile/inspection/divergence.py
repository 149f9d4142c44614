"""Where a Core ML program leaves the reference: its own exact run, or another package."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..bundle import Bundle
from ..coreml import MLPackage, TensorType, open_package
from ..coreml.package import read_folder, read_program
from ..coreml.types import FLOATS
from ..divergence import Divergence
from ..errors import RuntimeFailure
from ..runtimes.interpreter import Numerics
from ..runtimes.interpreter.divergence import OnOperation, against_exact, between
from ..runtimes.interpreter.numerics import AnyArray
from .coreml import chosen_function
from .coreml_shapes import input_shapes
from .inspector import is_bundle
from .options import Shape


def diverge(
    path: Path,
    reference: Path | None = None,
    shapes: Mapping[str, Shape] | None = None,
    function: str | None = None,
    seed: int = 0,
    on_operation: OnOperation = lambda done, total: None,
) -> Divergence:
    """Run the package at `path` on noise, operation by operation.

    Args:
        path: a `.mlpackage`, or a bundle with one.
        reference: another package of the same network to hold it against; None for its own run in
            float64.
        shapes: of flexible inputs; the file's defaults where they are not given.
        function: of a package with several, by default its main one.
        seed: of the noise, of unit variance.

    Raises:
        ModelFileError: if one of them is no ML Program.
        RuntimeFailure: if it cannot be run, takes something else than arrays of numbers of known
            shape, or shares no result's name with the reference.
    """
    package = _open(path, function)
    inputs = _noise(package, shapes or {}, seed)
    if reference is not None:
        return between(_open(reference, function), package, inputs)
    return against_exact(package, inputs, Numerics.DECLARED, on_operation)


def _open(path: Path, function: str | None) -> MLPackage:
    path = Bundle.open(path).model_path if is_bundle(path) else path
    if not path.is_dir():
        return open_package(path)  # which says why not
    file = read_folder(path)
    if file.kind != "mlProgram" or file.message.description.state:
        return open_package(path)
    shown = chosen_function(path.name, file.message, function)
    return read_program(file, file.message, shown)


def _noise(package: MLPackage, given: Mapping[str, Shape], seed: int) -> dict[str, AnyArray]:
    rng = np.random.default_rng(seed)
    shapes, _ = input_shapes(package, given)
    inputs = {}
    for named in package.main.inputs:
        kind = named.type
        if not isinstance(kind, TensorType) or kind.dtype not in FLOATS:
            raise RuntimeFailure(
                f"{package.path.name}: input {named.name!r} is {kind}, for which no noise is made",
                "only arrays of floats can be compared",
            )
        if named.name not in shapes:
            raise RuntimeFailure(
                f"{package.path.name}: input {named.name!r} is {kind}, which has no default shape",
                f"give one: --input-shape {named.name}=1x3x224x224",
            )
        inputs[named.name] = rng.standard_normal(shapes[named.name]).astype("f4")
    return inputs
