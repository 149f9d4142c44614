"""Our message table against the protobuf descriptors that coremltools ships."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto

from care_mobile.coreml.schema import messages, model_class, parse
from care_mobile.coreml.types import CODES
from care_mobile.quiet import quiet

with quiet():
    from coremltools.proto import MIL_pb2, Model_pb2

THEIRS = {
    "Model": Model_pb2.Model,
    "ModelDescription": Model_pb2.ModelDescription,
    "FunctionDescription": Model_pb2.FunctionDescription,
    "FeatureDescription": Model_pb2.FeatureDescription,
    "Metadata": Model_pb2.Metadata,
    "FeatureType": Model_pb2.FeatureDescription.DESCRIPTOR.fields_by_name["type"].message_type,
    "ListValue": MIL_pb2.ListValue,
    "Floats": MIL_pb2.TensorValue.RepeatedFloats,
    "Ints": MIL_pb2.TensorValue.RepeatedInts,
    "Bools": MIL_pb2.TensorValue.RepeatedBools,
    "Strings": MIL_pb2.TensorValue.RepeatedStrings,
    "Longs": MIL_pb2.TensorValue.RepeatedLongInts,
    "Doubles": MIL_pb2.TensorValue.RepeatedDoubles,
    "Bytes": MIL_pb2.TensorValue.RepeatedBytes,
    "ConstantDimension": MIL_pb2.Dimension.ConstantDimension,
    "UnknownDimension": MIL_pb2.Dimension.UnknownDimension,
    "Binding": MIL_pb2.Argument.Binding,
    "ImmediateValue": MIL_pb2.Value.ImmediateValue,
    "BlobFileValue": MIL_pb2.Value.BlobFileValue,
}


def reachable(message, found):
    """All messages that a model's message leads to, by name; MIL's are named in `THEIRS`."""
    for field in message.fields:
        inner = field.message_type
        if inner is not None and inner.full_name not in {m.full_name for m in found.values()}:
            found.setdefault(inner.name, inner)
            reachable(inner, found)
    return found


REACHABLE = reachable(Model_pb2.Model.DESCRIPTOR, {})


def theirs(name):
    mil = getattr(MIL_pb2, name, None)
    found = THEIRS.get(name) or mil or REACHABLE[name]
    return getattr(found, "DESCRIPTOR", found)


def described(message):
    """Its fields as FieldDescriptorProto, by name."""
    proto = DescriptorProto()
    message.CopyToProto(proto)
    return {field.name: field for field in proto.field}


OURS = {name: model_class().DESCRIPTOR.file.message_types_by_name[name] for name in messages()}
FIELDS = [(message, field) for message in OURS for field in described(OURS[message])]


@pytest.mark.parametrize(("message", "name"), FIELDS)
def test_field_is_theirs(message, name):
    ours, field = described(OURS[message])[name], described(theirs(message))[name]
    assert (ours.number, ours.label) == (field.number, field.label)
    # An enumeration travels as an int32.
    assert ours.type == (ours.TYPE_INT32 if field.type == field.TYPE_ENUM else field.type)
    if field.type == field.TYPE_MESSAGE:
        assert_same_message(
            OURS[message].fields_by_name[name].message_type,
            theirs(message).fields_by_name[name].message_type,
        )


def assert_same_message(ours, field):
    assert ours.GetOptions().map_entry == field.GetOptions().map_entry
    if ours.GetOptions().map_entry:
        for part in ("key", "value"):
            assert described(ours)[part].type == described(field)[part].type
        ours, field = (m.fields_by_name["value"].message_type for m in (ours, field))
    if ours is not None and ours.name != "Any":
        assert theirs(ours.name).full_name == field.full_name


def test_every_message_is_compared():
    assert {message for message, _ in FIELDS} == set(OURS) - {"Any"}
    assert len(FIELDS) > 90


def test_element_types_have_their_codes():
    known = dict(MIL_pb2.DataType.items())
    assert known.pop("UNUSED_TYPE") not in CODES
    names = {
        code: name.replace("BFLOAT", "BF").replace("FLOAT", "FP").lower()
        for name, code in known.items()
    }
    assert names == CODES


def test_our_messages_do_not_meet_those_of_coremltools():
    """Both parse the same bytes in one process, into classes of their own."""
    spec = Model_pb2.Model(specificationVersion=8)
    spec.mlProgram.functions["main"].opset = "CoreML7"
    spec.description.metadata.userDefined["key"] = "value"
    ours = parse(spec.SerializeToString())
    assert type(ours) is not type(spec)
    assert ours.mlProgram.functions["main"].opset == "CoreML7"
    assert dict(ours.description.metadata.userDefined) == {"key": "value"}


def test_what_is_no_message_is_refused():
    with pytest.raises(ValueError, match="parsing"):
        parse(b"\xff\xff")
