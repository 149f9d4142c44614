"""What every runtime offers: load a bundle on this machine, run it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..errors import UsageError
from ..requirements import Availability

AnyArray = NDArray[Any]


@dataclass(frozen=True)
class RuntimeOptions:
    """How to run.

    Attributes:
        threads: the size of the runtime's pool for one inference.
        unit: `cpu`, `gpu`, `npu`, or `all`, which leaves the choice to the runtime. Only Core ML
            heeds it.
    """

    threads: int = 1
    unit: str = "all"


class LoadedModel(Protocol):
    """A loaded model."""

    def run(self, inputs: Mapping[str, AnyArray]) -> list[AnyArray]:
        """One inference; an array for each of the manifest's `arrays`, in its shape and type.

        Raises:
            UsageError: if the inputs do not fit the manifest.
            RuntimeFailure: if the runtime fails.
        """
        ...

    def bind(self, inputs: Mapping[str, AnyArray]) -> Callable[[], object]:
        """The same inference as a call that takes nothing: the runtime's work and no more.

        Inputs are checked and converted here, once, and results stay in the runtime's own form,
        so that timing the call times the runtime.

        Raises:
            UsageError: if the inputs do not fit the manifest.
        """
        ...

    def describe(self) -> dict[str, str]:
        """Runtime, version and what decides speed (backend, threads)."""
        ...


class Runtime(Protocol):
    """A way to run bundles here."""

    name: str
    modules: tuple[str, ...]
    """What loading a bundle imports beyond what all of care-mobile does."""
    takes_threads: bool
    """Whether it heeds `RuntimeOptions.threads`."""

    def availability(self) -> Availability: ...

    def load(self, bundle: Bundle, options: RuntimeOptions) -> LoadedModel:
        """Load a bundle's model.

        Raises:
            MissingDependencyError: if the runtime is not usable on this machine.
            RuntimeFailure: if it refuses the model.
        """
        ...


def ordered_inputs(bundle: Bundle, inputs: Mapping[str, AnyArray]) -> Sequence[AnyArray]:
    """The inputs in the manifest's order, checked against it, as C-contiguous arrays.

    Images are float32; their runtimes make pixels of them.
    """
    specs = bundle.manifest.inputs
    if set(inputs) != {spec.name for spec in specs}:
        raise UsageError(
            f"{bundle.name} takes inputs {[s.name for s in specs]}, got {sorted(inputs)}"
        )
    ordered = []
    for spec in specs:
        given = np.asarray(inputs[spec.name])
        # Pixels come as they were computed, with fractions, and are rounded.
        dtype = "float32" if spec.kind == "image" else spec.dtype
        if not np.can_cast(given.dtype, dtype, "same_kind"):
            raise UsageError(f"{bundle.name}: input {spec.name!r} is {given.dtype}, not {dtype}")
        with np.errstate(over="ignore"):  # beyond float16: infinity, as the runtime would have it
            array = np.asarray(given, dtype=dtype, order="C")
        fits = len(array.shape) == len(spec.shape) and all(
            want in (None, have) for want, have in zip(spec.shape, array.shape, strict=True)
        )
        if not fits:
            raise UsageError(
                f"{bundle.name}: input {spec.name!r} has shape {array.shape}, not {spec.shape}"
            )
        ordered.append(array)
    return ordered
