"""What coremltools lacks or changes comes out of an export as PyTorch means it, or is refused."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from care_mobile.errors import TargetError
from care_mobile.runtimes.interpreter import Interpreter

from .core_ml_networks import Call, assert_right, image, lowered


def _assigned(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, 1:3] = 0.5
    y[:, :, ::2] = y[:, :, ::2] * 2
    return y


def _masked(x: Tensor) -> Tensor:
    y = x.clone()
    y[x > 5] = 0.0  # never: the mask is empty
    y[x < 0] = 0.5
    return y


def _rows(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, [0, -1]] = x[:, [1, 0]]
    return y


def _causal(x: Tensor) -> Tensor:
    """coremltools' triu makes NaN of infinities: it subtracts what it leaves out."""
    mask = torch.full(x.shape[-2:], -math.inf).triu(1)
    return (x + mask).softmax(-1) + x.triu(2) + x.tril(-1)


COMPOSITE: dict[str, Callable[[Tensor], Any]] = {
    "causal mask": _causal,
    "cosine": lambda x: F.cosine_similarity(x, x.flip(2), dim=1),
    "channel shuffle": lambda x: F.channel_shuffle(torch.cat([x, x], 1), 2),
    "and": lambda x: ((x > 0) & (x < 1)).float() + ((x > 0) | (x < -1)).float() * 2,
    "xor": lambda x: ((x > 0) ^ (x < 1)) * x,
    "alias": lambda x: torch.ops.aten.alias(x) * 2,
    "diag": lambda x: torch.diag(x[0, 0]),
    "diag of a vector": lambda x: torch.diag(x[0, 0, 0]),
    "diagonal": lambda x: torch.diagonal(x, 1, 2, 3),
    "diagonal below": lambda x: torch.diagonal(x[:, :, :, :5], -2, 2, 3),
    "slice assignment": _assigned,
    "assignment by a mask": _masked,
    "addcmul": lambda x: torch.addcmul(x, x.flip(3), x, value=0.5),
    "addmm": lambda x: torch.addmm(x[0, 0], x[0, 1], x[0, 2], beta=2, alpha=3),
    "lerp": lambda x: torch.lerp(x, x.flip(3), 0.3),
    "variance and mean": lambda x: torch.var_mean(x, (2, 3)),
    "rot90": lambda x: torch.rot90(x, 1, (2, 3)),
    "take along": lambda x: torch.take_along_dim(x, x.argmax(1, keepdim=True), 1),
    "nan to num": lambda x: torch.nan_to_num(x, 0.5),
    "rolled": lambda x: torch.roll(x, (2, -1), (2, 3)) + torch.roll(x, 5),
    "unfolded": lambda x: x.unfold(2, 3, 2),
    "product": lambda x: x.prod(1),
    "distances": lambda x: torch.cdist(x[:, 0], x[:, 1]),
    "rows assigned": _rows,
    "rows added": lambda x: x.index_add(1, torch.tensor([2, 0]), x[:, :2]),
    "two types": lambda x: torch.where(x > 0, 1, x),
    "copysign": lambda x: torch.copysign(x, x.flip(3)),
    "pairwise distance": lambda x: F.pairwise_distance(x[:, 0], x[:, 1]),
}

CHANGED: dict[str, Callable[[Tensor], Any]] = {
    "alpha of a sum, #2573": lambda x: torch.add(x, x.flip(3), alpha=2),
    "alpha of a difference, #2573": lambda x: torch.sub(x, x.flip(3), alpha=2),
    "alpha of a number": lambda x: torch.add(x, 3, alpha=2),
    "alpha of rsub": lambda x: torch.rsub(x, x.flip(3), alpha=2),
    "remainder of one, #2836": lambda x: x % 1,
    "quotient by one": lambda x: x // 1 + torch.div(x, 1, rounding_mode="trunc"),
    "quotients of a constant": lambda x: (x * 49).round() // 49 + (x * 49).round() // -49,
    "quotients of integers, #2570": lambda x: (x * 5).int() // 2 + x[:, :1].int(),
    "cut quotients of integers, #2733": lambda x: torch.div(
        (x * 5).int(), -3, rounding_mode="trunc"
    ),
    "a mode that is also a tensor's name": lambda x: torch.div(
        torch.floor(x), 2, rounding_mode="floor"
    ),
    "negative remainders": lambda x: torch.remainder(x, -1.5) + torch.remainder(x, x.flip(3)),
    "remainder of integers": lambda x: (x * 3).round().int() % 2,
    "fmod": lambda x: torch.fmod(x, 1.5),
    "argmax of all": lambda x: torch.argmax(x).float() + torch.argmin(x, keepdim=True).float(),
    "cumsum from the end, executorch #11716": lambda x: x.cumsum(-3),
    "vector by matrices, #2263": lambda x: torch.matmul(x[0, 0, 0], x),
    "matrices by vector, #2263": lambda x: torch.matmul(x, x[0, 0, 0]),
    "vector by vector": lambda x: torch.matmul(x[0, 0, 0], x[0, 0, 1])[None],
    "halves, webnn #817": lambda x: torch.round((x * 4).floor() / 2),
    "small logarithms": lambda x: torch.log1p(x.abs() * 1e-7),
    "small exponentials": lambda x: torch.expm1(x * 1e-7) + torch.expm1(x) * 1e-7,
    "log of a softmax, #2728": lambda x: (x * 100).log_softmax(1),
    "threshold of softplus": lambda x: F.softplus(x, 2, 1),
    "hardtanh with whole limits": lambda x: F.hardtanh(x, -1, 2),
    "rms norm with an epsilon, #2821": lambda x: F.rms_norm(x, (8,), eps=0.5),
    "reciprocal, #2773": lambda x: torch.reciprocal(x.abs() + 1e-3),
    "reciprocal of a root": lambda x: torch.rsqrt(x.abs() * 1e-12 + 1e-13),
    "fractional nearest": lambda x: F.interpolate(x, scale_factor=1.7, mode="nearest"),
    "antialiasing": lambda x: F.interpolate(x, size=(5, 3), mode="bilinear", antialias=True),
    "bicubic": lambda x: F.interpolate(x, size=(5, 13), mode="bicubic"),
    "averages that do not divide": lambda x: F.adaptive_avg_pool2d(x, (5, 7)),
    "maxima that do not divide": lambda x: F.adaptive_max_pool2d(x, (3, 5)),
    "dilated maxima": lambda x: F.max_pool2d(x, 3, 2, 1, 2, True),
    "divisor": lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=5),
    "overhang, #2772": lambda x: F.avg_pool2d(x, 2, 3, 0, True),
    "circular": lambda x: F.pad(x, (1, 2, 3, 0), mode="circular"),
    "cut and padded": lambda x: F.pad(x, (-1, 2, -2, 0)),
    "mirrored in depth, #2576": lambda x: F.pad(x[:, None], (1, 2, 1, 0, 1, 1), mode="reflect"),
    "repeated further than it is long": lambda x: F.pad(x, (9, 0, 0, 10), mode="replicate"),
    "repeated in depth, #2571": lambda x: F.pad(x[:, None], (1, 0, 0, 2, 2, 1), mode="replicate"),
}


@pytest.mark.parametrize("name", COMPOSITE)
def test_composites_are_decomposed(name: str, tmp_path: Path) -> None:
    assert_right(Call(COMPOSITE[name]), tmp_path)


@pytest.mark.parametrize("name", CHANGED)
def test_what_the_converter_changes_keeps_its_meaning(name: str, tmp_path: Path) -> None:
    assert_right(Call(CHANGED[name]), tmp_path)


MODULES = {
    "prelu of vectors": lambda: nn.Sequential(nn.Flatten(), nn.PReLU(192, 0.1)),
    "circular convolution": lambda: nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"),
    "output padding": lambda: nn.ConvTranspose2d(3, 6, 3, 2, padding=1, output_padding=1),
    "output padding alone, #2377": lambda: nn.ConvTranspose2d(3, 6, 3, 2, output_padding=1),
    "more output padding": lambda: nn.ConvTranspose2d(
        3, 6, 3, (2, 3), padding=(1, 0), output_padding=(1, 2), groups=3
    ),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert_right(MODULES[name](), tmp_path)


def test_instance_normalisation_with_running_statistics(tmp_path: Path) -> None:
    network = nn.InstanceNorm2d(3, affine=True, track_running_stats=True)
    with torch.no_grad():
        network.running_mean.copy_(torch.tensor([0.5, -1.0, 2.0]))
        network.running_var.copy_(torch.tensor([2.0, 0.3, 1.0]))
    assert_right(network, tmp_path)


RESULTS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "twice": lambda x, y: (y, y),
    "an input": lambda x, y: (x, y),
    "only the input": lambda x, y: x,
    "a copy": lambda x, y: (y, y.clone(), F.dropout(y, 0.5, False)),
    "views": lambda x, y: (y, y.flatten(1), y.view(1, 3, 64), y[:], y[:, 0]),
    "views of the same shape": lambda x, y: (y, y.view(1, 3, 8, 8)),
    "integers": lambda x, y: (y.argmax(1),) * 2,
    "scalars": lambda x, y: (y.mean(),) * 2,
}
"""Of an image, and of twice the image."""


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_is_an_output(name: str, tmp_path: Path) -> None:
    """apple/coremltools #1887: of one tensor returned twice one output remained."""
    function = RESULTS[name]
    assert_right(Call(lambda x: function(x, x * 2)), tmp_path)


def test_rms_norm_stays_within_half_precision(tmp_path: Path) -> None:
    """Squares of 1000 do not fit: what is normalized is divided by its largest first."""
    network = Call(lambda x: F.rms_norm(x * 1000, (8,), eps=1e-6))
    package = lowered(network, tmp_path, precision="fp16")
    x = image()
    (found,) = Interpreter(package).run({"image": x.numpy()}).values()
    np.testing.assert_allclose(found, network(x).numpy(), atol=5e-3)


def test_a_constant_twice(tmp_path: Path) -> None:
    def function(x: Tensor, anchors: Tensor) -> tuple[Tensor, ...]:
        return x * 2, anchors, anchors

    assert_right(Call(function, anchors=torch.arange(6.0).view(2, 3)), tmp_path)


REFUSED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "places of maxima": (lambda x: F.max_pool2d(x, 2, return_indices=True), "max_pool2d"),
    "bits": (lambda x: x.int() & 3, "bitwise_and"),
    "a median": (lambda x: x.flatten(1).median(1)[0], "median"),
    "a determinant": (lambda x: torch.linalg.det(x[0, 0]), "det"),
    "a stable order": (lambda x: torch.sort(x, dim=1, stable=True)[1], "sort.stable"),
    "several computed indices": (
        lambda x: x[0][x.argmax(1)[0, 0] % 3, x.argmax(1)[0, 1]],
        "gather_nd",
    ),
    "integer matrices, #2575": (lambda x: (x.int() @ x.int()).float(), "matmul"),
    "64 bits": (lambda x: (x.long() * 2**33).float(), "mul"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_the_rest_is_refused_by_name(name: str, tmp_path: Path) -> None:
    function, operator = REFUSED[name]
    with pytest.raises(TargetError) as error:
        lowered(Call(function), tmp_path)
    assert operator in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.hint


def test_a_constant_beyond_32_bits_is_refused(tmp_path: Path) -> None:
    def function(x: Tensor, offsets: Tensor) -> Tensor:
        return x.argmax(1) + offsets

    with pytest.raises(TargetError, match="offsets' holds numbers beyond"):
        lowered(Call(function, offsets=torch.tensor([2**40])), tmp_path)


def test_half_softplus_reaches_no_softplus_of_core_ml(tmp_path: Path) -> None:
    """apple/coremltools #2687: there it is zero from 10.4 on."""
    package = lowered(nn.Sequential(nn.Softplus(), nn.Mish()), tmp_path, precision="fp16")
    assert not {"softplus", "softplus_parametric"} & {op.type for op in package.main.operations}
    assert_right(nn.Sequential(nn.Softplus(), nn.Mish()), tmp_path / "exact", image(high=30.0))
