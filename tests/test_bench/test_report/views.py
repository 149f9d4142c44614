"""Views made by hand: one per state that a report can be in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from care_mobile.bench.protocol.events import Machine, Reality
from care_mobile.bench.protocol.plan import BundleFacts, LoadKind, Role, Unit
from care_mobile.bench.protocol.record import DeviceReference, RecordKind, RoundStatus
from care_mobile.bench.report.view import (
    AnswerState,
    AnswersView,
    ConclusionView,
    FailureView,
    FindingView,
    LatencyView,
    LoadView,
    MemoryView,
    PacedView,
    RatioView,
    Relation,
    RoundMedian,
    RoundView,
    RowView,
    SessionView,
    SkippedView,
    StretchView,
    SustainedView,
    WarmUpView,
)
from care_mobile.bench.validity import Severity

MACHINE = Machine(
    model="workstation",
    reality=Reality.VIRTUAL,
    os="Linux 6.1",
    os_build="6.1.0-18",
    architecture="x86_64",
    soc="Example CPU 3.0 GHz",
    cores=2,
    memory_bytes=8_000_000_000,
)


def latency(median_ns: int, samples: int = 5000, **changes: Any) -> LatencyView:
    medians = [median_ns * factor // 1000 for factor in (990, 1000, 1012, 997, 1004)]
    found = LatencyView(
        measured=True,
        median_ns=median_ns,
        low_ns=median_ns * 985 // 1000,
        high_ns=median_ns * 1015 // 1000,
        p10_ns=median_ns * 97 // 100,
        p90_ns=median_ns * 104 // 100,
        p99_ns=median_ns * 13 // 10 if samples >= 1000 else None,
        min_ns=median_ns * 96 // 100,
        samples=samples,
        rounds=tuple(
            RoundMedian(round=n, replicate=n, median_ns=value) for n, value in enumerate(medians)
        ),
    )
    return found.model_copy(update=changes)


def row(index: int, label: str, **changes: Any) -> RowView:
    found = RowView(
        index=index,
        id=f"c{index}",
        label=label,
        role=Role.NONE,
        bundle=BundleFacts(
            name=label[:200],
            content_sha256=f"{index:x}".zfill(64),
            model="CARE-S0",
            target="onnx",
            precision="fp32",
            resolution="224x224",
            weights_source="random:0",
            random_weights=True,
            size_bytes=29_300_000,
        ),
        engine="onnxruntime",
        engine_version="1.22.0",
        backend="CPUExecutionProvider",
        unit_asked=Unit.CPU,
        unit_observed=Unit.CPU,
        threads_asked=1,
        threads_observed=1,
        cores_asked=None,
        cores_observed=None,
        placement=None,
        valid=True,
        rank=index + 1,
        latency=latency(10_000_000),
        ratio=reference(0),
        loads=(load(LoadKind.COLD, 61_000_000), load(LoadKind.CACHED, 42_500_000)),
        memory=MemoryView(alone_bytes=151_200_000, growth_bytes=40_000_000, peak_bytes=200_000_000),
        warm_up=WarmUpView(rounds=5, steady=5, first_ns=12_000_000),
        paced=None,
        sustained=None,
        single_stream=None,
        told=(),
        answers=AnswersView(
            state=AnswerState.VERIFIED, judged=10, wrong=0, worst_psnr_db=121.4, partial=False
        ),
        failures=(),
    )
    return found.model_copy(update=changes)


def load(kind: LoadKind, median_ns: int) -> LoadView:
    return LoadView(
        kind=kind,
        loads=3,
        median_ns=median_ns,
        min_ns=median_ns * 9 // 10,
        max_ns=median_ns * 12 // 10,
        compile_ns=None,
    )


def reference(index: int) -> RatioView:
    return RatioView(
        reference=index,
        relation=Relation.REFERENCE,
        ratio=1.0,
        low=None,
        high=None,
        replicates=(),
        paired=None,
        load_sd=None,
    )


def ratio(relation: Relation, low: float, middle: float, high: float) -> RatioView:
    return RatioView(
        reference=0,
        relation=relation,
        ratio=middle,
        low=low,
        high=high,
        replicates=(low, middle, middle, middle, high),
        paired="block",
        load_sd=0.02,
    )


def session(rows: Sequence[RowView], conclusion: ConclusionView, **changes: Any) -> SessionView:
    found = SessionView(
        session="20260102T030405Z-00c0ffee",
        started="2026-01-02T03:04:05Z",
        kind=RecordKind.LATENCY,
        device=DeviceReference(kind="desktop"),
        machine=MACHINE,
        harness="care-mobile 0.1.0 (python)",
        preset="default",
        seed=7,
        rounds_completed=5,
        rounds_planned=5,
        blocks_accepted=50,
        blocks_rejected=0,
        rejected={},
        waited_ns=0,
        resumed=0,
        complete=True,
        ended="",
        margin=0.03,
        lacks=(),
        origin="",
        rows=tuple(rows),
        findings=(),
        lost=(),
        skipped=(),
        passed_over=(),
        conclusion=conclusion,
        record="records/20260102T030405Z-00c0ffee.jsonl",
    )
    return found.model_copy(update=changes)


def _said(code: str, text: str, *rows: int) -> ConclusionView:
    return ConclusionView.model_validate({"code": code, "text": text, "rows": rows})


def different() -> SessionView:
    slower = ratio(Relation.SLOWER, 1.05, 1.09, 1.13)
    paced = PacedView(
        interval_ns=33_333_333,
        median_ns=11_200_000,
        p90_ns=12_000_000,
        samples=300,
        late_share=0.013,
        overrun_share=0.0,
    )
    sustained = SustainedView(
        round=1,
        duration_ns=60_000_000_000,
        first_ns=10_000_000,
        last_ns=12_100_000,
        slowdown=1.21,
        samples=5800,
        curve=(StretchView(at_ns=500_000_000, median_ns=10_000_000),),
    )
    return session(
        [
            row(0, "care-s0-onnx-fp16", paced=paced, sustained=sustained),
            row(1, "care-s0-onnx-fp32", latency=latency(10_900_000), ratio=slower),
        ],
        _said(
            "differs",
            "care-s0-onnx-fp16 ran 1.09 [1.05, 1.13] times faster than care-s0-onnx-fp32.",
            0,
            1,
        ),
        blocks_rejected=2,
        rejected={"control-drift": 1, "thermal": 1},
        waited_ns=30_000_000_000,
        resumed=1,
        findings=(
            FindingView(
                code="machine-busy",
                severity=Severity.WARNING,
                detail="load 1.8 on 2 cores",
                rows=(),
                rounds=(1, 3),
            ),
        ),
        skipped=(
            SkippedView(
                name="care-s0-coreml-fp16", reason="needs a Mac", remedy="run this on a Mac"
            ),
        ),
        passed_over=(SkippedView(name="bundles/README.md", reason="it is a file"),),
    )


def equal() -> SessionView:
    return session(
        [
            row(0, "copy (1)", rank=1),
            row(1, "copy (2)", rank=1, ratio=ratio(Relation.EQUAL, 0.984, 1.004, 1.021)),
        ],
        _said(
            "equal", "copy (1) and copy (2) do not differ: 1.00 [0.98, 1.02], within ±3 %.", 0, 1
        ),
    )


def unclear() -> SessionView:
    return session(
        [
            row(0, "A", rank=1),
            row(1, "B", rank=1, ratio=ratio(Relation.UNCLEAR, 0.93, 1.02, 1.12)),
        ],
        _said(
            "unclear",
            "Whether A or B is faster cannot be told: 1.02 [0.93, 1.12] is too wide; more rounds "
            "narrow it.",
            0,
            1,
        ),
    )


def one_cell() -> SessionView:
    return session(
        [row(0, "alone", latency=latency(187_000, samples=800))],
        _said(
            "one-cell", "alone took 0.187 ms [0.184, 0.190]; there is nothing to compare it with."
        ),
    )


def invalid() -> SessionView:
    wrong = AnswersView(
        state=AnswerState.WRONG, judged=10, wrong=10, worst_psnr_db=12.3, partial=True
    )
    return session(
        [
            row(0, "right"),
            row(1, "wrong", valid=False, rank=None, ratio=None, answers=wrong),
            row(
                2,
                "crashed",
                valid=False,
                rank=None,
                ratio=None,
                latency=None,
                loads=(),
                memory=None,
                engine_version=None,
                backend=None,
                unit_observed=None,
                failures=(FailureView(code="load-failed", detail="bad [model]", rounds=(0, 1)),),
            ),
        ],
        _said(
            "invalid", "Nothing can be compared: wrong is invalid (wrong-answers), crashed failed."
        ),
        findings=(
            FindingView(
                code="wrong-answers",
                severity=Severity.INVALID,
                detail="10 of 10 answers are wrong, at worst 12.3 dB",
                rows=(1,),
            ),
        ),
        lost=(RoundView(round=2, status=RoundStatus.CRASHED, code="signal", detail="SIGSEGV"),),
        rounds_completed=4,
        complete=False,
        ended="a round was lost",
    )


def functional() -> SessionView:
    nothing: dict[str, Any] = {
        "latency": None,
        "ratio": None,
        "rank": None,
        "loads": (),
        "memory": None,
        "engine": "coreml-interpreter",
        "backend": "",
    }
    return session(
        [row(0, "care-s0-coreml-fp16", **nothing)],
        _said("functional", "A functional run measures no latency; 1 of 1 cell answered rightly."),
        kind=RecordKind.FUNCTIONAL,
        device=DeviceReference(kind="interpreter"),
        machine=MACHINE.model_copy(update={"reality": Reality.INTERPRETER}),
    )


def scripted() -> SessionView:
    played = {"measured": False}
    return session(
        [
            row(0, "a", latency=latency(1_000_000, **played)),
            row(
                1,
                "b",
                latency=latency(2_000_000, **played),
                ratio=ratio(Relation.SLOWER, 1.94, 1.98, 2.02),
            ),
        ],
        _said(
            "differs", "Scripted, not measured: a ran 1.98 [1.94, 2.02] times faster than b.", 0, 1
        ),
        kind=RecordKind.SCRIPTED,
        device=DeviceReference(kind="scripted"),
        machine=MACHINE.model_copy(update={"reality": Reality.SCRIPT}),
    )


def interrupted() -> SessionView:
    alone = {"low_ns": None, "high_ns": None}
    return session(
        [
            row(0, "A", rank=1, latency=latency(10_000_000, samples=40, **alone)),
            row(
                1,
                "B",
                rank=1,
                latency=latency(10_500_000, samples=40, **alone),
                ratio=RatioView(
                    reference=0,
                    relation=Relation.UNCLEAR,
                    ratio=1.05,
                    low=None,
                    high=None,
                    replicates=(1.05,),
                    paired="block",
                    load_sd=None,
                ),
            ),
        ],
        _said(
            "one-round",
            "Nothing can be said of A and B after one round: a load is one sample.",
            0,
            1,
        ),
        rounds_completed=1,
        blocks_accepted=4,
        complete=False,
        ended="interrupted",
        findings=(
            FindingView(
                code="interrupted",
                severity=Severity.WARNING,
                detail="the session was stopped: 1 of 5 rounds are there",
                rows=(),
            ),
        ),
    )


def imported() -> SessionView:
    alone = {"low_ns": None, "high_ns": None, "p99_ns": None}
    return session(
        [
            row(
                0,
                "mobilenet_v2",
                latency=latency(4_100_000, samples=50, **alone),
                loads=(),
                memory=None,
            )
        ],
        _said("one-cell", "mobilenet_v2 took 4.100 ms; there is nothing to compare it with."),
        kind=RecordKind.IMPORTED,
        device=DeviceReference(kind="imported"),
        machine=None,
        rounds_planned=1,
        rounds_completed=1,
        blocks_accepted=1,
        lacks=("no-rounds", "no-machine", "no-answers"),
        origin="onnxruntime_perf_test",
    )


def many() -> SessionView:
    rows = [row(0, "cell 0", rank=1)]
    for index in range(1, 24):
        step = 1 + index / 50
        relation = Relation.EQUAL if index == 1 else Relation.SLOWER
        rows.append(
            row(
                index,
                f"cell {index}",
                rank=1 if index == 1 else index + 1,
                latency=latency(int(10_000_000 * step)),
                ratio=ratio(relation, step - 0.01, step, step + 0.01),
            )
        )
    return session(
        rows, _said("differs", "cell 0 is the fastest of 24; cell 1 does not differ from it.", 0, 1)
    )


def long_names() -> SessionView:
    name = "-".join(["a-very-long-name-of-a-bundle"] * 7)
    return session(
        [
            row(0, f"{name}-1", role=Role.BASE),
            row(
                1,
                f"{name}-2",
                role=Role.HEAD,
                latency=latency(123_456_789_012),
                ratio=ratio(Relation.SLOWER, 12000.5, 12345.7, 12999.1),
                unit_asked=Unit.ALL,
                unit_observed=Unit.GPU,
                threads_asked=16,
                threads_observed=8,
                cores_asked=(0, 1, 2, 3),
            ),
        ],
        _said("differs", "head took 12345.70 [12000.50, 12999.10] times as long as base.", 0, 1),
        record=f"records/{name}/{name}.jsonl",
    )


def hostile_names() -> SessionView:
    names = (
        "网络-模型 [bold red]x[/] 🚀",
        "=cmd|' /C calc'!A1",
        "a|b <script>alert(1)</script> `c` *d* _e_ \\ # @someone",
        "café-ß-Ω-é",
    )
    return session(
        [row(index, name, rank=1) for index, name in enumerate(names)],
        _said("equal", f"{names[0]} and {names[1]} do not differ: 1.00 [0.98, 1.02], within ±3 %."),
        findings=(
            FindingView(
                code="placement-changed",
                severity=Severity.WARNING,
                detail="[link=http://x]y[/link] </details> | <b>",
                rows=(0, 2),
            ),
        ),
    )


STATES: dict[str, Callable[[], SessionView]] = {
    "different": different,
    "equal": equal,
    "unclear": unclear,
    "one-cell": one_cell,
    "invalid": invalid,
    "functional": functional,
    "scripted": scripted,
    "interrupted": interrupted,
    "imported": imported,
    "many": many,
    "long-names": long_names,
    "hostile-names": hostile_names,
}
