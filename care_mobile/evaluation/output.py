"""The result as a file."""

from __future__ import annotations

import glob
from pathlib import Path

from pydantic import ValidationError

from ..errors import OutputError
from ..files import read_small, write_whole
from ..processes.owners import abandoned
from .results import EvaluationReport

_MAX_BYTES = 2**30


def check_output(path: Path) -> None:
    """Make sure that nothing but an earlier result would be replaced, before any work; remove
    what a killed evaluation left behind.

    Raises:
        OutputError: if something else is there.
    """
    try:
        for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
            pid = left.name.rpartition(".")[2]
            if pid.isdecimal() and abandoned(left, int(pid)):
                left.unlink(missing_ok=True)
        if not path.exists() and not path.is_symlink():
            return
        EvaluationReport.model_validate_json(read_small(path, _MAX_BYTES))
    except (OSError, ValidationError) as error:
        raise OutputError(
            f"{path} exists and is no result of care-eval", "choose another --output"
        ) from error


def write_report(report: EvaluationReport, path: Path) -> None:
    """Write the result as JSON; it appears whole or not at all.

    Raises:
        OutputError: if the disk refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, (report.model_dump_json(indent=2) + "\n").encode())
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror}", "free some space") from error
