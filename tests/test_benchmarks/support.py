"""A comparison made by hand, with everything that a document can show."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from benchmarks.figures import figures, ratio
from benchmarks.parts import Part
from benchmarks.results import Comparison, Contestant, Latency, OperatorTime, Role, Round
from care_mobile.bench.environment import ComputeUnit, Environment, Machine, RuntimeFacts
from care_mobile.bench.plan import BundleIdentity, make_plan
from care_mobile.bench.record import (
    BlockSamples,
    MeasuredBundle,
    Outcome,
    RecordKind,
    RunRecord,
)

MACHINE = Machine(
    device="desktop",
    name="host",
    os="Linux",
    os_build="6",
    architecture="x86_64",
    soc="a cpu",
    cores=2,
    virtualised=True,
)
BLOCKS = 4
Times = dict[str, float]
"""Milliseconds by what a bundle is: see `_ROLES`."""
_ROLES = {
    "ours": (Role.OURS, "care-export fp32", "fp32"),
    "int8": (Role.OURS, "care-export int8", "int8"),
    "naive": (Role.NAIVE, "published network", "fp32"),
    "other naive": (Role.NAIVE, "published network, another converter", "fp32"),
    "bound": (Role.PART, Part.POINTWISE.value, "fp32"),
}


def records(times: Times) -> dict[str, RunRecord]:
    """A session's records; block by block all slow down together, so ratios are exact."""
    names = list(times)
    plan = make_plan([BundleIdentity(name=n, integrity="0") for n in names], blocks=BLOCKS)
    return {name: _record(plan, i, name, times[name]) for i, name in enumerate(names)}


def _record(plan: Any, index: int, name: str, ms: float) -> RunRecord:
    facts = RuntimeFacts(name="r", version="1", backend="b", requested_unit=ComputeUnit.CPU)
    return RunRecord(
        kind=RecordKind.LATENCY,
        session_id="s",
        started=datetime(2026, 1, 1, tzinfo=timezone.utc),
        plan=plan,
        bundle_index=index,
        bundle=MeasuredBundle(
            name=name,
            integrity="0",
            model="m",
            target="onnx",
            precision="fp32",
            resolution="8x8",
            weights_source="random:0",
            random_weights=True,
            size_bytes=1,
        ),
        environment=Environment(machine=MACHINE, runtime=facts, tools={}),
        blocks=tuple(
            BlockSamples(number=n, start_ns=0, samples_ns=(round(ms * 1e6) * (n + 1),) * 3)
            for n in range(BLOCKS)
        ),
        outcome=Outcome.COMPLETED,
    )


def contestant(name: str, record: RunRecord, ours: RunRecord, **changes: Any) -> Contestant:
    role, summary, precision = _ROLES[name]
    median_ms = record.blocks[0].samples_ns[0] / 1e6
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
        "to_ours": ratio(record, ours),
        "samples_ns": tuple(block.samples_ns for block in record.blocks),
    }
    return Contestant(**fields | changes)


def round_of(target: str, times: Times, model: str = "care_s0", **changes: Any) -> Round:
    taken = records(times)
    measured = [
        (contestant(name, record, taken["ours"], **_facts(target, record, changes)), record)
        for name, record in taken.items()
    ]
    return Round(
        model=model,
        target=target,
        runtime="a runtime",
        version="1.0",
        session_id="s",
        contestants=tuple(entry for entry, _ in measured),
        figures=figures(target, measured),
    )


def _facts(target: str, record: RunRecord, changes: dict[str, Any]) -> dict[str, Any]:
    if target == "executorch":
        return {"partitions": 1, "outside": {}} | changes
    ms = record.blocks[0].samples_ns[0] / 1e6
    operators = (
        OperatorTime(operator="Conv, 1x1", nodes=2, ms=0.75 * ms),
        OperatorTime(operator="Gelu", nodes=1, ms=0.25 * ms),
    )
    return {"operators": operators} | changes


def comparison(*rounds: Round) -> Comparison:
    return Comparison(
        command="python -m benchmarks.compare",
        revision="abc",
        created=datetime(2026, 1, 1, tzinfo=timezone.utc),
        seconds=12.0,
        machine=MACHINE,
        tools={"python": "3.11"},
        cpu=1,
        blocks=BLOCKS,
        iterations=10,
        seed=0,
        quick=False,
        precisions=("fp32", "int8"),
        rounds=rounds,
    )
