"""What a session does, by name, where its options do not say otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from care_mobile.errors import unknown_name

from .protocol.plan import Burst, Gate, LoadKind, Paced, Phase, Sustained, Warmup

_S = 1_000_000_000
_MS = 1_000_000


DRIFT_PERMILLE = 100
"""Of the control kernel within a block. On a machine with others at work 50 rejected half of the
blocks (200 a third) and left wider intervals than any looser gate, or none; see `make control`."""


@dataclass(frozen=True)
class Settings:
    """`rounds` of `blocks` each; `paced_rounds` and `sustained_rounds` say in how many of them,
    spread evenly, those phases run; `cold_rounds` load from pages that are not in memory."""

    preset: str
    purpose: str
    rounds: int = 10
    blocks: int = 2
    burst: Burst = field(default_factory=Burst)
    warmup: Warmup = field(default_factory=Warmup)
    gate: Gate = field(default_factory=lambda: Gate(control_drift_permille=DRIFT_PERMILLE))
    paced: Paced | None = None
    sustained: Sustained | None = None
    paced_rounds: int = 0
    sustained_rounds: int = 0
    cold_rounds: int = 0

    def phases(self, replicate: int) -> tuple[Phase, ...]:
        """Of one round."""
        phases = [Phase.BURST] if self.blocks else []
        if spread(replicate, self.paced_rounds, self.rounds):
            phases.append(Phase.PACED)
        if spread(replicate, self.sustained_rounds, self.rounds):
            phases.append(Phase.SUSTAINED)
        return tuple(phases)

    def load(self, replicate: int) -> LoadKind:
        """The first round's files were never loaded; cold ones are among the others."""
        if replicate == 0:
            return LoadKind.FIRST
        cold = spread(replicate - 1, self.cold_rounds, self.rounds - 1)
        return LoadKind.COLD if cold else LoadKind.CACHED


def spread(place: int, chosen: int, count: int) -> bool:
    """Whether `place` is one of `chosen` places spread evenly over `count`."""
    return count > 0 and (place + 1) * chosen // count > place * chosen // count


PRESETS: Mapping[str, Settings] = {
    settings.preset: settings
    for settings in (
        Settings(
            "quick",
            "a first look in a few seconds per bundle",
            rounds=5,
            burst=Burst(target_ns=100 * _MS),
            warmup=Warmup(min_ns=_S // 4),
        ),
        # Even, so that each cell is loaded first equally often; two blocks, because what a load
        # keeps for itself is larger than what differs between its blocks.
        Settings("default", "comparisons on a desk", rounds=14),
        Settings(
            "thorough",
            "publishing: more rounds, cold loads, a camera's pace, a sustained minute",
            rounds=20,
            blocks=3,
            paced=Paced(),
            sustained=Sustained(),
            paced_rounds=3,
            sustained_rounds=1,
            cold_rounds=5,
        ),
        Settings(
            "mlperf",
            "as MLPerf's single stream: at least 1,024 inferences and 60 s, 90th percentile",
            rounds=3,
            blocks=0,
            sustained=Sustained(min_count=1024),
            sustained_rounds=3,
        ),
    )
}


def get_preset(name: str) -> Settings:
    """The settings of that name.

    Raises:
        UsageError: if there are none.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return PRESETS[name]
