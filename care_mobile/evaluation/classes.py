"""Which class of the network each folder is."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..bundle import Bundle
from ..errors import UsageError
from ..runtimes.coreml import read_labels

_WORDNET = re.compile(r"n\d{8}(?=\s|$)")
_SHOWN = 4
_GIVE_FILE = (
    "give --classes FILE: the folder name of each class, one per line, in the network's order"
)


def read_classes(path: Path) -> tuple[str, ...]:
    """Folder names in the network's order, one per line.

    ImageNet's lists, with a description after each WordNet name (`n01440764 tench, ...`), will do.

    Raises:
        UsageError: if the file cannot be read, is empty, or names a class twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--classes {path} cannot be read: {error}", "one folder name per line"
        ) from error
    names = [line.strip() for line in lines if line.strip()]
    if names and all(_WORDNET.match(name) for name in names):
        names = [name[:9] for name in names]
    if not names:
        raise UsageError(f"--classes {path} is empty", "one folder name per line")
    twice = next((name for name, uses in Counter(names).items() if uses > 1), None)
    if twice is not None:
        raise UsageError(f"--classes {path} names {twice!r} twice", "one folder name per line")
    return tuple(names)


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


def class_indices(
    folders: Sequence[str], bundle: Bundle, classes: tuple[str, ...] | None
) -> dict[str, int]:
    """Folder -> index of the network's class.

    Either `classes` says, or the bundle's own labels do, or the folders are as many as the
    network's classes and lie in its order when sorted by name.

    Raises:
        UsageError: if none of these fits.
    """
    count = class_count(bundle)
    if classes is not None:
        if len(classes) != count:
            raise UsageError(
                f"--classes names {len(classes)} classes, {bundle.name} has {count}",
                "give one line per class of the network",
            )
        return _named(folders, classes, "--classes", "add it there, or remove the folder")
    labels = read_labels(bundle)
    if labels:
        return _named(folders, labels, f"the labels of {bundle.name}", _GIVE_FILE)
    if len(folders) != count:
        raise UsageError(
            f"there are {len(folders)} class folders, but {bundle.name} has {count} classes",
            _GIVE_FILE,
        )
    if all(name.isdecimal() for name in folders) and list(folders) != sorted(folders, key=int):
        raise UsageError(
            "numbered class folders sort differently as text and as numbers "
            f"({', '.join(folders[:_SHOWN])} ...)",
            _GIVE_FILE,
        )
    return {name: index for index, name in enumerate(folders)}


def _named(folders: Sequence[str], names: Sequence[str], where: str, hint: str) -> dict[str, int]:
    places: Mapping[str, int] = {name: index for index, name in enumerate(names)}
    unknown = [folder for folder in folders if folder not in places]
    if unknown:
        more = f" and {len(unknown) - _SHOWN} more" if len(unknown) > _SHOWN else ""
        shown = ", ".join(repr(name) for name in unknown[:_SHOWN])
        raise UsageError(f"no class in {where} is called {shown}{more}", hint)
    return {folder: places[folder] for folder in folders}
