"""The result as a file."""

from __future__ import annotations

import os
from pathlib import Path

from pydantic import ValidationError

from ..errors import OutputError
from ..files import read_small
from .results import EvaluationReport

_MAX_BYTES = 2**30


def check_output(path: Path) -> None:
    """Make sure that nothing but an earlier result would be replaced, before any work.

    Raises:
        OutputError: if something else is there.
    """
    if not path.exists() and not path.is_symlink():
        return
    try:
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
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(report.model_dump_json(indent=2) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error.strerror}", "free some space") from error
