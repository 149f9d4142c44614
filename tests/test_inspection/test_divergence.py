from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ml_programs import mb, write_package

from care_mobile.agreement import MAX_DB
from care_mobile.errors import ModelFileError, RuntimeFailure
from care_mobile.inspection.divergence import diverge

HALF = {"x": np.zeros((1, 8), np.float16)}


def squares(x: Any, factor: float = 300.0) -> Any:
    large = mb.mul(x=x, y=np.float16(factor), name="large")
    return mb.mul(x=large, y=large, name="square")


def test_against_its_own_exact_run(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = write_package(tmp_path / "squares.mlpackage", squares, HALF)
    found = diverge(path, on_operation=lambda done, total: seen.append((done, total)))
    assert found.first is not None
    assert (found.first.operation, found.first.operator) == ("square", "mul")
    assert found.first.overflows > 0
    assert seen == [(1, 2), (2, 2)]


def test_against_another_package(tmp_path: Path) -> None:
    path = write_package(tmp_path / "squares.mlpackage", squares, HALF)
    other = write_package(tmp_path / "small.mlpackage", lambda x: squares(x, 2.0), HALF)
    assert all(op.psnr_db == MAX_DB for op in diverge(path, path).operations)
    found = diverge(other, path)
    assert found.first is not None
    assert found.first.operation == "large"
    assert found.reference == "squares.mlpackage"


def test_what_cannot_be_run_on_noise(tmp_path: Path) -> None:
    whole = {"x": np.zeros((1, 8), np.int32)}
    path = write_package(tmp_path / "whole.mlpackage", lambda x: mb.add(x=x, y=1), whole)
    with pytest.raises(RuntimeFailure, match=r"input 'x' is int32\[1,8\], for which no noise"):
        diverge(path)
    with pytest.raises(ModelFileError, match=r"is not a \.mlpackage folder"):
        diverge(tmp_path / "absent")
