"""A bundle on a runtime, asked for the classes of one image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..bundle import Bundle
from ..errors import RuntimeFailure, UsageError
from ..inputs import Array
from ..runtimes import LoadedModel, Runtime, RuntimeOptions, get_runtime
from .classes import ClassMap, claim, map_classes

TOP = 5
_STAND_INS: Mapping[str, str] = {"coreml": "coreml-interpreter"}
"""Runtime -> the one that gives the same results on machines where it cannot run."""


class Subject(NamedTuple):
    """`label` names the bundle in a table; `classes` is how many the network has."""

    bundle: Bundle
    label: str
    runtime: Runtime
    classes: int

    def load(self, threads: int) -> LoadedModel:
        """The loaded model that answers.

        Raises:
            MissingDependencyError: if the runtime is not usable on this machine.
            RuntimeFailure: if it refuses the model.
        """
        return self.runtime.load(self.bundle, RuntimeOptions(threads=threads))

    def best(self, model: LoadedModel, image: Array) -> tuple[int, ...]:
        """The classes with the highest scores, best first; none if a score is NaN.

        Of equal scores the lower class comes first.

        Raises:
            RuntimeFailure: if the runtime fails or answers in another shape.
        """
        name, count = self.bundle.manifest.inputs[0].name, self.classes
        scores = np.asarray(model.run({name: image})[0], np.float64)
        if scores.shape != (1, count):
            raise RuntimeFailure(
                f"{self.label} gave scores of shape {scores.shape}, not (1, {count})",
                "export it again with care-export",
            )
        if np.isnan(scores).any():
            return ()
        return tuple(int(i) for i in np.argsort(-scores[0], kind="stable")[:TOP])


def open_subjects(
    paths: tuple[Path, ...],
    folders: tuple[str, ...],
    classes: tuple[str, ...] | None,
    runtime: str | None,
) -> tuple[list[Subject], ClassMap]:
    """Open bundles and find out which class each folder is, for all of them.

    Raises:
        BundleError: if one is missing or damaged.
        UsageError: if one is no classifier of these classes, given twice, or cannot run on
            `runtime`, or if two disagree about the classes.
    """
    opened = [Bundle.open(path) for path in paths]
    resolved = [path.resolve() for path in paths]
    twice = next((path for path in paths if resolved.count(path.resolve()) > 1), None)
    if twice is not None:
        raise UsageError(f"bundle {twice} is given twice", "name each bundle once")
    uses = Counter(bundle.name for bundle in opened)
    labels = [bundle.name if uses[bundle.name] == 1 else str(bundle.path) for bundle in opened]
    claims = [claim(bundle, label) for bundle, label in zip(opened, labels, strict=True)]
    subjects = [
        Subject(bundle, label, choose_runtime(bundle, runtime), claimed.classes)
        for bundle, label, claimed in zip(opened, labels, claims, strict=True)
    ]
    return subjects, map_classes(folders, claims, classes)


def choose_runtime(bundle: Bundle, name: str | None = None) -> Runtime:
    """The runtime called `name`, or the first that runs this bundle on this machine.

    Raises:
        UsageError: for one that does not exist or cannot run this kind of bundle.
    """
    made_for = bundle.manifest.runtime
    fitting = [made_for, *([_STAND_INS[made_for]] if made_for in _STAND_INS else [])]
    if name is not None:
        runtime = get_runtime(name)
        if name not in fitting:
            raise UsageError(
                f"{bundle.name} does not run on {name}", f"it runs on {' or '.join(fitting)}"
            )
        return runtime
    runtimes = [get_runtime(fit) for fit in fitting]
    # Where none is usable, loading the first one says what is missing.
    return next((r for r in runtimes if r.availability().usable), runtimes[0])
