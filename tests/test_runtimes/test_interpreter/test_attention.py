from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from kernel_calls import agree, call, rounds_once
from ml_programs import Array, mb


def draw(seed: int, *shapes: tuple[int, ...]) -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def reference(*arrays: Array) -> Array:
    tensors = [
        torch.from_numpy(np.atleast_2d(a if a.dtype == bool else a.astype(np.float64)))
        for a in arrays
    ]
    result: Array = F.scaled_dot_product_attention(*tensors).numpy()
    return result


@settings(max_examples=30, deadline=None)
@given(
    batch=st.sampled_from([(1,), (2,), (2, 3)]),
    sizes=st.tuples(*[st.integers(1, 5)] * 4),
    mask=st.sampled_from(["none", "bool", "float"]),
    mask_rank=st.integers(1, 3),
    seed=st.integers(0, 2**16),
)
def test_shapes_and_masks(
    batch: tuple[int, ...], sizes: tuple[int, ...], mask: str, mask_rank: int, seed: int
) -> None:
    target, source, embedding, values = sizes
    shapes = [(target, embedding), (source, embedding), (source, values)]
    q, k, v = draw(seed, *(batch + shape for shape in shapes))
    inputs = {"q": q, "k": k, "v": v}
    if mask == "none":
        agree(
            lambda q, k, v: mb.scaled_dot_product_attention(query=q, key=k, value=v),
            inputs, reference(q, k, v), 18,
        )  # fmt: skip
        return
    (weights,) = draw(seed + 1, (*batch, target, source)[-mask_rank:])
    if mask == "bool":
        m = weights > 0
        m[..., 0] = True  # a row without any element is NaN
    else:
        m = weights
    agree(
        lambda q, k, v, m: mb.scaled_dot_product_attention(query=q, key=k, value=v, attn_mask=m),
        inputs | {"m": m}, reference(q, k, v, m), 18,
    )  # fmt: skip


def test_row_without_elements() -> None:
    q, k, v = draw(0, (1, 2, 4), (1, 3, 4), (1, 3, 4))
    mask = np.array([[True, True, False], [False, False, False]])
    with np.errstate(invalid="ignore"):
        result = call("scaled_dot_product_attention", 8, query=q, key=k, value=v, attn_mask=mask)
    assert result.dtype == np.float32
    assert np.isfinite(result[0, 0]).all()
    assert np.isnan(result[0, 1]).all()


def test_fp16() -> None:
    q, k, v = (a.astype(np.float16) for a in draw(1, (2, 8, 16), (2, 9, 16), (2, 9, 4)))
    expected = reference(q, k, v)
    rounds_once(
        lambda q, k, v: mb.scaled_dot_product_attention(query=q, key=k, value=v),
        {"q": q, "k": k, "v": v}, expected, 18,
    )  # fmt: skip
