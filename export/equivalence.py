"""Run the reparameterizations and prove each one while it runs.

Every pass is applied in float64 and its network compared with the one before it on random
inputs: a fold that is exact in real arithmetic moves results by rounding only (see `bounds`). A
place where it does not is left alone, and the export goes on.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from care_mobile import bundle
from care_mobile.bundle import LeftAlone
from care_mobile.errors import CareError, first_line
from care_mobile.inputs import Preprocessing
from care_mobile.models.lively import draw, examples

from .bounds import FLOAT64, Difference, largest, relative_error
from .eager import copied
from .reparam import Pass, PassResult
from .reparam.doubling import restored
from .reparam.functional import load_state
from .result import Proof
from .subject import Captured, Subject, captured, measured, subject

__all__ = ["TOLERANCE", "Reparameterized", "relative_error", "reparameterize"]

TOLERANCE = FLOAT64.plain
"""Largest relative error of a pass in float64 in any well-conditioned network."""

_MOST_REFUSED = 16
"""Places of one pass that may fail their proof before the whole pass is left out."""


@dataclass(frozen=True)
class Reparameterized:
    """A network after some passes, and what each of them did. See `reparameterize`."""

    passes: tuple[bundle.PassReport, ...]
    _subjects: tuple[Subject, ...]
    _x: Tensor

    @property
    def model(self) -> fx.GraphModule:
        """The network in its own types, float32 where it fixes none."""
        return restored(self._subjects[0].model).eval()

    @property
    def proof(self) -> Proof:
        return self._subjects[0].proof

    @property
    def opaque(self) -> dict[str, str]:
        """Parts that no pass can look into, and why."""
        return self._subjects[0].opaque

    def then(self, passes: Sequence[Pass]) -> Reparameterized:
        """The network after `passes` too, each proven like the ones before; this one stays."""
        subjects, reports = self._subjects, list(self.passes)
        for rule in passes:
            moved = _proven(rule, subjects, self._x)
            reports.append(_report(rule, subjects[0], moved))
            subjects = tuple(m.subject for m in moved)
        return dataclasses.replace(self, passes=tuple(reports), _subjects=subjects)


def reparameterize(
    model: nn.Module,
    passes: Sequence[Pass],
    preprocessing: Preprocessing,
    *,
    lively: bool,
    seed: int = 0,
    dynamic_batch: bool = False,
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
        dynamic_batch: whether the result must take any number of images.

    Raises:
        EquivalenceError: if the captured program is not what the network computes.
        ModelError: if the network does not run on the input or cannot be captured.
    """
    source = captured(model, preprocessing, seed, dynamic_batch=dynamic_batch)
    subjects = [subject(model, source, preprocessing)]
    if not lively:
        redrawn = _redrawn(model, source, preprocessing, seed)
        subjects += (
            [redrawn] if redrawn and redrawn.proof.reason == subjects[0].proof.reason else []
        )
    x = source.given.to(subjects[0].bounds.arithmetic.dtype)
    return Reparameterized((), tuple(subjects), x).then(passes)


def _redrawn(
    model: nn.Module, source: Captured, preprocessing: Preprocessing, seed: int
) -> Subject | None:
    """The same program with lively weights; None for a network that does not bear them."""
    twin = copied(model)
    try:
        draw(twin, seed, examples(preprocessing))
    except Exception:  # whatever a user's network raises
        return None
    try:
        program = copy.deepcopy(source.program)
        load_state(program, twin)
        found = subject(twin, dataclasses.replace(source, program=program), preprocessing)
    except (CareError, RuntimeError, ValueError):  # it asserts what random weights do not give
        return None
    finite = all(torch.isfinite(o).all() for o in found.outputs if o.is_floating_point())
    return found if finite else None


@dataclass(frozen=True)
class _Moved:
    """A subject after a pass, what the pass did, and how far the outputs moved."""

    subject: Subject
    result: PassResult
    difference: Difference


_Places = Mapping[str, str]


def _proven(rule: Pass, subjects: Sequence[Subject], x: Tensor) -> list[_Moved]:
    """Apply a pass wherever it keeps the results of all subjects."""
    refused: dict[str, str] = {}
    while True:
        moved, failure = _tried(rule, subjects, x, refused)
        if moved is not None and _exact(moved):
            return moved
        if len(refused) < _MOST_REFUSED:
            culprit = _first_wrong(rule, subjects, x, refused)
            if culprit is not None and culprit[0] not in refused:
                refused[culprit[0]] = culprit[1]
                continue
        return [_unchanged(subject, moved, failure) for subject in subjects]


def _tried(
    rule: Pass, subjects: Sequence[Subject], x: Tensor, refused: _Places, most: int | None = None
) -> tuple[list[_Moved] | None, str]:
    """The pass on every subject; None, with the reason, if it raises."""
    try:
        return [_apply(rule, subject, x, refused, most) for subject in subjects], ""
    except Exception as error:  # a network of a form that the pass was not written for
        line = first_line(error, "no message")
        return None, f"{type(error).__name__}: {line}"


def _exact(moved: Sequence[_Moved]) -> bool:
    return all(m.difference.is_rounding for m in moved)


def _first_wrong(
    rule: Pass, subjects: Sequence[Subject], x: Tensor, refused: _Places
) -> tuple[str, str] | None:
    """The first place, with the reason, that changes the results; None if there is no such one."""
    good, bad = 0, 1
    while True:  # twice as many until it fails, then bisection
        moved, failure = _tried(rule, subjects, x, refused, bad)
        if moved is None or not _exact(moved):
            reason = _why(moved, failure, subjects[0])
            break
        if moved[0].result.places < bad:
            return None
        good, bad = bad, 2 * bad
    while bad - good > 1:
        middle = (good + bad) // 2
        moved, failure = _tried(rule, subjects, x, refused, middle)
        if moved is not None and _exact(moved):
            good = middle
        else:
            bad, reason = middle, _why(moved, failure, subjects[0])
    place = _nth(rule, subjects[0], refused, bad)
    return (place, reason) if place else None


def _nth(rule: Pass, subject: Subject, refused: _Places, number: int) -> str | None:
    """The name of the `number`th place that a pass changes."""
    claimed: list[str] = []
    try:
        rule(subject.model, without=refused, most=number, claimed=claimed)
    except Exception:  # the place is claimed before it is edited
        return claimed[-1] if claimed else None
    return claimed[number - 1] if len(claimed) >= number else None


def _why(moved: Sequence[_Moved] | None, failure: str, subject: Subject) -> str:
    if moved is None:
        return f"it failed there: {failure}"
    worst = largest([m.difference.relative for m in moved])
    return f"its proof failed: relative error {worst:.1e} in {subject.proof.arithmetic}"


def _unchanged(subject: Subject, moved: Sequence[_Moved] | None, failure: str) -> _Moved:
    """A subject that a pass may not touch."""
    left = LeftAlone(place="the whole network", reason=_why(moved, failure, subject), unproven=True)
    return _Moved(subject, PassResult(subject.model, (), (left,)), Difference(0.0, True))


def _apply(rule: Pass, subject: Subject, x: Tensor, refused: _Places, most: int | None) -> _Moved:
    result = rule(subject.model, without=refused, most=most)
    if not result.places:
        return _Moved(subject, result, Difference(0.0, True))
    outputs, operations = measured(result.model, x)
    difference = subject.bounds.difference(subject.outputs, outputs)
    after = dataclasses.replace(subject, model=result.model, outputs=outputs, operations=operations)
    return _Moved(after, result, difference)


def _report(rule: Pass, before: Subject, moved: Sequence[_Moved]) -> bundle.PassReport:
    return bundle.PassReport(
        name=rule.name,
        places=moved[0].result.places,
        relative_error=max(m.difference.relative for m in moved),
        operations_before=before.operations,
        operations_after=moved[0].subject.operations,
        left=moved[0].result.left,
        arithmetic=before.proof.arithmetic,
    )
