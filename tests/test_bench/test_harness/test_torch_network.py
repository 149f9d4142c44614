"""The eager network, rebuilt from a manifest and proven by its weights."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from care_mobile.bench.harness.launch import read_plan
from care_mobile.bench.harness.loading import Loader
from care_mobile.bench.harness.tools import CellFailure, LoadedCell
from care_mobile.bench.protocol.events import Failed, Loaded
from care_mobile.bench.protocol.plan import LoadKind, Unit
from care_mobile.bundle import TensorSpec, Weights, file_sha256
from care_mobile.inputs import Preprocessing, Resolution

from .conftest import Bench, cell, of

torch = pytest.importorskip("torch")

SIDE = 32
SMALL = Preprocessing(resolution=Resolution(width=SIDE, height=SIDE))
MakeBundle = Callable[..., Path]


@pytest.fixture(scope="module")
def network() -> tuple[Any, Weights]:
    """CARE-S0 for 7 classes, under random weights that 32 x 32 photos settle."""
    from care_mobile import create_model, load_weights

    model = create_model("care_s0", num_classes=7)
    weights = load_weights(model, "random:3", preprocessing=SMALL)
    return model.eval(), weights


@pytest.fixture
def made(write_bundle: MakeBundle, network: tuple[Any, Weights]) -> Callable[..., Path]:
    """A bundle's folder; its model file holds no model, which these engines never read."""

    def make(**changes: Any) -> Path:
        fields: dict[str, Any] = {
            "model": "care_s0",
            "weights": network[1],
            "inputs": (TensorSpec(name="image", shape=(1, 3, SIDE, SIDE)),),
            "outputs": (TensorSpec(name="logits", shape=(1, 7)),),
            "preprocessing": SMALL,
        }
        return write_bundle("net", **fields | changes)

    return make


def load(bench: Bench, folder: Path, engine: str = "torch-eager", **more: Any) -> LoadedCell:
    one = cell(engine=engine, folder=bench.bundle("a", folder), **more)
    plan = bench.plan(one)
    assert read_plan(bench.folder / "plan.json") == plan
    return Loader(plan, bench.folder, lambda: 0, lambda: None).load(0, one, LoadKind.CACHED)


def picture() -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(0)
    return SMALL.denormalize(rng.standard_normal((1, 3, SIDE, SIDE)))


def test_it_answers_as_the_network_does(
    bench: Bench, made: Callable[..., Path], network: tuple[Any, Weights]
) -> None:
    probe = bench.probe(picture())
    found = load(bench, made(), probes=(probe,))
    assert (found.facts.engine.name, found.facts.unit, found.facts.threads) == (
        "torch-eager", Unit.CPU, 1,
    )  # fmt: skip
    (answer,) = found.answers(probe)
    with torch.inference_mode():
        wanted = network[0](torch.from_numpy(SMALL.normalize(picture())).float()).numpy()
    assert (answer.name, answer.shape) == ("logits", (1, 7))
    told = np.frombuffer(base64.b64decode(answer.data or ""), "<f4")
    assert np.array_equal(told, wanted[0])
    assert np.abs(wanted).max() > 0.01
    output: Any = found.infer()
    assert output.is_inference()


def test_features(bench: Bench, made: Callable[..., Path]) -> None:
    from care_mobile import create_model, load_weights

    model = create_model("care_s0", features_only=True)
    weights = load_weights(model, "random:3", preprocessing=SMALL)
    names = [f"stage{i}" for i in range(4)]
    outputs = tuple(TensorSpec(name=name, shape=(1, 1, 1, 1)) for name in names)
    probe = bench.probe(picture())
    found = load(bench, made(weights=weights, outputs=outputs), probes=(probe,))
    answers = found.answers(probe)
    assert [answer.name for answer in answers] == names
    assert {len(answer.shape) for answer in answers} == {4}


def test_weights_of_a_file(
    bench: Bench, made: Callable[..., Path], network: tuple[Any, Weights]
) -> None:
    file = bench.folder / "trained.pth"
    torch.save(network[0].state_dict(), file)
    weights = Weights(source="trained.pth", random=False, sha256=file_sha256(file))
    probe = bench.probe(picture())
    folder = made(weights=weights)
    found = load(bench, folder, probes=(probe,), model="trained.pth")
    (answer,) = found.answers(probe)
    assert answer.shape == (1, 7)


@pytest.mark.parametrize(
    ("changes", "more", "code", "told"),
    [
        ({"model": "os:system"}, {}, "no-network", "no network of the catalog"),
        ({"model": "tiny"}, {}, "no-network", "no network of the catalog"),
        ({"outputs": (TensorSpec(name="x", shape=(1, 8)),)}, {}, "no-network", "other weights"),
        (
            {"weights": Weights(source="random:4", random=True, sha256="0" * 64)},
            {},
            "no-network",
            "other weights",
        ),
        ({"weights": Weights(source="random:x", random=True)}, {}, "no-network", "seed"),
        ({"weights": Weights(source="a.pth", random=False)}, {}, "no-network", "no checkpoint"),
        (
            {"weights": Weights(source="a.pth", random=False, sha256="0" * 64)},
            {"model": "plan.json"},
            "no-network",
            "plan.json is not the bundle's a.pth",
        ),
        ({"weights": Weights(source="as-built", random=False)}, {}, "no-network", "as-built"),
        ({}, {"unit": Unit.GPU}, "no-unit", "not on the gpu"),
    ],
)
def test_networks_that_cannot_be_built(
    bench: Bench,
    made: Callable[..., Path],
    changes: dict[str, Any],
    more: dict[str, Any],
    code: str,
    told: str,
) -> None:
    with pytest.raises(CellFailure, match=told) as failed:
        load(bench, made(**changes), **more)
    assert failed.value.code == code


def test_a_bundle_without_a_network_ends_its_cell_alone(
    bench: Bench, made: Callable[..., Path]
) -> None:
    folder = bench.bundle("a", made(model="tiny"))
    plan = bench.plan(cell("a", "torch-eager", folder=folder), cell("b"))
    found = bench.run(plan)
    assert [(f.cell, f.code) for f in of(Failed, found)] == [(0, "no-network")]
    assert [e.cell for e in of(Loaded, found)] == [1]


@pytest.mark.slow
def test_compiled(bench: Bench, made: Callable[..., Path]) -> None:
    probe = bench.probe(picture())
    folder = made()
    eager = load(bench, folder, probes=(probe,))
    again = cell("c", "torch-compiled", folder=bench.bundle("c", folder), probes=(probe,))
    loader = Loader(bench.plan(again), bench.folder, lambda: 0, lambda: None)
    found = loader.load(0, again, LoadKind.FIRST)
    assert found.facts.compile_ns
    assert found.facts.kind is LoadKind.UNPROVEN
    told = [
        np.frombuffer(base64.b64decode(one.answers(probe)[0].data or ""), "<f4")
        for one in (eager, found)
    ]
    assert np.allclose(*told, rtol=1e-4, atol=1e-4)
