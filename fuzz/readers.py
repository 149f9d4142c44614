"""The product's own readers, in a process of their own: what they make of a damaged file."""

from __future__ import annotations

import io
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from care_mobile.errors import CareError
from care_mobile.processes.peer import serve

from .golden import IMPORTED, PROTOCOL, SIDE, journal_key

_LONGEST_MESSAGE = 2000


def _manifest(path: Path) -> None:
    from PIL import Image

    from care_mobile.answers import judge_answers, probe_inputs, reference_outputs
    from care_mobile.bundle import Bundle
    from care_mobile.evaluation.classes import class_count
    from care_mobile.inspection.inspector import inspect
    from care_mobile.runtimes.noise import seeded_inputs

    bundle = Bundle.open(path.parent)
    bundle.manifest.preprocessing.from_image(Image.new("RGB", (20, 10)))
    seeded_inputs(bundle, 0)
    inspect(path.parent)
    class_count(bundle)
    for probe in bundle.manifest.probes:
        probe_inputs(bundle, probe)
        reference = reference_outputs(bundle, probe)
        judge_answers(probe, reference, reference)


def _plan(path: Path) -> None:
    from care_mobile.bench.harness.launch import read_plan

    read_plan(path)


def _script(path: Path) -> None:
    from care_mobile.bench.devices.script import ScriptDevice

    from .golden import plan

    ScriptDevice(path).check(plan(path.with_name("bundle"), path.parent))


def _harness_script(path: Path) -> None:
    from care_mobile.bench.harness.script import read_script
    from care_mobile.bench.harness.scripted import Known, play
    from care_mobile.bench.protocol.plan import Plan
    from care_mobile.bench.protocol.reading import read_round

    # What it does to its process it would do to this one.
    script = read_script(path).model_copy(update={"faults": ()})
    plan = Plan.model_validate_json((PROTOCOL / "plan.json").read_bytes())
    # Without probes, whose files are not here: cells shall be played, not fail.
    cells = tuple(cell.model_copy(update={"probes": ()}) for cell in plan.cells)
    plan = plan.model_copy(update={"cells": cells})
    output = path.with_name("round.jsonl")
    output.unlink(missing_ok=True)
    for planned in plan.rounds[:2]:
        play(script, plan, planned, "launch-1", output, Known({}, path.parent, 10))
        if not read_round(output, plan, planned, "launch-1").ended:
            raise AssertionError("a scripted round has no end")
        output.unlink()


def _journal(path: Path) -> None:
    from care_mobile.evaluation.journal import keeping

    with keeping(path, journal_key()) as journal:
        len(journal.answers)


def _classes(path: Path) -> None:
    from care_mobile.evaluation.classes import read_classes

    read_classes(path)


def _checkpoint(path: Path) -> None:
    from care_mobile.models.checkpoint import load_weights

    from .golden import _network

    load_weights(_network(), str(path))


def _image(path: Path) -> None:
    from care_mobile.evaluation.images import UnreadableImage, read_image
    from care_mobile.inputs import Preprocessing, Resolution

    try:
        read_image(path, Preprocessing(resolution=Resolution(width=SIDE, height=SIDE)))
    except UnreadableImage as error:
        raise CareError(str(error)) from error


def _inspected(path: Path) -> None:
    from rich.console import Console

    from care_mobile.inspection.inspector import inspect
    from care_mobile.inspection.render import print_inspection

    found = inspect(path)
    found.model_dump_json()
    print_inspection(found, Console(file=io.StringIO()), True)


def _package(path: Path) -> None:
    import numpy as np

    from care_mobile.coreml import open_package
    from care_mobile.runtimes.interpreter import Interpreter, Numerics

    _inspected(path)
    package = open_package(path)
    noise = np.zeros((1, 3, SIDE, SIDE), np.float32)
    inputs = {named.name: noise for named in package.main.inputs}
    Interpreter(package, Numerics.DECLARED).run(inputs)


def _round(path: Path) -> None:
    from care_mobile.bench.protocol.plan import Plan
    from care_mobile.bench.protocol.reading import last_event, read_round

    plan = Plan.model_validate_json((PROTOCOL / "plan.json").read_bytes())
    last_event(path)
    read_round(path, plan, plan.rounds[1], "launch-1")


def _session(path: Path) -> None:
    from care_mobile.bench.records import open_record
    from care_mobile.bench.validity import judge

    judge(open_record(path))


def _imported(path: Path) -> None:
    from care_mobile.bench.importers import import_file, write_session

    for lines in import_file(path):
        _session(write_session(path.parent / "records", lines))


READERS: dict[str, Callable[[Path], None]] = {
    "round": _round,
    "session": _session,
    "old-record": _session,
    **dict.fromkeys(IMPORTED, _imported),
    "manifest": _manifest,
    "plan": _plan,
    "script": _script,
    "harness-script": _harness_script,
    "journal": _journal,
    "classes": _classes,
    "checkpoint": _checkpoint,
    "safetensors": _checkpoint,
    "png": _image,
    "jpg": _image,
    "webp": _image,
    "tiff": _image,
    "onnx": _inspected,
    "pte": _inspected,
    "mlpackage": _package,
}


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """`read`, `refused` with a line, or `broken` with a traceback."""
    try:
        READERS[request["kind"]](Path(request["path"]))
    except CareError as error:
        said = str(error)
        if len(said) > _LONGEST_MESSAGE:
            return {"outcome": "broken", "detail": f"a message of {len(said)} characters"}
        return {"outcome": "refused", "detail": said}
    except BaseException as error:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return {"outcome": "broken", "detail": traceback.format_exc(limit=-4)}
    return {"outcome": "read", "detail": ""}


if __name__ == "__main__":
    serve(_answer, lambda: None)
