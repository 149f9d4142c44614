"""A manifest to start from."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_mobile.answers import tensor_bytes
from care_mobile.bundle import Census, Manifest, Parity, TensorSpec, Weights, list_files
from care_mobile.inputs import Preprocessing, Resolution
from care_mobile.probes import AnswerLimit, Probe, TensorFile


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


def put_probe(
    folder: Path,
    name: str = "seeded",
    inputs: dict[str, NDArray[Any]] | None = None,
    outputs: dict[str, NDArray[Any]] | None = None,
    limit: AnswerLimit | None = None,
) -> Probe:
    """Write a probe's tensors into `folder`; by default those of the Relu that tests use."""
    rng = np.random.default_rng(0)
    image = rng.standard_normal((1, 3, 8, 8)).astype(np.float32)
    inputs = inputs if inputs is not None else {"image": image}
    outputs = outputs if outputs is not None else {"logits": np.maximum(image, 0)}
    (folder / "probes").mkdir(exist_ok=True)
    written = {}
    for kind, arrays in (("input", inputs), ("output", outputs)):
        written[kind] = tuple(
            TensorFile(
                name=key, dtype=str(array.dtype), shape=array.shape, file=f"probes/{name}-{key}.bin"
            )
            for key, array in arrays.items()
        )
        for tensor, array in zip(written[kind], arrays.values(), strict=True):
            (folder / tensor.file).write_bytes(tensor_bytes(array))
    limits = (limit or AnswerLimit(min_psnr_db=90.0, max_abs=1e-4),) * len(outputs)
    return Probe(name=name, inputs=written["input"], outputs=written["output"], limits=limits)
