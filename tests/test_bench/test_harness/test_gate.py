from __future__ import annotations

import pytest

from care_mobile.bench.harness.gate import rejection
from care_mobile.bench.protocol.events import Reading
from care_mobile.bench.protocol.plan import Gate, Thermal


def hot(state: str | None, kind: str = "thermal") -> Reading:
    return Reading(at_ns=0, kind=kind, state=state, value=1)


@pytest.mark.parametrize("limit", list(Thermal))
@pytest.mark.parametrize("seen", list(Thermal))
def test_hotter_than_the_limit(limit: Thermal, seen: Thermal) -> None:
    scale = list(Thermal)
    gate = Gate(thermal=limit)
    for before, after in (((), (hot(seen.value),)), ((hot(seen.value),), ())):
        found = rejection(gate, before, after, None)
        assert (found is not None) == (scale.index(seen) > scale.index(limit))
        assert found is None or (found.code == "thermal" and seen.value in found.detail)


@pytest.mark.parametrize(
    "reading", [hot("unknown"), hot("boiling"), hot(None), hot("severe", "temperature")]
)
def test_what_is_not_known_rejects_nothing(reading: Reading) -> None:
    assert rejection(Gate(), (reading,), (reading,), None) is None


def test_one_hot_reading_among_many() -> None:
    readings = (hot("nominal"), hot("light"), hot("nominal"))
    found = rejection(Gate(), readings, (), None)
    assert found is not None
    assert found.code == "thermal"


@pytest.mark.parametrize(
    ("times", "permille", "code"),
    [
        ((1000, 1050), 50, None),
        ((1000, 1051), 50, "control-drift"),
        ((1051, 1000), 50, "control-drift"),
        ((1000, 9000), None, None),
        (None, 50, None),
    ],
)
def test_drift(times: tuple[int, int] | None, permille: int | None, code: str | None) -> None:
    found = rejection(Gate(control_drift_permille=permille), (), (), times)
    assert (found and found.code) == code


def test_heat_is_told_first() -> None:
    found = rejection(Gate(), (hot("severe"),), (), (1000, 9000))
    assert found is not None
    assert found.code == "thermal"
