from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_programs import mb, write_package

from care_mobile.coreml.compute_plan import ComputePlan, PlannedOperation
from care_mobile.coreml.forecast import Outlook
from care_mobile.errors import CareError, MissingDependencyError, ModelFileError
from care_mobile.inspection.inspector import inspect
from care_mobile.inspection.results import CoreMLFacts, Inspection

F16 = np.float16
STEM = 8 * 3 * 3 * 9


def test_what_a_package_holds(small_package: Path) -> None:
    found = inspect(small_package)
    ports = [(p.name, p.kind, p.dtype, p.shape) for p in (*found.inputs, *found.outputs)]
    assert ports == [
        ("image", "tensor", "fp16", (1, 3, 32, 32)),
        ("logits", "tensor", "fp32", (1, 5)),
    ]
    assert found.operations == 5
    assert found.census == {"cast": 1, "conv": 1, "gather": 1, "linear": 1, "reduce_mean": 1}
    assert found.parameters == STEM + 8 + 5 * 4 + 5
    assert found.bytes_by_type == {"fp16": 2 * found.parameters}
    assert found.macs == 30 * 24 * STEM + 5 * 4
    assert found.macs_note == ""
    assert found.size_bytes == sum(
        p.stat().st_size for p in small_package.rglob("*") if p.is_file()
    )
    assert isinstance(found.facts, CoreMLFacts)
    assert (found.facts.specification, found.facts.ios, found.facts.opset) == (8, 17, "CoreML7")
    assert found.forecast is not None
    assert list(found.forecast.outlooks.values()) == [3, 1, 1, 0]
    assert Inspection.model_validate_json(found.model_dump_json()) == found


def test_layers_are_the_largest(small_package: Path) -> None:
    stem, head = inspect(small_package).layers
    assert (stem.name, stem.operator, stem.bytes) == ("stem", "conv", 2 * (STEM + 8))
    assert (head.name, head.parameters, head.macs) == ("head", 25, 20)
    assert inspect(small_package, largest=1).layers == (stem,)
    assert inspect(small_package, largest=0).layers == ()


def test_compressed_weights_belong_to_the_layer_that_uses_them(tmp_path: Path) -> None:
    def build(a: Any) -> Any:
        weight = mb.constexpr_lut_to_dense(
            indices=np.zeros(32, np.uint8), lut=np.ones(2, F16), shape=np.uint32([16, 16, 1, 1])
        )
        return mb.conv(x=a, weight=weight, name="squeezed")

    inputs = {"a": np.zeros((1, 16, 4, 4), F16)}
    found = inspect(write_package(tmp_path / "p.mlpackage", build, inputs))
    (layer,) = found.layers
    assert (layer.name, layer.parameters) == ("squeezed", 256)
    assert layer.bytes >= 32 + 4
    assert found.parameters == 256
    assert found.bytes_by_type["uint8"] == 32


def test_a_plan_is_compared_where_there_is_one(
    small_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = ComputePlan(
        compute_units="ALL",
        operations=(
            PlannedOperation.model_validate(
                {"operation": "stem", "operator": "conv", "preferred": "gpu"}
            ),
        ),
    )
    monkeypatch.setattr("care_mobile.inspection.coreml.compute_plan", lambda path: plan)
    found = inspect(small_package, with_plan=True).comparison
    assert found is not None
    assert [d.operation for d in found.differences] == ["stem"]
    assert found.differences[0].forecast is Outlook.EXPECTED


def test_a_plan_needs_a_mac_and_core_ml(
    small_package: Path, small_onnx: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("care_mobile.coreml.compute_plan.platform.system", lambda: "Linux")
    with pytest.raises(MissingDependencyError, match="macOS only"):
        inspect(small_package, with_plan=True)
    with pytest.raises(ModelFileError, match="no Core ML model"):
        inspect(small_onnx, with_plan=True)


@pytest.mark.parametrize("kept", [None, 0, 100, 200])
def test_missing_or_truncated_weights(tmp_path: Path, kept: int | None) -> None:
    from .conftest import write_small_package

    path = write_small_package(tmp_path / "p.mlpackage")
    weights = path / "Data/com.apple.CoreML/weights/weight.bin"
    data = weights.read_bytes()
    weights.unlink()
    if kept is not None:
        weights.write_bytes(data[:kept])
    with pytest.raises(ModelFileError, match=r"weight file '?weight\.bin'? (is|cannot)"):
        inspect(path)


@given(position=st.integers(0, 5000), value=st.integers(0, 255))
@settings(max_examples=40, deadline=None)
def test_damage_is_one_line_or_harmless(small_package: Path, position: int, value: int) -> None:
    model = small_package / "Data/com.apple.CoreML/model.mlmodel"
    intact = model.read_bytes()
    damaged = bytearray(intact)
    damaged[position % len(damaged)] = value
    model.write_bytes(damaged)
    try:
        name = inspect(small_package).name
    except CareError as error:
        name = str(error)
    finally:
        model.write_bytes(intact)
    assert name
    assert "\n" not in name
