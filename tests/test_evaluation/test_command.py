"""`care-eval` as users meet it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from golden_files import check_golden
from rich.console import Console

from care_mobile.evaluation.evaluate import EvaluationRequest, evaluate
from care_mobile.evaluation.render import print_report
from care_mobile.evaluation.results import EvaluationReport

from .conftest import GREYS, Classifier

COMMAND = [sys.executable, "-c", "from care_mobile.evaluation.cli import main; main()"]


def run(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_json_goes_to_standard_output_and_to_a_file(
    classifier: Classifier, eight: Path, tmp_path: Path
) -> None:
    done = run(classifier(), "--data", eight, "--json", "-o", "result.json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (tmp_path / "result.json").read_text()
    found = json.loads(done.stdout)
    assert found["schema_version"] == 1
    assert found["bundles"][0]["top1"]["count"] == 25
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundles", "data", "result.json"]


def test_errors_are_two_lines(classifier: Classifier, eight: Path, tmp_path: Path) -> None:
    done = run(classifier(), "--data", eight / "a", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"error: --data {eight / 'a'} holds 4 images but no class folders",
        "  try: put the images of each class in a folder",
    ]
    assert run("nothing", "--data", eight, cwd=tmp_path).returncode == 5


def test_what_is_no_bundle_in_a_pattern_is_named_and_passed_over(
    classifier: Classifier, eight: Path, tmp_path: Path
) -> None:
    one = classifier("one")
    (one.parent / "records").mkdir()
    (one.parent / "notes.txt").touch()
    pattern = sorted(path.relative_to(tmp_path) for path in one.parent.iterdir())
    done = run(*pattern, "--data", eight, "--json", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr.splitlines() == [
        "passed over: bundles/notes.txt is no bundle: a file",
        "passed over: bundles/records is no bundle: no manifest.json in it",
    ]
    report = EvaluationReport.model_validate_json(done.stdout)
    assert [found.name for found in report.bundles] == ["one"]
    assert [found.path for found in report.passed_over] == ["bundles/notes.txt", "bundles/records"]


def test_a_damaged_bundle_in_a_pattern_is_an_error(
    classifier: Classifier, eight: Path, tmp_path: Path
) -> None:
    one, two = classifier("one"), classifier("two", model="other")
    (two / "manifest.json").write_text("{}")
    done = run(one, two, "--data", eight, cwd=tmp_path)
    assert done.returncode == 5
    assert str(two / "manifest.json") in done.stderr


def test_an_interrupt_says_how_to_go_on(
    classifier: Classifier, eight: Path, tmp_path: Path
) -> None:
    source = (
        "import care_mobile.evaluation.evaluate as e\n"
        "from care_mobile.evaluation.cli import main\n"
        "def interrupted(*_): raise KeyboardInterrupt\n"
        "e.read_image = interrupted\n"
        "main()"
    )
    words = [sys.executable, "-c", source, str(classifier()), "--data", str(eight)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert (
        done.stderr == "error: interrupted\n  try: the same command again; it goes on from here\n"
    )
    assert (tmp_path / "evaluation.json.partial").is_file()


def test_a_killed_process_loses_nothing_it_answered(
    classifier: Classifier, eight: Path, tmp_path: Path
) -> None:
    slow = (
        "import time, care_mobile.evaluation.evaluate as e\n"
        "from care_mobile.evaluation.cli import main\n"
        "read = e.read_image\n"
        "def slowly(*arguments):\n"
        "    time.sleep(0.05)\n"
        "    return read(*arguments)\n"
        "e.read_image = slowly\n"
        "main()"
    )
    bundle, journal = classifier(), tmp_path / "evaluation.json.partial"
    process = subprocess.Popen(
        [sys.executable, "-c", slow, str(bundle), "--data", str(eight)], cwd=tmp_path
    )
    while not journal.is_file() or journal.read_bytes().count(b"\n") < 5:
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert run(bundle, "--data", eight, cwd=tmp_path).returncode == 0
    report = EvaluationReport.model_validate_json((tmp_path / "evaluation.json").read_bytes())
    assert report.bundles[0].top1.count == 25


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    source = (
        "import atexit, sys\n"
        "heavy = ['torch', 'numpy', 'PIL', 'scipy', 'onnxruntime', 'coremltools']\n"
        "atexit.register(lambda: print('loaded:', [m for m in heavy if m in sys.modules]))\n"
        "from care_mobile.evaluation.cli import main\n"
        "main()"
    )
    words = [sys.executable, "-c", source, "--help"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.endswith("loaded: []\n")


def test_evaluating_onnx_needs_no_torch(
    classifier: Classifier, eight: Path, tmp_path: Path
) -> None:
    source = (
        "import atexit, sys\n"
        "atexit.register(lambda: print('torch' in sys.modules))\n"
        "from care_mobile.evaluation.cli import main\n"
        "main()"
    )
    words = [sys.executable, "-c", source, str(classifier()), "--data", str(eight)]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.endswith("False\n")


@pytest.fixture
def report(classifier: Classifier, eight: Path, tmp_path: Path) -> EvaluationReport:
    """Two bundles, an image that is none, and a file that does not claim to be one."""
    (eight / "a" / "notes.txt").touch()
    (eight / "b" / "0.png").write_bytes(b"")
    request = EvaluationRequest(
        bundles=(classifier("[good]"), classifier("nan", greys=(*GREYS[:-1], float("nan")))),
        reference=tmp_path / "bundles" / "[good]",
        data=eight,
        skip_bad=True,
        output=tmp_path / "evaluation.json",
    )
    return evaluate(request)


def test_the_table_and_its_notes(report: EvaluationReport) -> None:
    console = Console(width=120, file=io.StringIO())
    print_report(report, console)
    assert isinstance(console.file, io.StringIO)
    check_golden("evaluation/report.txt", console.file.getvalue())


def test_the_json_document(report: EvaluationReport) -> None:
    """The contract of `care-eval --json`, without what differs between machines."""
    found = report.model_dump(mode="json")
    found["created"] = found["dataset"]["fingerprint"] = "-"
    for bundle in found["bundles"]:
        bundle["integrity"] = bundle["runtime"]["version"] = "-"
        del bundle["classes"][2:]
    check_golden("evaluation/report.json", json.dumps(_rounded(found), indent=2))


def test_reports_of_earlier_versions_are_read(report: EvaluationReport) -> None:
    found = report.model_dump(mode="json")
    del found["passed_over"], found["dataset"]["classes_from"], found["dataset"]["note"]
    assert EvaluationReport.model_validate(found).bundles == report.bundles


def _rounded(value: Any) -> Any:
    """Intervals to 9 digits: the last ones are the processor's."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return round(value, 9) if isinstance(value, float) else value
