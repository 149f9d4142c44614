"""Which probes a network can be asked, and which of its answers are a truth."""

from __future__ import annotations

import numpy as np
import probed
import pytest
import torch
from torch import nn

from care_mobile.errors import ModelError
from care_mobile.export.reference import Reference, reference
from care_mobile.export.rounding import Rounding
from care_mobile.inputs import InputRange, Preprocessing, Resolution

ALL = ["seeded", "photos", "zeros", "constant", "large-range", "tiny-denominator"]
SIZE = Resolution(width=32, height=32)
NORMAL = Preprocessing(resolution=SIZE)
UNIT = Preprocessing(resolution=SIZE, mean=(0.0,) * 3, std=(1.0,) * 3)


def asked(kind: type[nn.Module], form: Preprocessing = NORMAL, whole: bool = False) -> Reference:
    return reference("net", kind().eval(), form, 0, whole=whole)


def test_a_plain_network_answers_all_probes() -> None:
    found = asked(probed.Highpass)
    assert list(found.inputs) == list(found.answers) == ALL
    assert (found.notes, found.left_out) == ({}, {})


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (probed.UnitRange, "raises ValueError: pixels must be in 0..1"),
        (probed.PixelLookup, "raises IndexError"),
        (probed.OneHot, "raises RuntimeError"),
        (probed.Gamma, "answers NaN at "),
    ],
)
@pytest.mark.parametrize("taken", list(InputRange))
def test_a_network_of_pixels_is_asked_about_pixels(
    kind: type[nn.Module], why: str, taken: InputRange
) -> None:
    form = UNIT.model_copy(update={"input_range": taken})
    found = asked(kind, form)
    assert why in found.left_out["large-range"]
    assert list(found.inputs) == [name for name in ALL if name != "large-range"]
    assert "seeded" in found.notes
    assert "outside it the network " + why in found.notes["seeded"]
    assert all(form.holds_pixels(found.inputs[name]) for name in found.notes)
    assert found.inputs["seeded"].std() > 0.2 * np.ptp(found.inputs["photos"])
    assert all(np.isfinite(a).all() for arrays in found.answers.values() for a in arrays)


def test_whole_numbers_stay_whole() -> None:
    form = UNIT.model_copy(update={"input_range": InputRange.BYTE})
    found = asked(probed.PixelLookup, form, whole=True)
    for stack in found.inputs.values():
        assert np.array_equal(stack, np.clip(np.rint(stack), 0, 255))


@pytest.mark.parametrize("kind", [probed.Bounded, probed.Overflowing])
def test_what_only_far_inputs_break_leaves_only_those_out(kind: type[nn.Module]) -> None:
    found = asked(kind)
    assert list(found.left_out) == ["large-range"]
    assert found.left_out["large-range"].startswith("the network itself ")
    assert found.notes == {}
    assert len(found.inputs) == 5


def test_infinities_of_its_own_are_part_of_the_answer() -> None:
    found = asked(probed.Fixed)
    assert np.isneginf(found.answers["seeded"][0][:, 2:4]).all()
    assert list(found.inputs) == ALL


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (probed.Ratio, "net itself answers NaN at 2048 of 2048 places on the probe set zeros"),
        (probed.Masked, "net itself answers infinity at"),
        (probed.Nothing, "returns no tensors"),
    ],
)
def test_what_is_no_number_is_refused_by_name(kind: type[nn.Module], message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        asked(kind)
    assert caught.value.exit_code == 2
    assert caught.value.hint


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights_are_named(value: float) -> None:
    network = probed.Highpass().eval()
    with torch.no_grad():
        network.mix.weight[0, 0] = value
    with pytest.raises(ModelError, match=r"answers (NaN|infinity) .* on the probe set") as caught:
        reference("net", network, NORMAL, 0, whole=False)
    assert "mix.weight is not finite" in caught.value.hint


class Never(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise IndexError("no such thing")


@pytest.mark.parametrize("form", [NORMAL, UNIT])
def test_a_network_that_fails_on_photos_fails(form: Preprocessing) -> None:
    with pytest.raises(ModelError, match=r"3 channels and 32x32 px .photos.: no such thing"):
        asked(Never, form)


class NoFlat(probed.Wrapped):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.std() == 0:
            raise ValueError("a flat image")
        return self.stem(x)


def test_ordinary_probes_inside_the_range_may_not_fail() -> None:
    with pytest.raises(ModelError, match=r"zeros.: a flat image"):
        asked(NoFlat)


# Rounding of the network itself.


def test_rounding_is_small_for_a_plain_network_and_not_for_a_steep_one() -> None:
    for kind, low, high in ((probed.Highpass, 1e-8, 1e-5), (probed.Sharp, 1e-3, 3.0)):
        network = kind().eval()
        truth = reference("net", network, NORMAL, 0, whole=False)
        rounding = Rounding(network, NORMAL, truth.inputs)
        want = truth.answers["large-range"][0]
        moved = rounding.moved("large-range", 24)
        assert len(moved) == 3
        worst = max(np.abs(want - answers[0]).max() / np.abs(want).max() for answers in moved)
        assert low < worst < high
        assert rounding.moved("large-range", 24) is moved


def test_fewer_bits_move_a_network_further() -> None:
    network = probed.Highpass().eval()
    truth = reference("net", network, NORMAL, 0, whole=False)
    rounding = Rounding(network, NORMAL, truth.inputs)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    sizes = [
        max(np.abs(truth.answers["photos"][0] - a[0]).max() for a in rounding.moved("photos", bits))
        for bits in (24, 11, 8, 4)
    ]
    assert sizes == sorted(sizes)
    assert sizes[0] > 0
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


class FixedType(probed.Wrapped):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.stem(x) @ torch.ones(16, 4)


def test_a_network_that_does_not_run_in_float64_is_moved_in_float32() -> None:
    network = FixedType().eval()
    truth = reference("net", network, NORMAL, 0, whole=False)
    assert len(Rounding(network, NORMAL, truth.inputs).moved("seeded", 24)) == 2


class TwoInputs(nn.Module):
    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return x + y


def test_a_network_of_two_inputs_is_told_that_one_is_served() -> None:
    with pytest.raises(ModelError, match="required positional argument: 'y'") as caught:
        asked(TwoInputs)
    assert "one image" in caught.value.hint
