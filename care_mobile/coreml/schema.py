"""The part of Core ML's file format that we read, as protobuf messages built at run time.

One line per message: its fields as `name=number:type`, `[type]` for repeated, `{type}` for a map
from strings. Numbers and types are those of Apple's published `Model.proto`, `MIL.proto` and
`FeatureTypes.proto`; what is not listed is skipped when reading. The messages live in a pool and a
package of their own, so they never meet those of coremltools in one process, and reading needs no
coremltools, which has no wheel for Linux on 64-bit Arm and takes seconds to import.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from .network_schema import NETWORK

PACKAGE = "care_mobile.coreml"

MODEL = """
Model: specificationVersion=1:int32 description=2:ModelDescription
 pipelineClassifier=200:PipelineClassifier pipelineRegressor=201:PipelineRegressor
 pipeline=202:Pipeline glmRegressor=300:Any supportVectorRegressor=301:Any
 treeEnsembleRegressor=302:Any neuralNetworkRegressor=303:NeuralNetworkRegressor
 bayesianProbitRegressor=304:Any glmClassifier=400:Any supportVectorClassifier=401:Any
 treeEnsembleClassifier=402:Any neuralNetworkClassifier=403:NeuralNetworkClassifier
 kNearestNeighborsClassifier=404:Any neuralNetwork=500:NeuralNetwork
 itemSimilarityRecommender=501:Any mlProgram=502:Program customModel=555:Any linkedModel=556:Any
 classConfidenceThresholding=560:Any oneHotEncoder=600:Any imputer=601:Any
 featureVectorizer=602:Any dictVectorizer=603:Any scaler=604:Any categoricalMapping=606:Any
 normalizer=607:Any arrayFeatureExtractor=609:Any nonMaximumSuppression=610:Any identity=900:Any
 textClassifier=2000:Any wordTagger=2001:Any visionFeaturePrint=2002:Any
 soundAnalysisPreprocessing=2003:Any gazetteer=2004:Any wordEmbedding=2005:Any
 audioFeaturePrint=2006:Any serializedModel=3000:Any
Any:
Pipeline: models=1:[Model] names=2:[string]
PipelineClassifier: pipeline=1:Pipeline
PipelineRegressor: pipeline=1:Pipeline
ModelDescription: input=1:[FeatureDescription] output=10:[FeatureDescription]
 predictedFeatureName=11:string predictedProbabilitiesName=12:string
 state=13:[FeatureDescription] functions=20:[FunctionDescription] defaultFunctionName=21:string
 metadata=100:Metadata
FunctionDescription: name=1:string input=2:[FeatureDescription] output=3:[FeatureDescription]
 predictedProbabilitiesName=5:string state=6:[FeatureDescription]
FeatureDescription: name=1:string shortDescription=2:string type=3:FeatureType
Metadata: shortDescription=1:string versionString=2:string author=3:string license=4:string
 userDefined=100:{string}
FeatureType: int64Type=1:Any doubleType=2:Any stringType=3:Any imageType=4:ImageFeatureType
 multiArrayType=5:ArrayFeatureType dictionaryType=6:Any sequenceType=7:Any
 stateType=8:StateFeatureType isOptional=1000:bool
StateFeatureType: arrayType=1:ArrayFeatureType
ImageFeatureType: width=1:int64 height=2:int64 colorSpace=3:int32
 enumeratedSizes=21:EnumeratedImageSizes imageSizeRange=31:ImageSizeRange
EnumeratedImageSizes: sizes=1:[ImageSize]
ImageSize: width=1:uint64 height=2:uint64
ImageSizeRange: widthRange=1:SizeRange heightRange=2:SizeRange
SizeRange: lowerBound=1:uint64 upperBound=2:int64
ArrayFeatureType: shape=1:[int64] dataType=2:int32 enumeratedShapes=21:EnumeratedShapes
 shapeRange=31:ShapeRange
EnumeratedShapes: shapes=1:[Shape]
Shape: shape=1:[int64]
ShapeRange: sizeRanges=1:[SizeRange]
"""

PROGRAM = """
Program: version=1:int64 functions=2:{Function}
Function: inputs=1:[NamedValueType] opset=2:string block_specializations=3:{Block}
Block: inputs=1:[NamedValueType] outputs=2:[string] operations=3:[Operation]
Operation: type=1:string inputs=2:{Argument} outputs=3:[NamedValueType] blocks=4:[Block]
 attributes=5:{Value}
Argument: arguments=1:[Binding]
Binding: name=1:string value=2:Value
NamedValueType: name=1:string type=2:ValueType
ValueType: tensorType=1:TensorType listType=2:Any tupleType=3:Any dictionaryType=4:Any
 stateType=5:Any
TensorType: dataType=1:int32 rank=2:int64 dimensions=3:[Dimension]
Dimension: constant=1:ConstantDimension unknown=2:UnknownDimension
ConstantDimension: size=1:uint64
UnknownDimension: variadic=1:bool
Value: type=2:ValueType immediateValue=3:ImmediateValue blobFileValue=5:BlobFileValue
ImmediateValue: tensor=1:TensorValue tuple=2:TupleValue list=3:ListValue
BlobFileValue: fileName=1:string offset=2:uint64
TensorValue: floats=1:Floats ints=2:Ints bools=3:Bools strings=4:Strings longInts=5:Longs
 doubles=6:Doubles bytes=7:Bytes
Floats: values=1:[float]
Ints: values=1:[int32]
Bools: values=1:[bool]
Strings: values=1:[string]
Longs: values=1:[int64]
Doubles: values=1:[double]
Bytes: values=1:bytes
TupleValue: values=1:[Value]
ListValue: values=1:[Value]
"""

_FIELD = re.compile(r"(\w+)=(\d+):(\[|\{)?(\w+)[\]}]?")
_SCALARS = {
    "double": 1, "float": 2, "int64": 3, "uint64": 4, "int32": 5, "bool": 8, "string": 9,
    "bytes": 12,
}  # fmt: skip
_MESSAGE = 11
_OPTIONAL, _REPEATED = 1, 3


def messages() -> dict[str, list[tuple[str, int, str, str]]]:
    """Message name -> (field, number, "" | "[" | "{", type)."""
    text = re.sub(r"\n ", " ", MODEL + PROGRAM + NETWORK).strip()
    return {
        name: [(f, int(n), kind, t) for f, n, kind, t in _FIELD.findall(fields)]
        for name, _, fields in (line.partition(":") for line in text.splitlines() if line)
    }


@cache
def model_class() -> Any:
    """The class that parses a `model.mlmodel` file."""
    file = descriptor_pb2.FileDescriptorProto(
        name="care_mobile/coreml.proto", package=PACKAGE, syntax="proto3"
    )
    for name, fields in messages().items():
        described = file.message_type.add(name=name)
        for field, number, kind, type_name in fields:
            _add_field(described, field, number, kind, type_name)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Model"))


def _add_field(
    described: descriptor_pb2.DescriptorProto, name: str, number: int, kind: str, type_name: str
) -> None:
    field = described.field.add(
        name=name,
        number=number,
        label=_REPEATED if kind else _OPTIONAL,
    )
    if kind == "{":
        entry_name = f"{name[0].upper()}{name[1:]}Entry".replace("_s", "S")
        entry = described.nested_type.add(name=entry_name)
        entry.options.map_entry = True
        _add_field(entry, "key", 1, "", "string")
        _add_field(entry, "value", 2, "", type_name)
        field.type = _MESSAGE
        field.type_name = f".{PACKAGE}.{described.name}.{entry_name}"
    elif type_name in _SCALARS:
        field.type = _SCALARS[type_name]
    else:
        field.type = _MESSAGE
        field.type_name = f".{PACKAGE}.{type_name}"


def parse(data: bytes) -> Any:
    """The `Model` in `data`.

    Raises:
        ValueError: if it is none.
    """
    model = model_class()()
    try:
        model.ParseFromString(data)
    except message.DecodeError as error:
        raise ValueError(str(error)) from error
    return model
