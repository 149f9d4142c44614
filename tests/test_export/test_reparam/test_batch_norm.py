from __future__ import annotations

import pytest
from torch import Tensor, nn

from care_mobile.export.reparam import batch_norm

from .support import apply, kinds, noise, reasons


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("padding", [0, 1, "same"])
def test_into_previous(bias: bool, groups: int, padding: int | str) -> None:
    network = nn.Sequential(
        nn.Conv2d(6, 12, 3, padding=padding, groups=groups, bias=bias), nn.BatchNorm2d(12)
    )
    result = apply(batch_norm.INTO_PREVIOUS, network, noise(2, 6, 9, 7))
    assert result.places == 1
    assert kinds(result.model, nn.BatchNorm2d) == 0


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "mode"),
    [(1, 1, 0, "zeros"), (2, 2, 0, "zeros"), (3, 1, "valid", "zeros"), (1, 1, "same", "zeros"),
     (3, 1, 1, "reflect"), (3, 1, 1, "circular"), (3, 1, 1, "replicate")],
)  # fmt: skip
def test_into_next(
    bias: bool, groups: int, kernel: int, stride: int, padding: int | str, mode: str
) -> None:
    conv = nn.Conv2d(6, 12, kernel, stride, padding, groups=groups, bias=bias, padding_mode=mode)
    result = apply(batch_norm.INTO_NEXT, nn.Sequential(nn.BatchNorm2d(6), conv), noise(2, 6, 8, 10))
    assert result.places == 1
    assert kinds(result.model, nn.BatchNorm2d) == 0


@pytest.mark.parametrize("dims", [1, 3])
def test_other_dimensions(dims: int) -> None:
    conv, norm = {1: (nn.Conv1d, nn.BatchNorm1d), 3: (nn.Conv3d, nn.BatchNorm3d)}[dims]
    x = noise(2, 4, *[6] * dims)
    assert apply(batch_norm.INTO_PREVIOUS, nn.Sequential(conv(4, 6, 3), norm(6)), x).places == 1
    assert apply(batch_norm.INTO_NEXT, nn.Sequential(norm(4), conv(4, 6, 3)), x).places == 1


def test_without_affine_parameters() -> None:
    norm = nn.BatchNorm2d(6, affine=False)
    result = apply(batch_norm.INTO_NEXT, nn.Sequential(norm, nn.Conv2d(6, 4, 1)), noise(2, 6, 5, 5))
    assert result.places == 1


def test_into_several_readers() -> None:
    class Fan(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(4)
            self.one, self.two = nn.Conv2d(4, 6, 1), nn.Conv2d(4, 6, 1, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(x)
            return self.one(x) * self.two(x)

    result = apply(batch_norm.INTO_NEXT, Fan(), noise(1, 4, 6, 6))
    assert result.places == 1
    assert kinds(result.model, nn.BatchNorm2d) == 0


def test_zero_padding_is_refused() -> None:
    network = nn.Sequential(nn.BatchNorm2d(6), nn.Conv2d(6, 4, 3, padding=1))
    result = apply(batch_norm.INTO_NEXT, network, noise(2, 6, 5, 5))
    assert result.places == 0
    assert "pads with zeros" in reasons(result)


def test_a_reader_that_is_no_convolution_is_refused() -> None:
    result = apply(
        batch_norm.INTO_NEXT, nn.Sequential(nn.BatchNorm2d(6), nn.ReLU()), noise(2, 6, 5, 5)
    )
    assert result.places == 0
    assert "no convolution" in reasons(result)


def test_a_convolution_read_elsewhere_is_refused() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return self.norm(x) + x

    result = apply(batch_norm.INTO_PREVIOUS, Twice(), noise(1, 4, 6, 6))
    assert result.places == 0
    assert "read elsewhere" in reasons(result)


def test_a_convolution_called_twice_is_refused() -> None:
    class Reused(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.norm(self.conv(x)))

    for rule in (batch_norm.INTO_PREVIOUS, batch_norm.INTO_NEXT):
        result = apply(rule, Reused(), noise(1, 4, 6, 6))
        assert result.places == 0
        assert "called in 2 places" in reasons(result)


def test_shared_weights_are_refused() -> None:
    network = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1))
    network[3].weight = network[0].weight
    result = apply(batch_norm.INTO_PREVIOUS, network, noise(1, 4, 6, 6))
    assert result.places == 0
    assert "shares its weights" in reasons(result)


def test_batch_statistics_are_refused() -> None:
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    result = apply(
        batch_norm.INTO_PREVIOUS, nn.Sequential(nn.Conv2d(4, 4, 1), norm), noise(3, 4, 6, 6)
    )
    assert result.places == 0
    assert "statistics of the batch" in reasons(result)


def test_a_transposed_convolution_is_left_alone() -> None:
    network = nn.Sequential(nn.ConvTranspose2d(4, 4, 2), nn.BatchNorm2d(4))
    assert apply(batch_norm.INTO_PREVIOUS, network, noise(1, 4, 6, 6)).places == 0
