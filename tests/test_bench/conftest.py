"""Small bundles made by hand, one real and as many fake ones as a test wants."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from care_mobile import bench
from care_mobile.bundle import (
    Census,
    Manifest,
    Parity,
    TensorSpec,
    Weights,
    list_files,
    write_manifest,
    writing,
)
from care_mobile.inputs import Preprocessing, Resolution

GOLDEN = Path(__file__).parents[1] / "golden" / "bench"

MakeBundle = Callable[..., Path]


def _manifest(runtime: str, random_weights: bool, side: int, folder: Path) -> Manifest:
    return Manifest(
        model="tiny",
        parameters=0,
        macs=0,
        weights=Weights(source="a test", random=random_weights),
        inputs=(TensorSpec(name="image", shape=(1, 3, side, side), kind="image"),),
        outputs=(TensorSpec(name="logits", shape=(1, 3, side, side)),),
        preprocessing=Preprocessing(resolution=Resolution(width=side, height=side)),
        target=runtime,
        precision="fp32",
        runtime=runtime,
        passes=(),
        census=Census(total=1, by_type={"Relu": 1}),
        tools={},
        parity=Parity(status="unverified", reason="a test"),
        model_file="model.onnx",
        files=list_files(folder),
        created=datetime(2026, 1, 1, tzinfo=timezone.utc),
    )


def onnx_model(side: int, layers: int) -> bytes:
    """`layers` Relus in a row on (1, 3, side, side)."""
    from onnx import TensorProto, helper

    names = ["image", *(f"x{i}" for i in range(1, layers)), "logits"]
    nodes = [helper.make_node("Relu", [a], [b]) for a, b in itertools.pairwise(names)]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3, side, side])
        for name in ("image", "logits")
    ]
    graph = helper.make_graph(nodes, "tiny", ends[:1], ends[1:])
    opset = helper.make_opsetid("", 17)
    return bytes(helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString())


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Writes a bundle and returns its folder; without `layers` its model file holds no model."""

    def make(
        name: str,
        *,
        folder: Path | None = None,
        runtime: str = "onnxruntime",
        layers: int = 0,
        side: int = 8,
        random_weights: bool = True,
    ) -> Path:
        path = (folder or tmp_path / "bundles") / name
        with writing(path) as partial:
            content = onnx_model(side, layers) if layers else b"no model"
            (partial / "model.onnx").write_bytes(content)
            write_manifest(partial, _manifest(runtime, random_weights, side, partial))
        return path

    return make


def schema_file(name: str) -> Path:
    return Path(bench.__file__).parent / "schema" / name


def schema_text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2) + "\n"
