"""What runs a cell here, by the name that plans use."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from care_mobile.bundle import Bundle
from care_mobile.errors import (
    BundleError,
    CareError,
    MissingDependencyError,
    RuntimeFailure,
    UsageError,
)
from care_mobile.requirements import load, version

from ..protocol.events import Engine
from ..protocol.plan import Cell, Unit
from .forecast import counts_and_forecast
from .probing import AnyArray
from .tools import CellFailure

Inputs = Mapping[str, AnyArray]
Outputs = list[tuple[str, AnyArray]]


class Model(Protocol):
    """A loaded model."""

    def bind(self, inputs: Inputs) -> Callable[[], object]:
        """One inference as a call that takes nothing."""
        ...

    def run(self, inputs: Inputs) -> Outputs:
        """Outputs by name."""
        ...

    @property
    def engine(self) -> Engine: ...

    @property
    def compile_ns(self) -> int | None:
        """What `bind` took to compile, where it does."""
        ...


@dataclass(frozen=True)
class Prepared:
    """A cell before its load: all is imported, checked and read that is not part of loading.

    Attributes:
        load: what is timed.
        files: what it will read.
        noise: inputs for a cell without probes.
        unit: what will be in use, where that is certain.
        threads: None where the engine has no such choice.
        keeps_cache: of what it compiled earlier, somewhere that is not ours to empty.
        notes: codes and details of what shall be known of the cell beside what is measured.
    """

    load: Callable[[], Model]
    files: tuple[Path, ...] = ()
    noise: Callable[[], Inputs] = dict
    unit: Unit | None = None
    threads: int | None = None
    keeps_cache: bool = False
    notes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class EngineKind:
    """An engine. Cells whose engines share a `pool` of threads for the whole process cannot have
    different threads or cores in one round."""

    prepare: Callable[[Cell, Path], Prepared]
    pool: str | None = None


# Nothing ---------------------------------------------------------------------------------


class _Noop:
    engine = Engine(name="noop", version=version("care-mobile") or "unknown")
    compile_ns = None

    def bind(self, inputs: Inputs) -> Callable[[], object]:
        return _nothing

    def run(self, inputs: Inputs) -> Outputs:
        return list(inputs.items())


def _nothing() -> None:
    return None


def _prepare_noop(cell: Cell, folder: Path) -> Prepared:
    return Prepared(_Noop)


# Runtimes --------------------------------------------------------------------------------


def open_bundle(cell: Cell, folder: Path) -> Bundle:
    """The cell's bundle, every hash checked.

    Raises:
        CellFailure: `no-bundle` if the plan names none, `bad-bundle` if it is not whole.
    """
    if cell.folder is None:
        raise CellFailure("no-bundle", f"{cell.engine} needs a bundle, and the plan names none")
    try:
        return Bundle.open(folder / cell.folder)
    except BundleError as error:
        raise CellFailure("bad-bundle", str(error)) from error


class _RuntimeModel:
    compile_ns = None

    def __init__(self, name: str, bundle: Bundle, options: Any) -> None:
        from care_mobile.runtimes import get_runtime

        self._name = name
        self._bundle = bundle
        try:
            self._session = get_runtime(name).load(bundle, options)
        except CareError as error:
            raise refused(error) from error

    def bind(self, inputs: Inputs) -> Callable[[], object]:
        return self._session.bind(inputs)

    def run(self, inputs: Inputs) -> Outputs:
        names = [spec.name for spec in self._bundle.manifest.arrays]
        return list(zip(names, self._session.run(inputs), strict=True))

    @property
    def engine(self) -> Engine:
        told = self._session.describe()
        return Engine(
            name=self._name, version=told.get("version", ""), backend=told.get("backend", "")
        )


def refused(error: CareError) -> CellFailure:
    """Why a runtime did not load a model, as a cell's failure."""
    codes = {
        MissingDependencyError: "no-engine",
        BundleError: "bad-bundle",
        UsageError: "bad-inputs",
        RuntimeFailure: "refused",
    }
    code = next((code for kind, code in codes.items() if isinstance(error, kind)), "load-failed")
    return CellFailure(code, f"{error}; {error.hint}" if error.hint else str(error))


def _prepare_runtime(name: str, cell: Cell, folder: Path) -> Prepared:
    from care_mobile.runtimes import RuntimeOptions, get_runtime
    from care_mobile.runtimes.noise import seeded_inputs

    runtime = get_runtime(name)
    found = runtime.availability()
    if not found.usable:
        raise CellFailure("no-engine", f"{name}: {found.detail}; {found.remedy}")
    bundle = open_bundle(cell, folder)
    try:
        for module in runtime.modules:
            load(module, "bench")
    except MissingDependencyError as error:
        raise refused(error) from error
    chooses = name == "coreml"
    if not chooses and cell.unit not in (Unit.CPU, Unit.ALL):
        raise CellFailure("no-unit", f"{name} runs on the cpu here, not on the {cell.unit.value}")
    options = RuntimeOptions(threads=cell.threads, unit=cell.unit.value)
    return Prepared(
        partial(_RuntimeModel, name, bundle, options),
        files=tuple(bundle.file(f) for f in bundle.manifest.files if _is_run(f)),
        noise=partial(seeded_inputs, bundle, 0),
        unit=None if chooses and cell.unit is not Unit.CPU else Unit.CPU,
        threads=cell.threads if runtime.takes_threads else None,
        notes=counts_and_forecast(bundle.manifest) if name == "coreml-interpreter" else (),
    )


def _is_run(file: str) -> bool:
    from care_mobile.probes import in_folder

    return not in_folder(file)


def _runtime(name: str, pool: str | None = None) -> EngineKind:
    return EngineKind(partial(_prepare_runtime, name), pool)


RUNTIME_ENGINES: Mapping[str, EngineKind] = {
    "noop": EngineKind(_prepare_noop),
    "onnxruntime": _runtime("onnxruntime"),
    "executorch": _runtime("executorch", pool="executorch"),
    "coreml": _runtime("coreml"),
    "coreml-interpreter": _runtime("coreml-interpreter"),
}
