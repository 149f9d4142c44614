"""Plans and scripts, played in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from care_mobile.bench.harness.script import Script
from care_mobile.bench.harness.scripted import Known, play
from care_mobile.bench.protocol.plan import BundleFacts, Cell, Phase, Plan, Round
from care_mobile.bench.protocol.reading import RoundFile, read_round

FACTS = BundleFacts(
    name="bundle",
    model="tiny",
    target="none",
    precision="none",
    resolution="1x1",
    weights_source="a test",
    random_weights=True,
    size_bytes=0,
)
LAUNCH = "launch-1"


def make_plan(rounds: int = 3, blocks: int = 3, **changes: Any) -> Plan:
    """Cells `a` and `b` of two bundles of these names."""
    given = {
        "session": "session-1",
        "created": "2026-11-26T12:00:00Z",
        "cells": tuple(
            Cell(id=name, label=name.upper(), bundle=FACTS, engine="script") for name in "ab"
        ),
        "rounds": tuple(
            Round(
                number=number,
                replicate=number,
                cells=(0, 1),
                blocks=((0, 1), (1, 0)) * (blocks // 2) + ((0, 1),) * (blocks % 2),
                phases=(Phase.BURST,) if blocks else (),
            )
            for number in range(rounds)
        ),
    }
    return Plan(**{**given, **changes})


def played(folder: Path, script: Script, plan: Plan, number: int = 0) -> RoundFile:
    """A round as the host reads it."""
    output = folder / f"round-{number}.jsonl"
    output.unlink(missing_ok=True)
    known = Known({}, folder, plan.answer_elements)
    play(script, plan, plan.rounds[number], LAUNCH, output, known)
    return read_round(output, plan, plan.rounds[number], LAUNCH)
