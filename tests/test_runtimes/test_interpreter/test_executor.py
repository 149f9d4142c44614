from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from ml_programs import interpret, mb, package

from care_mobile.coreml import Named, TensorType
from care_mobile.errors import RuntimeFailure, UsageError
from care_mobile.runtimes.interpreter import KERNELS, Interpreter, Numerics

X = np.array([[1.0, -2.0, 3.0]], np.float32)


def test_outputs_come_by_name_and_in_order() -> None:
    opened = package(lambda x: (mb.relu(x=x, name="positive"), mb.abs(x=x, name="size")), {"x": X})
    results = Interpreter(opened).run({"x": X})
    assert list(results) == ["positive", "size"]
    assert results["positive"].tolist() == [[1.0, 0.0, 3.0]]
    assert results["size"].tolist() == [[1.0, 2.0, 3.0]]


def test_a_value_used_late_and_an_unused_one() -> None:
    def build(x: object) -> object:
        early = mb.relu(x=x)
        mb.abs(x=x)  # nobody reads it
        late = mb.add(x=mb.add(x=early, y=1.0), y=2.0)
        return mb.mul(x=late, y=early)

    assert interpret(build, {"x": X}).tolist() == [[4.0, 0.0, 18.0]]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"y": X}, r"takes inputs \['x'\], got \['y'\]"),
        ({}, r"takes inputs \['x'\], got \[\]"),
        ({"x": X[0]}, r"input 'x' has shape \(3,\), not fp32\[1,3\]"),
        ({"x": X.astype(np.complex64)}, "input 'x' is complex64, not fp32"),
        ({"x": np.array([["a", "b", "c"]])}, "input 'x' is <U1, not fp32"),
    ],
)
def test_wrong_inputs(inputs: dict[str, np.ndarray], message: str) -> None:
    opened = package(lambda x: mb.relu(x=x), {"x": X})
    with pytest.raises(UsageError, match=message):
        Interpreter(opened).run(inputs)


def test_an_unknown_operator_is_named_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = package(lambda x: mb.relu(x=mb.abs(x=x), name="y"), {"x": X})
    monkeypatch.delitem(KERNELS, "relu")
    with pytest.raises(RuntimeFailure) as caught:
        Interpreter(opened)
    assert "does not know the operator 'relu', which computes 'y' (operation 1 of 2)" in str(
        caught.value
    )
    assert caught.value.exit_code == 5


def test_an_operation_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = package(lambda x: mb.relu(x=x, name="y"), {"x": X})
    monkeypatch.setitem(KERNELS, "relu", lambda arguments: 1 / 0)
    with pytest.raises(RuntimeFailure, match="relu 'y' cannot be run: ZeroDivisionError"):
        Interpreter(opened).run({"x": X})
    monkeypatch.setitem(KERNELS, "relu", lambda arguments: X[0])
    with pytest.raises(RuntimeFailure, match=r"relu 'y' gave shape \(3,\), declared is fp32\[1,3"):
        Interpreter(opened).run({"x": X})


def test_declared_types_round_every_result() -> None:
    x = np.array([1.0, 1.0], np.float16)
    half, twice = interpret(
        lambda x: (mb.mul(x=x, y=np.float16(1 / 3)), mb.exp(x=x)), {"x": x}, Numerics.DECLARED
    )
    assert half[0] == np.float16(1 / 3)
    assert twice[0] == np.float16(np.e)
    exact = interpret(lambda x: mb.exp(x=x), {"x": x}, Numerics.EXACT)
    assert exact.dtype == np.float64
    assert exact[0] == pytest.approx(np.e, rel=1e-15)


def test_overflow_becomes_infinity_and_pessimism_flushes() -> None:
    x = np.array([300.0, 2.0**-9], np.float16)

    def square(x: object) -> object:
        return mb.mul(x=x, y=x)

    assert interpret(square, {"x": x}, Numerics.DECLARED).tolist() == [np.inf, 2.0**-18]
    assert interpret(square, {"x": x}, Numerics.PESSIMISTIC).tolist() == [np.inf, 0.0]
    assert interpret(square, {"x": x}, Numerics.EXACT).tolist() == [90000.0, 2.0**-18]


def test_pessimism_flushes_inputs_and_constants_too() -> None:
    x = np.array([2.0**-15, 1.0], np.float16)
    small = np.float16(2.0**-16)
    declared = interpret(lambda x: mb.add(x=x, y=small), {"x": x}, Numerics.DECLARED)
    assert declared[0] == 2.0**-15 + 2.0**-16
    flushed = interpret(lambda x: mb.add(x=x, y=small), {"x": x}, Numerics.PESSIMISTIC)
    assert flushed[0] == 0.0


def test_an_operation_kept_in_fp32_is_not_rounded() -> None:
    x = np.array([1.0], np.float16)
    opened = package(lambda x: mb.exp(x=x, name="y"), {"x": x})
    kept = Interpreter(opened, Numerics.DECLARED, frozenset({"y"})).run({"x": x})["y"]
    assert kept[0] == np.exp(np.float32(1.0)) != np.float16(np.e)


def test_sums_inside_an_operation_stay_in_fp32() -> None:
    x = np.ones((1, 4096), np.float16)
    weight = np.full((1, 4096), 0.5, np.float16)
    weight[0, 0] = 2048.0
    # In fp16 the sum would stop at 2048: half of one is lost beside it.
    result = interpret(
        lambda x: mb.linear(x=x, weight=mb.const(val=weight)), {"x": x}, Numerics.DECLARED
    )
    assert result.item() == np.float16(2048 + 4095 / 2)


def test_a_result_no_memory_holds_is_refused_first() -> None:
    opened = package(
        lambda x: mb.fill(shape=np.array([65536, 65536]), value=1.0, name="huge"), {"x": X}
    )
    with pytest.raises(RuntimeFailure, match="fill 'huge' claims a result of fp32"):
        Interpreter(opened)


def test_infinity_as_an_integer_saturates() -> None:
    x = np.array([1e20, -1e20, np.nan, 1.9, -1.9], np.float32)
    result = interpret(lambda x: mb.cast(x=x, dtype="int32"), {"x": x})
    assert result.tolist() == [2**31 - 1, -(2**31), 0, 1, -1]


def test_a_type_without_arithmetic_is_refused() -> None:
    opened = package(lambda x: mb.relu(x=x, name="y"), {"x": X})
    operation = opened.main.operations[0]
    brain = dataclasses.replace(operation, outputs=(Named("y", TensorType("bf16", (1, 3))),))
    main = dataclasses.replace(opened.main, operations=(brain,))
    with pytest.raises(RuntimeFailure, match=r"relu 'y' gives bf16\[1,3\], a type the interpreter"):
        Interpreter(dataclasses.replace(opened, main=main))
