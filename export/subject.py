"""A network as the passes see it: captured, held against the user's own, in float64.

Before anything is built on it, the captured program must answer like the eager network: in float32,
its own type, and in float64 where the eager network can be computed in that. The program itself
goes to float64 by `doubling`, which covers what a network fixes in float32.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode

from care_mobile.errors import EquivalenceError, ModelError, first_line
from care_mobile.inputs import InputRange, Preprocessing, sample_photos

from .bounds import FLOAT32, FLOAT64, Arithmetic, Bounds
from .eager import answer, copied, flatten
from .reparam.doubling import NotDouble, doubled
from .reparam.input_normalization import prepend
from .reparam.lifting import lifted
from .reparam.trace import program, run
from .result import Proof

_CONVERTED = 0.05
"""Most that float64 may move results, relative, before it counts as another computation: layers in
half precision or with tables differ by a percent."""


class OperationCount(TorchDispatchMode):
    """Counts the operations a forward pass executes, by name."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.by_type: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.by_type[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Subject:
    """A network on its way through the passes.

    Attributes:
        model: its graph, in the arithmetic of the proof.
        outputs: what it answers to the proof's input.
        operations: how many it executes for that.
        bounds: what rounding may do to its outputs.
    """

    model: fx.GraphModule
    outputs: list[Tensor]
    operations: int
    bounds: Bounds
    proof: Proof
    opaque: dict[str, str]


@dataclass(frozen=True)
class Captured:
    """A network's program in ATen operators, and the input (1, C, H, W) of the proof.

    `given` is in the bundle's range, `x` what the network itself gets; both float64.
    """

    program: fx.GraphModule
    given: Tensor
    x: Tensor


def captured(
    model: nn.Module, preprocessing: Preprocessing, seed: int, *, dynamic_batch: bool = False
) -> Captured:
    """Capture a copy of `model`.

    Raises:
        ModelError: if it does not run on the input, or `torch.export` cannot capture it.
    """
    given, x = _input(model, preprocessing, seed)
    return Captured(program(model, x.float(), dynamic_batch=dynamic_batch), given, x)


def subject(model: nn.Module, source: Captured, preprocessing: Preprocessing) -> Subject:
    """What the passes start from: `source` proven to be `model`, with modules in its graph.

    Raises:
        EquivalenceError: if the program is not what the network computes.
    """
    _hold(model, source.program, source.x)
    held = FLOAT32.name
    exact, arithmetic, reason = _widened(source.program, source.x)
    if arithmetic is FLOAT64 and _agrees_doubled(model, exact, source.x):
        held = FLOAT64.name
    graph, opaque = _lifted(exact, source.x.to(arithmetic.dtype), arithmetic)
    given = source.given.to(arithmetic.dtype)
    if preprocessing.input_range is not InputRange.NORMALIZED:
        prepend(graph, *preprocessing.affine())
        if arithmetic is FLOAT32:
            graph.get_submodule("input_normalization").float()
    outputs, operations = measured(graph, given)
    bounds = Bounds(lambda x: measured(graph, x)[0], given, outputs, arithmetic)
    return Subject(
        graph,
        outputs,
        operations,
        bounds,
        Proof(arithmetic=arithmetic.name, reason=reason, held=held),
        opaque,
    )


@torch.no_grad()
def measured(model: fx.GraphModule, x: Tensor) -> tuple[list[Tensor], int]:
    """Outputs of a graph for `x`, and how many operations it took; shapes stay with its nodes."""
    own = x.clone()
    with OperationCount() as counter:
        outputs = flatten(run(model, own))
    return outputs, counter.by_type.total()


def _input(model: nn.Module, preprocessing: Preprocessing, seed: int) -> tuple[Tensor, Tensor]:
    """Noise if the network takes it and answers in numbers, else a photo, else zeros."""
    size = preprocessing.resolution
    shape = (1, preprocessing.channels, size.height, size.width)
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(shape, generator=rng, dtype=torch.float64).numpy()
    candidates: list[Callable[[], np.ndarray]] = [
        lambda: preprocessing.denormalize(noise),
        lambda: preprocessing.from_image(sample_photos()[0]),
        lambda: np.zeros(shape, np.float32),
    ]
    first: Exception | None = None
    runs = None
    for candidate in candidates:
        given = candidate()
        x = preprocessing.normalize(given)
        try:
            outputs = answer(model, torch.from_numpy(x).float())
        except ModelError:
            raise
        except Exception as error:  # whatever a user's network raises
            first = first or error
            continue
        pair = torch.from_numpy(given).double(), torch.from_numpy(x)
        runs = runs or pair
        if all(_finite(output) for output in outputs):
            return pair
    if runs is not None:
        return runs
    raise ModelError(
        f"the network fails on an input of {list(shape)}: {first}",
        "check --resolution and --in-channels",
    ) from first


def _finite(output: Tensor) -> bool:
    return not output.is_floating_point() or bool(torch.isfinite(output).all())


def _hold(model: nn.Module, graph: fx.GraphModule, x: Tensor) -> None:
    """Compare the program with the eager network in their own types.

    Raises:
        EquivalenceError: if they differ.
        ModelError: if the network is random, or its program does not run.
    """
    plain = x.float()
    want = answer(model, plain)
    try:
        have = _answers(graph, plain)
    except Exception as error:  # what torch.export captures need not run
        line = first_line(error)
        raise ModelError(
            f"the program that torch.export makes of the network does not run: {line}",
            "look for what is no tensor operation, such as a random generator of its own",
        ) from error
    bounds = Bounds(lambda moved: _answers(graph, moved), plain, have, FLOAT32)
    difference = bounds.difference(want, have)
    if not difference.is_rounding:
        if not bounds.difference(want, answer(model, plain)).is_rounding:
            raise ModelError(
                "the network answers the same input differently every time",
                "leave out what is random: dropout whose `training` is not self.training, "
                "noise, paths that are dropped",
            )
        raise EquivalenceError(
            "torch.export does not see what the network computes: its program differs from the "
            f"network by {difference.relative:.1e} of the largest value",
            "please report it with the network",
        )


@torch.no_grad()
def _answers(graph: fx.GraphModule, x: Tensor) -> list[Tensor]:
    return flatten(graph(x.clone()))


def _widened(graph: fx.GraphModule, x: Tensor) -> tuple[fx.GraphModule, Arithmetic, str]:
    """The program in float64; as it is, with the reason, where it has no meaning in that."""
    plain = _answers(graph, x.float())
    try:
        exact = doubled(graph)
        wide = _answers(exact, x)
    except NotDouble as problem:
        return graph, FLOAT32, str(problem)
    except Exception as error:  # operators without a kernel for float64
        line = first_line(error)
        return graph, FLOAT32, f"it does not run in float64: {line}"
    floats = [(a, b) for a, b in zip(plain, wide, strict=True) if a.is_floating_point()]
    # Where rounding grows without bound, float32 is what differs.
    close = dataclasses.replace(FLOAT32, plain=_CONVERTED, margin=1e4, most=math.inf)
    bounds = Bounds(lambda moved: _answers(graph, moved), x.float(), plain, close)
    if not bounds.difference([a for a, _ in floats], [b for _, b in floats]).is_rounding:
        return graph, FLOAT32, "float64 changes its results"
    return exact, FLOAT64, ""


def _agrees_doubled(model: nn.Module, exact: fx.GraphModule, x: Tensor) -> bool:
    """Whether the eager network runs in float64 and gives what its program gives in that."""
    try:
        with torch.no_grad():
            want = flatten(copied(model).double()(x.clone()))
    except Exception:  # it fixes a type somewhere
        return False
    have = _answers(exact, x)
    bounds = Bounds(lambda moved: _answers(exact, moved), x, have, FLOAT64)
    return bounds.difference(want, have).is_rounding


def _lifted(
    exact: fx.GraphModule, x: Tensor, arithmetic: Arithmetic
) -> tuple[fx.GraphModule, dict[str, str]]:
    """Modules in the graph if it still gives the same; else the graph as it is, and why."""
    want = _answers(exact, x)
    bounds = Bounds(lambda moved: _answers(exact, moved), x, want, arithmetic)
    try:
        graph = lifted(copy.deepcopy(exact))
        difference = bounds.difference(want, _answers(graph, x))
    except Exception as error:  # an operator in a form that lifting does not know
        line = first_line(error)
        return exact, {"the network": f"its layers were not recognised: {line}"}
    if difference.is_rounding:
        return graph, {}
    reason = f"its layers, taken as modules, give other results ({difference.relative:.1e})"
    return exact, {"the network": reason}
