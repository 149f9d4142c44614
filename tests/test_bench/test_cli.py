from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from care_mobile.bench.cli import main, parse_cpus
from care_mobile.bench.record import read_record
from care_mobile.bench.results import BenchResult
from care_mobile.errors import UsageError

from .conftest import MakeBundle


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
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_bundle: MakeBundle) -> Path:
    """A working directory with two real bundles in `bundles/`."""
    monkeypatch.chdir(tmp_path)
    make_bundle("one", layers=1)
    make_bundle("two", layers=2)
    return tmp_path


QUICK = ("--blocks", "3", "--iterations", "4")


def test_a_table_on_standard_output_and_records_on_disk(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*QUICK) == 0
    out = capsys.readouterr().out
    for text in ("one", "two", "onnxruntime", "median ms", "not a phone's", "Records: records/"):
        assert text in out
    (session,) = (home / "records").iterdir()
    assert len([read_record(file) for file in session.iterdir()]) == 2


@pytest.mark.parametrize(
    ("folder", "output", "records"),
    [
        (".", "bundles", "records"),
        (".", "./bundles/", "records"),
        ("bundles", ".", "records"),
        ("other", "../bundles", "records"),
    ],
)
def test_records_lie_beside_the_bundles(
    home: Path, monkeypatch: pytest.MonkeyPatch, folder: str, output: str, records: str
) -> None:
    (home / folder).mkdir(exist_ok=True)
    monkeypatch.chdir(home / folder)
    assert run("-o", output, *QUICK) == 0
    assert len(list((home / records).glob("*/*.json"))) == 2
    assert sorted(path.name for path in (home / "bundles").iterdir()) == ["one", "two"]


def test_what_is_no_bundle_in_a_pattern_is_named_and_passed_over(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A records folder of earlier versions, a stray file, and what an export left."""
    (home / "bundles" / "records" / "session").mkdir(parents=True)
    (home / "bundles" / "notes.txt").touch()
    (home / "bundles" / ".partial-1-new-x").mkdir()
    pattern = sorted(str(path.relative_to(home)) for path in (home / "bundles").iterdir())
    assert run(*pattern, "--json", *QUICK) == 0
    captured = capsys.readouterr()
    result = BenchResult.model_validate_json(captured.out)
    assert {row.path for row in result.rows} == {"bundles/one", "bundles/two"}
    assert {found.path: found.reason for found in result.passed_over} == {
        "bundles/.partial-1-new-x": "what an export that was ended left",
        "bundles/notes.txt": "a file",
        "bundles/records": "no manifest.json in it",
    }
    assert captured.err.splitlines() == [
        f"passed over: {found.path} is no bundle: {found.reason}" for found in result.passed_over
    ]


def test_a_damaged_bundle_in_a_pattern_is_an_error(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "bundles" / "two" / "manifest.json").write_text("{}")
    assert run("bundles/one", "bundles/two", *QUICK) == 5
    assert "bundles/two/manifest.json" in capsys.readouterr().err


def test_json_on_standard_output_is_the_contract(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("bundles/two", "bundles/one", "--json", "--records", "kept", *QUICK) == 0
    text = capsys.readouterr().out
    result = BenchResult.model_validate_json(text)
    assert json.loads(text)["schema_version"] == 1
    assert {row.path for row in result.rows} == {"bundles/one", "bundles/two"}
    for row in result.rows:
        assert row.latency is not None
        assert row.latency.count == 12
        assert len(read_record(Path(row.record)).samples_ns) == 12
        assert row.record.startswith("kept/")


def test_the_seed_decides_the_order_on_record(home: Path) -> None:
    for seed in ("1", "1", "3"):
        assert run("--seed", seed, "--blocks", "8", "--iterations", "1", "--records", "r") == 0
    sessions = sorted(Path("r").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    plans = [read_record(session / "00-one.json").plan for session in sessions]
    assert [plan.seed for plan in plans] == [1, 1, 3]
    assert plans[0] == plans[1]
    assert plans[0].order != plans[2].order


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nowhere"], 2, "there is no folder nowhere"),
        (["-o", "nowhere"], 2, "there is no folder nowhere"),
        (["bundles"], 5, "bundles is not a bundle"),
        (["--device", "destop"], 2, "did you mean desktop?"),
        (["--blocks", "0"], 2, "--blocks 0"),
        (["--threads", "0"], 2, "--threads 0"),
        (["--threads", "100000"], 2, "do not fit"),
        (["--affinity", "9999"], 2, "no usable cpu 9999"),
        (["--affinity", "zero"], 2, "not a list of cpus"),
        (["--affinity", ""], 2, "not a list of cpus"),
    ],
)
def test_errors_are_one_line_and_a_hint(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, says: str
) -> None:
    assert run(*arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    lines = captured.err.splitlines()
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("  try: ")
    assert len(lines) == 2
    assert says in captured.err
    assert [path.name for path in home.iterdir()] == ["bundles"]


def test_a_tampered_bundle(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "bundles" / "one" / "model.onnx").write_bytes(b"other")
    assert run() == 5
    assert "model.onnx is not the file the manifest describes" in capsys.readouterr().err


def test_a_failed_bundle_is_shown_and_ends_with_5(
    home: Path, make_bundle: MakeBundle, capsys: pytest.CaptureFixture[str]
) -> None:
    make_bundle("broken")
    assert run(*QUICK) == 5
    captured = capsys.readouterr()
    assert "failed: broken: onnxruntime refuses it" in captured.out
    assert "not measured to the end: 1 of 3 bundles" in captured.err


def test_an_interrupt_is_130_and_leaves_no_record(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("care_mobile.bench.devices.desktop.measure", interrupt)
    assert run(*QUICK) == 130
    assert "nothing was recorded" in capsys.readouterr().err
    assert [path.name for path in home.iterdir()] == ["bundles"]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from care_mobile.bench.cli import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'rich', 'pydantic', 'onnxruntime'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Measure the latency of bundles" in done.stdout


def test_measuring_onnx_bundles_needs_no_torch(home: Path) -> None:
    code = (
        "import sys; from care_mobile.bench.cli import app\n"
        "try: app(['--blocks', '1', '--iterations', '1'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "assert 'torch' not in sys.modules and 'care_mobile.export' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize(("text", "cpus"), [("0", (0,)), ("3,1", (1, 3)), ("1, 1,2", (1, 2))])
def test_cpus(text: str, cpus: tuple[int, ...]) -> None:
    assert parse_cpus(text) == cpus


@pytest.mark.parametrize("text", ["", ",", "1,", "a", "-1", "1.5", "0-3", "٣", "9" * 5])
def test_no_cpus(text: str) -> None:
    with pytest.raises(UsageError, match="not a list of cpus"):
        parse_cpus(text)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("bundles/one", "--output", "bundles", "--records", "kept"), "--output does nothing"),
        (("--device", "scripted=s.json", "--threads", "1"), "--threads does nothing on the device"),
        (("--device", "scripted=s.json", "--affinity", "0"), "--affinity does nothing on the"),
        (("core", "--device", "scripted=s.json", "--threads", "2"), "--threads does nothing on"),
    ],
)
def test_an_option_that_does_nothing(
    home: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    (home / "s.json").write_text('{"default_ns": [1000]}')
    assert run(*words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"error: {says}")
    assert not (home / "kept").exists()


def test_threads_where_every_runtime_chooses_by_itself(
    home: Path, make_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from care_mobile.bench import session
    from care_mobile.bench.devices import DesktopDevice
    from care_mobile.bundle import Bundle

    core = Bundle.open(make_bundle("core", runtime="coreml"))
    other = Bundle.open(make_bundle("other"))
    request = session.SessionRequest(
        bundles=(), output=home, records=home, device="desktop", blocks=1, iterations=1,
        threads=1, affinity=None, seed=0, given=frozenset({"threads"}),
    )  # fmt: skip
    session._check_threads_read(request, DesktopDevice(), [core, other])
    with pytest.raises(UsageError, match="--threads does nothing on coreml"):
        session._check_threads_read(request, DesktopDevice(), [core])
