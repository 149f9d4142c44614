"""Core ML models of all kinds: nested blocks, open shapes, functions, pipelines, older networks."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ml_programs import ct, mb, types, write_package

from care_mobile.errors import ModelFileError, RuntimeFailure, UsageError
from care_mobile.inspection.divergence import diverge
from care_mobile.inspection.inspector import inspect
from care_mobile.inspection.results import CoreMLFacts, Inspection
from care_mobile.quiet import quiet

with quiet():
    from coremltools.converters.mil.mil import get_new_symbol
    from coremltools.models import datatypes
    from coremltools.models.neural_network import NeuralNetworkBuilder
    from coremltools.models.utils import MultiFunctionDescriptor, save_multifunction
    from coremltools.proto import Model_pb2

F32 = np.float32
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 140\n"


def matrix(rows: int, columns: int) -> Any:
    return np.arange(rows * columns, dtype=F32).reshape(rows, columns) / 100


def nested(x: Any, n: Any) -> Any:
    """A loop around one linear layer, then one of two branches with one and two of them."""

    def body(count: Any, a: Any) -> Any:
        return mb.add(x=count, y=1), mb.linear(x=a, weight=matrix(16, 16), name="inside")

    def condition(count: Any, _: Any) -> Any:
        return mb.less(x=count, y=mb.squeeze(x=n))

    _, a = mb.while_loop(_cond=condition, _body=body, loop_vars=(np.int32(0), x))

    def twice() -> Any:
        b = mb.linear(x=a, weight=matrix(32, 16), name="otherwise")
        return mb.linear(x=b, weight=matrix(16, 32), name="then_this")

    return mb.cond(
        pred=mb.greater(x=mb.squeeze(x=n), y=3),
        _true_fn=lambda: mb.linear(x=a, weight=matrix(16, 16) + 1, name="chosen"),
        _false_fn=twice,
    )


def test_nested_blocks_are_counted(tmp_path: Path) -> None:
    inputs = {"x": np.zeros((1, 16), F32), "n": np.zeros(1, np.int32)}
    found = inspect(write_package(tmp_path / "p.mlpackage", nested, inputs))
    biases = 16 + 32 + 16 + 16
    assert found.parameters == 16 * 16 + 32 * 16 + 16 * 32 + 16 * 16 + biases
    assert found.bytes_by_type == {"fp32": 4 * found.parameters}
    assert found.census["linear"] == 4
    assert (found.macs, found.macs_at_least) == (256 + 256, True)
    assert found.macs_note == (
        "one round of 1 loop of unknown length; the cheaper branches; 1,280 with the dearer ones"
    )
    assert {layer.name for layer in found.layers} >= {"inside", "otherwise", "then_this", "chosen"}
    assert found.forecast is not None
    assert {op.operation for op in found.forecast.operations} >= {"inside", "otherwise"}


def gram(image: Any) -> Any:
    """Two convolutions, then the products of all pairs of channels; reshaped by computed sizes."""
    y = mb.conv(
        x=image, weight=np.ones((8, 3, 3, 3), F32), pad_type="same", strides=[2, 2], name="stem"
    )
    y = mb.conv(x=mb.relu(x=y), weight=np.ones((8, 8, 3, 3), F32), pad_type="valid")
    sizes = mb.slice_by_index(x=mb.shape(x=y), begin=[2], end=[4])
    count = mb.reduce_prod(x=sizes, axes=[0], keep_dims=True)
    flat = mb.reshape(x=y, shape=mb.concat(values=[np.int32([1, 8]), count], axis=0))
    return mb.reduce_mean(x=mb.matmul(x=flat, y=flat, transpose_y=True), axes=[2], name="out")


def gram_macs(height: int, width: int) -> int:
    height, width = -(-height // 2), -(-width // 2)
    inner = (height - 2) * (width - 2)
    return 8 * height * width * 27 + 8 * inner * 72 + 8 * 8 * inner


RANGE = lambda: (1, 3, ct.RangeDim(16, 128, 32), ct.RangeDim(16, 128, 32))  # noqa: E731
OPEN: dict[str, Callable[[], Any]] = {
    "range": lambda: ct.TensorType("image", shape=RANGE()),
    "picture": lambda: ct.ImageType("image", shape=RANGE()),
    "choice": lambda: ct.TensorType(
        "image",
        shape=ct.EnumeratedShapes([(1, 3, 32, 32), (1, 3, 64, 64)], default=(1, 3, 32, 32)),
    ),
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Packages with an open shape, by kind."""
    folder = tmp_path_factory.mktemp("open")

    def build(kind: str) -> Path:
        path = folder / f"{kind}.mlpackage"
        if not path.exists():
            spec = mb.TensorSpec((1, 3, get_new_symbol(), get_new_symbol()), types.fp32)
            with quiet():
                program = mb.program(input_specs=[spec], opset_version=ct.target.iOS17)(gram)
                ct.convert(
                    program,
                    convert_to="mlprogram",
                    inputs=[OPEN[kind]()],
                    skip_model_load=True,
                    minimum_deployment_target=ct.target.iOS17,
                ).save(str(path))
        return path

    return build


@pytest.mark.parametrize(
    ("kind", "accepts"),
    [
        ("range", "1 x 3 x 16..128 x 16..128"),
        ("picture", "16..128 x 16..128"),
        ("choice", "1 x 3 x 32 x 32 or 1 x 3 x 64 x 64"),
    ],
)
def test_an_open_shape_has_its_default(
    opened: Callable[[str], Path], kind: str, accepts: str
) -> None:
    found = inspect(opened(kind))
    assert (found.macs, found.macs_at_least) == (gram_macs(32, 32), False)
    assert found.macs_note == "for image 1 x 3 x 32 x 32, the default of a flexible input"
    assert (found.inputs[0].flexible, found.inputs[0].accepts) == (True, accepts)
    assert found.forecast is not None
    assert found.forecast.macs == found.macs
    assert found.forecast.note.endswith(f"It is {found.macs_note}.")


def test_a_given_shape_is_counted_and_forecast(opened: Callable[[str], Path]) -> None:
    found = inspect(opened("range"), shapes={"image": (1, 3, 64, 96)})
    assert (found.macs, found.macs_at_least) == (gram_macs(64, 96), False)
    assert found.forecast is not None
    assert found.forecast.macs == found.macs
    assert inspect(opened("choice"), shapes={"image": (1, 3, 64, 64)}).macs == gram_macs(64, 64)


@pytest.mark.parametrize(
    ("kind", "shapes", "message"),
    [
        ("range", {"image": (1, 3, 64, 256)}, "does not take the shape 1 x 3 x 64 x 256"),
        ("picture", {"image": (1, 3, 8, 32)}, "does not take the shape"),
        ("choice", {"image": (1, 3, 65, 64)}, "does not take the shape"),
        ("range", {"image": (1, 3, 64)}, r"does not fit: in the file it is 1x3x\?x\?"),
        ("range", {"image": (1, 4, 64, 64)}, "does not fit"),
        ("range", {"picture": (1, 3, 64, 64)}, "names 'picture', which is no input"),
    ],
)
def test_shapes_that_do_not_fit(
    opened: Callable[[str], Path], kind: str, shapes: dict[str, tuple[int, ...]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        inspect(opened(kind), shapes=shapes)


def test_divergence_runs_at_the_shape(opened: Callable[[str], Path]) -> None:
    assert len(diverge(opened("range")).operations) == len(
        diverge(opened("range"), shapes={"image": (1, 3, 16, 48)}).operations
    )
    with pytest.raises(UsageError, match="does not take the shape"):
        diverge(opened("range"), shapes={"image": (1, 3, 16, 480)})


def test_what_depends_on_values_stays_open(tmp_path: Path) -> None:
    def build(x: Any) -> Any:
        rows = mb.cast(x=mb.non_zero(x=x), dtype="fp32")
        return mb.matmul(x=rows, y=matrix(2, 3))

    found = inspect(write_package(tmp_path / "p.mlpackage", build, {"x": np.zeros((3, 4), F32)}))
    assert (found.macs, found.macs_at_least) == (None, True)


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package with one linear layer from 3 to 2."""

    def build(x: Any) -> Any:
        return mb.linear(x=x, weight=matrix(2, 3), name="y")

    path = tmp_path_factory.mktemp("linear") / "linear.mlpackage"
    with quiet():
        spec = [mb.TensorSpec((1, 3), types.fp32)]
        program = mb.program(input_specs=spec, opset_version=ct.target.iOS18)(build)
        ct.convert(
            program,
            convert_to="mlprogram",
            skip_model_load=True,
            compute_precision=ct.precision.FLOAT32,
            minimum_deployment_target=ct.target.iOS18,
        ).save(str(path))
    return path


def test_several_functions_say_which_is_shown(linear: Path, tmp_path: Path) -> None:
    described = MultiFunctionDescriptor()
    for name in ("first", "second"):
        described.add_function(str(linear), "main", name)
    described.default_function_name = "second"
    path = tmp_path / "both.mlpackage"
    with quiet():
        save_multifunction(described, str(path))
    found = inspect(path)
    assert isinstance(found.facts, CoreMLFacts)
    assert (found.facts.functions, found.facts.shown) == (("first", "second"), "second")
    assert (found.macs, [p.shape for p in found.inputs]) == (6, [(1, 3)])
    first = inspect(path, function="first").facts
    assert isinstance(first, CoreMLFacts)
    assert first.shown == "first"
    with pytest.raises(UsageError, match="no function 'third'"):
        inspect(path, function="third")
    assert diverge(path, function="first").first is None


def older() -> Any:
    """A network of the older kind: a convolution with 224 numbers and a linear layer with 8."""
    features = [("x", datatypes.Array(3, 4, 4))], [("y", None)]
    with quiet():
        builder = NeuralNetworkBuilder(*features, disable_rank5_shape_mapping=True)
        builder.add_convolution(
            "c", 3, 8, 3, 3, 1, 1, "same", 1, np.ones((3, 3, 3, 8)), np.ones(8), True,
            input_name="x", output_name="h",
        )  # fmt: skip
        builder.add_inner_product(
            "l", np.ones((2, 3)), np.ones(2), 3, 2, True, input_name="h", output_name="y"
        )
    return builder.spec


def test_an_older_network(tmp_path: Path) -> None:
    path = tmp_path / "old.mlmodel"
    path.write_bytes(older().SerializeToString())
    found = inspect(path)
    assert found.census == {"convolution": 1, "innerProduct": 1}
    assert (found.parameters, found.bytes_by_type) == (224 + 8, {"fp32": 4 * 232})
    assert (found.macs, found.macs_at_least) == (None, True)
    assert "keeps no shapes" in found.macs_note
    assert isinstance(found.facts, CoreMLFacts)
    assert found.facts.kind == "neuralNetwork"
    assert found.layers[0].name == "c"
    with pytest.raises(UsageError, match="whose layers keep no shapes"):
        inspect(path, shapes={"x": (3, 4, 4)})
    with pytest.raises(UsageError, match="which has no functions"):
        inspect(path, function="main")


def test_a_network_in_a_branch_is_counted(tmp_path: Path) -> None:
    spec, inner = older(), older()
    layer = spec.neuralNetwork.layers.add(name="either")
    layer.branch.ifBranch.layers.extend(inner.neuralNetwork.layers)
    path = tmp_path / "old.mlmodel"
    path.write_bytes(spec.SerializeToString())
    found = inspect(path)
    assert found.census == {"convolution": 2, "innerProduct": 2, "branch": 1}
    assert found.parameters == 2 * 232


def test_a_program_in_one_file(linear: Path, tmp_path: Path) -> None:
    path = tmp_path / "alone.mlmodel"
    shutil.copy(next(linear.rglob("*.mlmodel")), path)
    assert inspect(path).forecast is not None  # its weights are small, and inline
    assert inspect(path).macs == 6


def test_other_kinds_say_what_they_are(tmp_path: Path) -> None:
    model = Model_pb2.Model(specificationVersion=3)
    model.treeEnsembleRegressor.treeEnsemble.numPredictionDimensions = 1
    path = tmp_path / "tree.mlmodel"
    path.write_bytes(model.SerializeToString())
    found = inspect(path)
    assert isinstance(found.facts, CoreMLFacts)
    assert found.facts.kind == "treeEnsembleRegressor"
    assert (found.parameters, found.parameters_at_least, found.macs) == (None, True, None)


@pytest.mark.parametrize("kind", ["pipeline", "pipelineClassifier", "pipelineRegressor"])
def test_a_pipeline_shows_its_parts(linear: Path, tmp_path: Path, kind: str) -> None:
    path = shutil.copytree(linear, tmp_path / "pipeline.mlpackage")
    file = next(path.rglob("*.mlmodel"))
    model = Model_pb2.Model(specificationVersion=9)
    pipeline = model.pipeline if kind == "pipeline" else getattr(model, kind).pipeline
    pipeline.models.add().ParseFromString(file.read_bytes())
    pipeline.models.add().CopyFrom(older())
    pipeline.names.extend(["encoder", "head"])
    file.write_bytes(model.SerializeToString())
    found = inspect(path)
    assert [part.name for part in found.parts] == ["encoder", "head"]
    assert [part.parameters for part in found.parts] == [8, 232]
    assert (found.parameters, found.parameters_at_least) == (240, False)
    assert (found.macs, found.macs_at_least) == (6, True)
    assert found.macs_note == "head: this format keeps no shapes between layers"
    assert found.operations == 3
    assert Inspection.model_validate_json(found.model_dump_json()) == found


def test_a_state_is_shown_and_not_run(tmp_path: Path) -> None:
    specs = [mb.TensorSpec((1, 4), types.fp16), mb.StateTensorSpec((1, 4), types.fp16)]
    path = tmp_path / "memory.mlpackage"
    with quiet():
        program = mb.program(input_specs=specs, opset_version=ct.target.iOS18)(
            lambda x, memory: mb.add(x=x, y=mb.read_state(input=memory))
        )
        ct.convert(
            program,
            convert_to="mlprogram",
            skip_model_load=True,
            minimum_deployment_target=ct.target.iOS18,
        ).save(str(path))
    found = inspect(path)
    assert [(port.kind, port.shape) for port in found.inputs] == [
        ("tensor", (1, 4)),
        ("state", (1, 4)),
    ]
    with pytest.raises((ModelFileError, RuntimeFailure), match="state"):
        diverge(path)


@pytest.mark.parametrize("name", ["*.mlmodel", "weight.bin"])
def test_files_of_a_package_that_were_never_fetched(tmp_path: Path, name: str) -> None:
    from .conftest import write_small_package

    path = write_small_package(tmp_path / "p.mlpackage")
    file = next(path.rglob(name))
    file.write_bytes(POINTER)
    with pytest.raises(ModelFileError, match=f"{file.name} is a Git LFS pointer"):
        inspect(path)


@pytest.mark.parametrize("name", ["m.mlmodel", "m.onnx", "m.pte", "m.mlpackage", "m.bin", "m.pt2"])
def test_files_that_were_never_fetched(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(POINTER)
    with pytest.raises(ModelFileError, match=f"{name} is a Git LFS pointer"):
        inspect(tmp_path / name)


def test_sizes_beyond_any_machine(tmp_path: Path) -> None:
    from test_coreml.support import edit, main_block, tensor_type

    path = write_package(
        tmp_path / "p.mlpackage", lambda x: mb.relu(x=x, name="y"), {"x": np.zeros((2, 3), F32)}
    )

    def grow(model: Any) -> None:
        main_block(model).operations[-1].outputs[0].type.CopyFrom(tensor_type(11, 2**62, 2**62))

    with pytest.raises(ModelFileError, match="beyond any machine"):
        inspect(edit(path, grow))


def test_a_negative_size_is_one_that_is_not_known(tmp_path: Path) -> None:
    from test_coreml.support import edit, main_block, tensor_type

    def build(x: Any) -> Any:
        return mb.linear(x=x, weight=matrix(2, 3), name="y")

    path = write_package(tmp_path / "p.mlpackage", build, {"x": np.zeros((1, 3), F32)})

    def negate(model: Any) -> None:
        function = model.mlProgram.functions["main"]
        function.inputs[0].type.CopyFrom(tensor_type(11, 2**64 - 1, 3))
        main_block(model).operations[-1].outputs[0].type.CopyFrom(tensor_type(11, 2**64 - 1, 2))
        for feature in model.description.input:
            feature.type.multiArrayType.shape[:] = [-1, 3]

    found = inspect(edit(path, negate))
    assert (found.macs, found.macs_at_least) == (6, False)
    assert found.macs_note == "for a batch of 1 of x, which the file leaves free"
    assert found.inputs[0].shape == (None, 3)
