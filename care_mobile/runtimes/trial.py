"""A bundle's first run here, in a process of its own with limits of time and memory.

A damaged model can abort, hang or fill the process that loads it: ExecuTorch ends the process on
some, and no `except` sees that. What survives its trial is then loaded where it is needed. A trial
costs the start of the runtime, about half a second for ONNX Runtime and four for ExecuTorch, which
brings torch; so what survived is remembered by the hash of its files and the runtime's version.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from ..bundle import Bundle
from ..errors import CareError, RuntimeFailure
from ..processes.marks import cache_folder, remember
from ..processes.peer import Limits, Peer, PeerDiedError, serve
from ..requirements import tool_versions

NATIVE = frozenset(("onnxruntime", "executorch", "coreml"))
"""Runtimes that run a model's file in native code."""

SECONDS = 120.0
RESIDENT_BYTES = 4 * 2**30
_PER_BYTE = 20


class DiedError(RuntimeFailure):
    """The process that a bundle was tried in did not survive it."""


class Trials:
    """One process for all trials, and another after one that it did not survive."""

    def __init__(self, remembered: Path | None = None) -> None:
        self._peer: Peer | None = None
        self._remembered = remembered if remembered is not None else cache_folder()

    def __enter__(self) -> Trials:
        return self

    def __exit__(self, *_: object) -> None:
        if self._peer is not None:
            self._peer.close()

    def check(self, bundle: Bundle, runtime: str, threads: int = 1) -> None:
        """Load and run `bundle` once; nothing if that went well, here or earlier.

        Raises:
            RuntimeFailure: if the runtime refuses it.
            DiedError: if its process does not survive.
        """
        if runtime not in NATIVE:
            return
        mark = self._remembered / _identity(bundle, runtime)
        if mark.exists():
            return
        if self._peer is None:
            self._peer = Peer(__name__, environment={"PYTHONWARNINGS": "ignore"})
        request = {"bundle": str(bundle.path), "runtime": runtime, "threads": threads}
        try:
            answer = self._peer.ask(request, limits(bundle))
        except PeerDiedError as error:
            raise DiedError(
                f"{bundle.name}: {runtime} did not survive loading and running it: {error}",
                "the model file is damaged, or not made for this runtime: export it again",
            ) from error
        if answer:
            raise RuntimeFailure(answer["message"], answer["hint"])
        remember(mark)


def survived(bundle: Bundle, runtime: str) -> None:
    """Remember that a bundle ran well in a process that was set aside for it."""
    if runtime in NATIVE:
        remember(cache_folder() / _identity(bundle, runtime))


def limits(bundle: Bundle) -> Limits:
    """More memory for larger models."""
    return Limits(SECONDS, RESIDENT_BYTES + _PER_BYTE * bundle.size_bytes)


def _identity(bundle: Bundle, runtime: str) -> str:
    """Of the bundle's content, the runtime and what it runs in."""
    manifest = bundle.manifest
    described = manifest.model_dump(include={"inputs", "outputs"})
    content = repr((runtime, sorted(tool_versions().items()), described, manifest.content_sha256))
    return hashlib.sha256(content.encode()).hexdigest()


# The trial's own process ----------------------------------------------------------------


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    """Empty if all went well, else the error."""
    from . import RuntimeOptions, get_runtime
    from .noise import seeded_inputs

    try:
        bundle = Bundle.open(Path(request["bundle"]))
        options = RuntimeOptions(threads=request["threads"])
        model = get_runtime(request["runtime"]).load(bundle, options)
        model.run(seeded_inputs(bundle, 0))
    except CareError as error:
        return {"message": str(error), "hint": error.hint}
    except Exception as error:  # a runtime raises anything
        name = Path(request["bundle"]).name
        return {
            "message": f"{name}: {request['runtime']} failed: {type(error).__name__}: {error}",
            "hint": "export it again with care-export",
        }
    return {}


if __name__ == "__main__":
    serve(_answer, lambda: None)
