"""Every rule: a program for which it fires, and one like it for which it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from forecasts import forecast_of
from ml_programs import Array, Build, mb

from care_mobile.coreml.forecast import RULES, Severity

F16, F32 = np.float16, np.float32
IMAGE = np.zeros((1, 4, 32, 32), F16)
Case = tuple[Build, dict[str, Array]]


def conv(width: int = 3, stride: int = 1, fill: float = 1.0) -> Build:
    weight = np.full((4, 4, 1, width), fill, F16)
    return lambda a: mb.conv(x=a, weight=weight, strides=[stride, stride], pad_type="same")


def pool(size: int) -> Build:
    return lambda a: mb.avg_pool(x=a, kernel_sizes=[size, size], pad_type="valid")


def relu(*shape: int, dtype: type = F16) -> Case:
    return lambda a: mb.relu(x=a), {"a": np.zeros(shape, dtype)}


def on_image(build: Build) -> Case:
    return build, {"a": IMAGE}


def norm(epsilon: float) -> Build:
    return lambda a: mb.layer_norm(x=a, axes=[1], epsilon=F16(epsilon))


def reshaped(*shape: int) -> Build:
    return lambda a: mb.reshape(x=a, shape=list(shape))


def transposed(*permutation: int) -> Build:
    return lambda a: mb.transpose(x=a, perm=list(permutation))


def dynamic_weight(a: Any, b: Any) -> Any:
    return mb.conv(x=a, weight=mb.relu(x=b))


def compressed_weight(a: Any) -> Any:
    weight = mb.constexpr_lut_to_dense(
        indices=np.zeros(2, np.uint8), lut=np.ones(2, F16), shape=np.uint32([4, 4, 1, 1])
    )
    return mb.conv(x=a, weight=weight)


def found_rows(a: Any) -> Any:
    return mb.relu(x=mb.cast(x=mb.non_zero(x=a), dtype="fp16"))


CASES: dict[str, tuple[Case, Case]] = {
    "ane-fp32": (relu(1, 4, 32, 32, dtype=F32), relu(1, 4, 32, 32)),
    "ane-int32": (
        on_image(lambda a: mb.reduce_argmax(x=a, axis=1)),
        on_image(lambda a: mb.reduce_max(x=a, axes=[1])),
    ),
    "ane-rank": (
        on_image(lambda a: mb.sub(x=a, y=np.ones((2, 1, 1, 1, 1, 1), F16))),
        on_image(lambda a: mb.sub(x=a, y=np.ones((2, 1, 1, 1, 1), F16))),
    ),
    "ane-axis-limit": (relu(1, 16_385), relu(1, 16_384)),
    "ane-dynamic-shape": ((found_rows, {"a": IMAGE[0, 0]}), relu(3, 64)),
    "ane-operator": (
        (lambda a: mb.non_zero(x=a), {"a": IMAGE[0, 0]}),
        on_image(lambda a: mb.softmax(x=a)),
    ),
    "ane-gather": (
        on_image(lambda a: mb.gather(x=a, indices=np.int32([0, 2]), axis=1)),
        on_image(lambda a: mb.slice_by_size(x=a, begin=[0, 0, 0, 0], size=[1, 2, 32, 32])),
    ),
    "ane-dynamic-weight": (
        (dynamic_weight, {"a": IMAGE, "b": np.zeros((4, 4, 1, 1), F16)}),
        on_image(compressed_weight),
    ),
    "ane-pool": (on_image(pool(14)), on_image(pool(13))),
    "ane-stride": (on_image(conv(stride=5)), on_image(conv(stride=6))),
    "ane-wide-kernel": (on_image(conv(width=8)), on_image(conv(width=7))),
    "ane-infinity": (
        on_image(lambda a: mb.add(x=a, y=np.full((32,), -np.inf, F16))),
        on_image(lambda a: mb.add(x=a, y=np.full((32,), -4e4, F16))),
    ),
    "ane-fp32-literal": (
        (lambda a: mb.add(x=a, y=F32(2)), {"a": IMAGE.astype(F32)}),
        on_image(lambda a: mb.upsample_bilinear(x=a, scale_factor_height=F32(2))),
    ),
    "ane-epsilon": (on_image(norm(1e-6)), on_image(norm(1e-4))),
    "ane-subnormal": (on_image(conv(fill=1e-6)), on_image(conv(fill=1e-4))),
    "ane-singleton-axis": (relu(1, 64, 32, 1), relu(1, 64, 1, 32)),
    "ane-last-axis": (relu(1, 64, 14, 14), relu(1, 64, 28, 28)),
    "ane-transpose": (on_image(transposed(0, 2, 3, 1)), on_image(transposed(0, 2, 1, 3))),
    "ane-reshape": (on_image(reshaped(1, 4, 1024)), on_image(reshaped(1, 128, 32))),
    "ane-needless-layout": (
        on_image(lambda a: transposed(0, 2, 1, 3)(transposed(0, 2, 1, 3)(a))),
        on_image(lambda a: transposed(0, 2, 1, 3)(mb.relu(x=a))),
    ),
    "ane-split": (
        on_image(lambda a: mb.split(x=a, num_splits=2, axis=1)),
        on_image(lambda a: mb.relu(x=a)),
    ),
    "ane-concat": (
        on_image(lambda a: mb.concat(values=[a, a], axis=1)),
        on_image(lambda a: mb.add(x=a, y=a)),
    ),
    "ane-tiny": (relu(1, 32), relu(1, 32, 64)),
}


def rules_of(case: Case) -> set[str]:
    build, inputs = case
    return {finding.rule for finding in forecast_of(build, inputs).findings}


def test_every_rule_has_a_case() -> None:
    assert set(CASES) == {rule.id for rule in RULES}
    assert len({rule.id for rule in RULES}) == len(RULES)


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_fires_where_it_should_and_only_there(rule: str) -> None:
    fires, silent = CASES[rule]
    assert rule in rules_of(fires)
    assert rule not in rules_of(silent)


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (reshaped(1, 4, 32, 32), "to itself"),
        (transposed(0, 1, 2, 3), "moves nothing"),
        (lambda a: reshaped(1, 64, 64)(reshaped(1, 128, 32)(a)), "a reshape of a reshape"),
    ],
)
def test_kinds_of_needless_layout(build: Build, reason: str) -> None:
    findings = forecast_of(build, {"a": IMAGE}).findings
    assert any(reason in f.reason for f in findings if f.rule == "ane-needless-layout")


def test_padding_is_told_in_bytes() -> None:
    found = forecast_of(*CASES["ane-last-axis"][0])
    (finding,) = [f for f in found.findings if f.rule == "ane-last-axis"]
    assert "2.3 times" in finding.reason
    assert f"{64 * 14 * (64 - 28):,} bytes more" in finding.reason


def test_padding_of_little_is_not_told() -> None:
    assert "ane-last-axis" not in rules_of(relu(1, 8, 14))


def test_an_epsilon_that_vanishes_is_told() -> None:
    findings = forecast_of(norm(1e-9), {"a": IMAGE}).findings
    assert "epsilon is zero in fp16" in {f.reason for f in findings}


def test_rules_explain_themselves() -> None:
    for rule in RULES:
        assert rule.title
        assert rule.fix
        assert any(word in rule.source for word in ("coremltools", "Apple", "community"))
        assert rule.severity in Severity
