"""Weights of ML Programs as integers and in tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from networks import Classifier, lively, tiny_care
from torch import nn

from care_mobile.export.equivalence import reparameterize
from care_mobile.export.parity import THRESHOLDS
from care_mobile.export.quantize.coreml_weights import as_integers, worst_db
from care_mobile.export.reparam import DEFAULT, further
from care_mobile.export.targets import Options
from care_mobile.export.targets.coreml import MODEL_FILE, CoreMLTarget
from care_mobile.inputs import Preprocessing, Resolution
from care_mobile.inspection.inspector import inspect

from .coreml_lowering import Convolutions, agreement_db, images, kinds, lower

TABLES = {"palette8": 8, "palette6": 6, "palette4": 4}
WEIGHTS_ONLY = ("int8-weights", *TABLES)
BIG = 2 * 32 * 96 + 96 * 100
"""Weights of the layers large enough to compress."""


def size(package: Path) -> int:
    return sum(file.stat().st_size for file in package.rglob("*.bin"))


@pytest.mark.parametrize("ios", [17, 18])
@pytest.mark.parametrize("precision", WEIGHTS_ONLY)
def test_what_is_written(precision: str, ios: int, tmp_path: Path) -> None:
    network = Convolutions().eval()
    lowered, package = lower(network, tmp_path, precision, ios)
    bits = TABLES.get(precision)
    integers = "constexpr_affine_dequantize" if ios == 17 else "constexpr_blockwise_shift_scale"
    assert kinds(package, "constexpr_lut_to_dense" if bits else integers) == 3
    assert lowered.rewrites["weights in tables" if bits else "weights as 8-bit integers"] == 3
    assert lowered.census.total == sum(lowered.census.by_type.values())
    assert not any(kind.startswith("const") for kind in lowered.census.by_type)
    assert agreement_db(network, package, images()) >= {4: 18.0, 6: 30.0}.get(bits or 8, 38.0)

    sizes = inspect(tmp_path / MODEL_FILE).bytes_by_type
    stored = "int8" if bits is None else "uint8" if ios == 17 else f"uint{bits}"
    assert BIG * (bits or 8) / 8 <= sizes[stored] <= BIG * (bits or 8) / 8 + 600
    assert sizes["fp16"] < 6_000


def test_the_file_is_smaller_by_what_the_weights_save(tmp_path: Path) -> None:
    network = Convolutions().eval()
    sizes = {}
    for precision in ("fp16", "palette4"):
        lower(network, tmp_path / precision, precision)
        sizes[precision] = size(tmp_path / precision)
    # Less the tables; entries of the file start at multiples of 64 bytes.
    assert 0 <= sizes["palette4"] - (sizes["fp16"] - BIG * 12 // 8) <= 1_000


@pytest.mark.parametrize("precision", ["int8-weights", "palette6"])
def test_layers_that_are_asked_to_stay_float(precision: str, tmp_path: Path) -> None:
    network = Convolutions().eval()
    # coremltools calls the operation of the node `linear` linear_0.
    asked = ("linear", "conv2d_1")
    lowered, package = lower(network, tmp_path, precision, keep_float=asked)
    assert lowered.rewrites["layers left in float"] == 2
    (left,) = (o.name for o in package.main.operations if o.type.startswith("constexpr_"))
    assert "right" in left


def test_layers_that_a_fusion_renamed_stay_float_too(tmp_path: Path) -> None:
    network = lively(Classifier(num_classes=200)).float()
    lowered, _ = lower(network, tmp_path / "all", "int8-weights")
    kept, package = lower(network, tmp_path / "kept", "int8-weights", keep_float=("linear",))
    assert lowered.rewrites["weights as 8-bit integers"] == 1
    assert kept.rewrites == lowered.rewrites | {
        "weights as 8-bit integers": 0,
        "layers left in float": 1,
    }
    assert not any(o.type.startswith("constexpr_") for o in package.main.operations)


def test_twice_the_same(tmp_path: Path) -> None:
    network = Convolutions().eval()
    files = []
    for name in ("first", "second"):
        lower(network, tmp_path / name, "palette6")
        files.append([f.read_bytes() for f in sorted((tmp_path / name).rglob("*.bin"))])
    assert files[0] == files[1]
    assert files[0]


class Uneven(nn.Module):
    """A layer that one table cannot hold, and one that a scale per channel cannot."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 64, 1)
        self.rows = nn.Conv2d(64, 256, 1)
        self.outliers = nn.Conv2d(256, 64, 1)
        with torch.no_grad():
            self.rows.weight[:128] *= 1e-3
            self.outliers.weight[:, 0] = 10.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.outliers(self.rows(self.stem(x)).relu())


def test_what_cannot_be_held_falls_back(tmp_path: Path) -> None:
    network = Uneven().eval()
    tables, _ = lower(network, tmp_path / "tables", "palette6")
    assert tables.rewrites["weights as 8-bit integers"] == 1
    assert tables.rewrites["weights in tables"] == 1
    integers, package = lower(network, tmp_path / "integers", "int8-weights")
    assert integers.rewrites["weights as 8-bit integers"] == 1
    assert integers.rewrites["layers left in float"] == 1
    assert agreement_db(network, package, images(1)) >= 38.0


def test_a_care_in_tables_reaches_its_threshold(tmp_path: Path) -> None:
    about = Preprocessing(resolution=Resolution(width=64, height=64))
    network = lively(tiny_care()).float()
    passes = CoreMLTarget().variant(Options(), "palette4").passes
    fast = reparameterize(network, DEFAULT, about, lively=True).then(further(passes, DEFAULT)).model
    lowered, package = lower(fast.float(), tmp_path, "palette4", side=64)
    assert lowered.rewrites["weights in tables"] > 10
    least = THRESHOLDS["coreml", "palette4"]["ordinary"].min_psnr_db
    assert least is not None
    assert agreement_db(network, package, images(2, 64)) >= least


def test_integers_and_sums_within_a_convolution_do_not_go_together() -> None:
    target = CoreMLTarget()
    for precision in ("int8", "int8-weights"):
        assert "closing-sum-into-conv" not in target.variant(Options(), precision).passes
    assert "closing-sum-into-conv" in target.variant(Options(), "palette4").passes


small = st.floats(-100, 100, width=16)


@given(arrays(np.float16, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=small))
def test_integers_and_scales(channels: np.ndarray) -> None:
    integers, scale = as_integers(channels)
    assert scale.shape == (len(channels), 1)
    assert (scale > 0).all()
    assert np.array_equal(integers, np.round(integers))
    assert (np.abs(integers) <= 127).all()
    # Half a step, and what fp16's rounding of the scale costs at the end of the range.
    limit = 0.5 * scale + 127 * np.maximum(scale * 2.0**-11, 2.0**-25)
    assert (np.abs(integers * scale - channels.astype(np.float32)) <= limit * 1.001).all()


def test_the_worst_channel_counts() -> None:
    weights = np.ones((3, 100))
    held = weights * np.array([[1.0], [1.1], [1.0]])
    assert worst_db(weights, held) == pytest.approx(20.0)
    assert worst_db(weights, weights) == np.inf
    assert worst_db(np.zeros((1, 4)), np.ones((1, 4))) == -np.inf
