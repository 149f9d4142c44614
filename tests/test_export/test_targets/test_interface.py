"""What files take and give, read from the files, and files that are not what was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from care_mobile.bundle import TensorSpec
from care_mobile.errors import TargetError
from care_mobile.export.capture import capture, input_spec, output_specs
from care_mobile.export.targets import Lowered, LowerJob, Options, Variant, get_target
from care_mobile.export.targets.interface import check_interface
from care_mobile.inputs import InputRange, Preprocessing, Resolution

ABOUT = Preprocessing(resolution=Resolution(width=8, height=6))
ROW = TensorSpec(name="row", shape=(1, 3))
COUNT = TensorSpec(name="count", shape=(1,), dtype="int64")


class Everything(nn.Module):
    """A map, integers, a constant, a scalar and truth values."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.register_buffer("anchors", torch.rand(7, 2))

    def forward(self, x: Tensor) -> object:
        y = self.conv(x)
        return y, y.argmax(1), self.anchors, y.mean(), y > 0


def lowered(target: str, folder: Path, network: nn.Module | None = None, **options: Any) -> Lowered:
    settings = Options(**options)
    variant = Variant(dynamic_batch=settings.dynamic_batch, softmax=bool(settings.labels))
    values = InputRange.BYTE if settings.image_input else InputRange.NORMALIZED
    about = ABOUT.model_copy(update={"input_range": values})
    program = capture((network or Everything()).eval(), about, variant)
    job = LowerJob(
        model="network",
        precision="fp16" if target == "coreml" else "fp32",
        inputs=(input_spec(about, variant, image=settings.image_input),),
        outputs=output_specs(program, variant),
        preprocessing=about,
        weights="",
        options=settings,
    )
    return get_target(target).lower(program, job, folder)


def told(specs: tuple[TensorSpec, ...]) -> list[tuple[Any, ...]]:
    return [(spec.shape, spec.dtype, spec.kind) for spec in specs]


@pytest.mark.parametrize(
    ("target", "image", "integer", "truth"),
    [
        ("onnx", "float32", "int64", "bool"),
        ("executorch", "float32", "int64", "bool"),
        ("coreml", "float16", "int32", "int32"),
    ],
)
def test_all_kinds_of_outputs(
    tmp_path: Path, target: str, image: str, integer: str, truth: str
) -> None:
    found = lowered(target, tmp_path)
    assert told(found.inputs) == [((1, 3, 6, 8), image, "tensor")]
    assert told(found.outputs) == [
        ((1, 4, 6, 8), "float32", "tensor"),
        ((1, 6, 8), integer, "tensor"),
        ((7, 2), "float32", "tensor"),
        ((), "float32", "tensor"),
        ((1, 4, 6, 8), truth, "tensor"),
    ]
    assert [spec.name for spec in found.outputs] == [f"features_{i}" for i in range(5)]


def test_a_batch_is_free_only_where_the_file_has_it_free(tmp_path: Path) -> None:
    found = lowered("onnx", tmp_path, dynamic_batch=True)
    shapes = [spec.shape for spec in (*found.inputs, *found.outputs)]
    assert shapes[:5] == [(None, 3, 6, 8), (None, 4, 6, 8), (None, 6, 8), (7, 2), ()]


def test_a_labelled_classifier_with_an_image(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    found = lowered("coreml", tmp_path, network, labels=tuple("abcd"), image_input=True)
    assert told(found.inputs) == [((1, 3, 6, 8), "uint8", "image")]
    assert [(s.name, s.shape, s.kind) for s in found.outputs] == [
        ("classLabel", (), "string"),
        ("classLabel_probs", (1, 4), "dictionary"),
    ]


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ((COUNT, ROW), r"outputs 'count', 'row', not 'row', 'count'"),
        ((ROW,), r"outputs 'row', not 'row', 'count'"),
        ((), r"outputs none at all, not"),
        ((ROW, COUNT.model_copy(update={"name": "n"})), r"'row', 'n', not"),
        ((ROW.model_copy(update={"shape": (1, 4)}), COUNT), "output 'row' has shape 1x4 in the"),
        ((ROW.model_copy(update={"shape": (3,)}), COUNT), "shape 3 in the file, not 1x3"),
        ((ROW.model_copy(update={"dtype": "int32"}), COUNT), "'row' is int32 in the file"),
        ((ROW, COUNT.model_copy(update={"dtype": "float32"})), "'count' is float32 in the file"),
        ((ROW.model_copy(update={"kind": "image"}), COUNT), "'row' is of kind image"),
    ],
)
def test_a_file_that_is_not_what_was_asked_for(found: tuple[TensorSpec, ...], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        check_interface("outputs", (ROW, COUNT), found)


@pytest.mark.parametrize(
    "found",
    [
        (ROW, COUNT),
        (ROW.model_copy(update={"dtype": "float16"}), COUNT.model_copy(update={"dtype": "int32"})),
        (ROW.model_copy(update={"shape": (None, 3)}), COUNT.model_copy(update={"dtype": "bool"})),
    ],
)
def test_other_widths_and_free_dimensions_are_the_files_own(found: tuple[TensorSpec, ...]) -> None:
    check_interface("outputs", (ROW, COUNT), found)


def test_the_largest_of_a_whole_map_is_a_scalar(tmp_path: Path) -> None:
    """coremltools by itself takes `argmax()` for one over the last axis, and gives (1, 3, 6)."""

    class Whole(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.argmax()

    assert told(lowered("coreml", tmp_path, Whole()).outputs) == [((), "int32", "tensor")]
