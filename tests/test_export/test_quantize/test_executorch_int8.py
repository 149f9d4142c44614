"""int8 for XNNPACK: what becomes integers, what stays, and that the file computes it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from networks import Classifier, lively
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.nn import functional as F

from care_mobile.agreement import psnr_db
from care_mobile.errors import UsageError
from care_mobile.export.capture import input_spec, output_specs
from care_mobile.export.equivalence import reparameterize
from care_mobile.export.quantize.executorch_int8 import quantize, weights_of
from care_mobile.export.reparam import DEFAULT
from care_mobile.export.targets import Lowered, LowerJob, Options, Variant, get_target
from care_mobile.inputs import Array, Preprocessing, Resolution
from care_mobile.models.care import CARE, StageConfig

SIDE = 32
ABOUT = Preprocessing(resolution=Resolution(width=SIDE, height=SIDE))
BLOCKS = (StageConfig(1, 8, 8, (2, 2), None), StageConfig(1, 8, 8, (2, 2), 4))
"""One block with strips, whose 7x7 kernel is lowered in parts, and one with attention."""


class Layouts(nn.Module):
    """A quantized map that one operation reads channels first, another channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 1)
        self.last = nn.Conv2d(18, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        mean = y.mean((2, 3), keepdim=True).reshape(2, 1, 8)
        weighted = torch.bmm(mean, y.reshape(2, 8, SIDE * SIDE)).reshape(1, 2, SIDE, SIDE)
        return self.last(torch.cat([weighted, y], 1))


class Residual(nn.Module):
    """Clamps behind layers and behind a sum, that sum, and one with a float operand."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.third = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x))
        x = torch.relu(self.second(x) + x)
        x = torch.relu(self.third(x))
        return x + torch.exp(-x)


class Tokens(nn.Module):
    """Convolutions, then what `forward` makes of their map (1, 16, 16, 16) with linear layers."""

    def __init__(self, head: Callable[[Tokens, Tensor], object]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1), nn.ReLU()
        )
        self.linear, self.wide, self.back = nn.Linear(16, 16), nn.Linear(16, 24), nn.Linear(24, 16)
        self.depthwise, self.norm = nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.LayerNorm(16)
        self.last = nn.Conv2d(16, 8, 1)
        self.head = head

    def forward(self, x: Tensor) -> object:
        return self.head(self, self.stem(x))


def _rows(y: Tensor) -> Tensor:
    return y.permute(0, 2, 3, 1)


def _windows(y: Tensor) -> Tensor:
    return _rows(y).reshape(1, 4, 4, 4, 4, 16).permute(0, 1, 3, 2, 4, 5)


def _next(net: Tokens, y: Tensor) -> Tensor:
    """A block of ConvNeXt."""
    inner = net.norm(_rows(net.depthwise(y)))
    return y + net.back(F.gelu(net.wide(inner))).permute(0, 3, 1, 2)


LINEAR_ON_MAPS: dict[str, Callable[[Tokens, Tensor], object]] = {
    "channels last": lambda net, y: net.linear(_rows(y)),
    "transposed": lambda net, y: net.linear(y.transpose(1, 3)),
    "along the width": lambda net, y: net.linear(y),
    "windows": lambda net, y: net.linear(_windows(y)),
    "five dimensions": lambda net, y: net.linear(_windows(y).flatten(3, 4)),
    "without bias": lambda net, y: F.linear(_rows(y), net.linear.weight),
    "two, one map": lambda net, y: (net.linear(_rows(y)), net.wide(_rows(y)).mean(2)),
    "one, twice": lambda net, y: net.linear(net.linear(_rows(y))),
    "mlp and back": lambda net, y: net.last(
        net.back(F.relu(net.wide(_rows(y)))).permute(0, 3, 1, 2)
    ),
    "convnext": _next,
    "product of transposed": lambda net, y: _rows(y) @ y.permute(0, 2, 1, 3),
}


def care() -> nn.Module:
    network = lively(CARE(BLOCKS, num_classes=10)).float()
    return reparameterize(network, DEFAULT, ABOUT, lively=True).model


def capture(network: nn.Module) -> ExportedProgram:
    torch.manual_seed(0)
    return torch.export.export(network.eval(), (torch.zeros(1, 3, SIDE, SIDE),))


def images(count: int = 4, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=(count, 3, SIDE, SIDE)).astype(np.float32)


class Case(NamedTuple):
    network: nn.Module
    file: Path
    lowered: Lowered


def lower(
    network: nn.Module, folder: Path, precision: str = "int8", keep_float: Collection[str] = ()
) -> Case:
    folder.mkdir(exist_ok=True)
    np.savez(folder / "images.npz", images=images())
    program = capture(network)
    job = LowerJob(
        model="network",
        precision=precision,
        inputs=(input_spec(ABOUT, Variant(), image=False),),
        outputs=output_specs(program, Variant()),
        preprocessing=ABOUT,
        weights="random:0",
        options=Options(),
        calibration=folder / "images.npz",
        keep_float=tuple(keep_float),
    )
    lowered = get_target("executorch").lower(program, job, folder)
    return Case(network, folder / lowered.model_file, lowered)


def run(file: Path, stack: Array) -> Array:
    runtime = pytest.importorskip("executorch.runtime").Runtime.get()
    program = runtime.load_program(file)  # which must outlive its method
    method = program.load_method("forward")
    rows = [method.execute([torch.from_numpy(x[None].copy())])[0].numpy().copy() for x in stack]
    return np.concatenate(rows)


@pytest.mark.parametrize("head", LINEAR_ON_MAPS.values(), ids=LINEAR_ON_MAPS)
def test_linear_layers_on_maps(tmp_path: Path, head: Callable[[Tokens, Tensor], object]) -> None:
    """Channels last in memory, which executorch copies in the middle of a rounded layer."""
    network = Tokens(head).eval()
    census = (case := lower(network, tmp_path)).lowered.census
    assert (census.partitions, census.fallback) == (1, 0)
    x = images(1, seed=2)
    have = run(case.file, x)
    with torch.no_grad():
        result = network(torch.from_numpy(x))
    want = (result[0] if isinstance(result, tuple) else result).numpy()
    assert have.shape == want.shape
    assert psnr_db(want.astype(np.float64), have.astype(np.float64)) > 25


def test_a_layer_used_at_two_scales(tmp_path: Path) -> None:
    """A head shared by the levels of a pyramid: its bias is rounded for each."""

    class Shared(Tokens):
        def forward(self, x: Tensor) -> Tensor:
            y = self.stem(x)
            return torch.cat([self.last(20 * y + 3), self.last(y)], 1)[:, 8:]

    network = Shared(lambda net, y: y).eval()
    with torch.no_grad():
        network.last.bias.mul_(10)
    assert psnr(lower(network, tmp_path)) > 25


def psnr(case: Case) -> float:
    stack = images(seed=1)
    rows = [case.network(x).detach() for x in torch.from_numpy(stack).split(1)]
    want = torch.cat(rows).numpy()
    return psnr_db(want.astype(np.float64), run(case.file, stack).astype(np.float64))


@pytest.fixture(scope="module")
def small_care(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return lower(care(), tmp_path_factory.mktemp("care"))


def test_care_is_one_partition_and_close(small_care: Case) -> None:
    census, places = small_care.lowered.census, small_care.lowered.rewrites
    assert (census.partitions, census.fallback) == (1, 0)
    layers = census.by_type["aten_convolution_default"] + census.by_type["aten_linear_default"]
    # 11x1 and 1x11 of the first block, 7x7 of both in three parts.
    assert places["float-large-depthwise-layers"] == 2 + 2 * 3
    assert places["int8-layers"] == layers - 8
    assert psnr(small_care) > 30


def test_every_gelu_of_a_map_is_a_table(small_care: Case) -> None:
    """All but the classifier's, which follows the mean."""
    quantized = quantize(capture(small_care.network), images()).program
    gelus = [n for n in quantized.graph.nodes if n.target is torch.ops.aten.gelu.default]
    assert len(gelus) == 4 + 1
    for gelu in gelus[:-1]:
        (reader,) = gelu.users
        assert "dequantize" in gelu.args[0].name and reader.name.startswith("quantize")


def test_attention_stays_float(small_care: Case) -> None:
    quantized = quantize(capture(small_care.network), images()).program
    products = [n for n in quantized.graph.nodes if n.target is torch.ops.aten.bmm.default]
    assert len(products) == 3
    around = {n.name for p in products for n in (*p.all_input_nodes, *p.users)}
    assert not any("quantize" in name for name in around)


def test_weights_take_a_byte_each(tmp_path: Path) -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.Sequential(nn.Conv2d(3, 256, 1), nn.ReLU(), nn.Conv2d(256, 256, 1))

        def forward(self, x: Tensor) -> Tensor:
            return self.layers(x)

    network = Wide()
    sizes = [
        lower(network, tmp_path / precision, precision).file.stat().st_size
        for precision in ("int8", "fp32")
    ]
    weights = 3 * 256 + 256 * 256
    assert sizes[1] - sizes[0] > 2.8 * weights
    assert sizes[0] < 0.3 * sizes[1]


def test_a_small_cnn(tmp_path: Path) -> None:
    network = reparameterize(lively(Classifier()).float(), DEFAULT, ABOUT, lively=True).model
    case = lower(network, tmp_path)
    assert (case.lowered.census.partitions, case.lowered.census.fallback) == (1, 0)
    assert case.lowered.rewrites["int8-layers"] == 3
    assert psnr(case) > 30


def test_layouts_of_a_shared_map_are_kept_apart(tmp_path: Path) -> None:
    """executorch 1.4.1 computes nonsense, 21 dB, when both read one dequantized tensor."""
    torch.manual_seed(0)
    network = Layouts()
    first, second = (lower(network, tmp_path / name) for name in "ab")
    assert psnr(first) > 40
    assert first.file.read_bytes() == second.file.read_bytes()


def test_islands_and_clamps(tmp_path: Path) -> None:
    # The first sum, the clamps before and after it. What leads to float operations only is float.
    assert quantize(capture(Residual()), images()).places == {
        "int8-layers": 3,
        "int8-other-operations": 3,
        "float-layers-as-asked": 0,
        "float-large-depthwise-layers": 0,
    }
    assert psnr(lower(Residual(), tmp_path)) > 30


def test_layers_left_in_float(small_care: Case, tmp_path: Path) -> None:
    """By their names in the captured program, also when a rewrite takes them apart."""
    program = capture(small_care.network)
    layers = [n for n in program.graph.nodes if n.target is torch.ops.aten.conv2d.default]
    large = next(n for n in layers if n.meta["val"].shape[1] == 8 and "dwconv2" in n.args[1].name)
    names = [layers[0].name, large.name]
    case = lower(small_care.network, tmp_path, keep_float=names)
    before, after = small_care.lowered.rewrites, case.lowered.rewrites
    assert after["float-layers-as-asked"] == 1 + 3
    assert after["int8-layers"] == before["int8-layers"] - 1
    assert after["float-large-depthwise-layers"] == before["float-large-depthwise-layers"] - 3
    assert psnr(case) > 30


def test_every_layer_left_in_float_is_the_float_program() -> None:
    program = capture(Residual())
    names = [n.name for n in program.graph.nodes]
    quantized = quantize(program, images(), weights_of(program, names))
    assert quantized.places["int8-layers"] == quantized.places["int8-other-operations"] == 0
    x = torch.from_numpy(images(1))
    assert torch.equal(quantized.program.module()(x), program.module()(x))


def test_without_images(tmp_path: Path) -> None:
    job = LowerJob(
        model="network",
        precision="int8",
        inputs=(),
        outputs=(),
        preprocessing=ABOUT,
        weights="random:0",
        options=Options(),
    )
    with pytest.raises(UsageError, match="calibration"):
        get_target("executorch").lower(capture(Residual()), job, tmp_path)
