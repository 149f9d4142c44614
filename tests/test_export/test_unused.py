"""Every option of care-export in every situation where it would do nothing: an error, at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from care_mobile.errors import UsageError
from care_mobile.export.cli import app, main
from care_mobile.export.request import ExportRequest
from care_mobile.export.targets import TARGETS, Options
from care_mobile.export.unused import flag

from .commands import ENVIRONMENT

OWN = "-m networks:trained"
IDLE: dict[str, list[tuple[str, str]]] = {
    "--opset": [
        ("-t executorch --opset 20", "does nothing for executorch"),
        ("-t coreml --opset 21", "does nothing for coreml"),
        ("-t coreml -t executorch --opset 20", "does nothing for coreml and executorch"),
        ("-t all -p palette4 --opset 20", "does nothing for coreml"),
    ],
    "--dynamic-batch": [
        ("-t executorch --dynamic-batch", "does nothing for executorch"),
        ("-t coreml --dynamic-batch", "does nothing for coreml"),
    ],
    "--image-input": [
        ("-t onnx --image-input", "does nothing for onnx"),
        ("-t onnx -t executorch --image-input", "does nothing for onnx and executorch"),
    ],
    "--min-ios": [
        ("-t onnx --min-ios 17", "does nothing for onnx"),
        ("-t executorch --min-ios 18", "does nothing for executorch"),
    ],
    "--max-partitions": [
        ("-t onnx --max-partitions 0", "does nothing for onnx"),
        ("-t coreml --max-partitions 1", "does nothing for coreml"),
        ("-t all -p fp16 --max-partitions 1", "does nothing for coreml and onnx"),
    ],
    "--max-fallback-ops": [
        ("-t onnx --max-fallback-ops 0", "does nothing for onnx"),
        ("-t coreml --max-fallback-ops 0", "does nothing for coreml"),
    ],
    "--calibration": [
        ("-t onnx --calibration .", "does nothing for onnx in fp32"),
        ("--calibration .", "does nothing for coreml in fp16 and onnx in fp32"),
        ("-t coreml -p palette4 --calibration .", "does nothing for coreml in palette4"),
        ("-t coreml -p int8-weights --calibration .", "does nothing for coreml in int8-weights"),
        ("-p fp32 -p fp16 --calibration .", "does nothing for coreml in fp32 and"),
    ],
    "--calibration-count": [
        ("-p fp32 --calibration-count 64", "does nothing for coreml in fp32"),
        ("-t coreml -p palette6 --calibration-count 9", "does nothing for coreml in palette6"),
    ],
    "--keep-float": [
        ("-t onnx --keep-float 0", "does nothing for onnx in fp32"),
        ("-t executorch -p fp32 --keep-float 3", "does nothing for executorch in fp32"),
    ],
    "--min-psnr": [("-t onnx --min-psnr 40", "does nothing for onnx in fp32")],
    "--max-drop": [
        ("-t onnx --data . --max-drop 1", "does nothing for onnx in fp32"),
        ("-t onnx -p int8 --max-drop 1", "needs labelled images"),
    ],
    "--data-limit": [("-t onnx --data-limit 5", "needs labelled images")],
    "--checkpoint-key": [
        ("--checkpoint-key model", "does nothing with weights random:0"),
        ("-w random:3 --checkpoint-key model", "does nothing with weights random:3"),
        (f"{OWN} --checkpoint-key model", "does nothing with weights as-built"),
        (f"{OWN} -w as-built --checkpoint-key model", "does nothing with weights as-built"),
    ],
    "--num-classes": [("--features-only --num-classes 10", "with --features-only")],
    "--precision": [
        ("-t onnx -p palette4", "onnx has no precision palette4"),
        ("-t executorch -p fp32 -p fp16", "executorch has no precision fp16"),
        ("-t executorch -t onnx -p fp32 -p palette8", "executorch and onnx have no precision"),
        ("-t all -p fp61", "unknown precision"),
    ],
    "--target": [("-t coreml -t onnx -p palette4", "target onnx has no precision palette4")],
    "--input-range": [("--image-input --input-range normalized", "0..255")],
    "--features-only": [("--features-only --data .", "--features-only")],
    "--data": [("--data . --features-only", "--data needs a classifier")],
    "--mean": [
        ("--mean 0.5,0.5,0.5", "--mean without --std"),
        ("--mean 127.5,127.5,127.5 --std 1,1,1", "divide by 255"),
        ("--mean -0.5,0.5,0.5 --std 1,1,1", "below 0"),
        ("--mean nan,0.5,0.5 --std 1,1,1", "no number"),
        ("--mean 0.5,0.5 --std 1,1", "has 2 values for 3 channels"),
        ("--mean 0.5 --std 0.5 --in-channels 2", "has 1 values for 2 channels"),
    ],
    "--std": [
        ("--std 0.5,0.5,0.5", "--std without --mean"),
        ("--mean 0.5,0.5,0.5 --std 0,1,1", "must be positive"),
        ("--mean 0.5,0.5,0.5 --std=-1,1,1", "must be positive"),
        ("--mean 0.5,0.5,0.5 --std inf,1,1", "no number"),
        ("--mean 0.5,0.5,0.5 --std 58.4,57.1,57.4", "divide by 255: --std 0.229,0.2239,0.2251"),
    ],
    "--labels": [
        ("--labels ten.txt", "10 names for the 1000 classes of care_s0"),
        ("--labels ten.txt --num-classes 9", "for the 9 classes of --num-classes 9"),
        ("--labels ten.txt --features-only", "--features-only"),
    ],
    "--weights": [
        ("-w as-built", "built without trained weights"),
        ("-m care_s0 -m care_s1 -w a.pth", "one weights file"),
    ],
    "--no-overwrite": [],
}
"""Option -> command lines that give it where it has no effect, and what the error says."""

ALWAYS = {
    "--model", "--resolution", "--output", "--in-channels", "--keep-failed", "--seed",
    "--explain", "--json", "--with-pass", "--skip-pass", "--classes",
}  # fmt: skip
"""Have an effect whatever the rest is, or (passes) are judged when the network is there."""


def ended(monkeypatch: pytest.MonkeyPatch, words: str) -> object:
    monkeypatch.setattr(sys, "argv", ["care-export", *words.split()])
    with pytest.raises(SystemExit) as end:
        main()
    return end.value.code


@pytest.mark.parametrize(
    ("option", "words", "says"),
    [(option, *case) for option, cases in IDLE.items() for case in cases],
)
def test_an_option_that_does_nothing(
    option: str,
    words: str,
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ten.txt").write_text("\n".join(map(str, range(10))))
    assert ended(monkeypatch, words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    first, *hint = err.splitlines()
    assert first.startswith("error: ")
    assert says in first + "".join(hint)
    assert all(line.startswith("  try: ") for line in hint)
    assert [p.name for p in tmp_path.iterdir()] == ["ten.txt"]


def test_every_option_is_in_the_table() -> None:
    command = typer.main.get_command(app)
    options = {parameter.opts[0] for parameter in command.params}
    assert options - ALWAYS <= set(IDLE)


def test_nothing_of_it_waits_for_torch(tmp_path: Path) -> None:
    """In one process, since starting one for each would take as long as the export."""
    lines = [words for cases in IDLE.values() for words, _ in cases]
    (tmp_path / "ten.txt").write_text("\n".join(map(str, range(10))))
    source = (
        "import sys\nfrom care_mobile.export.cli import main\n"
        f"for words in {lines!r}:\n"
        "    sys.argv = ['care-export', *words.split()]\n"
        "    try:\n        main()\n    except SystemExit as end:\n        assert end.code == 2\n"
        "    assert 'torch' not in sys.modules, words\n"
        "print('done')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", source], cwd=tmp_path, env=ENVIRONMENT,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "done\n", done.stderr[-2000:]


@given(
    targets=st.lists(st.sampled_from([t.name for t in TARGETS]), min_size=1, unique=True),
    field=st.sampled_from(sorted(Options.model_fields)),
)
@settings(deadline=None)
def test_a_field_is_refused_exactly_where_no_target_reads_it(
    targets: list[str], field: str
) -> None:
    values = {"labels": tuple(map(str, range(1000))), "dynamic_batch": True, "image_input": True,
              "max_partitions": 0, "max_fallback_ops": 0, "opset": 20, "min_ios": 17}  # fmt: skip
    request = ExportRequest(
        targets=tuple(targets),
        options=Options(**{field: values[field]}),  # type: ignore[arg-type]
        **({"input_range": "0..255"} if field == "image_input" else {}),  # type: ignore[arg-type]
    )
    reads = any(field in target.options for target in request.chosen_targets())
    if reads:
        request.checked()
    else:
        with pytest.raises(UsageError, match=f"{flag(field)} does nothing"):
            request.checked()


@pytest.mark.parametrize(
    "words",
    [
        "-t onnx --opset 20",
        "-t all --opset 20 --min-ios 17 --max-partitions 0 --dynamic-batch",
        "-t coreml -p fp16 -p int8 --keep-float 0 --calibration .",
        "-t coreml -p palette4 --keep-float 2 --calibration-count 8",
        "-t coreml -p palette4 --explain --calibration .",
        "-t all -p palette4 -p fp32",
        "-t coreml -t onnx -p fp16 -p palette4",
        "-m care_s0 -m networks:trained",
        "--mean 0.5,0.5,0.5 --std 0.00392,0.00392,0.00392",
        "--mean 0,0,0 --std 1,1,1",
        "-w w.pth --checkpoint-key model",
        "--features-only --num-classes 3 -m networks:trained",
    ],
)
def test_what_has_an_effect_passes(words: str) -> None:
    from care_mobile.export import cli

    context = typer.main.get_command(app).make_context("care-export", words.split())
    assert cli._request(cli.given(context)).checked()


def test_given_in_python_is_given() -> None:
    """`model_fields_set` counts, not the value; what asks for nothing does not."""
    with pytest.raises(UsageError, match="--opset does nothing for coreml"):
        ExportRequest(targets=("coreml",), options=Options(opset=20)).checked()
    with pytest.raises(UsageError, match="--keep-float does nothing"):
        ExportRequest(targets=("onnx",), keep_float=0).checked()
    ExportRequest(targets=("onnx",), calibration=None, min_psnr_db=None).checked()
    ExportRequest(targets=("coreml",), options=Options(dynamic_batch=False, labels=())).checked()
