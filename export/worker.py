"""A process per target: lowers programs and runs what came out.

Converters print, leak and sometimes crash. In a process of its own each one's chatter goes to a
log, its crash loses no other target, and the targets run side by side. The worker starts
importing its packages at once, while the parent still traces and proves the network.

`care_mobile.processes.peer` starts it, with the name of a target, and is the protocol.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from care_mobile import importing
from care_mobile.errors import (
    CareError,
    MissingDependencyError,
    OutputError,
    TargetError,
    first_line,
)
from care_mobile.evaluation.dataset import Dataset, open_dataset
from care_mobile.half_precision import HalfPrecision
from care_mobile.inputs import Array
from care_mobile.processes.peer import Limits, Peer, PeerDiedError, serve
from care_mobile.requirements import broken, load

from .parity import Arrays, stacked
from .result import Failure, LayerDamage
from .targets import Lowered, LowerJob, Target, get_target

EXTRA = "export"
"""The extra of care-mobile that brings what targets import."""


class Worker:
    """The parent's end; one request at a time, others wait."""

    def __init__(self, target: Target) -> None:
        self.target = target
        # One thread each: the worker's work is Python, and the others need the cores.
        environment = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
        self._peer = Peer("care_mobile.export.worker", target.name, environment=environment)
        self._broken: MissingDependencyError | None = None

    def load(self, module: str) -> None:
        """Import a module in the worker, ahead of its use.

        Raises:
            MissingDependencyError: if it cannot be imported, or its import crashes or hangs; every
                later request raises the same.
        """
        if self._broken:
            raise self._broken
        try:
            self._ask({"command": "load", "module": module}, Limits(importing.IMPORT_SECONDS * 2))
        except PeerDiedError as error:
            self._broken = broken(module, f"cannot be loaded: its import ends with {error}", EXTRA)
        except CareError as error:
            self._broken = MissingDependencyError(str(error), error.hint)
        if self._broken:
            raise self._broken

    def lower(self, program: Path, job: LowerJob, folder: Path) -> Lowered:
        """Lower the program saved at `program` into `folder`.

        Raises:
            TargetError: if the converter fails or its process dies.
        """
        answer = self._ask(
            {
                "command": "lower",
                "program": str(program),
                "folder": str(folder),
                "job": job.model_dump(mode="json"),
            }
        )
        return Lowered.model_validate(answer)

    def run(
        self, bundle: Path, runtime: str, probes: Mapping[str, Array], scratch: Path
    ) -> dict[str, Arrays]:
        """Run a bundle on every input (n, C, H, W) of every probe set; outputs per set, stacked."""
        source, result = scratch / "probes.npz", scratch / "outputs.npz"
        np.savez(source, **probes)  # type: ignore[arg-type]  # names of ours, never `allow_pickle`
        self._ask(
            {
                "command": "run",
                "bundle": str(bundle),
                "runtime": runtime,
                "probes": str(source),
                "out": str(result),
            }
        )
        with np.load(result) as stored:
            return {
                name: [stored[f"{name}/{i}"] for i in range(int(stored[f"{name}/count"]))]
                for name in probes
            }

    def answers(self, bundle: Path, runtime: str, dataset: Dataset, limit: int | None) -> list[int]:
        """The class that a bundle gives every image of a dataset, in its order."""
        answers: list[int] = self._ask(
            {
                "command": "answers",
                "bundle": str(bundle),
                "runtime": runtime,
                "data": str(dataset.root),
                "limit": limit,
                "seed": dataset.seed,
            }
        )
        return answers

    def rank(self, program: Path, calibration: Path) -> tuple[LayerDamage, ...]:
        """All layers of a program, the one that 8-bit integers hurt most first."""
        request = {"command": "rank", "program": str(program), "calibration": str(calibration)}
        return tuple(LayerDamage.model_validate(entry) for entry in self._ask(request))

    def explain(self, bundle: Path, probes: Array, scratch: Path) -> HalfPrecision:
        """What fp16 costs a bundle on some inputs (n, C, H, W)."""
        source = scratch / "probe.npy"
        np.save(source, probes)
        request = {"command": "explain", "bundle": str(bundle), "probe": str(source)}
        return HalfPrecision.model_validate(self._ask(request))

    def close(self) -> None:
        """End the process, whatever it is doing; later requests fail."""
        self._peer.close()

    def _ask(self, request: dict[str, Any], limits: Limits | None = None) -> Any:
        if self._broken:
            raise self._broken
        try:
            answer = self._peer.ask(request, limits or Limits())
        except PeerDiedError as error:
            if limits:
                raise
            raise TargetError(
                f"the {self.target.name} converter's process died: {error}",
                "check memory and care-doctor; the other targets are not affected",
            ) from error
        if "failure" in answer:
            raise _revive(Failure.model_validate(answer["failure"]))
        return answer["result"]


def _revive(failure: Failure) -> CareError:
    error = TargetError(failure.message, failure.hint)
    error.exit_code = failure.exit_code
    return error


# The worker's end ------------------------------------------------------------------------


def _load(request: dict[str, Any], _: Target) -> None:
    load(request["module"], EXTRA)


def _lower(request: dict[str, Any], target: Target) -> dict[str, Any]:
    import torch

    program = torch.export.load(request["program"])
    job = LowerJob.model_validate(request["job"])
    return target.lower(program, job, Path(request["folder"])).model_dump(mode="json")


def _run(request: dict[str, Any], _: Target) -> dict[str, Any]:
    from care_mobile.bundle import Bundle
    from care_mobile.runtimes import RuntimeOptions, get_runtime
    from care_mobile.runtimes.trial import survived

    bundle = Bundle.open(Path(request["bundle"]))
    session = get_runtime(request["runtime"]).load(bundle, RuntimeOptions())
    name = bundle.manifest.inputs[0].name
    stored: dict[str, Any] = {}
    with np.load(request["probes"]) as probes:
        for probe_set, inputs in probes.items():
            outputs = [[np.array(o) for o in session.run({name: x[None]})] for x in inputs]
            columns = stacked(outputs)
            stored |= {f"{probe_set}/{i}": column for i, column in enumerate(columns)}
            stored[f"{probe_set}/count"] = len(columns)
    np.savez(request["out"], **stored)
    survived(bundle, request["runtime"])
    return {}


def _answers(request: dict[str, Any], _: Target) -> list[int]:
    from care_mobile.bundle import Bundle
    from care_mobile.runtimes import RuntimeOptions, get_runtime

    from .accuracy import answer

    bundle = Bundle.open(Path(request["bundle"]))
    session = get_runtime(request["runtime"]).load(bundle, RuntimeOptions())
    dataset = open_dataset(Path(request["data"]), request["limit"], request["seed"])
    name = bundle.manifest.inputs[0].name
    preprocessing = bundle.manifest.preprocessing
    return list(answer(dataset, preprocessing, lambda image: session.run({name: image})[0]))


def _rank(request: dict[str, Any], _: Target) -> list[dict[str, Any]]:
    import torch

    from .quantize.calibration import stored
    from .quantize.sensitivity import rank, subset

    program = torch.export.load(request["program"])
    images = subset(stored(Path(request["calibration"])))
    return [damage.model_dump(mode="json") for damage in rank(program, images)]


def _explain(request: dict[str, Any], target: Target) -> dict[str, Any]:
    from care_mobile.bundle import Bundle

    bundle = Bundle.open(Path(request["bundle"]))
    name = bundle.manifest.inputs[0].name
    inputs = [{name: x[None]} for x in np.load(request["probe"])]
    return target.half_precision(bundle.model_path, inputs).model_dump(mode="json")


def _answer(request: dict[str, Any], target: Target) -> dict[str, Any]:
    commands: dict[str, Callable[[dict[str, Any], Target], Any]] = {
        "load": _load,
        "lower": _lower,
        "run": _run,
        "explain": _explain,
        "answers": _answers,
        "rank": _rank,
    }
    try:
        return {"result": commands[request["command"]](request, target)}
    except CareError as error:
        failure = Failure.of(error)
    except OSError as error:
        failure = Failure(
            message=f"{target.name}: cannot write the bundle: {error.strerror or error}",
            hint="free some space, or choose another --output",
            exit_code=OutputError.exit_code,
        )
    except Exception as error:  # converters raise anything
        first = first_line(error, "no message")
        failure = Failure(
            message=f"{target.name}: {type(error).__name__}: {first}",
            hint="care-doctor shows versions that work together",
            exit_code=TargetError.exit_code,
        )
    return {"failure": failure.model_dump()}


def _prepare(target: Target) -> None:
    if hasattr(os, "nice"):
        os.nice(target.niceness)


def main() -> None:
    """Serve until standard input ends."""
    target = get_target(sys.argv[1])
    serve(lambda request: _answer(request, target), lambda: _prepare(target))


if __name__ == "__main__":
    main()
