from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from care_mobile.errors import CareError, ModelFileError, UsageError
from care_mobile.inspection.inspector import inspect
from care_mobile.inspection.results import ExecuTorchFacts, Inspection
from care_mobile.inspection.xnnpack import read_partition
from care_mobile.quiet import quiet

CONV, GROUPED, LINEAR = (8 * 3 * 9 + 8), (8 * 4 * 9), (5 * 8 + 5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`xnnpack.pte` and `portable.pte`, the same network with and without a backend."""
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower
    from torch import nn

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)
            self.grouped = nn.Conv2d(8, 8, 3, groups=2, bias=False)
            self.linear = nn.Linear(8, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.grouped(self.conv(x).relu()).flatten(2).transpose(1, 2)
            return torch.cumsum(self.linear(torch.bmm(x @ x.transpose(1, 2), x)), 1)

    folder = tmp_path_factory.mktemp("pte")
    program = torch.export.export(Net().eval(), (torch.zeros(1, 3, 10, 10),))
    from executorch.backends.apple.coreml.partition import CoreMLPartitioner
    from executorch.backends.vulkan.partitioner.vulkan_partitioner import VulkanPartitioner

    small = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()).eval()
    image = torch.zeros(1, 3, 10, 10)
    fixed = torch.export.export(small, (image,))
    batch = ({0: torch.export.Dim("n", min=1, max=8)},)
    growing = torch.export.export(small, (image.repeat(2, 1, 1, 1),), dynamic_shapes=batch)
    several = {"encode": fixed, "forward": program}
    for name, captured, partitioner in (
        ("xnnpack", program, [XnnpackPartitioner()]),
        ("portable", program, []),
        ("coreml", fixed, [CoreMLPartitioner()]),
        ("vulkan", fixed, [VulkanPartitioner()]),
        ("growing", growing, [XnnpackPartitioner()]),
        ("several", several, [XnnpackPartitioner()]),
    ):
        with quiet():
            edge = to_edge_transform_and_lower(captured, partitioner=partitioner)
        (folder / f"{name}.pte").write_bytes(edge.to_executorch().buffer)
    return folder


def test_what_a_program_holds(folder: Path) -> None:
    found = inspect(folder / "xnnpack.pte")
    assert [(p.name, p.dtype, p.shape) for p in found.inputs] == [
        ("input 0", "fp32", (1, 3, 10, 10))
    ]
    assert [(p.name, p.shape) for p in found.outputs] == [("output 0", (1, 36, 5))]
    assert found.census["Conv2d"] == 2
    assert found.census["FullyConnected"] == 1
    assert found.operations == sum(found.census.values())
    assert found.parameters == CONV + GROUPED + LINEAR
    assert found.bytes_by_type == {"fp32": 4 * found.parameters}
    convolutions = 64 * 8 * 27 + 36 * 8 * 36
    products = 2 * 36 * 36 * 8
    assert found.macs == convolutions + products + 36 * 8 * 5
    assert found.layers[0].bytes == 4 * GROUPED
    assert Inspection.model_validate_json(found.model_dump_json()) == found


def test_delegates_and_what_they_left(folder: Path) -> None:
    found = inspect(folder / "xnnpack.pte")
    assert isinstance(found.facts, ExecuTorchFacts)
    assert found.facts.methods == ("forward",)
    (delegate,) = found.facts.delegates
    assert delegate.backend == "XnnpackBackend"
    assert delegate.operations == found.operations - sum(found.facts.outside.values())
    assert "aten::cumsum.out" in found.facts.outside


def test_without_a_backend(folder: Path) -> None:
    found = inspect(folder / "portable.pte")
    assert isinstance(found.facts, ExecuTorchFacts)
    assert found.facts.delegates == ()
    assert found.facts.outside == found.census
    assert found.parameters == CONV + GROUPED + LINEAR
    assert found.macs == inspect(folder / "xnnpack.pte").macs
    assert not found.macs_at_least


def test_it_is_known_by_its_content(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes((folder / "xnnpack.pte").read_bytes())
    assert inspect(path).macs == inspect(folder / "xnnpack.pte").macs


@pytest.mark.parametrize("kept", [0, 4, 8, 64, 1000])
def test_truncated_programs(folder: Path, tmp_path: Path, kept: int) -> None:
    path = tmp_path / "model.pte"
    path.write_bytes((folder / "xnnpack.pte").read_bytes()[:kept])
    with pytest.raises(ModelFileError, match=r"model\.pte"):
        inspect(path)


def test_no_program(tmp_path: Path) -> None:
    path = tmp_path / "model.pte"
    path.write_text("<html>not found</html>")
    with pytest.raises(ModelFileError, match="no ExecuTorch program"):
        inspect(path)


@given(position=st.integers(0, 4000), value=st.integers(0, 255))
@settings(max_examples=30, deadline=None)
def test_damage_is_one_line_or_harmless(folder: Path, position: int, value: int) -> None:
    data = bytearray((folder / "xnnpack.pte").read_bytes())
    data[position % len(data)] = value
    path = folder / "damaged.pte"
    path.write_bytes(data)
    try:
        name = inspect(path).name
    except CareError as error:
        name = str(error)
    assert name
    assert "\n" not in name


@given(data=st.binary(max_size=300))
@settings(max_examples=40, deadline=None)
def test_payloads_that_are_none_are_not_understood(data: bytes) -> None:
    assert read_partition(data, "p") is None
    header = b"\0\0\0\0XH00\x1e\0" + (30).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    found = read_partition(header + bytes(12) + data, "p")
    assert found is None or found.layers == ()


SMALL = 8 * 8 * 8 * 27


def test_weights_inside_the_core_ml_delegate(folder: Path) -> None:
    found = inspect(folder / "coreml.pte")
    assert found.parameters == 8 * 27 + 8
    assert found.bytes_by_type == {"fp16": 2 * found.parameters}
    assert (found.macs, found.macs_at_least) == (SMALL, False)
    assert found.census["conv"] == 1


def test_what_another_backend_holds_is_not_known(folder: Path) -> None:
    found = inspect(folder / "vulkan.pte")
    assert (found.parameters, found.macs) == (None, None)
    assert found.operations_at_least
    assert found.parameters_at_least
    assert found.macs_at_least
    assert found.macs_note == "what VulkanBackend holds is not known"


def test_several_methods_say_which_is_shown(folder: Path) -> None:
    found = inspect(folder / "several.pte")
    alone = inspect(folder / "xnnpack.pte")
    assert isinstance(found.facts, ExecuTorchFacts)
    assert found.facts.methods == ("encode", "forward")
    assert found.facts.shown == "forward"
    assert (found.parameters, found.macs) == (alone.parameters, alone.macs)
    other = inspect(folder / "several.pte", function="encode")
    assert (other.parameters, other.macs) == (224, SMALL)
    with pytest.raises(ModelFileError, match="no method 'decode'"):
        inspect(folder / "several.pte", function="decode")


def test_a_growing_input_counts_at_its_largest(folder: Path) -> None:
    found = inspect(folder / "growing.pte")
    assert [(p.shape, p.flexible) for p in found.inputs] == [((8, 3, 10, 10), True)]
    assert (found.macs, found.macs_at_least) == (8 * SMALL, False)
    assert found.macs_note == "for the largest inputs that the file allows"
    with pytest.raises(UsageError, match="does not fit"):
        inspect(folder / "growing.pte", shapes={"input 0": (2, 3, 10, 10)})


def test_it_is_read_without_the_runtime(folder: Path, script: Any) -> None:
    source = (
        "import sys\nfrom pathlib import Path\n"
        "from care_mobile.inspection.inspector import inspect\n"
        f"found = [inspect(Path({str(folder)!r}) / f'{{n}}.pte').operations > 0\n"
        "         for n in ('xnnpack', 'portable', 'coreml')]\n"
        "heavy = ('torch', 'executorch', 'coremltools', 'onnx', 'scipy')\n"
        "print(found, [m for m in heavy if m in sys.modules])"
    )
    done = script(source)
    assert done.stdout == "[True, True, True] []\n", done.stderr


@pytest.mark.parametrize(
    ("magic", "message"),
    [(b"FT01", "weights of another program"), (b"BP08", "bundled program with test inputs")],
)
def test_other_files_of_executorch(tmp_path: Path, magic: bytes, message: str) -> None:
    path = tmp_path / "model.pte"
    path.write_bytes(bytes(4) + magic + bytes(64))
    with pytest.raises(ModelFileError) as caught:
        inspect(path)
    assert message in caught.value.hint
