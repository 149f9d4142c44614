"""A comparison made by hand, with everything that a document can show."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from test_bench.sessions import cell_of, machine_of, plan_of, session_of

from benchmarks.figures import figures, ratio
from benchmarks.measuring import Taken, samples_ns
from benchmarks.parts import Part
from benchmarks.results import Comparison, Contest, Contestant, Latency, OperatorTime, Role
from care_mobile.bench.protocol.plan import Cell

MACHINE = machine_of(soc="a cpu", cores=2, os="Linux")
LAUNCHES, BLOCKS = 4, 2
Times = dict[str, float]
"""Milliseconds by what a bundle is: see `_ROLES`."""
_ROLES = {
    "ours": (Role.OURS, "care-export fp32", "fp32"),
    "int8": (Role.OURS, "care-export int8", "int8"),
    "naive": (Role.NAIVE, "published network", "fp32"),
    "other naive": (Role.NAIVE, "published network, another converter", "fp32"),
    "bound": (Role.PART, Part.POINTWISE.value, "fp32"),
}


def take(times: Times, slow: dict[str, tuple[float, ...]] | None = None) -> dict[str, Taken]:
    """The cells of a session; round by round all slow down together, so ratios are exact, but for
    factors in `slow`, by round."""
    names = list(times)
    plan = plan_of([_cell(i, name) for i, name in enumerate(names)], rounds=LAUNCHES, blocks=BLOCKS)

    def latencies(number: int, block: int, cell: int) -> int:
        factors = (slow or {}).get(names[cell], ())
        factor = factors[number] if number < len(factors) else 1.0
        return round(times[names[cell]] * 1e6 * (number + 1) * factor)

    session = session_of(plan, latencies)
    return {name: Taken(session, i) for i, name in enumerate(names)}


def _cell(index: int, name: str) -> Cell:
    cell = cell_of(index)
    return cell.model_copy(update={"bundle": cell.bundle.model_copy(update={"name": name})})


def contestant(name: str, own: Taken, ours: Taken, **changes: Any) -> Contestant:
    role, summary, precision = _ROLES[name]
    median_ms = _first_ms(own)
    fields: dict[str, Any] = {
        "name": name,
        "role": role,
        "summary": summary,
        "precision": precision,
        "size_bytes": 250_000 if precision == "int8" else 1_000_000,
        "export_seconds": 1.0,
        "operations": 3,
        "census": {"Conv": 2, "Gelu": 1},
        "partitions": None,
        "outside": {},
        "parity": "verified",
        "psnr_db": 120.0 if role is Role.OURS else None,
        "latency": Latency(median_ms=median_ms, p10_ms=median_ms, p90_ms=median_ms),
        "to_ours": ratio(own, ours),
        "samples_ns": samples_ns(own),
    }
    return Contestant(**fields | changes)


def contest_of(target: str, times: Times, model: str = "care_s0", **changes: Any) -> Contest:
    taken = take(times)
    measured = [
        (contestant(name, own, taken["ours"], **_facts(target, own, changes)), own)
        for name, own in taken.items()
    ]
    return Contest(
        model=model,
        target=target,
        runtime="a runtime",
        version="1.0",
        session_id="s",
        contestants=tuple(entry for entry, _ in measured),
        figures=figures(target, measured),
    )


def _first_ms(own: Taken) -> float:
    return samples_ns(own)[0][0][0] / 1e6


def _facts(target: str, own: Taken, changes: dict[str, Any]) -> dict[str, Any]:
    if target == "executorch":
        return {"partitions": 1, "outside": {}} | changes
    ms = _first_ms(own)
    operators = (
        OperatorTime(operator="Conv, 1x1", nodes=2, ms=0.75 * ms),
        OperatorTime(operator="Gelu", nodes=1, ms=0.25 * ms),
    )
    return {"operators": operators} | changes


def comparison(*contests: Contest) -> Comparison:
    return Comparison(
        command="python -m benchmarks.compare",
        revision="abc",
        created=datetime(2026, 1, 1, tzinfo=timezone.utc),
        seconds=12.0,
        machine=MACHINE,
        tools={"python": "3.11"},
        cpu=1,
        launches=LAUNCHES,
        blocks=BLOCKS,
        iterations=10,
        seed=0,
        quick=False,
        precisions=("fp32", "int8"),
        contests=contests,
    )
