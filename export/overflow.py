"""What left the range of half precision, in words, and what helps."""

from __future__ import annotations

from collections.abc import Mapping

from care_mobile.half_precision import LARGEST_HALF, HalfPrecision, OperationDivergence

_NAMED = 3
"""Operations named in a message; the first ones explain those that follow."""


def captured_name(operation: str) -> str:
    """The name that an operation of a file had in the captured program."""
    return operation.removesuffix("_cast_fp16").removeprefix("node_")


def located(cost: HalfPrecision, places: Mapping[str, str]) -> dict[str, str]:
    """Where the operations of `cost` that are named to people come from, by name."""
    named = [candidate.divergence for candidate in cost.worst]
    named += [*cost.overflowing, *cost.vanishing, *([cost.first] if cost.first else [])]
    found = {e.operation: places.get(captured_name(e.operation), "") for e in named}
    return {name: place for name, place in found.items() if place}


def named(cost: HalfPrecision, entry: OperationDivergence) -> str:
    """An operation as people know it: its operator, name and module."""
    place = cost.places.get(entry.operation)
    return f"{entry.operator} {captured_name(entry.operation)}" + (f" {place}" if place else "")


def out_of_range(cost: HalfPrecision) -> str | None:
    """The first operations that half precision cannot hold; None if it holds all."""
    found = cost.overflowing
    if not found and cost.vanishing:
        first = [f"{named(cost, entry)}" for entry in cost.vanishing[:_NAMED]]
        return f"{', '.join(first)} becomes zero in half precision, where its reader gives NaN"
    if not found:
        return None
    first = [f"{named(cost, entry)} ({entry.largest:.2g})" for entry in found[:_NAMED]]
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    verb = "leaves" if len(found) == 1 else "leave"
    return f"{', '.join(first)}{more} {verb} half precision, which ends at {LARGEST_HALF:.0f}"


def way_out(cost: HalfPrecision) -> str:
    """What a user can do about it."""
    wider = "--precision fp32"
    if not cost.keep:
        return f"{wider}; --keep-failed keeps the bundle for inspection"
    return (
        f"--keep-float {cost.keep} keeps {_operations(cost.keep)} in fp32 "
        f"({cost.kept_psnr_db:.1f} dB on these inputs); --min-psnr 40 finds how many are needed; "
        f"or {wider}"
    )


def _operations(count: int) -> str:
    return "the operation that costs most" if count == 1 else f"the {count} that cost most"
