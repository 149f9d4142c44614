from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from golden_files import check_golden

from care_mobile.bundle import Bundle
from care_mobile.coreml.compute_plan import Comparison, ComputeDevice, Difference
from care_mobile.coreml.forecast import Outlook
from care_mobile.inspection.cli import main
from care_mobile.inspection.inspector import inspect
from care_mobile.inspection.results import Inspection
from care_mobile.terminal import progress_console

Run = Callable[..., tuple[object, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Exit code, standard output and standard error of `care-inspect`."""

    def run(*arguments: object) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["care-inspect", *map(str, arguments)])
        progress_console.cache_clear()  # it would keep the stream of an earlier test
        with pytest.raises(SystemExit) as ended:
            main()
        return ended.value.code, *capsys.readouterr()

    return run


def test_tables(run: Run, small_package: Path) -> None:
    code, out, err = run(small_package, "--operations")
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 100
    check_golden("inspection/coreml.txt", _sized(out))


def test_tables_of_onnx(run: Run, small_onnx: Path) -> None:
    code, out, err = run(small_onnx)
    assert (code, err) == (0, "")
    check_golden("inspection/onnx.txt", _sized(out))


def test_json(run: Run, small_package: Path) -> None:
    code, out, err = run(small_package, "--json")
    assert (code, err) == (0, "")
    assert Inspection.model_validate_json(out) == inspect(small_package)
    content = json.loads(out)
    content["size_bytes"] = 0  # of the whole folder, which holds what coremltools adds
    content["facts"]["metadata"] = {}
    check_golden("inspection/coreml.json", json.dumps(content, indent=2))


def _sized(out: str) -> str:
    """Without the size, which the versions of the writing tools change."""
    first, _, rest = out.partition("\n")
    return f"{first.rpartition(', ')[0]}, SIZE\n{rest}"


def test_largest(run: Run, small_package: Path) -> None:
    _, out, _ = run(small_package, "--largest", 1)
    assert " stem " in out
    assert " head " not in out


def test_a_bundle(run: Run, small_onnx: Path, write_bundle: Callable[..., Path]) -> None:
    bundle = write_bundle("tiny", small_onnx.read_bytes())
    code, out, _ = run(bundle)
    assert code == 0
    assert out.startswith("tiny/model.onnx: ONNX model")
    opened = Bundle.open(bundle)
    assert f"content {opened.manifest.content_sha256}\n" in out
    assert "probes: none: answers cannot be judged" in out
    left_out = {"photos": "output 'y' of the network is not finite"}
    probed = write_bundle("probed", small_onnx.read_bytes(), probed=True, probes_left_out=left_out)
    _, out, _ = run(probed)
    assert f"content {opened.manifest.content_sha256}\n" in out
    assert "probes: seeded\n" in out
    assert "not among the probes: photos: output 'y' of the network is not finite\n" in out
    _, out, _ = run(probed, "--json")
    facts = Inspection.model_validate_json(out).bundle_facts
    assert facts is not None
    assert (facts.probes, facts.probes_left_out) == (("seeded",), left_out)
    (bundle / "model.onnx").write_bytes(b"other")
    code, _, err = run(bundle)
    assert code == 5
    assert "model.onnx is not the file the manifest describes" in err


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.onnx", None, "does not exist"),
        ("notes.txt", b"", "is no model of a known kind"),
        ("net.mlmodel", b"", "holds no Core ML model"),
        ("net.pth", b"", "cannot be inspected"),
        ("net.onnx", b"", "holds no ONNX graph"),
        ("net.pte", b"", "is no ExecuTorch program"),
    ],
)
def test_bad_input_is_one_line(
    run: Run, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    code, out, err = run(tmp_path / name)
    assert (code, out) == (2, "")
    assert message in err
    assert [line[:6] for line in err.splitlines()] == ["error:", "  try:"]


@pytest.mark.parametrize("name", ["folder", "net.mlpackage", "net.mlmodelc", "net.onnx"])
def test_folders_that_are_no_model(run: Run, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    code, _, err = run(tmp_path / name)
    assert code == 2
    assert len(err.splitlines()) == 2


def test_a_missing_package_says_how_to_get_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(bytes(64))
    monkeypatch.setitem(sys.modules, "onnx", None)  # as if not installed
    code, _, err = run(path)
    assert code == 5
    assert "care-mobile[export]" in err


def test_names_from_files_cannot_draw(run: Run, small_onnx: Path) -> None:
    import onnx

    model = onnx.load_model(str(small_onnx))
    model.graph.node[0].name = "\x1b[31m[bold]red\nerror: forged"
    model.producer_name = "\x1b]0;title\x07"
    small_onnx.write_bytes(model.SerializeToString())
    code, out, _ = run(small_onnx)
    assert code == 0
    assert "\x1b" not in out
    assert "[bold]red error: forged" in out


def test_a_comparison_is_printed(
    run: Run, small_package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    comparison = Comparison(
        devices=dict.fromkeys(ComputeDevice, 1),
        agreeing=2,
        differences=(
            Difference(
                operation="stem",
                operator="conv",
                forecast=Outlook.EXPECTED,
                preferred=ComputeDevice.GPU,
            ),
        ),
        unmatched=("logits",),
    )
    plans: dict[str, Any] = {"compute_plan": lambda path: None, "compare": lambda *_: comparison}
    for name, stand_in in plans.items():
        monkeypatch.setattr(f"care_mobile.inspection.coreml.{name}", stand_in)
    _, out, _ = run(small_package, "--compute-plan")
    assert "neural engine 1, gpu 1, cpu 1" in out
    assert "came true for 2 operations and not for 1; the plan does not name 1" in out
    assert "Where they differ" in out


def test_help_loads_nothing_heavy(script: Any) -> None:
    source = (
        "import sys\nimport care_mobile.inspection.cli\n"
        "print([m for m in ('numpy', 'pydantic', 'onnx', 'torch') if m in sys.modules])"
    )
    done: SimpleNamespace = script(source)
    assert done.stdout == "[]\n", done.stderr


def test_divergence(run: Run, small_package: Path) -> None:
    code, out, _ = run(small_package, "--divergence")
    assert code == 0
    assert "declared against" in out
    assert "Input: noise." in out
    code, out, _ = run(small_package, "--against", small_package, "--json")
    assert code == 0
    found = Inspection.model_validate_json(out).divergence
    assert found is not None
    assert found.first is None


@pytest.mark.parametrize("option", ["--operations", "--divergence", "--against"])
def test_an_option_for_core_ml_on_another_file(run: Run, small_onnx: Path, option: str) -> None:
    words = [option, small_onnx] if option == "--against" else [option]
    code, out, err = run(small_onnx, *words)
    assert (code, out) == (2, "")
    assert f"{option} does nothing for {small_onnx.name}: it is for Core ML programs" in err


def test_reports_from_before_are_still_read() -> None:
    """`coreml-before-bounds.json` was written when no count could say that it is a lower bound."""
    old = Path(__file__).parents[1] / "golden/inspection/coreml-before-bounds.json"
    found = Inspection.model_validate_json(old.read_text(encoding="utf-8"))
    assert (found.macs, found.macs_at_least, found.parts) == (466580, False, ())
