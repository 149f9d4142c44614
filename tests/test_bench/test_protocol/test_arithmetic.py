"""The vectors that Swift, Kotlin and whoever else compute too."""

from __future__ import annotations

import json
import math
from typing import Any

from golden.protocol import vectors
from golden_files import FOLDER, check_file
from hypothesis import given
from hypothesis import strategies as st

from care_mobile.bench.protocol import arithmetic
from care_mobile.bench.protocol.arithmetic import (
    WarmState,
    answer_stride,
    burst_iterations,
    control,
    control_text,
    drifted,
    median_ns,
    warm_state,
    windows_agree,
)
from care_mobile.bench.protocol.plan import Burst, Warmup

FILE = FOLDER / "protocol" / "arithmetic.json"
EXACT = 2**53 - 1
"""Beyond it, JavaScript and others lose digits of a JSON number: vectors hold text there."""
ABOUT = (
    "Every number that a harness computes: arguments and `result`. Integers beyond 2^53 - 1 are "
    "text. Sums and products of 64-bit values need more than 64 bits."
)


def _called(function: str, arguments: dict[str, Any]) -> Any:
    made = {"rules": Warmup, "burst": Burst}
    given = {k: made[k](**v) if k in made else v for k, v in arguments.items()}
    result = getattr(arithmetic, function)(**given)
    if isinstance(result, WarmState):
        return result.value
    return control_text(result) if function == "control" else result


def _portable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _portable(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_portable(child) for child in value]
    exact = isinstance(value, bool) or not isinstance(value, int) or abs(value) <= EXACT
    return value if exact else str(value)


def test_the_vectors_are_current() -> None:
    parts = [f'{{\n"about": {json.dumps(ABOUT)}']
    for function, cases in vectors.inputs().items():
        rows = [{**case, "result": _called(function, case)} for case in cases]
        lines = ",\n".join(json.dumps(_portable(row)) for row in rows)
        parts.append(f'"{function}": [\n{lines}\n]')
    check_file(FILE, ",\n".join(parts) + "\n}\n")


def test_every_function_has_vectors_and_no_number_loses_digits() -> None:
    seen: list[int] = []

    def collect(text: str) -> int:
        seen.append(int(text))
        return seen[-1]

    found = json.loads(FILE.read_text(), parse_int=collect)
    own = [
        name
        for name, value in vars(arithmetic).items()
        if callable(value) and getattr(value, "__module__", "") == arithmetic.__name__
    ]
    assert set(own) - {"WarmState", "control_text"} == set(found) - {"about"}
    assert max(seen) <= EXACT


def test_every_outcome_occurs_in_the_vectors() -> None:
    found = json.loads(FILE.read_text())
    for function, outcomes in (
        ("windows_agree", {True, False}),
        ("drifted", {True, False}),
        ("warm_state", {"cold", "steady", "capped"}),
    ):
        assert {case["result"] for case in found[function]} == outcomes


def test_values_computed_by_hand() -> None:
    assert median_ns([3, 1]) == 2
    assert median_ns([1, 2]) == 1
    assert median_ns([2**63 - 1, 2**63 - 2]) == 2**63 - 2
    assert burst_iterations(2_500_000, Burst()) == 100
    assert burst_iterations(0, Burst()) == 500
    assert answer_stride(65_537, 65_536) == 2
    assert not drifted(1000, 1050, 50)
    assert drifted(1000, 1051, 50)
    assert windows_agree([100, 102], Warmup())
    assert not windows_agree([100, 103], Warmup())
    assert warm_state([1] * 20, 0, Warmup()) is WarmState.STEADY
    # the first outputs of xorshift64 from this seed, done with a pencil's equivalent: a shift at
    # a time on 64 bits
    state = 0x9E3779B97F4A7C15
    state = (state ^ (state << 13)) % 2**64
    state = state ^ (state // 2**7)
    state = (state ^ (state * 2**17)) % 2**64
    assert control(1) == state


@given(samples=st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=50))
def test_a_median_lies_between_the_middle_samples(samples: list[int]) -> None:
    middle = median_ns(samples)
    assert sum(s <= middle for s in samples) * 2 >= len(samples)
    assert sum(s >= middle for s in samples) * 2 >= len(samples)


@given(elements=st.integers(0, 10**9), limit=st.integers(1, 10**6))
def test_a_stride_keeps_within_the_limit_and_skips_no_more_than_needed(
    elements: int, limit: int
) -> None:
    stride = answer_stride(elements, limit)
    assert -(-elements // stride) <= limit
    assert stride == 1 or math.gcd(stride, elements) == 1
    least = max(1, -(-elements // limit))
    assert all(math.gcd(skipped, elements) > 1 for skipped in range(max(least, 2), stride))


def test_a_sample_sees_every_column_of_a_map() -> None:
    width, height = 1024, 65_536
    stride = answer_stride(width * height, 65_536)
    assert {place % width for place in range(0, width * height, stride)} == set(range(width))
