"""Which reparameterizations Core ML gets beyond those every target shares.

Each variant has fewer operations and more multiply-accumulates than the one before it. Lowering
takes seconds, so an export does not lower them all: `CHOSEN` is what `choose` chooses among their
forecasts, and a test lowers every variant of a small CARE to hold it to that.
"""

from __future__ import annotations

from collections.abc import Mapping

from care_mobile.coreml.forecast import Forecast, Outlook

VARIANTS: Mapping[str, tuple[str, ...]] = {
    "shared": (),
    "projected": ("project-attention-once",),
    "merged": ("project-attention-once", "merge-local-branches"),
    "early-memory": (
        "project-attention-once",
        "merge-local-branches",
        "join-memory-early",
        "carry-memory-through-depthwise",
    ),
    "closed": (
        "project-attention-once",
        "merge-local-branches",
        "join-memory-early",
        "carry-memory-through-depthwise",
        "closing-sum-into-conv",
    ),
}
"""Names of optional passes by variant; they run in the order of `reparam.OPTIONAL`."""

CHOSEN = "closed"


def choose(forecasts: Mapping[str, Forecast]) -> str:
    """The name of the best forecast; of equals the first.

    The smallest number of multiply-accumulates unlikely to run on the Neural Engine wins, then of
    doubtful ones, then of operations, then of findings. Multiply-accumulates on the Neural Engine
    come last: small tensors keep it waiting for operations, not for arithmetic.

    Raises:
        ValueError: if there is none to choose from.
    """
    return min(forecasts, key=lambda name: _cost(forecasts[name]))


def _cost(forecast: Forecast) -> tuple[int, int, int, int, int]:
    macs = dict.fromkeys(Outlook, 0)
    for operation in forecast.operations:
        macs[operation.outlook] += operation.macs or 0
    return (
        macs[Outlook.UNLIKELY],
        macs[Outlook.DOUBTFUL],
        len(forecast.operations),
        len(forecast.findings),
        forecast.macs,
    )
