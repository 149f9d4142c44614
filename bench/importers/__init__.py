"""What other tools measured, as records of kind `imported` that say what they lack.

A new format is one file here and one line in `FORMATS`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

from pydantic import ValidationError

from care_mobile.errors import OutputError, unknown_name
from care_mobile.files import read_small
from care_mobile.frozen import first_problem

from ..journal import SUFFIX, to_line
from ..protocol.base import Contract, date_of
from ..protocol.record import SessionOpened
from . import (
    ai_hub,
    androidx_benchmark,
    benchmark_model,
    coreml_benchmarker,
    minibench,
    onnxruntime_perf_test,
)
from .base import ForeignFileError, Format, Source
from .sessions import lines_of_session

MAX_BYTES = 2**25
FORMATS: tuple[Format, ...] = (
    onnxruntime_perf_test.TEXT,
    onnxruntime_perf_test.RESULTS,
    benchmark_model.FORMAT,
    minibench.FORMAT,
    androidx_benchmark.FORMAT,
    coreml_benchmarker.FORMAT,
    ai_hub.FORMAT,
)
Lines = tuple[Contract, ...]
"""Of a record, from `session` to `closed`."""

__all__ = ["FORMATS", "ForeignFileError", "Lines", "import_file", "write_session"]


def import_file(path: Path, name: str | None = None) -> tuple[Lines, ...]:
    """The sessions in a file of the format `name`, found by its content if None.

    Most files hold one; of a file about several devices, each has its own.

    Raises:
        UsageError: for the name of a format that there is not.
        ForeignFileError: for a file that cannot be read or does not fit, in one line.
        MissingDependencyError: if reading the format needs a package that is not there.
    """
    wanted = None if name is None else _named(name)
    try:
        content = read_small(path, MAX_BYTES)
        changed = datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
    except OSError as error:
        raise ForeignFileError(f"{path}: {error.strerror}", "name a tool's file") from error
    source = Source(path.stem, content)
    chosen = wanted or _recognised(path, source)
    try:
        told = chosen.read(source)
        name_and_content = os.fsencode(f"{chosen.name}/{path.stem}/") + content
        first = f"{changed:%Y%m%dT%H%M%SZ}-{hashlib.sha256(name_and_content).hexdigest()[:8]}"
        ids = [first] if len(told) == 1 else [f"{first}-{place}" for place in range(len(told))]
        return tuple(
            lines_of_session(one, session, date_of(changed), chosen.origin)
            for one, session in zip(told, ids, strict=True)
        )
    except ForeignFileError as error:
        raise ForeignFileError(f"{path}: {error}", error.hint) from error
    except ValidationError as error:
        raise _misfit(path, chosen, first_problem(error)) from error
    except KeyError as error:
        raise _misfit(path, chosen, f"it has no {error}") from error
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise _misfit(path, chosen, str(error)) from error


def _named(name: str) -> Format:
    found = {one.name: one for one in FORMATS}
    if name not in found:
        raise unknown_name("format", name, found)
    return found[name]


def _recognised(path: Path, source: Source) -> Format:
    found = next((one for one in FORMATS if one.recognise(source)), None)
    if found is None:
        known = ", ".join(one.name for one in FORMATS)
        raise ForeignFileError(f"{path} is of no format that is known here", f"known: {known}")
    return found


def _misfit(path: Path, chosen: Format, why: str) -> ForeignFileError:
    return ForeignFileError(
        f"{path} is no whole file of {chosen.origin}: {why}", "say which it is with --format"
    )


def write_session(folder: Path, lines: Sequence[Contract]) -> Path:
    """Write a record into `folder`; returns its file. Importing a file twice changes nothing.

    Raises:
        OutputError: if the disk refuses, or another record has the name; nothing is left behind.
    """
    opened = lines[0]
    assert isinstance(opened, SessionOpened)
    content = b"".join(map(to_line, lines))
    file = folder / f"{opened.session}{SUFFIX}"
    partial = folder / f".partial-{os.getpid()}-{file.name}"
    try:
        if file.exists():
            if file.stat().st_size == len(content) and file.read_bytes() == content:
                return file
            raise OutputError(f"{file} is another record", "choose another --records")
        folder.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.rename(file)
    except OSError as error:
        raise OutputError(
            f"cannot write {file}: {error.strerror}", "choose another --records"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()
    return file
