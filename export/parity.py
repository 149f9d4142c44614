"""Bundle against reference: the same inputs through both, and how far the results are apart.

The reference is the eager float32 network *before* any pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_mobile.agreement import peak
from care_mobile.bundle import Parity, ProbeResult

from .judgement import Threshold, judge

Arrays = list[NDArray[Any]]
"""One array (n, ...) per output of the network, n inputs stacked."""

Moved = Callable[[str, int], Sequence[Arrays]]
"""The reference's answers on a probe set when weights and inputs are rounded to so many bits."""


def stacked(answers: Sequence[Sequence[NDArray[Any]]]) -> Arrays:
    """The outputs of n inputs, each of batch one, as one array per output.

    An output (1, ...) becomes (n, ...); one without a batch, a constant (100, 4) or a scalar,
    (n, 100, 4) or (n,).

    Raises:
        ValueError: if an output has another shape for every input.
    """
    columns = [[np.asarray(answer[i]) for answer in answers] for i in range(len(answers[0]))]
    return [
        np.concatenate(column) if column[0].shape[:1] == (1,) else np.stack(column)
        for column in columns
    ]


TEXTURED = ("seeded", "photos")
ORDINARY = (*TEXTURED, "zeros", "constant")
FAR = ("large-range",)
"""Beyond what images hold: a network that fails or overflows there is not judged there."""
FLAT = ("zeros", "constant")
"""Ordinary for floats; a limit of their own where a quantizer has seen textures only."""

BITS = {
    "fp32": 24,
    "fp16": 11,
    "int8": 8,
    "int8-weights": 8,
    "palette8": 8,
    "palette6": 6,
    "palette4": 4,
}
"""Precision -> significant bits of a number in it."""

_REPORTED = Threshold(None)


def _lossy(min_psnr_db: float, flat_psnr_db: float | None = None) -> dict[str, Threshold]:
    """Limits of integers and tables: a step of theirs is no difference from zero either."""
    rows = {"ordinary": min_psnr_db, "flat": flat_psnr_db}
    return {
        **{
            kind: Threshold(limit, near_zero_db=min_psnr_db, differing=0.05)
            for kind, limit in rows.items()
            if limit is not None
        },
        "extreme": _REPORTED,
    }


_INTEGERS = _lossy(25.0, flat_psnr_db=15.0)

THRESHOLDS: dict[tuple[str, str], dict[str, Threshold]] = {
    # float32 on both sides: only the order of sums differs. Measured on CARE: 113 to 127 dB.
    # Extreme inputs multiply that noise: values 30 times too large, quotients of tiny numbers.
    # A flat image is held to what ordinary ones are, against their peak: instance normalisation
    # divides some ten roundings of its mean by the root of its epsilon, 3e-5 in ExecuTorch.
    **{
        (target, "fp32"): {
            "ordinary": Threshold(90.0, 1e-4, 90.0, differing=1e-4, rounding=True),
            "extreme": Threshold(60.0, None, 100.0, differing=1e-4, rounding=True),
        }
        for target in ("onnx", "executorch", "coreml")
    },
    # Half precision keeps 11 bits; 40 dB is one part in a hundred of the largest logit, above
    # which top-1 of trained classifiers does not move. Extreme inputs may leave its range, as
    # they are 30 times larger than images: reported, not judged.
    **{
        (target, "fp16"): {
            "ordinary": Threshold(40.0, near_zero_db=50.0, differing=0.01),
            "extreme": _REPORTED,
        }
        for target in ("onnx", "coreml")
    },
    # What integers and tables cost depends on the weights: limits are 3 to 16 dB below what
    # CARE-S0 with random weights reaches, to find what went wrong rather than to promise accuracy,
    # which `--data` measures. Inputs outside the calibrated range saturate by design, and flat
    # images are unlike any a quantizer was shown.
    **{(target, "int8"): _INTEGERS for target in ("onnx", "executorch", "coreml")},
    ("coreml", "int8-weights"): _lossy(30.0),
    ("coreml", "palette8"): _lossy(30.0),
    ("coreml", "palette6"): _lossy(25.0),
    ("coreml", "palette4"): _lossy(14.0),
}
"""The one table of thresholds: (target, precision) -> kind of probe -> threshold."""


def compare(
    reference: Mapping[str, Arrays],
    outputs: Mapping[str, Arrays],
    target: str,
    precision: str,
    runtime: str,
    *,
    moved: Moved = lambda probes, bits: (),
    notes: Mapping[str, str] | None = None,
    left_out: Mapping[str, str] | None = None,
) -> Parity:
    """Judge the outputs of a bundle, set by set, against the reference's.

    Args:
        moved: what rounding makes of the reference's answers; see `Moved`.
        notes: by probe set, what must be said of it.
        left_out: probe sets that no bundle can be judged on, and why.
    """
    table = THRESHOLDS[target, precision]
    ordinary = [probes for probes in TEXTURED if probes in reference]
    peaks = [
        max(peak(reference[probes][index]) for probes in ordinary)
        for index in range(len(reference[ordinary[0]]) if ordinary else 0)
    ]
    results = tuple(
        compare_probe_set(
            name,
            reference[name],
            outputs[name],
            limit_of(table, name),
            peaks,
            partial(moved, name, BITS[precision]),
            (notes or {}).get(name, ""),
        )
        for name in reference
    )
    limits = table["ordinary"]
    shown = {
        "min_psnr_db": limits.min_psnr_db,
        "max_abs": limits.max_abs,
        "min_psnr_db_flat": table["flat"].min_psnr_db if "flat" in table else None,
    }
    return Parity(
        status="verified" if all(r.passed for r in results) else "failed",
        runtime=runtime,
        thresholds={k: v for k, v in shown.items() if v is not None},
        results=results,
        left_out=dict(left_out or {}),
    )


def limit_of(table: Mapping[str, Threshold], probes: str) -> Threshold:
    """The limit of a probe set, from the limits by kind of probe."""
    if probes in FLAT and "flat" in table:
        return table["flat"]
    return table["ordinary" if probes in ORDINARY else "extreme"]


def compare_probe_set(
    probes: str,
    reference: Sequence[NDArray[Any]],
    outputs: Sequence[NDArray[Any]],
    limit: Threshold,
    peaks: Sequence[float] = (),
    moves: Callable[[], Sequence[Arrays]] = tuple,
    note: str = "",
) -> ProbeResult:
    """Compare all outputs on one probe set; the worst of them counts.

    Args:
        peaks: of every output on ordinary inputs.
        moves: the reference's answers when rounding moves the network, asked for where it matters.
        note: what must be said of the probe set itself.
    """
    judged = [
        judge(
            np.asarray(want),
            np.asarray(have),
            limit,
            textured=probes in TEXTURED,
            strict=probes in ORDINARY,
            ordinary_peak=peaks[index] if peaks else 0.0,
            moves=partial(_output, moves, index),
        )
        for index, (want, have) in enumerate(zip(reference, outputs, strict=True))
    ]
    # Indices have no distance: they count where there is nothing else.
    numbers = [one for one in judged if one.equal_share is None] or judged
    shares = [one.equal_share for one in judged if one.equal_share is not None]
    said = [note] if note else []
    for index, one in enumerate(judged):
        if one.note:
            said.append(f"output {index + 1} {one.note}" if len(judged) > 1 else one.note)
    return ProbeResult(
        probes=probes,
        count=len(reference[0]) if np.ndim(reference[0]) else 1,
        max_abs=max(one.max_abs for one in numbers),
        psnr_db=round(min(one.psnr_db for one in numbers), 2),
        cosine=min(one.cosine for one in numbers),
        top1_agreement=_top1(reference, outputs),
        equal_share=min(shares, default=None),
        finite=all(one.finite for one in judged),
        passed=all(one.passed for one in judged),
        note="; ".join(said),
    )


def _output(moves: Callable[[], Sequence[Arrays]], index: int) -> list[NDArray[Any]]:
    return [answers[index] for answers in moves()]


def _top1(reference: Sequence[NDArray[Any]], outputs: Sequence[NDArray[Any]]) -> float | None:
    """Share of inputs with the same largest class, for one classifier output (n, classes)."""
    want, have = np.asarray(reference[0]), np.asarray(outputs[0])
    if len(reference) != 1 or want.ndim != 2 or want.shape[1] < 2 or want.dtype.kind != "f":
        return None
    if want.shape != have.shape:
        return None
    known = ~(np.isnan(want).any(1) | np.isnan(have).any(1))
    return float(np.mean((want.argmax(1) == have.argmax(1)) & known)) if len(want) else None
