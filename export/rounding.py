"""What rounding alone does to a network's answers: the yardstick for what it does to a bundle's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from care_mobile.inputs import Array, Preprocessing

from .eager import copied
from .parity import Arrays

_TABLE_BITS = 8
"""At most so many: steps are fractions of a tensor's peak, as integers and tables have them."""
_FLOAT32_BITS = 24
_SEEDS = (0, 1)

Answers = Callable[[nn.Module, Array], Arrays]
"""The outputs of a network for a stack of inputs in the bundle's range."""


class Rounding:
    """A network's answers to its probes when its weights and inputs are moved by rounding.

    Nothing is computed before it is asked for, and nothing twice; several threads may ask.
    """

    def __init__(
        self, model: nn.Module, preprocessing: Preprocessing, probes: Mapping[str, Array]
    ) -> None:
        self._model = model
        self._preprocessing = preprocessing
        self._probes = probes
        self._known: dict[tuple[str, int], Sequence[Arrays]] = {}
        self._lock = threading.Lock()

    def moved(self, probes: str, bits: int) -> Sequence[Arrays]:
        """The answers to one probe set with `bits` significant bits, in a few ways.

        For float32 the network in float64 is one of them, where it runs in that.
        """
        with self._lock:
            if (probes, bits) not in self._known:
                self._known[probes, bits] = tuple(self._all(self._probes[probes], bits))
            return self._known[probes, bits]

    def _all(self, stack: Array, bits: int) -> list[Arrays]:
        x = torch.from_numpy(self._preprocessing.normalize(stack)).float()
        answers = []
        if bits == _FLOAT32_BITS:
            exact = _answers(copied(self._model).double(), x.double())
            answers += [exact] if exact is not None else []
        for seed in _SEEDS:
            rng = torch.Generator().manual_seed(seed)
            network = copied(self._model)
            _move(network, bits, rng)
            found = _answers(network, _moved(x, bits, rng))
            answers += [found] if found is not None else []
        return answers


@torch.no_grad()
def _move(network: nn.Module, bits: int, rng: torch.Generator) -> None:
    for weight in network.parameters():
        if weight.is_floating_point():
            weight.copy_(_moved(weight, bits, rng))


def _moved(values: Tensor, bits: int, rng: torch.Generator) -> Tensor:
    """`values` with an error of up to half a step each way."""
    error = 2.0 * torch.rand(values.shape, generator=rng) - 1.0
    size = values.abs().amax() if bits <= _TABLE_BITS and values.numel() else values.abs()
    return (values + size * error.to(values.dtype) * 2.0**-bits).to(values.dtype)


def _answers(network: nn.Module, x: Tensor) -> Arrays | None:
    """None where the network does not run like this, as where it fixes a type."""
    from .reference import answers

    try:
        return answers(network, x)
    except Exception:  # whatever a user's network raises
        return None
