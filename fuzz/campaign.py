"""Many damaged files in turn, each drawn from the seed, its kind and its number alone."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from care_mobile.bundle import Bundle, digest
from care_mobile.errors import CareError
from care_mobile.processes.peer import Limits, Peer, PeerDiedError
from care_mobile.runtimes.trial import Trials

from . import golden
from .mutate import damaged, damaged_archive, damaged_json, damaged_lines

LIMITS = Limits(seconds=60.0, resident_bytes=4 * 2**30)
_SEALED = 0.9
"""Of the damaged manifests; the seal refuses the others before anything else is looked at."""

_NATIVE = {"onnx-native": ("onnxruntime", "x", "y"), "pte-native": ("executorch", "x", "y")}
_JSON = ("manifest", "plan", "script", "old-record", "minibench", "androidx-benchmark")
_JSON_LINES = ("journal", "round", "session")
Damage = Callable[[bytes, random.Random], bytes]


class Finding(NamedTuple):
    """A file that broke its reader; `case` draws it again."""

    case: str
    file: Path
    detail: str


@dataclass
class Result:
    """`outcomes` counts by kind and outcome."""

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)


class Campaign:
    """Golden files, the process of the readers, and the folder that findings are kept in."""

    def __init__(self, seed: int, kinds: tuple[str, ...], folder: Path, keep: Path) -> None:
        self.seed = seed
        self._folder, self._keep = folder, keep
        self.golden = {kind: golden.make(kind, folder / "golden" / kind) for kind in kinds}
        root = str(Path(__file__).parents[1])
        path = os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
        self._peer = Peer("fuzz.readers", environment={"PYTHONPATH": path})

    def __enter__(self) -> Campaign:
        return self

    def __exit__(self, *_: object) -> None:
        self._peer.close()

    def run(
        self,
        cases: int | None,
        seconds: float | None,
        on_case: Callable[[Result], None] = lambda result: None,
    ) -> Result:
        """All kinds in turn until there were `cases` of each or `seconds` are over."""
        result, started = Result(), time.monotonic()
        with Trials(remembered=self._folder / "survived") as trials:
            for number in self._numbers(cases):
                for kind in self.golden:
                    if seconds is not None and time.monotonic() - started > seconds:
                        return result
                    self._one(kind, number, trials, result)
                    on_case(result)
        return result

    def _numbers(self, cases: int | None) -> Iterator[int]:
        number = 0
        while cases is None or number < cases:
            yield number
            number += 1

    def _one(self, kind: str, number: int, trials: Trials, result: Result) -> None:
        case = f"{self.seed}:{kind}:{number}"
        path = self.draw(kind, number)
        outcome, detail = self._ask(kind, path, trials)
        result.outcomes[kind, outcome] += 1
        if outcome == "broken":
            whole = path.parent if kind == "manifest" else path
            kept = self._keep / f"{case.replace(':', '-')}-{whole.name}"
            shutil.rmtree(kept, ignore_errors=True)
            kept.parent.mkdir(parents=True, exist_ok=True)
            _copy(whole, kept)
            result.findings.append(Finding(case, kept, detail))

    def _ask(self, kind: str, path: Path, trials: Trials) -> tuple[str, str]:
        if kind in _NATIVE:
            return _tried(trials, Bundle.open(path.parent))
        try:
            answer = self._peer.ask({"kind": kind, "path": str(path)}, LIMITS)
        except PeerDiedError as error:
            return "broken", str(error)
        return answer["outcome"], answer["detail"]

    def draw(self, kind: str, number: int) -> Path:
        """Write case `number` of a kind; returns what its reader is given."""
        random_ = random.Random(f"{self.seed}:{kind}:{number}")  # noqa: S311 - damage, no secret
        work = self._folder / "work"
        shutil.rmtree(work, ignore_errors=True)
        source = self.golden[kind]
        if kind == "mlpackage":
            path = work / source.name
            shutil.copytree(source, path)
            files = sorted(item for item in path.rglob("*") if item.is_file())
            chosen = random_.choice(files)
            damage = damaged_json if chosen.name == "Manifest.json" else damaged
            chosen.write_bytes(damage(chosen.read_bytes(), random_))
            return path
        if kind in ("manifest", "script"):
            shutil.copytree(source.parent, work)
        work.mkdir(parents=True, exist_ok=True)
        path = work / source.name
        content = _damage_for(kind)(source.read_bytes(), random_)
        path.write_bytes(_sealed(content, random_) if kind == "manifest" else content)
        if kind in _NATIVE:
            runtime, name, output = _NATIVE[kind]
            bundle = golden.write_bundle(work / "bundle", path, runtime, name, output)
            return bundle / path.name
        return path


def _damage_for(kind: str) -> Damage:
    if kind in _JSON:
        return damaged_json
    if kind in _JSON_LINES:
        return damaged_lines
    return damaged_archive if kind == "checkpoint" else damaged


def _sealed(content: bytes, draw: random.Random) -> bytes:
    """A manifest under a seal of its own, as whoever forges one can write it."""
    try:
        value = json.loads(content)
        if draw.random() < _SEALED:
            value["integrity"] = digest(value)
        return json.dumps(value).encode()
    except (ValueError, TypeError, RecursionError):
        return content


def _tried(trials: Trials, bundle: Bundle) -> tuple[str, str]:
    try:
        trials.check(bundle, bundle.manifest.runtime)
    except CareError as error:
        return "refused", str(error)
    return "read", ""


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)
