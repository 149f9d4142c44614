"""The eager network a bundle was made from, as it is or compiled: to compare with, on this machine.

It is built anew from the manifest and proven by the hash of its weights. Networks of a factory are
not: their code is whatever a manifest says, and a manifest is not trusted with that.
"""

from __future__ import annotations

import importlib
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from care_mobile.bundle import Bundle, Manifest, file_sha256
from care_mobile.errors import CareError, MissingDependencyError
from care_mobile.requirements import load

from ..protocol.events import Engine
from ..protocol.plan import Cell, Unit
from .engines import EngineKind, Inputs, Outputs, Prepared, open_bundle, refused
from .tools import CellFailure

POOL = "torch"
_RANDOM = "random:"
_NO_NETWORK = "no-network"


class TorchModel:
    """A network with its weights, in evaluation mode."""

    def __init__(self, torch: Any, network: Any, bundle: Bundle, compiled: bool) -> None:
        self._torch = torch
        self._bundle = bundle
        self._compiled = compiled
        self._network = network
        self._call = torch.compile(network) if compiled else network
        self.compile_ns: int | None = None
        self.engine = Engine(
            name="torch-compiled" if compiled else "torch-eager",
            version=torch.__version__,
            backend=f"{'inductor' if compiled else 'eager'}, {torch.get_num_threads()} threads",
        )

    def bind(self, inputs: Inputs) -> Callable[[], object]:
        infer = partial(self._infer, self._tensor(inputs))
        if self._compiled and self.compile_ns is None:
            begin = time.perf_counter_ns()
            infer()  # the first call compiles
            self.compile_ns = time.perf_counter_ns() - begin
        return infer

    def run(self, inputs: Inputs) -> Outputs:
        found = self._infer(self._tensor(inputs))
        outputs = [found] if isinstance(found, self._torch.Tensor) else list(found)
        names = [spec.name for spec in self._bundle.manifest.arrays]
        return [(n, o.numpy()) for n, o in zip(names, outputs, strict=True)]

    def _infer(self, tensor: Any) -> Any:
        with self._torch.inference_mode():
            return self._call(tensor)

    def _tensor(self, inputs: Inputs) -> Any:
        (values,) = inputs.values()
        normal = self._bundle.manifest.preprocessing.normalize(values)
        return self._torch.from_numpy(normal).float()


def _prepare(compiled: bool, cell: Cell, folder: Path) -> Prepared:
    if cell.unit not in (Unit.CPU, Unit.ALL):
        raise CellFailure("no-unit", f"{cell.engine} runs on the cpu, not on the {cell.unit.value}")
    bundle = open_bundle(cell, folder)
    try:
        torch: Any = load("torch", "export")
        torch.set_num_threads(cell.threads)
        state, build = _proven(bundle.manifest, _checkpoint(cell, folder))
    except MissingDependencyError as error:
        raise refused(error) from error
    except CareError as error:
        raise CellFailure(_NO_NETWORK, str(error)) from error

    def make() -> TorchModel:
        network = build()
        network.load_state_dict(state)
        return TorchModel(torch, network.eval(), bundle, compiled)

    from care_mobile.runtimes.noise import seeded_inputs

    return Prepared(
        make,
        noise=partial(seeded_inputs, bundle, 0),
        unit=Unit.CPU,
        threads=cell.threads,
        keeps_cache=compiled,
    )


def _checkpoint(cell: Cell, folder: Path) -> Path | None:
    """Where the plan put the weights' file, if it did."""
    return None if cell.model is None else folder / cell.model


def _proven(manifest: Manifest, checkpoint: Path | None) -> tuple[Any, Callable[[], Any]]:
    """The weights that the manifest names, and what builds the network they fit.

    Raises:
        CellFailure: `no-network` if these cannot be had.
    """
    catalog = _models("catalog")
    if manifest.model not in catalog.CARE_MODELS:
        raise CellFailure(_NO_NETWORK, f"{manifest.model} is no network of the catalog")
    build = partial(catalog.create_model, manifest.model, **_options(manifest))
    source = manifest.weights.source
    if not source.startswith(_RANDOM):
        source = str(_file(manifest, checkpoint))
    network = build()
    weights = _models("checkpoint").load_weights(
        network, source, manifest.weights.entry, manifest.preprocessing
    )
    if weights.sha256 != manifest.weights.sha256:
        raise CellFailure(_NO_NETWORK, f"{source} gives other weights here than the bundle has")
    return network.state_dict(), build


def _models(module: str) -> Any:
    """A module that brings torch, which nothing else here may."""
    return importlib.import_module(f"care_mobile.models.{module}")


def _file(manifest: Manifest, checkpoint: Path | None) -> Path:
    wanted = manifest.weights
    if checkpoint is None or not checkpoint.is_file():
        raise CellFailure(_NO_NETWORK, f"the plan brings no checkpoint {wanted.source}")
    if file_sha256(checkpoint) != wanted.sha256:
        raise CellFailure(_NO_NETWORK, f"{checkpoint.name} is not the bundle's {wanted.source}")
    return checkpoint


def _options(manifest: Manifest) -> dict[str, Any]:
    """What a network of the catalog is built with, as its inputs and outputs tell."""
    options: dict[str, Any] = {"in_channels": manifest.preprocessing.channels}
    first = manifest.arrays[0].shape if manifest.arrays else ()
    if len(first) == 2:
        return options | {"num_classes": math.prod(side or 1 for side in first)}
    return options | {"features_only": True}


TORCH_ENGINES = {
    "torch-eager": EngineKind(partial(_prepare, False), POOL),
    "torch-compiled": EngineKind(partial(_prepare, True), POOL),
}
