"""Normalizations against PyTorch in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import agree, call, rounds_once
from ml_programs import Array, interpret, mb
from torch.nn import functional as F

from care_mobile.errors import RuntimeFailure
from care_mobile.runtimes.interpreter import Numerics

EPSILONS = st.sampled_from([np.float32(value) for value in (1e-6, 1e-5, 1e-3, 0.5)])
CHANNELS_FIRST = st.tuples(
    st.integers(1, 2), st.integers(1, 4), st.lists(st.integers(1, 4), min_size=1, max_size=3)
).map(lambda parts: (parts[0], parts[1], *parts[2]))


def noise(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def double(array: Array | None) -> torch.Tensor | None:
    return None if array is None else torch.from_numpy(array.astype(np.float64))


@settings(max_examples=25, deadline=None)
@given(CHANNELS_FIRST, EPSILONS, st.booleans(), st.booleans())
def test_batch_norm(shape: Any, epsilon: np.float32, scaled: bool, shifted: bool) -> None:
    channels = shape[1]
    x, mean, variance = noise(0, *shape), noise(1, channels), np.abs(noise(2, channels))
    gamma = noise(3, channels) if scaled else None
    beta = noise(4, channels) if shifted else None
    expected = F.batch_norm(
        *(double(a) for a in (x, mean, variance, gamma, beta)), eps=float(epsilon)
    ).numpy()
    agree(
        lambda x: mb.batch_norm(
            x=x, mean=mean, variance=variance, gamma=gamma, beta=beta, epsilon=epsilon
        ),
        {"x": x}, expected, evaluated=False,
    )  # fmt: skip


def test_batch_norm_subtracts_the_mean_first() -> None:
    """1 apart from a mean of 1e6, float32 has to give 1, not the rounding of x * scale."""
    mean = np.full(1, 1e6, np.float32)
    x = np.full((1, 1, 2), 1e6 + 1, np.float32)
    variance = np.full(1, 1e-4, np.float32)
    result = call("batch_norm", x=x, mean=mean, variance=variance, epsilon=np.float32(0))
    np.testing.assert_allclose(result, 100, rtol=1e-6)


@settings(max_examples=25, deadline=None)
@given(CHANNELS_FIRST, EPSILONS, st.booleans(), st.booleans())
def test_instance_norm(shape: Any, epsilon: np.float32, scaled: bool, shifted: bool) -> None:
    x = noise(0, *shape)
    gamma = noise(3, shape[1]) if scaled else None
    beta = noise(4, shape[1]) if shifted else None
    # PyTorch refuses a single element per channel, whose normalized value is 0.
    flat = x.reshape(*shape[:2], -1)
    flat = np.concatenate([flat, flat], axis=-1)
    expected = F.instance_norm(
        double(flat), None, None, double(gamma), double(beta), eps=float(epsilon)
    )
    agree(
        lambda x: mb.instance_norm(x=x, gamma=gamma, beta=beta, epsilon=epsilon),
        {"x": x}, expected[..., : flat.shape[-1] // 2].reshape(shape).numpy(), evaluated=False,
    )  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4), EPSILONS, st.booleans(), st.booleans(),
    st.data(),
)  # fmt: skip
def test_layer_norm(
    shape: list[int], epsilon: np.float32, scaled: bool, shifted: bool, data: st.DataObject
) -> None:
    axes = data.draw(st.sets(st.sampled_from(range(len(shape))), min_size=1))
    x = noise(0, *shape)
    sizes = [shape[axis] for axis in sorted(axes)]
    gamma = noise(1, *sizes) if scaled or shifted else None  # coremltools: no beta without gamma
    beta = noise(2, *sizes) if shifted else None
    order = [axis for axis in range(len(shape)) if axis not in axes] + sorted(axes)
    moved = double(x.transpose(order))
    assert moved is not None
    normalized = F.layer_norm(moved, sizes, double(gamma), double(beta), float(epsilon))
    written = [axis - len(shape) if data.draw(st.booleans()) else axis for axis in axes]
    agree(
        lambda x: mb.layer_norm(x=x, axes=written, gamma=gamma, beta=beta, epsilon=epsilon),
        {"x": x},
        normalized.numpy().transpose(np.argsort(order)),
    )


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(1, 3), min_size=3, max_size=5), EPSILONS)
def test_l2_norm(shape: list[int], epsilon: np.float32) -> None:
    x = noise(0, *shape)
    exact = x.astype(np.float64)
    squares = (exact**2).reshape(*shape[:-3], -1).sum(-1)[..., None, None, None]
    agree(
        lambda x: mb.l2_norm(x=x, epsilon=epsilon), {"x": x},
        exact / np.sqrt(squares + np.float64(epsilon)),
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(CHANNELS_FIRST, st.integers(1, 6), st.sampled_from([1e-4, 0.5]), st.sampled_from([0.75, 2]))
def test_local_response_norm(shape: Any, size: int, alpha: float, beta: float) -> None:
    x = noise(0, *shape)
    parameters = {"alpha": np.float32(alpha), "beta": np.float32(beta), "k": np.float32(1.5)}
    tensor = double(x)
    assert tensor is not None
    expected = F.local_response_norm(
        tensor, size, **{name: float(value) for name, value in parameters.items()}
    )
    agree(
        lambda x: mb.local_response_norm(x=x, size=size, **parameters),
        {"x": x}, expected.numpy(), evaluated=False,
    )  # fmt: skip


def test_defaults() -> None:
    x = noise(0, 2, 3, 4, 5).astype(np.float64)
    tensor = torch.from_numpy(x)
    zeros, ones = np.zeros(3), np.ones(3)
    expected = {
        "batch_norm": x / np.sqrt(1 + 1e-5),
        "instance_norm": F.instance_norm(tensor, eps=1e-5).numpy(),
        "layer_norm": F.layer_norm(tensor, x.shape, eps=1e-5).numpy(),
        "l2_norm": x / np.sqrt((x**2).sum((1, 2, 3), keepdims=True) + 1e-6),
        "local_response_norm": F.local_response_norm(tensor, 3, 1e-4, 0.75, 1.0).numpy(),
    }
    required = {"batch_norm": {"mean": zeros, "variance": ones}, "local_response_norm": {"size": 3}}
    for operator, values in expected.items():
        result = call(operator, x=x, **required.get(operator, {}))
        np.testing.assert_allclose(result, values, rtol=1e-10, err_msg=operator)
        single = call(operator, x=x.astype(np.float32), **required.get(operator, {}))
        assert operator == "batch_norm" or single.dtype == np.float32


def test_declared_rounds_at_the_end() -> None:
    x = noise(0, 1, 4, 3, 5).astype(np.float16)
    gamma, beta = noise(1, 4).astype(np.float16), noise(2, 4).astype(np.float16)
    epsilon = np.float16(1e-3)
    moved = torch.from_numpy(x.astype(np.float64).transpose(0, 2, 3, 1).copy())
    expected = F.layer_norm(moved, [4], double(gamma), double(beta), float(epsilon))
    rounds_once(
        lambda x: mb.layer_norm(x=x, axes=[1], gamma=gamma, beta=beta, epsilon=epsilon),
        {"x": x}, expected.numpy().transpose(0, 3, 1, 2),
    )  # fmt: skip
    variance = np.abs(gamma)
    normalized = F.batch_norm(
        *(double(a) for a in (x, beta, variance, gamma, beta)), eps=float(epsilon)
    )
    rounds_once(
        lambda x: mb.batch_norm(
            x=x, mean=beta, variance=variance, gamma=gamma, beta=beta, epsilon=epsilon
        ),
        {"x": x}, normalized.numpy(),
    )  # fmt: skip


def test_the_usual_epsilon_vanishes_with_fp16_subnormals() -> None:
    """1e-5 in fp16 is subnormal: where they are flushed, constant features become 0 / 0."""
    x = np.full((1, 2, 1, 3), 2, np.float16)

    def build(x: Any) -> Any:
        return mb.layer_norm(x=x, axes=[1], epsilon=np.float16(1e-5))

    assert np.array_equal(interpret(build, {"x": x}, Numerics.DECLARED), np.zeros(x.shape))
    assert np.isnan(interpret(build, {"x": x}, Numerics.PESSIMISTIC)).all()


@pytest.mark.parametrize(
    ("operator", "parameters", "message"),
    [
        ("batch_norm", {"mean": np.zeros(2), "variance": np.ones(3)}, "parameters of (2,)"),
        ("batch_norm", {"mean": np.zeros(3)}, "'variance'"),
        ("instance_norm", {"gamma": np.ones((3, 1))}, "parameters of (3, 1)"),
        ("layer_norm", {"axes": np.array([4])}, "axes (4,)"),
        ("l2_norm", {"x": np.ones((2, 2))}, "normalizes three axes"),
        ("local_response_norm", {"size": np.array(0)}, "takes 0 channels"),
    ],
)
def test_refuses(operator: str, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(RuntimeFailure) as error:
        call(operator, **({"x": np.ones((2, 3, 4, 5))} | parameters))
    assert message in str(error.value)
