"""Where the time of an ONNX bundle goes: ONNX Runtime's own profile, by kind of operator.

The ExecuTorch wheel is built without its event tracer (executorch 1.4.1), so there the layers of
one kind are measured alone instead (`parts`).
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import onnxruntime as ort

from care_mobile.bundle import Bundle
from care_mobile.runtimes.noise import seeded_inputs
from care_mobile.runtimes.onnxruntime import PROVIDER

from .results import OperatorTime

WARM_UP = 5
_ERRORS_ONLY = 3
_CONVOLUTIONS = ("Conv", "FusedConv", "QLinearConv", "ConvInteger")


def operator_times(bundle: Bundle, runs: int) -> tuple[OperatorTime, ...]:
    """Kinds of operators, the one that takes longest first; one thread, on the caller's cpus.

    The profiler counts in whole microseconds and takes time itself, so the sum is not the latency.
    """
    with tempfile.TemporaryDirectory(prefix="care-profile-") as folder:
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = 1
        settings.log_severity_level = _ERRORS_ONLY
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(folder) / "profile")
        session = ort.InferenceSession(str(bundle.model_path), settings, providers=[PROVIDER])
        inputs = seeded_inputs(bundle, 0)
        for _ in range(WARM_UP + runs):
            session.run(None, inputs)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return summarize([e for e in events if e.get("cat") == "Node"], runs)


def summarize(events: Sequence[Mapping[str, Any]], runs: int) -> tuple[OperatorTime, ...]:
    """Medians over the last `runs` runs of every node, summed by kind."""
    taken: dict[tuple[str, str], list[int]] = defaultdict(list)
    for event in events:
        arguments = event["args"]
        kind = kind_of(arguments["op_name"], arguments["input_type_shape"])
        taken[kind, event["name"]].append(event["dur"])
    total: Counter[str] = Counter()
    nodes: Counter[str] = Counter()
    for (kind, _), microseconds in taken.items():
        total[kind] += round(1e3 * median(microseconds[-runs:]))
        nodes[kind] += 1
    return tuple(
        OperatorTime(operator=kind, nodes=nodes[kind], ms=ns / 1e6)
        for kind, ns in total.most_common()
    )


def kind_of(operator: str, shapes: Sequence[Mapping[str, Sequence[int]]]) -> str:
    """The operator; of convolutions also the kind, by the shape of their weights."""
    if operator not in _CONVOLUTIONS:
        return operator
    maps = [shape for entry in shapes for shape in entry.values() if len(shape) == 4]
    if len(maps) < 2:
        return operator
    _, per_group, height, width = maps[1]
    if per_group == 1:
        return f"{operator}, depthwise"
    return f"{operator}, 1x1" if height == width == 1 else f"{operator}, {height}x{width}"
