"""What a user sees and what a script reads, against golden files."""

from __future__ import annotations

import importlib
import io
import json
from pathlib import Path

import pytest
import typer
from golden_files import check_golden
from rich.console import Console

from care_mobile.bundle import (
    Census,
    ForecastSummary,
    LeftAlone,
    Manifest,
    Outlook,
    Parity,
    PassReport,
    ProbeResult,
)
from care_mobile.export import render
from care_mobile.export.result import (
    BundleResult,
    ExportReport,
    Failure,
    NetworkResult,
    Status,
)
from care_mobile.half_precision import Candidate, HalfPrecision, OperationDivergence
from care_mobile.inputs import Resolution

SIZE = Resolution(width=224, height=224)


def probe(name: str, **numbers: object) -> ProbeResult:
    usual = {"count": 2, "max_abs": 2.5e-6, "psnr_db": 136.84, "cosine": 1.0, "passed": True}
    return ProbeResult(probes=name, **(usual | numbers))  # type: ignore[arg-type]


def bundle(target: str, status: Status, **others: object) -> BundleResult:
    return BundleResult(
        name=f"care_s0-{target}", model="care_s0", target=target, precision="fp32",
        resolution=SIZE, status=status, seconds=12.5, **others,  # type: ignore[arg-type]
    )  # fmt: skip


def half_precision() -> HalfPrecision:
    worst = [
        OperationDivergence(
            index=i, operation=f"bmm_{i}", operator="matmul", dtype="fp16", psnr_db=30.0 + i,
            alone_psnr_db=20.0 + i, largest=70_000.0 / i, overflows=i, subnormals=0, underflows=2,
            nans=0,
        )
        for i in (1, 2)
    ]  # fmt: skip
    return HalfPrecision(
        output_psnr_db=31.4, first=worst[0], kept_psnr_db=58.2, keep=1,
        overflowing=(worst[0],), ranking=("bmm_1", "bmm_2"),
        places={"bmm_1": "in stages.2.blocks.0.token_mixer.attention"},
        worst=(
            Candidate(divergence=worst[0], consumers=("add_1",), gain_db=26.8, keep_fp32=True),
            Candidate(divergence=worst[1], consumers=("div_1",), gain_db=0.2, keep_fp32=False),
        ),
    )  # fmt: skip


def report() -> ExportReport:
    """One network, a bundle of every outcome."""
    left = tuple(
        LeftAlone(place=f"blocks.{i}.norm", reason=f"cat_{i} before it is no convolution")
        for i in range(3)
    )
    passes = (
        PassReport(name="batch-norm-into-previous-conv", places=1, relative_error=7.1e-16,
                   operations_before=954, operations_after=952, left=left),
        PassReport(name="layer-scale-into-conv", places=0, relative_error=0.0,
                   operations_before=952, operations_after=952),
    )  # fmt: skip
    further = PassReport(name="closing-sum-into-conv", places=17, relative_error=9.4e-16,
                         operations_before=952, operations_after=901)  # fmt: skip
    network = NetworkResult(
        model="care_s0", resolution=SIZE, parameters=7_340_000, macs=717_796_096,
        weights="random:0", random_weights=True, passes=passes,
        target_passes={"coreml": (further,)},
        opaque={"blocks.0": "symbolically traced variables cannot be used as inputs"},
    )  # fmt: skip
    agreed = Parity(
        status="verified", runtime="onnxruntime",
        results=(probe("seeded", count=4), probe("photos", top1_agreement=0.5)),
    )  # fmt: skip
    delegated = Census(
        total=668, by_type={"conv": 668}, delegated=654, fallback=14, partitions=2,
        fallback_by_type={"mean": 14},
        fallback_reasons={"aten_mean_dim": "keeps no dimensions", "aten_mean_dim_1": "is of rank 3",
                          "aten_mean_dim_13": "is of rank 3"},
    )  # fmt: skip
    interpreted = agreed.model_copy(update={
        "runtime": "coreml-interpreter",
        "results": (*agreed.results, probe("large-range", finite=False, psnr_db=-200.0)),
    })  # fmt: skip
    unrun = Parity(
        status="unverified",
        runtime="coreml",
        reason="was not run on this machine: Apple's framework runs on macOS only",
    )
    forecast = ForecastSummary(
        operations={Outlook.EXPECTED: 397, Outlook.DOUBTFUL: 0, Outlook.UNLIKELY: 1,
                    Outlook.NEUTRAL: 0},
        macs_share={Outlook.EXPECTED: 1.0}, wasted_bytes=1024, findings={"ane-fp32": 1},
    )  # fmt: skip
    path = Path("bundles/x")
    return ExportReport(
        output=Path("bundles"), seconds=58.4, networks=(network,),
        bundles=(
            bundle("onnx", Status.VERIFIED, path=path, size_bytes=25_340_000, parity=agreed,
                   census=Census(total=580, by_type={"Conv": 580})),
            bundle("coreml", Status.VERIFIED, path=path, size_bytes=13_300_000,
                   census=Census(total=569, by_type={"conv": 569}), parity=interpreted,
                   other_parity=(unrun,), forecast=forecast, half_precision=half_precision()),
            bundle("unchecked", Status.UNVERIFIED, path=path, size_bytes=13_300_000,
                   parity=Parity(status="unverified", runtime="onnxruntime",
                                 reason="was not run on this machine: missing: onnxruntime")),
            bundle("executorch", Status.PARITY_FAILED, census=delegated, parity=agreed,
                   rewrites={"splits-to-slices": 30, "elu-plus-one": 0, "means-over-maps": 1},
                   failure=Failure(message="care_s0-executorch differs from the reference",
                                   hint="--keep-failed keeps the bundle", exit_code=3)),
            bundle("broken", Status.FAILED,
                   failure=Failure(message="the converter's process died", hint="", exit_code=1)),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("explain", [False, True])
def test_the_summary(explain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(width=120, record=True, highlight=False, file=io.StringIO())
    monkeypatch.setattr(render, "result_console", lambda: console)
    render.summary(report(), explain)
    check_golden(f"export/summary{'-explained' if explain else ''}.txt", console.export_text())


def test_the_json() -> None:
    check_golden("export/report.json", report().model_dump_json(indent=2))
    assert ExportReport.model_validate_json(report().model_dump_json()) == report()


def test_the_manifests_schema() -> None:
    """A change here is a change of the contract: raise `schema_version` with it."""
    check_golden("export/manifest-schema.json", json.dumps(Manifest.model_json_schema(), indent=1))


def test_a_probe_that_is_not_in_the_bundle_is_told() -> None:
    left = report().bundles[0].model_copy(update={"probes_left_out": {"photos": "is too large"}})
    (line,) = [
        line
        for line in render._notes(report().model_copy(update={"bundles": (left,)}))
        if "photos" in line
    ]
    assert f"{left.name}: the probe photos is not in the bundle: is too large." in line


def test_a_tools_failure_outranks_parity() -> None:
    assert report().exit_code == 1
    alone = report().model_copy(update={"bundles": report().bundles[3:4]})
    assert alone.exit_code == 3
    assert report().model_copy(update={"bundles": report().bundles[:2]}).exit_code == 0


@pytest.mark.parametrize("name", ["export.cli", "bench.cli", "doctor"])
def test_the_command_line(name: str) -> None:
    """Options, defaults and help; how typer lays them out is its own affair."""
    command = typer.main.get_command(importlib.import_module(f"care_mobile.{name}").app)
    lines = [
        f"{', '.join(p.opts)} [{p.default}] {getattr(p, 'help', None) or ''}"
        for p in command.params
    ]
    check_golden(f"export/command-{name.partition('.')[0]}.txt", "\n".join(lines))


@pytest.mark.parametrize(
    ("parameters", "macs", "said"),
    [
        (7_340_000, 717_796_096, "7.34 M parameters, 0.718 G multiply-accumulates"),
        (229_940, 4_600_123, "0.23 M parameters, 4,600,123 multiply-accumulates"),
        (242, 55_312, "242 parameters, 55,312 multiply-accumulates"),
        (0, 0, "0 parameters, 0 multiply-accumulates"),
    ],
)
def test_small_networks_are_not_rounded_to_nothing(parameters: int, macs: int, said: str) -> None:
    network = NetworkResult(
        model="tiny", resolution=SIZE, parameters=parameters, macs=macs,
        weights="as-built", random_weights=False, passes=(), target_passes={}, opaque={},
    )  # fmt: skip
    assert said in render._headline(network)


@pytest.mark.parametrize(
    ("size", "said"), [(1_874, "0.0019"), (99_999, "0.1000"), (15_700_000, "15.7")]
)
def test_small_files_are_not_rounded_to_nothing(size: int, said: str) -> None:
    assert render._megabytes(size) == said
