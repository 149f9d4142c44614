"""What Core ML itself decides, on macOS, and where a forecast differs from it.

coremltools documents `MLComputePlan`: for each operation of a compiled model the device that the
framework prefers and those it could use. Never run on a Mac by us: it is tested against a
counterpart with the documented interface.
"""

from __future__ import annotations

import platform
from collections import Counter
from enum import Enum
from pathlib import Path
from typing import Any

from ..errors import MissingDependencyError, RuntimeFailure
from ..frozen import Frozen
from ..requirements import load
from .forecast import Forecast, Outlook


class ComputeDevice(str, Enum):
    NEURAL_ENGINE = "neural engine"
    GPU = "gpu"
    CPU = "cpu"


_DEVICES = {
    "MLNeuralEngineComputeDevice": ComputeDevice.NEURAL_ENGINE,
    "MLGPUComputeDevice": ComputeDevice.GPU,
    "MLCPUComputeDevice": ComputeDevice.CPU,
}
"""coremltools' class of a device."""


class PlannedOperation(Frozen):
    """`preferred` is None where Core ML does not say, of constants for example.

    Attributes:
        operation: name of its first output.
        weight: its share of the estimated cost, 0 to 1; None if not estimated.
    """

    operation: str
    operator: str
    preferred: ComputeDevice | None
    supported: tuple[ComputeDevice, ...] = ()
    weight: float | None = None


class ComputePlan(Frozen):
    """The plan for one model on one Mac with one choice of compute units."""

    compute_units: str
    operations: tuple[PlannedOperation, ...]


class Difference(Frozen):
    """An operation whose forecast did not come true."""

    operation: str
    operator: str
    forecast: Outlook
    preferred: ComputeDevice


class Comparison(Frozen):
    """A forecast beside the truth.

    Attributes:
        devices: operations by preferred device.
        agreeing: operations whose forecast came true; doubtful ones neither do nor do not.
        differences: expected there but planned elsewhere, or unlikely but planned there.
        unmatched: operations of the forecast that the plan does not name: Core ML has fused or
            renamed them.
    """

    devices: dict[ComputeDevice, int]
    agreeing: int
    differences: tuple[Difference, ...]
    unmatched: tuple[str, ...]


def compute_plan(path: Path, compute_units: str = "CPU_AND_NE") -> ComputePlan:
    """Ask Core ML for its plan; macOS 14.4 or later.

    Args:
        path: a `.mlpackage` folder.
        compute_units: name of a member of coremltools' `ComputeUnit`.

    Raises:
        MissingDependencyError: if this is no Mac, or coremltools is missing.
        RuntimeFailure: if Core ML refuses the model.
    """
    if platform.system() != "Darwin":
        raise MissingDependencyError(
            "a compute plan needs Apple's Core ML framework, which runs on macOS only",
            "run this on a Mac; elsewhere there is the forecast",
        )
    coremltools: Any = load("coremltools", "export")
    plans: Any = load("coremltools.models.compute_plan", "export")
    try:
        units = coremltools.ComputeUnit[compute_units]
        model = coremltools.models.MLModel(str(path), compute_units=units)
        plan = plans.MLComputePlan.load_from_path(model.get_compiled_model_path(), units)
        return read_plan(plan, compute_units)
    except Exception as error:  # the framework's errors have no common class
        raise RuntimeFailure(f"Core ML makes no plan for {path.name}: {error}") from error


def read_plan(plan: Any, compute_units: str) -> ComputePlan:
    """The content of coremltools' `MLComputePlan` of an ML Program with one function, `main`."""
    operations = plan.model_structure.program.functions["main"].block.operations
    return ComputePlan(
        compute_units=compute_units,
        operations=tuple(_planned(plan, operation) for operation in operations),
    )


def compare(forecast: Forecast, plan: ComputePlan) -> Comparison:
    """The forecast beside the plan, operation by operation."""
    planned = {operation.operation: operation for operation in plan.operations}
    devices: Counter[ComputeDevice] = Counter()
    agreeing, differences, unmatched = 0, [], []
    for expected in forecast.operations:
        if expected.outlook is Outlook.NEUTRAL:
            continue
        found = planned.get(expected.operation)
        if found is None or found.preferred is None:
            unmatched.append(expected.operation)
            continue
        devices[found.preferred] += 1
        if expected.outlook is Outlook.DOUBTFUL:
            continue
        there = found.preferred is ComputeDevice.NEURAL_ENGINE
        if there == (expected.outlook is Outlook.EXPECTED):
            agreeing += 1
        else:
            differences.append(
                Difference(
                    operation=expected.operation,
                    operator=expected.operator,
                    forecast=expected.outlook,
                    preferred=found.preferred,
                )
            )
    return Comparison(
        devices={device: devices[device] for device in ComputeDevice},
        agreeing=agreeing,
        differences=tuple(differences),
        unmatched=tuple(unmatched),
    )


def _planned(plan: Any, operation: Any) -> PlannedOperation:
    usage = plan.get_compute_device_usage_for_mlprogram_operation(operation)
    cost = plan.get_estimated_cost_for_mlprogram_operation(operation)
    outputs = operation.outputs
    supported = [_device(d) for d in usage.supported_compute_devices] if usage else []
    return PlannedOperation(
        operation=outputs[0].name if outputs else operation.operator_name,
        # Compiled programs put the opset before the operator: ios17.conv.
        operator=operation.operator_name.rpartition(".")[2],
        preferred=_device(usage.preferred_compute_device) if usage else None,
        supported=tuple(device for device in supported if device),
        weight=cost.weight if cost else None,
    )


def _device(device: Any) -> ComputeDevice | None:
    return _DEVICES.get(type(device).__name__)
