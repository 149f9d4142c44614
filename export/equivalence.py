"""Run the reparameterizations and prove each one while it runs.

Every pass is applied in float64 and its network compared with the one before it on random
inputs: a fold that is exact in real arithmetic moves results by rounding only, about 1e-15.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode

from care_mobile import bundle
from care_mobile.errors import EquivalenceError, ModelError
from care_mobile.inputs import InputRange, Preprocessing
from care_mobile.models.lively import draw

from .eager import flatten
from .reparam import Pass, PassResult, trace
from .reparam.input_normalization import prepend
from .reparam.trace import run

TOLERANCE = 1e-10
"""Largest relative error of a pass in float64."""


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
class Reparameterized:
    """A network after some passes, and what each of them did. See `reparameterize`."""

    passes: tuple[bundle.PassReport, ...]
    opaque: dict[str, str]
    _subjects: tuple[_Subject, ...]
    _x: Tensor

    @property
    def model(self) -> fx.GraphModule:
        """The network in float32."""
        return copy.deepcopy(self._subjects[0].model).float().eval()

    def then(self, passes: Sequence[Pass]) -> Reparameterized:
        """The network after `passes` too, each proven like the ones before; this one stays.

        Raises:
            EquivalenceError: if a pass changes the results by more than `TOLERANCE`.
        """
        subjects, reports = self._subjects, list(self.passes)
        for rule in passes:
            moved = [_apply(rule, subject, self._x) for subject in subjects]
            error = max(m.relative_error for m in moved)
            if not error <= TOLERANCE:
                raise EquivalenceError(
                    f"pass {rule.name} changed the results: relative error {error:.1e} in "
                    f"float64, at most {TOLERANCE:.0e} is rounding",
                    f"--skip-pass {rule.name}, and please report it",
                )
            reports.append(_report(rule, error, subjects[0], moved[0]))
            subjects = tuple(m.subject for m in moved)
        return dataclasses.replace(self, passes=tuple(reports), _subjects=subjects)


def reparameterize(
    model: nn.Module,
    passes: Sequence[Pass],
    preprocessing: Preprocessing,
    *,
    lively: bool,
    seed: int = 0,
) -> Reparameterized:
    """Apply `passes` to a copy of `model`, each proven on its real weights.

    Args:
        model: not changed; taken in evaluation mode.
        passes: in order.
        preprocessing: resolution of the proof; an input range other than normalised puts the
            normalisation in front of the network, for a pass to fold.
        lively: whether every weight matters already. If not, each pass is proven a second time
            on the same network with lively random weights, because blocks silenced by a fresh
            layer scale would hide an error.
        seed: of the random inputs.

    Raises:
        EquivalenceError: if a pass changes the results by more than `TOLERANCE`.
        ModelError: if the network does not run in float64.
    """
    x = _probe(preprocessing, seed)
    subjects = [_subject(model, preprocessing, x)]
    if not lively:
        redrawn = copy.deepcopy(model)
        draw(redrawn, seed)
        subjects.append(_subject(redrawn, preprocessing, x))
    return Reparameterized((), subjects[0].opaque, tuple(subjects), x).then(passes)


@dataclass(frozen=True)
class _Subject:
    """A network on its way through the passes, with what it answers to the proof's input."""

    model: fx.GraphModule
    opaque: dict[str, str]
    outputs: list[Tensor]
    operations: int


def _subject(model: nn.Module, preprocessing: Preprocessing, x: Tensor) -> _Subject:
    exact = copy.deepcopy(model).double().eval().requires_grad_(False)
    graph, opaque = trace(exact)
    if preprocessing.input_range is not InputRange.NORMALIZED:
        prepend(graph, *preprocessing.affine())
    return _Subject(graph, opaque, *_run(graph, x))


@dataclass(frozen=True)
class _Moved:
    """A subject after a pass, what the pass did, and how far the outputs moved."""

    subject: _Subject
    result: PassResult
    relative_error: float


def _apply(rule: Pass, subject: _Subject, x: Tensor) -> _Moved:
    result = rule(subject.model)
    if not result.places:
        return _Moved(subject, result, 0.0)
    outputs, operations = _run(result.model, x)
    error = relative_error(subject.outputs, outputs)
    after = dataclasses.replace(subject, model=result.model, outputs=outputs, operations=operations)
    return _Moved(after, result, error)


def _report(rule: Pass, error: float, before: _Subject, moved: _Moved) -> bundle.PassReport:
    return bundle.PassReport(
        name=rule.name,
        places=moved.result.places,
        relative_error=error,
        operations_before=before.operations,
        operations_after=moved.subject.operations,
        left=moved.result.left,
    )


def _probe(preprocessing: Preprocessing, seed: int) -> Tensor:
    size = preprocessing.resolution
    shape = (1, preprocessing.channels, size.height, size.width)
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(shape, generator=rng, dtype=torch.float64).numpy()
    return torch.from_numpy(preprocessing.denormalize(noise)).double()


@torch.no_grad()
def _run(model: fx.GraphModule, x: Tensor) -> tuple[list[Tensor], int]:
    """Outputs for `x`, and how many operations it took."""
    try:
        with OperationCount() as counter:
            outputs = flatten(run(model, x))
    except Exception as error:  # whatever a user's network raises
        raise ModelError(
            f"the network fails in float64 on an input of {list(x.shape)}: {error}",
            "check --resolution and --in-channels, or whether it fixes a dtype",
        ) from error
    return outputs, counter.by_type.total()


def relative_error(before: Iterable[Tensor], after: Iterable[Tensor]) -> float:
    """Largest difference over largest value, the worst of all outputs."""
    worst = 0.0
    for one, two in zip(before, after, strict=True):
        scale = one.abs().max().clamp_min(torch.finfo(one.dtype).tiny)
        error = ((one - two).abs().max() / scale).item()
        worst = error if not error <= worst else worst  # keeps NaN
    return worst
