"""What every device offers: launch a harness once per round, give back the file it wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from care_mobile.bundle import Bundle
from care_mobile.requirements import Availability

from ..protocol.events import Reading
from ..protocol.plan import Plan, Round, Unit
from ..protocol.record import DeviceReference, RecordKind, RoundStatus


@dataclass(frozen=True)
class Flight:
    """How a launch went, seen from outside. `file` is what it wrote, if anything: untrusted."""

    status: RoundStatus
    file: Path | None = None
    code: str | None = None
    detail: str = ""
    exit_code: int | None = None


Watch = Callable[[Path], None]
"""Called with the round's file whenever it has grown; on devices that can tell."""


class Station(Protocol):
    """A device that holds the files of a plan and runs its rounds, one at a time."""

    def launch(self, planned: Round, launch: str, watch: Watch) -> Flight:
        """Run one round. Whatever the harness does, this ends, and nothing of it runs on."""
        ...

    def look(self) -> tuple[Reading, ...]:
        """One look at the device's sensors between rounds; empty where only its harness can."""
        ...

    def rest(self, time_ns: int) -> None:
        """Let the device cool down; a script's time needs none of ours."""
        ...


class Device(Protocol):
    """Something bundles can be measured on. It keeps no state outside of `open`."""

    name: str
    kind: RecordKind
    reference: DeviceReference
    reads: frozenset[str]
    """Which of `threads`, `affinity` and `unit` it heeds."""

    def availability(self) -> Availability:
        """Whether the device itself is there."""
        ...

    def supports(self, bundle: Bundle) -> Availability:
        """Whether it can run this bundle, with the reason if not."""
        ...

    def engine(self, bundle: Bundle) -> str:
        """What runs a bundle there, as its harness names it."""
        ...

    def unit(self, bundle: Bundle) -> Unit:
        """Where a bundle runs if nobody says."""
        ...

    def check(self, plan: Plan) -> tuple[str, ...]:
        """What of a plan it cannot serve, in words; empty if nothing."""
        ...

    def open(self, plan: Plan, files: Mapping[str, Path]) -> AbstractContextManager[Station]:
        """Bring the plan and its files there, and clean up in the end.

        Args:
            files: by the plan's paths, where each lies here.

        Raises:
            CareError: if the device refuses.
        """
        ...
