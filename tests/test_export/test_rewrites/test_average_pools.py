"""Average pooling that Core ML takes as PyTorch means it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from care_mobile.export.rewrites import AVERAGE_POOLS

from .support import noise, rewritten

POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


class Pool(nn.Module):
    def __init__(self, rank: int, **options: Any) -> None:
        super().__init__()
        self.pool, self.options = POOLS[rank], options

    def forward(self, x: Tensor) -> Tensor:
        return self.pool(x, **self.options)


@st.composite
def pools(draw: st.DrawFn) -> dict[str, Any]:
    rank = draw(st.integers(1, 3))

    def per_axis(low: int, high: int) -> list[int]:
        return draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))

    kernel = per_axis(1, 3)
    options: dict[str, Any] = {
        "kernel_size": kernel,
        "stride": per_axis(1, 3),
        "padding": [min(p, k // 2) for p, k in zip(per_axis(0, 1), kernel, strict=True)],
        "ceil_mode": draw(st.booleans()),
        "count_include_pad": draw(st.booleans()),
    }
    if rank > 1:
        options["divisor_override"] = draw(st.none() | st.integers(1, 9))
    sizes = [k + extra for k, extra in zip(kernel, per_axis(0, 4), strict=True)]
    return {"rank": rank, "sizes": sizes, "options": options}


@settings(max_examples=25, deadline=None)
@given(pools())
def test_every_pool_divides_as_core_ml_does(case: dict[str, Any]) -> None:
    """The numbers are held by `rewritten`; here, what is left in the program."""
    x = noise(1, 2, *case["sizes"])
    _, program, _ = rewritten(Pool(case["rank"], **case["options"]), AVERAGE_POOLS, x)
    target = getattr(torch.ops.aten, f"avg_pool{case['rank']}d").default
    (pool,) = program.graph.find_nodes(op="call_function", target=target)
    _, padding, ceil_mode, include, divisor = (
        *pool.args[2:],
        *([], 0, False, True, None)[len(pool.args) - 2 :],
    )
    assert divisor is None
    padded = any(padding) if isinstance(padding, list) else bool(padding)
    assert not (include and (ceil_mode or padded))


def test_the_published_case_is_one_operation() -> None:
    """apple/coremltools #2772: with the overhang left out, the divisor is PyTorch's."""
    network = Pool(2, kernel_size=2, stride=3, ceil_mode=True)
    places, program, found = rewritten(network, AVERAGE_POOLS, noise(1, 1, 7, 7))
    assert places == 1
    assert found == {"avg_pool2d": 1}
    (pool,) = [n for n in program.graph.nodes if n.op == "call_function"]
    assert pool.args[1:] == ([2, 2], [3, 3], [0, 0], True, False)


def test_padding_that_counts_is_padding_of_the_input() -> None:
    """apple/coremltools #1901: in fp16 such a pool was seen not to divide."""
    network = Pool(2, kernel_size=7, stride=4, padding=3)
    places, _, found = rewritten(network, AVERAGE_POOLS, noise(1, 2, 32, 32))
    assert places == 1
    assert found == {"constant_pad_nd": 1, "avg_pool2d": 1}


@pytest.mark.parametrize("options", [{}, {"ceil_mode": True}, {"padding": 1}])
def test_a_divisor_is_a_factor(options: dict[str, Any]) -> None:
    network = Pool(2, kernel_size=3, stride=2, divisor_override=5, **options)
    places, _, found = rewritten(network, AVERAGE_POOLS, noise(1, 2, 8, 8))
    assert places == 1
    assert found["mul"] == 1


def test_a_plain_pool_stays() -> None:
    assert rewritten(Pool(2, kernel_size=2), AVERAGE_POOLS, noise(1, 2, 8, 8))[0] == 0
    network = Pool(2, kernel_size=3, stride=2, padding=1, count_include_pad=False)
    assert rewritten(network, AVERAGE_POOLS, noise(1, 2, 9, 9))[0] == 0


def test_a_ceil_mode_that_changes_nothing_is_dropped() -> None:
    """Core ML has none for three dimensions."""
    network = Pool(3, kernel_size=2, stride=2, ceil_mode=True)
    places, _, found = rewritten(network, AVERAGE_POOLS, noise(1, 2, 4, 4, 4))
    assert places == 1
    assert found == {"avg_pool3d": 1}
