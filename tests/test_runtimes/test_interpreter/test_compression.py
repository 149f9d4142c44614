from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_programs import Array, interpret, mb

from care_mobile.errors import RuntimeFailure
from care_mobile.quiet import quiet

from .support import counting, run_kernel

with quiet():
    from coremltools.converters.mil.mil import types
    from coremltools.converters.mil.mil.ops.defs.iOS18 import compression as ios18
    from coremltools.optimize._utils import pack_elements_into_bits

quick = settings(max_examples=12, deadline=None)
SUB_BYTE = ["uint1", "uint2", "uint3", "uint4", "uint6", "uint8"]


def integers(name: str, shape: tuple[int, ...], seed: int) -> Array:
    """Random ones of that type, over all its range, as coremltools holds them."""
    bits, unsigned = int(name.lstrip("uint")), name.startswith("u")
    low, high = (0, 2**bits) if unsigned else (-(2 ** (bits - 1)), 2 ** (bits - 1))
    values = np.random.default_rng(seed).integers(low, high, shape)
    return values.astype(types.string_to_nptype(name))


def constants(build, ios: int) -> list[Array]:
    """What a program that only holds constants gives."""
    x = counting(1, dtype=np.float32)

    def with_input(x):
        results = build()
        # Float32, the type that every interface knows.
        floats = [mb.cast(x=r, dtype="fp32") if r.dtype != types.fp32 else r for r in results]
        return *floats, mb.identity(x=x)

    return interpret(with_input, {"x": x}, ios=ios)[:-1]


@pytest.mark.parametrize("ios", [16, 17])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("vector", [False, True])
def test_affine_dequantize(ios, dtype, axis, vector):
    data = integers(dtype, (3, 4), 0)
    size = data.shape[axis]
    scale = np.linspace(0.1, 0.5, size).astype(np.float32) if vector else np.float32(0.25)
    point = integers(dtype, (size,), 1) if vector else integers(dtype, (1,), 1)[0]

    def build():
        return [
            mb.constexpr_affine_dequantize(
                quantized_data=data, scale=scale, zero_point=point, axis=np.int32(axis)
            )
        ]

    shape = (-1, 1) if axis == 0 else (1, -1)
    wide = [np.asarray(v, np.float64).reshape(shape if vector else ()) for v in (scale, point)]
    np.testing.assert_allclose(constants(build, ios)[0], wide[0] * (data - wide[1]), rtol=1e-12)


@pytest.mark.parametrize("ios", [16, 17])
@pytest.mark.parametrize("bits", [1, 2, 4, 6, 8])
@pytest.mark.parametrize("shape", [(3, 5), (4, 2, 7)])
def test_packed_tables(ios, bits, shape):
    lut = np.linspace(-1, 1, 2**bits).astype(np.float32)
    indices = np.random.default_rng(bits).integers(0, 2**bits, shape).astype(np.uint8)
    packed = pack_elements_into_bits(indices, bits)
    build = lambda: [  # noqa: E731
        mb.constexpr_lut_to_dense(indices=packed, lut=lut, shape=np.array(shape, np.uint32))
    ]
    np.testing.assert_array_equal(constants(build, ios)[0], lut[indices])


@pytest.mark.parametrize("ios", [16, 17])
@quick
@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 99))
def test_packed_masks(ios, rows, columns, seed):
    dense = np.random.default_rng(seed).integers(-1, 2, (rows, columns)).astype(np.float32)
    dense[0, 0] = 3
    values, mask = dense[dense != 0], np.packbits(dense != 0, bitorder="little")
    shape = np.array(dense.shape, np.uint32)
    build = lambda: [  # noqa: E731
        mb.constexpr_sparse_to_dense(nonzero_data=values, mask=mask, shape=shape)
    ]
    np.testing.assert_array_equal(constants(build, ios)[0], dense)


@pytest.mark.parametrize("ios", [16, 18])
def test_cast(ios):
    half = np.array([0.1, -3.0], np.float16)
    build = lambda: [mb.constexpr_cast(source_val=half, output_dtype="fp32")]  # noqa: E731
    np.testing.assert_array_equal(constants(build, ios)[0], half)
    with pytest.raises(RuntimeFailure, match="casts to 'int8', which is not known"):
        run_kernel("constexpr_cast", {"source_val": half, "output_dtype": "int8"})


@pytest.mark.parametrize("dtype", ["int4", "uint4", "int8", "uint8", "fp32"])
@pytest.mark.parametrize("blocks", [(1, 1), (4, 1), (2, 3), (4, 6)])
@pytest.mark.parametrize("offset_dtype", ["same", "fp32", None])
def test_shift_and_scale_per_block(dtype, blocks, offset_dtype):
    rng = np.random.default_rng(0)
    scale = rng.uniform(0.1, 1, blocks).astype(np.float32)
    data = counting(4, 6) if dtype == "fp32" else integers(dtype, (4, 6), 1)
    offset = None
    if offset_dtype is not None:
        whole = offset_dtype == "same" and dtype != "fp32"
        offset = integers(dtype, blocks, 2) if whole else counting(*blocks)
    parameters = {"data": data, "scale": scale} | ({} if offset is None else {"offset": offset})
    result = constants(lambda: [mb.constexpr_blockwise_shift_scale(**parameters)], 18)[0]
    for i, j in np.ndindex(4, 6):
        block = (i * blocks[0] // 4, j * blocks[1] // 6)
        shift = 0.0 if offset is None else float(offset[block])
        assert result[i, j] == pytest.approx(float(scale[block]) * (float(data[i, j]) - shift))
    folded = ios18.constexpr_blockwise_shift_scale.decompress(data, scale, offset)
    np.testing.assert_allclose(result, folded, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", SUB_BYTE)
@pytest.mark.parametrize("blocks", [(1, 1), (3, 1), (3, 2)])
@pytest.mark.parametrize(("vector", "axis"), [(1, None), (1, 0), (3, 0), (2, 1), (2, -2)])
def test_tables_per_block_and_of_vectors(dtype, blocks, vector, axis):
    indices = integers(dtype, (6, 4), 3)
    entries = 2 ** int(dtype[4:])
    lut = counting(*blocks, entries, vector) / 8
    parameters = {"indices": indices, "lut": lut} | (
        {} if axis is None else {"vector_axis": np.int32(axis)}
    )
    result = constants(lambda: [mb.constexpr_lut_to_dense(**parameters)], 18)[0]
    axis = axis or 0
    for i, j in np.ndindex(6, 4):
        entry = lut[i * blocks[0] // 6, j * blocks[1] // 4, indices[i, j]]
        rows = slice(i * vector, (i + 1) * vector) if axis % 2 == 0 else i
        columns = slice(j * vector, (j + 1) * vector) if axis % 2 == 1 else j
        np.testing.assert_array_equal(result[rows, columns], entry if vector > 1 else entry[0])


@pytest.mark.parametrize("dtype", ["int4", "uint4", "int8", "uint8", "fp32"])
def test_sparse_values_behind_a_mask_tensor(dtype):
    mask = integers("uint1", (5, 7), 4)
    count = np.count_nonzero(mask)
    values = 1 + counting(count) if dtype == "fp32" else integers(dtype, (count,), 5)

    def build():
        dense = mb.constexpr_sparse_to_dense(nonzero_data=values, mask=mask)
        if dtype == "fp32":
            return [dense]
        return [mb.constexpr_blockwise_shift_scale(data=dense, scale=np.float32([[2]]))]

    expected = np.zeros(mask.shape)
    expected[mask != 0] = values * (1.0 if dtype == "fp32" else 2.0)
    np.testing.assert_array_equal(constants(build, 18)[0], expected)


@pytest.mark.parametrize(("vector", "axis"), [(1, None), (2, 0), (3, 1)])
def test_tables_of_sparse_indices(vector, axis):
    mask = integers("uint1", (4, 6), 6)
    indices = integers("uint2", (np.count_nonzero(mask),), 7)
    lut = 1 + counting(2, 1, 4, vector)
    parameters = {"indices_mask": mask, "indices_nonzero_data": indices, "lut": lut}
    if axis is not None:
        parameters["vector_axis"] = np.int32(axis)

    def build():
        new_mask, values = mb.constexpr_lut_to_sparse(**parameters)
        return [mb.constexpr_sparse_to_dense(nonzero_data=values, mask=new_mask)]

    wide, values = ios18.constexpr_lut_to_sparse.decompress(mask, indices, lut, axis)
    expected = np.zeros(wide.shape)
    expected[wide != 0] = values
    assert expected.any()
    np.testing.assert_array_equal(constants(build, 18)[0], expected)


def test_tables_of_sparse_indices_have_the_example_of_the_reference():
    mask = np.array(
        [[1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 1], [0, 1, 1, 0, 1, 0], [0, 0, 0, 1, 0, 0]]
    )
    values = {
        "indices_mask": mask,
        "indices_nonzero_data": np.array([0, 1, 1, 0, 1, 1, 0, 0, 1]),
        "lut": np.array([[2.0, 2.5], [3.0, 3.5]]).reshape(1, 1, 2, 2),
        "vector_axis": np.array(0),
    }
    wide, found = run_kernel("constexpr_lut_to_sparse", values, opset=8)
    np.testing.assert_array_equal(wide, np.repeat(mask, 2, 0))
    np.testing.assert_array_equal(
        found, [2, 3, 2.5, 3.5, 3, 2, 3, 3.5, 2.5, 3.5, 3, 2, 2, 3.5, 2.5, 2.5, 3, 3.5]
    )


def test_shift_and_scale_of_sparse_values_has_the_example_of_the_reference():
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1], [1, 1, 0, 0]])
    mask = mask.astype(types.string_to_nptype("uint1"))
    parameters = {
        "data_mask": mask,
        "nonzero_data": np.array([10, 11, 3, 4, 5, 6, 7, 8, 9], np.int8),
        "scale": np.array([[0.1, 0.2, 0.3, 0.4]], np.float32),
        "offset": np.array([[1, 2, 3, 4]], np.int8),
    }

    def build():
        new_mask, values = mb.constexpr_sparse_blockwise_shift_scale(**parameters)
        return [values, mb.constexpr_sparse_to_dense(nonzero_data=values, mask=new_mask)]

    values, dense = constants(build, 18)
    np.testing.assert_allclose(values, [0.9, 1.8, 0.2, 0.4, 0.6, 0.9, 1.2, 0.7, 1.4], rtol=1e-6)
    np.testing.assert_array_equal(dense[mask != 0], values)
    np.testing.assert_array_equal(dense == 0, mask == 0)


def test_sizes_that_do_not_fit_are_refused():
    table = {"indices": np.zeros(3, np.uint8), "shape": np.array([5, 5])}
    with pytest.raises(RuntimeFailure, match=r"has 3 bytes of indices for the shape \[5, 5\]"):
        run_kernel("constexpr_lut_to_dense", table | {"lut": np.zeros(4)}, opset=6)
    with pytest.raises(RuntimeFailure, match="has a table of 8 values"):
        run_kernel("constexpr_lut_to_dense", table | {"lut": np.zeros(8)}, opset=6)
    sparse = {"nonzero_data": np.ones(3), "mask": np.array([1, 0, 1])}
    with pytest.raises(RuntimeFailure, match="has 3 values for the 2 places of its mask"):
        run_kernel("constexpr_sparse_to_dense", sparse, opset=8)
    blocks = {"data": np.ones((4, 4)), "scale": np.ones((3, 1))}
    with pytest.raises(RuntimeFailure, match=r"has \[3, 1\] blocks for the shape \[4, 4\]"):
        run_kernel("constexpr_blockwise_shift_scale", blocks, opset=8)
    shifted = blocks | {"scale": np.ones((2, 1)), "offset": np.ones((1, 1))}
    with pytest.raises(RuntimeFailure, match=r"offsets \(1, 1\) for scales \(2, 1\)"):
        run_kernel("constexpr_blockwise_shift_scale", shifted, opset=8)


def test_missing_parameters_take_documented_defaults():
    plain = {"data": np.array([3, -4], np.int8), "scale": np.array([0.5])}
    np.testing.assert_array_equal(
        run_kernel("constexpr_blockwise_shift_scale", plain, opset=8), [1.5, -2]
    )
    quantized = {"quantized_data": np.array([3, -4], np.int8), "scale": np.array(0.5)}
    np.testing.assert_array_equal(
        run_kernel("constexpr_affine_dequantize", quantized, opset=6), [1.5, -2]
    )
