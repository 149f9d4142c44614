"""What a scripted harness plays: how long everything takes, what changes, and what goes wrong.

A script is a JSON file. Latencies are found by a cell's id, label, bundle name or `*`, in this
order, and are repeated as often as needed. What happens at a time (`world`) and what is wrong with
the harness itself (`faults`) say in which round, and some in which block.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, ValidationError

from care_mobile.errors import UsageError
from care_mobile.files import read_small
from care_mobile.frozen import first_problem

from ..protocol.base import MAX_BLOCKS, MAX_ROUNDS, Code, Contract, Count, Name
from ..protocol.plan import Thermal, Unit

MAX_SCRIPT_BYTES = 2**26
MAX_LATENCY_NS = 3600 * 10**9
MIN_LATENCY_NS = 1000
"""Shorter ones let sustained runs hold more inferences than a file may."""
_MOST = 1000

Latency = Annotated[int, Field(ge=MIN_LATENCY_NS, le=MAX_LATENCY_NS)]
Spread = Annotated[int, Field(ge=0, le=1000)]
"""A standard deviation, in thousandths."""
Factor = Annotated[int, Field(ge=1, le=1_000_000)]
"""In thousandths: 1000 changes nothing."""
RoundNumber = Annotated[int, Field(ge=0, lt=MAX_ROUNDS)]
BlockNumber = Annotated[int, Field(ge=0, lt=MAX_BLOCKS)]


class Scripted(Contract):
    """A key that is not known is a mistake here."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")


class Outliers(Scripted):
    """Every `every`-th inference of a cell takes `factor_permille` of its time."""

    every: int = Field(100, ge=1, le=1_000_000)
    factor_permille: Factor = 5000


class Happening(Scripted):
    """From a block of a round on, until the end of round `last_round` or of the session.

    Without a block it is there from the beginning of its first round.
    """

    round: RoundNumber = 0
    block: BlockNumber | None = None
    last_round: RoundNumber | None = None

    def lasts(self, number: int, block: int | None) -> bool:
        """Whether it does in round `number`, where `block` is the last one begun."""
        last = MAX_ROUNDS if self.last_round is None else self.last_round
        if not self.round <= number <= last:
            return False
        if number > self.round or self.block is None:
            return True
        return block is not None and block >= self.block


class Throttle(Happening):
    """Latencies take `factor_permille` of their time, and the device says how hot it is."""

    kind: Literal["throttle"]
    factor_permille: Factor = 2000
    thermal: Thermal = Thermal.SEVERE


class Busy(Happening):
    """Something else runs on the machine: inferences wait, and use no CPU time meanwhile."""

    kind: Literal["busy"]
    factor_permille: Factor = 2000


class Sensor(Happening):
    """What a sensor reads from then on: a temperature, the battery, low power, the foreground.

    `sensor` is the kind of the reading, as `Reading` lists them.
    """

    kind: Literal["sensor"]
    sensor: Code
    name: Name = ""
    value: int | None = Field(None, ge=-(2**63), le=2**63 - 1)
    state: Name | None = None


class Placement(Happening):
    """Where operations run from then on; `block` does not matter, as a load decides."""

    kind: Literal["placement"]
    cell: Name = "*"
    placement: dict[Code, Count]
    unit: Unit | None = None


class ControlDrift(Happening):
    """The control kernel after the bursts of a block takes `factor_permille` of that before them.

    It hits the first `attempts` of a slot, and block `block` alone if one is given.
    """

    kind: Literal["control-drift"]
    factor_permille: Factor = 1200
    attempts: int = Field(100, ge=1, le=100)


class WrongAnswers(Happening):
    kind: Literal["wrong-answers"]
    cell: Name = "*"


class CellFails(Happening):
    """A cell fails: when it is loaded, or in a block."""

    kind: Literal["cell-fails"]
    cell: Name = "*"


World = Annotated[
    Throttle | Busy | Sensor | Placement | ControlDrift | WrongAnswers | CellFails,
    Field(discriminator="kind"),
]

FaultKind = Literal[
    "crash",
    "hang",
    "disconnect",
    "storage-full",
    "stale",
    "garbled",
    "duplicate",
    "no-file",
    "lingers",
    "forks",
    "chatter",
    "huge",
    "nan",
]


class Fault(Scripted):
    """What is wrong with the harness, in one round; in `block`, or without one at the first load.

    `crash`: the system kills it (SIGABRT). `hang`: it never says another word. `disconnect`: the
    device is gone, in a block or, without one, before the launch. `storage-full`: a line is cut
    off and it ends with an error. `stale`: the file is of another launch. `garbled`, `duplicate`,
    `nan`: such a line. `no-file`: it ends well, without a file. `lingers`: it never exits after
    the end. `forks`: a child of its own stays. `chatter`: garbage on its output and error stream.
    `huge`: more than any file may hold.
    """

    kind: FaultKind
    round: RoundNumber
    block: BlockNumber | None = None


class Script(Scripted):
    """See the module's docstring.

    The seed draws an offset per load and cell of SD `offset_permille` (so that an experiment of A
    against A shows the effect of rounds) and noise of SD `noise_permille` per inference.
    """

    latencies_ns: dict[Name, Annotated[tuple[Latency, ...], Field(min_length=1)]] = Field(
        default_factory=dict
    )
    default_ns: Annotated[tuple[Latency, ...], Field(min_length=1)] = (1_000_000,)
    load_ns: Latency = 50_000_000
    control_ns_per_1024: Latency = Field(1_250_000, description="of the control kernel")
    temperatures_millidegrees: tuple[Annotated[int, Field(ge=-300_000, le=2_000_000)], ...] = ()
    seed: int = Field(0, ge=0, le=2**63 - 1)
    offset_permille: Spread = 0
    noise_permille: Spread = 0
    drift_permille_per_second: int = Field(0, ge=-1000, le=1000)
    drift_permille_per_round: int = Field(0, ge=-1000, le=1000)
    outliers: Outliers | None = None
    model: Name = Field("script", description="of the machine, as its harness names it")
    world: tuple[World, ...] = Field((), max_length=_MOST)
    faults: tuple[Fault, ...] = Field((), max_length=_MOST)

    def latencies(self, names: tuple[str, ...]) -> tuple[int, ...]:
        """Of a cell with these names, the first that is in the script."""
        for name in (*names, "*"):
            if name in self.latencies_ns:
                return self.latencies_ns[name]
        return self.default_ns


def read_script(file: Path) -> Script:
    """The script in a JSON file.

    Raises:
        UsageError: if it cannot be read or is none.
    """
    try:
        return Script.model_validate_json(read_small(file, MAX_SCRIPT_BYTES))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}", "write --device scripted=FILE") from error
    except ValidationError as error:
        raise UsageError(
            f"{file}: {first_problem(error)}", "docs/measuring.md describes scripts"
        ) from error
