"""A Core ML package is the same, byte for byte, whatever coremltools drew."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import UUID, uuid4

from care_mobile.coreml.schema import model_class
from care_mobile.export.targets.coreml_package import make_reproducible

NOTES = {f"care_mobile.{name}": name for name in ("torch", "numpy", "python", "coremltools")}
MODEL, WEIGHTS = "com.apple.CoreML/model.mlmodel", "com.apple.CoreML/weights"


def written(package: Path, turned: bool) -> Path:
    """A package as coremltools leaves it: identifiers at random, maps in any order."""
    spec = model_class()(specificationVersion=8)
    order = reversed(NOTES.items()) if turned else NOTES.items()
    for key, value in order:
        spec.description.metadata.userDefined[key] = value
    identifiers = {path: str(uuid4()) for path in (MODEL, WEIGHTS)}
    paths = (WEIGHTS, MODEL) if turned else (MODEL, WEIGHTS)
    manifest = {
        "itemInfoEntries": {identifiers[path]: {"path": path} for path in paths},
        "rootModelIdentifier": identifiers[MODEL],
    }
    (package / "Data" / MODEL).parent.mkdir(parents=True)
    (package / "Data" / MODEL).write_bytes(spec.SerializeToString())
    (package / "Manifest.json").write_text(json.dumps(manifest))
    return package


def test_what_was_drawn_is_the_same_afterwards(tmp_path: Path) -> None:
    one, two = written(tmp_path / "a", turned=False), written(tmp_path / "b", turned=True)
    assert (one / "Manifest.json").read_bytes() != (two / "Manifest.json").read_bytes()
    for package in (one, two):
        make_reproducible(package, model_class()())
    for name in ("Manifest.json", f"Data/{MODEL}"):
        assert (one / name).read_bytes() == (two / name).read_bytes()


def test_nothing_else_changes(tmp_path: Path) -> None:
    package = written(tmp_path / "a", turned=True)
    before = json.loads((package / "Manifest.json").read_text())
    make_reproducible(package, model_class()())
    after = json.loads((package / "Manifest.json").read_text())
    assert after["itemInfoEntries"][after["rootModelIdentifier"]]["path"] == MODEL
    assert len({UUID(name) for name in after["itemInfoEntries"]}) == 2
    assert sorted(map(str, after["itemInfoEntries"].values())) == sorted(
        map(str, before["itemInfoEntries"].values())
    )
    spec = model_class()()
    spec.ParseFromString((package / "Data" / MODEL).read_bytes())
    assert dict(spec.description.metadata.userDefined) == NOTES
    assert spec.specificationVersion == 8
