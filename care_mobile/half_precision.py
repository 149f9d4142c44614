"""What half precision costs a file, and which of its operations to keep in fp32.

Whoever can run a file in its declared types, and again with some results left unrounded, gets a
ranking from `advise`. Keeping an operation means that its result is not rounded: the operation *and
those that read its result* compute in fp32. A single operation would gain nothing, as its result
would be rounded at the border.

The ranking starts with what must be kept for a finite answer: operations whose exact result lies
beyond fp16's largest number, and those whose result became zero and then a divisor. It goes on with
the operations that gain most at the outputs, measured by running again, and ends with all others,
the one that does most damage by itself first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from .agreement import MAX_DB
from .frozen import Frozen

LARGEST_HALF = 65504.0
"""The largest number of half precision."""

WORTH_DB = 1.0
"""A gain at the outputs below this is within what rerolled rounding does by itself."""

LIMIT_DB = 40.0
"""An operation whose accumulated PSNR is lower has left the reference."""

_SUSPECTS = 5
"""Operations, and those that feed them, whose gain is measured by running again."""


class OperationDivergence(Frozen):
    """One operation in two runs; counts are of elements of its results.

    Attributes:
        psnr_db: of its result in the other run, with all that happened before.
        alone_psnr_db: of the one operation in its declared type on exact inputs; None where that
            was not run.
        largest: largest finite magnitude in the reference run.
        overflows: finite in the reference, infinite in the other run.
        subnormals: non-zero in the reference but below 2^-14 there, where fp16 loses digits;
            only of results declared as fp16.
        underflows: non-zero in the reference, zero in the other run.
        nans: NaN in the other run and not in the reference.
    """

    index: int
    operation: str
    operator: str
    dtype: str
    psnr_db: float
    alone_psnr_db: float | None = None
    largest: float
    overflows: int
    subnormals: int
    underflows: int
    nans: int

    @property
    def damage_db(self) -> float:
        """Low is bad: what it does by itself if that is known, else what it shows."""
        return self.psnr_db if self.alone_psnr_db is None else self.alone_psnr_db


@dataclass(frozen=True)
class Traced:
    """An operation and its neighbours, by name."""

    divergence: OperationDivergence
    producers: tuple[str, ...]
    consumers: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.divergence.operation

    @property
    def overflows(self) -> bool:
        """Whether fp16 cannot hold what it yields."""
        return self.divergence.dtype == "fp16" and self.divergence.largest > LARGEST_HALF


class Candidate(Frozen):
    """An operation near the top of the ranking.

    Attributes:
        consumers: operations that compute in fp32 too if its result is kept.
        gain_db: at the outputs; of all that must be kept together, where it must.
        keep_fp32: whether it is among the `keep` advised.
    """

    divergence: OperationDivergence
    consumers: tuple[str, ...]
    gain_db: float
    keep_fp32: bool


class HalfPrecision(Frozen):
    """The cost of fp16 on the inputs that were run, the worst of them where they differ.

    Attributes:
        output_psnr_db: of the outputs against the exact run; the lowest there is where one is
            finite and the other not.
        first: the first operation that leaves the reference; None if none does.
        worst: the top of the ranking.
        keep: how many of the ranking are worth keeping in fp32.
        kept_psnr_db: of the outputs with these kept.
        overflowing: operations whose exact result fp16 cannot hold, in the order they run.
        vanishing: operations whose result becomes zero in fp16, and then what follows NaN.
        ranking: names of all operations that can be kept, the most worthwhile first.
        places: where in the network an operation comes from, by name, as far as known.
    """

    output_psnr_db: float
    first: OperationDivergence | None
    worst: tuple[Candidate, ...]
    keep: int = 0
    kept_psnr_db: float
    overflowing: tuple[OperationDivergence, ...] = ()
    vanishing: tuple[OperationDivergence, ...] = ()
    ranking: tuple[str, ...] = ()
    places: dict[str, str] = Field(default_factory=dict)


Agreement = Callable[[Collection[str]], float]
"""PSNR of the outputs, in dB, with the results of the named operations not rounded."""


def advise(operations: Sequence[Traced], agreement: Agreement, count: int = 5) -> HalfPrecision:
    """Rank `operations`, which come in the order they run; show the first `count`."""
    base = agreement(())
    # Without a consumer the result is an output, and leaves as the type it is declared in.
    able = {t.name: t for t in operations if t.consumers and t.divergence.dtype == "fp16"}
    needed = _needed(able)
    reached = agreement(needed) if needed else base
    if reached < base + WORTH_DB:
        needed, reached = [], base
    before = reached
    gains = dict.fromkeys(needed, round(reached - base, 2))
    suspects = [name for name in _suspects(able) if name not in gains]
    measured = {n: round(agreement([*needed, n]) - reached, 2) for n in suspects}
    useful = sorted(suspects, key=lambda name: -measured[name])
    rest = sorted(able.keys() - gains.keys() - measured.keys(), key=lambda n: _damage(able[n]))
    ranking = [*needed, *useful, *rest]
    keep = len(needed)
    for name in useful:
        if measured[name] < WORTH_DB:
            break
        also = agreement(ranking[: keep + 1])
        if also < reached + WORTH_DB:
            break
        keep, reached = keep + 1, also
    gains |= measured
    shown = ranking[: min(len(ranking), max(count, 1))]
    return HalfPrecision(
        output_psnr_db=base,
        first=next((t.divergence for t in operations if t.divergence.psnr_db < LIMIT_DB), None),
        worst=tuple(
            Candidate(
                divergence=able[name].divergence,
                consumers=able[name].consumers,
                gain_db=gains.get(name, 0.0),
                keep_fp32=index < keep,
            )
            for index, name in enumerate(shown)
        ),
        keep=keep,
        kept_psnr_db=reached if keep else before,
        overflowing=tuple(t.divergence for t in operations if t.overflows),
        vanishing=tuple(able[n].divergence for n in needed if not able[n].overflows),
        ranking=tuple(ranking),
    )


def combined(runs: Sequence[Sequence[OperationDivergence]]) -> list[OperationDivergence]:
    """The worst of several inputs, operation by operation."""
    return [_worst(entries) for entries in zip(*runs, strict=True)]


def _worst(entries: Sequence[OperationDivergence]) -> OperationDivergence:
    alone = [e.alone_psnr_db for e in entries if e.alone_psnr_db is not None]
    update: dict[str, object] = {
        field: sum(getattr(entry, field) for entry in entries)
        for field in ("overflows", "subnormals", "underflows", "nans")
    }
    update |= {
        "psnr_db": min(entry.psnr_db for entry in entries),
        "alone_psnr_db": min(alone) if alone else None,
        "largest": max(entry.largest for entry in entries),
    }
    return entries[0].model_copy(update=update)


def _needed(able: Mapping[str, Traced]) -> list[str]:
    """What a finite answer needs, in the order it runs."""
    found = {name for name, traced in able.items() if traced.overflows}
    for traced in able.values():
        read = [able[name] for name in traced.producers if name in able]
        if _makes_nan(traced, read):
            found |= {t.name for t in read if t.divergence.underflows}
    return [name for name in able if name in found]


def _makes_nan(traced: Traced, read: Sequence[Traced]) -> bool:
    """Whether an operation turns finite operands into something else, as 0 / 0 does."""
    if any(t.overflows or t.divergence.nans for t in read) or traced.overflows:
        return False
    alone = traced.divergence.alone_psnr_db
    return traced.divergence.nans > 0 if alone is None else alone == -MAX_DB


def _suspects(able: Mapping[str, Traced]) -> list[str]:
    """The operations that do most damage, each with those it reads: a difference shows what the
    rounding of its operands did."""
    worst = sorted(able.values(), key=_damage)[:_SUSPECTS]
    named = [name for t in worst for name in (t.name, *t.producers) if name in able]
    return list(dict.fromkeys(named))


def _damage(traced: Traced) -> tuple[float, int]:
    return traced.divergence.damage_db, traced.divergence.index
