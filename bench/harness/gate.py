"""Whether a block counts: the plan's gate, and nothing beyond it."""

from __future__ import annotations

from collections.abc import Iterable

from ..protocol.arithmetic import drifted
from ..protocol.events import Reading, Rejected
from ..protocol.plan import Gate, is_hotter


def rejection(
    gate: Gate,
    before: Iterable[Reading],
    after: Iterable[Reading],
    control_ns: tuple[int, int] | None,
) -> Rejected | None:
    """Why a block is rejected, or None.

    A thermal status that is not known rejects nothing: the host judges what that is worth.
    """
    for moment, readings in (("before", before), ("after", after)):
        for reading in readings:
            if reading.kind == "thermal" and is_hotter(reading.state, gate.thermal):
                return Rejected(code="thermal", detail=f"{reading.state} {moment} the block")
    if control_ns is not None and gate.control_drift_permille is not None:
        first, last = control_ns
        if drifted(first, last, gate.control_drift_permille):
            return Rejected(
                code="control-drift",
                detail=f"the control kernel took {first} ns before and {last} ns after the block",
            )
    return None
