"""What a script may say, and what is refused in a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from care_mobile.bench.harness.script import Happening, Script, read_script
from care_mobile.errors import UsageError


def test_a_script_is_read_from_json(tmp_path: Path) -> None:
    file = tmp_path / "script.json"
    file.write_text(
        '{"latencies_ns": {"a": [1000, 2000]}, "world": [{"kind": "throttle", "round": 3}],'
        '"faults": [{"kind": "crash", "round": 1, "block": 2}]}'
    )
    script = read_script(file)
    assert script.latencies(("x", "a")) == (1000, 2000)
    assert script.latencies(("x",)) == script.default_ns
    assert (script.world[0].kind, script.world[0].round) == ("throttle", 3)
    assert (script.faults[0].kind, script.faults[0].block) == ("crash", 2)


def test_a_star_is_every_cell_but_those_that_are_named() -> None:
    script = Script(latencies_ns={"*": (5000,), "a": (6000,)})
    assert [script.latencies((name,))[0] for name in "ab"] == [6000, 5000]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "the file"),
        ('{"default_ns": []}', "default_ns"),
        ('{"latencies_ns": {"a": []}}', "latencies_ns.a"),
        ('{"latencies_ns": {"a": [1000.5]}}', "latencies_ns.a.0"),
        ('{"latencies_ns": {"a": ["1000"]}}', "latencies_ns.a.0"),
        ('{"latency_ns": {"a": [1000]}}', "latency_ns"),
        ('{"default_ns": [0]}', "default_ns.0"),
        ('{"default_ns": [1e400]}', "default_ns.0"),
        (f'{{"default_ns": [{10**400}]}}', "default_ns.0"),
        (f'{{"latencies_ns": {{"a": [{2**63}]}}}}', "latencies_ns.a.0"),
        ('{"world": [{"kind": "explode", "round": 1}]}', "world.0"),
        ('{"world": [{"kind": "throttle", "factor_permille": 1e308}]}', "factor_permille"),
        ('{"world": [{"kind": "throttle", "factor_permille": Infinity}]}', "the file|factor"),
        ('{"world": [{"kind": "busy", "round": 1000000000000}]}', "round"),
        ('{"world": [{"kind": "busy", "cell": "a"}]}', "cell"),
        ('{"faults": [{"kind": "crash"}]}', "round"),
        ('{"faults": [{"kind": "melt", "round": 0}]}', "kind"),
        ('{"faults": [{"kind": "hang", "round": -1}]}', "round"),
        ('{"noise_permille": NaN}', "the file|noise"),
        ("[" * 100_000, "the file"),
    ],
)
def test_a_bad_script_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "script.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=says) as refused:
        read_script(file)
    assert "\n" not in str(refused.value)


def test_a_missing_script_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        read_script(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("happening", "lasting"),
    [
        (Happening(), {(0, None), (0, 0), (1, None), (9, 9)}),
        (Happening(round=1), {(1, None), (9, 9)}),
        (Happening(round=0, block=1), {(1, None), (9, 9)}),
        (Happening(round=0, block=0), {(0, 0), (1, None), (9, 9)}),
        (Happening(round=1, last_round=1), {(1, None)}),
    ],
)
def test_when_something_happens(happening: Happening, lasting: set[tuple[int, int | None]]) -> None:
    times = {(0, None), (0, 0), (1, None), (9, 9)}
    assert {at for at in times if happening.lasts(*at)} == lasting
