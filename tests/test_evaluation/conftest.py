"""Classifiers of grey: their answers on an image of one grey are known without running them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from care_mobile.bundle import TensorSpec
from care_mobile.inputs import InputRange, Preprocessing, Resolution

GREYS = tuple(20 + 30 * index for index in range(8))
"""The grey that is most like each class."""
NAMES = tuple("abcdefgh")

Classifier = Callable[..., Path]
Pictures = Callable[..., Path]


@functools.cache
def nearest_grey(greys: Sequence[int]) -> bytes:
    """(1, 3, 8, 8) in 0..255 -> (1, classes): the nearer to a class's grey, the higher."""
    from onnx import TensorProto, helper, numpy_helper

    def constant(name: str, values: Any, dtype: Any) -> Any:
        return numpy_helper.from_array(np.asarray(values, dtype), name)

    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["image", "axes"], ["mean"], keepdims=0),
            helper.make_node("Reshape", ["mean", "shape"], ["column"]),
            helper.make_node("Sub", ["column", "greys"], ["difference"]),
            helper.make_node("Abs", ["difference"], ["distance"]),
            helper.make_node("Neg", ["distance"], ["logits"]),
        ],
        "grey",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, len(greys)])],
        [
            constant("axes", [1, 2, 3], np.int64),
            constant("shape", [1, 1], np.int64),
            constant("greys", [greys], np.float32),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(model.SerializeToString())


@pytest.fixture
def classifier(write_bundle: Callable[..., Path]) -> Classifier:
    """Writes a bundle that answers with the class whose grey is nearest."""

    def write(name: str = "grey", greys: Sequence[float] = GREYS, **changes: Any) -> Path:
        fields: dict[str, Any] = {
            "outputs": (TensorSpec(name="logits", shape=(1, len(greys))),),
            "preprocessing": Preprocessing(
                resolution=Resolution(width=8, height=8),
                input_range=InputRange.BYTE,
                crop_fraction=1.0,
            ),
        }
        return write_bundle(name, nearest_grey(tuple(greys)), **fields | changes)

    return write


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    """Writes a folder of images: class name -> the greys of its images, 0.png, 1.png, ..."""

    def write(greys: dict[str, Sequence[int]], name: str = "data") -> Path:
        for folder, values in greys.items():
            (tmp_path / name / folder).mkdir(parents=True)
            for index, grey in enumerate(values):
                image = Image.new("RGB", (8, 8), (grey, grey, grey))
                image.save(tmp_path / name / folder / f"{index}.png")
        return tmp_path / name

    return write


@pytest.fixture
def eight(pictures: Pictures) -> Path:
    """Four images of each class, of which the network takes one for its neighbour."""
    greys = {n: (g - 5, g, g + 5, g + 25) for n, g in zip(NAMES, GREYS, strict=True)}
    return pictures(greys)
