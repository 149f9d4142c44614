"""Files of other tools; `golden/bench/imported/README.md` says where their shapes are from."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from golden_files import check_file
from hypothesis import given, settings
from hypothesis import strategies as st

from care_mobile.bench.importers import (
    FORMATS,
    ForeignFileError,
    Lines,
    import_file,
    write_session,
)
from care_mobile.bench.journal import to_line
from care_mobile.bench.protocol.events import Reality
from care_mobile.bench.protocol.foreign import WORDS, Lack, session_of
from care_mobile.bench.protocol.plan import Unit
from care_mobile.bench.protocol.reading import read_session
from care_mobile.bench.protocol.record import CellRound, RecordKind, Session
from care_mobile.bench.records import open_record
from care_mobile.bench.validity import judge
from care_mobile.errors import CareError, OutputError, UsageError
from fuzz.mutate import damaged, damaged_json

from ..conftest import GOLDEN

FOLDER = GOLDEN / "imported"
FILES = {
    "onnxruntime_perf_test.txt": "onnxruntime-perf-test",
    "onnxruntime_perf_test_results.csv": "onnxruntime-perf-test-results",
    "benchmark_model.txt": "benchmark-model",
    "benchmark_model_old.txt": "benchmark-model",
    "minibench.json": "minibench",
    "benchmarkData.json": "androidx-benchmark",
    "coreml_benchmarker.json": "coreml-benchmarker",
    "coreml_benchmarker.txt": "coreml-benchmarker",
    "perf.yaml": "ai-hub",
}


@pytest.fixture
def imported(tmp_path: Path) -> Callable[[str], tuple[Lines, ...]]:
    def read(name: str) -> tuple[Lines, ...]:
        copy = tmp_path / name
        copy.write_bytes((FOLDER / name).read_bytes())
        os.utime(copy, (1_770_000_000, 1_770_000_000))
        return import_file(copy)

    return read


Imported = Callable[[str], tuple[Lines, ...]]


def _only(sessions: tuple[Lines, ...]) -> Session:
    (lines,) = sessions
    return session_of(lines)


def _cell(session: Session, round_: int = 0) -> CellRound:
    (cell,) = session.rounds[round_].cells.values()
    return cell


def _summary(cell: CellRound, what: str = "latency") -> dict[str, Any]:
    (found,) = [s for s in cell.summaries if s.what == what]
    return found.model_dump(exclude_none=True, exclude={"event", "round", "cell", "what"})


def test_every_format_has_a_file() -> None:
    assert set(FILES.values()) == {one.name for one in FORMATS}
    assert {file.name for file in FOLDER.iterdir()} - {"README.md", "golden"} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_content_tells_the_format_and_no_other(name: str) -> None:
    from care_mobile.bench.importers.base import Source

    source = Source("it", (FOLDER / name).read_bytes())
    assert [one.name for one in FORMATS if one.recognise(source)] == [FILES[name]]


@pytest.mark.parametrize("name", FILES)
def test_golden_record(name: str, imported: Imported, tmp_path: Path) -> None:
    for place, lines in enumerate(imported(name)):
        text = b"".join(map(to_line, lines)).decode()
        check_file(FOLDER / "golden" / f"{name}-{place}.jsonl", text)
        session = open_record(write_session(tmp_path / "records", lines))
        assert session == session_of(lines)
        assert session.opened.kind is RecordKind.IMPORTED
        assert {Lack.NO_ANSWERS.value, Lack.NO_CONTENT.value} <= set(session.opened.lacks)
        assert any(finding.code.value == "imported-lacks" for finding in judge(session))


def test_onnxruntime_perf_test(imported: Imported) -> None:
    session = _only(imported("onnxruntime_perf_test.txt"))
    cell = _cell(session)
    assert _summary(cell) == {
        "count": 5,
        "mean_ns": 2_548_360,
        "min_ns": 2_401_120,
        "max_ns": 2_917_330,
        "median_ns": 2_488_750,
        "p90_ns": 2_917_330,
        "p95_ns": 2_917_330,
        "p99_ns": 2_917_330,
        "p999_ns": 2_917_330,
    }
    assert _summary(cell, "first") == {"count": 1, "figure_ns": 3_000_000}
    assert cell.loaded is not None
    assert (cell.loaded.load_ns, cell.loaded.threads) == (41_278_500, 1)
    assert [r.value for r in session.rounds[0].readings] == [45_678_592]
    assert "no-samples" in session.opened.lacks
    assert "one-number" not in session.opened.lacks
    assert "no-threads" not in session.opened.lacks


def test_onnxruntime_perf_test_with_every_inference(tmp_path: Path) -> None:
    file = tmp_path / "net.txt"
    text = (FOLDER / "onnxruntime_perf_test.txt").read_text()
    file.write_text(
        text.replace(
            "Total", "iteration:1,time_cost:0.0024\niteration:2,time_cost:2.5e-03\nTotal", 1
        )
    )
    session = _only(import_file(file))
    assert session.rounds[0].blocks[0].bursts[0].samples_ns == (2_400_000, 2_500_000)
    assert "no-samples" not in session.opened.lacks
    assert session.plan.cells[0].label == "net"


def test_texts_after_one_another_are_launches(tmp_path: Path) -> None:
    for name in ("onnxruntime_perf_test.txt", "benchmark_model.txt"):
        file = tmp_path / name
        file.write_bytes((FOLDER / name).read_bytes() * 3)
        session = _only(import_file(file))
        assert [r.replicate for r in session.plan.rounds] == [0, 1, 2]
        assert len(session.plan.cells) == 1
        assert "no-rounds" not in session.opened.lacks


def test_processes_that_append_to_a_file_are_rounds(imported: Imported) -> None:
    session = _only(imported("onnxruntime_perf_test_results.csv"))
    assert [(r.cells, r.replicate) for r in session.plan.rounds] == [
        ((0,), 0), ((1,), 0), ((0,), 1), ((1,), 1),
    ]  # fmt: skip
    samples = [r.blocks[0].bursts[0].samples_ns for r in session.completed]
    assert samples == [
        (2_401_120, 2_488_750, 2_917_330), (1_201_120, 1_100_000),
        (2_500_010, 2_510_000), (99_000,),
    ]  # fmt: skip
    assert "no-rounds" not in session.opened.lacks
    assert "no-times" in session.opened.lacks


def test_benchmark_model(imported: Imported) -> None:
    session = _only(imported("benchmark_model.txt"))
    cell = _cell(session)
    assert _summary(cell) == {
        "count": 238,
        "mean_ns": 4_203_100,
        "deviation_ns": 71_000,
        "min_ns": 4_035_000,
        "max_ns": 4_890_000,
        "median_ns": 4_195_000,
        "p5_ns": 4_101_000,
        "p95_ns": 4_377_000,
    }
    assert _summary(cell, "warm-up")["count"] == 117
    assert session.plan.cells[0].label == "a.tflite"
    assert cell.loaded is not None
    assert (cell.loaded.load_ns, cell.loaded.threads) == (17_187_000, 4)
    assert cell.loaded.engine.backend == "TfLiteXNNPackDelegate"
    assert [note.detail for note in session.rounds[0].notes] == [
        "61 of 66 operations to TfLiteXNNPackDelegate"
    ]
    assert [r.value for r in session.rounds[0].readings] == [24.5 * 2**20]


def test_benchmark_model_of_old(imported: Imported) -> None:
    session = _only(imported("benchmark_model_old.txt"))
    cell = _cell(session)
    assert _summary(cell)["mean_ns"] == 2_950_340_000
    assert "median_ns" not in _summary(cell)
    assert _summary(cell, "warm-up") == {"count": 1, "figure_ns": 3_512_391_000}
    assert session.plan.cells[0].unit is Unit.GPU


def test_minibench(imported: Imported) -> None:
    session = _only(imported("minibench.json"))
    good, bad = (_cell(session, number) for number in (0, 1))
    assert _summary(good) == {"mean_ns": 7_625_100, "trimmed_mean_ns": 7_510_000}
    assert good.loaded is not None and good.loaded.load_ns == 61_500_000
    assert bad.failed is not None and bad.failed.code == "load-failed"
    hello = session.rounds[0].hello
    assert hello is not None and hello.machine.model == "maker Phone 1"
    assert hello.machine.memory_bytes is None
    assert {"no-samples", "no-os-build", "no-unit", "no-warm-up"} <= set(session.opened.lacks)


def test_androidx(imported: Imported) -> None:
    session = _only(imported("benchmarkData.json"))
    labels = [cell.label for cell in session.plan.cells]
    assert labels == [
        "InferenceBenchmark.UNLOCKED_infer model=a", "InferenceBenchmark.UNLOCKED_infer model=b",
    ]  # fmt: skip
    (only,) = session.completed
    assert [b.samples_ns for b in only.blocks[0].bursts] == [
        (2_401_120, 2_488_750, 2_917_330), (1_000_000, 1_200_000, 1_100_000),
    ]  # fmt: skip
    assert {note.code for note in only.notes} == {"unlocked", "throttled", "clocks-not-locked"}
    assert only.hello is not None
    assert only.hello.machine.os_build.startswith("maker/phone")
    assert only.hello.machine.cores == 8
    assert {"averaged", "other-bundles"} <= set(session.opened.lacks)
    assert "no-os-build" not in session.opened.lacks


def test_an_emulator_of_androidx_is_one(tmp_path: Path) -> None:
    file = tmp_path / "x-benchmarkData.json"
    text = (FOLDER / "benchmarkData.json").read_text()
    file.write_text(text.replace("UNLOCKED_", "EMULATOR_UNLOCKED_"))
    session = _only(import_file(file))
    assert session.rounds[0].hello is not None
    assert session.rounds[0].hello.machine.reality is Reality.EMULATOR
    assert any(finding.code.value == "emulator" for finding in judge(session))


@pytest.mark.parametrize("name", ["coreml_benchmarker.json", "coreml_benchmarker.txt"])
def test_coreml_benchmarker(name: str, imported: Imported) -> None:
    session = _only(imported(name))
    assert session.rounds[0].blocks[0].bursts[0].samples_ns == (
        1_250_000, 1_125_000, 1_500_000, 1_187_500,
    )  # fmt: skip
    loaded = _cell(session).loaded
    assert loaded is not None and loaded.load_ns == 105_250_000


def test_ai_hub_has_a_session_for_every_device(imported: Imported) -> None:
    one, two = (session_of(lines) for lines in imported("perf.yaml"))
    assert one.opened.session != two.opened.session
    machines = [s.rounds[0].hello.machine.model for s in (one, two) if s.rounds[0].hello]
    assert machines == ["Phone One", "Phone Two"]
    assert [c.label for c in one.plan.cells] == [
        "Net-v1 float tflite", "Net-v1 float onnx", "Net-v1 w8a8 tflite",
    ]  # fmt: skip
    first, failed, _ = (_cell(one, number) for number in range(3))
    assert _summary(first) == {"figure_ns": 2_615_000}
    assert first.loaded is not None
    assert first.loaded.unit is Unit.NPU
    assert first.loaded.placement == {"npu": 70, "cpu": 1}
    assert first.loaded.engine.version == "tflite 2.17.0, qairt 2.41.0.251128145156_191518"
    assert failed.failed is not None and failed.failed.code == "job-failed"
    assert {"one-number", "no-samples", "no-rounds", "no-load-time"} <= set(one.opened.lacks)


def test_a_format_may_be_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown format") as caught:
        import_file(FOLDER / "perf.yaml", "ai-hab")
    assert "ai-hub" in caught.value.hint
    with pytest.raises(ForeignFileError, match="AI Hub"):
        import_file(FOLDER / "minibench.json", "ai-hub")
    assert import_file(FOLDER / "perf.yaml", "ai-hub")


def test_importing_twice_changes_nothing_and_nothing_is_overwritten(
    imported: Imported, tmp_path: Path
) -> None:
    (lines,) = imported("minibench.json")
    file = write_session(tmp_path / "r", lines)
    assert write_session(tmp_path / "r", lines) == file
    file.write_text("something else")
    with pytest.raises(OutputError, match="another record"):
        write_session(tmp_path / "r", lines)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        write_session(tmp_path / "file", lines)
    assert [p.name for p in (tmp_path / "r").iterdir()] == [file.name]


def _text(text: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_text(text)

    return write


AI_HUB = "precisions:\n  f:\n    components:\n      c:\n        performance_metrics:\n"
PERF = "Session creation time cost: {} s\nMin Latency: {} s\n"
CSV = "m,{},1,1,0\n"
LITERT = "Inference timings in us: Inference (avg): 1\n"
DEVICE = "          {}:\n            r: {{job_status: x}}\n"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.mkdir(), "directory"),
        (os.mkfifo, "not a regular file"),
        (_text(""), "no format that is known"),
        (_text("[" * 100_000), "no format that is known"),
        (_text('{"context": {}, "benchmarks": []}'), "microbench|timeNs"),
        (_text('{"context": {}, "benchmarks": [7]}'), "androidx"),
        (_text('[{"benchmarkModel": 1, "metric": [], "actualValue": 1}]'), "benchmark app"),
        (_text('{"samples": [], "statistics": null}'), "no predictions"),
        (_text('{"samples": [NaN], "statistics": null}'), "not finite"),
        (_text('{"samples": [-1], "statistics": null}'), "no time"),
        (_text('{"samples": [1e300], "statistics": null}'), "no time"),
        (_text('{"samples": [' + "9" * 4000 + '], "statistics": null}'), "Benchmarker"),
        (_text('{"samples": ["1"], "statistics": null}'), "no number"),
        (_text("MLModelBenchmarker.Measurement(" * 5000), "no samples"),
        (_text(PERF.format("x", "y")), "no latency"),
        (_text(PERF.format("1", "1.2.3")), "could not convert"),
        (_text(PERF.format("1", "1e300")), "no time"),
        (_text(CSV.format("0.1") + "what"), "line 2"),
        (_text(CSV.format("0.1") + "m,0.1,1,1,2\n"), "out of order"),
        (_text(CSV.format("0.1") * 1001), "1000 launches"),
        (_text(PERF.format("1", "1") * 1001), "1000 launches"),
        (_text(f"STARTING!\n{LITERT}" * 1001), "1000 launches"),
        (_text(AI_HUB + DEVICE.format("D") + "".join(map(DEVICE.format, range(1000)))), "1000 la"),
        (_text('{"samples": [' + "1," * 1_000_000 + '1], "statistics": null}'), "inferences"),
        (_text("".join(f"m{i},0.1,1,1,0\n" for i in range(300))), "256 things"),
        (_text("Inference timings in us: x"), "benchmark_model"),
        (_text("Inference timings in us: Inference (avg): inf"), "finite"),
        (_text(AI_HUB), "AI Hub"),
        (_text(AI_HUB + "          D: &a {x: *a}\n"), "aliases"),
        (_text(AI_HUB + "          D: " + "[" * 100 + "]" * 100), "deep"),
        (_text(AI_HUB + "          D: " + "[" * 50_000), "YAML|deep"),
        (_text(AI_HUB + "          ? [a]\n          : b\n"), "key that is no text"),
        (_text(AI_HUB + "          D: {r: {inference_time_milliseconds: .inf}}\n"), "convert"),
        (_text(AI_HUB + "          D: !!python/object:os.system {r: {}}\n"), "no latency"),
        (_text(AI_HUB + "\t- }"), "YAML"),
    ],
)
def test_what_does_not_fit_is_told_in_a_line(
    make: Callable[[Path], None], says: str, tmp_path: Path
) -> None:
    path = tmp_path / "it"
    make(path)
    with pytest.raises(ForeignFileError, match=says) as caught:
        import_file(path)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 5


def test_a_file_without_bounds_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(2**40)  # takes no space
    with pytest.raises(ForeignFileError, match="larger than"):
        import_file(tmp_path / "huge")


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_whatever_a_file_holds_it_is_imported_or_refused(
    name: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    draw = random.Random(seed)
    content = (FOLDER / name).read_bytes()
    harm = damaged_json if name.endswith(".json") and draw.random() < 0.8 else damaged
    file = tmp_path_factory.mktemp("imported") / name
    file.write_bytes(harm(content, draw))
    try:
        sessions = import_file(file, FILES[name] if draw.random() < 0.5 else None)
    except CareError as error:
        assert len(str(error)) < 2000 and "\n" not in str(error)  # noqa: PT017
    else:
        for lines in sessions:
            written = write_session(file.parent / "records", lines)
            assert read_session(written) == session_of(lines)
            judge(session_of(lines))


def test_labels_that_are_the_same_stay_apart(tmp_path: Path) -> None:
    value = json.loads((FOLDER / "benchmarkData.json").read_text())
    value["benchmarks"] = [value["benchmarks"][1]] * 3
    file = tmp_path / "it.json"
    file.write_text(json.dumps(value))
    labels = [cell.label for cell in _only(import_file(file)).plan.cells]
    assert [label.partition("=")[2] for label in labels] == ["b", "b (2)", "b (3)"]


def test_the_page_tells_every_format_and_everything_that_may_be_lacking() -> None:
    page = (Path(__file__).parents[3] / "docs" / "measuring.md").read_text()
    part = page.partition("## What other tools measured")[2].partition("\n## ")[0]
    lines = [line for line in part.splitlines() if line.startswith("| `")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    told = {row[0].strip("`"): row[1] for row in rows}
    assert [name for name in told if name not in {lack.value for lack in Lack}] == [
        one.name for one in FORMATS
    ]
    assert {lack.value: WORDS[lack] for lack in Lack}.items() <= told.items()
