"""Against a counterpart with the interface that coremltools documents for `MLComputePlan`."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from forecasts import forecast_of
from ml_programs import mb

from care_mobile.coreml.compute_plan import (
    ComputeDevice,
    compare,
    compute_plan,
    read_plan,
)
from care_mobile.coreml.forecast import Forecast, Outlook
from care_mobile.errors import MissingDependencyError, RuntimeFailure


class MLCPUComputeDevice:
    pass


class MLGPUComputeDevice:
    pass


class MLNeuralEngineComputeDevice:
    pass


class Plan:
    """`preferences`: (operator, name of the first output, device or None)."""

    def __init__(self, preferences: list[tuple[str, str, Any]]) -> None:
        operations = [
            SimpleNamespace(
                operator_name=f"ios17.{operator}",
                outputs=[SimpleNamespace(name=name)],
                device=device,
            )
            for operator, name, device in preferences
        ]
        block = SimpleNamespace(operations=operations)
        program = SimpleNamespace(functions={"main": SimpleNamespace(block=block)})
        self.model_structure = SimpleNamespace(program=program)

    def get_compute_device_usage_for_mlprogram_operation(self, operation: Any) -> Any:
        if operation.device is None:
            return None
        return SimpleNamespace(
            preferred_compute_device=operation.device,
            supported_compute_devices=[MLCPUComputeDevice(), operation.device],
        )

    def get_estimated_cost_for_mlprogram_operation(self, operation: Any) -> Any:
        return SimpleNamespace(weight=0.25) if operation.device else None


@pytest.fixture
def predicted() -> Forecast:
    """Outlooks by operator: relu and exp expected, cast unlikely, gather doubtful."""

    def build(a: Any) -> Any:
        x = mb.exp(x=mb.relu(x=a, name="first"), name="second")
        x = mb.gather(x=x, indices=np.int32([0]), axis=1, name="third")
        return mb.cast(x=x, dtype="fp32", name="fourth")

    return forecast_of(build, {"a": np.zeros((1, 4, 64, 64), np.float16)})


def preferences(**devices: Any) -> list[tuple[str, str, Any]]:
    operators = {"first": "relu", "second": "exp", "third": "gather", "fourth": "cast"}
    return [(operators[name], name, device) for name, device in devices.items()]


def test_a_plan_is_read() -> None:
    plan = read_plan(Plan([("relu", "y", MLGPUComputeDevice()), ("const", "c", None)]), "ALL")
    relu, const = plan.operations
    assert (relu.operator, relu.operation) == ("relu", "y")
    assert relu.preferred is ComputeDevice.GPU
    assert relu.supported == (ComputeDevice.CPU, ComputeDevice.GPU)
    assert relu.weight == 0.25
    assert (const.preferred, const.supported, const.weight) == (None, (), None)
    assert plan.compute_units == "ALL"


def test_a_forecast_that_came_true(predicted: Forecast) -> None:
    engine, cpu = MLNeuralEngineComputeDevice(), MLCPUComputeDevice()
    given = preferences(first=engine, second=engine, third=cpu, fourth=cpu)
    found = compare(predicted, read_plan(Plan(given), "ALL"))
    assert found.agreeing == 3  # the doubtful one neither agrees nor differs
    assert found.differences == ()
    assert found.unmatched == ()
    assert found.devices == {
        ComputeDevice.NEURAL_ENGINE: 2,
        ComputeDevice.GPU: 0,
        ComputeDevice.CPU: 2,
    }


def test_where_they_differ(predicted: Forecast) -> None:
    engine = MLNeuralEngineComputeDevice()
    given = preferences(first=MLGPUComputeDevice(), second=engine, fourth=engine)
    found = compare(predicted, read_plan(Plan(given), "ALL"))
    assert [(d.operation, d.forecast, d.preferred) for d in found.differences] == [
        ("first", Outlook.EXPECTED, ComputeDevice.GPU),
        ("fourth", Outlook.UNLIKELY, ComputeDevice.NEURAL_ENGINE),
    ]
    assert found.agreeing == 1
    assert found.unmatched == ("third",)


@pytest.mark.skipif(sys.platform == "darwin", reason="works there")
def test_elsewhere_it_says_so() -> None:
    with pytest.raises(MissingDependencyError, match="macOS only"):
        compute_plan(Path("model.mlpackage"))


def stub_coremltools(monkeypatch: pytest.MonkeyPatch, plan: Plan) -> list[Any]:
    """As if on a Mac, with coremltools' documented calls; what they were given."""
    calls: list[Any] = []

    def model(path: str, compute_units: Any) -> Any:
        calls.append((path, compute_units))
        return SimpleNamespace(get_compiled_model_path=lambda: "model.mlmodelc")

    def load_from_path(path: str, units: Any) -> Plan:
        calls.append((path, units))
        return plan

    modules = {
        "coremltools": SimpleNamespace(
            ComputeUnit={"CPU_AND_NE": "units"}, models=SimpleNamespace(MLModel=model)
        ),
        "coremltools.models.compute_plan": SimpleNamespace(
            MLComputePlan=SimpleNamespace(load_from_path=load_from_path)
        ),
    }
    monkeypatch.setattr("care_mobile.coreml.compute_plan.platform.system", lambda: "Darwin")
    monkeypatch.setattr("care_mobile.coreml.compute_plan.load", lambda name, extra: modules[name])
    return calls


def test_the_calls_on_a_mac(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan([("relu", "y", MLNeuralEngineComputeDevice())])
    calls = stub_coremltools(monkeypatch, plan)
    found = compute_plan(Path("model.mlpackage"))
    assert found.operations[0].preferred is ComputeDevice.NEURAL_ENGINE
    assert calls == [("model.mlpackage", "units"), ("model.mlmodelc", "units")]


def test_core_mls_refusal_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    stub_coremltools(monkeypatch, Plan([]))
    with pytest.raises(RuntimeFailure, match=r"makes no plan for model\.mlpackage"):
        compute_plan(Path("model.mlpackage"), "NO_SUCH_UNITS")
