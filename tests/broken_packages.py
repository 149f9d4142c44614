"""Packages that are missing or broken, for commands that run in a process of their own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

FAULTS = {
    "raises ImportError": "raise ImportError('libfoo.so.1: undefined symbol: bar')",
    "raises OSError": "raise OSError('libfoo.so.1: cannot open shared object file')",
    "raises anything": "raise RuntimeError('built against another numpy\\nand an essay on it')",
    "leaves": "import sys; sys.exit('this package is not for you')",
    "crashes": "import os; os.abort()",
    "leaves at once": "import os; os._exit(0)",
}
"""What a package does when it is imported, instead of what it should."""

_HIDE = """
import importlib.metadata as metadata, os, sys
hidden = set(os.environ["HIDDEN_PACKAGES"].split(","))
names = {name.replace("-", "_") for name in hidden} | ({"sklearn"} & hidden)
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Hide())
real = metadata.version
def version(name):
    if name in hidden:
        raise metadata.PackageNotFoundError(name)
    return real(name)
metadata.version = version
"""


def break_package(folder: Path, package: str, code: str) -> dict[str, str]:
    """The environment in which importing `package` runs `code` instead."""
    (folder / package).mkdir(parents=True)
    (folder / package / "__init__.py").write_text(code + "\n")
    return {"PYTHONPATH": str(folder)}


def hide_packages(folder: Path, *distributions: str) -> dict[str, str]:
    """The environment in which these distributions are not installed."""
    folder.mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(_HIDE)
    return {"PYTHONPATH": str(folder), "HIDDEN_PACKAGES": ",".join(distributions)}


def joined(base: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """Environment `base` with `extra`, whose search path comes first."""
    path = ":".join(e["PYTHONPATH"] for e in (extra, base) if e.get("PYTHONPATH"))
    return {**base, **extra, "PYTHONPATH": path}


def script(name: str) -> str:
    """A command's script beside this interpreter."""
    return str(Path(sys.executable).with_name(name))
