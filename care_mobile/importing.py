"""Imports tried in a process of their own: a broken package can raise, crash, hang or print.

What could be imported is remembered by the package's file, so that a command pays for the trial
once.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from .processes.children import finish, start
from .processes.marks import cache_folder, remember
from .requirements import version

IMPORT_SECONDS = 60.0
"""For one module; torch takes two seconds, many times that from a cold disk on a busy machine."""

_SOURCE = """\
import contextlib, importlib, json, sys
with contextlib.suppress(ImportError):
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 26,) * 2)  # what never stops printing fails
sys.path[:] = json.loads(sys.argv[2])
for name in sys.argv[3:]:
    print("\\n" + sys.argv[1], name, "is being imported", flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        from care_mobile.requirements import why_not
        print("\\n" + sys.argv[1], name.partition(".")[0], why_not(name, error), flush=True)
        raise SystemExit(1)
print("\\n" + sys.argv[1], "good", flush=True)
"""
_BEING_IMPORTED = "is being imported"
_MOST_BYTES = 1 << 20
_LOOK_SECONDS = 0.2
_expendable = False


def expendable() -> None:
    """Say that this process may crash: imports need no trial before."""
    global _expendable  # noqa: PLW0603 - true of the process
    _expendable = True


def check(module: str) -> str | None:
    """Why a module cannot be imported here, or None; tried once, then remembered."""
    if _expendable or module in sys.modules:
        return None
    mark = _mark(module)
    if mark is not None and mark.exists():
        return None
    problem = try_import((module,))
    if problem is None and mark is not None:
        remember(mark)
    return problem


def try_import(modules: tuple[str, ...], seconds: float = IMPORT_SECONDS) -> str | None:
    """Import modules in a fresh process; what is wrong with the first bad one, or None.

    The answer is a sentence without its end: `torch cannot be loaded: ...`.
    """
    token = secrets.token_hex(16)  # whatever else a package prints is not taken for the answer
    with tempfile.TemporaryFile() as printed:
        process = start(
            [sys.executable, "-c", _SOURCE, token, json.dumps(sys.path), *modules],
            stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            in_time = _ends(process, lambda: _told(printed, token), seconds)
        finally:
            status = finish(process)
        answer = (_told(printed, token) or [f"{modules[0]} {_BEING_IMPORTED}"])[-1]
    if answer == "good":
        return None
    if not answer.endswith(_BEING_IMPORTED):
        return answer
    top = answer.partition(" ")[0].partition(".")[0]
    if not in_time:
        return f"{top} cannot be loaded: not done after {seconds:g} s"
    return f"{top} cannot be loaded: the import ended the process ({_ending(status)})"


def _ends(process: subprocess.Popen[bytes], told: Callable[[], list[str]], seconds: float) -> bool:
    """Whether the process ends with no more than `seconds` between two lines of its own."""
    lines, since = 0, time.monotonic()
    while True:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=_LOOK_SECONDS)
            return True
        found = told()
        if found[-1:] == ["good"]:
            return True
        if len(found) > lines:
            lines, since = len(found), time.monotonic()
        if time.monotonic() - since > seconds:
            return False


def _told(printed: IO[bytes], token: str) -> list[str]:
    """The trial's own lines, of which the last may stand after much that a package printed."""
    mark = b"\n" + token.encode() + b" "
    size = os.fstat(printed.fileno()).st_size
    # The process goes on writing at the offset that both share, so nothing here may move it.
    text = os.pread(printed.fileno(), min(size, _MOST_BYTES), 0)
    if size > _MOST_BYTES:
        text += os.pread(printed.fileno(), _MOST_BYTES, size - _MOST_BYTES)
    return [
        piece.partition(b"\n")[0].decode(errors="replace").strip() for piece in text.split(mark)[1:]
    ]


def _ending(status: int) -> str:
    with suppress(ValueError):
        if status < 0:
            return signal.Signals(-status).name
    return f"exit code {status}"


def _mark(module: str) -> Path | None:
    """Where a successful import is remembered; None if nobody knows where the module comes from."""
    top = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
        places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
        place = next(Path(p) for p in places if p and Path(p).exists())
        changed_ns = place.stat().st_mtime_ns
    except Exception:  # finders raise anything
        return None
    finders = [getattr(finder, "__qualname__", type(finder)) for finder in sys.meta_path]
    content = repr((module, str(place), changed_ns, version(top), sys.prefix, finders))
    return cache_folder() / hashlib.sha256(content.encode()).hexdigest()
