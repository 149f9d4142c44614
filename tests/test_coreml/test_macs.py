from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_programs import Build, mb, package

from care_mobile.coreml.macs import (
    block_parameters,
    einsum_macs,
    operation_macs,
    operation_parameters,
)

F16 = np.float16


def counts(build: Build, *shapes: tuple[int, ...], ios: int = 17) -> tuple[int | None, int]:
    """Multiply-accumulates and parameters of a program over fp16 inputs a, b, c."""
    inputs = {name: np.zeros(shape, F16) for name, shape in zip("abc", shapes, strict=False)}
    main = package(build, inputs, ios).main
    found = [operation_macs(operation, main.types()) for operation in main.operations]
    total = None if None in found else sum(count or 0 for count in found)
    return total, block_parameters(main)


@given(
    groups=st.integers(1, 3),
    inner=st.integers(1, 3),
    outer=st.integers(1, 3),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.integers(1, 2),
)
@settings(max_examples=20, deadline=None)
def test_convolution_counts_each_output(
    groups: int, inner: int, outer: int, kernel: tuple[int, int], stride: int
) -> None:
    weight = np.ones((groups * outer, inner, *kernel), F16)

    def build(a: object) -> object:
        return mb.conv(x=a, weight=weight, strides=[stride, stride], groups=groups)

    out = [(8 - k) // stride + 1 for k in kernel]
    macs, parameters = counts(build, (2, groups * inner, 8, 8))
    assert macs == 2 * groups * outer * math.prod(out) * inner * math.prod(kernel)
    assert parameters == weight.size


def test_transposed_convolution_counts_each_input() -> None:
    weight, bias = np.ones((4, 3, 2, 2), F16), np.ones(6, F16)
    macs, parameters = counts(
        lambda a: mb.conv_transpose(x=a, weight=weight, bias=bias, strides=[2, 2], groups=2),
        (1, 4, 5, 6),
    )
    assert macs == 4 * 5 * 6 * 3 * 4
    assert parameters == weight.size + bias.size


def test_linear() -> None:
    weight, bias = np.ones((7, 5), F16), np.ones(7, F16)
    macs, parameters = counts(lambda a: mb.linear(x=a, weight=weight, bias=bias), (3, 5))
    assert (macs, parameters) == (3 * 5 * 7, 42)


@pytest.mark.parametrize("transposed", [False, True])
def test_matmul_knows_which_axis_is_summed(transposed: bool) -> None:
    shape = (2, 5, 3) if transposed else (2, 3, 5)
    macs, _ = counts(lambda a, b: mb.matmul(x=a, y=b, transpose_x=transposed), shape, (2, 5, 7))
    assert macs == 2 * 3 * 5 * 7


def test_einsum() -> None:
    macs, _ = counts(
        lambda a, b: mb.einsum(values=[a, b], equation="bchw,bwhu->bchu"),
        (1, 2, 3, 4),
        (1, 4, 3, 5),
    )
    assert macs == 2 * 3 * 4 * 5
    with pytest.raises(ValueError, match="argument"):
        einsum_macs(["ab", "bc"], [(2, 3)])


def test_attention_counts_scores_and_their_product() -> None:
    macs, _ = counts(
        lambda a, b, c: mb.scaled_dot_product_attention(query=a, key=b, value=c),
        (1, 4, 6, 8), (1, 4, 5, 8), (1, 4, 5, 8), ios=18,
    )  # fmt: skip
    assert macs == 4 * 6 * 5 * (8 + 8)


def test_elementwise_work_counts_nothing() -> None:
    macs, parameters = counts(lambda a: mb.add(x=mb.relu(x=a), y=F16(2)), (4, 4))
    assert (macs, parameters) == (0, 0)


def test_shared_weights_count_once() -> None:
    def build(a: object) -> object:
        weight = mb.const(val=np.arange(16, dtype=F16).reshape(4, 4))
        bias = mb.const(val=np.ones(4, F16))
        return mb.linear(x=mb.linear(x=a, weight=weight, bias=bias), weight=weight, bias=bias)

    macs, parameters = counts(build, (1, 4))
    assert (macs, parameters) == (32, 20)


def test_compressed_weights_count_as_what_they_become() -> None:
    def build(a: object) -> object:
        weight = mb.constexpr_lut_to_dense(
            indices=np.zeros(16, np.uint8), lut=np.ones(2, F16), shape=np.uint32([16, 4, 2, 1])
        )
        return mb.conv(x=a, weight=weight)

    macs, parameters = counts(build, (1, 4, 8, 8))
    assert parameters == 16 * 4 * 2
    assert macs == 16 * 7 * 8 * 4 * 2


def test_unknown_shapes_are_not_guessed() -> None:
    def build(a: object) -> object:
        rows = mb.non_zero(x=a)
        return mb.matmul(x=mb.cast(x=rows, dtype="fp16"), y=np.ones((2, 3), F16))

    opened = package(build, {"a": np.zeros((3, 4), F16)})
    types = opened.main.types()
    by_type = {op.type: operation_macs(op, types) for op in opened.main.operations}
    assert by_type["matmul"] is None
    assert by_type["non_zero"] == 0
    assert sum(map(operation_parameters, opened.main.operations)) == 6
