"""A network as it is, weights included, captured for any target."""

from __future__ import annotations

import copy

from torch import fx, nn

from care_mobile.export.capture import capture, input_spec, output_specs
from care_mobile.export.equivalence import reparameterize
from care_mobile.export.reparam import DEFAULT
from care_mobile.export.request import ExportRequest
from care_mobile.export.targets import LowerJob, Options, Variant
from care_mobile.inputs import Resolution

from ..test_targets.onnx_models import Subject


def prepared(network: nn.Module, side: int, captured: bool = False) -> Subject:
    """`network` on its way to a target; `captured` leaves its graph alone."""
    preprocessing = ExportRequest().preprocessing(Resolution(width=side, height=side))
    if captured:
        assert isinstance(network, fx.GraphModule)
        model = network
    else:
        model = reparameterize(network, DEFAULT, preprocessing, lively=True).model
    program = capture(copy.deepcopy(model), preprocessing, Variant())
    job = LowerJob(
        model="test",
        precision="fp32",
        inputs=(input_spec(preprocessing, Variant(), image=False),),
        outputs=output_specs(program, Variant()),
        preprocessing=preprocessing,
        weights="as-built",
        options=Options(),
    )
    return Subject(network.eval(), program, job)
