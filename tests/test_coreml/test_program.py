from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from care_mobile.coreml import Constant, OpaqueType, Ref, TensorType
from care_mobile.coreml.program import read_function
from care_mobile.coreml.schema import model_class
from care_mobile.coreml.types import CODES, unpack
from care_mobile.errors import ModelFileError
from care_mobile.quiet import quiet

from .support import main_block, tensor_type, tensor_value

with quiet():
    from coremltools.converters.mil.backend.mil.helper import (
        create_list_scalarvalue,
        create_tensor_value,
    )
    from coremltools.converters.mil.mil import types
    from coremltools.proto import MIL_pb2, Model_pb2

TYPE = {name: code for code, name in CODES.items()}
Y = TensorType("fp32", (2,))


def model(value=None, **parameters):
    """A program with the operation y = op(x, ...), and a constant `c` if a value is given."""
    spec = Model_pb2.Model(specificationVersion=8)
    function = spec.mlProgram.functions["main"]
    function.opset = "CoreML7"
    function.inputs.add(name="x", type=tensor_type(TYPE["fp32"], 2))
    block = function.block_specializations["CoreML7"]
    if value is not None:
        constant = block.operations.add(type="const")
        constant.attributes["val"].CopyFrom(value)
        constant.outputs.add(name="c", type=value.type)
    operation = block.operations.add(type="op")
    operation.outputs.add(name="y", type=tensor_type(TYPE["fp32"], 2))
    for name, binding in parameters.items():
        operation.inputs[name].arguments.add(**binding)
    block.outputs.append("y")
    return spec


def read(spec, read_blob=None):
    ours = model_class().FromString(spec.SerializeToString())
    return read_function("main", ours.mlProgram.functions["main"], read_blob)


def parameter(value):
    """What a program says that the parameter `p`, a constant, is."""
    folded = read(model(value, p={"name": "c"})).operations[0].constant("p")
    inline = read(model(p={"value": value})).operations[0].constant("p")
    attribute = model()
    main_block(attribute).operations[0].attributes["p"].CopyFrom(value)
    as_attribute = read(attribute).operations[0].constant("p")
    for other in (inline, as_attribute):
        assert np.asarray(other).dtype == np.asarray(folded).dtype
        np.testing.assert_array_equal(other, folded)
    return folded


def refusal(value) -> str:
    with pytest.raises(ModelFileError) as caught:
        parameter(value)
    return str(caught.value)


def test_constants_are_folded_into_the_operations_that_use_them():
    spec = model(tensor_value(TYPE["int32"], 2, ints=[3, 4]), x={"name": "x"}, p={"name": "c"})
    function = read(spec)
    [operation] = function.operations
    assert (operation.type, operation.name) == ("op", "y")
    assert operation.inputs["x"] == (Ref("x"),)
    [constant] = operation.inputs["p"]
    assert isinstance(constant, Constant)
    assert (constant.name, constant.type) == ("c", TensorType("int32", (2,)))
    assert constant.stored_bytes == 0
    assert operation.constant("x") is None
    assert operation.constant("absent") is None
    assert function.types() == {"x": Y, "y": Y}
    assert function.constants == {}


def test_constants_that_are_outputs_are_kept():
    spec = model(tensor_value(TYPE["bool"], bools=[True]))
    main_block(spec).outputs.append("c")
    assert read(spec).constants["c"].value == np.array(True)


def test_an_operation_may_have_several_operands_for_a_parameter():
    spec = model(tensor_value(TYPE["fp32"], 2, floats=[1, 2]), values={"name": "x"})
    main_block(spec).operations[-1].inputs["values"].arguments.add(name="c")
    operands = read(spec).operations[0].inputs["values"]
    assert [operand.name for operand in operands] == ["x", "c"]


ARRAYS = [
    np.array([[1.5, -2.25]], np.float32), np.array([[1.5, 65504.0, 6e-8]], np.float16),
    np.array([1e300], np.float64), np.array([True, False]), np.array([-128, 127], np.int8),
    np.array([0, 255], np.uint8), np.array([-(2**15), 2**15 - 1], np.int16),
    np.array([0, 2**16 - 1], np.uint16), np.array([[-(2**31)], [2**31 - 1]], np.int32),
    np.array([-(2**63), 2**63 - 1], np.int64), np.zeros((0, 3), np.float32),
    np.zeros((2, 0), np.float16), np.array(3.0, np.float32), np.array(-7, np.int32),
]  # fmt: skip


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype}{a.shape}")
def test_inline_values_as_coremltools_writes_them(array):
    read_back = parameter(create_tensor_value(array))
    assert read_back.dtype == array.dtype
    assert read_back.shape == array.shape
    np.testing.assert_array_equal(read_back, array)


@pytest.mark.parametrize("name", ["uint1", "uint2", "uint3", "uint4", "int4", "uint6"])
@pytest.mark.parametrize("count", [1, 3, 8, 11])
def test_inline_sub_byte_integers_come_one_per_byte(name, count):
    bits = int(name.lstrip("uint"))
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if name[0] == "i" else (0, 2**bits)
    array = np.random.default_rng(count).integers(low, high, count)
    read_back = parameter(create_tensor_value(array.astype(types.string_to_nptype(name))))
    assert read_back.dtype == (np.int8 if name[0] == "i" else np.uint8)
    np.testing.assert_array_equal(read_back, array)


def test_texts():
    text = tensor_value(TYPE["string"], strings=["nötür"])
    assert parameter(text).item() == "nötür"
    several = tensor_value(TYPE["string"], 2, strings=["a", ""])
    assert parameter(several).tolist() == ["a", ""]


@pytest.mark.parametrize("values", [["cat", "dog"], [3, -(10**12)], []])
def test_lists_of_texts_and_integers(values):
    kind = np.int64 if values and isinstance(values[0], int) else str
    items = [np.int64(v) for v in values] if kind is np.int64 else values
    value = create_list_scalarvalue(items, kind)
    read_back = read(model(value, p={"name": "c"})).operations[0].inputs["p"][0]
    assert read_back.type == OpaqueType("list")
    assert [item.item() for item in read_back.value] == values


def test_names_that_nothing_computes_are_refused():
    with pytest.raises(ModelFileError, match=r"^op 'y' uses 'z', which nothing computes$"):
        read(model(p={"name": "z"}))
    with pytest.raises(ModelFileError, match=r"^op 'y' uses 'y', which nothing computes$"):
        read(model(p={"name": "y"}))
    spec = model()
    main_block(spec).outputs.append("z")
    with pytest.raises(ModelFileError, match=r"^output 'z' is computed nowhere$"):
        read(spec)


def test_a_function_needs_a_body_for_its_opset():
    spec = model()
    spec.mlProgram.functions["main"].opset = "CoreML9"
    with pytest.raises(ModelFileError, match=r"^function 'main' has no body for its opset 'Core"):
        read(spec)


def test_a_constant_needs_a_value():
    spec = model()
    main_block(spec).operations.add(type="const").outputs.add(name="c")
    with pytest.raises(ModelFileError, match=r"^constant 'c' has no value$"):
        read(spec)


COUNTS = [
    ("fp32", {"floats": [1.0, 2.0, 3.0]}),
    ("fp32", {"floats": []}),
    ("fp32", {}),
    ("fp32", {"strings": ["1", "2"]}),
    ("fp32", {"ints": [1, 2]}),
    ("int32", {"floats": [1.5, 2.5]}),
    ("bool", {"ints": [0, 1]}),
    ("string", {"bytes": b"ab"}),
    ("string", {"ints": [1, 2]}),
    ("fp16", {"bytes": b"abc"}),
    ("uint4", {"bytes": b"ab"}),
    ("int8", {"ints": [1, 128]}),
    ("uint16", {"ints": [-1, 1]}),
    ("uint64", {"longInts": [-1, 1]}),
]


@pytest.mark.parametrize(("dtype", "members"), COUNTS)
def test_elements_of_another_number_type_or_range_are_refused(dtype, members):
    value = tensor_value(TYPE[dtype], 2, **members)
    assert refusal(value) == f"constant 'c' does not have the 2 elements of its type {dtype}[2]"


def test_a_parameter_without_name_is_called_by_its_operation():
    value = tensor_value(TYPE["fp32"], 2, floats=[1])
    operation = read(model(p={"value": value})).operations[0]
    with pytest.raises(ModelFileError, match=r"^op 'y', parameter 'p', does not have the 2 elem"):
        operation.constant("p")


TYPES = [
    (tensor_type(99, 2), "constant 'c' has the element type 99, which is not known"),
    (tensor_type(0, 2), "constant 'c' has the element type 0, which is not known"),
    (tensor_type(TYPE["bf16"], 2), "constant 'c' has elements of bf16, which cannot be read"),
    (tensor_type(TYPE["fp32"], 2**31), "constant 'c' claims the shape [2147483648]"),
    (
        tensor_type(TYPE["fp32"], 0, 2**63),
        "constant 'c' has the type fp32[?,?], which no constant can have",
    ),
    (tensor_type(TYPE["fp32"], *[1] * 65), "constant 'c' has 65 axes"),
]


@pytest.mark.parametrize(("kind", "message"), TYPES)
def test_types_that_no_constant_can_have_are_refused(kind, message):
    assert refusal(MIL_pb2.Value(type=kind)) == message


def test_unknown_sizes_and_ranks_are_refused_in_constants_only():
    kind = tensor_type(TYPE["fp32"], 2)
    kind.tensorType.dimensions[0].unknown.variadic = False
    message = "constant 'c' has the type fp32[?], which no constant can have"
    assert refusal(MIL_pb2.Value(type=kind)) == message
    spec = model()
    main_block(spec).operations[-1].outputs[0].type.CopyFrom(kind)
    assert read(spec).types()["y"] == TensorType("fp32", (None,))
    kind.tensorType.rank = -1
    main_block(spec).operations[-1].outputs[0].type.CopyFrom(kind)
    assert read(spec).types()["y"] == TensorType("fp32", None)


def test_a_rank_without_its_sizes_is_refused():
    kind = tensor_type(TYPE["fp32"], 2)
    kind.tensorType.rank = 3
    message = "constant 'c' has rank 3, but sizes for 1 axes"
    assert refusal(MIL_pb2.Value(type=kind)) == message


def test_text_in_a_weight_file_and_dictionaries_are_refused():
    blob = MIL_pb2.Value.BlobFileValue(fileName="w", offset=64)
    text = MIL_pb2.Value(type=tensor_type(TYPE["string"], 2), blobFileValue=blob)
    assert refusal(text) == "constant 'c' is text in a weight file, which holds none"
    kind = MIL_pb2.ValueType()
    kind.dictionaryType.SetInParent()
    message = "constant 'c' is a dictionary, which no constant can be"
    assert refusal(MIL_pb2.Value(type=kind)) == message


def test_blobs_are_read_when_asked_for():
    asked = []

    def read_blob(*place):
        asked.append(place)
        return np.ones(3)

    blob = MIL_pb2.Value.BlobFileValue(fileName="w", offset=64)
    value = MIL_pb2.Value(type=tensor_type(TYPE["uint3"], 11), blobFileValue=blob)
    [constant] = read(model(value, p={"name": "c"}), read_blob).operations[0].inputs["p"]
    assert (asked, constant.stored_bytes) == ([], 5)
    np.testing.assert_array_equal(constant.value, np.ones(3))
    assert asked == [("w", 64, "uint3", (11,))]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["uint1", "uint2", "uint3", "uint4", "int4", "uint6"]),
    st.lists(st.integers(0, 63), min_size=1, max_size=20),
)
def test_unpack_takes_the_lowest_bits_first(dtype, numbers):
    bits = int(dtype.lstrip("uint"))
    numbers = [number % 2**bits for number in numbers]
    stream = sum(number << index * bits for index, number in enumerate(numbers))
    packed = stream.to_bytes(-(-len(numbers) * bits // 8), "little")
    result = unpack(np.frombuffer(packed, np.uint8), dtype, len(numbers))
    signed = [n - 16 if dtype == "int4" and n > 7 else n for n in numbers]
    np.testing.assert_array_equal(result, signed)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(sorted(CODES)),
    st.lists(st.sampled_from([0, 1, 2, 3, 2**31, 2**64 - 1]), max_size=3),
    st.sampled_from(["floats", "ints", "bools", "longInts", "doubles"]),
    st.lists(st.integers(0, 1), max_size=9),
    st.binary(max_size=9),
)
def test_no_value_gives_another_error(code, shape, member, values, data):
    for members in ({member: values}, {"bytes": data}):
        with contextlib.suppress(ModelFileError):
            parameter(tensor_value(code, *shape, **members))
