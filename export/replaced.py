"""What a bundle that takes another's place was made from, and what is different now."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from care_mobile.bundle import MANIFEST, Manifest, Weights, read_manifest
from care_mobile.errors import BundleError
from care_mobile.frozen import Frozen


class Difference(Frozen):
    """One fact of two manifests; None where one of them has it not."""

    what: str
    before: str | None
    after: str | None


class Replaced(Frozen):
    """The earlier bundle. `created` is None, and `damaged` says why, if its manifest cannot be
    read."""

    created: datetime | None
    differences: tuple[Difference, ...] = ()
    damaged: str = ""


def earlier(path: Path) -> Manifest | BundleError | None:
    """The manifest of the bundle at `path`; what is wrong with it; None if there is no bundle."""
    if not (path / MANIFEST).is_file():
        return None
    try:
        return read_manifest(path)
    except BundleError as error:
        return error


def compare(before: Manifest | BundleError, after: Manifest) -> Replaced:
    """What `after` replaces."""
    if isinstance(before, BundleError):
        return Replaced(created=None, damaged=str(before))
    # Older manifests know no hash of weights that came from no file.
    hashed = bool(before.weights.sha256 and after.weights.sha256)
    old, new = _facts(before, hashed), _facts(after, hashed)
    return Replaced(
        created=before.created,
        differences=tuple(
            Difference(what=what, before=old.get(what), after=new.get(what))
            for what in dict.fromkeys([*old, *new])
            if old.get(what) != new.get(what)
        ),
    )


def _facts(manifest: Manifest, hashed: bool) -> dict[str, str]:
    """All that decides what is in a bundle, by name, as text."""
    facts = {"model": manifest.model, "weights": _weights(manifest.weights, hashed)}
    facts |= {
        name.replace("_", " "): str(value)
        for name, value in manifest.preprocessing.model_dump(mode="json").items()
    }
    for kind, specs in (("input", manifest.inputs), ("output", manifest.outputs)):
        facts |= {f"{kind} {s.name}": f"{s.kind} {s.dtype} {_shape(s.shape)}" for s in specs}
    facts |= {f"option {name}": str(value) for name, value in manifest.options.items()}
    # Nothing was done where there was no place, and where there was no such pass.
    passes = {entry.name: entry.places for entry in manifest.passes if entry.places}
    rewrites = {name: places for name, places in manifest.rewrites.items() if places}
    facts |= {f"pass {name}": f"{places} places" for name, places in passes.items()}
    facts |= {f"rewrite {name}": f"{places} places" for name, places in rewrites.items()}
    if manifest.calibration:
        found = manifest.calibration
        facts["calibration"] = f"{found.images} of {found.source}, seed {found.seed}"
    if manifest.kept_float:
        facts["kept in float"] = ", ".join(manifest.kept_float)
    return facts | manifest.tools


def _weights(weights: Weights, hashed: bool) -> str:
    parts = [weights.source, f"entry {weights.entry}" if weights.entry else ""]
    parts.append(f"sha256 {weights.sha256[:12]}" if weights.sha256 and hashed else "")
    return ", ".join(part for part in parts if part)


def _shape(shape: tuple[int | None, ...]) -> str:
    return " x ".join("?" if n is None else str(n) for n in shape)
