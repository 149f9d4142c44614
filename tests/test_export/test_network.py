"""What all targets share of one network, and what some get of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from care_mobile.export.network import CapturedNetwork, prepare
from care_mobile.export.reparam import DEFAULT, select
from care_mobile.export.request import ExportRequest
from care_mobile.export.targets import Variant
from care_mobile.inputs import Resolution

OWN = Variant(passes=("project-attention-once", "merge-local-branches"))
ORDERED = ["merge-local-branches", "project-attention-once"]


def prepared(folder: Path, **choices: tuple[str, ...]) -> CapturedNetwork:
    name, size = "networks:tiny_care", Resolution(width=64, height=64)
    request = ExportRequest(models=(name,), resolutions=(size,), **choices)  # type: ignore[arg-type]
    passes = select(request.with_passes, request.skip_passes)
    variants = {"plain": Variant(), "own": OWN}
    return prepare(request, name, size, passes, variants, folder, lambda step: None)


def test_a_target_gets_its_own_passes(tmp_path: Path) -> None:
    network = prepared(tmp_path)
    assert [p.name for p in network.passes_for("plain")] == [rule.name for rule in DEFAULT]
    assert [p.name for p in network.result.target_passes["own"]] == ORDERED
    assert network.passes_for("own") == network.result.passes + network.result.target_passes["own"]
    assert all(p.places for p in network.result.target_passes["own"])
    assert set(network.programs) == {Variant(), OWN}
    sizes = [path.stat().st_size for path in network.programs.values()]
    assert sizes[0] != sizes[1]


@pytest.mark.parametrize(
    ("choices", "shared", "own"),
    [
        ({"skip_passes": ("merge-local-branches",)}, 0, ORDERED[1:]),
        ({"skip_passes": tuple(ORDERED)}, 0, None),
        ({"skip_passes": ("all",)}, -len(DEFAULT), None),
        ({"with_passes": ("merge-local-branches",)}, 1, ORDERED[1:]),
    ],
)
def test_the_users_choice_wins(
    choices: dict[str, tuple[str, ...]], shared: int, own: list[str] | None, tmp_path: Path
) -> None:
    network = prepared(tmp_path, **choices)
    assert len(network.passes_for("plain")) == len(DEFAULT) + shared
    found = network.result.target_passes.get("own")
    assert (None if found is None else [p.name for p in found]) == own
