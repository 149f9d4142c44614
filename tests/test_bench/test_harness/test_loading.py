"""Cells as they are loaded on this machine: engines, pools, cores, cold files, probes."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from care_mobile.bench.harness import loading, pages
from care_mobile.bench.harness.engines import EngineKind, Prepared, _Noop
from care_mobile.bench.harness.loading import Loader
from care_mobile.bench.harness.pinning import usable_cores
from care_mobile.bench.harness.tools import CellFailure, LoadedCell
from care_mobile.bench.protocol.events import Checked, Failed, Loaded, Note
from care_mobile.bench.protocol.plan import Cell, LoadKind, Plan, ProbeTensor, Unit

from .conftest import Bench, cell, of

MakeBundle = Callable[..., Path]
CORES = usable_cores()


@pytest.fixture(autouse=True)
def _everywhere() -> Iterator[None]:
    yield
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, CORES)


def loader(bench: Bench, plan: Plan, **engines: EngineKind) -> Loader:
    ticks = iter(range(0, 10**9, 7))
    return Loader(plan, bench.folder, lambda: next(ticks), lambda: 99, engines or None)


def load(bench: Bench, one: Cell, kind: LoadKind = LoadKind.CACHED) -> LoadedCell:
    return loader(bench, bench.plan(one)).load(0, one, kind)


def image() -> np.ndarray[Any, Any]:
    return np.linspace(-1, 1, 192, dtype=np.float32).reshape(1, 3, 8, 8)


def decoded(answer: Any) -> np.ndarray[Any, Any]:
    kind = np.dtype(answer.dtype).newbyteorder("<")
    return np.frombuffer(base64.b64decode(answer.data), kind)


# Noop ------------------------------------------------------------------------------------


def test_noop_tells_what_it_is(bench: Bench) -> None:
    found = load(bench, cell(threads=7))
    assert (found.facts.load_ns, found.facts.kind) == (7, LoadKind.CACHED)
    assert (found.facts.engine.name, found.facts.unit, found.facts.threads) == ("noop", None, None)
    assert found.facts.memory_bytes == 99
    assert (found.infer(), found.enter, found.notes) == (None, None, ())


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "uint64", "bool"])
@pytest.mark.parametrize("shape", [(), (0, 3), (5,), (2, 3, 4)])
def test_noop_answers_with_its_inputs(bench: Bench, dtype: str, shape: tuple[int, ...]) -> None:
    values = (np.arange(np.prod(shape, dtype=int)) % 2).astype(dtype).reshape(shape)
    probe = bench.probe(values)
    one = cell(probes=(probe,))
    (answer,) = load(bench, one).answers(probe)
    assert (answer.name, answer.dtype, answer.shape, answer.stride) == ("image", dtype, shape, 1)
    assert np.array_equal(decoded(answer).reshape(shape), values)


def test_large_answers_are_thinned_out(bench: Bench) -> None:
    values = np.arange(10, dtype=np.int32).reshape(2, 5)
    probe = bench.probe(values)
    one = cell(probes=(probe,))
    plan = bench.plan(one, answer_elements=4)
    (answer,) = loader(bench, plan).load(0, one, LoadKind.CACHED).answers(probe)
    assert (answer.stride, answer.shape) == (3, (2, 5))
    assert decoded(answer).tolist() == [0, 3, 6, 9]


# Probes ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"dtype": "complex64"}, "no type of numbers"),
        ({"shape": (1, 3, 8, 9)}, "768 bytes, not 864"),
        ({"shape": (1, 3, 8, 7)}, "larger than 672"),
        ({"path": "probes/missing"}, "No such file"),
        ({"path": "probes"}, "directory"),
    ],
)
def test_a_probe_that_is_not_its_tensor(bench: Bench, change: dict[str, Any], told: str) -> None:
    probe = bench.probe(image())
    tensor = ProbeTensor(**(probe.inputs[0].model_dump() | change))
    one = cell(probes=(probe.model_copy(update={"inputs": (tensor,)}),))
    with pytest.raises(CellFailure, match=told) as failed:
        Loader(bench.plan(one), bench.folder, lambda: 0, lambda: None).load(0, one, LoadKind.CACHED)
    assert failed.value.code == "bad-probe"


# Engines that are not there, bundles that are not whole ------------------------------------


def test_an_engine_that_is_not_there(bench: Bench) -> None:
    with pytest.raises(CellFailure, match="no engine warp-drive here, only coreml") as failed:
        load(bench, cell(engine="warp-drive"))
    assert failed.value.code == "no-engine"


@pytest.mark.skipif(os.uname().sysname == "Darwin", reason="usable there")
def test_coreml_is_for_macs(bench: Bench, make_bundle: MakeBundle) -> None:
    folder = bench.bundle("a", make_bundle("tiny", runtime="coreml"))
    with pytest.raises(CellFailure, match="macOS only") as failed:
        load(bench, cell(engine="coreml", folder=folder))
    assert failed.value.code == "no-engine"


def test_bundles_that_are_no_good(bench: Bench, make_bundle: MakeBundle) -> None:
    def code(one: Cell) -> str:
        with pytest.raises(CellFailure) as failed:
            load(bench, one)
        return failed.value.code

    made = make_bundle("tiny", layers=1)
    folder = bench.bundle("a", made)
    onnx = {"engine": "onnxruntime"}
    assert code(cell(**onnx)) == "no-bundle"
    assert code(cell(**onnx, folder="bundles/missing")) == "bad-bundle"
    assert code(cell(**onnx, folder=folder, unit=Unit.NPU)) == "no-unit"
    (bench.folder / folder / "model.onnx").write_bytes(b"other")
    assert code(cell(**onnx, folder=folder)) == "bad-bundle"
    empty = bench.bundle("b", make_bundle("empty"))  # whole, but its file holds no model
    assert code(cell(**onnx, folder=empty)) == "refused"


# onnxruntime -----------------------------------------------------------------------------


def test_onnxruntime(bench: Bench, make_bundle: MakeBundle) -> None:
    folder = bench.bundle("a", make_bundle("tiny", layers=2))
    probe = bench.probe(image())
    found = load(bench, cell(engine="onnxruntime", folder=folder, probes=(probe,), threads=2))
    assert (found.facts.unit, found.facts.threads) == (Unit.CPU, 2)
    assert found.facts.engine.backend == "CPUExecutionProvider"
    assert (found.facts.cores, found.notes) == (None, ())
    (answer,) = found.answers(probe)
    assert (answer.name, answer.shape) == ("logits", (1, 3, 8, 8))
    assert np.array_equal(decoded(answer), np.maximum(image(), 0).reshape(-1))
    (output,) = found.infer()  # type: ignore[misc]
    assert np.array_equal(output, np.maximum(image(), 0))


def test_inputs_that_are_not_the_networks(bench: Bench, make_bundle: MakeBundle) -> None:
    folder = bench.bundle("a", make_bundle("tiny", layers=1))
    one = cell(engine="onnxruntime", folder=folder, probes=(bench.probe(image()[:, :2]),))
    plan = bench.plan(one)
    found = bench.run(plan)
    (failed,) = of(Failed, found)
    assert failed.code == "bad-inputs"
    assert "shape" in failed.detail


def test_a_cell_without_probes_runs_on_noise(bench: Bench, make_bundle: MakeBundle) -> None:
    folder = bench.bundle("a", make_bundle("tiny", layers=1))
    plan = bench.plan(cell(engine="onnxruntime", folder=folder))
    found = bench.run(plan)
    assert [note.code for note in of(Note, found)] == ["noise-inputs"]
    assert not of(Checked, found)
    assert not of(Failed, found)


def test_an_engine_without_its_bundle(bench: Bench) -> None:
    plan = bench.plan(cell(engine="coreml-interpreter"), cell("b"))
    found = bench.run(plan)
    assert [(f.cell, f.code) for f in of(Failed, found)] == [(0, "no-bundle")]
    assert [e.cell for e in of(Loaded, found)] == [1]


# Kinds of loads --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(LoadKind))
@pytest.mark.parametrize("drops", [True, False])
def test_kinds(
    bench: Bench,
    make_bundle: MakeBundle,
    monkeypatch: pytest.MonkeyPatch,
    kind: LoadKind,
    drops: bool,
) -> None:
    dropped: list[list[str]] = []

    def drop(files: tuple[Path, ...]) -> bool:
        dropped.append([file.name for file in files])
        return drops

    monkeypatch.setattr(loading, "drop", drop)
    folder = bench.bundle("a", make_bundle("tiny", layers=1))
    found = load(bench, cell(engine="onnxruntime", folder=folder), kind)
    cold = kind is LoadKind.COLD
    assert dropped == ([["model.onnx"]] if cold else [])
    assert found.facts.kind is (LoadKind.UNPROVEN if cold and not drops else kind)


def test_a_cold_load_has_dropped_pages(bench: Bench, make_bundle: MakeBundle) -> None:
    folder = bench.bundle("a", make_bundle("tiny", layers=1))
    able = pages.drop([bench.folder / folder / "model.onnx"])
    found = load(bench, cell(engine="onnxruntime", folder=folder), LoadKind.COLD)
    assert found.facts.kind is (LoadKind.COLD if able else LoadKind.UNPROVEN)


@pytest.mark.parametrize("kind", [LoadKind.FIRST, LoadKind.COLD])
def test_nothing_that_is_loaded_is_no_proof(bench: Bench, kind: LoadKind) -> None:
    assert load(bench, cell(), kind).facts.kind is LoadKind.UNPROVEN
    assert load(bench, cell(), LoadKind.CACHED).facts.kind is LoadKind.CACHED


def test_a_cache_that_is_not_ours(bench: Bench) -> None:
    keeps = EngineKind(lambda one, folder: Prepared(_Noop, keeps_cache=True))
    one = cell()
    ready = loader(bench, bench.plan(one), noop=keeps)
    assert ready.load(0, one, LoadKind.FIRST).facts.kind is LoadKind.UNPROVEN
    assert ready.load(0, one, LoadKind.CACHED).facts.kind is LoadKind.CACHED


# Pools and cores -------------------------------------------------------------------------


def pooled(name: str) -> EngineKind:
    return EngineKind(lambda one, folder: Prepared(_Noop), pool=name)


def test_a_pool_of_the_whole_process(bench: Bench) -> None:
    cells = [
        cell("a", "x", threads=1), cell("b", "y", threads=1), cell("c", "y", threads=2),
        cell("d", "x", cores=CORES[:1]), cell("e", "z", threads=9), cell("f", "x"),
    ]  # fmt: skip
    ready = loader(bench, bench.plan(*cells), x=pooled("p"), y=pooled("p"), z=pooled("other"))
    codes = []
    for i, one in enumerate(cells):
        try:
            ready.load(i, one, LoadKind.CACHED)
            codes.append("")
        except CellFailure as failed:
            codes.append(failed.code)
    assert codes == ["", "", "shared-pool", "shared-pool", "", ""]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_cells_on_cores_of_their_own(bench: Bench) -> None:
    cells = [cell("a", cores=CORES[:1]), cell("b", cores=CORES[-1:]), cell("c")]
    ready = loader(bench, bench.plan(*cells))
    at_load = []

    def watched(one: Cell, folder: Path) -> Prepared:
        def make() -> _Noop:
            at_load.append(os.sched_getaffinity(0))
            return _Noop()

        return Prepared(make)

    ready._engines = {"noop": EngineKind(watched)}
    loaded = [ready.load(i, one, LoadKind.CACHED) for i, one in enumerate(cells)]
    wanted = [set(CORES[:1]), set(CORES[-1:]), set(CORES)]
    assert at_load == wanted
    assert [found.facts.cores for found in loaded] == [CORES[:1], CORES[-1:], None]
    for found, cores in zip(loaded, wanted, strict=True):
        assert found.enter is not None
        found.enter()
        assert os.sched_getaffinity(0) == cores


def test_a_core_that_is_not_there(bench: Bench) -> None:
    one = cell(cores=(1000,))
    with pytest.raises(CellFailure, match="no core 1000") as failed:
        load(bench, one)
    assert failed.value.code == "no-core"


def test_a_system_without_affinity(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    monkeypatch.setattr(loading, "SUPPORTED", False)
    plan = bench.plan(cell("a", cores=(1000,)), cell("b"))
    found = bench.run(plan)
    assert [(n.code, n.cell) for n in of(Note, found)] == [("affinity-not-supported", 0)]
    assert [e.cores for e in of(Loaded, found)] == [None, None]


# Engines with a file of their own --------------------------------------------------------


def test_executorch_in_a_round(bench: Bench, write_bundle: Callable[..., Path]) -> None:
    """A process has one pool: the second cell wants it otherwise, and says so."""
    torch = pytest.importorskip("torch")
    exir = pytest.importorskip("executorch.exir")
    program = torch.export.export(torch.nn.ReLU().eval(), (torch.zeros(1, 3, 8, 8),))
    content = bytes(exir.to_edge_transform_and_lower(program).to_executorch().buffer)
    made = write_bundle(
        "pte", content, model_file="model.pte", runtime="executorch", target="executorch"
    )
    probe = bench.probe(image())
    cells = [
        cell(name, "executorch", folder=bench.bundle(name, made), probes=(probe,), threads=threads)
        for name, threads in (("a", 1), ("b", 2), ("c", 1))
    ]
    plan = bench.plan(*cells)
    done = bench.command()
    assert done.returncode == 0, done.stderr
    found = bench.read(plan)
    assert [(f.cell, f.code) for f in of(Failed, found)] == [(1, "shared-pool")]
    assert [e.threads for e in of(Loaded, found)] == [1, 1]
    (answer,) = of(Checked, found)[0].answers
    assert np.array_equal(decoded(answer), np.maximum(image(), 0).reshape(-1))


def test_the_interpreter_in_a_round(bench: Bench, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("coremltools")
    from converted import convert
    from manifests import manifest_of

    from care_mobile.bundle import TensorSpec, write_manifest, writing

    made = tmp_path / "tiny-coreml"
    with writing(made) as partial:
        convert(torch.nn.ReLU().eval(), image(), partial / "model.mlpackage")
        outputs = (TensorSpec(name="output", shape=(1, 3, 8, 8)),)
        changes = {"model_file": "model.mlpackage", "runtime": "coreml", "target": "coreml"}
        write_manifest(partial, manifest_of(partial, outputs=outputs, **changes))
    probe = bench.probe(image())
    folder = bench.bundle("a", made)
    plan = bench.plan(cell(engine="coreml-interpreter", folder=folder, probes=(probe,), threads=3))
    found = bench.run(plan)
    assert not of(Failed, found)
    (loaded,) = of(Loaded, found)
    assert (loaded.engine.name, loaded.threads) == ("coreml-interpreter", None)
    (answer,) = of(Checked, found)[0].answers
    assert np.array_equal(decoded(answer), np.maximum(image(), 0).reshape(-1))


def test_no_core_at_all(bench: Bench) -> None:
    with pytest.raises(CellFailure, match="an empty list") as failed:
        load(bench, cell(cores=()))
    assert failed.value.code == "no-core"
