"""Bundle against reference: the same inputs through both, and how far the results are apart.

The reference is the eager float32 network *before* any pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from care_mobile.agreement import MAX_DB, cosine, psnr_db
from care_mobile.bundle import Parity, ProbeResult

Arrays = list[NDArray[Any]]
"""One array (n, ...) per output of the network, n inputs stacked."""


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


@dataclass(frozen=True)
class Threshold:
    """What a bundle must reach on one kind of probe.

    `max_abs` is relative to the largest reference value where that exceeds one, since float32
    cannot promise more. None means reported, not judged.
    """

    min_psnr_db: float | None
    max_abs: float | None = None


ORDINARY = ("seeded", "photos", "zeros", "constant")
FLAT = ("zeros", "constant")
"""Ordinary for floats; a limit of their own where a quantizer has seen textures only."""

_INTEGERS = {
    "ordinary": Threshold(25.0),
    "flat": Threshold(15.0),
    "extreme": Threshold(None),
}

THRESHOLDS: dict[tuple[str, str], dict[str, Threshold]] = {
    # float32 on both sides: only the order of sums differs. Measured on CARE: 113 to 127 dB.
    # Extreme inputs multiply that noise: values 30 times too large, quotients of tiny numbers.
    **{
        (target, "fp32"): {"ordinary": Threshold(90.0, 1e-4), "extreme": Threshold(60.0)}
        for target in ("onnx", "executorch", "coreml")
    },
    # Half precision keeps 11 bits; 40 dB is one part in a hundred of the largest logit, above
    # which top-1 of trained classifiers does not move. Extreme inputs may leave its range, as
    # they are 30 times larger than images: reported, not judged.
    **{
        (target, "fp16"): {"ordinary": Threshold(40.0), "extreme": Threshold(None)}
        for target in ("onnx", "coreml")
    },
    # What integers and tables cost depends on the weights: limits are 7 to 16 dB below what
    # CARE-S0 with random weights reaches, to find what went wrong rather than to promise accuracy,
    # which `--data` measures. Inputs outside the calibrated range saturate by design, and flat
    # images are unlike any a quantizer was shown.
    **{(target, "int8"): _INTEGERS for target in ("onnx", "executorch", "coreml")},
    ("coreml", "int8-weights"): {"ordinary": Threshold(30.0), "extreme": Threshold(None)},
    ("coreml", "palette8"): {"ordinary": Threshold(30.0), "extreme": Threshold(None)},
    ("coreml", "palette6"): {"ordinary": Threshold(25.0), "extreme": Threshold(None)},
    ("coreml", "palette4"): {"ordinary": Threshold(14.0), "extreme": Threshold(None)},
}
"""The one table of thresholds: (target, precision) -> kind of probe -> threshold."""


def compare(
    reference: Mapping[str, Arrays],
    outputs: Mapping[str, Arrays],
    target: str,
    precision: str,
    runtime: str,
) -> Parity:
    """Judge the outputs of a bundle, set by set, against the reference's."""
    table = THRESHOLDS[target, precision]
    results = tuple(
        measure(name, reference[name], outputs[name], _threshold(table, name)) for name in reference
    )
    ordinary = table["ordinary"]
    shown = {
        "min_psnr_db": ordinary.min_psnr_db,
        "max_abs": ordinary.max_abs,
        "min_psnr_db_flat": table["flat"].min_psnr_db if "flat" in table else None,
    }
    return Parity(
        status="verified" if all(r.passed for r in results) else "failed",
        runtime=runtime,
        thresholds={k: v for k, v in shown.items() if v is not None},
        results=results,
    )


def _threshold(table: Mapping[str, Threshold], probes: str) -> Threshold:
    if probes in FLAT and "flat" in table:
        return table["flat"]
    return table["ordinary" if probes in ORDINARY else "extreme"]


def measure(
    probes: str,
    reference: Sequence[NDArray[Any]],
    outputs: Sequence[NDArray[Any]],
    limit: Threshold,
) -> ProbeResult:
    """Compare two lists of arrays of equal shapes.

    A non-finite result fails unless the reference is not finite at the same places, or nothing
    is demanded of this kind of probe.
    """
    pairs = [
        (np.asarray(want, np.float64), np.asarray(have, np.float64))
        for want, have in zip(reference, outputs, strict=True)
    ]
    shapes_fit = all(want.shape == have.shape for want, have in pairs)
    finite = shapes_fit and all(
        np.array_equal(np.isfinite(want), np.isfinite(have)) for want, have in pairs
    )
    count = len(reference[0])
    if not finite:
        return ProbeResult(
            probes=probes,
            count=count,
            max_abs=0.0,
            psnr_db=-MAX_DB,
            cosine=0.0,
            finite=False,
            passed=shapes_fit and limit == Threshold(None),
        )
    pairs = [
        (np.nan_to_num(w, posinf=0, neginf=0), np.nan_to_num(h, posinf=0, neginf=0))
        for w, h in pairs
    ]
    max_abs = max(float(np.abs(want - have).max(initial=0.0)) for want, have in pairs)
    peak = max(float(np.abs(want).max(initial=0.0)) for want, _ in pairs)
    psnr = min(psnr_db(want, have) for want, have in pairs)
    within = limit.max_abs is None or max_abs <= limit.max_abs * max(1.0, peak)
    return ProbeResult(
        probes=probes,
        count=count,
        max_abs=max_abs,
        psnr_db=round(psnr, 2),
        cosine=min(cosine(want, have) for want, have in pairs),
        top1_agreement=_top1(pairs),
        passed=within and (limit.min_psnr_db is None or psnr >= limit.min_psnr_db),
    )


def _top1(pairs: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> float | None:
    """Share of inputs with the same largest class, for one classifier output (n, classes)."""
    if len(pairs) != 1 or pairs[0][0].ndim != 2 or pairs[0][0].shape[1] < 2:
        return None
    want, have = pairs[0]
    return float(np.mean(want.argmax(1) == have.argmax(1)))
