"""A manifest to start from."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from care_mobile.bundle import Census, Manifest, Parity, TensorSpec, Weights, list_files
from care_mobile.inputs import Preprocessing, Resolution


def manifest_of(folder: Path, **changes: Any) -> Manifest:
    """The manifest of a bundle whose files lie in `folder`; `changes` replace its fields."""
    fields: dict[str, Any] = {
        "model": "tiny",
        "parameters": 0,
        "macs": 0,
        "weights": Weights(source="random:0", random=True),
        "inputs": (TensorSpec(name="image", shape=(1, 3, 8, 8)),),
        "outputs": (TensorSpec(name="logits", shape=(1, 3, 8, 8)),),
        "preprocessing": Preprocessing(resolution=Resolution(width=8, height=8)),
        "target": "onnx",
        "precision": "fp32",
        "runtime": "onnxruntime",
        "passes": (),
        "census": Census(total=1, by_type={"Relu": 1}),
        "tools": {},
        "parity": Parity(status="unverified", reason="a test"),
        "model_file": "model.onnx",
        "files": list_files(folder),
        "created": datetime(2026, 1, 1, tzinfo=timezone.utc),
    }
    return Manifest(**fields | changes)
