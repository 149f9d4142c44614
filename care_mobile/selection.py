"""Of several paths, as a shell's pattern gives them, those that are bundles."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .bundle import MANIFEST, PARTIAL
from .errors import BundleError
from .frozen import Frozen


class PassedOver(Frozen):
    """Something named among bundles that is none, and why."""

    path: str
    reason: str


class Selection(NamedTuple):
    """`bundles` hold a manifest, right or not; what else was named is `passed_over`."""

    bundles: tuple[Path, ...]
    passed_over: tuple[PassedOver, ...]


def select_bundles(paths: Sequence[Path]) -> Selection:
    """Sort out what is no bundle among several paths; one alone must be one.

    A bundle that is damaged, or not there at all, stays: whoever opens it says what is wrong.

    Raises:
        BundleError: if none is a bundle.
    """
    found = [(path, _why_none(path)) for path in paths]
    bundles = tuple(path for path, reason in found if reason is None)
    if found and not bundles:
        path, reason = found[0]
        others = f", and neither is what else was named ({len(found) - 1})" * (len(found) > 1)
        raise BundleError(f"{path} is not a bundle: {reason}{others}", "name a bundle's folder")
    passed_over = tuple(
        # Names that are no UTF-8 have no place in JSON.
        PassedOver(path=os.fsencode(path).decode(errors="replace"), reason=reason)
        for path, reason in found
        if reason is not None
    )
    return Selection(bundles, passed_over)


def _why_none(path: Path) -> str | None:
    """Why a path is no bundle; None if it is one, or only opening it can tell."""
    if path.name.startswith(PARTIAL):
        return "what an export that was ended left"
    if not path.is_dir():
        if path.exists():
            return "a file"
        return "a link to nothing" if path.is_symlink() else None
    try:
        # By the names as they are: some file systems take a package's Manifest.json for ours.
        return None if MANIFEST in os.listdir(path) else f"no {MANIFEST} in it"
    except OSError:
        return None
