"""Imports tried in a process of their own: a broken package can raise, crash, hang or print.

What could be imported is remembered by the package's file, so that a command pays for the trial
once.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import secrets
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from .processes.children import finish, start
from .processes.marks import cache_folder, remember
from .requirements import version

IMPORT_SECONDS = 60.0
"""For one module; torch takes two seconds, many times that from a cold disk on a busy machine."""

_SOURCE = """\
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[2])
for name in sys.argv[3:]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        from care_mobile.requirements import why_not
        print("\\n" + sys.argv[1], name.partition(".")[0], why_not(name, error), flush=True)
        raise SystemExit(1)
print("\\n" + sys.argv[1], "good", flush=True)
"""
_TAIL_BYTES = 4096
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
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            finish(process)
            return f"{_top(modules)} cannot be loaded: not done after {seconds:g} s"
        finally:
            status = finish(process)
        tail = _tail(printed)
    told = [line for line in tail.splitlines() if line.startswith(token)]
    if told:
        answer = told[-1].removeprefix(token).strip()
        return None if answer == "good" else answer
    return f"{_top(modules)} cannot be loaded: the import ended the process ({_ending(status)})"


def _top(modules: tuple[str, ...]) -> str:
    return " or ".join(dict.fromkeys(module.partition(".")[0] for module in modules))


def _ending(status: int) -> str:
    with suppress(ValueError):
        if status < 0:
            return signal.Signals(-status).name
    return f"exit code {status}"


def _tail(printed: IO[bytes]) -> str:
    size = printed.seek(0, 2)
    printed.seek(max(0, size - _TAIL_BYTES))
    return printed.read().decode(errors="replace")


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
