"""Records of every version, opened by what they hold and not by their names."""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict, ValidationError

from care_mobile.files import read_small
from care_mobile.frozen import Frozen, first_problem

from .protocol import v1
from .protocol.base import MAX_LINE_BYTES
from .protocol.foreign import session_of
from .protocol.reading import RecordError, read_session
from .protocol.record import Session
from .protocol.upgrade import upgrade

MAX_OLD_BYTES = 2**30
_IMPORT = "care-bench import reads what other tools wrote"


class _FirstLine(Frozen):
    model_config = ConfigDict(extra="ignore", strict=True)
    event: str


def open_record(path: Path) -> Session:
    """A session's record: a file of this version, or one of the first or the folder of several.

    Raises:
        RecordError: if there is none, in one line.
    """
    try:
        if path.is_dir():
            return session_of(upgrade(_old_records(path)))
        if _is_lines(path):
            return read_session(path)
        return session_of(upgrade([_old_record(path)]))
    except OSError as error:
        raise RecordError(f"{path}: {error.strerror}", "name a record") from error


def _is_lines(path: Path) -> bool:
    """Whether the first line is an event by itself. Old records are one JSON value."""
    if not path.is_file():
        return path.exists()  # whose reader says what is wrong with a pipe or a device
    with path.open("rb") as stream:
        line = stream.readline(MAX_LINE_BYTES)
    try:
        _FirstLine.model_validate_json(line)
    except ValidationError:
        return False
    return True


def _old_record(path: Path) -> v1.RunRecord:
    content = read_small(path, MAX_OLD_BYTES)
    try:
        return v1.RunRecord.model_validate_json(content)
    except ValidationError as error:
        problem = first_problem(error)
        raise RecordError(f"{path} is no record: {problem}", _IMPORT) from error


def _old_records(folder: Path) -> list[v1.RunRecord]:
    files = sorted(folder.glob("*.json"))[: v1.MAX_BUNDLES]
    if not files:
        several = any(folder.glob("*.jsonl"))
        hint = "name one of its sessions' files" if several else "name a record's file"
        raise RecordError(f"{folder} holds no records of the first version: {hint}", hint)
    return [_old_record(file) for file in files]
