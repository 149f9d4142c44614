from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from converted import converted, picture
from ml_programs import mb, package
from torch import Tensor, nn

from care_mobile.agreement import MAX_DB
from care_mobile.errors import RuntimeFailure
from care_mobile.runtimes.interpreter import Numerics
from care_mobile.runtimes.interpreter.divergence import against_exact, between, consumers
from care_mobile.runtimes.interpreter.half_precision import half_precision


def overflowing(x: Any) -> Any:
    """exp, then a square that leaves fp16's range for x = 8, then a quotient."""
    grown = mb.exp(x=x, name="grown")
    square = mb.mul(x=grown, y=grown, name="square")
    return mb.real_div(x=square, y=mb.add(x=square, y=np.float16(1.0), name="more"), name="out")


INPUTS = {"x": np.array([[0.5, 1.0, 8.0]], np.float16)}


def test_overflow_is_found_where_it_happens() -> None:
    found = against_exact(package(overflowing, INPUTS), INPUTS)
    assert [entry.operation for entry in found.operations] == ["grown", "square", "more", "out"]
    grown, square, more, out = found.operations
    assert grown.psnr_db > 60
    assert (grown.overflows, grown.nans) == (0, 0)
    assert grown.largest == pytest.approx(np.exp(8.0))
    assert square.overflows == 1
    assert square.psnr_db == square.alone_psnr_db == -MAX_DB
    assert square.largest == pytest.approx(np.exp(16.0))
    assert more.alone_psnr_db == -MAX_DB, "its input is out of range too"
    assert out.nans == 1, "infinity by infinity"
    assert found.first == square
    assert found.worst(1)[0].operation == "square"


def test_subnormals_and_underflow_are_counted() -> None:
    inputs = {"x": np.array([[2.0**-8, 2.0**-12, 1.0]], np.float16)}
    opened = package(lambda x: mb.mul(x=x, y=np.float16(2.0**-13), name="small"), inputs)
    declared = against_exact(opened, inputs).operations[0]
    assert (declared.subnormals, declared.underflows) == (1 + 1, 1)
    flushed = against_exact(opened, inputs, Numerics.PESSIMISTIC).operations[0]
    assert (flushed.subnormals, flushed.underflows) == (2, 2)


def test_an_error_shows_later_but_is_blamed_on_its_maker() -> None:
    """1 + x - 1 for small x: the sum loses the digits, the difference shows it."""
    inputs = {"x": np.full((1, 4), 1e-3, np.float16) * np.arange(1, 5, dtype=np.float16)}
    opened = package(
        lambda x: mb.sub(
            x=mb.add(x=x, y=np.float16(1.0), name="sum"), y=np.float16(1.0), name="difference"
        ),
        inputs,
    )
    total, difference = against_exact(opened, inputs).operations
    assert total.psnr_db > 60 > difference.psnr_db
    found = half_precision(opened, [inputs], count=2)
    advised = [c.divergence.operation for c in found.worst if c.keep_fp32]
    assert advised == ["sum"]
    candidate = next(c for c in found.worst if c.keep_fp32)
    assert candidate.consumers == ("difference",)
    assert found.kept_psnr_db >= found.output_psnr_db + candidate.gain_db - 0.01


def test_nothing_is_advised_where_nothing_helps() -> None:
    inputs = {"x": np.linspace(-1, 1, 64, dtype=np.float16)}
    opened = package(lambda x: mb.tanh(x=mb.relu(x=x)), inputs)
    found = half_precision(opened, [inputs])
    assert not any(candidate.keep_fp32 for candidate in found.worst)
    assert found.kept_psnr_db == found.output_psnr_db
    assert found.first is None


def test_consumers() -> None:
    opened = package(overflowing, INPUTS)
    assert consumers(opened, "square") == ("more", "out")
    assert consumers(opened, "out") == ()


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.conv(x)).mean((2, 3))


def test_two_packages_are_matched_by_name(tmp_path: Path) -> None:
    image = picture(16, 16)
    network = Small().eval()
    single, half = (converted(network, image, tmp_path, fp16) for fp16 in (False, True))
    found = between(single, half, {"image": image})
    assert {"conv", "sigmoid"} <= {entry.operator for entry in found.operations}
    assert all(50 < entry.psnr_db < MAX_DB for entry in found.operations)
    assert all(entry.alone_psnr_db is None for entry in found.operations)
    same = between(single, single, {"image": image})
    assert all(entry.psnr_db == MAX_DB for entry in same.operations)


def test_unrelated_packages_are_refused() -> None:
    inputs = {"x": np.ones((2,), np.float32)}
    first = package(lambda x: mb.relu(x=x, name="a"), inputs)
    second = package(lambda x: mb.relu(x=x, name="b"), inputs)
    with pytest.raises(RuntimeFailure, match="no results of the same name"):
        between(first, second, inputs)
