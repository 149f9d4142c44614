"""docs/harness-protocol.md against the models: whoever has only the page writes a right harness."""

from __future__ import annotations

import ast
import base64
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel

from care_mobile.bench.devices.process import Limits
from care_mobile.bench.protocol import arithmetic, base, events, plan, reading
from care_mobile.bench.protocol.plan import Burst, Plan, Warmup
from test_bench.test_protocol.described import fields

PAGE = (Path(__file__).parents[3] / "docs/harness-protocol.md").read_text(encoding="utf-8")
IN_EVERY_EVENT = {"event", "n", "at_ns"}


def _tables() -> dict[str, list[list[str]]]:
    """Rows of the tables of fields, by the model that a heading or a comment names."""
    found: dict[str, list[list[str]]] = {}
    model = ""
    inside = False
    for line in PAGE.splitlines():
        if named := re.match(r"#+ (\w+)$|<!-- model: (\w+) -->$", line):
            model = named[1] or named[2]
        elif line == "| field | type | default | meaning |":
            inside = True
            assert model not in found, model
            found[model] = []
        elif inside and line.startswith("|"):
            if not line.startswith("|---"):
                found[model].append([cell.strip() for cell in line.strip("|").split("|")])
        else:
            inside = False
    return found


def _models(module: ModuleType) -> dict[str, type[BaseModel]]:
    return {
        name: kind
        for name, kind in vars(module).items()
        if isinstance(kind, type)
        and issubclass(kind, base.Contract)
        and kind.__module__ == module.__name__
        and kind is not events.Event
    }


MODELS = _models(plan) | _models(events)
TABLES = _tables()


def test_every_model_has_a_table_and_every_table_a_model() -> None:
    assert sorted(TABLES) == sorted(MODELS)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_table_has_the_models_fields_types_and_defaults(name: str) -> None:
    wanted = fields(MODELS[name])
    if issubclass(MODELS[name], events.Event):
        wanted = {key: value for key, value in wanted.items() if key not in IN_EVERY_EVENT}
    listed = {row[0].strip("`"): (row[1], row[2]) for row in TABLES[name]}
    assert listed == wanted
    assert len(TABLES[name]) == len(wanted)


def test_the_common_fields_of_events_are_told() -> None:
    common = fields(events.Event)
    assert f"| `n` | {common['n'][0]} |" in PAGE
    assert f"| `at_ns` | {common['at_ns'][0]} |" in PAGE
    assert set(common) == IN_EVERY_EVENT - {"event"}


# Examples ----------------------------------------------------------------------------------


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def _lines() -> list[str]:
    return [block for block in _blocks("json") if '"event"' in block]


@pytest.mark.parametrize("line", _lines(), ids=lambda line: str(json.loads(line)["event"]))
def test_an_example_line_is_an_event_whose_keys_are_all_known(line: str) -> None:
    event = reading.parse(line.strip().encode(), events.EVENTS)
    assert isinstance(event, events.Event)
    assert _without_defaults(json.loads(line)) == _without_defaults(event.model_dump(mode="json"))


def _without_defaults(value: Any) -> Any:
    """Without what a reader fills in, so that a key that it ignores is seen."""
    if isinstance(value, dict):
        kept = {key: _without_defaults(item) for key, item in value.items()}
        return {k: v for k, v in kept.items() if v not in (None, [], "", 0, 1) or k == "n"}
    if isinstance(value, list):
        return [_without_defaults(item) for item in value]
    return value


def test_every_event_has_an_example() -> None:
    assert {json.loads(line)["event"] for line in _lines()} == set(events.EVENTS)
    for word in events.EVENTS:
        section = PAGE.partition(f"\n### {word}\n")[2].partition("\n### ")[0]
        assert f'{{"event": "{word}"' in section, word


def _example(folder: Path) -> tuple[Plan, reading.RoundFile]:
    (text,) = [block for block in _blocks("json") if '"rounds"' in block]
    example = Plan.model_validate_json(text)
    file = folder / "round-0.jsonl"
    file.write_text(_blocks("jsonl")[0], encoding="utf-8")
    read = reading.read_round(file, example, example.rounds[0], "s-20260131-1.0.a")
    return example, read


def test_the_whole_example_is_read_and_adds_up(tmp_path: Path) -> None:
    example, read = _example(tmp_path)
    assert read.ended
    assert read.unknown == 0
    found = {type(event): event for event in read.events}
    control, warm, block = (found[kind] for kind in (events.Control, events.Warm, events.Block))
    assert isinstance(control, events.Control)
    assert isinstance(warm, events.Warm)
    assert isinstance(block, events.Block)
    assert control.iterations == example.gate.control_iterations
    assert control.checksum == arithmetic.control_text(arithmetic.control(control.iterations))
    count = arithmetic.burst_iterations(warm.latency_ns, example.burst)
    assert len(block.bursts[0].samples_ns) == count
    assert f"{count} inferences because {example.burst.target_ns} // {warm.latency_ns}" in PAGE


def test_the_examples_answer_is_its_probe(tmp_path: Path) -> None:
    import hashlib

    example, read = _example(tmp_path)
    (file,) = example.files
    for event in read.events:
        if isinstance(event, events.Checked):
            data = base64.b64decode(event.answers[0].data or "", validate=True)
            assert len(data) == file.size_bytes
            assert hashlib.sha256(data).hexdigest() == file.sha256


# Arithmetic --------------------------------------------------------------------------------

RULES = Warmup(
    window=2,
    tolerance_permille=20,
    min_iterations=4,
    min_ns=1000,
    max_iterations=6,
    max_ns=5000,
)


def _burst(latency: int, target: int, least: int, most: int) -> int:
    rules = Burst(target_ns=target, min_iterations=least, max_iterations=most)
    return arithmetic.burst_iterations(latency, rules)


def _agree(samples: list[int], window: int, tolerance: int) -> bool:
    return arithmetic.windows_agree(samples, Warmup(window=window, tolerance_permille=tolerance))


FORMULAS: dict[str, Any] = {
    "median": arithmetic.median_ns,
    "windows_agree": _agree,
    "warm_state": lambda samples, elapsed: arithmetic.warm_state(samples, elapsed, RULES).value,
    "warm_latency_ns": lambda s, window: arithmetic.warm_latency_ns(s, Warmup(window=window)),
    "burst_iterations": _burst,
    "drifted": arithmetic.drifted,
    "answer_stride": arithmetic.answer_stride,
    "control": lambda count: arithmetic.control_text(arithmetic.control(count)),
}
WORKED = re.findall(r"^(\w+)(\(.*\)) = (\w+)$", "\n".join(_blocks("text")), re.MULTILINE)


@pytest.mark.parametrize(("name", "arguments", "result"), WORKED)
def test_a_worked_example_comes_out(name: str, arguments: str, result: str) -> None:
    values = ast.literal_eval(f"[{arguments[1:-1]}]")
    assert str(FORMULAS[name](*values)) in (result, result.title())


def test_every_formula_has_worked_examples_and_the_page_no_lines_that_are_not_checked() -> None:
    assert {name for name, _, _ in WORKED} == set(FORMULAS)
    section = PAGE.partition("\n## Arithmetic")[2].partition("\n### 64-bit")[0]
    assert len(re.findall(r"^\w+\(.*\) = ", section, re.MULTILINE)) == len(WORKED)


def test_the_rules_of_the_worked_warm_ups_are_told() -> None:
    told = ", ".join(f"`{name}` {value}" for name, value in RULES.model_dump().items())
    assert f"With {told}:" in PAGE


# What is told in words ---------------------------------------------------------------------


def test_the_javascript_halves_are_the_kernel() -> None:
    """The page's lines, run on halves as a 32-bit language has them."""
    hi, lo = arithmetic.CONTROL_SEED >> 32, arithmetic.CONTROL_SEED & 0xFFFFFFFF
    lines = re.findall(r"^ +((?:hi|lo) \^= .*?;  .*?) {3,}state", PAGE, re.MULTILINE)
    assert len(lines) == 3
    for step in "; ".join(lines).split(";"):
        target, _, value = step.strip().partition(" ^= ")
        change = eval(value.replace(">>>", ">>"), {}, {"hi": hi, "lo": lo}) & 0xFFFFFFFF
        hi, lo = (hi ^ change, lo) if target == "hi" else (hi, lo ^ change)
    assert (hi << 32) | lo == arithmetic.control(1)


def test_limits_and_constants_are_those_of_the_code() -> None:
    for told in (
        f"a line has at most {base.MAX_LINE_BYTES >> 20} MiB with its `\\n` and "
        f"{base.MAX_LINE_COLONS:,} `:`",
        f"a file {base.MAX_ROUND_BYTES >> 20} MiB and {base.MAX_LINES:,} lines",
        f"{base.MAX_LISTS:,} `[` and `{{` and {base.MAX_COMMAS:,} commas",
        f"begins with `{arithmetic.CONTROL_SEED:#x}`",
        f"version {base.MAJOR}.{base.MINOR}",
        f"Scalars\n\n| type | what it is |\n|---|---|\n| ns | integer nanoseconds, 0 to 2^{63}-1",
    ):
        assert told in PAGE or told in " ".join(PAGE.split()), told
    assert base.MAX_NS == 2**63 - 1


def test_kinds_of_readings_are_those_of_the_model() -> None:
    _, _, kinds = (events.Reading.__doc__ or "").partition("Kinds and units:")
    named = set(re.findall(r"`([a-z-]+)`", re.sub(r"\([^)]*\)", "", kinds, flags=re.DOTALL)))
    table = PAGE.partition("\n| kind | value | state |\n")[2].partition("\n\n")[0]
    listed = {
        kind
        for line in table.splitlines()
        for kind in re.findall(r"`([\w-]+)`", line.split("|")[1])
    }
    assert listed == named


def test_links_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= headings


def test_the_hosts_limits_are_those_of_the_page() -> None:
    section = PAGE.partition("## What the host does")[2].partition("## ")[0]
    told = [int(number) for number in re.findall(r"\b(\d+) s\b", section)]
    assert told[:3] == [600, 120, 180]
    asked = Plan.model_validate_json(
        next(block for block in _blocks("json") if '"rounds"' in block)
    )
    limits = Limits.of(asked, asked.rounds[0])
    bursts_ns = 4 * asked.burst.target_ns + asked.burst.pause_ns
    once_ns = asked.warmup.max_ns + bursts_ns
    assert limits.silent_seconds == pytest.approx(180 + 3e-9 * once_ns)
    both_ns = asked.warmup.max_ns + (asked.gate.retries + 1) * bursts_ns
    assert limits.seconds == pytest.approx(600 + 120 + 3e-9 * both_ns)
