from __future__ import annotations

import torch
from digits.data import Digits, Part, load
from digits.network import PREPROCESSING, digits
from digits.train import correct, train

from care_mobile.export.request import ExportRequest
from care_mobile.models.care import CARE
from care_mobile.models.checkpoint import load_weights

from .conftest import WEIGHTS


def trained() -> CARE:
    model = digits()
    load_weights(model, str(WEIGHTS))
    return model.eval()


def test_the_weights_fit_strictly_and_are_small() -> None:
    weights = load_weights(digits(), str(WEIGHTS))
    assert not weights.random
    assert WEIGHTS.stat().st_size <= 1_000_000


def test_export_preprocesses_as_training_did() -> None:
    request = ExportRequest(models=("digits.network:digits",), in_channels=1)
    assert request.preprocessing(PREPROCESSING.resolution) == PREPROCESSING


def test_the_network_has_every_kind_of_block() -> None:
    mixers = [stage.blocks[0].token_mixer.has_attention for stage in digits().stages]
    assert mixers == [False, False, True, True]


def test_held_out_accuracy(held_out: Digits) -> None:
    assert correct(trained(), held_out) == 986


def test_no_block_is_silent() -> None:
    """A layer scale near zero would make a block's errors invisible."""
    scales = [block.gamma for stage in trained().stages for block in stage.blocks if not block.last]
    assert all(scale.abs().median() > 1e-3 for scale in scales)


def test_training_repeats() -> None:
    few = Digits(*(column[::23] for column in load(Part.TRAINING)))
    one, two = (train(few, epochs=2, seed=5).state_dict() for _ in range(2))
    assert one.keys() == digits().state_dict().keys()
    assert all(torch.equal(one[key], two[key]) for key in one)
    other = train(few, epochs=2, seed=6).state_dict()
    assert not torch.equal(one["head.fc.weight"], other["head.fc.weight"])
