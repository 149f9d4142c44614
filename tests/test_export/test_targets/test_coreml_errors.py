"""What coremltools raises, in one line that names the operator."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from care_mobile.errors import TargetError
from care_mobile.export.targets.coreml_errors import naming_the_operator
from care_mobile.quiet import quiet

from .core_ml_networks import Call, image

with quiet():
    import coremltools as ct


def test_the_operator_that_fails_is_named() -> None:
    network = Call(lambda x: F.max_pool2d(x, 2, return_indices=True))
    program = torch.export.export(network, (image(),)).run_decompositions({})
    with pytest.raises(TargetError) as error, naming_the_operator("mine"):
        ct.convert(program, convert_to="milinternal")
    assert str(error.value).startswith(
        "coremltools cannot convert mine at the operator max_pool2d_with_indices: "
    )
    assert "\n" not in str(error.value)


def test_an_error_without_words_has_its_type() -> None:
    message = "cannot convert mine: AssertionError"
    with pytest.raises(TargetError, match=message), naming_the_operator("mine"):
        raise AssertionError
