"""Which class of the network each folder is: one mapping for all that one table compares."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ..bundle import Bundle, ClassesFrom
from ..errors import UsageError
from ..runtimes.coreml import read_labels
from .names import bare, check_names, read_names

_SHOWN = 4
_GIVE_FILE = (
    "give --classes FILE: the folder name of each class, one per line, in the network's order"
)
_APART = "evaluate them in calls of their own"


class Claim(NamedTuple):
    """What a network says of its classes: how many they are, and their names if it has any."""

    owner: str
    classes: int
    labels: tuple[str, ...] = ()


class ClassMap(NamedTuple):
    """Folder -> index of the network's class, and what says so.

    `note` is for people: a contradiction that does not forbid the mapping, else empty.
    """

    indices: dict[str, int]
    source: ClassesFrom
    note: str = ""

    def digest(self) -> str:
        """SHA-256 over folders and classes."""
        content = json.dumps(sorted(self.indices.items()))
        return hashlib.sha256(content.encode()).hexdigest()


def read_classes(path: Path) -> tuple[str, ...]:
    """Folder names in the network's order, one per line; ImageNet's lists will do.

    Raises:
        UsageError: if the file cannot be read, is empty, or names a class twice.
    """
    names = bare(read_names(path, "--classes"))
    check_names(names, f"--classes {path}")
    return names


def class_count(bundle: Bundle) -> int:
    """Classes of a classifier.

    Raises:
        UsageError: if the bundle is no classifier of images.
    """
    outputs, inputs = bundle.manifest.arrays, bundle.manifest.inputs
    if len(inputs) != 1 or len(outputs) != 1 or len(outputs[0].shape) != 2:
        raise UsageError(
            f"{bundle.name} is no classifier: it has {len(inputs)} inputs and outputs of shapes "
            f"{[list(spec.shape) for spec in outputs]}",
            "export it without --features-only",
        )
    count = outputs[0].shape[1]
    if count is None or count < 2:
        raise UsageError(f"{bundle.name} has {count} classes", "accuracy needs at least two")
    return count


def claim(bundle: Bundle, owner: str) -> Claim:
    """What a bundle says of its classes.

    Raises:
        UsageError: if it is no classifier.
        BundleError: if its labels cannot be read.
    """
    return Claim(owner, class_count(bundle), tuple(read_labels(bundle)))


def map_classes(
    folders: Sequence[str], claims: Sequence[Claim], classes: tuple[str, ...] | None
) -> ClassMap:
    """The one mapping for all of `claims`, at least one.

    `classes` says, else the labels do, else the folders are as many as the network's classes and
    lie in its order when sorted by name.

    Raises:
        UsageError: if none of these fits, or the claims disagree.
    """
    agreed = _agreed(claims)
    if classes is not None:
        if len(classes) != agreed.classes:
            raise UsageError(
                f"--classes names {len(classes)} classes, {agreed.owner} has {agreed.classes}",
                "give one line per class of the network",
            )
        indices = _named(folders, classes, "--classes", "add it there, or remove the folder")
        return ClassMap(indices, "--classes", _contradiction(classes, agreed))
    if agreed.labels:
        where = f"the labels of {agreed.owner}"
        names = bare(agreed.labels)
        check_names(names, where)
        return ClassMap(_named(folders, names, where, _GIVE_FILE), "labels")
    if len(folders) != agreed.classes:
        raise UsageError(
            f"there are {len(folders)} class folders, but {agreed.owner} has {agreed.classes} "
            "classes",
            _GIVE_FILE,
        )
    _check_numbers(folders)
    return ClassMap({name: index for index, name in enumerate(sorted(folders))}, "folder names")


def _agreed(claims: Sequence[Claim]) -> Claim:
    """What all say; the first one with labels says it."""
    for one in claims:
        if one.labels and len(one.labels) != one.classes:
            raise UsageError(
                f"{one.owner} has {len(one.labels)} labels for {one.classes} classes",
                "export it again with care-export",
            )
    first = claims[0]
    for other in claims[1:]:
        if other.classes != first.classes:
            raise UsageError(
                f"{first.owner} has {first.classes} classes, {other.owner} has {other.classes}",
                _APART,
            )
    labelled = [one for one in claims if one.labels] or [first]
    for other in labelled[1:]:
        pairs = enumerate(zip(labelled[0].labels, other.labels, strict=True))
        apart = next((f"class {i} is {a!r} and {b!r}" for i, (a, b) in pairs if a != b), "")
        if apart:
            raise UsageError(
                f"the labels of {labelled[0].owner} and {other.owner} disagree: {apart}", _APART
            )
    return labelled[0]


def _contradiction(classes: Sequence[str], agreed: Claim) -> str:
    """Where --classes has a label of the network at another place."""
    places = {name: index for index, name in enumerate(bare(agreed.labels))}
    for index, name in enumerate(classes):
        if places.get(name, index) != index:
            return (
                f"--classes makes {name!r} class {index}, the labels of {agreed.owner} class "
                f"{places[name]}; --classes was followed."
            )
    return ""


def _check_numbers(folders: Sequence[str]) -> None:
    """`2` comes before `10` as a number and after it as text, and so do `class2` and `class10`."""
    if len({re.sub(r"\d+", "#", name) for name in folders}) != 1:
        return

    def as_numbers(name: str) -> list[int]:
        return [int(digits) for digits in re.findall(r"\d+", name)]

    if sorted(folders) != sorted(sorted(folders), key=as_numbers):
        raise UsageError(
            "numbered class folders sort differently as text and as numbers "
            f"({', '.join(sorted(folders)[:_SHOWN])} ...)",
            _GIVE_FILE,
        )


def _named(folders: Sequence[str], names: Sequence[str], where: str, hint: str) -> dict[str, int]:
    # Some file systems take letters and their accents apart.
    places: Mapping[str, int] = {_composed(name): index for index, name in enumerate(names)}
    unknown = [folder for folder in folders if _composed(folder) not in places]
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        shown = ", ".join(repr(name) for name in unknown[:_SHOWN])
        raise UsageError(
            f"no class in {where} is called {shown}{more}", _nearly(unknown, names) or hint
        )
    return {folder: places[_composed(folder)] for folder in folders}


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _nearly(folders: Sequence[str], names: Sequence[str]) -> str:
    """A hint for the first folder whose name differs from a class's in letter case or spaces."""

    def loose(name: str) -> str:
        return re.sub(r"[\s_-]+", " ", _composed(name)).strip().casefold()

    classes = {loose(name): name for name in names}
    for folder in folders:
        if loose(folder) in classes:
            return (
                f"folder {folder!r} must be called {classes[loose(folder)]!r}, letter by letter: "
                "rename it, or give --classes FILE with the names of the folders"
            )
    return ""
