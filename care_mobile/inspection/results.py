"""What an inspection consists of; `care-inspect --json` prints it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Literal

from pydantic import Field

from ..coreml.compute_plan import Comparison
from ..coreml.forecast import Forecast
from ..divergence import Divergence
from ..frozen import Frozen


class Port(Frozen):
    """An input or output.

    Attributes:
        kind: tensor, image, dictionary, ...
        dtype: element type; the colour layout of an image.
        shape: a free axis has its name, or None; the whole is None where nothing is known.
        flexible: whether other shapes are accepted too; `shape` is then the default of Core ML
            and the largest of ExecuTorch.
        accepts: which ones, where the file says.
    """

    name: str
    kind: str = "tensor"
    dtype: str
    shape: tuple[int | str | None, ...] | None
    flexible: bool = False
    accepts: str = ""


class Layer(Frozen):
    """An operation with weights or multiply-accumulates.

    Attributes:
        bytes: its weights as stored.
        macs: of one call; None if unknown.
    """

    name: str
    operator: str
    bytes: int
    parameters: int
    macs: int | None


class CoreMLFacts(Frozen):
    """`ios` is the oldest that reads this version of the file format.

    Attributes:
        kind: mlProgram, pipeline, neuralNetwork, ...: the name of Apple's message.
        compiled: whether it is a `.mlmodelc`.
        functions: of an ML Program; `shown` is the one that the counts are of.
    """

    format: Literal["coreml"] = "coreml"
    specification: int
    ios: int | None
    opset: str
    metadata: dict[str, str]
    kind: str = "mlProgram"
    compiled: bool = False
    functions: tuple[str, ...] = ("main",)
    shown: str = "main"


class OnnxFacts(Frozen):
    """`opsets` are versions by domain; `external_files` hold weights beside the model."""

    format: Literal["onnx"] = "onnx"
    ir_version: int
    opsets: dict[str, int]
    producer: str
    external_files: tuple[str, ...] = ()


class Delegate(Frozen):
    """What one backend was given.

    Attributes:
        operations: inside its partitions; None where its payload is not understood.
        bytes: of the payloads, weights stored elsewhere in the file not counted.
    """

    backend: str
    partitions: int
    operations: int | None
    bytes: int


class ExecuTorchFacts(Frozen):
    """`outside` counts the operations that no backend took, by operator.

    Attributes:
        shown: the method that everything here is about; empty in reports before it was recorded.
    """

    format: Literal["executorch"] = "executorch"
    methods: tuple[str, ...]
    shown: str = ""
    delegates: tuple[Delegate, ...]
    outside: dict[str, int]


class BundleFacts(Frozen):
    """What a bundle says of itself.

    Attributes:
        content_sha256: its identity, of the files that are run.
        probes: inputs with the reference's answers that it carries, by name; `probes_left_out`
            says what is missing and why.
    """

    content_sha256: str
    probes: tuple[str, ...] = ()
    probes_left_out: dict[str, str] = Field(default_factory=dict)


class Inspection(Frozen):
    """What a model file holds.

    Attributes:
        name: of the file or folder; `bundle` of the care-mobile bundle around it, of which
            `bundle_facts` says more.
        size_bytes: of the file, or of the whole folder.
        operations: all; `census` has them by operator, the most frequent first.
        parameters: numbers of the weights; None if unknown.
        macs: multiply-accumulates of one run, of what can be counted; None if nothing can.
        macs_note: what was assumed, what was not counted, or why nothing was.
        bytes_by_type: of the weights as stored.
        layers: the largest by stored bytes, then by multiply-accumulates.
        operations_at_least, parameters_at_least, macs_at_least: whether there may be more;
            `parameters_note` says why (of the operations too).
        parts: of a pipeline, in order.
    """

    schema_version: Literal[1] = 1
    name: str
    bundle: str | None = None
    bundle_facts: BundleFacts | None = None
    size_bytes: int
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    operations: int
    operations_at_least: bool = False
    census: dict[str, int]
    parameters: int | None
    parameters_at_least: bool = False
    parameters_note: str = ""
    macs: int | None
    macs_at_least: bool = False
    macs_note: str = ""
    bytes_by_type: dict[str, int]
    layers: tuple[Layer, ...]
    facts: Annotated[CoreMLFacts | OnnxFacts | ExecuTorchFacts, Field(discriminator="format")]
    parts: tuple[Inspection, ...] = ()
    forecast: Forecast | None = None
    comparison: Comparison | None = None
    divergence: Divergence | None = None


def by_count(counts: Mapping[str, int]) -> dict[str, int]:
    """The most frequent first, equals by name."""
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def largest_first(layers: Iterable[Layer], count: int) -> tuple[Layer, ...]:
    """The `count` largest of those that hold or compute anything."""
    kept = [layer for layer in layers if layer.bytes or layer.macs]
    return tuple(sorted(kept, key=lambda layer: (-layer.bytes, -(layer.macs or 0)))[:count])


def notes(*phrases: str) -> str:
    """Phrases as one note."""
    return "; ".join(filter(None, phrases))
