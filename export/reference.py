"""What the eager float32 network answers to the probes: the truth that bundles are held against.

A truth has to be one. NaN is none, and an infinity only where the network gives it for every
input, as a mask of its own does; anything else is named and refused. Probes that leave the range
of pixels are drawn inside it for a network that takes nothing else, or left out, and that is said.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from care_mobile.errors import CareError, ModelError, first_line
from care_mobile.inputs import Array, Preprocessing, pixel_probe_sets, probe_sets

from . import probes
from .capture import plain_array
from .eager import answer, copied
from .parity import FAR, Arrays, stacked


@dataclass(frozen=True)
class Reference:
    """Probe sets (n, C, H, W) in the bundle's range and the network's answers to them.

    Attributes:
        notes: by probe set, what must be said of it.
        left_out: probe sets that say nothing about this network, and why.
    """

    inputs: dict[str, Array] = field(default_factory=dict)
    answers: dict[str, Arrays] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def answers(model: nn.Module, x: Tensor) -> Arrays:
    """Outputs for x (n, C, H, W) in the network's own range, one input at a time, stacked.

    Raises:
        ModelError: if they are no tensors, or of another shape for every input.
    """
    rows = [[plain_array(output) for output in answer(model, image[None])] for image in x]
    try:
        found = stacked(rows)
    except ValueError as error:
        raise ModelError(
            "an output of the network has another shape for every image",
            "phones need fixed shapes: pad it, or leave it out",
        ) from error
    if not found:
        raise ModelError("the network returns no tensors", "return what is to be computed")
    return found


def reference(
    name: str, model: nn.Module, preprocessing: Preprocessing, seed: int, *, whole: bool
) -> Reference:
    """Run the network called `name`, which stays as it is, on all probes.

    Args:
        whole: inputs are images, which hold whole numbers in 0..255.

    Raises:
        ModelError: if the network fails on ordinary inputs, or its answer to one is no number.
    """
    sets = probe_sets(preprocessing, seed)
    inside = pixel_probe_sets(preprocessing, seed)
    found = Reference()
    asked = _Asked(name, model, preprocessing, whole)
    # Photos first: whatever a network takes, it takes those.
    for probe_set in ("photos", *(key for key in sets if key != "photos")):
        asked.ask(probe_set, sets[probe_set], inside.get(probe_set), found)
    delicate = probes.tiny_denominator(copied(model), preprocessing, seed)
    asked.ask(probes.NAME, delicate, inside[probes.NAME], found)
    order = [*sets, probes.NAME]
    kept = {key: found.inputs[key] for key in order if key in found.inputs}
    return Reference(kept, {k: found.answers[k] for k in kept}, found.notes, found.left_out)


class _Asked:
    """A network that answers one probe set after the other, photos first."""

    def __init__(
        self, name: str, model: nn.Module, preprocessing: Preprocessing, whole: bool
    ) -> None:
        self._name = name
        self._model = model
        self._preprocessing = preprocessing
        self._whole = whole
        self._masks: list[NDArray[Any]] | None = None

    def ask(self, probe_set: str, stack: Array, inside: Array | None, found: Reference) -> None:
        """Add a probe set and the answers to `found`, or the reason why it is left out.

        Args:
            inside: what takes its place where the network takes pixels only.

        Raises:
            ModelError: see `reference`.
        """
        stack = self._rounded(stack)
        result = self._try(stack)
        if isinstance(result, _Refusal) and probe_set in FAR:
            found.left_out[probe_set] = f"the network itself {result.why}"
            return
        if (
            isinstance(result, _Refusal)
            and inside is not None
            and not self._preprocessing.holds_pixels(stack)
        ):
            note = f"drawn inside the range of pixels: outside it the network {result.why}"
            stack = self._rounded(inside)
            result = self._try(stack)
            found.notes[probe_set] = note
        if isinstance(result, _Refusal):
            raise self._error(probe_set, result)
        found.inputs[probe_set], found.answers[probe_set] = stack, result

    def _rounded(self, stack: Array) -> Array:
        return np.clip(np.rint(stack), 0, 255) if self._whole else stack

    def _try(self, stack: Array) -> Arrays | _Refusal:
        x = torch.from_numpy(self._preprocessing.normalize(stack)).float()
        try:
            arrays = answers(self._model, x)
        except CareError:
            raise
        except Exception as error:  # whatever a user's network raises
            return _Refusal(f"raises {type(error).__name__}: {_first_line(error)}", error)
        if self._masks is None:
            self._masks = [_infinities(array[0]) for array in arrays]
        for index, (array, mask) in enumerate(zip(arrays, self._masks, strict=True)):
            why = _not_finite(array, mask)
            if why:
                return _Refusal(f"{why} of output {index + 1}" if len(arrays) > 1 else why)
        return arrays

    def _error(self, probe_set: str, refusal: _Refusal) -> ModelError:
        form = self._preprocessing
        if refusal.error is not None:
            line = _first_line(refusal.error)
            hint = "check --resolution, --in-channels, and --mean and --std, which say what it eats"
            if "required positional argument" in line or "required keyword-only" in line:
                hint = "only networks of one image are served: give its other arguments defaults"
            error = ModelError(
                f"the network fails on an input of {form.channels} channels and "
                f"{form.resolution} px ({probe_set}): {line}",
                hint,
            )
            error.__cause__ = refusal.error
            return error
        broken = _broken_weight(self._model)
        return ModelError(
            f"{self._name} itself {refusal.why} on the probe set {probe_set}; nothing "
            "can be verified against that",
            f"its weights are broken: {broken} is not finite; use others"
            if broken
            else "look for a division by zero, a logarithm or an exponential without bounds; in a "
            "mask that depends on the image write -1e4 for minus infinity",
        )


@dataclass(frozen=True)
class _Refusal:
    """Why a probe set has no answers; `error` is what the network raised."""

    why: str
    error: Exception | None = None


def _infinities(array: NDArray[Any]) -> NDArray[Any]:
    """The infinities in one answer, with their signs; zero elsewhere."""
    if array.dtype.kind != "f":
        return np.zeros(array.shape, np.int8)
    found: NDArray[Any] = np.where(np.isinf(array), np.sign(array), 0.0)
    return found


def _not_finite(array: NDArray[Any], mask: NDArray[Any]) -> str:
    """What is wrong with the answers (n, ...) of one output, if infinities belong at `mask`."""
    if array.dtype.kind != "f" or np.isfinite(array).all():
        return ""
    nans = int(np.count_nonzero(np.isnan(array)))
    if nans:
        return f"answers NaN at {nans} of {array.size} places"
    infinite = int(np.count_nonzero(np.isinf(array)))
    if infinite == array.size or any(not np.array_equal(_infinities(row), mask) for row in array):
        return f"answers infinity at {infinite} of {array.size} places"
    return ""


def _broken_weight(model: nn.Module) -> str | None:
    for name, weight in model.named_parameters():
        if weight.is_floating_point() and not torch.isfinite(weight).all():
            return name
    return None


def _first_line(error: Exception) -> str:
    return first_line(error).rstrip(".")
