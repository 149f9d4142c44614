"""The command itself; whole sessions are in test_request.py."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from conftest import WriteBundle

from care_mobile.bench.cli import main, parse_numbers
from care_mobile.bench.report.view import SessionView
from care_mobile.errors import UsageError

from .conftest import onnx_model

QUICK = ("--preset", "quick", "--rounds", "2", "--blocks", "1", "--iterations", "3", "--no-gate")
SCRIPT = {"latencies_ns": {"one": [1_000_000], "two": [2_000_000]}}


def run(*arguments: str | Path) -> int:
    """Run the command in this process; gives its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["care-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
    code = ended.value.code
    assert isinstance(code, int)
    return code


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write_bundle: WriteBundle) -> Path:
    """A working directory with two real bundles in `bundles/`, and a script to play."""
    monkeypatch.chdir(tmp_path)
    write_bundle("one", onnx_model(8, 1), probed=True)
    write_bundle("two", onnx_model(8, 3), probed=True)
    (tmp_path / "script.json").write_text(json.dumps(SCRIPT))
    return tmp_path


def view(capsys: pytest.CaptureFixture[str]) -> SessionView:
    return SessionView.model_validate_json(capsys.readouterr().out)


def test_a_table_on_standard_output_and_a_record_on_disk(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*QUICK) == 0
    out = capsys.readouterr().out
    for text in ("one", "two", "onnxruntime", "not a phone's", "Record: records/", "rounds"):
        assert text in out
    (record,) = (home / "records").iterdir()
    assert record.suffix == ".jsonl"


@pytest.mark.parametrize(
    ("folder", "output"), [(".", "bundles"), (".", "./bundles/"), ("bundles", ".")]
)
def test_records_lie_beside_the_bundles(
    home: Path, monkeypatch: pytest.MonkeyPatch, folder: str, output: str
) -> None:
    monkeypatch.chdir(home / folder)
    script = f"scripted={home / 'script.json'}"
    assert run("-o", output, "--device", script, *QUICK) == 0
    assert len(list((home / "records").glob("*.jsonl"))) == 1
    assert sorted(path.name for path in (home / "bundles").iterdir()) == ["one", "two"]


def test_what_is_no_bundle_in_a_pattern_is_named_and_passed_over(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "bundles" / "notes.txt").touch()
    pattern = sorted(str(path.relative_to(home)) for path in (home / "bundles").iterdir())
    assert run(*pattern, "--json", "--device", "scripted=script.json", *QUICK) == 0
    captured = capsys.readouterr()
    result = SessionView.model_validate_json(captured.out)
    assert {row.label for row in result.rows} == {"one", "two"}
    assert [(found.name, found.reason) for found in result.passed_over] == [
        ("bundles/notes.txt", "a file")
    ]
    assert captured.err.splitlines() == ["passed over: bundles/notes.txt is no bundle: a file"]


def test_every_format_and_a_record_shown_again(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = ("--device", "scripted=script.json", *QUICK)
    assert run("--json", *script) == 0
    measured = view(capsys)
    assert measured.record is not None
    assert run("show", measured.record, "--json") == 0
    assert view(capsys) == measured
    assert run("show", measured.record, "--format", "csv") == 0
    rows = list(csv.DictReader(StringIO(capsys.readouterr().out)))
    assert len(rows) == 2
    assert run("show", measured.record, "--format", "markdown") == 0
    assert "| one |" in capsys.readouterr().out
    assert run("show", measured.record) == 0
    assert "scripted" in capsys.readouterr().out


def test_the_same_seed_gives_the_same_orders(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from care_mobile.bench.protocol.reading import read_session

    orders = []
    for seed in ("1", "1", "3"):
        arguments = ("--device", "scripted=script.json", "--blocks", "8", "--seed", seed)
        assert run(*arguments, "--json") == 0
        record = view(capsys).record
        assert record is not None
        orders.append([r.blocks for r in read_session(Path(record)).plan.rounds])
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]


def test_an_interrupted_session_says_how_to_go_on(home: Path) -> None:
    """A real command, a real signal."""
    command = [str(Path(sys.executable).with_name("care-bench")), "--rounds", "50", *QUICK[:2]]
    with subprocess.Popen(
        command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        landed = False
        while process.poll() is None and not landed:
            for record in (home / "records").glob("*.jsonl"):
                landed = b'"event":"landed"' in record.read_bytes()
        process.send_signal(2)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    (record,) = (home / "records").iterdir()
    assert f"care-bench --resume records/{record.name} goes on" in err
    assert "interrupted" in out
    assert run("--resume", record, "--rounds", "3") == 2  # what a session does is on record


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (("bundles/one", "-o", "x", "--records", "y"), 2, "--output does nothing"),
        (("--json", "--format", "csv"), 2, "contradict"),
        (("--threads", "two"), 2, "is not a list of numbers"),
        (("--affinity", "-1"), 2, "affinity"),
        (("--unit", "tpu"), 2, "unknown unit 'tpu'"),
        (("--preset", "defualt"), 2, "default"),
        (("--plot", "x.gif"), 2, ".png"),
        (("--plot", "nowhere/x.png"), 2, "there is no folder nowhere"),
        (("--device", "desktop=2"), 2, "one desktop"),
        (("--device", "scripted"), 2, "needs its script"),
        (("--device", "scripted=missing.json"), 2, "missing.json"),
        (("--resume", "missing.jsonl"), 5, "missing.jsonl"),
        (("show", "missing.jsonl"), 5, "missing.jsonl"),
        (("import", "missing.json"), 5, "missing.json"),
        (("import", "script.json"), 5, "no format that is known"),
        (("conformance", "no-such-program"), 2, "no program"),
        (("conformance", "'unclosed"), 2, "PROGRAM ARGUMENTS"),
        (("nowhere",), 2, "there is no folder nowhere"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_errors_are_a_line_and_a_hint(
    home: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    code: int,
    text: str,
) -> None:
    assert run(*arguments) == code
    err = capsys.readouterr().err
    assert text in err
    assert "Traceback" not in err
    assert not (home / "records").exists()


def test_a_foreign_file_becomes_a_record(
    home: Path, capsys: pytest.CaptureFixture[str], golden: Path
) -> None:
    folder = golden / "bench" / "imported"
    file = sorted(folder.glob("*.json"))[0]
    assert run("import", file, "--records", "taken", "--json") == 0
    found = view(capsys)
    assert found.kind.value == "imported"
    assert found.lacks
    assert found.record is not None
    assert Path(found.record).is_file()


def test_conformance_says_what_a_harness_breaks(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("conformance", f"{sys.executable} -c pass", "--json") == 5
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["passed"] is False
    assert found["checks"]
    assert "error:" in captured.err


def test_numbers() -> None:
    assert parse_numbers("affinity", "3, 1,1") == (1, 3)
    for text in ("", "1-2", "a", "１", "99999"):
        with pytest.raises(UsageError):
            parse_numbers("affinity", text)


def test_a_folder_named_as_a_command_is_written_with_its_path(home: Path) -> None:
    (home / "bundles" / "one").rename(home / "show")
    assert run("./show", "--device", "scripted=script.json", *QUICK) == 2  # nothing is said of two
