"""Whether a figure is reached is computed from samples."""

from __future__ import annotations

import pytest

from benchmarks.figures import figures, ratio
from benchmarks.results import Figure, Verdict

from .support import contest_of, contestant, take

GOOD = {"ours": 1.0, "naive": 2.2, "other naive": 3.0, "bound": 0.8, "int8": 0.5}


def by_title(found: tuple[Figure, ...], start: str) -> Figure:
    return next(figure for figure in found if figure.title.startswith(start))


def test_all_figures_of_both_runtimes_can_be_reached() -> None:
    for target in ("onnx", "executorch"):
        verdicts = {f.title: f.verdict for f in contest_of(target, GOOD).figures}
        assert set(verdicts.values()) == {Verdict.REACHED}, verdicts


@pytest.mark.parametrize(
    ("target", "times", "title", "value"),
    [
        ("executorch", {"naive": 1.2}, "fp32: naive", 1.2),
        # The best naive export counts, not the slowest.
        ("onnx", {"naive": 1.05}, "fp32: best naive", 1.05),
        ("onnx", {"bound": 0.5}, "fp32: our time over the bound", 2.0),
        ("onnx", {"int8": 0.8}, "int8: our fp32", 1.25),
        ("onnx", {"int8": 1.5}, "int8: best naive", 2.2 / 1.5),
    ],
)
def test_a_figure_that_is_missed(
    target: str, times: dict[str, float], title: str, value: float
) -> None:
    figure = by_title(contest_of(target, GOOD | times).figures, title)
    assert figure.verdict is Verdict.MISSED
    assert figure.value is not None
    assert figure.value.value == pytest.approx(value)


@pytest.mark.parametrize(
    ("changes", "title"),
    [
        ({"partitions": 2}, "fp32: XNNPACK partitions"),
        ({"outside": {"aten::mean.out": 1}}, "fp32: operations outside"),
        ({"size_bytes": 5}, "int8: size"),
    ],
)
def test_counts_are_exact(changes: dict[str, object], title: str) -> None:
    assert by_title(contest_of("executorch", GOOD, **changes).figures, title).verdict is (
        Verdict.MISSED
    )


def test_without_int8_its_figures_are_not_measured() -> None:
    without = {name: ms for name, ms in GOOD.items() if name != "int8"}
    found = [f.verdict for f in contest_of("onnx", without).figures if f.title.startswith("int8")]
    assert found == [Verdict.NOT_MEASURED] * 3


def test_an_interval_that_holds_the_limit_decides_nothing() -> None:
    times = {"ours": 1.0, "naive": 1.1, "bound": 0.9}
    taken = take(times, slow={"naive": (1.8, 0.7)})
    measured = [(contestant(name, own, taken["ours"]), own) for name, own in taken.items()]
    figure = by_title(figures("onnx", measured), "fp32: best naive")
    interval = ratio(taken["naive"], taken["ours"])
    assert interval.low is not None
    assert interval.high is not None
    assert interval.low < 1.1 < interval.high
    assert figure.verdict is Verdict.UNCERTAIN
