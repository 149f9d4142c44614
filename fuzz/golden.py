"""Good files of every kind, made at the start by the tools that make real ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from care_mobile.answers import tensor_bytes
from care_mobile.bench.harness.script import CellFails, Script, Throttle
from care_mobile.bench.planning import CellRequest, make_plan
from care_mobile.bench.presets import get_preset
from care_mobile.bench.protocol.plan import Plan
from care_mobile.bundle import (
    MANIFEST,
    Bundle,
    Census,
    Manifest,
    Parity,
    TensorSpec,
    Weights,
    list_files,
    write_manifest,
    writing,
)
from care_mobile.evaluation.journal import Answer, Key, SubjectKey
from care_mobile.inputs import Preprocessing, Resolution
from care_mobile.probes import AnswerLimit, Probe, TensorFile
from care_mobile.quiet import quiet

SIDE = 16
CLASSES = 5


def make(kind: str, folder: Path) -> Path:
    """The golden file of `kind`, in `folder`; for a bundle or a package, a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return _MAKERS[kind](folder)


def write_bundle(path: Path, model: Path, runtime: str, name: str, output: str) -> Path:
    """A bundle around a copy of a model file."""
    with writing(path) as partial:
        (partial / model.name).write_bytes(model.read_bytes())
        probe = _probe(partial, name, output)
        manifest = _manifest(partial, model.name, runtime, name, output)
        write_manifest(partial, manifest.model_copy(update={"probes": (probe,)}))
    return path


def _probe(folder: Path, name: str, output: str) -> Probe:
    import numpy as np

    (folder / "probes").mkdir()
    tensors = []
    for tensor, shape in ((name, (1, 3, SIDE, SIDE)), (output, (1, CLASSES))):
        file = f"probes/{tensor}.bin"
        (folder / file).write_bytes(tensor_bytes(np.ones(shape, np.float32)))
        tensors.append(TensorFile(name=tensor, dtype="float32", shape=shape, file=file))
    limit = AnswerLimit(min_psnr_db=40.0, peak=1.0, max_abs=1e-4)
    return Probe(name="photos", inputs=(tensors[0],), outputs=(tensors[1],), limits=(limit,))


def _manifest(folder: Path, file: str, runtime: str, name: str, output: str) -> Manifest:
    return Manifest(
        model="golden",
        parameters=1,
        macs=1,
        weights=Weights(source="random:0", random=True),
        inputs=(TensorSpec(name=name, shape=(1, 3, SIDE, SIDE)),),
        outputs=(TensorSpec(name=output, shape=(1, CLASSES)),),
        preprocessing=Preprocessing(resolution=Resolution(width=SIDE, height=SIDE)),
        target=runtime,
        precision="fp32",
        runtime=runtime,
        passes=(),
        census=Census(total=1, by_type={"Conv": 1}),
        tools={"python": "3"},
        parity=Parity(status="unverified", reason="golden"),
        model_file=file,
        files=list_files(folder),
        created=datetime(2026, 1, 1, tzinfo=timezone.utc),
    )


def _onnx(folder: Path) -> Path:
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {
        "w": rng.standard_normal((8, 3, 3, 3)).astype(np.float32),
        "v": rng.standard_normal((CLASSES, 8)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="stem", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], name="act"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], name="pool"),
        helper.make_node("Flatten", ["p"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "v"], ["y"], name="head", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "golden",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (1, 3, SIDE, SIDE))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, CLASSES))],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    path = folder / "model.onnx"
    onnx.save_model(model, str(path))
    return path


def _network() -> Any:
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, CLASSES),
    ).eval()


def _program() -> Any:
    import torch

    torch.manual_seed(0)
    return torch.export.export(_network(), (torch.zeros(1, 3, SIDE, SIDE),))


def _pte(folder: Path) -> Path:
    path = folder / "model.pte"
    with quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        edge = to_edge_transform_and_lower(_program(), partitioner=[XnnpackPartitioner()])
        path.write_bytes(edge.to_executorch().buffer)
    return path


def _mlpackage(folder: Path) -> Path:
    path = folder / "model.mlpackage"
    with quiet():
        import coremltools as ct

        model = ct.convert(
            _program().run_decompositions({}),
            convert_to="mlprogram",
            minimum_deployment_target=ct.target.iOS17,
            skip_model_load=True,
        )
        model.save(str(path))
    return path


def _bundle(folder: Path) -> Path:
    return write_bundle(folder / "bundle", _onnx(folder), "onnxruntime", "x", "y")


def _manifest_file(folder: Path) -> Path:
    return _bundle(folder) / MANIFEST


def plan(path: Path, scratch: Path) -> Plan:
    """What a session of one small bundle, measured twice, does."""
    bundle = Bundle.open(path)
    requests = [CellRequest(bundle.path, bundle, "onnxruntime")] * 2
    made = make_plan(
        requests,
        get_preset("quick"),
        session="20260102T030405Z-00c0ffee",
        created="2026-01-02T03:04:05Z",
        seed=7,
        scratch=scratch,
    )
    return made.plan


def _plan_file(folder: Path) -> Path:
    path = folder / "plan.json"
    path.write_text(plan(_bundle(folder), folder).model_dump_json())
    return path


def _script_file(folder: Path) -> Path:
    _bundle(folder)  # to play it with
    world = (
        Throttle(kind="throttle", round=1, factor_permille=1500),
        CellFails(kind="cell-fails", round=1, block=1),
    )
    path = folder / "script.json"
    path.write_text(Script(latencies_ns={"*": (10_000, 11_000)}, world=world).model_dump_json())
    return path


_HARNESS_SCRIPT = {
    "latencies_ns": {"a": [1000, 1100], "*": [2000]},
    "seed": 3,
    "offset_permille": 20,
    "noise_permille": 5,
    "drift_permille_per_second": 10,
    "outliers": {"every": 7, "factor_permille": 4000},
    "temperatures_millidegrees": [30000, 31000],
    "world": [
        {"kind": "throttle", "block": 1, "factor_permille": 1500, "thermal": "severe"},
        {"kind": "busy", "round": 0, "block": 0, "last_round": 3, "factor_permille": 1200},
        {"kind": "sensor", "sensor": "battery", "value": 800, "state": "charging"},
        {"kind": "placement", "cell": "a", "placement": {"npu": 9}, "unit": "npu"},
        {"kind": "control-drift", "block": 0, "factor_permille": 1100, "attempts": 1},
        {"kind": "wrong-answers", "cell": "a"},
        {"kind": "cell-fails", "round": 1, "block": 1, "cell": "b"},
    ],
    "faults": [{"kind": "crash", "round": 5, "block": 1}],
}


def _harness_script(folder: Path) -> Path:
    path = folder / "harness-script.json"
    path.write_text(json.dumps(_HARNESS_SCRIPT))
    return path


def journal_key() -> Key:
    """What the golden journal belongs to."""
    subject = SubjectKey(integrity="a" * 64, runtime="onnxruntime", version="1")
    return Key(fingerprint="f" * 64, samples=10, subjects=(subject,))


def _journal(folder: Path) -> Path:
    answers = [Answer(subject=0, sample=sample, top=(1, 2)) for sample in range(5)]
    lines = [line.model_dump_json() for line in (journal_key(), *answers)]
    path = folder / "evaluation.json.partial"
    path.write_text("\n".join(lines) + "\n")
    return path


def _checkpoint(folder: Path) -> Path:
    import torch

    path = folder / "weights.pth"
    torch.save({"state_dict": _network().state_dict(), "epoch": 3}, path)
    return path


def _safetensors(folder: Path) -> Path:
    from safetensors.torch import save_file

    path = folder / "weights.safetensors"
    save_file(dict(_network().state_dict()), path)
    return path


def _image(form: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        from PIL import Image

        path = folder / f"image.{form}"
        Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 50).convert("RGB").save(path)
        return path

    return write


def _labels(folder: Path) -> Path:
    path = folder / "classes.txt"
    path.write_text("\n".join(json.dumps(n) for n in range(CLASSES)) + "\n")
    return path


_FILES = Path(__file__).parents[1] / "tests" / "golden"
PROTOCOL = _FILES / "protocol"
"""A plan and the files of its rounds."""
IMPORTED = {
    "onnxruntime-perf-test": "onnxruntime_perf_test.txt",
    "onnxruntime-perf-test-results": "onnxruntime_perf_test_results.csv",
    "benchmark-model": "benchmark_model.txt",
    "minibench": "minibench.json",
    "androidx-benchmark": "benchmarkData.json",
    "coreml-benchmarker": "coreml_benchmarker.json",
    "ai-hub": "perf.yaml",
}
"""Files of other tools, by their formats."""


def _copy(file: Path) -> Callable[[Path], Path]:
    """A maker for what lies among the golden files of the tests."""

    def make_copy(folder: Path) -> Path:
        path = folder / file.name
        path.write_bytes(file.read_bytes())
        return path

    return make_copy


_MAKERS: dict[str, Callable[[Path], Path]] = {
    "round": _copy(PROTOCOL / "valid" / "every-event.jsonl"),
    "session": _copy(_FILES / "bench" / "v1" / "upgraded" / "session.jsonl"),
    "old-record": _copy(_FILES / "bench" / "v1" / "scripted.json"),
    **{kind: _copy(_FILES / "bench" / "imported" / name) for kind, name in IMPORTED.items()},
    "manifest": _manifest_file,
    "plan": _plan_file,
    "script": _script_file,
    "harness-script": _harness_script,
    "journal": _journal,
    "classes": _labels,
    "checkpoint": _checkpoint,
    "safetensors": _safetensors,
    "png": _image("png"),
    "jpg": _image("jpg"),
    "webp": _image("webp"),
    "tiff": _image("tiff"),
    "onnx": _onnx,
    "pte": _pte,
    "mlpackage": _mlpackage,
    "onnx-native": _onnx,
    "pte-native": _pte,
}
KINDS = tuple(_MAKERS)
"""Those that end in `native` are loaded and run by their runtimes, as care-bench does."""
