from __future__ import annotations

import pytest

from care_mobile import errors
from care_mobile.errors import CareError, UsageError, unknown_name

CODES = {
    "CareError": 1,
    "OutputError": 1,
    "TargetError": 1,
    "UsageError": 2,
    "CheckpointError": 2,
    "ModelFileError": 2,
    "ModelError": 2,
    "DelegationError": 2,
    "EquivalenceError": 3,
    "ParityError": 3,
    "BundleError": 5,
    "MissingDependencyError": 5,
    "RuntimeFailure": 5,
}


def test_exit_codes_are_the_contract() -> None:
    found = {
        name: value.exit_code
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, CareError)
    }
    assert found == CODES
    assert errors.INTERRUPTED == 130


def test_messages_and_hints_are_one_line() -> None:
    error = CareError("a long\n  tale\tof woe\n", "do\nthis")
    assert (str(error), error.hint) == ("a long tale of woe", "do this")
    assert CareError("short").hint == ""


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("onnxs", "did you mean onnx?"),
        ("ONNX", "did you mean onnx?"),
        ("coreml2", "did you mean coreml?"),
        ("tflite", "known: coreml, executorch, onnx"),
        ("", "known: coreml, executorch, onnx"),
    ],
)
def test_unknown_names_get_the_nearest_or_all(name: str, hint: str) -> None:
    error = unknown_name("target", name, ["onnx", "coreml", "executorch"])
    assert isinstance(error, UsageError)
    assert str(error) == f"unknown target {name!r}"
    assert error.hint == hint


def test_several_near_names() -> None:
    assert unknown_name("model", "care_s", ["care_s0", "care_s1"]).hint in (
        "did you mean care_s0 or care_s1?",
        "did you mean care_s1 or care_s0?",
    )


def test_a_message_has_an_end() -> None:
    error = CareError("n" * 100_000, "h" * 100_000)
    assert len(str(error)) == len(error.hint) == 1500
