"""The ranking of what to keep in fp32, on programs made up for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from care_mobile.agreement import MAX_DB
from care_mobile.half_precision import (
    LARGEST_HALF,
    OperationDivergence,
    Traced,
    advise,
    combined,
)


def entry(name: str, index: int, **others: object) -> OperationDivergence:
    usual = {
        "index": index, "operation": name, "operator": "mul", "dtype": "fp16", "psnr_db": 70.0,
        "alone_psnr_db": 70.0, "largest": 1.0, "overflows": 0, "subnormals": 0, "underflows": 0,
        "nans": 0,
    }  # fmt: skip
    return OperationDivergence(**(usual | others))  # type: ignore[arg-type]


def chain(**operations: Mapping[str, object]) -> list[Traced]:
    """Each reads the one before it; the last yields the output, which a cast reads."""
    names = list(operations)
    return [
        Traced(
            entry(name, index, **operations[name]),
            producers=tuple(names[max(0, index - 1) : index]),
            consumers=(names[index + 1],) if index + 1 < len(names) else ("output",),
        )
        for index, name in enumerate(names)
    ]


def test_what_overflows_is_needed_and_comes_first() -> None:
    beyond = {"largest": 1e6, "alone_psnr_db": -MAX_DB, "psnr_db": -MAX_DB}
    program = chain(a={}, b=beyond, c=beyond, d={"psnr_db": -MAX_DB, "alone_psnr_db": -MAX_DB})

    def agreement(kept: Collection[str]) -> float:
        return 65.0 if {"b", "c"} <= set(kept) else -MAX_DB

    found = advise(program, agreement)
    assert found.ranking[:2] == ("b", "c")
    assert (found.keep, found.kept_psnr_db) == (2, 65.0)
    assert [e.operation for e in found.overflowing] == ["b", "c"]
    assert [c.keep_fp32 for c in found.worst] == [True, True, False, False]
    assert found.first is not None
    assert found.first.operation == "b"


def test_an_overflow_that_does_no_harm_is_not_advised() -> None:
    """exp beyond half precision, then one over it: zero is right."""
    program = chain(a={}, b={"largest": 1e6, "alone_psnr_db": -MAX_DB}, c={})
    found = advise(program, lambda kept: 70.0)
    assert found.keep == 0
    assert found.kept_psnr_db == found.output_psnr_db == 70.0
    assert not any(candidate.keep_fp32 for candidate in found.worst)


@pytest.mark.parametrize("alone", [-MAX_DB, None])
def test_a_vanished_divisor_is_needed(alone: float | None) -> None:
    lost = {"underflows": 3, "alone_psnr_db": alone and 20.0}
    program = chain(a={}, eps=lost, divided={"nans": 3, "alone_psnr_db": alone}, c={"nans": 3})

    def agreement(kept: Collection[str]) -> float:
        return 65.0 if "eps" in kept else -MAX_DB

    found = advise(program, agreement)
    assert found.ranking[0] == "eps"
    assert (found.keep, found.kept_psnr_db) == (1, 65.0)
    assert [e.operation for e in found.vanishing] == ["eps"]


def test_whoever_feeds_the_most_damaged_is_tried() -> None:
    """A small difference of large sums: the difference shows it, the sum makes it."""
    program = chain(a={}, total={}, difference={"alone_psnr_db": 15.0}, c={})
    found = advise(program, lambda kept: 80.0 if "total" in kept else 25.0)
    assert (found.ranking[0], found.keep, found.kept_psnr_db) == ("total", 1, 80.0)


def test_every_operation_that_can_be_kept_is_ranked_once() -> None:
    program = chain(**{f"op{i}": {"alone_psnr_db": 50.0 + i} for i in range(20)})
    program[3] = Traced(entry("op3", 3, dtype="fp32"), (), ("op4",))
    program[4] = Traced(entry("op4", 4), ("op3",), ())
    found = advise(program, lambda kept: 60.0)
    assert sorted(found.ranking) == sorted(f"op{i}" for i in range(20) if i not in (3, 4))
    assert found.keep == 0


def test_the_end_of_half_precision_is_in_it() -> None:
    assert not Traced(entry("a", 0, largest=LARGEST_HALF), (), ()).overflows
    assert Traced(entry("a", 0, largest=LARGEST_HALF + 1), (), ()).overflows
    assert not Traced(entry("a", 0, largest=1e9, dtype="fp32"), (), ()).overflows


def test_several_inputs_count_with_the_worst() -> None:
    (found,) = combined(
        [[entry("a", 0, largest=1.0, nans=1)], [entry("a", 0, largest=9.0, alone_psnr_db=None)]]
    )
    assert (found.largest, found.nans, found.alone_psnr_db) == (9.0, 1, 70.0)
