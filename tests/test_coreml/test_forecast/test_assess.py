from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from forecasts import forecast_of
from ml_programs import mb, write_package

from care_mobile.bundle import FORECAST_NOTE, ForecastSummary
from care_mobile.coreml import open_package
from care_mobile.coreml.forecast import (
    Forecast,
    Outlook,
    Severity,
    forecast,
)

F16, F32 = np.float16, np.float32


def convolution(x: Any, channels: int, dtype: type = F16) -> Any:
    weight = np.ones((channels, x.shape[1], 3, 3), dtype)
    return mb.conv(x=x, weight=weight, pad_type="same")


def conventional(a: Any) -> Any:
    """A small ResNet's parts: convolutions, a residual, a global pool, a classifier."""
    x = mb.relu(x=convolution(a, 32))
    x = mb.add(x=x, y=convolution(x, 32))
    x = mb.max_pool(x=x, kernel_sizes=[2, 2], strides=[2, 2], pad_type="valid")
    x = mb.reduce_mean(x=x, axes=[2, 3], keep_dims=False)
    return mb.linear(x=x, weight=np.ones((10, 32), F16))


def mixed(a: Any) -> Any:
    """One convolution in fp16, one in fp32, one whose input was gathered."""
    x = convolution(a, 8)
    y = mb.cast(x=convolution(mb.cast(x=x, dtype="fp32"), 8, F32), dtype="fp16")
    return mb.add(x=mb.gather(x=x, indices=np.int32(range(8)), axis=1), y=y)


def assess(build: Any) -> Forecast:
    return forecast_of(build, {"a": np.zeros((1, 8, 64, 64), F16)})


def test_a_conventional_network_is_expected_there() -> None:
    found = assess(conventional)
    assert found.outlooks[Outlook.EXPECTED] == len(found.operations) == 7
    assert found.macs_share[Outlook.EXPECTED] == 1.0
    assert {f.severity for f in found.findings} <= {Severity.COST}


def test_outlooks_follow_the_worst_finding() -> None:
    found = assess(mixed)
    by_name = {op.operation: op for op in found.operations}
    for operation in found.operations:
        severities = {f.severity for f in found.findings if f.operation == operation.operation}
        expected = Outlook.EXPECTED
        if Severity.UNLIKELY in severities:
            expected = Outlook.UNLIKELY
        elif Severity.DOUBTFUL in severities:
            expected = Outlook.DOUBTFUL
        assert operation.outlook is expected
    assert found.outlooks == {
        Outlook.EXPECTED: 2,
        Outlook.DOUBTFUL: 1,
        Outlook.UNLIKELY: 3,
        Outlook.NEUTRAL: 0,
    }
    assert len(by_name) == 6


def test_shares_are_of_multiply_accumulates() -> None:
    found = assess(mixed)
    assert found.macs == 2 * 64 * 64 * 8 * 8 * 9
    assert found.macs_share[Outlook.EXPECTED] == found.macs_share[Outlook.UNLIKELY] == 0.5
    assert found.macs_share[Outlook.DOUBTFUL] == 0.0


def test_without_multiply_accumulates_there_are_no_shares() -> None:
    found = assess(lambda a: mb.relu(x=a))
    assert found.macs == 0
    assert found.macs_share == {}


def test_integers_and_compressed_weights_are_neutral() -> None:
    def build(a: Any, b: Any) -> Any:
        weight = mb.constexpr_lut_to_dense(
            indices=np.zeros(8, np.uint8), lut=np.ones(2, F16), shape=np.uint32([8, 8, 1, 1])
        )
        return mb.conv(x=a, weight=weight), mb.add(x=b, y=np.int32(1)), mb.shape(x=a)

    inputs = {"a": np.zeros((1, 8, 64, 64), F16), "b": np.zeros((1, 2, 3), np.int32)}
    found = forecast_of(build, inputs)
    outlooks = {op.operator: op.outlook for op in found.operations}
    assert outlooks == {
        "constexpr_lut_to_dense": Outlook.NEUTRAL,
        "conv": Outlook.EXPECTED,
        "add": Outlook.NEUTRAL,
        "shape": Outlook.NEUTRAL,
    }
    assert {f.operator for f in found.findings} <= {"conv"}


def test_padding_of_every_value_is_summed() -> None:
    found = forecast_of(lambda a: mb.relu(x=a), {"a": np.zeros((1, 3, 7, 7), F16)})
    assert found.wasted_bytes == 2 * 3 * 7 * (64 - 14)
    assert assess(lambda a: mb.relu(x=a)).wasted_bytes == 0


def test_unknown_multiply_accumulates_are_counted_apart() -> None:
    def build(a: Any) -> Any:
        rows = mb.cast(x=mb.non_zero(x=a), dtype="fp16")
        return mb.matmul(x=rows, y=np.ones((2, 3), F16))

    found = forecast_of(build, {"a": np.zeros((3, 4), F16)})
    assert (found.macs, found.uncounted) == (0, 1)


def test_it_is_deterministic_and_survives_json(tmp_path: Path) -> None:
    inputs = {"a": np.zeros((1, 8, 64, 64), F16)}
    path = write_package(tmp_path / "p.mlpackage", mixed, inputs)
    found = forecast(open_package(path))
    assert forecast(open_package(path)) == found
    assert Forecast.model_validate_json(found.model_dump_json()) == found
    summary = found.summary()
    assert ForecastSummary.model_validate_json(summary.model_dump_json()) == summary


@pytest.mark.parametrize("build", [conventional, mixed])
def test_the_summary_is_the_forecast_without_operations(build: Any) -> None:
    found = assess(build)
    summary = found.summary()
    assert summary.operations == found.outlooks
    assert summary.findings == Counter(f.rule for f in found.findings)
    assert list(summary.findings) == [rule.id for rule in found.rules]
    assert summary.wasted_bytes == found.wasted_bytes
    assert summary.macs_share == pytest.approx(found.macs_share, abs=1e-6)


def test_it_says_that_it_is_a_forecast() -> None:
    found = assess(conventional)
    assert found.note == found.summary().note == FORECAST_NOTE
    assert "forecast" in FORECAST_NOTE
    assert "MLComputePlan" in FORECAST_NOTE
