"""Operators by kind, from profiler events."""

from __future__ import annotations

from benchmarks.operators import kind_of, summarize
from benchmarks.results import OperatorTime


def event(name: str, operator: str, microseconds: int, *shapes: list[int]) -> dict[str, object]:
    typed = [{"float": shape} for shape in shapes]
    arguments = {"op_name": operator, "input_type_shape": typed}
    return {"cat": "Node", "name": name, "dur": microseconds, "args": arguments}


def test_medians_of_the_last_runs_are_summed_by_kind() -> None:
    events = [
        *(event("a", "Gelu", us, [1, 8]) for us in (900, 10, 12, 14)),
        *(event("b", "Gelu", us, [1, 8]) for us in (900, 1, 2, 3)),
        *(event("c", "Add", us, [1, 8]) for us in (900, 5, 5, 50)),
    ]
    assert summarize(events, runs=3) == (
        OperatorTime(operator="Gelu", nodes=2, ms=0.014),
        OperatorTime(operator="Add", nodes=1, ms=0.005),
    )


def test_convolutions_by_the_shape_of_their_weights() -> None:
    def kind(weights: list[int], operator: str = "Conv") -> str:
        return kind_of(operator, [{"float": [1, 32, 7, 7]}, {"float": weights}, {"float": [32]}])

    assert kind([64, 32, 1, 1]) == "Conv, 1x1"
    assert kind([32, 1, 11, 1]) == "Conv, depthwise"
    assert kind([32, 32, 2, 2]) == "Conv, 2x2"
    assert kind([32, 32, 2, 2], "MatMul") == "MatMul"
    scales: list[dict[str, list[int]]] = [{"uint8": [1, 8, 7, 7]}, {"float": []}, {"uint8": []}]
    assert kind_of("QLinearConv", [*scales, {"int8": [8, 8, 1, 1]}]) == "QLinearConv, 1x1"
