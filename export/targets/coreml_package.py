"""A saved `.mlpackage` made the same, byte for byte, whenever the same network is exported.

coremltools draws the identifiers of a package's items at random and writes maps in any order. The
bundle's `content_sha256` would then be another one for the same model.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

_NAMESPACE = UUID("9a1d6f0c-3c55-5c1e-9d0e-6b2f0f6f9f3b")
_MANIFEST = "Manifest.json"


def make_reproducible(package: Path, spec: Any) -> None:
    """Rewrite the manifest and the model file of a package.

    Args:
        spec: an empty message of the model's type, to read it by.

    Raises:
        OSError: if the disk refuses.
    """
    manifest = json.loads((package / _MANIFEST).read_text(encoding="utf-8"))
    entries = manifest["itemInfoEntries"]
    names = {old: str(uuid5(_NAMESPACE, entry["path"])) for old, entry in entries.items()}
    root = manifest["rootModelIdentifier"]
    model = package / "Data" / entries[root]["path"]
    manifest["itemInfoEntries"] = {names[old]: entry for old, entry in entries.items()}
    manifest["rootModelIdentifier"] = names[root]
    spec.ParseFromString(model.read_bytes())
    model.write_bytes(spec.SerializeToString(deterministic=True))
    text = json.dumps(manifest, indent=4, sort_keys=True)
    (package / _MANIFEST).write_text(text, encoding="utf-8")
