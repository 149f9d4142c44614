"""Core ML and ONNX in fp16: what the ranking promises is what the file then does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import overflowing
import pytest
import torch
from networks import tiny_care
from torch import nn

from care_mobile.agreement import MAX_DB, psnr_db
from care_mobile.coreml import open_package
from care_mobile.export.equivalence import reparameterize
from care_mobile.export.overflow import located, out_of_range
from care_mobile.export.reparam import DEFAULT, further
from care_mobile.export.reparam.attention_range import note_largest
from care_mobile.export.request import ExportRequest
from care_mobile.export.targets import Target, Variant, get_target
from care_mobile.half_precision import HalfPrecision
from care_mobile.inputs import Resolution
from care_mobile.runtimes.interpreter import Interpreter, Numerics
from care_mobile.runtimes.onnx_declared import in_declared_types, session_of

from ..test_targets.onnx_models import Subject, images
from .lowering import prepared

SIDE = 32
TARGETS = ("coreml", "onnx")


def declared(target: Target, path: Path, image: np.ndarray) -> np.ndarray:
    """The network's answer in the types that stand in the file."""
    if target.name == "onnx":
        return session_of(in_declared_types(onnx.load(path))).run(None, {"image": image})[0]
    package = open_package(path)
    return next(iter(Interpreter(package, Numerics.DECLARED).run({"image": image}).values()))


def agreement(subject: Subject, have: np.ndarray, image: np.ndarray) -> float:
    (want,) = subject.reference(image)
    return psnr_db(want.astype(np.float64), np.asarray(have, np.float64))


def explained(
    subject: Subject, target: Target, folder: Path, image: np.ndarray, keep: tuple[str, ...] = ()
) -> tuple[HalfPrecision, Path]:
    folder.mkdir(parents=True)
    job = subject.job.model_copy(update={"precision": "fp16", "keep_float": keep})
    lowered = target.lower(subject.program, job, folder)
    path = folder / lowered.model_file
    cost = target.half_precision(path, [{"image": image}])
    return cost.model_copy(update={"places": located(cost, lowered.places)}), path


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("network", ["squares", "large_logits", "root_mean_square", "cancelling"])
def test_what_is_advised_brings_what_is_promised(network: str, target: str, tmp_path: Path) -> None:
    made, image = get_target(target), images(1, size=SIDE)
    subject = prepared(getattr(overflowing, network)(), SIDE)
    cost, path = explained(subject, made, tmp_path / "half", image)
    before = agreement(subject, declared(made, path, image), image)
    assert cost.keep > 0
    assert cost.kept_psnr_db > max(60, before + 10)
    kept = cost.ranking[: cost.keep]
    again = prepared(getattr(overflowing, network)(), SIDE)
    found, path = explained(again, made, tmp_path / "kept", image, kept)
    assert found.output_psnr_db == pytest.approx(cost.kept_psnr_db, abs=3.0)
    # Against the network itself what rounding the weights costs comes on top.
    assert agreement(subject, declared(made, path, image), image) > max(60, before + 10)


@pytest.mark.parametrize("target", TARGETS)
def test_what_overflows_is_named_with_its_place(target: str, tmp_path: Path) -> None:
    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = overflowing.squares()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x)

    cost, _ = explained(prepared(Outer().eval(), SIDE), get_target(target), tmp_path / "half",
                        images(1, size=SIDE))  # fmt: skip
    assert cost.output_psnr_db == -MAX_DB
    said = out_of_range(cost)
    assert said is not None
    assert said.casefold().startswith("mul mul_2 after body.stem (")
    assert "e+05)" in said
    assert said.endswith("leave half precision, which ends at 65504")


@pytest.mark.parametrize("numerics", [Numerics.DECLARED, Numerics.PESSIMISTIC])
def test_a_care_of_large_activations_stays_in_range(numerics: Numerics, tmp_path: Path) -> None:
    """Without the range-safe form the attention's normaliser overflows here."""
    image = images(1, seed=3, size=SIDE)
    x = torch.from_numpy(image)
    network = overflowing.amplified(tiny_care(), 500.0)
    with torch.no_grad():
        factor = 2e4 / overflowing.largest_activation(network, x)
        network.stem[1].weight *= factor
        network.stem[1].bias *= factor
        want = network(x).numpy()
    assert 1e4 < overflowing.largest_activation(network, x) < 65504
    note_largest(network, [x])
    preprocessing = ExportRequest().preprocessing(Resolution(width=SIDE, height=SIDE))
    target = get_target("coreml")
    found = {}
    for name, skipped in (("safe", ()), ("lean", ("range-safe-attention",))):
        variant: Variant = target.variant(ExportRequest().options, "fp16")
        shared = reparameterize(network, DEFAULT, preprocessing, lively=True)
        ready = shared.then(further(variant.passes, DEFAULT, skipped))
        subject = prepared(ready.model, SIDE, captured=True)
        folder = tmp_path / name
        folder.mkdir()
        job = subject.job.model_copy(update={"precision": "fp16"})
        lowered = target.lower(subject.program, job, folder)
        package = open_package(folder / lowered.model_file)
        (have,) = Interpreter(package, numerics).run({"image": image}).values()
        found[name] = psnr_db(want.astype(np.float64), np.asarray(have, np.float64))
    assert found["safe"] > 50
    assert found["lean"] < 30
