"""`qemu-aarch64=ROOT`: the reference harness on Arm code, in an emulator of user programs.

ROOT is a folder that `tools/arm64-root` made: an emulator, a 64-bit Arm Python with its libraries,
and wheels for it. Nothing of it is installed, and care-mobile itself is this machine's own.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from care_mobile import errors
from care_mobile.bundle import Bundle
from care_mobile.errors import OutputError, UsageError
from care_mobile.requirements import Availability, version

from ..protocol.events import Reality
from ..protocol.plan import Plan
from ..protocol.record import DeviceReference
from .functional import AnswersOnly
from .process import HARNESS, ProcessStation, opened

CPU = "cortex-a76"
"""A core that phones have. The emulator's `max` is tens of times slower at the same answers."""
_MAKE = "make it with tools/arm64-root, see docs/measuring.md"
_PYTHONS = re.compile(r"python3\.\d+")
# As `python -m` does, on a path that holds nothing of this machine but care-mobile.
_RUN = """
import sys
sys.path += sys.argv[1:3]
del sys.argv[1:3]
import runpy
runpy.run_module(sys.argv.pop(1), run_name="__main__", alter_sys=True)
"""


class QemuDevice(AnswersOnly):
    """See the module's docstring.

    Raises:
        UsageError: if no root is named.
    """

    name = "qemu-aarch64"
    reads = frozenset({"threads"})

    def __init__(self, root: str) -> None:
        if not root:
            raise UsageError(
                "qemu-aarch64 needs the folder of its Arm programs",
                f"write --device qemu-aarch64=ROOT; {_MAKE}",
            )
        self._root = Path(root).absolute()
        self.reference = DeviceReference(kind=self.name, serial=CPU)

    def availability(self) -> Availability:
        lacks = self._lacks()
        if lacks:
            return Availability(False, f"{self._root} has no {' and no '.join(lacks)}", _MAKE)
        return Availability(True, f"answers of Arm code on an emulated {CPU}, never a latency")

    def supports(self, bundle: Bundle) -> Availability:
        if bundle.manifest.runtime == "onnxruntime":
            return Availability(True, "answers of Arm code")
        detail = f"it runs ONNX bundles; this one is for {bundle.manifest.runtime}"
        return Availability(False, detail, "export it with --target onnx")

    def engine(self, bundle: Bundle) -> str:
        return "onnxruntime"

    @contextmanager
    def open(self, plan: Plan, files: Mapping[str, Path]) -> Iterator[ProcessStation]:
        with tempfile.TemporaryDirectory(prefix="qemu-", ignore_cleanup_errors=True) as name:
            code = Path(name)
            try:
                _own_code(code)
            except OSError as error:
                raise OutputError(
                    f"cannot write temporary files: {error.strerror or error}", "free some space"
                ) from error
            with opened(ProcessStation, self._command(code), plan, files) as station:
                yield station

    def _command(self, code: Path) -> list[str]:
        python, emulator = self._python(), self._emulator()
        assert python is not None and emulator is not None  # it is available
        arm = [str(emulator), "-cpu", CPU, "-L", str(self._root), str(python)]
        # Isolated, without this machine's packages, and without writing beside care-mobile's code.
        arm += ["-I", "-S", "-B", "-c", _RUN, str(self._wheels), str(code), HARNESS]
        return [*arm, "--reality", Reality.EMULATOR.value]

    def _lacks(self) -> list[str]:
        found = {
            "emulator": self._emulator(),
            "Python in usr/bin": self._python(),
            "onnxruntime in wheels": self._wheels / "onnxruntime",
            "numpy in wheels": self._wheels / "numpy",
            "pydantic in wheels": self._wheels / "pydantic",
        }
        return [what for what, path in found.items() if path is None or not path.exists()]

    @property
    def _wheels(self) -> Path:
        return self._root / "wheels"

    def _emulator(self) -> Path | None:
        """Its own before one that is installed: that of Debian 12 crashes."""
        own = self._root / "emulator" / "qemu-aarch64"
        if own.is_file() and os.access(own, os.X_OK):
            return own
        names = ("qemu-aarch64", "qemu-aarch64-static")
        installed = next((found for n in names if (found := shutil.which(n))), None)
        return Path(installed) if installed else None

    def _python(self) -> Path | None:
        folder = self._root / "usr" / "bin"
        if not folder.is_dir():
            return None
        found = [path for path in folder.iterdir() if _PYTHONS.fullmatch(path.name)]
        return max(found, default=None)


def _own_code(folder: Path) -> None:
    """care-mobile as one folder that any Python can import: in a checkout its parts lie apart, and
    only an installation of this machine's Python knows where."""
    from care_mobile import bench

    package = folder / "care_mobile"
    package.mkdir()
    for item in Path(errors.__file__).parent.iterdir():
        if item.name not in ("__pycache__", "bench", "export"):
            (package / item.name).symlink_to(item)
    (package / "bench").symlink_to(Path(bench.__file__).parent)
    told = version("care-mobile") or "0"
    facts = folder / f"care_mobile-{told}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: care-mobile\nVersion: {told}\n")
