"""Rewrites into what Core ML has: resampling, maxima, padding, transposed convolutions, results.

`rewritten` holds the numbers in float64; here, what is left in the program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import Tensor, nn
from torch.nn import functional as F

from care_mobile.export.rewrites import (
    MAX_POOLS,
    OUTPUT_PADDING,
    OWN_RESULTS,
    PADDINGS_IN_PIECES,
    RESAMPLING,
    ROOTS_TO_DIVISIONS,
)

from .support import noise, rewritten


class Call(nn.Module):
    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        return self.function(x)


def resize(size: Any = None, scale: Any = None, **options: Any) -> Call:
    return Call(lambda x: F.interpolate(x, size, scale, **options))


LINEAR = {
    "bicubic": resize((5, 13), mode="bicubic"),
    "bicubic, corners": resize(scale=2.0, mode="bicubic", align_corners=True),
    "bicubic, antialiased": resize((5, 3), mode="bicubic", antialias=True),
    "bilinear, antialiased": resize((5, 3), mode="bilinear", antialias=True),
    "a scale that is not recomputed": resize(scale=1.7, mode="bilinear"),
    "averages that do not divide": Call(lambda x: F.adaptive_avg_pool2d(x, (5, 7))),
    "averages of more than there are": Call(lambda x: F.adaptive_avg_pool2d(x, (9, 11))),
    "areas": resize((5, 3), mode="area"),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear_resampling_is_a_product_per_axis(name: str) -> None:
    places, _, found = rewritten(LINEAR[name], RESAMPLING, noise(1, 2, 8, 9))
    assert places == 1
    assert found == {"matmul": 2}


def test_an_axis_that_stays_has_no_product() -> None:
    network = Call(lambda x: F.adaptive_avg_pool2d(x, (None, 4)))
    assert rewritten(network, RESAMPLING, noise(1, 2, 8, 9))[2] == {"matmul": 1}


@pytest.mark.parametrize("mode", ["trilinear", "nearest", "nearest-exact"])
def test_resampling_in_depth(mode: str) -> None:
    places, _, found = rewritten(resize((3, 7, 5), mode=mode), RESAMPLING, noise(1, 2, 4, 5, 6))
    assert places == 1
    assert found["matmul"] == (3 if mode == "trilinear" else 0)
    assert found["index_select"] == (0 if mode == "trilinear" else 3)


NEAREST = {
    "fractional": resize(scale=1.7, mode="nearest"),
    "smaller": resize(scale=0.5, mode="nearest"),
    "a size": resize((5, 13), mode="nearest"),
    "exact": resize((5, 13), mode="nearest-exact"),
}


@pytest.mark.parametrize("name", NEAREST)
def test_nearest_neighbours_are_chosen_by_place(name: str) -> None:
    places, _, found = rewritten(NEAREST[name], RESAMPLING, noise(1, 2, 8, 9))
    assert places == 1
    assert found == {"index_select": 2}


KEPT = {
    "bilinear": resize(scale=2.0, mode="bilinear"),
    "bilinear to a size": resize((5, 13), mode="bilinear"),
    "corners": resize((5, 13), mode="bilinear", align_corners=True),
    "whole factors": resize(scale=2.0, mode="nearest"),
    "averages that divide": Call(lambda x: F.adaptive_avg_pool2d(x, (4, 2))),
    "a global average": Call(lambda x: F.adaptive_avg_pool2d(x, 1)),
}


@pytest.mark.parametrize("name", KEPT)
def test_what_core_ml_has_stays(name: str) -> None:
    assert rewritten(KEPT[name], RESAMPLING, noise(1, 2, 8, 8))[0] == 0


@pytest.mark.parametrize("size", [(3, 5), (9, 11), (1, 3), (4, 3)])
def test_adaptive_maxima_are_one_per_row_and_column(size: tuple[int, int]) -> None:
    network = Call(lambda x: F.adaptive_max_pool2d(x, size))
    places, _, found = rewritten(network, MAX_POOLS, noise(1, 2, 8, 8))
    assert places == 1
    assert found["amax"] <= sum(size)
    assert "adaptive_max_pool2d" not in found


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("padding", [0, 1])
def test_dilated_maxima_are_of_slices(ceil_mode: bool, padding: int) -> None:
    network = Call(lambda x: F.max_pool2d(x, 3, 2, padding, 2, ceil_mode))
    places, _, found = rewritten(network, MAX_POOLS, noise(1, 2, 8, 9))
    assert places == 1
    assert found["maximum"] == 4
    assert found["slice"] == 6


def test_other_maxima_stay() -> None:
    for function in (
        lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
        lambda x: F.adaptive_max_pool2d(x, 4),
        lambda x: F.adaptive_max_pool2d(x, (3, 5), return_indices=True),
    ):
        assert rewritten(Call(function), MAX_POOLS, noise(1, 2, 8, 8))[0] == 0


@pytest.mark.parametrize(
    ("options", "slices"),
    [
        ({"stride": 2, "padding": 1, "output_padding": 1}, 2),
        ({"stride": 2, "output_padding": 1}, 0),
        ({"stride": (2, 3), "padding": (1, 0), "output_padding": (1, 2)}, 1),
        ({"stride": 3, "padding": 2, "output_padding": 1, "groups": 2}, 2),
        ({"stride": 2, "padding": 1, "output_padding": 2, "dilation": 3}, 2),
    ],
)
def test_output_padding_is_a_longer_kernel(options: dict[str, Any], slices: int) -> None:
    network = nn.ConvTranspose2d(4, 6, 3, **options)
    places, program, found = rewritten(network, OUTPUT_PADDING, noise(1, 4, 5, 6))
    assert places == 1
    assert found["slice"] == slices
    (conv,) = [n for n in program.graph.nodes if "conv_transpose" in str(n.target)]
    assert conv.args[4:6] == ([0, 0], [0, 0])


def test_a_transposed_convolution_without_it_stays() -> None:
    network = nn.ConvTranspose2d(4, 6, 3, 2, 1)
    assert rewritten(network, OUTPUT_PADDING, noise(1, 4, 5, 6))[0] == 0


@pytest.mark.parametrize(
    ("pads", "mode"),
    [
        ((1, 2, 3, 0), "circular"),
        ((1, 2, 1, 0, 1, 1), "circular"),
        ((1, 2, 1, 0, 1, 2), "reflect"),
        ((1, 2, 1, 0, 2, 1), "replicate"),
        ((9, 0, 0, 12), "replicate"),
        ((-1, 2, -2, 0), "constant"),
    ],
)
def test_padding_in_pieces(pads: tuple[int, ...], mode: str) -> None:
    shape = (1, 2, 4, 5, 6) if len(pads) == 6 else (1, 2, 5, 6)
    network = Call(lambda x: F.pad(x, pads, mode=mode))
    places, _, found = rewritten(network, PADDINGS_IN_PIECES, noise(*shape))
    assert places == 1
    assert ("pad" in found) is (mode == "constant")


def test_padding_that_core_ml_has_stays() -> None:
    for mode in ("constant", "reflect", "replicate"):
        network = Call(lambda x, mode=mode: F.pad(x, (1, 2, 3, 0), mode=mode))
        assert rewritten(network, PADDINGS_IN_PIECES, noise(1, 2, 5, 6))[0] == 0


def test_a_bare_root_is_divided_by() -> None:
    places, _, found = rewritten(Call(lambda x: x.abs().rsqrt()), ROOTS_TO_DIVISIONS, noise(3, 4))
    assert places == 1
    assert found["sqrt"] == found["div"] == 1
    guarded = Call(lambda x: (x.abs() + 1e-5).rsqrt())
    assert rewritten(guarded, ROOTS_TO_DIVISIONS, noise(3, 4))[0] == 0


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda x: (x + 1, x + 2), 0),
        (lambda x: (x, x + 1), 1),
        (lambda x: (x + 1,) * 3, 2),
        (lambda x: [y := x + 1, y.clone(), y.flatten()], 1),
    ],
)
def test_results_of_their_own(function: Callable[[Tensor], Any], expected: int) -> None:
    network = Call(lambda x: tuple(function(x)))
    places, program, _ = rewritten(network, OWN_RESULTS, noise(2, 3))
    assert places == expected
    (end,) = [n for n in program.graph.nodes if n.op == "output"]
    assert len(set(end.args[0])) == len(end.args[0])
