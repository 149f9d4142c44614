"""Weights compressed by coremltools, against the same weights decompressed by coremltools."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from converted import convert
from torch import nn

from care_mobile.coreml import open_package
from care_mobile.quiet import quiet
from care_mobile.runtimes.interpreter import Interpreter, Numerics

with quiet():
    from coremltools.optimize.coreml import (
        OpLinearQuantizerConfig,
        OpMagnitudePrunerConfig,
        OpPalettizerConfig,
        OptimizationConfig,
        decompress_weights,
        linear_quantize_weights,
        palettize_weights,
        prune_weights,
    )

IMAGE = np.random.default_rng(0).standard_normal((1, 3, 9, 8)).astype(np.float32)


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 16, 3, padding=1)
        self.second = nn.Conv2d(16, 32, 1)
        self.last = nn.Linear(32, 10)

    def forward(self, x):
        x = torch.relu(self.second(torch.relu(self.first(x))))
        return self.last(x.mean((2, 3)))


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """By iOS version, converted for float32 so that decompression rounds next to nothing."""
    torch.manual_seed(0)
    network = Network().eval()
    folder = tmp_path_factory.mktemp("models")
    return {ios: convert(network, IMAGE, folder / f"{ios}.mlpackage", ios=ios) for ios in (16, 18)}


def outputs(model: Any, path: Any) -> tuple[np.ndarray, set[str]]:
    """The interpreter's output, and the kinds of compressed constants it has met."""
    with quiet():
        model.save(str(path))
    package = open_package(path)
    result = Interpreter(package, Numerics.EXACT).run({"image": IMAGE})["output"]
    kinds = {op.type for op in package.main.operations if op.type.startswith("constexpr")}
    return result, kinds


def quantize(model, **options):
    config = OpLinearQuantizerConfig(weight_threshold=0, **options)
    return linear_quantize_weights(model, OptimizationConfig(global_config=config))


def palettize(model, **options):
    config = OpPalettizerConfig(weight_threshold=0, mode="kmeans", **options)
    return palettize_weights(model, OptimizationConfig(global_config=config))


def prune(model):
    config = OpMagnitudePrunerConfig(weight_threshold=0, target_sparsity=0.6)
    return prune_weights(model, OptimizationConfig(global_config=config))


def prune_and(compress, config):
    def both(model):
        settings = OptimizationConfig(global_config=config)
        return compress(prune(model), settings, joint_compression=True)

    return both


LUT, SHIFT = "constexpr_lut_to_dense", "constexpr_blockwise_shift_scale"
SPARSE, AFFINE = "constexpr_sparse_to_dense", "constexpr_affine_dequantize"
CASES = {
    "int8": (16, lambda m: quantize(m, dtype="int8"), {AFFINE}),
    "uint8 with zero points": (16, lambda m: quantize(m, dtype="uint8", mode="linear"), {AFFINE}),
    "int8, new operators": (18, lambda m: quantize(m, dtype="int8"), {SHIFT}),
    "int4 per block": (
        18,
        lambda m: quantize(m, dtype="int4", granularity="per_block", block_size=8),
        {SHIFT},
    ),
    "uint4 per tensor": (
        18,
        lambda m: quantize(m, dtype="uint4", mode="linear", granularity="per_tensor"),
        {SHIFT},
    ),
    **{f"{n} bits": (16, lambda m, n=n: palettize(m, nbits=n), {LUT}) for n in (8, 6, 4, 2, 1)},
    **{
        f"{n} bits per group": (
            18,
            lambda m, n=n: palettize(m, nbits=n, granularity="per_grouped_channel", group_size=8),
            {LUT},
        )
        for n in (6, 4, 3, 2, 1)
    },
    "vectors": (18, lambda m: palettize(m, nbits=4, cluster_dim=2), {LUT}),
    "tables with scales": (
        18,
        lambda m: palettize(m, nbits=3, enable_per_channel_scale=True),
        {LUT, SHIFT},
    ),
    "sparse": (16, prune, {SPARSE}),
    "sparse, new operators": (18, prune, {SPARSE}),
    "sparse tables": (
        18,
        prune_and(palettize_weights, OpPalettizerConfig(nbits=4, weight_threshold=0)),
        {SPARSE, "constexpr_lut_to_sparse"},
    ),
    "sparse int8": (
        18,
        prune_and(linear_quantize_weights, OpLinearQuantizerConfig(weight_threshold=0)),
        {SPARSE, "constexpr_sparse_blockwise_shift_scale"},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_compressed_weights_give_what_decompressed_ones_give(models, tmp_path, name):
    ios, compress, kinds = CASES[name]
    with quiet():
        compressed = compress(models[ios])
        plain = decompress_weights(compressed)
    result, found = outputs(compressed, tmp_path / "compressed.mlpackage")
    expected, none = outputs(plain, tmp_path / "plain.mlpackage")
    assert found >= kinds
    assert not none
    assert not np.allclose(result, outputs(models[ios], tmp_path / "first.mlpackage")[0], 1e-5)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)
