"""Bundles on devices that tell no latency, as a session runs them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from care_mobile.bench.checking import judge_of
from care_mobile.bench.devices.functional import SETTINGS
from care_mobile.bench.planning import CellRequest, make_plan
from care_mobile.bench.protocol.events import Block, Checked, Hello, Note, PacedRun, Warm
from care_mobile.bench.protocol.reading import read_round
from care_mobile.bench.protocol.record import Judged, RoundStatus
from care_mobile.bundle import Bundle


class Outcome(NamedTuple):
    hello: Hello
    judged: list[Judged]
    notes: dict[str, str]


def ask(device: Any, path: Path, scratch: Path) -> Outcome:
    """What a bundle answers there. No latency may be in the file."""
    bundle = Bundle.open(path)
    assert device.availability().usable
    assert device.supports(bundle).usable
    planned = make_plan(
        [CellRequest(path, bundle, device.engine(bundle))],
        SETTINGS,
        session="s",
        created="2026-11-26T12:00:00Z",
        seed=0,
        scratch=scratch,
    )
    plan = planned.plan
    assert device.check(plan) == ()
    judge = judge_of(plan, planned.requests)
    with device.open(plan, planned.files) as station:
        flight = station.launch(plan.rounds[0], "l-1", lambda file: None)
        assert flight.status is RoundStatus.COMPLETED, flight
        assert flight.file is not None
        events = read_round(flight.file, plan, plan.rounds[0], "l-1").events
    assert not [e for e in events if isinstance(e, Block | Warm | PacedRun)]
    judged = [judge(0, event)[1] for event in events if isinstance(event, Checked)]
    (hello,) = (e for e in events if isinstance(e, Hello))
    return Outcome(
        hello,
        [found for found in judged if found is not None],
        {e.code: e.detail for e in events if isinstance(e, Note)},
    )
